"""The built-in cells: gate equations, without weights.

In every equation, W x + b is the input side, which `step` gets as `x_gates`, and U h the recurrent
side, which it computes with `recurrent(h, gates)`; ⊙ is the elementwise product.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.nn.cell import Cell, RecurrentSide, State
from plait.renamed import renamed_names

__getattr__ = renamed_names(
    __name__,
    {
        "Hear": "plait.nn.cell.RecurrentSide",
        "CELLS": "plait.nn.registry.CELLS",
        "cell_named": "plait.nn.registry.cell_named",
    },
)


@dataclass(frozen=True)
class RNN(Cell):
    r"""The vanilla recurrent network (Elman 1990).

    h' = φ(W x + b + U h), with φ the hyperbolic tangent or max(0, ·).

    Parameters
    ----------
    nonlinearity : "tanh" or "relu"

    Shapes
    ------
    x_gates : `[B, (N,) H]`; states : `[B, (N,) H]` each

    Raises
    ------
    ValueError
        For another nonlinearity.

    Example
    -------
    >>> from plait import RNN, Recurrent
    >>> sum(p.numel() for p in Recurrent(RNN(), 3, 5).parameters())     # 5·3 + 5·5 + 5
    45
    """

    nonlinearity: Literal["tanh", "relu"] = "tanh"
    gates = "h"

    def __post_init__(self) -> None:
        _choice("nonlinearity", self.nonlinearity, ("tanh", "relu"))

    def step(
        self, x_gates: Tensor, recurrent: RecurrentSide, state: State, vectors: Mapping[str, Tensor]
    ) -> State:
        """Return the state after one step, by the equations above."""
        (h,) = state
        pre = x_gates + recurrent(h)
        return (torch.tanh(pre) if self.nonlinearity == "tanh" else torch.relu(pre),)


@dataclass(frozen=True)
class LSTM(Cell):
    r"""Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate of Gers et al. 2000).

    i = σ(W_i x + b_i + U_i h),  f and o likewise,  g = tanh(W_g x + b_g + U_g h)

    c' = f ⊙ c + i ⊙ g,  h' = o ⊙ tanh(c')

    With `peephole` (Gers & Schmidhuber 2000; GCRN of Seo et al. 2016) the gates also read the cell
    state, channel by channel: p_i ⊙ c is added inside i, p_f ⊙ c inside f, and p_o ⊙ c' (the new
    cell state) inside o.

    Parameters
    ----------
    peephole : bool
    forget_bias : float or None
        The forget gate's initial bias, whatever `init` is. None: drawn as the others with
        `init="torch"`, else 1, which keeps the memory open (Jozefowicz et al. 2015).

    Shapes
    ------
    x_gates : `[B, (N,) 4·H]`; states : `[B, (N,) H]` each

    Example
    -------
    >>> from plait import LSTM, Recurrent
    >>> sum(p.numel() for p in Recurrent(LSTM(), 3, 5).parameters())    # 4·(5·3 + 5·5 + 5)
    180
    >>> sum(p.numel() for p in Recurrent(LSTM(peephole=True), 3, 5).parameters())    # + 3·5
    195
    """

    peephole: bool = False
    forget_bias: float | None = field(default=None, repr=False)
    gates = "ifgo"
    open_gates = "f"
    states = ("h", "c")

    @property
    def vectors(self) -> Sequence[str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The peephole vectors, if any."""
        return ("p_i", "p_f", "p_o") if self.peephole else ()

    @property
    def initial_bias(self) -> Mapping[str, float]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the forget gate, if it was given."""
        return {} if self.forget_bias is None else {"f": self.forget_bias}

    def step(
        self, x_gates: Tensor, recurrent: RecurrentSide, state: State, vectors: Mapping[str, Tensor]
    ) -> State:
        """Return the state after one step, by the equations above."""
        h, c = state
        i, f, g, o = (x_gates + recurrent(h)).chunk(4, -1)
        if self.peephole:
            i = i + vectors["p_i"] * c
            f = f + vectors["p_f"] * c
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        if self.peephole:
            o = o + vectors["p_o"] * c
        return torch.sigmoid(o) * torch.tanh(c), c


@dataclass(frozen=True)
class GRU(Cell):
    r"""The gated recurrent unit (Cho et al. 2014).

    r = σ(W_r x + b_r + U_r h),  z = σ(W_z x + b_z + U_z h),  h' = z ⊙ h + (1 − z) ⊙ n

    reset "after":  n = tanh(W_n x + b_n + r ⊙ (U_n h + d_n)), as in `torch.nn.GRU` and cuDNN

    reset "before": n = tanh(W_n x + b_n + U_n (r ⊙ h)), as in the paper

    Parameters
    ----------
    reset : "after" or "before"
        Whether the reset gate acts after the product with U_n or before it. "after" has an extra
        bias, d_n, inside the reset.
    gate_bias : float or None
        Initial value of b_r and b_z: 1 keeps the memory open (DCRNN of Li et al. 2018). None: drawn
        as the others.

    Shapes
    ------
    x_gates : `[B, (N,) 3·H]`; states : `[B, (N,) H]` each

    Raises
    ------
    ValueError
        For another reset.

    Example
    -------
    >>> from plait import GRU, Recurrent
    >>> sum(p.numel() for p in Recurrent(GRU("before"), 3, 5).parameters())  # 3·(5·3 + 5·5 + 5)
    135
    >>> sum(p.numel() for p in Recurrent(GRU(), 3, 5).parameters())          # + 5
    140
    """

    reset: Literal["after", "before"] = "after"
    gate_bias: float | None = field(default=None, repr=False)
    gates = "rzn"

    def __post_init__(self) -> None:
        _choice("reset", self.reset, ("after", "before"))

    @property
    def recurrent_bias_gates(self) -> Sequence[str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The candidate, if the reset gate acts on its recurrent side."""
        return "n" if self.reset == "after" else ()

    @property
    def initial_bias(self) -> Mapping[str, float]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Those of both gates, if they were given."""
        return {} if self.gate_bias is None else dict.fromkeys("rz", self.gate_bias)

    def step(
        self, x_gates: Tensor, recurrent: RecurrentSide, state: State, vectors: Mapping[str, Tensor]
    ) -> State:
        """Return the state after one step, by the equations above."""
        (h,) = state
        x_r, x_z, x_n = x_gates.chunk(3, -1)
        if self.reset == "after":
            u_r, u_z, u_n = recurrent(h).chunk(3, -1)
            r, z = torch.sigmoid(x_r + u_r), torch.sigmoid(x_z + u_z)
            n = torch.tanh(x_n + r * u_n)
        else:
            u_r, u_z = recurrent(h, "rz").chunk(2, -1)
            r, z = torch.sigmoid(x_r + u_r), torch.sigmoid(x_z + u_z)
            n = torch.tanh(x_n + recurrent(r * h, "n"))
        return (z * h + (1 - z) * n,)


@dataclass(frozen=True)
class CoupledLSTM(Cell):
    r"""The LSTM whose input and forget gates are coupled (Greff et al. 2017, "CIFG").

    f = σ(W_f x + b_f + U_f h),  o likewise,  g = tanh(W_g x + b_g + U_g h)

    c' = f ⊙ c + (1 − f) ⊙ g,  h' = o ⊙ tanh(c')

    Parameters
    ----------
    forget_bias : float or None
        Initial value of b_f; None: as of `LSTM`.

    Shapes
    ------
    x_gates : `[B, (N,) 3·H]`; states : `[B, (N,) H]` each

    Example
    -------
    >>> from plait import CoupledLSTM, Recurrent
    >>> sum(p.numel() for p in Recurrent(CoupledLSTM(), 3, 5).parameters())    # 3·(5·3 + 5·5 + 5)
    135
    """

    forget_bias: float | None = field(default=None, repr=False)
    gates = "fgo"
    open_gates = "f"
    states = ("h", "c")

    @property
    def initial_bias(self) -> Mapping[str, float]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the forget gate, if it was given."""
        return {} if self.forget_bias is None else {"f": self.forget_bias}

    def step(
        self, x_gates: Tensor, recurrent: RecurrentSide, state: State, vectors: Mapping[str, Tensor]
    ) -> State:
        """Return the state after one step, by the equations above."""
        h, c = state
        f, g, o = (x_gates + recurrent(h)).chunk(3, -1)
        f = torch.sigmoid(f)
        c = f * c + (1 - f) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


@dataclass(frozen=True)
class LayerNormLSTM(Cell):
    r"""The LSTM with layer normalisation (Ba, Kiros & Hinton 2016, equations 20 to 22).

    [i f g o] = LN(W x; α_x) + LN(U h; α_h) + b

    c' = σ(f) ⊙ c + σ(i) ⊙ tanh(g),  h' = σ(o) ⊙ tanh(LN(c'; α_c, β_c))

    LN(v; α, β) = α ⊙ (v − mean(v)) / √(var(v) + ε) + β, over all 4·H numbers of the gates or the H
    of the cell state. A single b replaces the two shifts and the bias, which only occur as a sum.

    Parameters
    ----------
    forget_bias : float
        Initial value of the forget gate's part of b.
    eps : float
        ε.

    Shapes
    ------
    x_gates : `[B, (N,) 4·H]`; states : `[B, (N,) H]` each

    Example
    -------
    >>> from plait import LayerNormLSTM, Recurrent
    >>> 4 * (5 * 3 + 5 * 5) + 2 * 20 + 20 + 2 * 5         # matrices, two gains, b, the state's norm
    230
    >>> sum(p.numel() for p in Recurrent(LayerNormLSTM(), 3, 5).parameters())
    230
    """

    forget_bias: float = field(default=1.0, repr=False)
    eps: float = field(default=1e-5, repr=False)
    gates = "ifgo"
    bias_gates = ()
    states = ("h", "c")
    vectors = MappingProxyType(
        {
            "gain_x": 4,
            "gain_h": 4,
            "b_i": 1,
            "b_f": 1,
            "b_g": 1,
            "b_o": 1,
            "gain_c": 1,
            "shift_c": 1,
        }
    )

    @property
    def initial_vectors(self) -> Mapping[str, float]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Gains of 1, and the forget gate's bias."""
        return {"gain_x": 1.0, "gain_h": 1.0, "gain_c": 1.0, "b_f": self.forget_bias}

    def step(
        self, x_gates: Tensor, recurrent: RecurrentSide, state: State, vectors: Mapping[str, Tensor]
    ) -> State:
        """Return the state after one step, by the equations above."""
        h, c = state
        H, v = c.shape[-1], vectors
        x = F.layer_norm(x_gates, (4 * H,), v["gain_x"], None, self.eps)
        u = F.layer_norm(recurrent(h), (4 * H,), v["gain_h"], None, self.eps)
        i, f, g, o = (x + u).chunk(4, -1)
        i, f = torch.sigmoid(i + v["b_i"]), torch.sigmoid(f + v["b_f"])
        c = f * c + i * torch.tanh(g + v["b_g"])
        seen = torch.tanh(F.layer_norm(c, (H,), v["gain_c"], v["shift_c"], self.eps))
        return torch.sigmoid(o + v["b_o"]) * seen, c


def _choice(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{option} must be {' or '.join(map(repr, allowed))}, not {value!r}")
