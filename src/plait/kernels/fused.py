"""A whole layer over time in one function of autograd: any built-in cell × any linear operator.

The input side is computed before, for all steps at once; the gradients of the weights after, for
all steps too. Between them lie the compiled loops (`loops`). Sequences of several lengths stand
packed, so that what lies past their ends costs nothing. It differentiates once by the loops; where
a graph of the gradient is wanted, it is computed again in torch.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from plait.kernels import loops, steps
from plait.kernels.choice import Choice
from plait.kernels.compiled import in_threads, room
from plait.kernels.product import multiplied
from plait.kernels.rounding import PANEL, pack
from plait.kernels.simd import ROWS
from plait.kernels.sparse import Shift
from plait.kernels.terms import Terms, fill_all, fold_all

State = tuple[Tensor, ...]

BLOCK = 64
"""Rows that run through time together at most, unless a graph has more."""

AT_ONCE = 256
"""Rows whose terms are computed again at a time, for the weights' gradient."""

COLUMNS, GROUPS = 64, 8
"""Of the weights' gradient that one thread takes at a time; or parts of the steps, on a graph."""

WORTH = 2**23
"""Multiplications from which a thread's help with it is worth waking it."""


class Algebra(NamedTuple):
    """What the kernels know of a cell."""

    name: str  # "RNN", "LSTM", "GRU after" or "GRU before"
    first: int  # gates that are heard first, and with the same state
    kept: int  # numbers of a channel and step that are kept for the gradient, but for states
    option: int = 0  # of an RNN: max(0, ·); of an LSTM: peepholes

    @property
    def cell(self) -> Any:
        """What the compiled steps take."""
        kinds = {"RNN": steps.RNN, "LSTM": steps.LSTM, "GRU after": steps.GRUAfter}
        return kinds.get(self.name, steps.GRUBefore)(self.option)


DENSE = 0.7
"""Share of a shift's entries that are not 0 above which the whole matrix is faster, as measured."""

ALGEBRAS = {
    "RNN_TANH": Algebra("RNN", 1, 0),
    "RNN_RELU": Algebra("RNN", 1, 0, option=1),
    "LSTM": Algebra("LSTM", 4, 4),
    "LSTM_PEEPHOLE": Algebra("LSTM", 4, 4, option=1),
    "GRU": Algebra("GRU after", 3, 4),
    "GRU_BEFORE": Algebra("GRU before", 2, 3),
}


def choice(name: str, weight: Tensor) -> Choice:
    """Say whether the compiled loops run equations with weights like `weight` here, and why."""
    kind = f"{str(weight.dtype).removeprefix('torch.')} on {weight.device.type}"
    if kind != "float32 on cpu":
        return Choice("reference", f"no kernel for {{}} in {kind}")
    if torch.is_autocast_enabled("cpu"):
        return Choice("reference", "no kernel for {} under autocast")
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return Choice("reference", "no kernel for {} under torch.compile and torch.func")
    return Choice("plait-cpu", "compiled loops for {} in float32", fused=name)


class Filters(NamedTuple):
    """The terms of a linear operator, those of its gradient, and where their numbers lie."""

    terms: Terms
    transposed: Terms
    held: tuple[Tensor, ...]


@lru_cache(16)
def product_alone(nodes: int) -> Filters:
    """Give the one term of a matrix product, without a graph."""
    return filters((), 0, True, nodes)


def filters(shifts: tuple[Shift, ...], order: int, hears_itself: bool, nodes: int) -> Filters:
    """Stack the shifts of an operator, each with so many terms."""
    shifts = shifts if order else ()
    width = 1 + order * len(shifts)
    heard = width if hears_itself else width - 1
    there = _stacked([s.matrix for s in shifts], nodes)
    back = _stacked([s.transposed for s in shifts], nodes)
    terms, transposed = (
        Terms(nodes, width, heard, len(shifts), *map(Tensor.data_ptr, side))
        for side in (there, back)
    )
    return Filters(terms, transposed, (*there, *back))


def _stacked(matrices: list[Tensor], nodes: int) -> tuple[Tensor, ...]:
    """Give offsets `[shifts, N + 1]`, columns and values of several matrices, and them if dense."""
    parts = [m if m.layout == torch.sparse_csr else m.to_sparse_csr() for m in matrices]
    offsets = torch.zeros(len(parts), nodes + 1, dtype=torch.int32)
    for k, part in enumerate(parts):
        offsets[k] = part.crow_indices() + (offsets[k - 1, -1] if k else 0)
    columns = torch.cat([torch.zeros(0, dtype=torch.int32), *(p.col_indices() for p in parts)])
    values = torch.cat([torch.zeros(0), *(p.values() for p in parts)])
    dense = torch.zeros(0)
    if len(values) > DENSE * len(parts) * nodes**2:
        dense = torch.stack([m.to_dense() for m in matrices])
    return offsets, columns.int(), values, dense


class Packing(NamedTuple):
    """Sequences by falling lengths, and of every step those that have it: P rows in all."""

    T: int
    B: int
    starts: Tensor  # int32 [T + 1], the rows before those of each step
    order: Tensor | None  # [B]; None: all are of length T
    back: Tensor | None  # [B], the order undone
    index: Tensor | None  # [P], where the rows stand among T · B

    @classmethod
    def of(cls, lengths: Tensor | None, T: int, B: int) -> "Packing":
        """Pack `[T, B]` sequences of these lengths."""
        if lengths is None:
            return _unpacked(T, B)
        ends, order = lengths.sort(descending=True, stable=True)
        steps = torch.arange(T)[:, None]
        has = steps < ends  # [T, B]
        starts = torch.zeros(T + 1, dtype=torch.int32)
        starts[1:] = has.sum(1).cumsum(0)
        return cls(T, B, starts, order, order.argsort(), (steps * B + order)[has])

    def pack(self, x: Tensor) -> Tensor:
        """Give the rows `[P, …]` of `[T, B, …]`."""
        x = x.flatten(0, 1)
        return x if self.index is None else x.index_select(0, self.index)

    def unpack(self, x: Tensor) -> Tensor:
        """Put the rows `[P, …]` back, zeros past the ends: `[T, B, …]`."""
        if self.index is not None:
            x = x.new_zeros(self.T * self.B, *x.shape[1:]).index_copy(0, self.index, x)
        return x.unflatten(0, (self.T, self.B))

    def sort(self, state: Sequence[Tensor]) -> State:
        """Order states `[B, …]` by falling lengths."""
        return tuple(s if self.order is None else s.index_select(0, self.order) for s in state)

    def unsort(self, state: Sequence[Tensor]) -> State:
        """Bring states back into the order of the batch."""
        return tuple(s if self.back is None else s.index_select(0, self.back) for s in state)


@lru_cache(64)
def _unpacked(T: int, B: int) -> Packing:
    """Say that all sequences are of length T; it is asked for at every call."""
    return Packing(T, B, torch.arange(T + 1, dtype=torch.int32) * B, None, None, None)


class Plan(NamedTuple):
    """What a layer is given beside tensors."""

    algebra: Algebra
    filters: Filters
    packing: Packing
    masks: Tensor  # [B, (N,) H], or empty
    again: Callable[..., tuple[Tensor, ...]]  # the same in torch operations
    differentiate: bool


def run(
    algebra: Algebra,
    x: Tensor,
    bias: Tensor,
    weight: Tensor,
    extra: Tensor,
    start: State,
    filters: Filters,
    packing: Packing,
    masks: Tensor | None,
    again: Callable[..., tuple[Tensor, ...]],
) -> tuple[Tensor, State]:
    """Run one layer in one direction.

    Parameters
    ----------
    algebra : Algebra
    x : Tensor `[P, (N,) G·H]`
        The input side, without its bias, packed.
    bias : Tensor `[G·H]`
    weight : Tensor `[G·H, terms · H]`
    extra : Tensor `[H]`, `[3, H]` or empty
        The recurrent bias of a GRU with reset after, or peepholes.
    start : tuple of Tensor `[B, (N,) H]`
        Sorted as the packing says.
    filters : Filters
    packing : Packing
    masks : Tensor `[B, (N,) H]`
        Sorted too: what the heard states are multiplied by at every step. None: nothing.
    again : callable
        From x, bias, weight, extra and the states to outputs and final states by torch.

    Returns
    -------
    outputs : Tensor `[P, (N,) H]`
    final state : tuple of Tensor `[B, (N,) H]`
    """
    tensors = (x, bias, weight, extra, *start)
    differentiate = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    masks = room(0) if masks is None else masks.contiguous()
    plan = Plan(algebra, filters, packing, masks, again, differentiate)
    y, *final = _Layer.apply(plan, *tensors)  # pyright: ignore[reportGeneralTypeIssues]
    return y, tuple(final)


class _Layer(Function):
    @staticmethod
    def forward(ctx: Any, plan: Plan, *tensors: Tensor) -> tuple[Tensor, ...]:
        x, _, weight, _, *start = tensors
        H, first = start[0].shape[-1], plan.algebra.first * start[0].shape[-1]
        final = [s.clone(memory_format=torch.contiguous_format) for s in start]
        y = room(*x.shape[:-1], H)
        keep = cells = room(0)
        if plan.differentiate:
            keep = room(*x.shape[:-1], plan.algebra.kept * H)
            cells = room(*y.shape) if len(start) > 1 else cells
        packed = [pack(weight[:first].T), pack(weight[first:].T)]
        cell, run, held = _arguments(plan, tensors, final, packed, y, keep, cells)
        terms = plan.filters.terms

        def block(first: int, last: int, scratch: int) -> None:
            loops.forward(cell, run, terms, first, last, scratch)

        _in_blocks(plan, H, block)
        del held
        ctx.plan = plan
        ctx.save_for_backward(*tensors, y, keep, cells)
        return (y, *final)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        plan: Plan = ctx.plan
        *tensors, y, keep, cells = ctx.saved_tensors
        if torch.is_grad_enabled():
            return None, *_again(plan, tensors, grads)
        x, _, weight, _, *start = tensors
        H, first = y.shape[-1], plan.algebra.first * y.shape[-1]
        start = [s.contiguous() for s in start]
        dy = grads[0].contiguous()
        changes = [g.clone(memory_format=torch.contiguous_format) for g in grads[1:]]
        dx = room(*x.shape)
        size = _size(plan)
        vectors = x.new_zeros(-(-plan.packing.B // size), 3, H)
        packed = [pack(weight[:first]), pack(weight[first:])]
        cell, run, held = _arguments(plan, tensors, start, packed, y, keep, cells)
        of = (dy, changes[0], changes[-1], dx, vectors, start[0], start[-1], *packed)
        back, terms = steps.Back(*(t.data_ptr() for t in of)), plan.filters.transposed

        def block(first: int, last: int, scratch: int) -> None:
            loops.backward(cell, run, back, terms, first, last, first // size, scratch)

        _in_blocks(plan, H, block)
        del held
        weight_grad, extra_grad = _weights(plan, dx, start[0], y, keep)
        if plan.algebra.name == "LSTM" and plan.algebra.option:
            extra_grad = vectors.sum(0)
        bias_grad = dx.flatten(0, -2).sum(0)
        return None, dx, bias_grad, weight_grad, extra_grad, *changes


def _arguments(
    plan: Plan, tensors: Sequence[Tensor], states: Sequence[Tensor], packed: Sequence[Tensor],
    y: Tensor, keep: Tensor, cells: Tensor,
) -> tuple[Any, steps.Run, list[Tensor]]:  # fmt: skip
    """Give the cell and the addresses for the loops, and what must live while they run."""
    H = y.shape[-1]
    x, bias, _, extra, *_ = (t.contiguous() for t in tensors)
    run = steps.Run(
        plan.packing.T, H, x.shape[-1], plan.algebra.first * H, x.data_ptr(), bias.data_ptr(),
        packed[0].data_ptr(), packed[1].data_ptr(), extra.data_ptr(),
        plan.packing.starts.data_ptr(), states[0].data_ptr(),
        states[1].data_ptr() if len(states) > 1 else 0, y.data_ptr(),
        keep.shape[-1], keep.data_ptr(), cells.data_ptr(), plan.masks.data_ptr(),
    )  # fmt: skip
    return plan.algebra.cell, run, [x, bias, extra]


def _in_blocks(plan: Plan, H: int, call: Callable[[int, int, int], None]) -> None:
    """Call with the members of each block and room for what they need as they run."""
    size, members = _size(plan), plan.packing.B
    terms, gates = plan.filters.terms, plan.algebra.first

    def block(first: int) -> None:
        last = min(first + size, members)
        scratch = room((last - first) * terms.nodes * H * (2 * terms.width + gates + 5))
        call(first, last, scratch.data_ptr())

    in_threads(block, range(0, members, size))


def _size(plan: Plan) -> int:
    """Give the members of a block."""
    return _members(plan.packing.B, plan.filters.terms.nodes)


def _members(count: int, nodes: int) -> int:
    """Cut so many members into blocks, enough for all threads."""
    rows = min(BLOCK, -(-count * nodes // torch.get_num_threads()))
    return max(1, -(-rows // ROWS) * ROWS // nodes)


def _weights(
    plan: Plan, dx: Tensor, start: Tensor, y: Tensor, keep: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Give the gradient of the weights `[G·H, terms · H]`, and of the bias of what n hears.

    It is summed in parts that do not depend on the threads.
    """
    H, gates, terms = y.shape[-1], dx.shape[-1], plan.filters.terms
    first, second = plan.algebra.first * H, gates - plan.algebra.first * H
    more, reset, extra_grad = dx[..., first:], 0, None
    if plan.algebra.name == "GRU after":
        first, second = 2 * H, H
        more = dx[..., first:] * keep[..., :H]
        extra_grad = more.flatten(0, -2).sum(0)
    elif plan.algebra.name == "GRU before":
        reset = keep.data_ptr()
    sums = loops.Sums(
        H, plan.packing.starts.data_ptr(), y.data_ptr(), start.data_ptr(), dx.data_ptr(), gates,
        first, more.data_ptr(), more.stride(-2), second, reset, keep.shape[-1],
        plan.masks.data_ptr(),
    )  # fmt: skip
    T, most = plan.packing.T, max(1, AT_ONCE // terms.nodes)
    steps, columns = (T, COLUMNS) if terms.width == 1 else (-(-T // GROUPS), gates)
    if y.numel() * gates < WORTH:
        steps, columns = T, gates
    parts = [(t, left) for t in range(0, T, steps) for left in range(0, gates, columns)]
    grads = y.new_zeros(-(-T // steps), terms.heard * H, gates)

    def part(number: int) -> None:
        t, left = parts[number]
        scratch = room(most * terms.nodes, terms.width * H + PANEL)
        loops.weights(
            sums, terms, t, min(t + steps, T), left, min(left + columns, gates), most,
            grads[t // steps].data_ptr(), scratch.data_ptr(),
        )  # fmt: skip

    in_threads(part, range(len(parts)))
    return grads.sum(0).T, extra_grad


def stack(x: Tensor, terms: Terms) -> Tensor:
    """Put the terms of x `[rows, F]` side by side: `[rows, heard · F]`."""
    if terms.width == 1:
        return x
    rows, F = x.shape
    z = room(rows, terms.width * F)
    z[:, :F] = x
    members = rows // terms.nodes
    size = _members(members, terms.nodes)
    in_threads(
        lambda first: fill_all(terms, z.data_ptr(), first, min(first + size, members), F),
        range(0, members, size),
    )
    return z[:, (terms.width - terms.heard) * F :]


def stacked(x: Tensor, filters: Filters) -> Tensor:
    """Put the terms of x `[..., N, F]` side by side, to be differentiated to any order."""
    if filters.terms.width == 1:
        return x
    return _Stack.apply(x, filters, False)  # pyright: ignore[reportReturnType]


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """Give x Wᵀ, to be differentiated to any order."""
    return _Linear.apply(x, weight)  # pyright: ignore[reportReturnType]


class _Linear(Function):
    """The gradient of the weights, a sum over all rows, is BLAS's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        y = multiplied(x.flatten(0, -2), pack(weight.T), len(weight))
        return y.view(*x.shape[:-1], len(weight))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight = ctx.saved_tensors
        rows, dy = x.flatten(0, -2), grads[0].flatten(0, -2)
        if torch.is_grad_enabled():
            return (dy @ weight).view(x.shape), (rows.T @ dy).T
        dx = None
        if ctx.needs_input_grad[0]:
            dx = multiplied(dy, pack(weight), x.shape[-1]).view(x.shape)
        return dx, (rows.T @ dy).T  # the faster way round where x is narrow


class _Stack(Function):
    """Linear in x; its gradient is the same the other way, to be summed in place of stacked."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, filters: Filters, back: bool) -> Tensor:
        ctx.filters, ctx.back = filters, back
        rows = x.flatten(0, -2)
        y = _summed(rows, filters.transposed) if back else stack(rows, filters.terms)
        return y.view(*x.shape[:-1], y.shape[-1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _Stack.apply(grads[0], ctx.filters, not ctx.back), None, None  # pyright: ignore[reportReturnType]


def _summed(dz: Tensor, terms: Terms) -> Tensor:
    """Sum the terms `[rows, heard · F]` with the shifts transposed: `[rows, F]`."""
    F, members = dz.shape[1] // terms.heard, len(dz) // terms.nodes
    dz = dz.clone(memory_format=torch.contiguous_format)
    x, size = dz.new_zeros(len(dz), F), _members(members, terms.nodes)
    in_threads(
        lambda first: fold_all(
            terms, dz.data_ptr(), x.data_ptr(), first, min(first + size, members), F
        ),
        range(0, members, size),
    )
    return x


def _again(plan: Plan, tensors: list[Tensor], grads: tuple[Tensor, ...]) -> list[Tensor | None]:
    """Compute the gradients so that they can be differentiated themselves."""
    wanted = [t for t in tensors if t.requires_grad]
    outputs = plan.again(*tensors)
    found = iter(torch.autograd.grad(outputs, wanted, grads, create_graph=True, allow_unused=True))
    return [next(found) if t.requires_grad else None for t in tensors]
