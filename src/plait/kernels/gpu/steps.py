"""A layer over time on a GPU, a step at a time: library products, and one kernel a phase.

The phases are written from the cell's equations (`emit`); between them run the operator's
products (`products`). Nothing in a pass waits for the GPU.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.kernels.cpu import plans
from plait.kernels.cpu.packing import Packing
from plait.kernels.gpu.autograd import Pass, run_pass
from plait.kernels.gpu.emit import TILE, Phase, WrittenProgram
from plait.kernels.gpu.products import LinearProduct, Terms, TorchProduct, terms
from plait.kernels.gpu.triton_here import power_of_two, refusal, written
from plait.kernels.kernel import Call, State
from plait.kernels.program import Program


class TritonSteps:
    """Any cell that can be traced × any operator, step by step: products, and a kernel a phase.

    Parameters
    ----------
    device : str
        Where it runs; a CPU by Triton's interpreter, in tests.
    """

    name = "plait-gpu-steps"

    def __init__(self, device: str = "cuda") -> None:
        self.device = device

    def accepts(self, layer: Any, call: Call) -> str | None:
        """Accept float32 on a GPU, for a cell that can be traced."""
        if call.unroll:
            return "the states of every step are asked for"
        reason = refusal(call.x, self.device)
        if reason is not None:
            return reason
        program = layer.program(dropped=call.dropout > 0)
        return program if isinstance(program, str) else None

    def describe(self, layer: Any, call: Call) -> str:
        """Return what it is."""
        kind = "library products" if layer.basis_of is not None else f"{layer.operator!r} in torch"
        return f"steps of {layer.cell!r} in Triton, {kind} between them"

    def source(self, layer: Any) -> str:
        """Return the source that is written for a layer."""
        program = layer.program(dropped=False)
        return program if isinstance(program, str) else written_program(program).source

    def run(self, layer: Any, call: Call) -> tuple[Tensor, State, State]:
        """Compute the input side, then run over time."""
        x, start = call.x, call.start
        mask = None
        if call.dropout:
            mask = F.dropout(torch.ones_like(start[0]), call.dropout)
        program = layer.program(dropped=mask is not None)
        rows = layer.input_side(x.flatten(0, 1), call.graph, Packing.of(None, *x.shape[:2]))
        x_gates = rows.unflatten(0, x.shape[:2])  # [T, B, (N,) G·H]
        vectors, weights = layer.all_vectors(), dict(layer.recurrent)

        def again(x_gates: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
            values = dict(zip(vectors, rest, strict=False))
            matrices = dict(zip(weights, rest[len(vectors) :], strict=False))
            begin = rest[len(vectors) + len(weights) :]
            y, final, _ = layer.over_time(
                x_gates, begin, call.graph, call.keep, mask, matrices, values
            )
            return y, *final

        tensors = (x_gates, *vectors.values(), *weights.values(), *start)
        one = Steps(layer, call, program, mask, tuple(vectors), tuple(weights), tensors)
        y, *final = run_pass(one, tensors, again)
        return y, tuple(final), ()


@lru_cache(256)
def _by_key(key: str) -> list[WrittenProgram]:
    return []


def written_program(program: Program) -> WrittenProgram:
    """Return the kernels of a program, written once in a process."""
    known = _by_key(program.key)
    if not known:
        known.append(WrittenProgram(program, f"A cell of gates {', '.join(program.gates)}"))
    return known[0]


class _Sizes(NamedTuple):
    T: int
    B: int
    rows: int
    H: int


class Steps(Pass):
    """One call: its arguments other than tensors, forward and backward."""

    def __init__(
        self, layer: Any, call: Call, program: Program, mask: Tensor | None,
        vectors: Sequence[str], weights: Sequence[str], tensors: Sequence[Tensor],
    ) -> None:  # fmt: skip
        self.code = written_program(program)
        self.vectors, self.weights = vectors, weights
        self.row = tuple(call.start[0].shape[1:])  # [(N,) H]
        T, B = call.x.shape[:2]
        nodes = self.row[0] if len(self.row) == 2 else 1
        self.sizes = _Sizes(T, B, B * nodes, self.row[-1])
        self.lead = layer.basis_of is not None and len(self.row) == 2  # nodes lead
        self.graph, self.operator = call.graph, layer.acting_operator()
        self.weights_of = layer.weights_of
        self.terms = _terms(layer, call, nodes) if layer.basis_of is not None else None
        self.differentiate = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
        kind = call.x.device.type
        auto = torch.is_autocast_enabled(kind)
        self.dtype = torch.get_autocast_dtype(kind) if auto else torch.float32
        extra = [] if mask is None else [mask]
        if call.lengths is not None:
            extra.append(call.lengths)
        self.extra = tuple(extra)
        self.has_mask, self.has_lengths = mask is not None, call.lengths is not None

    def forward(self, tensors: Sequence[Tensor], extra: Sequence[Tensor]) -> Any:
        """Return outputs and final states, and what the gradient wants."""
        x, vectors, weights, start = self._parts(tensors)
        T, _, rows, H = self.sizes
        code, keep = self.code, self.differentiate
        program, gradient = code.program, code.gradient
        x_rows = self._to_rows(x)
        start = [self._to_rows(s[None])[0] for s in start]
        none = x_rows.new_empty(1, dtype=torch.float32)
        new = start[0].new_empty
        arrays = {"input": x_rows, "y": new(T + 1, rows, H), "kept": none, "kept rows": none}
        if keep:
            arrays["kept"] = new(T, rows, max(1, len(gradient.kept) * H))
            arrays["kept rows"] = new(T, rows, max(1, len(gradient.kept_rows)))
        for k, wanted in enumerate(code.histories):
            if k:
                arrays[f"history {k}"] = new(T + 1, rows, H) if wanted and keep else none
        for k, s in enumerate(start):
            history = arrays["y" if k == 0 else f"history {k}"]
            if history is not none:
                history[0].copy_(s)
        common = self._given(vectors, extra)
        now = [s.clone() for s in start]
        for k, s in enumerate(now):
            arrays[f"value {code.homes[k]}" if k in code.homes else f"state {k}"] = s
        for p in program.products:
            if p.value.op != "state":
                arrays[f"value {p.index}"] = torch.empty_like(now[0])
        self._add_carried(arrays, code.forward_plan, now[0])
        products = {p.index: self._product(p, weights) for p in program.products}
        arrays |= common
        for t in range(T):
            for stage, phase in enumerate(code.forward):
                if phase is not None:
                    self._launch(phase, t, arrays, self._lengths(extra, none))
                for p in program.products:
                    if p.stage == stage:
                        value = arrays[f"value {p.index}"]
                        arrays[f"recurrent {p.index}"] = products[p.index].forward(value, t)
        y = self._from_rows(arrays["y"][1:])
        final = [self._from_rows(s[None])[0] for s in now]
        names = ("y", "kept", "kept rows", *(f"history {k}" for k in range(1, len(now))))
        return (y, *final), ({n: arrays[n] for n in names} | {"input": x_rows}, products)

    def backward(
        self, tensors: Sequence[Tensor], extra: Sequence[Tensor], saved: Any,
        grads: Sequence[Tensor],
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """Return the gradients of all tensors, of those of the outputs and final states."""
        x, vectors, weights, start = self._parts(tensors)
        T, _, rows, H = self.sizes
        code = self.code
        program = code.program
        kept, products = saved
        dy, *dfinal = (self._to_rows(g if k == 0 else g[None]) for k, g in enumerate(grads))
        like = dy.new_empty(rows, H)
        dx = dy.new_empty(T, rows, len(program.gates) * H)
        tile = _tile(H, any(p is not None and p.whole_rows for p in code.backward))
        sums = dy.new_zeros(-(-rows // tile[0]), len(program.vectors), H)
        arrays = dict(kept) | {"dy": dy, "dinput": dx, "sums": sums}
        arrays |= self._given(vectors, extra)
        for p in program.products:
            arrays[f"dvalue {p.index}"] = torch.zeros_like(like)
            if code.source_of(p.index)[0] != "dinput":
                arrays[f"dheard {p.index}"] = dy.new_empty(T, rows, len(p.gates) * H)
            if isinstance(products[p.index], TorchProduct):
                products[p.index].begin_backward()
        for k, g in enumerate(dfinal):
            arrays[f"dstate {k}"] = g[0].clone()
        self._add_carried(arrays, code.backward_plan, like)
        lengths = self._lengths(extra, like)
        given = {p.index: self._heard(p.index, arrays) for p in program.products}
        for t in range(T - 1, -1, -1):
            for stage in range(max(program.stages, len(code.backward))):
                phase = code.backward[stage] if stage < len(code.backward) else None
                if phase is not None:
                    self._launch(phase, t, arrays, lengths, tile)
                for p in reversed(program.products):
                    if program.stages - 1 - p.stage == stage:
                        arrays[f"dvalue {p.index}"] = products[p.index].backward(
                            given[p.index][t], t
                        )
        found = self._weight_grads(weights, products, arrays, given, lengths)
        states = []
        for k in range(len(start)):
            names = [f"dstate {k}"] + [f"dvalue {i}" for i in plans.pending(code.gradient, k)]
            total = torch.stack([arrays[n] for n in names]).sum(0)
            states.append(self._from_rows(total[None])[0])
        return (
            self._from_rows(dx).to(x.dtype), *self._vector_grads(vectors, dx, sums), *found,
            *states,
        )  # fmt: skip

    def _vector_grads(
        self, vectors: Mapping[str, Tensor], dx: Tensor, sums: Tensor
    ) -> list[Tensor]:
        H, program = self.sizes.H, self.code.program
        total = sums.sum(0)  # [vectors, H]
        if self.code.after:
            gates = dx.view(-1, len(program.gates), H).sum(0)
            for v, gate in self.code.after.items():
                total[program.vectors.index(v)] = gates[gate]
        places = [name for name, _ in program.vectors]
        found = []
        for n, v in vectors.items():
            first = places.index(n) if n in places else 0
            own = total[first : first + places.count(n)]
            found.append(own.reshape(v.shape) if own.numel() else torch.zeros_like(v))
        return found

    def _weight_grads(
        self, weights: Mapping[str, Tensor], products: Mapping[int, Any],
        arrays: dict[str, Tensor], given: Mapping[int, Tensor], lengths: Tensor,
    ) -> list[Tensor]:  # fmt: skip
        """Sum the gradients of the products' weights to those of all gates together."""
        changes: dict[int, Mapping[str, Tensor]] = {}
        for p in self.code.program.products:
            one = products[p.index]
            if isinstance(one, TorchProduct):
                changes[p.index] = one.changes
            else:
                changes[p.index] = one.weights(self._values(p, arrays, lengths), given[p.index])
        wanted = [w.detach().requires_grad_() for w in weights.values()]
        if not wanted:
            return []
        with torch.enable_grad():
            named, pairs = dict(zip(weights, wanted, strict=True)), []
            for p in self.code.program.products:
                chosen = self.weights_of(named, p.gates)
                pairs += [
                    (chosen[n], g.reshape(chosen[n].shape)) for n, g in changes[p.index].items()
                ]
        outputs, grads = zip(*pairs, strict=True)
        return list(torch.autograd.grad(outputs, wanted, grads, materialize_grads=True))

    def _values(self, p: Any, arrays: dict[str, Tensor], lengths: Tensor) -> Tensor:
        """Return a product's value at all steps `[T, rows, H]`."""
        T, _, rows, H = self.sizes
        node = self.code.gradient.values[p.index]
        if node.op == "state" and node.value == 0 and not self.has_lengths:
            return arrays["y"][:-1]
        own = dict(arrays)
        own[f"value {p.index}"] = values = arrays["y"].new_empty(T, rows, H)
        for t in range(T):
            self._launch(self.code.values[p.index], t, own, lengths)
        return values

    def _heard(self, index: int, arrays: Mapping[str, Tensor]) -> Tensor:
        """Return the gradient of what a product gave, at every step `[T, rows, gates·H]`."""
        name, first = self.code.source_of(index)
        H, gates = self.sizes.H, len(self.code.program.products[index].gates)
        return arrays[name][..., first * H : (first + gates) * H]

    def _product(self, p: Any, weights: Mapping[str, Tensor]) -> Any:
        chosen = self.weights_of(weights, p.gates)
        if self.terms is not None:
            return LinearProduct(self.terms, chosen["weight"].flatten(1), self.dtype)
        graphs, operator = self.graph, self.operator

        def apply(value: Tensor, weights: Mapping[str, Tensor], t: int) -> Tensor:
            one = graphs[t] if isinstance(graphs, list | tuple) else graphs
            return operator.apply(value, weights, one)

        return TorchProduct(apply, chosen, self.row, self.differentiate)

    def _parts(
        self, tensors: Sequence[Tensor]
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor], list[Tensor]]:
        """Part what autograd hands over: input side, vectors, weights, start states."""
        v, w = len(self.vectors), len(self.weights)
        vectors = dict(zip(self.vectors, tensors[1:], strict=False))
        weights = dict(zip(self.weights, tensors[1 + v :], strict=False))
        return tensors[0], vectors, weights, list(tensors[1 + v + w :])

    def _to_rows(self, x: Tensor) -> Tensor:
        """Lay `[T, B, (N,) C]` as `[T, rows, C]`, nodes first where they lead."""
        if self.lead:
            x = x.transpose(1, 2)
        return x.flatten(1, -2).contiguous()

    def _from_rows(self, x: Tensor) -> Tensor:
        """Lay `[T, rows, C]` as `[T, B, (N,) C]`."""
        if len(self.row) == 1:
            return x
        B, N = self.sizes.B, self.row[0]
        return x.unflatten(1, (N, B)).transpose(1, 2) if self.lead else x.unflatten(1, (B, N))

    def _given(self, vectors: Mapping[str, Tensor], extra: Sequence[Tensor]) -> dict[str, Tensor]:
        found = {f"vector {name}": v for name, v in vectors.items()}
        if self.has_mask:
            found["mask"] = self._to_rows(extra[0][None])[0]
        return found

    def _lengths(self, extra: Sequence[Tensor], none: Tensor) -> Tensor:
        """Return the length of every row."""
        if not self.has_lengths:
            return none
        lengths = extra[-1].int()
        if len(self.row) == 1:
            return lengths
        nodes = self.row[0]
        return lengths.repeat(nodes) if self.lead else lengths.repeat_interleave(nodes)

    def _add_carried(self, arrays: dict[str, Tensor], plan: Any, like: Tensor) -> None:
        stream = plan.streams.get("carried")
        if stream is not None:
            arrays["carried"] = like.new_empty(len(like), stream.width * self.sizes.H)

    def _launch(
        self, phase: Phase, t: int, arrays: Mapping[str, Tensor], lengths: Tensor,
        tile: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        """Run one phase for the rows of a step."""
        _, _, rows, H = self.sizes
        if not rows:
            return
        BR, BH = tile or _tile(H, phase.whole_rows)
        grid = (-(-rows // BR), -(-H // BH))
        kernel = getattr(written(self.code.source), phase.name)
        kernel[grid](
            t, rows, lengths, *(arrays[name] for name in phase.streams), H=H, BH=BH, BR=BR,
            LENGTHS=self.has_lengths, KEEP=self.differentiate,
        )  # fmt: skip


def _tile(H: int, whole_rows: bool) -> tuple[int, int]:
    """Return the rows and channels of a tile; they do not depend on the batch."""
    channels = power_of_two(H) if whole_rows else min(power_of_two(H), 128)
    return max(1, TILE // channels), channels


def _terms(layer: Any, call: Call, nodes: int) -> Terms:
    """Return a linear operator's terms on a graph, made once for each."""
    graph, operator = call.graph, layer.operator

    def make() -> Terms:
        return terms(layer.basis_of(graph, torch.float32), nodes)

    if graph is None or not hasattr(graph, "cached"):
        return make()
    return graph.cached(("gpu terms", operator), make)
