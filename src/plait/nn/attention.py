"""`Attention`: a node weights its neighbours by their features."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.kernels.attention import (
    attend_packed,
    draw,
    edge_features_of,
    lanes,
    neighbourhood_of,
    traced_neighbourhood,
)
from plait.kernels.gpu.attention import fits
from plait.kernels.transforms import compiling
from plait.nn.graph import Graph, checked_edge_features, checked_graph


@dataclass(frozen=True)
class Attention:
    r"""Graph attention (Veličković et al. 2018), and version 2 (Brody et al. 2022).

    y_i = Σ_j α_ij z_j for each head,  z = x Wᵀ,  α_i = softmax over j in N(i) and i of e_ij

    version 1: e_ij = LeakyReLU(aᵀ z_j + bᵀ z_i), with a the weight `source`, b `target`

    version 2: e_ij = aᵀ LeakyReLU(z_j + V x_i), with a the weight `vector`, V `target`

    With `edge_size`, the features f_ji of the edge count too: dᵀ f_ji, in version 2 D f_ji, is
    added within LeakyReLU, with d or D the weight `edge`. A node's self-loop then has the mean
    of the features of the edges into it.

    The slope of LeakyReLU is 0.2. The heads are concatenated: with C = outputs / heads, head k
    gives channels k·C … k·C + C − 1. Edge weights are ignored; self-loops are dropped, then every
    node gets one. In a recurrent layer the input side and the recurrent side each have one
    coefficient per edge and head, shared by all gates of one `recurrent` call: z holds the head's
    channels of all those gates, and a, b, V have a part for each.

    Parameters
    ----------
    heads : int
        Must divide the outputs (in a cell: the hidden size).
    version : 1 or 2
    dropout : float
        Share of the coefficients set to zero in training.
    edge_size : int
        The features of an edge that the graph has and scores read; 0: none are read.

    Shapes
    ------
    x : `[..., N, inputs]`

    y : `[..., N, outputs]`

    weight : `[outputs, inputs]`; source, target, vector : `[heads, C]`, but in version 2
    target : `[outputs, inputs]`; edge : `[heads, edge_size]`, in version 2 `[outputs, edge_size]`

    Raises
    ------
    ValueError
        If heads, version, dropout or edge_size are out of range, if heads do not divide the
        outputs, or if x does not fit the graph.
    InputError
        For a graph with another number of edge features.

    Example
    -------
    >>> import torch
    >>> from plait import Attention, Graph, GraphConv
    >>> graph = Graph.from_edges([(0, 1), (1, 2)]).to_undirected()
    >>> conv = GraphConv(Attention(heads=8), 5, 64)                # 8 heads of 8
    >>> conv(torch.randn(10, 3, 5), graph).shape                   # 10 feature sets, one graph
    torch.Size([10, 3, 64])
    """

    heads: int
    version: Literal[1, 2] = 1
    dropout: float = 0.0
    edge_size: int = 0
    reach: ClassVar[int] = 1
    through_products: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.heads < 1:
            raise ValueError(f"Attention needs at least 1 head, not {self.heads}")
        if self.version not in (1, 2):
            raise ValueError(f"the version of Attention is 1 or 2, not {self.version!r}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and less than 1, not {self.dropout}")
        if self.edge_size < 0:
            raise ValueError(f"edge_size must be at least 0, not {self.edge_size}")

    @property
    def without_dropout(self) -> "Attention":
        """The operator without dropout, as it acts in evaluation."""
        return replace(self, dropout=0.0)

    @property
    def on_edges(self) -> bool:
        """Whether numbers are kept for every edge and output: with features of edges."""
        return self.edge_size > 0

    @property
    def score_weights(self) -> tuple[str, ...]:
        """The weights that compare nodes and carry no features."""
        return "source" if self.version == 1 else "vector", "target", "edge"

    def weight_shapes(self, inputs: int, outputs: int) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of W and of the weights of scores; without inputs those of W alone."""
        if outputs % self.heads:
            raise ValueError(
                f"{self.heads} heads do not divide {outputs} outputs; take a multiple of "
                f"{self.heads}, such as {-(-outputs // self.heads) * self.heads}"
            )
        if inputs == 0:
            return {"weight": (outputs, 0)}
        vector = (self.heads, outputs // self.heads)
        matrix = (outputs, inputs)
        if self.version == 1:
            shapes = {"weight": matrix, "source": vector, "target": vector}
        else:
            shapes = {"weight": matrix, "target": matrix, "vector": vector}
        if self.edge_size:
            shapes["edge"] = (self.heads if self.version == 1 else outputs, self.edge_size)
        return shapes

    def check(self, x: Tensor, graph: Any) -> None:
        """Refuse nodes or edges whose features do not fit."""
        checked_graph(self, x, graph)
        checked_edge_features(self, self.edge_size, graph)

    def draw(self, batch: int, graph: Any) -> Tensor | None:
        """Draw which coefficients dropout keeps, bool `[batch, E, heads]`; None without dropout."""
        if not self.dropout:
            return None
        return draw(batch, neighbourhood_of(graph), self.heads, self.dropout)

    def apply(
        self, x: Tensor, weights: Mapping[str, Tensor], graph: Any, drawn: Tensor | None = None
    ) -> Tensor:
        """Return `[..., N, outputs]` for `x [..., N, inputs]`; drops what `draw` did not keep."""
        self.check(x, graph)
        weight = weights["weight"]
        if x.numel() == 0:
            return F.linear(x, weight)
        a = weights["source" if self.version == 1 else "vector"]  # [gates·K, C]
        lead, K, C = x.shape[:-2], self.heads, a.shape[1]
        gates, N = a.shape[0] // K, graph.num_nodes
        hood, features = self._neighbourhood(graph)
        lay = lanes(x, K, gates * C, vector=self.version == 2)

        def by_head(stacked: Tensor) -> Tensor:  # [gates·K·C, …] as [K, gates·C, …]
            return stacked.unflatten(0, (gates, K, C)).transpose(0, 1).flatten(1, 2)

        def rows(matrix: Tensor) -> Tensor:  # x Wᵀ as [B, N, G, P, W]: the matrix is laid so
            columns = lay.pack(by_head(matrix).movedim(-1, 0))  # [inputs, G, P, W]
            product = x.reshape(-1, N, x.shape[-1]) @ columns.flatten(1)
            return product.unflatten(-1, columns.shape[1:])

        def edges(channels: int) -> Tensor | None:  # E f of every neighbour, [1, E, G, P, W]
            if features is None:
                return None
            scores = features.to(x.dtype) @ weights["edge"].T
            by_gate = scores.unflatten(-1, (gates, K, channels)).transpose(1, 2).flatten(2)
            return lay.pack(by_gate)[None]

        z = rows(weight)
        if self.version == 1:
            both = torch.stack([by_head(weights[n].flatten()) for n in ("source", "target")])
            apart = torch.eye(K, dtype=x.dtype, device=x.device)  # a head sees its own channels
            sides = torch.einsum("skc,kh->kcsh", both, apart).reshape(-1, 2 * K)
            left, right = (z.flatten(2) @ sides)[..., None].split(K, 2)  # [B, N, K, 1]
            more = edges(1)
            more = None if more is None else more.sum(-2)
            y = attend_packed(z, left, right, None, hood, lay, self.dropout, more, drawn)
        else:
            vector = lay.pack(by_head(a.flatten()))
            right = rows(weights["target"])
            y = attend_packed(z, z, right, vector, hood, lay, self.dropout, edges(C), drawn)
        y = lay.unpack(y, gates * C).unflatten(-1, (gates, C)).transpose(2, 3)
        return y.reshape(*lead, N, gates * K * C)  # from [B, N, gates, K, C]

    def _neighbourhood(self, graph: Any) -> tuple[Any, Tensor | None]:
        """Return the edges to attend over, as `attend_packed` takes them, and their features."""
        if compiling():
            if self.edge_size:
                return traced_neighbourhood(graph)
            return graph.handle, None
        features = edge_features_of(graph) if self.edge_size else None
        return neighbourhood_of(graph), features

    def not_recorded(self, outputs: int) -> str | None:
        """Return why a GPU's work for so many outputs cannot be recorded, or None."""
        if not self.edge_size and not fits(self.heads, outputs // self.heads):
            return f"{outputs} outputs of {self.heads} heads do not fit its kernel"
        return None

    def explain(self, inputs: int, outputs: int, graph: Graph | None = None) -> str:
        """Describe what is saved and what is recomputed for gradients."""
        text = "product first; scores and coefficients are recomputed for gradients"
        if self.edge_size:
            text = f"product first; scores, with {self.edge_size} features of each edge, are kept"
        if graph is None:
            return text
        edges = len(neighbourhood_of(graph).sources)
        return f"{text}; {edges:,} edges, including one self-loop per node"
