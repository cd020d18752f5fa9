"""Layers over a large graph against PyTorch Geometric: a training step, its time and its memory.

100,000 nodes, 1,000,000 edges drawn at random, float32; a step is forward and backward, the
features' gradient too. Run by `python benchmarks/bench.py --only "1 M edges"`.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from measure import Row, Sides

import plait

NODES, EDGES = 100_000, 1_000_000


class Stack(torch.nn.Module):
    """Layers over one graph with max(0, ·) between them."""

    def __init__(self, *layers: torch.nn.Module) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(layers)

    def forward(self, x: torch.Tensor, graph: Any) -> torch.Tensor:
        first, *others = self.layers
        x = first(x, graph)
        for layer in others:
            x = layer(x.relu(), graph)
        return x


def step(layer: torch.nn.Module, x: torch.Tensor, graph: Any, outputs: int) -> Callable[[], None]:
    """Make one training step, from a gradient of what comes out."""
    given = torch.randn(NODES, outputs)

    def run() -> None:
        x.grad = None
        layer.zero_grad()
        layer(x, graph).backward(given)

    return run


def sides(name: str) -> Sides:
    """Make a step of both."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch_geometric.nn import GATConv, GATv2Conv, GCNConv
    index = torch.unique(torch.randint(NODES, (2, EDGES)), dim=1)
    x = torch.randn(NODES, 128).requires_grad_()
    if name == "GCN":
        sizes = (128, 64), (64, 40)
        ours = Stack(*(plait.GraphConv(plait.GCN(), *size) for size in sizes))
        theirs = Stack(*(GCNConv(*size, cached=True) for size in sizes))
    else:
        version = 1 if name == "GAT" else 2
        ours = plait.GraphConv(plait.Attention(8, version=version), 128, 64)
        theirs = {"GAT": GATConv, "GATv2": GATv2Conv}[name](128, 8, heads=8)
    graph, outputs = plait.Graph(index, num_nodes=NODES), 40 if name == "GCN" else 64
    return step(ours, x, graph, outputs), step(theirs, x, index, outputs)


GCN_OPERATIONS = 6 * NODES * (128 * 64 + 64 * 40) + 2 * EDGES * 2 * (64 + 40)
GAT_OPERATIONS = 6 * NODES * 128 * 64
ROWS = [
    Row("GCN 128 → 64 → 40, 1 M edges", "GCNConv(cached) of PyG", 3, lambda: sides("GCN"),
        GCN_OPERATIONS, True),
    Row("attention 8 × 8, 1 M edges", "GATConv of PyG", 4, lambda: sides("GAT"),
        GAT_OPERATIONS, True),
    Row("attention version 2, 8 × 8, 1 M edges", "GATv2Conv of PyG", 4, lambda: sides("GATv2"),
        2 * GAT_OPERATIONS, True),
]  # fmt: skip
