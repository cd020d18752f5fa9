"""`Strand`: one layer in one direction, the part of `Recurrent` that owns weights."""

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, groupby
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.kernels import fused, native, reference
from plait.kernels.choice import Choice
from plait.nn.cells import Cell, Hear, State
from plait.nn.convolution import glorot_
from plait.nn.filters import Filter
from plait.nn.operators import Operator, OperatorLayer, acting

Init = Literal["orthogonal", "torch", "kaiming"]


class Strand(OperatorLayer):
    """The weights of one layer in one direction, and how they run over time.

    `inputs` and `recurrent` hold the operator's weights for the two sides, their first axis the
    gates × what the operator asks for one (for a matrix, channels); `bias` and
    `recurrent_bias` have entries for the gates that the cell says.
    """

    def __init__(self, cell: Cell, operator: Operator, input_size: int, hidden_size: int) -> None:
        super().__init__()
        H = hidden_size
        self.cell, self.operator, self.hidden_size = cell, operator, H
        self.gates = tuple(cell.gates)
        self.bias_gates = _subset(cell.bias_gates, self.gates)
        self.recurrent_gates = _subset(cell.recurrent_gates, self.gates)
        self.recurrent_bias_gates = _subset(cell.recurrent_bias_gates, self.recurrent_gates)
        self.inputs = _weights(operator, input_size, H, len(self.gates))
        self.recurrent = _weights(operator, H, H, len(self.recurrent_gates))
        self.bias = _vector(len(self.bias_gates) * H)
        self.recurrent_bias = _vector(len(self.recurrent_bias_gates) * H)
        self.vectors = nn.ParameterDict({name: torch.empty(H) for name in cell.vectors})

    @torch.no_grad()
    def reset_parameters(self, init: Init, gain: float) -> None:
        """Draw the weights; the schemes are described in `Recurrent.reset_parameters`.

        `gain` is the input side's in the scheme "orthogonal".
        """
        H = self.hidden_size
        if init == "torch":
            for p in self.parameters():
                nn.init.uniform_(p, -1 / math.sqrt(H), 1 / math.sqrt(H))
            return
        scores = getattr(self.operator, "score_weights", ())
        for side, weights, gates in (
            ("input", self.inputs, self.gates),
            ("recurrent", self.recurrent, self.recurrent_gates),
        ):
            for name, weight in weights.items():
                for gate in weight.chunk(len(gates)):  # [H, …]: each gate is drawn by itself
                    if gate.numel() == 0:
                        continue
                    matrix = gate.view(len(gate), -1)
                    if name in scores:
                        glorot_(gate)
                    elif init == "kaiming":
                        nn.init.kaiming_normal_(matrix)
                    elif side == "recurrent":
                        nn.init.orthogonal_(matrix)
                    else:
                        bound = gain * math.sqrt(3 / matrix.shape[1])
                        nn.init.uniform_(matrix, -bound, bound)
        for p in (self.bias, self.recurrent_bias, *self.vectors.values()):
            if p is not None:
                nn.init.zeros_(p)
        for gate, value in self.cell.initial_bias.items():
            if gate in self.bias_gates and self.bias is not None:
                self.bias.view(-1, H)[self.bias_gates.index(gate)] = value

    def run(
        self,
        chosen: Choice,
        x: Tensor,
        start: State,
        graph: Any,
        lengths: Tensor | None,
        keep: Tensor | None,
        recurrent_dropout: float,
    ) -> tuple[Tensor, State, State]:
        """Outputs `[T, B, (N,) H]`, final states, states of every step (reference only)."""
        if chosen.native is not None:
            begin = tuple(s[None] for s in start)
            h, final = native.run(chosen.native, x, begin, self.torch_weights(), lengths, keep)
            return h, tuple(s[0] for s in final), ()
        mask = None
        if recurrent_dropout:
            mask = F.dropout(torch.ones_like(start[0]), recurrent_dropout)
        if chosen.fused is not None:
            h, final = self._run_fused(chosen.fused, x, start, graph, lengths, keep, mask)
            return h, final, ()
        parts: list[State] = []
        state = start
        for span, over in _spans(graph, len(x)):
            kept = None if keep is None else keep[span]
            h, state, states = self._over(over, x[span], state, kept, mask)
            parts.append((h, *states))
        h, *states = parts[0] if len(parts) == 1 else map(torch.cat, zip(*parts, strict=True))
        return h, state, tuple(states)

    def _over(
        self, graph: Any, x: Tensor, start: State, keep: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, State, State]:
        """Run over a stretch of time in which the graph stays the same."""
        operator = acting(self.operator, self.training)
        x_gates = operator.apply(x, dict(self.inputs), graph)  # [T, B, (N,) G·H]
        if self.bias is not None:
            x_gates = x_gates + self._spread(self.bias, self.bias_gates, self.gates)
        hear = self._hearing(operator, graph, mask, dict(self.recurrent), self.recurrent_bias)
        return reference.run(self.cell.step, x_gates, hear, start, dict(self.vectors), keep)

    def _run_fused(
        self, name: str, x: Tensor, start: State, graph: Any, lengths: Tensor | None,
        keep: Tensor | None, mask: Tensor | None,
    ) -> tuple[Tensor, State]:  # fmt: skip
        """Run by the compiled loops."""
        filters, packing = self._filters(x, graph), fused.Packing.of(lengths, *x.shape[:2])
        W, U = self.inputs["weight"].flatten(1), self.recurrent["weight"]
        rows = packing.pack(x)  # [P, (N,) F]
        if filters.terms.width > 1 and W.shape[1] > len(W) * filters.terms.heard:
            x_gates = self.operator.apply(
                rows, dict(self.inputs), graph
            )  # product first is cheaper
        else:
            x_gates = fused.linear(fused.stacked(rows, filters), W)  # [P, (N,) G·H]
        extra = self.extra()

        def again(
            x_gates: Tensor, bias: Tensor, weight: Tensor, extra: Tensor, *start: Tensor
        ) -> tuple[Tensor, ...]:
            bias_too = extra if self.recurrent_bias is not None else None
            weights = {"weight": weight.view(U.shape)}
            hear = self._hearing(self.operator, graph, mask, weights, bias_too)
            vectors = dict(zip(self.cell.vectors, extra, strict=False))
            padded, begin = packing.unpack(x_gates + bias), packing.unsort(start)
            y, final, _ = reference.run(self.cell.step, padded, hear, begin, vectors, keep)
            return (packing.pack(y), *packing.sort(final))

        assert self.bias is not None
        y, final = fused.run(
            fused.ALGEBRAS[name], x_gates, self.bias, U.flatten(1), extra, packing.sort(start),
            filters, packing, None if mask is None else packing.sort([mask])[0], again,
        )  # fmt: skip
        return packing.unpack(y), packing.unsort(final)

    def extra(self) -> Tensor:
        """Give what the compiled loops want of a cell beside matrices and bias."""
        if self.recurrent_bias is not None:
            return self.recurrent_bias
        vectors = [self.vectors[name] for name in self.cell.vectors]
        return torch.stack(vectors) if vectors else self.recurrent["weight"].new_empty(0)

    def _filters(self, x: Tensor, graph: Any) -> fused.Filters:
        """Give what a linear operator does to the nodes, once for each graph."""
        nodes = x.shape[2] if x.ndim == 4 else 1
        if not isinstance(self.operator, Filter):
            return fused.product_alone(nodes)
        operator: Filter = self.operator

        def make() -> fused.Filters:
            shifts = operator.shifts(graph, torch.float32)
            return fused.filters(shifts, operator.order(shifts), operator.hears_itself, nodes)

        return graph.cached(("filters", operator), make)

    def _hearing(
        self, operator: Operator, graph: Any, mask: Tensor | None, recurrent: dict[str, Tensor],
        recurrent_bias: Tensor | None,
    ) -> Hear:  # fmt: skip
        """Make `hear` for one sequence; the weights of each set of gates are picked once."""
        picked: dict[tuple[str, ...], tuple[Mapping[str, Tensor], Tensor | None]] = {}

        def pick(gates: tuple[str, ...]) -> tuple[Mapping[str, Tensor], Tensor | None]:
            missing = [g for g in gates if g not in self.recurrent_gates]
            if missing or not gates:
                raise ValueError(
                    f"{type(self.cell).__name__} hears through gate {(*missing, None)[0]!r}, which "
                    f"has no recurrent weights; those that have: "
                    f"{', '.join(self.recurrent_gates) or 'none'}"
                )
            weights = {
                name: self._rows(w, gates, self.recurrent_gates) for name, w in recurrent.items()
            }
            bias = None
            if recurrent_bias is not None:
                bias = self._spread(recurrent_bias, self.recurrent_bias_gates, gates)
            return weights, bias

        def hear(tensor: Tensor, gates: Sequence[str] | None = None) -> Tensor:
            key = self.recurrent_gates if gates is None else _names(gates, self.recurrent_gates)
            if key not in picked:
                picked[key] = pick(key)
            weights, bias = picked[key]
            heard = operator.apply(tensor if mask is None else tensor * mask, weights, graph)
            return heard if bias is None else heard + bias

        return hear

    def _rows(self, weight: Tensor, gates: Sequence[str], stacked: Sequence[str]) -> Tensor:
        """Return the rows of `gates` out of a weight stacked over the gates `stacked`."""
        if tuple(gates) == tuple(stacked):
            return weight
        parts = dict(zip(stacked, weight.chunk(len(stacked)), strict=True))
        return torch.cat([parts[g] for g in gates])

    def _spread(self, bias: Tensor, has: Sequence[str], gates: Sequence[str]) -> Tensor:
        """Give the bias of `gates` [len(gates)·H]; zero for gates that have none."""
        if tuple(has) == tuple(gates):
            return bias
        parts = dict(zip(has, bias.split(self.hidden_size), strict=True))
        zero = bias.new_zeros(self.hidden_size)
        return torch.cat([parts.get(g, zero) for g in gates])

    def torch_weights(self) -> list[Tensor]:
        """W, U and torch's two biases; for the built-in cells with the `Dense` operator."""
        assert self.bias is not None
        second = torch.zeros_like(self.bias)
        if self.recurrent_bias is not None:
            second = self._spread(self.recurrent_bias, self.recurrent_bias_gates, self.gates)
        return [self.inputs["weight"], self.recurrent["weight"], self.bias, second]

    @torch.no_grad()
    def copy_to_torch(self, module: nn.RNNBase, suffix: str) -> None:
        """Copy the weights into a module of `torch.nn`."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        for name, weight in zip(names, self.torch_weights(), strict=True):
            getattr(module, f"{name}_{suffix}").copy_(weight)

    @torch.no_grad()
    def copy_from_torch(self, module: nn.RNNBase, suffix: str) -> None:
        """Copy the weights of a module of `torch.nn`; its two biases become one."""
        self.inputs["weight"].copy_(getattr(module, f"weight_ih_{suffix}"))
        self.recurrent["weight"].copy_(getattr(module, f"weight_hh_{suffix}"))
        for p in (self.bias, self.recurrent_bias):
            if p is not None:
                p.zero_()
        if not module.bias:
            return
        assert self.bias is not None
        first = getattr(module, f"bias_ih_{suffix}").split(self.hidden_size)
        second = getattr(module, f"bias_hh_{suffix}").split(self.hidden_size)
        for k, gate in enumerate(self.gates):
            own = gate in self.recurrent_bias_gates
            self.bias.view(-1, self.hidden_size)[k] = first[k] if own else first[k] + second[k]
        if self.recurrent_bias is not None:
            own = [second[self.gates.index(g)] for g in self.recurrent_bias_gates]
            self.recurrent_bias.copy_(torch.cat(own))


def _spans(graph: Any, steps: int) -> list[tuple[slice, Any]]:
    """Cut time where the graph becomes another: with one graph, nowhere."""
    if not isinstance(graph, list | tuple):
        return [(slice(0, steps), graph)]
    runs = [(over, len(list(same))) for over, same in groupby(graph)]
    ends = list(accumulate(count for _, count in runs))
    return [(slice(end - count, end), over) for end, (over, count) in zip(ends, runs, strict=True)]


def _names(gates: Sequence[str], of: Sequence[str]) -> tuple[str, ...]:
    """Read a string as one gate's name where it is one, else as one-letter names."""
    return (gates,) if isinstance(gates, str) and gates in of else tuple(gates)


def _subset(gates: Sequence[str] | None, of: tuple[str, ...]) -> tuple[str, ...]:
    chosen = of if gates is None else _names(gates, of)
    missing = [g for g in chosen if g not in of]
    if missing:
        raise ValueError(f"no gate {missing[0]!r} among {', '.join(of)}")
    return chosen


def _weights(operator: Operator, inputs: int, outputs: int, gates: int) -> nn.ParameterDict:
    """Make the weights of one gate, as many times along the first axis as there are gates."""
    shapes = operator.weight_shapes(inputs, outputs) if gates else {}
    stacked = {name: (gates * first, *rest) for name, (first, *rest) in shapes.items()}
    return nn.ParameterDict({name: torch.empty(shape) for name, shape in stacked.items()})


def _vector(size: int) -> nn.Parameter | None:
    return nn.Parameter(torch.empty(size)) if size else None
