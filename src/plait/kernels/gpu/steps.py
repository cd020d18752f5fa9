"""A layer over time on a GPU, a step at a time: library products, and one kernel a phase.

The phases are written from the cell's equations (`emit`); between them run the operator's
products (`products`). Of a graph whose shifts are dense the library makes the shifts alone, all in
one product: the kernel of the next phase multiplies them with the weights of all gates.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from plait.kernels.gpu.emit import WrittenProgram
from plait.kernels.gpu.emit_phase import Phase
from plait.kernels.gpu.over_time import OverTime, run_over_time
from plait.kernels.gpu.products import LinearProduct, Terms, TorchProduct, terms
from plait.kernels.gpu.recorded import SHARE, WARM, Recordings
from plait.kernels.gpu.triton_here import UNPROVED, power_of_two, refusal
from plait.kernels.kernel import Call, State
from plait.kernels.program import Product

WIDEST, WIDEST_WHOLE = 128, 64
"""Channels up to which a kernel of ours multiplies a graph's terms, not a library; the second for
cells that want statistics of a row. A tile of more does not fit a multiprocessor."""


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
            between = f"{layer.operator!r} in torch between them ({UNPROVED})"
            return f"{text}, {between}; no CUDA graph: the operator runs in torch"
        where, between = "", "library products"
        if getattr(layer.operator, "check", None) is not None:  # it aggregates neighbours
            where = ", where its shifts are dense"
            code = WrittenProgram.of(layer.program(dropped=False))
            between = "library shifts" if layer.hidden_size <= _widest(code) else between
        return (
            f"{text}, {between} between them ({UNPROVED}); one CUDA graph from call {WARM + 1} of "
            f"a shape on{where}, within 1/{SHARE} of the memory"
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
        dense = self.terms is not None and self.terms.stacked is not None
        self.fused = dense and _widest(code) >= self.sizes.H
        if self.terms is None:
            self.not_recorded = "its operator runs in torch"
        elif self.terms.shifts:
            self.not_recorded = "its shifts are sparse"

    @property
    def key(self) -> Any:
        """What decides the work besides the tensors' shapes: also the operator's terms."""
        assert self.terms is not None
        stacked = self.terms.stacked
        return super().key, self.terms.identity, None if stacked is None else id(stacked)

    def size(self) -> int:
        """Return about how many bytes it takes: the terms too."""
        T, _, rows, H = self.sizes
        count = 1 if self.terms is None else self.terms.count
        return super().size() + 4 * rows * H * (T + 4) * (count - 1)

    def advance(
        self, arrays: dict[str, Tensor], weights: Mapping[str, Tensor], lengths: Tensor
    ) -> Any:
        """Run over time, and return the products."""
        program, code, fused = self.code.program, self.code, self.fused
        rows, H = self.sizes.rows, self.sizes.H
        products = {p.index: self._product(p, weights) for p in program.products}
        if fused:
            for p in program.products:
                arrays[f"weights {p.index}"] = products[p.index].for_gates()
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
        return products

    def launch_gates(
        self, phase: Phase, t: int, arrays: Mapping[str, Tensor], lengths: Tensor
    ) -> None:
        """Run a phase with the products before it."""
        assert self.terms is not None
        H, identity = self.sizes.H, int(self.terms.identity)
        shape = gates_tile(H, whole_rows=phase.whole_rows)
        self.launch(
            phase, t, arrays, lengths, shape, BK=min(32, max(16, power_of_two(H))),
            IDENTITY=identity, SHIFTED=self.terms.count - identity, num_warps=8, num_stages=2,
            **self.precision(),
        )  # fmt: skip

    def go_back(
        self, arrays: dict[str, Tensor], products: Any, given: Mapping[int, Tensor],
        lengths: Tensor,
    ) -> None:  # fmt: skip
        """Run back over time."""
        code, program = self.code, self.code.program
        for one in products.values():
            if isinstance(one, TorchProduct):
                one.begin_backward()
        for t in range(self.sizes.T - 1, -1, -1):
            for stage in range(max(program.stages, len(code.backward))):
                phase = code.backward[stage] if stage < len(code.backward) else None
                if phase is not None:
                    self.launch(phase, t, arrays, lengths, self.tile_back())
                for p in reversed(program.products):
                    if program.stages - 1 - p.stage == stage:
                        arrays[f"dvalue {p.index}"] = products[p.index].backward(
                            given[p.index][t], t
                        )

    def weight_changes(
        self, p: Product, products: Any, arrays: Mapping[str, Tensor], given: Tensor
    ) -> Mapping[str, Tensor]:
        """Return the gradients of a product's weights: of all steps in one product."""
        one = products[p.index]
        return one.changes if isinstance(one, TorchProduct) else one.weights(
            self.values(p, arrays), given
        )  # fmt: skip

    def _product(self, p: Product, weights: Mapping[str, Tensor]) -> Any:
        chosen = self.rows_of(weights, p.gates)
        if self.terms is not None:
            return LinearProduct(self.terms, chosen["weight"].flatten(1), self.dtype)
        graphs, operator = self.graph, self.operator

        def apply(value: Tensor, weights: Mapping[str, Tensor], t: int) -> Tensor:
            one = graphs[t] if isinstance(graphs, list | tuple) else graphs
            return operator.apply(value, weights, one)

        return TorchProduct(apply, chosen, self.row, self.differentiate)


def _widest(code: WrittenProgram) -> int:
    return WIDEST_WHOLE if code.whole_rows else WIDEST


def gates_tile(H: int, *, whole_rows: bool) -> tuple[int, int]:
    """Return the rows and channels of a tile for which a kernel multiplies all terms."""
    wide = max(16, power_of_two(H))
    return (16, wide) if whole_rows else (64, min(32, wide))


def _is_linear(layer: Any, call: Call) -> bool:
    """State whether the operator is one sum of terms at all steps."""
    return layer.basis_of is not None and not isinstance(call.graph, list | tuple)


def _terms(layer: Any, call: Call, nodes: int) -> Terms:
    """Return a linear operator's terms on a graph, made once for each."""
    graph, operator = call.graph, layer.operator

    def make() -> Terms:
        return terms(layer.basis_of(graph, torch.float32), nodes)

    if graph is None or not hasattr(graph, "cached"):
        return make()
    return graph.cached(("gpu terms", operator), make)
