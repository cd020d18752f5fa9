"""The model of the links task: layers over a graph, and what scores a pair."""

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from plait.kernels.edge_sums import add_at
from plait.nn.graph import Graph
from plait.tasks.links.baselines import shared_neighbours
from plait.tasks.links.config import LinksConfig
from plait.tasks.nodes.model import encoder_of

Shared = tuple[Tensor, Tensor] | None
"""Common neighbours of pairs, as `shared_neighbours` returns them; None: the scorer takes none."""


class LinksModel(nn.Module):
    """Scores pairs of nodes by their embeddings.

    z = encoder(x, graph), the layers of `NodesModel`; for a pair of nodes u and v

    "dot":  s = z_uᵀ z_v + b
    "mlp":  s = w₂ᵀ relu(W₁ (z_u ⊙ z_v) + b₁) + b₂
    "ncn":  s = w₂ᵀ relu(W₁ [z_u ⊙ z_v, Σ_{w ∈ Γ(u) ∩ Γ(v)} z_w] + b₁) + b₂

    and σ(s) is the probability of a connection. The order of u and v makes no difference. "ncn"
    without the graph is "mlp".

    Shapes: features `[N, F]` (or None), a graph and pairs `[2, n]` to logits `[n]`.

    Source: Kipf & Welling (2016), Variational graph auto-encoders (there b = 0); "ncn": Wang et al.
    (2024), Neural common neighbor with completion for link prediction, equation 4.

    Example
    -------
    >>> import torch
    >>> from plait.graph_data import named_labelled_graph
    >>> from plait.tasks.links.config import LinksConfig
    >>> from plait.tasks.links.model import LinksModel
    >>> karate = named_labelled_graph("karate")
    >>> model = LinksModel(LinksConfig(), nodes=34, features=0)
    >>> model(None, karate.graph, torch.tensor([[0, 0], [1, 33]])).shape
    torch.Size([2])
    """

    def __init__(self, config: LinksConfig, *, nodes: int, features: int) -> None:
        super().__init__()
        D = config.embedding_size
        self.encoder = encoder_of(config, nodes=nodes, features=features, outputs=D)
        self.by_neighbours = config.scorer == "ncn" and config.operator != "dense"
        inputs = 2 * D if self.by_neighbours else D
        mlp = nn.Sequential(nn.Linear(inputs, D), nn.ReLU(), nn.Linear(D, 1))
        self.scorer = _Sum() if config.scorer == "dot" else mlp

    @classmethod
    def from_facts(cls, config: LinksConfig, facts: Mapping[str, Any]) -> Self:
        """Rebuild the model that a run folder describes, without its weights."""
        return cls(config, nodes=facts["nodes"], features=facts["features"])

    def forward(self, x: Tensor | None, graph: Graph, pairs: Tensor) -> Tensor:
        """Return the logits of the pairs, `[n]`."""
        return self.score(self.encoder(x, graph), pairs, self.shared(graph, pairs))

    def shared(self, graph: Graph, pairs: Tensor) -> Shared:
        """Return the common neighbours of pairs where the scorer takes them."""
        return shared_neighbours(graph, pairs) if self.by_neighbours else None

    def score(self, z: Tensor, pairs: Tensor, shared: Shared = None) -> Tensor:
        """Return the logits of pairs, from the embeddings of the nodes, `[N, D]`."""
        product = z[pairs[0]] * z[pairs[1]]  # [n, D]
        if shared is not None:
            pair, node = (part.to(z.device) for part in shared)
            total = add_at(torch.zeros_like(product), pair, z[node])
            product = torch.cat([product, total], 1)  # [n, 2 D]
        return self.scorer(product)[:, 0]


class _Sum(nn.Module):
    """The sum of what it is given, and a bias: `[n, D]` to `[n, 1]`."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, product: Tensor) -> Tensor:
        return product.sum(-1, keepdim=True) + self.bias
