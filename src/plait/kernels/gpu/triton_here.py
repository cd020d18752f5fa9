"""Whether Triton's kernels can run, and the modules that are written for it."""

import shutil
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from plait.kernels.transforms import transformed

UNPROVED = "tested in Triton's interpreter, not on a GPU yet"
"""Said of every kernel here until it has run on one."""


@cache
def missing() -> str | None:
    """Return what Triton lacks on this machine, or None."""
    if find_spec("triton") is None:
        return "Triton is not installed: pip install plait[gpu]"
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        return "Triton needs a C compiler, and there is no cc, gcc or clang"
    return None


def refusal(x: Tensor, device: str) -> str | None:
    """Return why no kernel written for `device` runs on a tensor now, or None where it may."""
    if x.device.type != device:
        return f"x lies on {x.device.type}"
    if x.dtype != torch.float32:
        return f"{str(x.dtype).removeprefix('torch.')}, not float32"
    if transformed(x):
        return "torch.compile or torch.func traces the call"
    if type(x) not in (Tensor, torch.nn.Parameter):
        return f"{type(x).__name__} is no plain tensor"
    if device == "cuda" and torch.cuda.get_device_capability(x.device)[0] < 7:
        return "Triton needs a GPU of compute capability 7 or more"
    return missing()


def on_device(tensor: Tensor) -> AbstractContextManager[Any]:
    """Return a context in which kernels start on a tensor's GPU."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def written(source: str) -> ModuleType:
    """Import a module of kernels, which are compiled at their first launch."""
    from plait.kernels.cpu.jit import module_of  # it takes a while to import numba

    return module_of(source)


def triton_type(dtype: torch.dtype) -> Any:
    """Return Triton's type that operands are rounded to; None: float32, they are not."""
    import triton.language as tl

    return {torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}.get(dtype)


def power_of_two(n: int) -> int:
    """Return the least power of two that is not less.

    >>> from plait.kernels.gpu.triton_here import power_of_two
    >>> power_of_two(1), power_of_two(5)
    (1, 8)
    """
    return 1 << max(0, n - 1).bit_length()
