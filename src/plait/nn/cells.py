"""Cells: the gate algebra of a recurrent network, without weights.

A cell says which gates it has and how one step of time combines them. It owns no weights and
knows no graph: `Recurrent` owns the weights and an operator decides who is heard. In every
equation below, W x + b is the input side, which arrives ready-made as `x_gates`, and U h is the
recurrent side, which the cell asks for by `hear(h, gates)`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor

from plait.errors import InputError

State = tuple[Tensor, ...]


class Hear(Protocol):
    """Apply the operator to `tensor` with the recurrent weights of `gates` (default: all)."""

    def __call__(self, tensor: Tensor, gates: Sequence[str] | None = None) -> Tensor:
        """Return the recurrent side of these gates, stacked: `[B, (N,) len(gates)·H]`."""
        ...


class Cell:
    """One step of a recurrent network as pure gate algebra. Subclass it to make your own.

    Declare, as class attributes:

    - `gates`: names of the gates, in the order in which they are stacked; a string is a sequence
      of one-letter names;
    - `bias_gates`: the gates whose input side has a bias (None: all);
    - `recurrent_gates`: the gates that have recurrent weights (None: all);
    - `recurrent_bias_gates`: the gates whose *recurrent* side has a bias of its own (none);
    - `states`: names of the states; the first is the output;
    - `vectors`: names of weight vectors `[H]`, one number a channel (peepholes);
    - `initial_bias`: for a gate, the value its bias starts from (0 where nothing is said).

    and write `step`, from differentiable torch operations. Every state is `[B, (N,) H]`.

    Example
    -------
    The minimal gated unit of Zhou et al. (2016), complete:

    >>> import torch
    >>> from plait import Cell, Recurrent
    >>> class MinimalGatedUnit(Cell):
    ...     gates = "fn"
    ...     def step(self, x_gates, hear, state, vectors):
    ...         (h,) = state
    ...         x_f, x_n = x_gates.chunk(2, -1)
    ...         f = torch.sigmoid(x_f + hear(h, "f"))
    ...         n = torch.tanh(x_n + hear(f * h, "n"))
    ...         return ((1 - f) * h + f * n,)
    >>> layer = Recurrent(MinimalGatedUnit(), input_size=3, hidden_size=5)
    >>> y, h = layer(torch.randn(7, 2, 3))          # T = 7, B = 2
    >>> y.shape, h.shape
    (torch.Size([7, 2, 5]), torch.Size([1, 2, 5]))
    """

    gates: Sequence[str]
    bias_gates: Sequence[str] | None = None
    recurrent_gates: Sequence[str] | None = None
    recurrent_bias_gates: Sequence[str] = ()
    states: Sequence[str] = ("h",)
    vectors: Sequence[str] = ()
    initial_bias: Mapping[str, float] = {}

    def step(
        self, x_gates: Tensor, hear: Hear, state: State, vectors: Mapping[str, Tensor]
    ) -> State:
        """Go one step forward in time.

        Parameters
        ----------
        x_gates : Tensor `[B, (N,) G·H]`
            The input side of all G gates, stacked in the order of `gates`, biases included.
        hear : callable
            `hear(tensor, gates)` is the recurrent side of those gates, `[B, (N,) len(gates)·H]`.
        state : tuple of Tensor `[B, (N,) H]`
            In the order of `states`.
        vectors : mapping of Tensor `[H]`
            By the names in `vectors`.

        Returns
        -------
        tuple of Tensor `[B, (N,) H]`
            The new state, in the order of `states`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no step")


@dataclass(frozen=True)
class RNN(Cell):
    r"""The vanilla recurrent network (Elman 1990).

    h' = φ(W x + b + U h), with φ the hyperbolic tangent or max(0, ·).

    Parameters
    ----------
    nonlinearity : "tanh" or "relu"

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
        self, x_gates: Tensor, hear: Hear, state: State, vectors: Mapping[str, Tensor]
    ) -> State:
        """Go one step by the equations above."""
        (h,) = state
        pre = x_gates + hear(h)
        return (torch.tanh(pre) if self.nonlinearity == "tanh" else torch.relu(pre),)


@dataclass(frozen=True)
class LSTM(Cell):
    r"""Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate of Gers et al. 2000).

    i = σ(W_i x + b_i + U_i h),  f and o likewise,  g = tanh(W_g x + b_g + U_g h)

    c' = f ⊙ c + i ⊙ g,  h' = o ⊙ tanh(c')

    With `peephole` (Gers & Schmidhuber 2000; GCRN of Seo et al. 2016) the gates see the cell state
    too, channel by channel: p_i ⊙ c is added inside i, p_f ⊙ c inside f, and p_o ⊙ c' (the *new*
    cell state) inside o.

    Parameters
    ----------
    peephole : bool
    forget_bias : float
        The forget gate's bias at the start: 1 keeps the memory open (Jozefowicz et al. 2015).

    Example
    -------
    >>> from plait import LSTM, Recurrent
    >>> sum(p.numel() for p in Recurrent(LSTM(), 3, 5).parameters())    # 4·(5·3 + 5·5 + 5)
    180
    >>> sum(p.numel() for p in Recurrent(LSTM(peephole=True), 3, 5).parameters())    # + 3·5
    195
    """

    peephole: bool = False
    forget_bias: float = 1.0
    gates = "ifgo"
    states = ("h", "c")

    @property
    def vectors(self) -> Sequence[str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The peephole vectors, if there are any."""
        return ("p_i", "p_f", "p_o") if self.peephole else ()

    @property
    def initial_bias(self) -> Mapping[str, float]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The forget gate's."""
        return {"f": self.forget_bias}

    def step(
        self, x_gates: Tensor, hear: Hear, state: State, vectors: Mapping[str, Tensor]
    ) -> State:
        """Go one step by the equations above."""
        h, c = state
        i, f, g, o = (x_gates + hear(h)).chunk(4, -1)
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
        Whether the reset gate acts after the product with U_n or before it. "after" has one bias
        more, d_n, inside the reset.
    gate_bias : float
        What b_r and b_z start from: 1 keeps the memory open (DCRNN of Li et al. 2018).

    Example
    -------
    >>> from plait import GRU, Recurrent
    >>> sum(p.numel() for p in Recurrent(GRU("before"), 3, 5).parameters())  # 3·(5·3 + 5·5 + 5)
    135
    >>> sum(p.numel() for p in Recurrent(GRU(), 3, 5).parameters())          # + 5
    140
    """

    reset: Literal["after", "before"] = "after"
    gate_bias: float = field(default=0.0, repr=False)
    gates = "rzn"

    def __post_init__(self) -> None:
        _choice("reset", self.reset, ("after", "before"))

    @property
    def recurrent_bias_gates(self) -> Sequence[str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The candidate's, when the reset gate acts on its recurrent side."""
        return "n" if self.reset == "after" else ()

    @property
    def initial_bias(self) -> Mapping[str, float]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Both gates'."""
        return {"r": self.gate_bias, "z": self.gate_bias}

    def step(
        self, x_gates: Tensor, hear: Hear, state: State, vectors: Mapping[str, Tensor]
    ) -> State:
        """Go one step by the equations above."""
        (h,) = state
        x_r, x_z, x_n = x_gates.chunk(3, -1)
        if self.reset == "after":
            u_r, u_z, u_n = hear(h).chunk(3, -1)
            r, z = torch.sigmoid(x_r + u_r), torch.sigmoid(x_z + u_z)
            n = torch.tanh(x_n + r * u_n)
        else:
            u_r, u_z = hear(h, "rz").chunk(2, -1)
            r, z = torch.sigmoid(x_r + u_r), torch.sigmoid(x_z + u_z)
            n = torch.tanh(x_n + hear(r * h, "n"))
        return (z * h + (1 - z) * n,)


CELLS: dict[str, Callable[[], Cell]] = {
    "rnn": RNN,
    "rnn-relu": lambda: RNN(nonlinearity="relu"),
    "lstm": LSTM,
    "lstm-peephole": lambda: LSTM(peephole=True),
    "gru": GRU,
    "gru-before": lambda: GRU(reset="before"),
}
"""The cells that a command line or a configuration can name."""


def cell_named(name: str, cells: Mapping[str, Callable[[], Cell]] = CELLS) -> Cell:
    """Make a cell from its name on the command line, among `cells`.

    Raises `InputError` for a name that is not there.

    >>> from plait.nn.cells import cell_named
    >>> cell_named("gru-before")
    GRU(reset='before')
    """
    if name not in cells:
        raise InputError(f"no cell named {name!r}; there are {', '.join(cells)}")
    return cells[name]()


def equations(cell: Cell) -> str | None:
    """Name the equations of a built-in cell, for a kernel that knows them; None for any other.

    A subclass of a built-in cell may compute anything, so only the cells themselves count.
    """
    for known, name in _EQUATIONS.items():
        if type(cell) is type(known) and _algebra(cell) == _algebra(known):
            return name
    return None


def _algebra(cell: Cell) -> tuple[object, ...]:
    """Give what decides the equations of a built-in cell; an initial bias does not."""
    return tuple(getattr(cell, name, None) for name in ("nonlinearity", "peephole", "reset"))


def _choice(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{option} must be {' or '.join(map(repr, allowed))}, not {value!r}")


_EQUATIONS: dict[Cell, str] = {
    RNN("tanh"): "RNN_TANH",
    RNN("relu"): "RNN_RELU",
    LSTM(): "LSTM",
    LSTM(peephole=True): "LSTM_PEEPHOLE",
    GRU("after"): "GRU",
    GRU("before"): "GRU_BEFORE",
}
