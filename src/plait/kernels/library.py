"""The kernels as operators of `torch.library`, which a compiler takes as they are.

`torch.ops.plait.recurrence` runs one layer in one direction, `propagate` multiplies by a shift of a
graph, `attend` is attention over its edges. Their arguments are tensors, and strings that name a
kernel, a layer or an operator (`plait.kernels.handles`); graphs come as handles, so that another
graph needs no other program. The gradients are operators too, and what they want kept is given
back by the first ones as tensors. There is no gradient of a gradient, as under any compiler.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from plait.kernels import attention, precision, sparse
from plait.kernels.cpu.kernel import CompiledLoops
from plait.kernels.cpu.phases import CompiledPhases
from plait.kernels.cpu.stateless import Loops, Steps
from plait.kernels.handles import held_by, known_as
from plait.kernels.kernel import Call, Choice, State, choose
from plait.kernels.reference import Reference
from plait.kernels.transforms import differentiable

PAIRS: dict[str, Any] = {CompiledLoops.name: Loops, CompiledPhases.name: Steps}
"""By a kernel's name, what runs it as functions of tensors."""


@torch.library.custom_op("plait::recurrence", mutates_args=())
def recurrence(
    x: Tensor, start: Sequence[Tensor], weights: Sequence[Tensor], lengths: Tensor | None,
    mask: Tensor | None, seed: Tensor | None, graphs: Sequence[Tensor], kernel: str, key: str,
    training: bool, keep: bool,
) -> list[Tensor]:  # fmt: skip
    """Return outputs, final states, and with `keep` what the gradient wants."""
    layer, call = _called(x, start, weights, lengths, mask, seed, graphs, kernel, key, training)
    with differentiable():
        outputs, kept = PAIRS[kernel].forward(layer, call, mask, keep=keep)
    return [_own(t) for t in (*outputs, *kept)]


@recurrence.register_fake
def _(
    x: Tensor, start: Sequence[Tensor], weights: Sequence[Tensor], lengths: Tensor | None,
    mask: Tensor | None, seed: Tensor | None, graphs: Sequence[Tensor], kernel: str, key: str,
    training: bool, keep: bool,
) -> list[Tensor]:  # fmt: skip
    layer = _layer(weights, kernel, key, training)
    call = Call(x, tuple(start), graphs or None, lengths, dropout=float(mask is not None))
    outputs = [x.new_empty(*x.shape[:-1], layer.hidden_size)]
    outputs += [torch.empty_like(s, memory_format=torch.contiguous_format) for s in start]
    shapes = PAIRS[kernel].kept_shapes(layer, call) if keep else []
    kept = [x.new_empty(shape, dtype=start[0].dtype) for shape in shapes]
    if keep and kernel == CompiledPhases.name:  # a handle
        kept.append(torch.empty(1, dtype=torch.int64))
    return [*outputs, *kept]


@torch.library.custom_op("plait::recurrence_backward", mutates_args=())
def recurrence_backward(
    grads: Sequence[Tensor], x: Tensor, start: Sequence[Tensor], weights: Sequence[Tensor],
    lengths: Tensor | None, mask: Tensor | None, seed: Tensor | None, graphs: Sequence[Tensor],
    y: Tensor, kept: Sequence[Tensor], kernel: str, key: str, training: bool, wanted: bool,
) -> list[Tensor]:  # fmt: skip
    """Return the gradients of x, if wanted, the start states and the weights."""
    layer, call = _called(x, start, weights, lengths, mask, seed, graphs, kernel, key, training)
    with differentiable():
        dx, dstart, named = PAIRS[kernel].backward(layer, call, mask, kept, y, grads, wanted=wanted)
        dx = dx if wanted else x.new_empty(0)
    return [_own(g) for g in (dx, *dstart, *(named[name] for name in layer.tensors()))]


@recurrence_backward.register_fake
def _(
    grads: Sequence[Tensor], x: Tensor, start: Sequence[Tensor], weights: Sequence[Tensor],
    lengths: Tensor | None, mask: Tensor | None, seed: Tensor | None, graphs: Sequence[Tensor],
    y: Tensor, kept: Sequence[Tensor], kernel: str, key: str, training: bool, wanted: bool,
) -> list[Tensor]:  # fmt: skip
    dx = x if wanted else x.new_empty(0)
    return [
        torch.empty_like(t, memory_format=torch.contiguous_format) for t in (dx, *start, *weights)
    ]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    x, start, weights, lengths, mask, seed, graphs, *ctx.constants, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.counts = len(start), len(weights), len(graphs)
    y, final, kept = output[0], output[1 : 1 + len(start)], output[1 + len(start) :]
    ctx.like = [t.shape for t in (y, *final)]
    ctx.save_for_backward(x, *start, *weights, *graphs, lengths, mask, seed, y, *kept)


def _differentiate(ctx: Any, grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
    S, W, G = ctx.counts
    x, *rest = ctx.saved_tensors
    start, weights, graphs = rest[:S], rest[S : S + W], rest[S + W : S + W + G]
    lengths, mask, seed, y, *kept = rest[S + W + G :]
    given = [x.new_zeros(s) if g is None else g for g, s in zip(grads, ctx.like, strict=False)]
    dx, *found = torch.ops.plait.recurrence_backward(
        given, x, start, weights, lengths, mask, seed, graphs, y, kept, *ctx.constants,
        ctx.needs_input_grad[0],
    )  # fmt: skip
    dx = dx if ctx.needs_input_grad[0] else None
    none = [None] * G
    return dx, found[:S], found[S:], None, None, None, none, None, None, None, None


recurrence.register_autograd(_differentiate, setup_context=_keep)


@torch.library.custom_op("plait::propagate", mutates_args=())
def propagate(
    x: Tensor, plus: Tensor | None, graph: Tensor, operator: str, index: int, times: float,
    sign: float, back: bool,
) -> Tensor:  # fmt: skip
    """Return times · S x + sign · plus; with `back` by the transposed S."""
    filter, on = known_as(operator), held_by(graph)
    filter.check(x.movedim(0, -2), on)
    shifts = filter.shifts(on, x.dtype)
    if len(shifts) != filter.shift_count:
        raise ValueError(f"{filter!r} has {len(shifts)} shifts; set shift_count = {len(shifts)}")
    shift = shifts[index]
    if back:
        shift = sparse.Shift(shift.transposed, shift.matrix)
    with differentiable():
        y = sparse.propagate(shift, x, plus, times=times, minus=sign < 0)
    return _own(y)


@propagate.register_fake
def _(
    x: Tensor, plus: Tensor | None, graph: Tensor, operator: str, index: int, times: float,
    sign: float, back: bool,
) -> Tensor:  # fmt: skip
    kind = x.dtype if plus is None else torch.promote_types(x.dtype, plus.dtype)
    return x.new_empty(x.shape, dtype=kind)


def _keep_propagate(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, plus, graph, ctx.operator, ctx.index, ctx.times, ctx.sign, ctx.back = inputs
    ctx.kinds = x.dtype, None if plus is None else plus.dtype
    ctx.save_for_backward(graph)


def _differentiate_propagate(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    (graph,), (kind, plus_kind) = ctx.saved_tensors, ctx.kinds
    dx = dplus = None
    if ctx.needs_input_grad[0]:
        dx = torch.ops.plait.propagate(
            grad.to(kind), None, graph, ctx.operator, ctx.index, ctx.times, 1.0, not ctx.back
        )
    if plus_kind is not None and ctx.needs_input_grad[1]:
        dplus = (ctx.sign * grad).to(plus_kind)
    return dx, dplus, None, None, None, None, None, None


propagate.register_autograd(_differentiate_propagate, setup_context=_keep_propagate)


@torch.library.custom_op("plait::neighbourhood", mutates_args=())
def neighbourhood(graph: Tensor, like: Tensor, version: str) -> list[Tensor]:
    """Return the sources and targets of a neighbourhood's edges, and their features."""
    found = held_by(graph)
    hood = attention.neighbourhood_of(found)
    features = attention.edge_features_of(found)
    ends = [part.to(torch.long, copy=True) for part in (hood.sources, hood.targets)]
    return [*ends, features.clone()]  # copies: a compiled program may write over what it is given


@neighbourhood.register_fake
def _(graph: Tensor, like: Tensor, version: str) -> list[Tensor]:
    edges = torch.library.get_ctx().new_dynamic_size()
    ends = [like.new_empty(edges, dtype=torch.long) for _ in range(2)]
    return [*ends, like.new_empty(edges, like.shape[1])]


@torch.library.custom_op("plait::attend", mutates_args=())
def attend(
    values: Tensor, left: Tensor, right: Tensor, vector: Tensor | None, graph: Tensor,
    lanes: Sequence[int], dropout: float, seed: Tensor | None, version: str,
) -> list[Tensor]:  # fmt: skip
    """Return what `attention.attend_packed` does, and what its gradient wants."""
    lay, drawn = attention.Lanes(*lanes), 0 if seed is None else int(seed)
    hood = attention.neighbourhood_of(held_by(graph))
    with differentiable():
        kept = attention.forward(values, left, right, vector, hood, lay, dropout, drawn)
    return [_own(t) for t in kept]


@attend.register_fake
def _(
    values: Tensor, left: Tensor, right: Tensor, vector: Tensor | None, graph: Tensor,
    lanes: Sequence[int], dropout: float, seed: Tensor | None, version: str,
) -> list[Tensor]:  # fmt: skip
    return [values.new_empty(shape) for shape in attention.kept_shapes(values, left, vector)]


@torch.library.custom_op("plait::attend_backward", mutates_args=())
def attend_backward(
    grad: Tensor, values: Tensor, left: Tensor, right: Tensor, vector: Tensor | None,
    graph: Tensor, lanes: Sequence[int], dropout: float, seed: Tensor | None,
    kept: Sequence[Tensor],
) -> list[Tensor]:  # fmt: skip
    """Return the gradients of values, left, right and, if there is one, the vector."""
    lay, drawn = attention.Lanes(*lanes), 0 if seed is None else int(seed)
    hood = attention.neighbourhood_of(held_by(graph))
    inputs = values, left, right, vector
    with differentiable():
        changes = attention.backward(grad, inputs, kept, hood, lay, dropout, drawn)
    return [_own(c) for c in changes if c is not None]


@attend_backward.register_fake
def _(
    grad: Tensor, values: Tensor, left: Tensor, right: Tensor, vector: Tensor | None,
    graph: Tensor, lanes: Sequence[int], dropout: float, seed: Tensor | None,
    kept: Sequence[Tensor],
) -> list[Tensor]:  # fmt: skip
    given = (values, left, right) if vector is None else (values, left, right, vector)
    return [t.new_empty(t.shape) for t in given]


def _keep_attend(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    *tensors, graph, ctx.lanes, ctx.dropout, seed, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, graph, seed, *output)


def _differentiate_attend(ctx: Any, grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
    *tensors, graph, seed = ctx.saved_tensors[:6]
    given = torch.zeros_like(tensors[0]) if grads[0] is None else grads[0]
    changes = torch.ops.plait.attend_backward(
        given, *tensors, graph, ctx.lanes, ctx.dropout, seed, ctx.saved_tensors[6:]
    )
    return *changes, *[None] * (9 - len(changes))


attend.register_autograd(_differentiate_attend, setup_context=_keep_attend)


@torch._dynamo.assume_constant_result
def chosen(
    key: str, names: tuple[str, ...], dtype: torch.dtype, device: str, changing: bool,
    padded: bool, dropped: bool, unroll: bool,
) -> str:  # fmt: skip
    """Return the name of the kernel that runs a layer in a compiled program."""
    x, lengths = torch.empty(1, 1, 1, dtype=dtype, device=device), None
    if padded:
        lengths = torch.ones(1, dtype=torch.long)
    graph = [None] if changing else None
    call = Call(x, (), graph, lengths, None, float(dropped), unroll)
    return choose_compiled(names, known_as(key), call).kernel.name


def choose_compiled(names: Sequence[str], layer: Any, call: Call) -> Choice:
    """Choose the kernel that a compiled program calls, among those of these names.

    The reference is no operator: a compiler sees its steps one by one.
    """
    kernels = [k for k in (CompiledLoops(), CompiledPhases()) if k.name in names]
    return choose([*kernels, Reference()], layer, call._replace(compiling=True))


class Traced:
    """A kernel as a compiler traces it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, layer: Any, call: Call) -> tuple[Tensor, State, State]:
        """Run one layer in one direction."""
        if self.name == Reference.name:
            return layer.run_plainly(call)
        kind = precision.lowered(call.x)
        if kind is None:
            return run(self.name, layer, call)
        inner = torch.float32
        if self.name == CompiledLoops.name:
            inner = precision.product_type(kind, call.x.device.type)

        return precision.run(partial(run, self.name), layer, call, kind, inner)


def run(kernel: str, layer: Any, call: Call) -> tuple[Tensor, State, State]:
    """Run a call of a layer as a compiler traces it."""
    x, mask, seed = call.x, None, None
    if call.dropout:
        mask = torch.nn.functional.dropout(torch.ones_like(call.start[0]), call.dropout)
    if kernel == CompiledPhases.name:
        x = layer.input_gates(x, call.graph)
        drops = hasattr(layer.operator, "without_dropout") and getattr(layer.operator, "dropout", 1)
        if layer.training and drops:
            seed = torch.randint(2**40, (1,))
    graphs: Sequence[Any] = []
    if call.graph is not None:
        graphs = call.graph if isinstance(call.graph, list | tuple) else [call.graph]
    used = names(kernel, layer.tensors())
    weights = [w for name, w in layer.tensors().items() if name in used]
    learns = any(t.requires_grad for t in (x, *call.start, *weights))
    y, *rest = torch.ops.plait.recurrence(
        x, list(call.start), weights, call.lengths, mask, seed, [g.handle for g in graphs], kernel,
        layer.key, layer.training, torch.is_grad_enabled() and learns,
    )  # fmt: skip
    return y, tuple(rest[: len(call.start)]), ()


def names(kernel: str, weights: Iterable[str]) -> list[str]:
    """Return which weights an operator takes: the input side of steps is computed before."""
    steps = kernel == CompiledPhases.name
    return [name for name in weights if not (steps and name.startswith("inputs."))]


def _layer(weights: Sequence[Tensor], kernel: str, key: str, training: bool) -> Any:
    spec = known_as(key)
    used = names(kernel, spec.names)
    return spec.bind(dict(zip(used, weights, strict=True)), training=training)


def _called(
    x: Tensor, start: Sequence[Tensor], weights: Sequence[Tensor], lengths: Tensor | None,
    mask: Tensor | None, seed: Tensor | None, graphs: Sequence[Tensor], kernel: str, key: str,
    training: bool,
) -> tuple[Any, Call]:  # fmt: skip
    layer = _layer(weights, kernel, key, training)
    found = [held_by(h) for h in graphs]
    graph = None if not found else found[0] if len(found) == 1 else found
    if lengths is not None and len(lengths):
        low, high = int(lengths.min()), int(lengths.max())
        if low < 0 or high > len(x):
            raise ValueError(f"lengths must lie within 0 … T = {len(x)}; got {lengths.tolist()}")
    check: Any = getattr(layer.operator, "check", None)
    if check is not None:
        for one in found or [None]:
            check(x, one)
    keep = None
    dropout = float(mask is not None)
    return layer, Call(x, tuple(start), graph, lengths, keep, dropout, seed=seed)


def _own(t: Tensor) -> Tensor:
    """Return a tensor that lies as its shape says, in memory of its own."""
    t = t.contiguous()
    return t if t.untyped_storage().nbytes() == t.nbytes else t.clone()
