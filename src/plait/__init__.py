"""Plait learns on sequences, on graphs, and on sequences over graphs.

A recurrent layer is a *cell* (which gates, which states) × an *operator* (how a node
aggregates its neighbours). `torch` is imported when a name that needs it is first used, so that the
command line starts quickly.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plait.api import load, predict, resume, score, train
    from plait.comparison import compare
    from plait.errors import InputError
    from plait.exporting import export
    from plait.inspection import inspect
    from plait.nn.adaptive import Adaptive
    from plait.nn.attention import Attention
    from plait.nn.cell import Cell
    from plait.nn.cells import GRU, LSTM, RNN, CoupledLSTM, LayerNormLSTM
    from plait.nn.convolution import GraphConv
    from plait.nn.edge_messages import GINE
    from plait.nn.filters import GCN, Chebyshev, Diffusion
    from plait.nn.graph import Graph
    from plait.nn.minimal_cells import IndRNN, MinGRU, MinimalGatedUnit, MinLSTM
    from plait.nn.operators import Dense
    from plait.nn.per_node import PerNode
    from plait.nn.propagation import Propagation
    from plait.nn.recurrent import Recurrent
    from plait.nn.sums import GIN, RGCN, SAGE, SAGEMax

__version__ = "0.2.0"

_HOME = {
    "Cell": "plait.nn.cell",
    "RNN": "plait.nn.cells",
    "LSTM": "plait.nn.cells",
    "GRU": "plait.nn.cells",
    "CoupledLSTM": "plait.nn.cells",
    "LayerNormLSTM": "plait.nn.cells",
    "MinimalGatedUnit": "plait.nn.minimal_cells",
    "MinGRU": "plait.nn.minimal_cells",
    "MinLSTM": "plait.nn.minimal_cells",
    "IndRNN": "plait.nn.minimal_cells",
    "Dense": "plait.nn.operators",
    "GCN": "plait.nn.filters",
    "Chebyshev": "plait.nn.filters",
    "Diffusion": "plait.nn.filters",
    "Adaptive": "plait.nn.adaptive",
    "Attention": "plait.nn.attention",
    "Graph": "plait.nn.graph",
    "GraphConv": "plait.nn.convolution",
    "PerNode": "plait.nn.per_node",
    "Recurrent": "plait.nn.recurrent",
    "Propagation": "plait.nn.propagation",
    "RGCN": "plait.nn.sums",
    "SAGE": "plait.nn.sums",
    "SAGEMax": "plait.nn.sums",
    "GIN": "plait.nn.sums",
    "GINE": "plait.nn.edge_messages",
    "InputError": "plait.errors",
    "train": "plait.api",
    "resume": "plait.api",
    "score": "plait.api",
    "load": "plait.api",
    "predict": "plait.api",
    "export": "plait.exporting",
    "compare": "plait.comparison",
    "inspect": "plait.inspection",
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
    "Attention",
    "Cell",
    "Chebyshev",
    "CoupledLSTM",
    "Dense",
    "Diffusion",
    "Graph",
    "GraphConv",
    "IndRNN",
    "InputError",
    "LayerNormLSTM",
    "MinGRU",
    "MinLSTM",
    "MinimalGatedUnit",
    "PerNode",
    "Propagation",
    "Recurrent",
    "SAGEMax",
    "compare",
    "export",
    "inspect",
    "load",
    "predict",
    "resume",
    "score",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'plait' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
