"""The mathematics, usable alone: cells, operators, and the layers they make.

Like `plait` itself it imports torch when a name that needs it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plait.nn.adaptive import Adaptive
    from plait.nn.attention import Attention
    from plait.nn.cell import Cell
    from plait.nn.cells import GRU, LSTM, RNN, CoupledLSTM, LayerNormLSTM
    from plait.nn.convolution import GraphConv
    from plait.nn.edge_messages import GINE
    from plait.nn.filters import GCN, Chebyshev, Diffusion
    from plait.nn.graph import Graph
    from plait.nn.minimal_cells import IndRNN, MinGRU, MinimalGatedUnit, MinLSTM
    from plait.nn.neighbours import Adjacency, NeighbourSampler, Sample, hops_of
    from plait.nn.operators import Dense, Operator
    from plait.nn.per_node import PerNode
    from plait.nn.propagation import Propagation
    from plait.nn.recurrent import Recurrent
    from plait.nn.sums import GIN, RGCN, SAGE, SAGEMax

_HOME = {
    "Adaptive": "plait.nn.adaptive",
    "Attention": "plait.nn.attention",
    "Cell": "plait.nn.cell",
    "GRU": "plait.nn.cells",
    "LSTM": "plait.nn.cells",
    "RNN": "plait.nn.cells",
    "CoupledLSTM": "plait.nn.cells",
    "LayerNormLSTM": "plait.nn.cells",
    "GraphConv": "plait.nn.convolution",
    "GCN": "plait.nn.filters",
    "Chebyshev": "plait.nn.filters",
    "Diffusion": "plait.nn.filters",
    "Graph": "plait.nn.graph",
    "IndRNN": "plait.nn.minimal_cells",
    "MinGRU": "plait.nn.minimal_cells",
    "MinimalGatedUnit": "plait.nn.minimal_cells",
    "MinLSTM": "plait.nn.minimal_cells",
    "Adjacency": "plait.nn.neighbours",
    "NeighbourSampler": "plait.nn.neighbours",
    "Sample": "plait.nn.neighbours",
    "hops_of": "plait.nn.neighbours",
    "Dense": "plait.nn.operators",
    "Operator": "plait.nn.operators",
    "PerNode": "plait.nn.per_node",
    "Recurrent": "plait.nn.recurrent",
    "Propagation": "plait.nn.propagation",
    "RGCN": "plait.nn.sums",
    "SAGE": "plait.nn.sums",
    "SAGEMax": "plait.nn.sums",
    "GIN": "plait.nn.sums",
    "GINE": "plait.nn.edge_messages",
}

__all__ = [
    "GCN",
    "GIN",
    "GINE",
    "GRU",
    "LSTM",
    "RGCN",
    "RNN",
    "SAGE",
    "Adaptive",
    "Adjacency",
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
    "NeighbourSampler",
    "Operator",
    "PerNode",
    "Propagation",
    "Recurrent",
    "SAGEMax",
    "Sample",
    "hops_of",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'plait.nn' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
