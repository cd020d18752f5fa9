"""The compiled loops and steps as pairs of functions of tensors alone, without autograd.

They are what a compiled program calls (`plait.kernels.library`): forward returns what backward
wants kept as tensors of shapes that are known before it runs. With lengths these have room for the
padding, of which the rows in use come first.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from plait.kernels import precision
from plait.kernels.cpu import phases, recurrence
from plait.kernels.cpu.filtering import expanded, folded, linear
from plait.kernels.cpu.kernel import compiled_program, filters_of
from plait.kernels.cpu.matmul import multiplied, summed_outer
from plait.kernels.cpu.packing import Packing
from plait.kernels.cpu.rounding import pack
from plait.kernels.cpu.tables import CompiledProgram
from plait.kernels.handles import find, handle
from plait.kernels.kernel import Call, State

Results = tuple[list[Tensor], list[Tensor]]
Shapes = list[tuple[int, ...]]


class Loops:
    """All steps in one loop; the input side is computed here, from x."""

    @staticmethod
    def kept_shapes(layer: Any, call: Call) -> Shapes:
        """Return the shapes of what forward keeps."""
        rows, H = _rows(call), layer.hidden_size
        weight = layer.inputs["weight"]
        shapes = [(*rows, len(weight)), *_saved_shapes(layer, call, rows, H)]
        terms = (*rows, weight[0].numel()) if _keeps_terms(layer, call) else (0,)
        return [*shapes, terms]

    @staticmethod
    def forward(layer: Any, call: Call, mask: Tensor | None, *, keep: bool) -> Results:
        """Return outputs and final states, and what is kept."""
        record, packing, U = _record(layer, call, mask, keep)
        W, rows = layer.inputs["weight"], packing.pack(call.x)
        terms = rows.new_empty(0)
        if _product_first(layer, call):
            x_gates = layer.operator.apply(rows, {"weight": W.float()}, call.graph)
        else:
            terms = expanded(rows, record.filters)
            x_gates = precision.product(terms, W.flatten(1), linear)
        tensors = (x_gates, U, *layer.all_vectors().values(), *packing.sort(call.start))
        saved, final = recurrence.forward(record, tensors)
        kept = _kept(call, [x_gates, *saved], 3) if keep else []
        if keep:
            terms = terms.clone() if terms is rows else terms
            kept.append(_padded(call, terms) if _keeps_terms(layer, call) else rows.new_empty(0))
        return [packing.unpack(saved[2]), *packing.unsort(final)], kept

    @staticmethod
    def backward(
        layer: Any, call: Call, mask: Tensor | None, kept: Sequence[Tensor], y: Tensor,
        grads: Sequence[Tensor], *, wanted: bool,
    ) -> tuple[Tensor, State, dict[str, Tensor]]:  # fmt: skip
        """Return the gradients of x if wanted, of the start states, and of the weights by name."""
        record, packing, U = _record(layer, call, mask, True)
        x_gates, *saved, terms = _used(call, packing, kept, y, 3)
        vectors = layer.all_vectors()
        tensors = (x_gates, U, *vectors.values(), *packing.sort(call.start))
        dy, dfinal = packing.pack(grads[0]), packing.sort(grads[1:])
        dx_gates, dU, *rest = recurrence.backward(record, tensors, saved, (dy, *dfinal))
        found = _vector_names(vectors, rest)
        if layer.recurrent:
            found["recurrent.weight"] = dU.view_as(layer.recurrent["weight"])
        weight = layer.inputs["weight"]
        if _product_first(layer, call):
            rows, learnt = packing.pack(call.x).requires_grad_(), weight.detach().requires_grad_()
            with torch.enable_grad():
                again = layer.operator.apply(rows, {"weight": learnt.float()}, call.graph)
            dx, found["inputs.weight"] = torch.autograd.grad(again, (rows, learnt), dx_gates)
        else:
            W = weight.flatten(1)
            if not _keeps_terms(layer, call):
                terms = expanded(packing.pack(call.x), record.filters)
            dy, flat = dx_gates.flatten(0, -2), terms.flatten(0, -2)
            half = W.dtype != torch.float32
            dy = dy.to(W.dtype) if half else dy
            dW = dy.T @ flat.to(W.dtype) if half else summed_outer(dy, flat)
            found["inputs.weight"] = dW.view_as(weight)
            if not wanted:
                return weight.new_empty(0), packing.unsort(rest[len(vectors) :]), found
            dterms = (dy @ W).float() if half else multiplied(dy, pack(W), W.shape[1])
            dx = folded(dterms.view(*dx_gates.shape[:-1], W.shape[1]), record.filters)
        return packing.unpack(dx), packing.unsort(rest[len(vectors) :]), found


class Made:
    """What an operator was given and gave, and autograd's graph between; a handle holds it."""

    def __init__(self) -> None:
        self.pairs: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        self.chosen: dict[int, dict[str, Tensor]] = {}


class Steps:
    """Compiled steps around an operator; x is the input side, which is computed before."""

    @staticmethod
    def kept_shapes(layer: Any, call: Call) -> Shapes:
        """Return the shapes of what forward keeps."""
        rows, H = _rows(call), layer.hidden_size
        values = [(*rows, H)] * len(_program(layer, call.dropout > 0).program.products)
        return [*_saved_shapes(layer, call, rows, H), *values]

    @staticmethod
    def forward(layer: Any, call: Call, mask: Tensor | None, *, keep: bool) -> Results:
        """Return outputs and final states, and what is kept."""
        packing = Packing.of(call.lengths, *call.x.shape[:2])
        steps = phases.steps_of(layer, call, packing, mask, None, keep)
        tensors = _of_steps(layer, call, packing)
        starts, products = packing.starts.tolist(), steps.compiled.program.products
        values = [torch.empty(*tensors[0].shape[:-1], layer.hidden_size) for _ in products]
        made, chosen = Made(), phases.leaves(steps, tensors)

        def apply(p: Any, value: Tensor, weights: Any, t: int) -> Tensor:
            if not keep:
                with _drawn_as(call.seed, t, p.index):
                    return steps.operator(value, weights, t)
            values[p.index][starts[t] : starts[t + 1]] = value
            made.pairs[t, p.index] = _made(steps, call, p, value, chosen, t)
            return made.pairs[t, p.index][1]

        made.chosen = chosen
        saved, final = phases.forward(steps, tensors, chosen, apply)
        kept = [*_kept(call, [*saved, *values], 2), handle(made)] if keep else []
        return [packing.unpack(saved[2]), *packing.unsort(final)], kept

    @staticmethod
    def backward(
        layer: Any, call: Call, mask: Tensor | None, kept: Sequence[Tensor], y: Tensor,
        grads: Sequence[Tensor], *, wanted: bool,
    ) -> tuple[Tensor, State, dict[str, Tensor]]:  # fmt: skip
        """Return the gradients of x, of the start states, and of the weights by name."""
        packing = Packing.of(call.lengths, *call.x.shape[:2])
        steps = phases.steps_of(layer, call, packing, mask, None, True)
        tensors = _of_steps(layer, call, packing)
        count = len(steps.compiled.program.products)
        *kept, token = kept
        found = _used(call, packing, kept, y, 2)
        saved, values = found[: len(found) - count], found[len(found) - count :]
        starts, before = packing.starts.tolist(), find(token)
        chosen = phases.leaves(steps, tensors) if before is None else before.chosen

        def made(p: Any, t: int) -> tuple[Tensor, Tensor]:
            if before is not None:
                return before.pairs[t, p.index]
            return _made(steps, call, p, values[p.index][starts[t] : starts[t + 1]], chosen, t)

        dy, dfinal = packing.pack(grads[0]), packing.sort(grads[1:])
        dx, *rest = phases.backward(steps, tensors, saved, chosen, (dy, *dfinal), made)
        vectors = layer.all_vectors()
        named = _vector_names(vectors, rest)
        for name, change in zip(layer.recurrent, rest[len(vectors) :], strict=False):
            named[f"recurrent.{name}"] = change
        first = len(vectors) + len(layer.recurrent)
        return packing.unpack(dx), packing.unsort(rest[first:]), named


def _rows(call: Call) -> tuple[int, ...]:
    """Return the rows of all steps, by their nodes where there are any: `[T·B, (N,)]`."""
    T, B, *rest = call.x.shape
    return (T * B, *rest[:-1])


def _program(layer: Any, dropped: bool) -> CompiledProgram:
    return compiled_program(layer.program(dropped=dropped))


def _saved_shapes(layer: Any, call: Call, rows: tuple[int, ...], H: int) -> Shapes:
    """Return the shapes of kept values, kept rows, outputs and histories, as they are padded."""
    compiled = _program(layer, call.dropout > 0)
    gradient = compiled.gradient
    shapes = [(*rows, len(gradient.kept) * H), (*rows, len(gradient.kept_rows))]
    shapes.append((0,) if call.lengths is None else (*rows, H))  # without lengths, y itself
    return shapes + [(*rows, H) if wanted else (0,) for wanted in compiled.histories[1:]]


def _keeps_terms(layer: Any, call: Call) -> bool:
    """State whether the basis of the input is kept: with a graph, where its product comes last."""
    return call.graph is not None and not _product_first(layer, call)


def _product_first(layer: Any, call: Call) -> bool:
    return call.graph is not None and call.x.shape[-1] > len(layer.inputs["weight"])


def _record(
    layer: Any, call: Call, mask: Tensor | None, keep: bool
) -> tuple[recurrence.Layer, Packing, Tensor]:
    packing = Packing.of(call.lengths, *call.x.shape[:2])
    filters = filters_of(layer, call.x, call.graph)
    U = call.x.new_empty(0, filters.basis.weighted)
    if layer.recurrent:
        U = layer.recurrent["weight"].flatten(1)
    mask = None if mask is None else packing.sort([mask])[0].contiguous()
    record = recurrence.Layer(
        _program(layer, mask is not None), filters, packing, mask, layer.recurrent_gates,
        tuple(layer.all_vectors()), _no_second_gradient, keep,
    )  # fmt: skip
    return record, packing, U


def _no_second_gradient(*tensors: Tensor) -> tuple[Tensor, ...]:
    raise NotImplementedError("a compiled program gives first gradients alone")


def _of_steps(layer: Any, call: Call, packing: Packing) -> tuple[Tensor, ...]:
    vectors, weights = layer.all_vectors().values(), dict(layer.recurrent).values()
    return (packing.pack(call.x), *vectors, *weights, *packing.sort(call.start))


def _vector_names(vectors: dict[str, Tensor], grads: Sequence[Tensor]) -> dict[str, Tensor]:
    """Name the gradients of vectors as the weights of a layer are named."""
    own = ("bias", "recurrent_bias")
    return {
        name if name in own else f"vectors.{name}": g
        for name, g in zip(vectors, grads, strict=False)
    }


def _padded(call: Call, t: Tensor) -> Tensor:
    if call.lengths is None or t.shape == (0,):
        return t
    T, B = call.x.shape[:2]
    whole = t.new_empty(T * B, *t.shape[1:])
    whole[: len(t)] = t
    return whole


def _kept(call: Call, tensors: list[Tensor], y: int) -> list[Tensor]:
    """Return what is kept; without lengths y, the tensor of this number, is an output already."""
    if call.lengths is None:
        tensors[y] = tensors[y].new_empty(0)
    return [_padded(call, t) for t in tensors]


def _used(call: Call, packing: Packing, kept: Sequence[Tensor], y: Tensor, at: int) -> list[Tensor]:
    """Undo `_kept`: the rows in use, y among them."""
    if call.lengths is None:
        found = list(kept)
        found[at] = packing.pack(y)
        return found
    count = int(packing.starts[-1])
    return [t if t.shape == (0,) else t[:count] for t in kept]


def _made(
    steps: phases.Steps, call: Call, p: Any, value: Tensor, chosen: Any, t: int
) -> tuple[Tensor, Tensor]:
    """Apply the operator to one value, and keep the graph of autograd."""
    value = value.clone().requires_grad_()
    with torch.enable_grad(), _drawn_as(call.seed, t, p.index):
        return value, steps.operator(value, chosen[p.index], t)


@contextmanager
def _drawn_as(seed: Tensor | None, t: int, index: int) -> Iterator[None]:
    """Draw the same numbers for a step's product whenever it is computed."""
    if seed is None:
        yield
        return
    before = torch.default_generator.get_state()
    torch.default_generator.manual_seed(int(seed) + 31 * t + index)
    try:
        yield
    finally:
        torch.default_generator.set_state(before)
