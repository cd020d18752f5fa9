"""Networks of the leaderboards for traffic: STID and Graph WaveNet."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.nn.adaptive import Adaptive
from plait.nn.convolution import GraphConv
from plait.nn.filters import Diffusion
from plait.nn.graph import Graph


class STID(nn.Module):
    r"""STID (Shao et al. 2022): embeddings of the node and the time, and no graph.

    z = [W x + b ∥ E_n ∥ D_s ∥ K_w],  z ← z + V₂ relu(V₁ z + b₁) + b₂, `layers` times,
    ŷ = U z + c

    x are the node's last `history` steps, one after another; E_n is an embedding of the node,
    D_s one of the time of day s of the last step, and K_w one of its day of the week w, all learnt.
    As in the authors' code dropout is between V₁ and V₂.

    Parameters
    ----------
    inputs : int
        Features of a node at each step.
    num_nodes, history, horizon : int
    steps_a_day : int
        Steps per day.
    size : int
        Dimension of each of the four parts of z.
    layers : int
    dropout : float

    Shapes
    ------
    x : `[history, B, N, inputs]`; place, weekday : integer `[B]`; output : `[horizon, B, N]`

    Example
    -------
    >>> import torch
    >>> from plait.zoo import STID
    >>> model = STID(1, num_nodes=5, history=12, horizon=3, steps_a_day=288)
    >>> place, weekday = torch.tensor([0, 287]), torch.tensor([1, 0])
    >>> model(torch.randn(12, 2, 5, 1), place, weekday).shape
    torch.Size([3, 2, 5])
    """

    def __init__(
        self,
        inputs: int,
        *,
        num_nodes: int,
        history: int,
        horizon: int,
        steps_a_day: int,
        size: int = 32,
        layers: int = 3,
        dropout: float = 0.15,
    ) -> None:
        super().__init__()
        width = 4 * size
        self.series = nn.Linear(history * inputs, size)
        self.nodes = nn.Parameter(torch.empty(num_nodes, size))
        self.places = nn.Parameter(torch.empty(steps_a_day, size))
        self.weekdays = nn.Parameter(torch.empty(7, size))
        for vectors in (self.nodes, self.places, self.weekdays):
            nn.init.xavier_uniform_(vectors)
        self.inner = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.outer = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.output = nn.Linear(width, horizon)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, place: Tensor, weekday: Tensor) -> Tensor:
        """Return the forecast of every step and node."""
        series = self.series(x.permute(1, 2, 0, 3).flatten(-2))  # [B, N, size]
        own = self.places[place][:, None], self.weekdays[weekday][:, None]  # [B, 1, size]
        parts = (series, *(part.expand_as(series) for part in (self.nodes, *own)))
        z = torch.cat(parts, -1)  # [B, N, 4·size]
        for inner, outer in zip(self.inner, self.outer, strict=True):
            z = z + outer(self.dropout(torch.relu(inner(z))))
        return self.output(z).permute(2, 0, 1)


class GraphWaveNet(nn.Module):
    r"""Graph WaveNet (Wu et al. 2019): gated convolutions in time, diffusion over two graphs.

    a_t, b_t = W_0 z_{t−d} + W_1 z_t + w,  g_t = tanh(a_t) ⊙ σ(b_t),  s ← s + V g_T

    z_t ← norm(Θ * g_t + z_t), with * `Adaptive(k, given=Diffusion(k))`,

    layer by layer, d the layer's dilation; then ŷ = U₂ relu(U₁ relu(s) + u₁) + u₂, of the last
    step T. So it is no cell × operator: time has convolutions in place of a cell, and the operator
    is that of any `GraphConv`. `history` is extended by zeros before it to the steps that the
    dilations need; of every layer those steps remain that it has both inputs of.

    The authors' code differs from equation 5 of the paper: its learnt graph has rows with sum 1
    over the targets of edges, the paper's and ours over their sources. Its powers of the walks are
    Chebyshev polynomials here, the same filters with other weights.

    Parameters
    ----------
    inputs : int
        Features of a node at each step.
    num_nodes, horizon : int
    channels, skip, end : int
        Sizes of z and g, of s, and of the layer before the last.
    dilations : tuple of int
        Of each layer.
    k : int
        Powers of each walk and of the learnt graph.
    size : int
        Dimension of the node embeddings that the graph is learnt from.
    dropout : float
        After each graph convolution.

    Shapes
    ------
    x : `[P, B, N, inputs]`; output : `[horizon, B, N]`

    Example
    -------
    >>> import torch
    >>> from plait import Graph
    >>> from plait.zoo import GraphWaveNet
    >>> model = GraphWaveNet(2, num_nodes=3, horizon=12)
    >>> path = Graph([[0, 1], [1, 2]]).to_undirected()
    >>> model(torch.randn(12, 4, 3, 2), graph=path).shape
    torch.Size([12, 4, 3])
    """

    def __init__(
        self,
        inputs: int,
        *,
        num_nodes: int,
        horizon: int,
        channels: int = 32,
        skip: int = 256,
        end: int = 512,
        dilations: tuple[int, ...] = (1, 2) * 4,
        k: int = 2,
        size: int = 10,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        operator = Adaptive(num_nodes, k, size, given=Diffusion(k))  # one graph for all layers
        C, layers = channels, range(len(dilations))
        self.dilations = dilations
        self.input = nn.Linear(inputs, C)
        self.gates = nn.ModuleList(nn.Linear(2 * C, 2 * C) for _ in layers)
        self.skips = nn.ModuleList(nn.Linear(C, skip) for _ in layers)
        self.graphs = nn.ModuleList(GraphConv(operator, C, C) for _ in layers)
        self.norms = nn.ModuleList(nn.BatchNorm1d(C) for _ in layers)
        self.dropout = nn.Dropout(dropout)
        self.end = nn.Linear(skip, end)
        self.output = nn.Linear(end, horizon)

    def forward(self, x: Tensor, graph: Graph) -> Tensor:
        """Return the forecast of every step and node."""
        before = max(0, sum(self.dilations) + 1 - len(x))
        z = self.input(F.pad(x, (0, 0) * 3 + (before, 0)))
        skip = z.new_zeros(())
        parts: Any = zip(self.dilations, self.gates, self.skips, self.graphs, self.norms)  # noqa: B905
        for d, gates, to_skip, over_graph, norm in parts:
            a, b = gates(torch.cat([z[:-d], z[d:]], -1)).chunk(2, -1)  # [T − d, B, N, C]
            g = torch.tanh(a) * torch.sigmoid(b)
            skip = skip + to_skip(g[-1])
            z = self.dropout(over_graph(g, graph)) + z[d:]
            z = norm(z.flatten(0, -2)).view_as(z)
        return self.output(torch.relu(self.end(torch.relu(skip)))).permute(2, 0, 1)
