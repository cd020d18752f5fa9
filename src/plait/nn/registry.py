"""Cells by the names that a command line or a configuration uses."""

from collections.abc import Callable, Mapping

from plait.errors import InputError
from plait.nn.cell import Cell
from plait.nn.cells import GRU, LSTM, RNN, CoupledLSTM, LayerNormLSTM
from plait.nn.minimal_cells import IndRNN, MinGRU, MinimalGatedUnit, MinLSTM

CELLS: dict[str, Callable[[], Cell]] = {
    "rnn": RNN,
    "rnn-relu": lambda: RNN(nonlinearity="relu"),
    "lstm": LSTM,
    "lstm-peephole": lambda: LSTM(peephole=True),
    "lstm-layer-norm": LayerNormLSTM,
    "lstm-coupled": CoupledLSTM,
    "gru": GRU,
    "gru-before": lambda: GRU(reset="before"),
    "minimal-gated": MinimalGatedUnit,
    "min-gru": MinGRU,
    "min-lstm": MinLSTM,
    "ind-rnn": IndRNN,
}
"""The cells that a command line or a configuration can name."""


def cell_named(name: str, cells: Mapping[str, Callable[[], Cell]] = CELLS) -> Cell:
    """Return a cell by its name on the command line, among `cells`.

    Raises `InputError` for a name that is not there.

    >>> from plait.nn.registry import cell_named
    >>> cell_named("gru-before")
    GRU(reset='before')
    """
    if name not in cells:
        raise InputError(f"no cell named {name!r}; there are {', '.join(cells)}")
    return cells[name]()
