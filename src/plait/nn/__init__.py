"""The mathematics, usable alone: cells, operators, and the layers they make."""

from plait.nn.cells import GRU, LSTM, RNN, Cell
from plait.nn.operators import Dense, Operator
from plait.nn.recurrent import Recurrent

__all__ = ["GRU", "LSTM", "RNN", "Cell", "Dense", "Operator", "Recurrent"]
