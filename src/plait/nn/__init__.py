"""The mathematics, usable alone: cells, operators, and the layers they make."""

from plait.nn.attention import Attention
from plait.nn.cells import GRU, LSTM, RNN, Cell
from plait.nn.convolution import GraphConv
from plait.nn.filters import GCN, Chebyshev, Diffusion
from plait.nn.graph import Graph
from plait.nn.operators import Dense, Operator
from plait.nn.recurrent import Recurrent

__all__ = [
    "GCN",
    "GRU",
    "LSTM",
    "RNN",
    "Attention",
    "Cell",
    "Chebyshev",
    "Dense",
    "Diffusion",
    "Graph",
    "GraphConv",
    "Operator",
    "Recurrent",
]
