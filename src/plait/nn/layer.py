"""`Layer`: one layer in one direction; the part of `Recurrent` that owns the weights."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn

from plait.kernels.trace import gate_names
from plait.nn.bound import BoundCell, key_of
from plait.nn.cell import Cell
from plait.nn.convolution import glorot_
from plait.nn.operators import Operator, OperatorLayer

Init = Literal["torch", "orthogonal", "kaiming"]


class Layer(OperatorLayer, BoundCell):
    """The weights of one layer in one direction, and how they run over time.

    `inputs` and `recurrent` hold the operator's weights for the two sides, their first axis the
    gates × what the operator asks for one (for a matrix, channels); `bias` and
    `recurrent_bias` have entries for the gates that the cell names. `key` is how compiled programs
    name its cell and operator (`spec`, without weights).

    Shapes
    ------
    x : `[T, B, (N,) F]`; states : `[B, (N,) H]` each; weights : those of the operator for one gate,
    the first axis times the number of gates

    Raises
    ------
    ValueError
        For a cell without gates or states, and for one that names a gate or a state twice.

    Example
    -------
    >>> from plait import LSTM, Recurrent
    >>> layer = Recurrent(LSTM(), 3, 5).directions[0]
    >>> {name: list(p.shape) for name, p in layer.named_parameters()}
    {'bias': [20], 'inputs.weight': [20, 3], 'recurrent.weight': [20, 5]}
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
        self.key, self.spec = key_of(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over a copy or a pickle, under a key of this process."""
        super().__setstate__(state)
        self.key, self.spec = key_of(self)

    @torch.no_grad()
    def reset_parameters(self, init: Init, gain: float) -> None:
        """Draw the weights; the schemes are described in `Recurrent.reset_parameters`.

        `gain` is the input side's in the scheme "orthogonal".
        """
        H, biases = self.hidden_size, dict(self.cell.initial_bias)
        if init == "torch":
            for p in self.parameters():
                nn.init.uniform_(p, -1 / math.sqrt(H), 1 / math.sqrt(H))
        else:
            self._draw_matrices(init, gain)
            for p in (self.bias, self.recurrent_bias, *self.vectors.values()):
                if p is not None:
                    nn.init.zeros_(p)
            biases = dict.fromkeys(self.cell.open_gates, 1.0) | biases
        for gate, value in biases.items():
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
                for gate in weight.chunk(len(gates)):  # [H, …]: each gate is initialised separately
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
        own = self._modules  # read at every call: `self.inputs` takes longer
        return self, own["inputs"], own["recurrent"], own["vectors"]  # pyright: ignore[reportReturnType]


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
            raise ValueError(
                f"{name} has no vector {vector!r}, which initial_vectors names; it has "
                f"{', '.join(cell.vector_sizes) or 'none'}"
            )
    for what in ("open_gates", "initial_bias"):
        for gate in getattr(cell, what):
            if gate not in gates:
                raise ValueError(
                    f"{name} has no gate {gate!r}, which {what} names; it has {', '.join(gates)}"
                )
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
