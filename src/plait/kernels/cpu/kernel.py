"""The kernel of a CPU: any traceable cell × any linear operator, all steps in compiled loops."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.kernels import precision
from plait.kernels.cpu import disk, recurrence
from plait.kernels.cpu.filtering import Filters, expanded, filters, linear, product_alone
from plait.kernels.cpu.packing import Packing
from plait.kernels.cpu.tables import CompiledProgram, Weights
from plait.kernels.kernel import Call, State
from plait.kernels.program import Program
from plait.kernels.transforms import transformed


class CompiledLoops:
    """Loops over time, compiled from the cell's equations."""

    name = "plait-cpu"

    def accepts(self, layer: Any, call: Call) -> str | None:
        """Accept float32 on a CPU, for a cell that can be traced and an operator with a basis."""
        reason = refusal(layer, call)
        if reason is None and isinstance(call.graph, list | tuple):
            return "the graph changes from step to step"
        if reason is None and layer.basis_of is None:
            return f"{layer.operator!r} answers no basis for its apply"
        return reason

    def describe(self, layer: Any, call: Call) -> str:
        """Return what it is."""
        types = precision.described(call.x, product=True)
        return f"compiled loops for {layer.cell!r} × {layer.operator!r} in {types}{disk.note()}"

    def source(self, layer: Any) -> str:
        """Return the source that is written for a layer."""
        return source_of(layer)

    def run(self, layer: Any, call: Call) -> tuple[Tensor, State, State]:
        """Compute the input side, then run over time."""
        kind = precision.lowered(call.x)
        if kind is not None:
            inner = precision.product_type(kind, call.x.device.type)
            return precision.run(self.run, layer, call, kind, inner)
        x, start = call.x, call.start
        basis = filters_of(layer, x, call.graph)
        packing = Packing.of(call.lengths, *x.shape[:2])
        mask = None
        if call.dropout:
            mask = F.dropout(torch.ones_like(start[0]), call.dropout)
        weights = dict(layer.inputs)
        rows = packing.pack(x)  # [P, (N,) F]
        W = weights["weight"].flatten(1)
        if basis.basis.width > 1 and W.shape[1] > len(W) * basis.basis.weighted:
            weights = {"weight": weights["weight"].float()}
            x_gates = layer.operator.apply(rows, weights, call.graph)  # product first is cheaper
        else:
            x_gates = precision.product(expanded(rows, basis), W, linear)  # [P, (N,) G·H]
        program = layer.program(dropped=mask is not None)
        vectors = layer.all_vectors()
        U = layer.recurrent["weight"] if layer.recurrent else x.new_empty(0, basis.basis.weighted)

        def again(x_gates: Tensor, weight: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
            values = dict(zip(vectors, rest, strict=False))
            weights = {"weight": weight.view(U.shape)} if layer.recurrent else {}
            begin = packing.unsort(rest[len(vectors) :])
            y, final, _ = layer.over_time(
                packing.unpack(x_gates), begin, call.graph, call.keep, mask, weights, values
            )
            return (packing.pack(y), *packing.sort(final))

        y, final = recurrence.run(
            compiled_program(program), x_gates, Weights(U.flatten(1), layer.recurrent_gates),
            vectors, packing.sort(start), basis, packing,
            None if mask is None else packing.sort([mask])[0], again,
        )  # fmt: skip
        return packing.unpack(y), packing.unsort(final), ()


def refusal(layer: Any, call: Call) -> str | None:
    """Return why no code compiled from the cell's equations runs a call, or None where it may."""
    x = call.x
    if call.unroll:
        return "the states of every step are asked for"
    known = x.dtype == torch.float32 or x.dtype in precision.HALF
    if not known or x.device.type != "cpu":
        return f"{str(x.dtype).removeprefix('torch.')} on {x.device.type}, not float32 on cpu"
    reason = None if call.compiling else not_here(x)
    if reason is not None:
        return reason
    program = layer.program(dropped=call.dropout > 0)
    return program if isinstance(program, str) else None


def source_of(layer: Any) -> str:
    """Return the source that is written for a layer's cell, or why there is none."""
    program = layer.program(dropped=False)
    return program if isinstance(program, str) else compiled_program(program).source


def not_here(x: Tensor) -> str | None:
    """Return why no compiled code runs on a tensor now, or None where it may."""
    if transformed(x):
        return "torch.compile or torch.func traces the call"
    if type(x) not in (Tensor, torch.nn.Parameter):
        return f"{type(x).__name__} is no plain tensor"
    return None


@lru_cache(256)
def _by_key(key: str) -> list[CompiledProgram]:
    return []


def compiled_program(program: Program) -> CompiledProgram:
    """Return the code of a program, written once in a process."""
    known = _by_key(program.key)
    if not known:
        title = f"A cell of gates {', '.join(program.gates)}"
        known.append(CompiledProgram(program, title))
    return known[0]


def filters_of(layer: Any, x: Tensor, graph: Any) -> Filters:
    """Return what a linear operator does to the nodes, once for each graph."""
    nodes = x.shape[2] if x.ndim == 4 else 1
    operator = layer.operator

    def make() -> Filters:
        shifts, order, identity = layer.basis_of(graph, torch.float32)
        return filters(shifts, order, identity, nodes)

    if graph is None or not hasattr(graph, "cached"):
        shifts, order, identity = layer.basis_of(graph, torch.float32)
        return filters(shifts, order, identity, nodes) if shifts else product_alone(nodes)
    return graph.cached(("filters", operator), make)
