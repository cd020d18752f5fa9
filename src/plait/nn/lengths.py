"""Sequences of different lengths in one batch: masks, and reversal within each length."""

import torch
from torch import Tensor

from plait.kernels.kernel import Call, Kernel, State
from plait.nn.layer import Layer


def keep_mask(lengths: Tensor, x: Tensor) -> Tensor:
    """Mark the steps that lie within their sequence: `[T, B, (1,) 1]`."""
    steps = torch.arange(x.shape[0], device=x.device)
    keep = steps[:, None] < lengths  # [T, B]
    return keep.view(*keep.shape, *[1] * (x.ndim - 2))


def run_reversed(kernel: Kernel, layer: Layer, call: Call) -> tuple[Tensor, State, State]:
    """Run a layer in reverse, from each sequence's end; outputs are in forward time order."""
    lengths, keep, graph = call.lengths, call.keep, call.graph
    if not isinstance(graph, list | tuple):
        h, final, states = kernel.run(layer, call._replace(x=_reverse(call.x, lengths)))
        return _reverse(h, lengths), final, tuple(_reverse(s, lengths) for s in states)
    # graphs belong to steps, so all of time is reversed; masks skip each sequence's padding
    back = call._replace(
        x=call.x.flip(0), graph=graph[::-1], keep=None if keep is None else keep.flip(0)
    )
    h, final, states = kernel.run(layer, back)
    states = tuple(s.flip(0) for s in states)
    if keep is not None:
        states = tuple(torch.where(keep, s, f) for s, f in zip(states, final, strict=True))
    return h.flip(0), final, states


def _reverse(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Reverse in time, each sequence within its own length; padding stays in place."""
    if lengths is None:
        return x.flip(0)
    steps = torch.arange(x.shape[0], device=x.device)[:, None]  # [T, 1]
    index = torch.where(steps < lengths, lengths - 1 - steps, steps)  # [T, B]
    return x[index, torch.arange(x.shape[1], device=x.device)]
