"""Cells, graph operators and the layers made of them; usable without the rest of Plait."""

from plait.nn.attention import Attention
from plait.nn.cell import Cell
from plait.nn.cells import GRU, LSTM, RNN, CoupledLSTM, LayerNormLSTM
from plait.nn.convolution import GraphConv
from plait.nn.filters import GCN, Chebyshev, Diffusion
from plait.nn.graph import Graph
from plait.nn.minimal_cells import IndRNN, MinGRU, MinimalGatedUnit, MinLSTM
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
    "CoupledLSTM",
    "Dense",
    "Diffusion",
    "Graph",
    "GraphConv",
    "IndRNN",
    "LayerNormLSTM",
    "MinGRU",
    "MinLSTM",
    "MinimalGatedUnit",
    "Operator",
    "Recurrent",
]
