"""`Layer`: one layer in one direction, the part of `Recurrent` that owns weights."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, groupby
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.kernels import reference
from plait.kernels.cpu.packing import Packing
from plait.kernels.kernel import Call
from plait.kernels.program import Program
from plait.kernels.trace import gate_names
from plait.nn.cell import Cell, State, program_of
from plait.nn.convolution import glorot_
from plait.nn.operators import Operator, OperatorLayer, basis_of, for_mode

Init = Literal["orthogonal", "torch", "kaiming"]


class Layer(OperatorLayer):
    """The weights of one layer in one direction, and how they run over time.

    `inputs` and `recurrent` hold the operator's weights for the two sides, their first axis the
    gates × what the operator asks for one (for a matrix, channels); `bias` and
    `recurrent_bias` have entries for the gates that the cell names.
    """

    def __init__(self, cell: Cell, operator: Operator, input_size: int, hidden_size: int) -> None:
        super().__init__()
        H = hidden_size
        self.cell, self.operator, self.hidden_size = cell, operator, H
        self.gates = _checked_gates(cell)
        self.bias_gates = _subset(cell.bias_gates, self.gates)
        self.recurrent_gates = _subset(cell.recurrent_gates, self.gates)
        self.recurrent_bias_gates = _subset(cell.recurrent_bias_gates, self.recurrent_gates)
        self.inputs = _weights(operator, input_size, H, len(self.gates))
        self.recurrent = _weights(operator, H, H, len(self.recurrent_gates))
        self.bias = _vector(len(self.bias_gates) * H)
        self.recurrent_bias = _vector(len(self.recurrent_bias_gates) * H)
        sizes = cell.vector_sizes
        self.vectors = nn.ParameterDict({n: torch.empty(k * H) for n, k in sizes.items()})

    @torch.no_grad()
    def reset_parameters(self, init: Init, gain: float) -> None:
        """Draw the weights; the schemes are described in `Recurrent.reset_parameters`.

        `gain` is the input side's in the scheme "orthogonal".
        """
        H = self.hidden_size
        if init == "torch":
            for p in self.parameters():
                nn.init.uniform_(p, -1 / math.sqrt(H), 1 / math.sqrt(H))
        else:
            self._draw_matrices(init, gain)
            for p in (self.bias, self.recurrent_bias, *self.vectors.values()):
                if p is not None:
                    nn.init.zeros_(p)
            for gate, value in self.cell.initial_bias.items():
                if gate in self.bias_gates and self.bias is not None:
                    self.bias.view(-1, H)[self.bias_gates.index(gate)] = value
        for name, value in self.cell.initial_vectors.items():
            self.vectors[name].fill_(value)

    def _draw_matrices(self, init: Init, gain: float) -> None:
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

    def weight_modules(self) -> tuple[nn.Module, ...]:
        """Return itself, and the modules that hold its weights."""
        return self, self.inputs, self.recurrent, self.vectors

    @property
    def basis_of(self) -> Callable[..., Any] | None:
        """The operator's `basis`, where it is linear and computes nothing else."""
        return basis_of(self.operator)

    def program(self, *, dropped: bool) -> Program | str:
        """Return the cell's program, or the reason why it has none."""
        return program_of(self.cell, self.hidden_size, dropped=dropped)

    def all_vectors(self) -> dict[str, Tensor]:
        """Return the biases and the cell's own vectors by their names in a program."""
        found = {"bias": self.bias, "recurrent_bias": self.recurrent_bias, **self.vectors}
        return {name: p for name, p in found.items() if p is not None}

    def acting_operator(self) -> Operator:
        """Return the operator as it acts now, in training or in evaluation."""
        return for_mode(self.operator, self.training)

    def weights_of(
        self, weights: Mapping[str, Tensor], gates: Sequence[str]
    ) -> Mapping[str, Tensor]:
        """Return the recurrent weights of some gates."""
        return {name: self._rows(w, gates, self.recurrent_gates) for name, w in weights.items()}

    def input_side(self, rows: Tensor, graph: Any, packing: Packing) -> Tensor:
        """Return the input side of packed rows `[P, (N,) F]`, without its bias."""
        operator, weights = self.acting_operator(), dict(self.inputs)
        if not isinstance(graph, list | tuple):
            return operator.apply(rows, weights, graph)
        x = rows.unflatten(0, (packing.T, packing.B))
        parts = [operator.apply(x[span], weights, one) for span, one in _spans(graph, packing.T)]
        return torch.cat(parts).flatten(0, 1)

    def run_plainly(self, call: Call) -> tuple[Tensor, State, State]:
        """Run in plain torch: outputs `[T, B, (N,) H]`, final states, states of every step."""
        mask = None
        if call.dropout:
            mask = F.dropout(torch.ones_like(call.start[0]), call.dropout)
        operator = self.acting_operator()
        parts = [
            operator.apply(call.x[span], dict(self.inputs), graph)
            for span, graph in _spans(call.graph, call.x.shape[0])
        ]
        x_gates = parts[0] if len(parts) == 1 else torch.cat(parts)
        return self.over_time(
            x_gates, call.start, call.graph, call.keep, mask, dict(self.recurrent),
            self.all_vectors(),
        )  # fmt: skip

    def over_time(
        self, x_gates: Tensor, start: State, graph: Any, keep: Tensor | None, mask: Tensor | None,
        weights: Mapping[str, Tensor], vectors: Mapping[str, Tensor],
    ) -> tuple[Tensor, State, State]:  # fmt: skip
        """Run the cell over a stretch of time, from `x_gates [T, B, (N,) G·H]` without its bias."""
        if "bias" in vectors:
            x_gates = x_gates + self.spread(vectors["bias"], self.bias_gates, self.gates)
        operator, state = self.acting_operator(), start
        own = {name: vectors[name] for name in self.vectors}
        parts: list[State] = []
        for span, one in _spans(graph, x_gates.shape[0]):
            recurrent = self._recurrent_side(operator, one, mask, weights, vectors)
            kept = None if keep is None else keep[span]
            h, state, states = reference.run(
                self.cell.step, x_gates[span], recurrent, state, own, kept
            )
            parts.append((h, *states))
        h, *states = parts[0] if len(parts) == 1 else map(torch.cat, zip(*parts, strict=True))
        return h, state, tuple(states)

    def _recurrent_side(
        self, operator: Operator, graph: Any, mask: Tensor | None, weights: Mapping[str, Tensor],
        vectors: Mapping[str, Tensor],
    ) -> Callable[..., Tensor]:  # fmt: skip
        """Make `recurrent` for one sequence; the weights of each set of gates are picked once."""
        picked: dict[Any, tuple[Mapping[str, Tensor], Tensor | None]] = {}

        def pick(key: Any) -> tuple[Mapping[str, Tensor], Tensor | None]:
            gates = self.recurrent_gates if key is None else gate_names(key, self.recurrent_gates)
            missing = [g for g in gates if g not in self.recurrent_gates]
            if missing or not gates:
                raise ValueError(
                    f"{type(self.cell).__name__} asks for the recurrent side of gate "
                    f"{(*missing, None)[0]!r}, which has no recurrent weights; those that have: "
                    f"{', '.join(self.recurrent_gates) or 'none'}"
                )
            chosen = self.weights_of(weights, gates)
            bias = None
            if "recurrent_bias" in vectors:
                bias = self.spread(vectors["recurrent_bias"], self.recurrent_bias_gates, gates)
            return chosen, bias

        def recurrent(tensor: Tensor, gates: Sequence[str] | None = None) -> Tensor:
            key = gates if gates is None or isinstance(gates, str) else tuple(gates)
            if key not in picked:
                picked[key] = pick(key)
            chosen, bias = picked[key]
            made = operator.apply(tensor if mask is None else tensor * mask, chosen, graph)
            return made if bias is None else made + bias

        return recurrent

    def _rows(self, weight: Tensor, gates: Sequence[str], stacked: Sequence[str]) -> Tensor:
        """Return the rows of `gates` out of a weight stacked over the gates `stacked`."""
        if tuple(gates) == tuple(stacked):
            return weight
        parts = dict(zip(stacked, weight.chunk(len(stacked)), strict=True))
        return torch.cat([parts[g] for g in gates])

    def spread(self, bias: Tensor, has: Sequence[str], gates: Sequence[str]) -> Tensor:
        """Return the bias of `gates` [len(gates)·H]; zero for gates that have none."""
        if tuple(has) == tuple(gates):
            return bias
        parts = dict(zip(has, bias.split(self.hidden_size), strict=True))
        zero = bias.new_zeros(self.hidden_size)
        return torch.cat([parts.get(g, zero) for g in gates])


def _spans(graph: Any, steps: int) -> list[tuple[slice, Any]]:
    """Group consecutive steps with the same graph."""
    if not isinstance(graph, list | tuple):
        return [(slice(0, steps), graph)]
    runs = [(over, len(list(same))) for over, same in groupby(graph)]
    ends = list(accumulate(count for _, count in runs))
    return [(slice(end - count, end), over) for end, (over, count) in zip(ends, runs, strict=True)]


def _checked_gates(cell: Cell) -> tuple[str, ...]:
    name = type(cell).__name__
    gates = tuple(getattr(cell, "gates", ()))
    for what, names in (("gates", gates), ("states", tuple(cell.states))):
        if not names:
            raise ValueError(f"{name} has no {what}; name at least one, such as {what} = ('h',)")
        twice = [n for n in names if names.count(n) > 1]
        if twice:
            raise ValueError(f"{name} names {twice[0]!r} twice in {what}")
    for vector, times in cell.vector_sizes.items():
        if times < 1:
            raise ValueError(
                f"{name}'s vector {vector!r} must be 1 or more times H long, not {times}"
            )
    for vector in cell.initial_vectors:
        if vector not in cell.vector_sizes:
            raise ValueError(f"{name} has no vector {vector!r} to start from a value")
    return gates


def _subset(gates: Sequence[str] | None, of: tuple[str, ...]) -> tuple[str, ...]:
    chosen = of if gates is None else gate_names(gates, of)
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
