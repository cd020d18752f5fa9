"""The models of the structure task: over the graph, or over its nodes one by one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from scipy.sparse import csgraph, csr_array
from torch import Tensor, nn
from torch.nn import functional as F

from plait.nn.convolution import GraphConv
from plait.nn.graph import Graph
from plait.nn.recurrent import Recurrent
from plait.nn.registry import cell_named
from plait.tasks.structure.config import StructureConfig
from plait.tasks.structure.problems import SYMBOLS, Drawn


@dataclass(frozen=True)
class Batch:
    """B graphs as a model reads them.

    Attributes
    ----------
    symbols : Tensor `[B·N]`, or `[N, B]` as sequences
    graph : Graph or None
        All of them joined; None where they are sequences.
    answers : Tensor `[B]`
    """

    symbols: Tensor
    graph: Graph | None
    answers: Tensor

    @classmethod
    def of(cls, drawn: Drawn, search: str, device: torch.device) -> "Batch":
        """Join the graphs or, of a search, put their nodes in the order of the visits."""
        answers = torch.from_numpy(drawn.answers).to(device)
        if search:
            order = visited(drawn.adjacency, drawn.starts, search)
            sequences = np.take_along_axis(drawn.symbols, order, 1).T.copy()  # [N, B]
            return cls(torch.from_numpy(sequences).to(device), None, answers)
        B, N = drawn.symbols.shape
        of, source, target = drawn.adjacency.nonzero()
        graph = Graph(np.stack([source, target]) + of * N, num_nodes=B * N)
        graph.batch, graph.num_graphs = torch.arange(B).repeat_interleave(N), B
        symbols = torch.from_numpy(drawn.symbols.reshape(-1))
        return cls(symbols.to(device), graph.to(device), answers)


def visited(adjacency: np.ndarray, starts: Sequence[int] | np.ndarray, way: str) -> np.ndarray:
    """Return the nodes of every graph in the order of a search, `[B, N]`.

    Parameters
    ----------
    adjacency : boolean array `[B, N, N]`
        True at [graph, source, target].
    starts : integer array `[B]`
        Where a search begins; every other node is reached from there.
    way : "bfs" or "dfs"
        Breadth first, or depth first; neighbours in the order of their numbers.

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.structure.model import visited
    >>> tree = np.zeros((1, 4, 4), bool)
    >>> tree[0, [0, 0, 1], [1, 2, 3]] = True
    >>> visited(tree, [0], "bfs").tolist(), visited(tree, [0], "dfs").tolist()
    ([[0, 1, 2, 3]], [[0, 1, 3, 2]])
    """
    search = csgraph.breadth_first_order if way == "bfs" else csgraph.depth_first_order
    B, N, _ = adjacency.shape
    of, source, target = adjacency.nonzero()
    edges = np.ones(len(of)), (of * N + source, of * N + target)
    joined = csr_array(edges, shape=(B * N, B * N))  # one matrix: making many takes longest
    found = [search(joined, k * N + start, return_predecessors=False) - k * N
             for k, start in enumerate(starts)]  # fmt: skip
    return np.stack(found)


class StructureModel(nn.Module):
    r"""Answers a question about a graph of nodes with symbols s_i.

    Over the graph: h_0 = E[s],  h_l = ReLU(W_l * h_{l−1} + b_l),  p = V max_i h_L,i + v, the
    largest entry over the nodes, feature by feature.

    Over a sequence: p = V h_N + v, with h_N the last state of the last of `layers` recurrent
    layers that read E[s_i], node by node as they are visited.

    Shapes: a `Batch` of B graphs to logits `[B, 2]`.

    Example
    -------
    >>> import numpy as np, torch
    >>> from plait.tasks.structure.config import StructureConfig
    >>> from plait.tasks.structure.model import Batch, StructureModel
    >>> from plait.tasks.structure.problems import draw_neighbours
    >>> drawn = draw_neighbours(np.random.default_rng(0), 5, 16)
    >>> batch = Batch.of(drawn, "", torch.device("cpu"))
    >>> StructureModel(StructureConfig())(batch).shape
    torch.Size([5, 2])
    """

    def __init__(self, config: StructureConfig) -> None:
        super().__init__()
        H = config.hidden_size
        search = config.search
        self.embedding = nn.Embedding(SYMBOLS, H)
        self.recurrent = (
            Recurrent(cell_named(config.cell), H, H, layers=config.layers, init="orthogonal")
            if search
            else None
        )
        self.layers = nn.ModuleList(
            GraphConv(config.graph_options.make(), H, H)
            for _ in range(0 if search else config.layers)
        )
        self.output = nn.Linear(H, 2)

    @classmethod
    def from_facts(cls, config: StructureConfig, facts: Mapping[str, Any]) -> Self:
        """Rebuild the model that a run folder describes, without its weights."""
        return cls(config)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits `[B, 2]`."""
        h = self.embedding(batch.symbols)
        if self.recurrent is not None:
            return self.output(self.recurrent(h)[0][-1])
        assert batch.graph is not None
        for layer in self.layers:
            h = F.relu(layer(h, batch.graph))
        return self.output(batch.graph.readout(h, "max"))
