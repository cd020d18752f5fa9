"""Cells of few equations: one gate, gates without recurrence, and recurrence without matrices."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from plait.nn.cell import Cell, RecurrentSide, State


@dataclass(frozen=True)
class MinimalGatedUnit(Cell):
    r"""The minimal gated unit (Zhou et al. 2016): one gate.

    f = σ(W_f x + b_f + U_f h),  n = tanh(W_n x + b_n + U_n (f ⊙ h)),  h' = (1 − f) ⊙ h + f ⊙ n

    Shapes
    ------
    x_gates : `[B, (N,) 2·H]`; states : `[B, (N,) H]` each

    Example
    -------
    >>> from plait import MinimalGatedUnit, Recurrent
    >>> sum(p.numel() for p in Recurrent(MinimalGatedUnit(), 3, 5).parameters())  # 2·(5·3+5·5+5)
    90
    """

    gates = "fn"

    def step(
        self, x_gates: Tensor, recurrent: RecurrentSide, state: State, vectors: Mapping[str, Tensor]
    ) -> State:
        """Return the state after one step, by the equations above."""
        (h,) = state
        x_f, x_n = x_gates.chunk(2, -1)
        f = torch.sigmoid(x_f + recurrent(h, "f"))
        n = torch.tanh(x_n + recurrent(f * h, "n"))
        return ((1 - f) * h + f * n,)


@dataclass(frozen=True)
class MinGRU(Cell):
    r"""The minGRU (Feng et al. 2024, section 3.1 and appendix B): its gates read only the input.

    z = σ(W_z x + b_z),  n = g(W_n x + b_n),  h' = (1 − z) ⊙ h + z ⊙ n

    g(v) = v + ½ where v ≥ 0, else σ(v), which is positive, as the paper's log-space form wants.

    Numerics: the paper computes h by a parallel scan of logarithms, log h' = log(e^a + e^b), as
    products of many (1 − z) would underflow. Here the steps run one by one: h' is a mean of h and
    n, so the plain form above is exact up to rounding, in float32 and bfloat16, also for negative
    initial states, which the log-space form excludes.

    Shapes
    ------
    x_gates : `[B, (N,) 2·H]`; states : `[B, (N,) H]` each

    Example
    -------
    >>> from plait import MinGRU, Recurrent
    >>> sum(p.numel() for p in Recurrent(MinGRU(), 3, 5).parameters())             # 2·(5·3 + 5)
    40
    """

    gates = "zn"
    recurrent_gates = ()

    def step(
        self, x_gates: Tensor, recurrent: RecurrentSide, state: State, vectors: Mapping[str, Tensor]
    ) -> State:
        """Return the state after one step, by the equations above."""
        (h,) = state
        z, n = x_gates.chunk(2, -1)
        z = torch.sigmoid(z)
        return ((1 - z) * h + z * positive(n),)


@dataclass(frozen=True)
class MinLSTM(Cell):
    r"""The minLSTM (Feng et al. 2024, section 3.2): gates that read only the input and sum to 1.

    f = σ(W_f x + b_f),  i = σ(W_i x + b_i),  n = g(W_n x + b_n) with g as in `MinGRU`

    h' = f / (f + i) ⊙ h + i / (f + i) ⊙ n

    Numerics: as for `MinGRU`; f + i underflows only if both pre-activations are below −87.

    Shapes
    ------
    x_gates : `[B, (N,) 3·H]`; states : `[B, (N,) H]` each

    Example
    -------
    >>> from plait import MinLSTM, Recurrent
    >>> sum(p.numel() for p in Recurrent(MinLSTM(), 3, 5).parameters())            # 3·(5·3 + 5)
    60
    """

    gates = "fin"
    recurrent_gates = ()

    def step(
        self, x_gates: Tensor, recurrent: RecurrentSide, state: State, vectors: Mapping[str, Tensor]
    ) -> State:
        """Return the state after one step, by the equations above."""
        (h,) = state
        f, i, n = x_gates.chunk(3, -1)
        f, i = torch.sigmoid(f), torch.sigmoid(i)
        share = f / (f + i)
        return (share * h + (1 - share) * positive(n),)


@dataclass(frozen=True)
class IndRNN(Cell):
    r"""The independently recurrent network (Li et al. 2018): every channel is its own recurrence.

    h' = max(0, W x + b + u ⊙ h)

    Shapes
    ------
    x_gates : `[B, (N,) H]`; states : `[B, (N,) H]` each

    Example
    -------
    >>> from plait import IndRNN, Recurrent
    >>> sum(p.numel() for p in Recurrent(IndRNN(), 3, 5).parameters())             # 5·3 + 5 + 5
    25
    """

    gates = "h"
    recurrent_gates = ()
    vectors = ("u",)

    @property
    def initial_vectors(self) -> Mapping[str, float]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """0.9 for u, so that most of the state is kept."""
        return {"u": 0.9}

    def step(
        self, x_gates: Tensor, recurrent: RecurrentSide, state: State, vectors: Mapping[str, Tensor]
    ) -> State:
        """Return the state after one step, by the equation above."""
        (h,) = state
        return (torch.relu(x_gates + vectors["u"] * h),)


def positive(v: Tensor) -> Tensor:
    """Return v + ½ where v ≥ 0, else σ(v): continuous, and positive everywhere."""
    return torch.where(v >= 0, v + 0.5, torch.sigmoid(v))
