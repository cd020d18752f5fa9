"""`Form`: what of a model is exported, by the names of its inputs and outputs; traced, checked."""

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from plait.errors import InputError

TOLERANCE = 1e-5
"""The largest difference from our own output that a file may have, for numbers around 1."""

SIZES = ((3, 5), (1, 1), (2, 4))
"""Sizes that the free axes take in turn; the first are those of the trace."""


@dataclass(frozen=True)
class Form:
    """A program to export: a module on tensors, with names and free sizes.

    Attributes
    ----------
    module : nn.Module
        Called with the inputs in their order; returns a tensor or a tuple of them.
    inputs : mapping of str to Tensor
        An example of each input, of any size along the free axes.
    outputs : sequence of str
        Names, in the order of what is returned.
    free : mapping of str to mapping of int to str
        Of an input the axes whose size may be another at every call, by name, such as
        `{"x": {0: "time", 1: "batch"}}`. Axes of the same name have the same size.
    metadata : mapping of str to JSON values
        What travels along in the file.

    Raises
    ------
    InputError
        From `trace`, where torch cannot export the module; from `compare`, where an output
        differs from the module's own.

    Example
    -------
    >>> import torch
    >>> from plait import LSTM, Recurrent
    >>> from plait.export_formats import Form
    >>> class Last(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.lstm, self.out = Recurrent(LSTM(), 3, 8), torch.nn.Linear(8, 2)
    ...     def forward(self, x):
    ...         return self.out(self.lstm(x)[0][-1])
    >>> form = Form(Last(), {"x": torch.ones(4, 2, 3)}, ["y"], {"x": {0: "time", 1: "batch"}})
    >>> form.trace().module()(torch.ones(30, 7, 3)).shape
    torch.Size([7, 2])
    """

    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: Sequence[str]
    free: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def trace(self) -> torch.export.ExportedProgram:
        """Return the module as `torch.export` traces it, made of torch's operations alone."""
        from torch.fx.experimental import _config

        settings: Any = _config
        free = torch.export.Dim.DYNAMIC
        axes = [dict.fromkeys(self.free.get(name, {}), free) for name in self.inputs]
        example = tuple(self.sized(0).values())
        # with gradients, or torch notes in the program where they are off
        patch = settings.patch(backed_size_oblivious=True)
        with _evaluated(self.module, grad=True) as module, patch, quiet():
            try:
                return torch.export.export(
                    _Positional(module), example, dynamic_shapes=(tuple(axes),)
                )
            except InputError:
                raise
            except Exception as error:  # whatever torch says of what a module does
                reason = str(error).strip().splitlines() or [type(error).__name__]
                raise InputError(f"torch cannot export this model: {reason[0]}") from error

    def sized(self, turn: int) -> dict[str, Tensor]:
        """Return the inputs at other sizes of the free axes, made of the example's numbers."""
        sizes: dict[str, int] = {}
        for axes in self.free.values():
            for name in axes.values():
                sizes.setdefault(name, SIZES[turn][len(sizes) % len(SIZES[turn])])
        return {
            name: _resized(x, {k: sizes[n] for k, n in self.free.get(name, {}).items()})
            for name, x in self.inputs.items()
        }

    def compare(self, run: Callable[[Mapping[str, np.ndarray]], Sequence[Any]], what: str) -> float:
        """Return the largest difference of what `run` returns from the module's own output.

        Raises `InputError` where it is larger than `TOLERANCE`, for numbers above 1 relative to the
        largest.
        """
        worst = 0.0
        for turn in range(len(SIZES)):
            given = self.sized(turn)
            with _evaluated(self.module) as module:
                ours = module(*given.values())
            found = run({name: x.numpy() for name, x in given.items()})
            ours = (ours,) if isinstance(ours, Tensor) else ours
            for name, own, other in zip(self.outputs, ours, found, strict=True):
                worst = max(worst, _difference(own.numpy(), np.asarray(other), name, what))
        return worst


def _difference(own: np.ndarray, other: np.ndarray, name: str, what: str) -> float:
    if own.shape != other.shape:
        raise InputError(
            f"{what} returns {name} of shape {list(other.shape)}, the model {list(own.shape)}; "
            "nothing is written"
        )
    if own.size == 0:
        return 0.0
    scale = max(1.0, float(np.nanmax(np.abs(own), initial=0.0)))
    apart = float(np.max(np.where(own == other, 0.0, np.abs(own - other)))) / scale
    if not apart <= TOLERANCE:  # NaN differs too
        raise InputError(
            f"{what} differs from the model by {apart:.1e} in {name}, more than {TOLERANCE:.0e}; "
            "nothing is written"
        )
    return apart


@contextmanager
def _evaluated(module: nn.Module, *, grad: bool = False) -> Iterator[nn.Module]:
    """Call a module in evaluation, on the CPU; it stays as it is."""
    if module.training or any(p.device.type != "cpu" for p in module.parameters()):
        module = copy.deepcopy(module).cpu().eval()
    with torch.set_grad_enabled(grad):
        yield module


def _resized(x: Tensor, sizes: Mapping[int, int]) -> Tensor:
    for axis, size in sizes.items():
        x = torch.cat([x] * -(-size // x.shape[axis]), axis).narrow(axis, 0, size)
    return x.contiguous()


class _Positional(nn.Module):
    """Takes its inputs one after another, whatever the module's own arguments are."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Any:
        return self.module(*inputs)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what torch logs and warns of its own inside to itself."""
    names = "torch.onnx", "torch._export", "onnxscript", "onnx_ir"
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
