"""Operators that take the sum, mean or maximum of neighbours: GIN, GraphSAGE and R-GCN."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.errors import InputError
from plait.kernels.edge_sums import ends_of, take
from plait.kernels.sparse import Shift
from plait.nn import shifts
from plait.nn.filters import Filter
from plait.nn.graph import Graph, checked_graph


@dataclass(frozen=True)
class SAGE(Filter):
    r"""GraphSAGE with the mean of the neighbours (Hamilton et al. 2017).

    y_i = W_0 x_i + W_1 Σ_j w_ji x_j / Σ_j w_ji

    The sums are over the edges j → i; self-loops count like other edges, and a node without edges
    into it has the mean 0. Weights must not be negative. A node's own features have a matrix of
    their own, so neighbours may be unlike it.

    Shapes
    ------
    x : `[..., N, inputs]`; y : `[..., N, outputs]`; weight : `[outputs, 2, inputs]`

    Raises
    ------
    InputError
        For a negative edge weight.
    ValueError
        If x does not fit the graph.

    Example
    -------
    >>> import torch
    >>> from plait import SAGE, Graph, GraphConv
    >>> graph = Graph.from_edges([(0, 1), (1, 2)]).to_undirected()
    >>> GraphConv(SAGE(), 4, 8)(torch.randn(3, 4), graph).shape
    torch.Size([3, 8])
    """

    reach = 1

    @property
    def terms(self) -> int:
        """Two: the node and the mean of its neighbours."""
        return 2

    def shifts(self, graph: Graph, dtype: torch.dtype) -> tuple[Shift, ...]:
        """Return D_in^-1 Aᵀ."""
        return (shifts.mean(graph, dtype),)


@dataclass(frozen=True)
class RGCN(Filter):
    r"""R-GCN: a weight for each kind of edge (Schlichtkrull et al. 2018, equation 2).

    y_i = W_0 x_i + Σ_r W_r Σ_j w_ji x_j / Σ_j w_ji

    The inner sums are over the edges j → i of relation r: c_ir of the paper is the number of these
    edges, or the sum of their weights. `Graph.of_relations` makes a graph with
    several kinds of edges; of one without relations all edges are of one kind, and RGCN(1) is
    `SAGE`.

    Parameters
    ----------
    relations : int
        R, the kinds of edges that the graph has.

    Shapes
    ------
    x : `[..., N, inputs]`; y : `[..., N, outputs]`; weight : `[outputs, 1 + R, inputs]`

    Raises
    ------
    InputError
        For a graph of another number of relations, a sample of a graph, or a negative weight.
    ValueError
        For relations below 1, or if x does not fit the graph.

    Example
    -------
    >>> import torch
    >>> from plait import Graph, GraphConv, RGCN
    >>> graph = Graph.of_relations([Graph([[0], [2]]), Graph([[1, 2], [2, 0]])])
    >>> GraphConv(RGCN(2), 4, 8)(torch.randn(3, 4), graph).shape
    torch.Size([3, 8])
    """

    relations: int = 1

    def __post_init__(self) -> None:
        if self.relations < 1:
            raise ValueError(f"RGCN needs at least 1 relation, not {self.relations}")

    @property
    def terms(self) -> int:
        """One for the node, and one for each relation."""
        return 1 + self.relations

    @property
    def shift_count(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """R."""
        return self.relations

    def check(self, x: Tensor, graph: Any) -> None:
        """Refuse a graph of other relations, and what `Filter` refuses."""
        super().check(x, graph)
        if graph.whole is not None:
            raise InputError(
                "a sample of a graph does not keep its relations; take the whole graph"
            )
        found = len(graph.relations) or 1
        if found != self.relations:
            raise InputError(
                f"{self!r} is for {self.relations} relations, and the graph has {found}; take "
                f"RGCN({found})"
            )

    def shifts(self, graph: Graph, dtype: torch.dtype) -> tuple[Shift, ...]:
        """D_r^-1 A_rᵀ of every relation r."""
        return tuple(shifts.mean(one, dtype) for one in graph.relations or (graph,))


@dataclass(frozen=True)
class GIN(Filter):
    r"""The sum of graph isomorphism networks (Xu et al. 2019, equation 4.1).

    y_i = W ((1 + ε) x_i + Σ_j w_ji x_j)

    The sum is over the edges j → i; self-loops count like other edges, and weights may be negative.
    W is the first layer of the paper's perceptron; layers of `Dense()` on top are its others.

    Parameters
    ----------
    eps : float
        ε, which is not learnt (GIN-0 with 0).

    Shapes
    ------
    x : `[..., N, inputs]`; y : `[..., N, outputs]`; weight : `[outputs, inputs]`

    Raises
    ------
    ValueError
        If x does not fit the graph.

    Example
    -------
    >>> from plait import GIN
    >>> GIN().weight_shapes(4, 8)
    {'weight': (8, 4)}
    """

    eps: float = 0.0
    reach = 1
    includes_identity = False  # only through the diagonal of the shift

    @property
    def terms(self) -> int:
        """One, Aᵀ + (1 + ε) I."""
        return 1

    def check(self, x: Tensor, graph: Any) -> None:
        """Refuse features that do not fit the graph."""
        checked_graph(self, x, graph)

    def shifts(self, graph: Graph, dtype: torch.dtype) -> tuple[Shift, ...]:
        """Return Aᵀ + (1 + ε) I."""
        return (shifts.total(graph, self.eps, dtype),)


@dataclass(frozen=True)
class SAGEMax:
    r"""GraphSAGE with the maximum over the neighbours, feature by feature (max pooling).

    y_i = W_0 x_i + W_1 max_j x_j

    The maximum is over the edges j → i, whose weights are ignored; a node without any has 0. It is
    not linear in x, so recurrent layers compute it in torch.

    Shapes
    ------
    x : `[..., N, inputs]`; y : `[..., N, outputs]`; weight : `[outputs, 2, inputs]`

    Raises
    ------
    ValueError
        If x does not fit the graph.

    Source: Hamilton et al. (2017), equation 3, without the layer before the maximum.

    Example
    -------
    >>> import torch
    >>> from plait import Graph, SAGEMax
    >>> star = Graph.from_edges([(0, 2), (1, 2)])
    >>> weights = {"weight": torch.tensor([[[0.0], [1.0]]])}         # of the neighbours alone
    >>> SAGEMax().apply(torch.tensor([[3.0], [5.0], [9.0]]), weights, star).flatten()
    tensor([0., 0., 5.])
    """

    reach: ClassVar[int] = 1
    on_edges: ClassVar[bool] = True

    def not_recorded(self, outputs: int) -> None:
        """Return None: on one graph all work depends on shapes alone."""

    def weight_shapes(self, inputs: int, outputs: int) -> Mapping[str, tuple[int, ...]]:
        """Return the shape of one matrix for the node and one for its neighbours."""
        return {"weight": (outputs, 2, inputs)}

    def check(self, x: Tensor, graph: Any) -> None:
        """Refuse features that do not fit the graph."""
        checked_graph(self, x, graph)

    def apply(self, x: Tensor, weights: Mapping[str, Tensor], graph: Any) -> Tensor:
        """Return `[..., N, outputs]` for `x [..., N, inputs]`."""
        self.check(x, graph)
        sources, targets = ends_of(graph, x)
        messages = take(x, sources, -2)  # [..., E, F]
        largest = torch.zeros_like(x).scatter_reduce(
            -2, targets.nodes[:, None].expand_as(messages), messages, "amax", include_self=False
        )
        return F.linear(torch.cat([x, largest], -1), weights["weight"].flatten(1))
