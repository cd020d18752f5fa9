"""A cell × an operator with their weights: what a kernel is given to run."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.kernels import reference
from plait.kernels.cpu.packing import Packing
from plait.kernels.handles import key
from plait.kernels.kernel import Call
from plait.kernels.program import Program
from plait.kernels.trace import gate_names
from plait.nn.cell import Cell, State, program_of
from plait.nn.operators import Operator, basis_of, by_value, for_mode


class BoundCell:
    """A cell × an operator with weights, however they are owned.

    `inputs` and `recurrent` hold the operator's weights for the two sides, their first axis the
    gates × what the operator asks for one.

    Shapes
    ------
    x : `[T, B, (N,) F]`; states : `[B, (N,) H]` each; bias : `[len(bias_gates) · H]`;
    recurrent_bias : `[len(recurrent_bias_gates) · H]`; vectors : `[k · H]` each

    Raises
    ------
    ValueError
        Where the cell asks for the recurrent side of a gate that has no recurrent weights.
    """

    cell: Cell
    operator: Operator
    hidden_size: int
    gates: tuple[str, ...]
    bias_gates: tuple[str, ...]
    recurrent_gates: tuple[str, ...]
    recurrent_bias_gates: tuple[str, ...]
    inputs: Any
    recurrent: Any
    bias: Tensor | None
    recurrent_bias: Tensor | None
    vectors: Any
    training: bool
    names: tuple[str, ...] = ()  # of the weights
    key: str = ""  # by which compiled programs name the cell and the operator

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
        operator, weights = self.acting_operator(), dict(self.inputs.items())
        if not isinstance(graph, list | tuple):
            return operator.apply(rows, weights, graph)
        x = rows.unflatten(0, (packing.T, packing.B))
        parts = [operator.apply(x[span], weights, one) for span, one in _spans(graph, packing.T)]
        return torch.cat(parts).flatten(0, 1)

    def input_gates(self, x: Tensor, graph: Any) -> Tensor:
        """Return the input side of `x [T, B, (N,) F]`, without its bias."""
        operator, weights = self.acting_operator(), dict(self.inputs.items())
        if not isinstance(graph, list | tuple):
            return operator.apply(x, weights, graph)
        return torch.stack([operator.apply(x[t], weights, one) for t, one in enumerate(graph)])

    def run_plainly(self, call: Call) -> tuple[Tensor, State, State]:
        """Run in plain torch: outputs `[T, B, (N,) H]`, final states, states of every step."""
        mask = None
        if call.dropout:
            mask = F.dropout(torch.ones_like(call.start[0]), call.dropout)
        operator = self.acting_operator()
        parts = [
            operator.apply(call.x[span], dict(self.inputs.items()), graph)
            for span, graph in _spans(call.graph, call.x.shape[0])
        ]
        x_gates = parts[0] if len(parts) == 1 else torch.cat(parts)
        return self.over_time(
            x_gates, call.start, call.graph, call.keep, mask, dict(self.recurrent.items()),
            self.all_vectors(),
        )  # fmt: skip

    def over_time(
        self, x_gates: Tensor, start: State, graph: Any, keep: Tensor | None, mask: Tensor | None,
        weights: Mapping[str, Tensor], vectors: Mapping[str, Tensor],
        operator: Any = None,
    ) -> tuple[Tensor, State, State]:  # fmt: skip
        """Run the cell over a stretch of time, from `x_gates [T, B, (N,) G·H]` without its bias.

        `operator` is applied to the states; None: the layer's own.
        """
        if "bias" in vectors:
            x_gates = x_gates + self.spread(vectors["bias"], self.bias_gates, self.gates)
        operator = self.acting_operator() if operator is None else operator
        state = start
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
        self, operator: Any, graph: Any, mask: Tensor | None, weights: Mapping[str, Tensor],
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
            if isinstance(tensor, tuple):
                raise ValueError(
                    "recurrent takes one state, and got the tuple of all; unpack it first, as in "
                    "(h,) = state"
                )
            key = gates if gates is None or isinstance(gates, str) else tuple(gates)
            if key not in picked:
                picked[key] = pick(key)
            chosen, bias = picked[key]
            value = tensor if mask is None else tensor * mask
            made = operator.apply(value, chosen, graph)
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

    def tensors(self) -> dict[str, Tensor]:
        """Return all weights by their names in the layer's `state_dict`."""
        found = {f"inputs.{name}": w for name, w in self.inputs.items()}
        found |= {f"recurrent.{name}": w for name, w in self.recurrent.items()}
        found |= {"bias": self.bias, "recurrent_bias": self.recurrent_bias}
        found |= {f"vectors.{name}": v for name, v in self.vectors.items()}
        return {name: w for name, w in found.items() if w is not None}

    def bind(self, weights: Mapping[str, Tensor], *, training: bool) -> "BoundCell":
        """Return the same with other weights, by the names that `tensors` gives."""
        other = BoundCell()
        for name in ("cell", "operator", "hidden_size", "gates", "bias_gates", "recurrent_gates",
                     "recurrent_bias_gates", "key"):  # fmt: skip
            setattr(other, name, getattr(self, name))
        for name in ("inputs", "recurrent", "vectors"):
            start = f"{name}."
            own = {n.removeprefix(start): w for n, w in weights.items() if n.startswith(start)}
            setattr(other, name, own)
        other.bias, other.recurrent_bias = weights.get("bias"), weights.get("recurrent_bias")
        other.training = training
        return other


def key_of(layer: BoundCell) -> tuple[str, BoundCell]:
    """Return the key by which compiled programs name a layer, and what it stands for.

    That is the cell and the operator, whose weights are given at each call by `names`.
    """
    weights = tuple(layer.tensors())
    spec = layer.bind({}, training=False)
    spec.names = weights
    return key(_content(layer, weights), spec), spec


def _content(layer: BoundCell, names: tuple[str, ...]) -> Any:
    """Return what decides all that a layer computes, or None where it may change unseen."""
    operator = by_value(layer.operator)
    if operator is None:
        return None
    try:
        programs = [layer.program(dropped=dropped) for dropped in (False, True)]
    except Exception:  # whatever a cell's own code raises, it raises when it runs
        return None
    keys = [program.key for program in programs if not isinstance(program, str)]
    if len(keys) < len(programs):
        return None
    return (
        keys, layer.hidden_size, names, layer.gates,
        layer.bias_gates, layer.recurrent_gates, layer.recurrent_bias_gates,
        operator,
    )  # fmt: skip


def _spans(graph: Any, steps: int) -> list[tuple[slice, Any]]:
    """Group consecutive steps with the same graph."""
    if not isinstance(graph, list | tuple):
        return [(slice(0, steps), graph)]
    runs = [(over, len(list(same))) for over, same in groupby(graph)]
    ends = list(accumulate(count for _, count in runs))
    return [(slice(end - count, end), over) for end, (over, count) in zip(ends, runs, strict=True)]
