"""Where tensors have no memory that a kernel could read: under `torch.func`, `vmap`, a compiler."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

Made = TypeVar("Made")


def transformed(*tensors: Tensor | None) -> bool:
    """Return whether only plain operations of torch may be used, now or for these tensors.

    `torch.autograd.grad(is_grads_batched=True)`, and with it `vectorize=True` of `jacobian` and
    `hessian`, hands batched gradients to a backward pass that began without.
    """
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return True
    batched = torch._C._functorch.is_legacy_batchedtensor  # pyright: ignore[reportAttributeAccessIssue]
    return any(t is not None and batched(t) for t in tensors)


def exporting() -> bool:
    """Return whether `torch.export` is tracing, which wants plain operations of torch alone."""
    return torch.compiler.is_compiling() and torch.compiler.is_exporting()


def compiling() -> bool:
    """Return whether `torch.compile` is tracing, which takes operators of `torch.library` too."""
    return torch.compiler.is_compiling() and not torch.compiler.is_exporting()


def wide(dtype: torch.dtype) -> torch.dtype:
    """Return the type to compute in: float32 for half precision, of which sparse products on a CPU
    and compiled loops have none.

    >>> import torch
    >>> from plait.kernels.transforms import wide
    >>> wide(torch.bfloat16), wide(torch.float64)
    (torch.float32, torch.float64)
    """
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype


def exactly(like: Tensor) -> AbstractContextManager[Any]:
    """Return a context in which operations compute in the types they are given, not autocast's."""
    kind = like.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


def outside(make: Callable[[], Made]) -> Made:
    """Return what `make()` returns, made so that it outlives what surrounds this call.

    A tensor made under `torch.func` belongs to that transform, one made in inference mode cannot
    be differentiated through, one made by compiled code may be written over by its next run, and
    one made while `torch.export` traces has no numbers.
    """
    if torch.compiler.is_compiling():
        return torch.compiler.disable(_outside)(make)  # pyright: ignore[reportReturnType]
    return _outside(make)


@contextmanager
def differentiable() -> Iterator[None]:
    """Let autograd see what runs within an operator of `torch.library`, where asked for.

    The dispatcher runs an operator's code with autograd excluded altogether.
    """
    keys = torch._C.DispatchKey
    autograd = torch._C.DispatchKeySet(keys.AutogradFunctionality)
    autograd = autograd | torch._C.DispatchKeySet(keys.ADInplaceOrView)
    excluded = torch._C._dispatch_tls_local_exclude_set() - autograd
    included = torch._C._dispatch_tls_local_include_set()
    with torch._C._ForceDispatchKeyGuard(included, excluded), torch.no_grad():
        yield


def _outside(make: Callable[[], Made]) -> Made:
    # torch.export notes in its program whatever switches gradients off, unless no mode sees it
    with torch._C.DisableTorchFunction(), _disable_current_modes(), torch._C._DisableFuncTorch():  # noqa: SIM117
        with torch.inference_mode(False), torch.no_grad():
            return make()
