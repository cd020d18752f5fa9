"""A layer over time in one function of autograd: any traceable cell × any linear operator.

The input side is computed before, for all steps at once; the gradients of the weights after, for
all steps too. Between them lie the loops over time (`loops`). It differentiates once by the loops;
where a graph of the gradient is wanted, it is computed again in torch.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from plait.kernels.cpu import loops
from plait.kernels.cpu.filtering import Filters
from plait.kernels.cpu.jit import empty_f32, parallel_for
from plait.kernels.cpu.packing import Packing
from plait.kernels.cpu.rounding import PANEL
from plait.kernels.cpu.tables import (
    BackwardTables,
    CompiledProgram,
    ForwardTables,
    Layer,
    room_of,
)

State = tuple[Tensor, ...]

GRADIENT_ROWS = 256
"""Rows whose values are computed again at a time, for the weights' gradient."""

COLUMNS, GROUPS = 64, 8
"""Of the weights' gradient that one thread takes at a time; or parts of the steps, on a graph."""

PARALLEL_THRESHOLD = 2**23
"""Multiplications from which a thread's help with it is worth waking it."""

def run(
    compiled: CompiledProgram,
    x: Tensor,
    weight: Tensor,
    gates: Sequence[str],
    vectors: Mapping[str, Tensor],
    start: State,
    filters: Filters,
    packing: Packing,
    masks: Tensor | None,
    again: Callable[..., tuple[Tensor, ...]],
) -> tuple[Tensor, State]:
    """Run one layer in one direction.

    Parameters
    ----------
    compiled : CompiledProgram
    x : Tensor `[P, (N,) G·H]`
        The input side, without its bias, packed.
    weight : Tensor `[gates · H, terms · H]`
        The recurrent weights of `gates`.
    gates : sequence of str
    vectors : mapping of Tensor `[k · H]`
        By the names in the program.
    start : tuple of Tensor `[B, (N,) H]`
        Sorted as the packing says.
    filters : Filters
    packing : Packing
    masks : Tensor `[B, (N,) H]`
        Sorted too: what recurrent dropout multiplies by at every step. None: nothing.
    again : callable
        From x, weight, vectors and the states to outputs and final states by torch.

    Returns
    -------
    outputs : Tensor `[P, (N,) H]`
    final state : tuple of Tensor `[B, (N,) H]`
    """
    tensors = (x, weight, *vectors.values(), *start)
    differentiate_ = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    masks = empty_f32(0) if masks is None else masks.contiguous()
    layer = Layer(
        compiled, filters, packing, masks, gates, tuple(vectors), again, differentiate_
    )
    y, *final = _Recurrence.apply(layer, *tensors)  # pyright: ignore[reportGeneralTypeIssues]
    return y, tuple(final)


class _Recurrence(Function):
    @staticmethod
    def forward(ctx: Any, layer: Layer, *tensors: Tensor) -> tuple[Tensor, ...]:
        x, weight, *rest = (t.contiguous() for t in tensors)
        count = len(layer.names)
        vectors, start = rest[:count], rest[count:]
        H = start[0].shape[-1]
        lead = x.shape[:-1]
        final = [torch.empty_like(s) for s in start]
        y = empty_f32(*lead, H)
        kept = {"kept": empty_f32(0), "kept rows": empty_f32(0)}
        histories = [y] + [empty_f32(0)] * (len(start) - 1)
        if layer.differentiate:
            gradient = layer.compiled.gradient
            kept["kept"] = empty_f32(*lead, len(gradient.kept) * H)
            kept["kept rows"] = empty_f32(*lead, len(gradient.kept_rows))
            for k, wanted in enumerate(layer.compiled.histories):
                if wanted:
                    histories[k] = empty_f32(*lead, H)
        tables = ForwardTables(layer, H, x, weight, vectors, start, final, y, kept, histories)

        def block(first: int, last: int, scratch: int) -> None:
            loops.forward(tables.address, first, last, 0, scratch)

        _in_blocks(layer, tables.room, block)
        ctx.layer = layer
        ctx.save_for_backward(*tensors, *kept.values(), *histories)
        return (y, *final)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        layer: Layer = ctx.layer
        saved, count = ctx.saved_tensors, 2 + len(layer.names)
        states = len(layer.compiled.program.states)
        tensors, rest = saved[: count + states], saved[count + states :]
        if torch.is_grad_enabled():
            return None, *_again(layer, list(tensors), grads)
        x, weight, *vectors = (t.contiguous() for t in tensors[:count])
        start = [t.contiguous() for t in tensors[count:]]
        kept, histories = {"kept": rest[0], "kept rows": rest[1]}, rest[2:]
        tables = BackwardTables(layer, x, weight, vectors, start, kept, histories, grads)

        def block(first: int, last: int, scratch: int) -> None:
            loops.backward(tables.address, first, last, first // tables.size, scratch)

        _in_blocks(layer, tables.room, block)
        weight_grad = torch.zeros_like(weight)
        for product in layer.compiled.program.products:
            _add_weights(tables, product.index, weight_grad)
        sums = tables.sums.sum(0)
        places = [name for name, _ in layer.compiled.program.vectors]
        vector_grads = []
        for name, vector in zip(layer.names, vectors, strict=True):
            first = places.index(name)
            vector_grads.append(sums[first : first + places.count(name)].view_as(vector))
        return None, tables.dx, weight_grad, *vector_grads, *tables.dstart


def _in_blocks(
    layer: Layer, room: Callable[[int], int], call: Callable[[int, int, int], None]
) -> None:
    """Call with the members of each block and room for what they need as they run."""
    size, count = layer.block_size, layer.packing.B

    def block(first: int) -> None:
        last = min(first + size, count)
        scratch = empty_f32(room((last - first) * layer.filters.basis.nodes))
        call(first, last, scratch.data_ptr())

    parallel_for(block, range(0, count, size))


def _add_weights(tables: BackwardTables, index: int, weight_grad: Tensor) -> None:
    """Add the gradient of a product's weights `[gates · H, terms · H]`.

    It is summed in parts that do not depend on the threads.
    """
    layer, H, basis = tables.layer, tables.H, tables.filters.basis
    product = tables.program.products[index]
    name, first = layer.compiled.source_of(index)
    columns = len(product.gates) * H
    slot, source = tables.slots[f"value {index}"], tables.slots[name]
    streams = np.concatenate([tables.streams, [(0, PANEL, loops.BLOCK)]]).astype(np.int64)
    kept = (slot, len(streams) - 1)
    streams[[k for k in range(len(streams)) if streams[k, 2] == loops.BLOCK and k not in kept], 1] = 0
    table = tables.table.copy()
    forward_basis = np.array(basis, np.int64)
    table[3], table[5], table[6] = forward_basis.ctypes.data, streams.ctypes.data, len(streams)
    T, most = layer.packing.T, max(1, GRADIENT_ROWS // basis.nodes)
    steps, each = (T, COLUMNS) if basis.width == 1 else (-(-T // GROUPS), columns)
    if tables.dx.numel() // max(tables.dx.shape[-1], 1) * H * columns < PARALLEL_THRESHOLD:
        steps, each = T, columns
    parts = [(t, left) for t in range(0, T, steps) for left in range(0, columns, each)]
    grads = weight_grad.new_zeros(-(-T // steps), basis.heard * H, columns)
    which = len(layer.compiled.written.backward.effects) + index

    def part(number: int) -> None:
        t, left = parts[number]
        scratch = empty_f32(room_of(streams, most * basis.nodes))
        loops.weights(
            table.ctypes.data, which, slot, source, first * H, t, min(t + steps, T), left,
            min(left + each, columns), most, grads[t // steps].data_ptr(), columns,
            scratch.data_ptr(),
        )  # fmt: skip

    parallel_for(part, range(len(parts)))
    total = grads.sum(0).T
    if tuple(product.gates) == tuple(layer.gates):
        weight_grad += total
        return
    for k, gate in enumerate(product.gates):
        row = layer.gates.index(gate) * H
        weight_grad[row : row + H] += total[k * H : (k + 1) * H]


def _again(
    layer: Layer, tensors: list[Tensor], grads: tuple[Tensor, ...]
) -> list[Tensor | None]:
    """Compute the gradients so that they can be differentiated themselves."""
    wanted = [t for t in tensors if t.requires_grad]
    outputs = layer.again(*tensors)
    found = iter(torch.autograd.grad(outputs, wanted, grads, create_graph=True, allow_unused=True))
    return [next(found) if t.requires_grad else None for t in tensors]
