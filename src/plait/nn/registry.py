"""Cells and operators by the names that a command line or a configuration uses.

To name a new one, add a line to `CELLS` or `OPERATORS`. This file imports no torch, so that the
help of a command can list the names at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from plait.errors import InputError

if TYPE_CHECKING:
    from plait.nn.cell import Cell
    from plait.nn.operators import Operator


def load(place: str) -> Any:
    """Import `package.module:name` and return what it names.

    >>> from plait.nn.registry import load
    >>> load("plait.nn.cells:GRU")()
    GRU(reset='after')
    """
    module, name = place.split(":")
    return getattr(import_module(module), name)


CELLS: dict[str, "Callable[[], Cell]"] = {
    "rnn": lambda: load("plait.nn.cells:RNN")(),
    "rnn-relu": lambda: load("plait.nn.cells:RNN")(nonlinearity="relu"),
    "lstm": lambda: load("plait.nn.cells:LSTM")(),
    "lstm-peephole": lambda: load("plait.nn.cells:LSTM")(peephole=True),
    "lstm-layer-norm": lambda: load("plait.nn.cells:LayerNormLSTM")(),
    "lstm-coupled": lambda: load("plait.nn.cells:CoupledLSTM")(),
    "gru": lambda: load("plait.nn.cells:GRU")(),
    "gru-before": lambda: load("plait.nn.cells:GRU")(reset="before"),
    "minimal-gated": lambda: load("plait.nn.minimal_cells:MinimalGatedUnit")(),
    "min-gru": lambda: load("plait.nn.minimal_cells:MinGRU")(),
    "min-lstm": lambda: load("plait.nn.minimal_cells:MinLSTM")(),
    "ind-rnn": lambda: load("plait.nn.minimal_cells:IndRNN")(),
}
"""The cells that a command line or a configuration can name."""


@dataclass(frozen=True)
class GraphOptions:
    """An operator by name, and the options that operators take; each uses those it knows.

    Attributes
    ----------
    operator : str
        A name in `OPERATORS`.
    order : int
        Terms of a Chebyshev filter, of diffusion in each direction, or hops of propagation.
    heads : int
        Heads of attention.
    dropout : float
        Share of attention's coefficients that is dropped in training.
    relations : int
        Kinds of edges that a relational operator has a weight for.
    edge_size : int
        Features of every edge that the operator reads; 0: none.

    Example
    -------
    >>> from plait.nn.registry import GraphOptions
    >>> GraphOptions("chebyshev", order=3).make()
    Chebyshev(k=3, lambda_max=2)
    """

    operator: str
    order: int = 2
    heads: int = 1
    dropout: float = 0.0
    relations: int = 1
    edge_size: int = 0

    def make(self) -> "Operator":
        """Make the operator.

        Raises `InputError` for a name that is not there.
        """
        if self.operator not in OPERATORS:
            names = ", ".join(OPERATORS)
            raise InputError(f"no operator named {self.operator!r}; there are {names}")
        return OPERATORS[self.operator](self)

    def require_width(self, hidden_size: int) -> None:
        """Refuse, with `InputError`, a width that heads of attention cannot share."""
        if self.operator == "attention" and hidden_size % self.heads:
            raise InputError(
                f"--heads {self.heads} must divide --hidden-size {hidden_size}: each head gives a "
                "part of it"
            )


OPERATORS: dict[str, "Callable[[GraphOptions], Operator]"] = {
    "gcn": lambda given: load("plait.nn.filters:GCN")(),
    "attention": lambda g: load("plait.nn.attention:Attention")(
        g.heads, dropout=g.dropout, edge_size=g.edge_size
    ),
    "chebyshev": lambda given: load("plait.nn.filters:Chebyshev")(given.order),
    "diffusion": lambda given: load("plait.nn.filters:Diffusion")(given.order),
    "propagation": lambda given: load("plait.nn.propagation:Propagation")(given.order),
    "sage": lambda given: load("plait.nn.sums:SAGE")(),
    "sage-max": lambda given: load("plait.nn.sums:SAGEMax")(),
    "rgcn": lambda g: load("plait.nn.sums:RGCN")(g.relations),
    "gin": lambda given: load("plait.nn.sums:GIN")(),
    "gine": lambda given: load("plait.nn.edge_messages:GINE")(given.edge_size),
    "dense": lambda given: load("plait.nn.operators:Dense")(),
}
"""The operators that a command line or a configuration can name."""


def cell_named(name: str, cells: "Mapping[str, Callable[[], Cell]]" = CELLS) -> "Cell":
    """Make a cell from its name on the command line, among `cells`.

    Raises `InputError` for a name that is not there.

    >>> from plait.nn.registry import cell_named
    >>> cell_named("gru-before")
    GRU(reset='before')
    """
    if name not in cells:
        raise InputError(f"no cell named {name!r}; there are {', '.join(cells)}")
    return cells[name]()


def cell_names() -> str:
    """Return the names of `CELLS` as a sentence, for the help of an option."""
    *names, last = CELLS
    return f"{', '.join(names)} or {last}."


def operator_names() -> tuple[str, ...]:
    """Return the names of `OPERATORS`."""
    return tuple(OPERATORS)
