"""`GINE`: messages from the features of a node and of the edge."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.kernels.edge_sums import ends_of, take, total
from plait.nn.graph import checked_edge_features, checked_graph


@dataclass(frozen=True)
class GINE:
    r"""GIN with features of the edges (Hu et al. 2020, equation 1 of the appendix, as in OGB).

    y_i = W ((1 + ε) x_i + Σ_j w_ji relu(x_j + E f_ji + b))

    The sum is over the edges j → i with features f; loops count like other edges, and weights may
    be negative. Each gate of a recurrent layer has its own W, E and b, so messages of its own. It
    is not linear in x, so recurrent layers compute it in torch.

    Parameters
    ----------
    edge_size : int
        D, the features of an edge; with 0 there are no E and b, and the graph needs no features.
    eps : float
        ε, which is not learnt.

    Shapes
    ------
    x : `[..., N, inputs]`; y : `[..., N, outputs]`; weight : `[outputs, inputs]`; edge : `[inputs,
    D]`; edge_bias : `[inputs]`

    Raises
    ------
    InputError
        For a graph with another number of edge features.
    ValueError
        For a negative edge_size, or if x does not fit the graph.

    Source: Hu et al. (2020), Strategies for pre-training graph neural networks; `GINEConv` of
    PyTorch Geometric.

    Example
    -------
    >>> import torch
    >>> from plait import GINE, Graph, GraphConv
    >>> roads = Graph([[0, 1], [1, 2]], edge_features=[[0.3, 2.0], [1.5, 1.0]])   # km, lanes
    >>> GraphConv(GINE(edge_size=2), 4, 8)(torch.randn(3, 4), roads).shape
    torch.Size([3, 8])
    """

    edge_size: int = 0
    eps: float = 0.0
    reach: ClassVar[int] = 1
    on_edges: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.edge_size < 0:
            raise ValueError(f"edge_size must be at least 0, not {self.edge_size}")

    def weight_shapes(self, inputs: int, outputs: int) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of W, and with features of edges those of E and b."""
        weight = {"weight": (outputs, inputs)}
        if not self.edge_size or not inputs:
            return weight
        return {**weight, "edge": (inputs, self.edge_size), "edge_bias": (inputs,)}

    def check(self, x: Tensor, graph: Any) -> None:
        """Refuse nodes or edges whose features do not fit."""
        checked_graph(self, x, graph)
        checked_edge_features(self, self.edge_size, graph)

    def apply(self, x: Tensor, weights: Mapping[str, Tensor], graph: Any) -> Tensor:
        """Return `[..., N, outputs]` for `x [..., N, inputs]`."""
        self.check(x, graph)
        weight, inputs, gates = weights["weight"], x.shape[-1], 1
        if x.numel() == 0:
            return F.linear(x, weight)
        sources, targets = ends_of(graph, x)
        sent = take(x, sources, -2)[..., None, :]  # [..., E, 1, F]
        if self.edge_size:
            gates = len(weights["edge"]) // inputs
            features = graph.edge_features.to(x.dtype)
            own = F.linear(features, weights["edge"], weights["edge_bias"])
            sent = sent + own.unflatten(-1, (gates, inputs))  # [..., E, gates, F]
        sent = sent.relu() * graph.edge_weight.to(x.dtype)[:, None, None]
        summed = (1 + self.eps) * x[..., None, :] + total(sent, targets, -3)  # [..., N, gates, F]
        return torch.einsum(
            "...gf,gof->...go", summed, weight.unflatten(0, (gates, -1))
        ).flatten(-2)  # fmt: skip

    def not_recorded(self, outputs: int) -> None:
        """Return None: on one graph all work depends on shapes alone."""

    def explain(self, inputs: int, outputs: int, graph: Any = None) -> str:
        """Describe what is computed for each edge."""
        features = f"and {self.edge_size} of its own" if self.edge_size else "alone"
        return f"a message for each edge, from the {inputs} features of its source {features}"
