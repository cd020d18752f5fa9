"""A layer over time in one function of autograd: any traceable cell × any linear operator.

The input side is computed before, for all steps at once; the gradients of the weights after, for
all steps too. Between them lie the loops over time (`loops`). It differentiates once by the loops;
where a graph of the gradient is wanted, it is computed again in torch.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from plait.kernels.cpu import loops
from plait.kernels.cpu.filtering import Filters, members
from plait.kernels.cpu.jit import empty_f32, plain
from plait.kernels.cpu.matmul import GRADIENT_ROWS, PARALLEL_THRESHOLD, columns_each
from plait.kernels.cpu.packing import Packing
from plait.kernels.cpu.parts import Parts
from plait.kernels.cpu.rounding import pack
from plait.kernels.cpu.tables import CompiledProgram, Layout, Weights, addresses
from plait.kernels.transforms import transformed

State = tuple[Tensor, ...]

GROUPS = 8
"""Parts of the steps of the weights' gradient that one thread takes at a time, on a graph."""


class Layer(NamedTuple):
    """Arguments of a layer other than tensors."""

    compiled: CompiledProgram
    filters: Filters
    packing: Packing
    mask: Tensor | None  # [B, (N,) H]
    gates: Sequence[str]  # those that have recurrent weights, as these are stacked
    names: Sequence[str]  # of the weight vectors
    again: Callable[..., tuple[Tensor, ...]]  # the same in torch operations
    differentiate: bool

    @property
    def block_size(self) -> int:
        """The members of the batch in a block."""
        return members(self.packing.B, self.filters.basis.nodes)

    def common(self, tensors: Sequence[Tensor], saved: Sequence[Tensor]) -> dict[str, Tensor]:
        """Name what both directions read or write."""
        found = {"input": tensors[0], "kept": saved[0], "kept rows": saved[1], "y": saved[2]}
        found |= {f"history {k}": h for k, h in enumerate(saved[3:], 1)}
        found |= {f"vector {n}": v for n, v in zip(self.names, tensors[2:], strict=False)}
        if self.mask is not None:
            found["mask"] = self.mask
        return found


def run(
    compiled: CompiledProgram,
    x: Tensor,
    weights: Weights,
    vectors: Mapping[str, Tensor],
    start: State,
    filters: Filters,
    packing: Packing,
    mask: Tensor | None,
    again: Callable[..., tuple[Tensor, ...]],
) -> tuple[Tensor, State]:
    """Run one layer in one direction.

    Parameters
    ----------
    compiled : CompiledProgram
    x : Tensor `[P, (N,) G·H]`
        The input side, without its bias, packed.
    weights : Weights
    vectors : mapping of Tensor `[k · H]`
        By the names in the program.
    start : tuple of Tensor `[B, (N,) H]`
        Sorted as the packing says.
    filters : Filters
    packing : Packing
    mask : Tensor `[B, (N,) H]`
        Sorted too: what recurrent dropout multiplies by at every step. None: nothing.
    again : callable
        From x, the weights, the vectors and the states to outputs and final states by torch.

    Returns
    -------
    outputs : Tensor `[P, (N,) H]`
    final state : tuple of Tensor `[B, (N,) H]`
    """
    tensors = (x, weights.matrix, *vectors.values(), *start)
    wanted = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    mask = None if mask is None else plain(mask)
    layer = Layer(compiled, filters, packing, mask, weights.gates, tuple(vectors), again, wanted)
    if not wanted:
        saved, final = forward(layer, tensors)
        return saved[2], tuple(final)
    y, *final = _Recurrence.apply(layer, *tensors)  # pyright: ignore[reportGeneralTypeIssues]
    return y, tuple(final)


def forward(layer: Layer, tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Return what is saved (kept values, outputs, histories), and the final states."""
    compiled, filters, packing = layer.compiled, layer.filters, layer.packing
    held = [plain(t) for t in tensors]
    start = held[2 + len(layer.names) :]
    H, lead = start[0].shape[-1], held[0].shape[:-1]
    final = [torch.empty_like(s) for s in start]
    none = empty_f32(0)
    saved = [none, none, empty_f32(*lead, H), *[none] * (len(start) - 1)]
    if layer.differentiate:
        saved[0] = empty_f32(*lead, len(compiled.gradient.kept) * H)
        saved[1] = empty_f32(*lead, len(compiled.gradient.kept_rows))
        for k, wanted in enumerate(compiled.histories):
            if wanted:
                saved[2 + k] = empty_f32(*lead, H)
    weights = Weights(held[1], layer.gates)
    packed = [pack(weights.of(p.gates).T) for p in compiled.program.products]
    values = addresses(
        layer.common(held, saved)
        | {f"start {k}": s for k, s in enumerate(start)}
        | {f"final {k}": f for k, f in enumerate(final)}
        | {f"weights {k}": w for k, w in enumerate(packed)}
        | {"starts": packing.starts}
    ) | {"T": packing.T, "function": compiled.forward}  # fmt: skip
    layout = compiled.layout("forward", H, filters.basis)
    table, address = layout.fill(filters.basis, values)
    _in_blocks(loops.forward, layer, layout, address)
    del table
    return saved, final


class _Recurrence(Function):
    @staticmethod
    def forward(ctx: Any, layer: Layer, *tensors: Tensor) -> tuple[Tensor, ...]:
        saved, final = forward(layer, tensors)
        ctx.layer = layer
        ctx.save_for_backward(*tensors, *saved)
        return (saved[2], *final)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        layer: Layer = ctx.layer
        count = 2 + len(layer.names) + len(layer.compiled.program.states)
        tensors, saved = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        if torch.is_grad_enabled() or transformed(*grads):
            return None, *plain_gradients(layer.again, tensors, grads)
        return None, *backward(layer, tensors, saved, grads)


def backward(
    layer: Layer, tensors: Sequence[Tensor], saved: Sequence[Tensor], grads: Sequence[Tensor]
) -> list[Tensor]:
    """Return the gradients of the tensors that `forward` was given."""
    compiled, filters, packing = layer.compiled, layer.filters, layer.packing
    states, count = len(compiled.program.states), 2 + len(layer.names)
    held = [plain(t) for t in tensors]
    start, H = held[count:], held[count].shape[-1]
    dy, *dfinal = (plain(g) for g in grads)
    x, lead = held[0], held[0].shape[:-1]
    dx, dstart = empty_f32(*x.shape), [torch.empty_like(s) for s in start]
    vectors, size = compiled.program.vectors, layer.block_size
    sums = x.new_zeros(-(-packing.B // size), len(vectors), H)
    given = layer.common(held, saved) | {"dy": dy, "dinput": dx, "sums": sums}
    weights = Weights(held[1], layer.gates)
    for p in compiled.program.products:
        name, _ = compiled.source_of(p.index)
        if name != "dinput":
            given[name] = empty_f32(*lead, len(p.gates) * H)
        given[f"weights {p.index}"] = pack(weights.of(p.gates))
    for k in range(states):
        given |= {f"start {k}": dfinal[k], f"final {k}": dstart[k]}
        given |= {f"origin {k}": start[k], f"past {k}": saved[2 + k]}
    values = addresses(given | {"starts": packing.starts})
    values |= {"T": packing.T, "function": compiled.backward}
    layout = compiled.layout("backward", H, filters.basis)
    table, address = layout.fill(filters.transposed, values)
    _in_blocks(loops.backward, layer, layout, address)
    del table
    weight_grad = _gradient_of_weights(layer, values, held[1], dx)
    total = sums.sum(0)
    places = [name for name, _ in vectors]
    vector_grads = []
    for name, vector in zip(layer.names, held[2:], strict=False):
        first = places.index(name)
        vector_grads.append(total[first : first + places.count(name)].view_as(vector))
    return [dx, weight_grad, *vector_grads, *dstart]


def _in_blocks(run: Parts, layer: Layer, layout: Layout, address: int) -> None:
    """Run all members of the batch, a block of them a part."""
    size, count = layer.block_size, layer.packing.B
    rows = min(size, count) * layer.filters.basis.nodes
    run(-(-count // size), layout.room(rows), address, size, count)


def _gradient_of_weights(
    layer: Layer, values: Mapping[str, int], matrix: Tensor, dx: Tensor
) -> Tensor:
    """Return the gradient of the recurrent weights `[gates · H, terms · H]`.

    It is summed in parts that do not depend on threads, all products into one matrix.
    """
    compiled, basis, T = layer.compiled, layer.filters.basis, layer.packing.T
    rows, (_, width) = dx.numel() // max(1, dx.shape[-1]), matrix.shape
    H, most = width // basis.weighted, max(1, GRADIENT_ROWS // basis.nodes)
    small = rows * matrix.numel() < PARALLEL_THRESHOLD
    steps = T if small or basis.width == 1 else -(-T // GROUPS)
    grads = matrix.new_zeros(-(-T // steps), *matrix.shape)
    for product in compiled.program.products:
        name, begin = compiled.source_of(product.index)
        layout = compiled.layout("weights", H, basis, product.index)
        table, address = layout.fill(basis, values)
        which = len(compiled.written.backward.effects) + product.index
        for first, place, count in _runs(product.gates, layer.gates):
            columns = count * H
            each = columns if small or basis.width > 1 else columns_each(columns)
            loops.weights(
                len(grads) * -(-columns // each), layout.room(most * basis.nodes), address, which,
                layout.slots[f"value {product.index}"], layout.slots[name], (begin + first) * H, T,
                steps, columns, each, most, grads.data_ptr() + 4 * place * H * width,
                matrix.numel(),
            )  # fmt: skip
        del table
    return grads[0] if len(grads) == 1 else grads.sum(0)


def _runs(gates: Sequence[str], of: Sequence[str]) -> list[tuple[int, int, int]]:
    """Cut gates into runs that are contiguous in `of` too: both beginnings, and the length."""
    places = [of.index(gate) for gate in gates]
    cuts = [k for k, p in enumerate(places) if k == 0 or p != places[k - 1] + 1]
    return [(k, places[k], end - k) for k, end in zip(cuts, [*cuts[1:], len(gates)], strict=True)]


def plain_gradients(
    again: Callable[..., tuple[Tensor, ...]], tensors: Sequence[Tensor], grads: Sequence[Tensor]
) -> list[Tensor | None]:
    """Compute the gradients in torch, so that they can be differentiated themselves."""
    wanted = [t for t in tensors if t.requires_grad]
    create = torch.is_grad_enabled()
    with torch.enable_grad():
        outputs = again(*tensors)
        found = iter(
            torch.autograd.grad(outputs, wanted, grads, create_graph=create, allow_unused=True)
        )
    return [next(found) if t.requires_grad else None for t in tensors]
