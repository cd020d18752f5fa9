"""A layer over time on a GPU, a step at a time: library products, and one kernel a phase.

The phases are written from the cell's equations (`emit`); between them run the operator's
products (`products`). Over a graph, a step is the shifts, dense ones in one product, and one kernel
that multiplies all terms with the weights of all gates and goes on with the cell's equations. A
step back is one kernel for the equations' gradient and those of all terms, and the shifts
transposed.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn

from plait.kernels.cpu.phases import parameters_of
from plait.kernels.gpu.emit import WrittenProgram
from plait.kernels.gpu.emit_phase import Phase
from plait.kernels.gpu.graphs import refusal_of
from plait.kernels.gpu.over_time import OverTime, run_over_time
from plait.kernels.gpu.own_tensors import with_tensors
from plait.kernels.gpu.precision import SAID, products_in
from plait.kernels.gpu.products import LinearProduct, Terms, TorchProduct, terms
from plait.kernels.gpu.recorded import SHARE, WARM, Recordings
from plait.kernels.gpu.triton_here import UNPROVED, power_of_two, refusal
from plait.kernels.kernel import Call, State
from plait.kernels.program import Product

WIDEST, WIDEST_WHOLE = 128, 64
"""Channels up to which a kernel of ours multiplies a graph's terms, not a library; the second for
cells that want statistics of a row. A tile of more does not fit a multiprocessor."""

BACK = 2048
"""Numbers of a tile on the way back of these."""

KEPT = 4
"""About how often torch keeps what a gate gets, where an operator runs in torch."""


class TritonSteps:
    """Any cell that can be traced × any operator, step by step: products, and a kernel a phase.

    Parameters
    ----------
    device : str
        Where it runs; a CPU by Triton's interpreter, in tests.
    recordings : Recordings
        Of the steps of a shape as one launch. None: none yet.
    """

    name = "plait-gpu-steps"

    def __init__(self, device: str = "cuda", recordings: Recordings | None = None) -> None:
        self.device = device
        self.recordings = recordings or Recordings()

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
        text = f"steps of {layer.cell!r} in Triton"
        if not _is_linear(layer, call):
            text = f"{text}, {layer.operator!r} in torch between them ({UNPROVED})"
        elif not _aggregates(layer):
            text = f"{text}, library products between them ({UNPROVED})"
        else:
            code = WrittenProgram.of(layer.program(dropped=False))
            ours = layer.hidden_size <= _widest(code)
            between = f"shifts between them{SAID[products_in(call)]}"
            between = between if ours else "library products between them"
            text = f"{text}, {between} ({UNPROVED})"
        reason = _not_recorded(layer, call)
        if reason is not None:
            return f"{text}; no CUDA graph: {reason}"
        return (
            f"{text}; one CUDA graph from call {WARM + 1} of a shape on, within 1/{SHARE} of the "
            "memory"
        )

    def source(self, layer: Any) -> str:
        """Return the source that is written for a layer."""
        program = layer.program(dropped=False)
        return program if isinstance(program, str) else WrittenProgram.of(program).source

    def run(self, layer: Any, call: Call) -> tuple[Tensor, State, State]:
        """Compute the input side, then run over time."""
        return run_over_time(layer, call, WrittenProgram.of, self.recordings, Steps)


class Steps(OverTime):
    """One call: a launch a phase, and products between them."""

    def __init__(
        self, layer: Any, call: Call, code: WrittenProgram, mask: Tensor | None,
        tensors: Sequence[Tensor],
    ) -> None:  # fmt: skip
        super().__init__(layer, call, code, mask, tensors)
        nodes = self.row[0] if len(self.row) == 2 else 1
        linear = _is_linear(layer, call)
        self.lead = linear and len(self.row) == 2
        self.graph, self.operator = call.graph, layer.acting_operator()
        self.terms = _terms(layer, call, nodes) if linear else None
        shifted = self.terms is not None and self.terms.shifted > 0
        self.fused = shifted and _widest(code) >= self.sizes.H
        self.not_recorded = self.not_recorded or _not_recorded(layer, call)
        drawn = None if linear else self._draw()
        if drawn is not None:
            self.set_extra({**dict(zip(self.extra_names, self.extra, strict=True)), "drawn": drawn})

    def _draw(self) -> Tensor | None:
        """Draw what the operator does at random in all its calls, `[T, products, …]`."""
        draw = getattr(self.operator, "draw", None)
        if draw is None or isinstance(self.graph, list | tuple):
            return None
        T, B, count = self.sizes.T, self.sizes.B, len(self.code.program.products)
        drawn = draw(T * count * B, self.graph)
        return None if drawn is None else drawn.unflatten(0, (T, count, B))

    @property
    def key(self) -> Any:
        """What decides the work besides the tensors' shapes: also the operator, on which graph.

        A graph is known by a token of its own, which is kept as long as calls with it are counted;
        its number is another graph's as soon as it is gone.
        """
        if self.terms is not None and not self.terms.shifted:
            return super().key
        cached = getattr(self.graph, "cached", None)
        token = id(self.graph) if cached is None else cached("gpu token", object)
        operator: Any = self.operator
        if isinstance(operator, nn.Module):
            operator = ref(operator), operator.training
        return super().key, operator, token

    def size(self) -> int:
        """Return about how many bytes it takes: the terms too, or what torch keeps."""
        T, _, rows, H = self.sizes
        if self.terms is None:
            gates = sum(1 + KEPT * len(p.gates) for p in self.code.program.products)
            if getattr(self.operator, "on_edges", False):
                rows += self.sizes.B * self.graph.num_edges
            return super().size() + 4 * T * rows * H * gates
        return super().size() + 4 * rows * H * (T + 4) * (self.terms.count - 1)

    def advance(
        self, arrays: dict[str, Tensor], weights: Mapping[str, Tensor], lengths: Tensor
    ) -> Any:
        """Run over time, and return the products."""
        own = {name: arrays[f"own {name}"].detach() for name in self.learnt}
        for leaf in own.values():
            leaf.requires_grad_(self.differentiate)
        held = {n.removeprefix("held "): t for n, t in arrays.items() if n.startswith("held ")}
        drawn = arrays.get("drawn")
        products = {
            p.index: self._product(p, weights, own, drawn) for p in self.code.program.products
        }
        with_tensors(
            self.operator, {**own, **held}, lambda: self._advance(arrays, products, lengths)
        )
        return products

    def _advance(
        self, arrays: dict[str, Tensor], products: Mapping[int, Any], lengths: Tensor
    ) -> None:
        program, code, fused = self.code.program, self.code, self.fused
        rows, H = self.sizes.rows, self.sizes.H
        if fused:
            for p in program.products:
                arrays[f"weights {p.index}"] = products[p.index].there.float()
                arrays[f"recurrent {p.index}"] = arrays["y"].new_empty(rows, len(p.gates) * H)
        for t in range(self.sizes.T):
            for stage, phase in enumerate(code.forward):
                gates = code.gates[stage] if fused else None
                if gates is not None:
                    self.launch_gates(gates, t, arrays, lengths)
                elif phase is not None:
                    self.launch(phase, t, arrays, lengths)
                for p in program.products:
                    if p.stage == stage:
                        value, one = arrays[code.source_of_value(p)][t], products[p.index]
                        if fused:
                            arrays[f"terms {p.index}"] = one.shifted(value)
                        else:
                            arrays[f"recurrent {p.index}"] = one.forward(value, t)

    def launch_gates(
        self, phase: Phase, t: int, arrays: Mapping[str, Tensor], lengths: Tensor
    ) -> None:
        """Run a phase with the products before it."""
        assert self.terms is not None
        shape = gates_tile(self.sizes.H, whole_rows=phase.whole_rows)
        self.launch(
            phase, t, arrays, lengths, shape, BK=inner(self.sizes.H),
            IDENTITY=int(self.terms.identity), SHIFTED=self.terms.shifted, num_warps=8,
            num_stages=2, **self.precision(),
        )  # fmt: skip

    def go_back(
        self, arrays: dict[str, Tensor], products: Any, given: Mapping[int, Tensor],
        lengths: Tensor,
    ) -> None:  # fmt: skip
        """Run back over time."""
        code, program = self.code, self.code.program
        for p in program.products:
            one = products[p.index]
            if isinstance(one, TorchProduct):
                one.begin_backward()
            elif self.fused:
                arrays[f"weights back {p.index}"] = one.back.float()
                room = arrays["dy"].new_empty(len(one.back), self.sizes.rows, self.sizes.H)
                arrays[f"terms back {p.index}"] = room
        for t in range(self.sizes.T - 1, -1, -1):
            for stage in range(max(program.stages, len(code.backward))):
                self._phase_back(stage, t, arrays, lengths)
                for p in reversed(program.products):
                    if program.stages - 1 - p.stage == stage:
                        one = products[p.index]
                        arrays[f"dvalue {p.index}"] = (
                            one.folded(arrays[f"terms back {p.index}"])
                            if self.fused
                            else one.backward(given[p.index][t], t)
                        )

    def _phase_back(
        self, stage: int, t: int, arrays: Mapping[str, Tensor], lengths: Tensor
    ) -> None:
        """Run a phase of the way back, with the products after it where they are ours."""
        code, shape = self.code, self.tile_back()
        terms = code.back[stage] if self.fused and stage < len(code.back) else None
        phase = code.backward[stage] if stage < len(code.backward) else None
        if terms is not None:
            assert self.terms is not None
            self.launch(
                terms, t, arrays, lengths, shape, BK=inner(self.sizes.H), TERMS=self.terms.count,
                num_warps=8, num_stages=1, **self.precision(),
            )  # fmt: skip
        elif phase is not None:
            self.launch(phase, t, arrays, lengths, shape)

    def tile_back(self) -> tuple[int, int]:
        """Return the rows and channels of a tile, the same for all phases."""
        return back_tile(self.sizes.H) if self.fused else super().tile_back()

    def own_changes(self, products: Any) -> list[Tensor]:
        """Return the gradients of what the operator learns itself."""
        found = [one.own_changes for one in products.values() if isinstance(one, TorchProduct)]
        return [torch.stack(parts).sum(0) for parts in zip(*found, strict=True)]

    def weight_changes(
        self, p: Product, products: Any, arrays: Mapping[str, Tensor], given: Tensor
    ) -> Mapping[str, Tensor]:
        """Return the gradients of a product's weights: of all steps in one product."""
        one = products[p.index]
        return one.changes if isinstance(one, TorchProduct) else one.weights(
            self.values(p, arrays), given
        )  # fmt: skip

    def _product(
        self, p: Product, weights: Mapping[str, Tensor], own: Mapping[str, Tensor],
        drawn: Tensor | None,
    ) -> Any:  # fmt: skip
        chosen = self.rows_of(weights, p.gates)
        if self.terms is not None:
            return LinearProduct(self.terms, chosen["weight"].flatten(1), self.dtype)
        graphs, operator = self.graph, self.operator
        place = self.code.program.products.index(p)

        def apply(value: Tensor, weights: Mapping[str, Tensor], t: int) -> Tensor:
            one = graphs[t] if isinstance(graphs, list | tuple) else graphs
            more = () if drawn is None else (drawn[t, place],)
            return operator.apply(value, weights, one, *more)

        return TorchProduct(apply, chosen, self.row, list(own.values()), self.differentiate)


def _widest(code: WrittenProgram) -> int:
    return WIDEST_WHOLE if code.whole_rows else WIDEST


def gates_tile(H: int, *, whole_rows: bool) -> tuple[int, int]:
    """Return the rows and channels of a tile for which a kernel multiplies all terms."""
    wide = max(16, power_of_two(H))
    return (16, wide) if whole_rows else (64, min(32, wide))


def back_tile(H: int) -> tuple[int, int]:
    """Return the rows and channels, all of them, of a tile that brings gradients to all terms."""
    wide = max(16, power_of_two(H))
    return max(16, min(64, BACK // wide)), wide


def inner(H: int) -> int:
    """Return how many channels of the left side of a product are read at a time."""
    return min(32, max(16, power_of_two(H)))


def _aggregates(layer: Any) -> bool:
    """State whether the operator aggregates neighbours."""
    return getattr(layer.operator, "check", None) is not None


def _not_recorded(layer: Any, call: Call) -> str | None:
    """Return why a pass cannot be recorded as CUDA graphs, or None."""
    if isinstance(call.graph, list | tuple):
        return "the graph changes from step to step"
    if _is_linear(layer, call):
        return None
    operator = layer.acting_operator()
    program = layer.program(dropped=call.dropout > 0)
    reasons = [refusal_of(operator, len(p.gates) * layer.hidden_size) for p in program.products]
    return next((reason for reason in reasons if reason), None)


def _is_linear(layer: Any, call: Call) -> bool:
    """State whether the operator is one sum of terms at all steps, which nothing learns."""
    changing = isinstance(call.graph, list | tuple)
    return layer.basis_of is not None and not changing and not parameters_of(layer.operator)


def _terms(layer: Any, call: Call, nodes: int) -> Terms:
    """Return a linear operator's terms on a graph, made once for each."""
    graph, operator = call.graph, layer.operator

    def make() -> Terms:
        return terms(layer.basis_of(graph, torch.float32), nodes)

    if graph is None or not hasattr(graph, "cached"):
        return make()
    return graph.cached(("gpu terms", operator), make)
