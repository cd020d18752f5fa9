"""The kernel of a CPU for operators that are not linear, or whose graph changes over time.

The cell's equations are compiled, as in the loops over time; the operator is called at every step,
with the gradient that it has in torch. So attention, or an operator of a user's, costs what it
costs, and the cell next to nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from plait.kernels import precision
from plait.kernels.cpu import disk, emit, loops, plans
from plait.kernels.cpu.basis import Basis
from plait.kernels.cpu.filtering import product_alone
from plait.kernels.cpu.jit import empty_f32, plain
from plait.kernels.cpu.kernel import compiled_program, refusal, source_of
from plait.kernels.cpu.packing import Packing
from plait.kernels.cpu.recurrence import plain_gradients
from plait.kernels.cpu.tables import CompiledProgram, Layout, addresses
from plait.kernels.drawn import RandomState
from plait.kernels.kernel import Call, State
from plait.kernels.program import Product
from plait.kernels.transforms import transformed

ROWS = 256
"""Rows that a thread takes at a time."""

ALONE: Basis = product_alone(1).basis


class CompiledPhases:
    """The cell compiled from its equations, around an operator that runs in torch."""

    name = "plait-cpu-steps"

    def accepts(self, layer: Any, call: Call) -> str | None:
        """Accept float32 on a CPU, for a cell that can be traced."""
        if isinstance(call.graph, list | tuple) and call.lengths is not None:
            return "the graph changes over time, and sequences end early"
        if call.compiling and parameters_of(layer.operator):
            return f"{layer.operator!r} has weights of its own, and torch.compile traces the call"
        return refusal(layer, call)

    def describe(self, layer: Any, call: Call) -> str:
        """Return what it is."""
        types = precision.described(call.x)
        more = ("" if types == "float32" else f", in {types}") + disk.note()
        return f"compiled steps of {layer.cell!r}, {layer.operator!r} in torch between them{more}"

    def source(self, layer: Any) -> str:
        """Return the source that is written for a layer."""
        return source_of(layer)

    def run(self, layer: Any, call: Call) -> tuple[Tensor, State, State]:
        """Compute the input side, then run over time."""
        kind = precision.lowered(call.x)
        if kind is not None:
            return precision.run(self.run, layer, call, kind)
        x, start = call.x, call.start
        packing = Packing.of(call.lengths, *x.shape[:2])
        mask = None
        if call.dropout:
            mask = F.dropout(torch.ones_like(start[0]), call.dropout)
        x_gates = layer.input_side(packing.pack(x), call.graph, packing)  # [P, (N,) G·H]
        vectors, weights = layer.all_vectors(), dict(layer.recurrent)
        operator = layer.acting_operator()

        def again(x_gates: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
            values = dict(zip(vectors, rest, strict=False))
            matrices = dict(zip(weights, rest[len(vectors) :], strict=False))
            at = len(vectors) + len(weights)
            begin = packing.unsort(rest[at : at + len(start)])
            with before.again():
                y, final, _ = layer.over_time(
                    packing.unpack(x_gates), begin, call.graph, call.keep, mask, matrices, values,
                    Packed(operator, packing, len(steps.compiled.program.products)),
                )  # fmt: skip
            return (packing.pack(y), *packing.sort(final))

        own = parameters_of(operator)
        tensors = (x_gates, *vectors.values(), *weights.values(), *packing.sort(start), *own)
        needed = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
        steps, before = steps_of(layer, call, packing, mask, again, needed), RandomState(x.device)
        y, *final = _OverTime.apply(steps, *tensors)  # pyright: ignore[reportGeneralTypeIssues]
        return packing.unpack(y), packing.unsort(final), ()


def parameters_of(operator: Any) -> tuple[Tensor, ...]:
    """Return what an operator that is a module learns itself."""
    held = operator.parameters() if isinstance(operator, nn.Module) else ()
    return tuple(p for p in held if p.requires_grad)


class Packed:
    """An operator that is applied, as the steps apply it, to the sequences that go on alone.

    So what it draws at random has the same shape, and where the steps drew it from, is the same.
    """

    def __init__(self, operator: Any, packing: Packing, products: int) -> None:
        self.operator, self.packing = operator, packing
        counts = packing.starts.diff().tolist()
        self.counts = iter([count for count in counts for _ in range(products)])

    def apply(self, x: Tensor, weights: Mapping[str, Tensor], graph: Any) -> Tensor:
        """Apply it to `x [B, (N,) F]`; zeros for sequences that have ended."""
        if self.packing.order is None:
            return self.operator.apply(x, weights, graph)
        count = next(self.counts)
        y = self.operator.apply(self.packing.sort([x])[0][:count], weights, graph)
        ended = y.new_zeros(len(x) - count, *y.shape[1:])
        return self.packing.unsort([torch.cat([y, ended])])[0]


class Steps(NamedTuple):
    """Arguments of a layer other than tensors."""

    compiled: CompiledProgram
    packing: Packing
    row: Sequence[int]  # [(N,) H]
    mask: Tensor | None
    vectors: Sequence[str]
    weights: Sequence[str]
    operator: Callable[[Tensor, Mapping[str, Tensor], int], Tensor]
    weights_of: Callable[[Mapping[str, Tensor], Sequence[str]], Mapping[str, Tensor]]
    own: Sequence[Tensor]  # what the operator learns itself
    again: Callable[..., tuple[Tensor, ...]] | None
    differentiate: bool

    def parts(
        self, tensors: Sequence[Tensor]
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor], list[Tensor]]:
        """Part what autograd hands over: input side, vectors, weights, start states."""
        v, w = len(self.vectors), len(self.weights)
        vectors = dict(zip(self.vectors, tensors[1:], strict=False))
        weights = dict(zip(self.weights, tensors[1 + v :], strict=False))
        start = tensors[1 + v + w : 1 + v + w + len(self.compiled.program.states)]
        return tensors[0], vectors, weights, list(start)

    @property
    def nodes(self) -> int:
        """Rows of a sequence."""
        return self.row[0] if len(self.row) == 2 else 1


class _Table:
    """A table of whole arrays, whose phases run over blocks of rows."""

    def __init__(self, layout: Layout, H: int, function: int, arrays: Mapping[str, Tensor]) -> None:
        self.layout, self.held = layout, dict(arrays)
        self.table, self.address = layout.fill(
            ALONE, addresses(arrays) | {"T": 1, "function": function}
        )

    def put(self, name: str, array: Tensor, offset: int = 0) -> None:
        """Let a stream be another array, from a number on."""
        place = self.layout.places.get(name)
        if place is not None:
            self.held[name] = array
            self.table[place] = array.data_ptr() + 4 * offset

    def run(self, which: int, at: int, rows: int) -> None:
        """Run one phase over a step's rows."""
        parts, room = -(-rows // ROWS), self.layout.room(0)
        loops.phase(parts, room, self.address, which, at, ROWS, rows)


class _OverTime(Function):
    @staticmethod
    def forward(ctx: Any, steps: Steps, *tensors: Tensor) -> tuple[Tensor, ...]:
        made: list[tuple[Tensor, Tensor]] = []

        def apply(p: Product, value: Tensor, weights: Mapping[str, Tensor], t: int) -> Tensor:
            value = value.clone()
            with torch.set_grad_enabled(steps.differentiate):
                value.requires_grad_(steps.differentiate)
                out = steps.operator(value, weights, t)
            made.append((value, out))
            return out

        chosen = leaves(steps, tensors)
        saved, now = forward(steps, tensors, chosen, apply)
        ctx.steps, ctx.made, ctx.chosen = steps, made, chosen
        ctx.save_for_backward(*tensors, *saved)
        return (saved[2], *now)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        steps: Steps = ctx.steps
        count = 1 + len(steps.vectors) + len(steps.weights) + len(steps.compiled.program.states)
        count += len(steps.own)
        tensors, saved = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        if torch.is_grad_enabled() or transformed(*grads):
            assert steps.again is not None
            return None, *plain_gradients(steps.again, tensors, grads)
        made = list(ctx.made)
        return None, *backward(steps, tensors, saved, ctx.chosen, grads, lambda p, t: made.pop())


def steps_of(
    layer: Any, call: Call, packing: Packing, mask: Tensor | None,
    again: Callable[..., tuple[Tensor, ...]] | None, differentiate: bool,
) -> Steps:  # fmt: skip
    """Return what a call of a layer runs by."""
    graphs = call.graph if isinstance(call.graph, list | tuple) else [call.graph] * packing.T
    operator = layer.acting_operator()
    return Steps(
        compiled_program(layer.program(dropped=mask is not None)), packing,
        call.start[0].shape[1:], None if mask is None else plain(packing.sort([mask])[0]),
        tuple(layer.all_vectors()), tuple(layer.recurrent),
        lambda v, w, t: operator.apply(v, w, graphs[t]),
        lambda given, gates: layer.weights_of(given, gates), parameters_of(operator), again,
        differentiate,
    )  # fmt: skip


def leaves(steps: Steps, tensors: Sequence[Tensor]) -> dict[int, dict[str, Tensor]]:
    """Return the weights of every product's gates, for a gradient of their own."""
    _, _, weights, _ = steps.parts([plain(t) for t in tensors])
    return {p.index: _leaves(steps, weights, p) for p in steps.compiled.program.products}


def forward(
    steps: Steps, tensors: Sequence[Tensor], chosen: Mapping[int, Mapping[str, Tensor]],
    apply: Callable[[Product, Tensor, Mapping[str, Tensor], int], Tensor],
) -> tuple[list[Tensor], list[Tensor]]:  # fmt: skip
    """Return what is saved (kept values, outputs, histories), and the final states.

    `apply(product, value, weights, t)` is the operator; what it is given is used again.
    """
    compiled, program = steps.compiled, steps.compiled.program
    x, vectors, _, start = steps.parts([plain(t) for t in tensors])
    H, lead = steps.row[-1], x.shape[:-1]
    none, gradient = empty_f32(0), compiled.gradient
    saved = [none, none, empty_f32(*lead, H), *[none] * (len(start) - 1)]
    if steps.differentiate:
        saved[0] = empty_f32(*lead, len(gradient.kept) * H)
        saved[1] = empty_f32(*lead, len(gradient.kept_rows))
        for k, wanted in enumerate(compiled.histories):
            if wanted:
                saved[2 + k] = empty_f32(*lead, H)
    now = [s.clone() for s in start]
    arrays = _common(steps, x, vectors, saved)
    for k, s in enumerate(now):
        arrays[f"value {compiled.homes[k]}" if k in compiled.homes else f"state {k}"] = s
    for p in program.products:
        if p.value.op != "state":
            arrays[f"value {p.index}"] = torch.empty_like(now[0])
    _add_carried(arrays, compiled.written.forward, now[0], H)
    layout = compiled.layout("forward phases", H, ALONE)
    table = _Table(layout, H, compiled.forward, arrays)
    starts = steps.packing.starts.tolist()
    for t in range(steps.packing.T):
        first, count = starts[t], starts[t + 1] - starts[t]
        for stage, effects in enumerate(compiled.written.forward.effects):
            if effects and count:
                table.run(stage, first * steps.nodes, count * steps.nodes)
            for p in program.products:
                if p.stage == stage and count:
                    out = apply(p, arrays[f"value {p.index}"][:count], chosen[p.index], t)
                    table.put(f"recurrent {p.index}", plain(out.detach()))
    return saved, now


def backward(
    steps: Steps, tensors: Sequence[Tensor], saved: Sequence[Tensor],
    chosen: Mapping[int, Mapping[str, Tensor]], grads: Sequence[Tensor],
    made: Callable[[Product, int], tuple[Tensor, Tensor]],
) -> list[Tensor]:  # fmt: skip
    """Return the gradients of the tensors that `forward` was given.

    `made(product, t)` gives the operator's value and result, with the graph of autograd between;
    it is asked from the last product to the first.
    """
    compiled, program = steps.compiled, steps.compiled.program
    S = len(program.states)
    x, vectors, weights, start = steps.parts([plain(t) for t in tensors])
    H, nodes = steps.row[-1], steps.nodes
    dy, *dfinal = (plain(g) for g in grads)
    dx, blocks = empty_f32(*x.shape), -(-steps.packing.B * nodes // ROWS)
    sums = x.new_zeros(max(1, blocks), len(program.vectors), H)
    arrays = _common(steps, x, vectors, saved) | {"dy": dy, "dinput": dx, "sums": sums}
    for p in program.products:
        arrays[f"dvalue {p.index}"] = torch.zeros_like(start[0])
        if compiled.source_of(p.index)[0] != "dinput":
            arrays[f"drecurrent {p.index}"] = empty_f32(*x.shape[:-1], len(p.gates) * H)
    parts = []
    for k in range(S):
        names = [f"dvalue {i}" for i in plans.pending(compiled.gradient, k)]
        if plans.has_carry(compiled.gradient, k):
            names.insert(0, f"dstate {k}")
            arrays[f"dstate {k}"] = torch.empty_like(start[k])
        arrays[names[0]].copy_(dfinal[k])
        parts.append(names)
    _add_carried(arrays, compiled.written.backward, start[0], H)
    layout = compiled.layout("backward phases", H, ALONE)
    table = _Table(layout, H, compiled.backward, arrays)
    changes = {i: {n: torch.zeros_like(w) for n, w in c.items()} for i, c in chosen.items()}
    own = {f"own {k}": p for k, p in enumerate(steps.own)}
    own_changes = {n: torch.zeros_like(p) for n, p in own.items()}
    starts = steps.packing.starts.tolist()
    for t in range(steps.packing.T - 1, -1, -1):
        first, running = starts[t], starts[t + 1] - starts[t]
        if not running:
            continue
        for k in range(S):
            past = saved[2 + k] if t else start[k]
            offset = starts[t - 1] * nodes * H if t else 0
            table.put(f"before {k}", past, offset)
        for stage in range(max(program.stages, len(compiled.written.backward.effects))):
            effects = compiled.written.backward.effects
            if stage < len(effects) and effects[stage]:
                table.run(stage, first * nodes, running * nodes)
            for p in reversed(program.products):
                if program.stages - 1 - p.stage == stage:
                    value, out = made(p, t)
                    given = _recurrent_side(compiled, p, arrays, H)[first : first + running]
                    learnt = {**chosen[p.index], **own}
                    sums_of = {**changes[p.index], **own_changes}
                    _back(value, out, given, learnt, sums_of, arrays[f"dvalue {p.index}"])
    total = sums.sum(0)
    places = [name for name, _ in program.vectors]
    vector_grads = [
        total[places.index(n) : places.index(n) + places.count(n)].view_as(v)
        for n, v in vectors.items()
    ]
    weight_grads = _gathered(steps, weights, changes)
    states = [torch.stack([arrays[n] for n in names]).sum(0) for names in parts]
    return [dx, *vector_grads, *weight_grads, *states, *own_changes.values()]


def _common(
    steps: Steps, x: Tensor, vectors: Mapping[str, Tensor], saved: Sequence[Tensor]
) -> dict[str, Tensor]:
    found = {"input": x, "kept": saved[0], "kept rows": saved[1], "y": saved[2]}
    found |= {f"history {k}": h for k, h in enumerate(saved[3:], 1)}
    found |= {f"vector {name}": v for name, v in vectors.items()}
    return found if steps.mask is None else found | {"mask": steps.mask}


def _add_carried(arrays: dict[str, Tensor], plan: emit.Plan, like: Tensor, H: int) -> None:
    stream = plan.streams.get("carried")
    if stream is not None:
        arrays["carried"] = empty_f32(*like.shape[:-1], stream.width * H)


def _leaves(steps: Steps, weights: Mapping[str, Tensor], p: Product) -> dict[str, Tensor]:
    """Return the weights of a product's gates, for a gradient of their own."""
    chosen = steps.weights_of(weights, p.gates)
    return {n: w.detach().requires_grad_(steps.differentiate) for n, w in chosen.items()}


def _recurrent_side(
    compiled: CompiledProgram, p: Product, arrays: Mapping[str, Tensor], H: int
) -> Tensor:
    """Return the gradient of what a product gave, at every step."""
    name, first = compiled.source_of(p.index)
    return arrays[name][..., first * H : (first + len(p.gates)) * H]


def _back(
    value: Tensor, out: Tensor, given: Tensor, weights: Mapping[str, Tensor],
    changes: Mapping[str, Tensor], dvalue: Tensor,
) -> None:  # fmt: skip
    """Bring a gradient through the operator, to its value and its weights."""
    wanted = [value, *weights.values()]
    found = torch.autograd.grad(out, wanted, given, retain_graph=True, allow_unused=True)
    if found[0] is None:
        dvalue[: len(value)].zero_()
    else:
        dvalue[: len(value)].copy_(found[0])
    for change, g in zip(changes.values(), found[1:], strict=True):
        if g is not None:
            change += g


def _gathered(
    steps: Steps, weights: Mapping[str, Tensor], changes: Mapping[int, Mapping[str, Tensor]]
) -> list[Tensor]:
    """Sum the gradients of the products' weights to those of all gates together."""
    wanted = [w.detach().requires_grad_() for w in weights.values()]
    if not wanted:
        return []
    with torch.enable_grad():
        named, pairs = dict(zip(weights, wanted, strict=True)), []
        for p in steps.compiled.program.products:
            chosen = steps.weights_of(named, p.gates)
            pairs += [(chosen[n], g) for n, g in changes[p.index].items()]
    outputs, grads = zip(*pairs, strict=True)
    return list(torch.autograd.grad(outputs, wanted, grads, materialize_grads=True))
