"""A pass over time as one function of autograd.

It differentiates once by the kernels; where a graph of the gradient is wanted, the call is computed
again in torch.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd import Function

from plait.kernels.cpu.recurrence import plain_gradients
from plait.kernels.gpu.triton_here import on_device
from plait.kernels.transforms import exactly, transformed


class Pass(Protocol):
    """A call of a layer: functions of tensors alone, which begin and end in torch's memory."""

    differentiate: bool
    extra: tuple[Tensor, ...]
    """What is given and has no gradient."""

    def forward(
        self, tensors: Sequence[Tensor], extra: Sequence[Tensor]
    ) -> tuple[tuple[Tensor, ...], Any]:
        """Return the outputs, and what the gradient wants."""
        ...

    def backward(
        self, tensors: Sequence[Tensor], extra: Sequence[Tensor], saved: Any,
        grads: Sequence[Tensor],
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """Return the gradients of all tensors."""
        ...


def run_pass(
    one: Pass, tensors: Sequence[Tensor], again: Callable[..., tuple[Tensor, ...]]
) -> tuple[Tensor, ...]:
    """Run a pass over tensors, to be differentiated to any order.

    Parameters
    ----------
    one : Pass
    tensors : sequence of Tensor
    again : callable
        The same in plain operations of torch, for the gradient of a gradient.
    """
    return _Run.apply(one, again, *tensors)  # pyright: ignore[reportReturnType]


class _Run(Function):
    @staticmethod
    def forward(ctx: Any, one: Pass, again: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        given = [_plain(t, tensors[-1]) for t in tensors]
        extra = tuple(t.contiguous() for t in one.extra)
        with exactly(tensors[0]), on_device(tensors[0]):
            outputs, saved = one.forward(given, extra)
        ctx.one, ctx.again, ctx.saved, ctx.extra = one, again, saved, extra
        ctx.save_for_backward(*tensors)
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        tensors = ctx.saved_tensors
        if torch.is_grad_enabled() or transformed(*grads):
            return None, None, *plain_gradients(ctx.again, tensors, grads)
        given = [_plain(t, tensors[-1]) for t in tensors]
        with exactly(tensors[0]), on_device(tensors[0]):
            changes = ctx.one.backward(given, ctx.extra, ctx.saved, [_plain(g, g) for g in grads])
        if not _keeps_graph():
            ctx.saved = None  # as torch frees what it saved
        return None, None, *changes


def _keeps_graph() -> bool:
    """State whether the backward pass that runs leaves the graph for another one."""
    engine: Any = torch._C._autograd  # pyright: ignore[reportAttributeAccessIssue]
    return engine._get_current_graph_task_keep_graph()


def _plain(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a tensor that is contiguous, with its lazy negation carried out.

    Kernels read addresses: ValueError for what lies elsewhere or is of another type.
    """
    if tensor.device != like.device or tensor.dtype not in _TYPES:
        raise ValueError(
            f"GPU kernels take float32, bfloat16 or float16 on {like.device}, not {tensor.dtype} "
            f"on {tensor.device}; convert all weights, inputs and states with .to()"
        )
    return tensor.detach().resolve_neg().contiguous()


_TYPES = (torch.float32, torch.bfloat16, torch.float16)
