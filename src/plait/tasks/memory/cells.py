"""The cells of the course that the report was written for, where they differ from the usual ones.

They are here, not in `plait.nn`, because they serve to repeat the report: by name, in this task.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from plait.nn.cell import Cell, RecurrentSide, State
from plait.nn.cells import LSTM
from plait.nn.registry import CELLS


@dataclass(frozen=True)
class CourseGRU(Cell):
    r"""The course's GRU: no biases, reset before, and z opens for what is new.

    z = σ(W_z x + U_z h),  r = σ(W_r x + U_r h),  n = tanh(W_n x + U_n (r ⊙ h))

    h' = (1 − z) ⊙ h + z ⊙ n

    Example
    -------
    >>> from plait import Recurrent
    >>> from plait.tasks.memory.cells import CourseGRU
    >>> sum(p.numel() for p in Recurrent(CourseGRU(), 3, 256).parameters())    # 3·(3·256 + 256²)
    198912
    """

    gates = "zrn"
    bias_gates = ""

    def step(
        self, x_gates: Tensor, recurrent: RecurrentSide, state: State, vectors: Mapping[str, Tensor]
    ) -> State:
        """Go one step by the equations above."""
        (h,) = state
        x_z, x_r, x_n = x_gates.chunk(3, -1)
        u_z, u_r = recurrent(h, "zr").chunk(2, -1)
        z, r = torch.sigmoid(x_z + u_z), torch.sigmoid(x_r + u_r)
        n = torch.tanh(x_n + recurrent(r * h, "n"))
        return ((1 - z) * h + z * n,)


@dataclass(frozen=True)
class CoursePeephole(Cell):
    r"""The course's "peephole LSTM": its gates read c *instead of* h, its candidate no state.

    i = σ(W_i x + b_i + U_i c),  f and o likewise (the old c in all three)

    c' = f ⊙ c + i ⊙ σ(W_g x + b_g),  h' = o ⊙ tanh(c')

    `LSTM(peephole=True)` is the usual one (Gers & Schmidhuber 2000).

    Example
    -------
    >>> from plait import Recurrent
    >>> from plait.tasks.memory.cells import CoursePeephole
    >>> layer = Recurrent(CoursePeephole(), 3, 5)
    >>> sum(p.numel() for p in layer.parameters())              # 4·(5·3 + 5) + 3·5·5
    155
    """

    gates = "ifgo"
    recurrent_gates = "ifo"
    states = ("h", "c")

    def step(
        self, x_gates: Tensor, recurrent: RecurrentSide, state: State, vectors: Mapping[str, Tensor]
    ) -> State:
        """Go one step by the equations above."""
        _, c = state
        x_i, x_f, x_g, x_o = x_gates.chunk(4, -1)
        u_i, u_f, u_o = recurrent(c, "ifo").chunk(3, -1)
        i, f, o = torch.sigmoid(x_i + u_i), torch.sigmoid(x_f + u_f), torch.sigmoid(x_o + u_o)
        c = f * c + i * torch.sigmoid(x_g)
        return o * torch.tanh(c), c


MEMORY_CELLS: dict[str, Callable[[], Cell]] = {
    **CELLS,
    "lstm-course": lambda: LSTM(forget_bias=0.0),
    "gru-course": CourseGRU,
    "peephole-course": CoursePeephole,
}
"""Cells by name for this task; the course's LSTM starts from a forget-gate bias of 0."""
