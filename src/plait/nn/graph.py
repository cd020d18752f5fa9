"""`Graph`: who hears whom."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np
import scipy.sparse
import torch
from scipy.sparse import csgraph
from scipy.spatial import KDTree
from torch import Tensor

from plait.errors import InputError

Made = TypeVar("Made")


class Graph:
    """Directed, weighted edges between nodes 0 … N − 1. A message goes from source to target.

    Edges of the same source and target are merged into one, their weights summed, with a warning.
    The edges are kept sorted by target, then source. A graph does not change once made, so what
    operators compute from it, such as a normalised adjacency, is kept with it.

    Parameters
    ----------
    edge_index : integer Tensor `[2, E]`
        Row 0 the sources, row 1 the targets, as in PyTorch Geometric.
    edge_weight : Tensor `[E]`
        None: every edge weighs 1.
    num_nodes : int
        None: one more than the largest index.

    Attributes
    ----------
    edge_index : Tensor `[2, E]`
    edge_weight : Tensor `[E]`
    num_nodes : int
    batch : Tensor `[N]` or None
        In a joined graph: which graph each node came from.
    num_graphs : int

    Raises
    ------
    InputError
        For an index out of range, or a weight that is not finite; the edge is named.

    Example
    -------
    >>> from plait import Graph
    >>> path = Graph([[0, 1], [1, 2]]).to_undirected()
    >>> path
    Graph(num_nodes=3, num_edges=4)
    >>> path.hops(0, 2)
    2
    """

    def __init__(
        self,
        edge_index: Tensor | np.ndarray | Sequence[Sequence[int]],
        edge_weight: Tensor | np.ndarray | Sequence[float] | None = None,
        num_nodes: int | None = None,
    ) -> None:
        index = _checked_index(torch.as_tensor(edge_index))
        weight = _checked_weight(edge_weight, index)
        self.num_nodes = _checked_range(index, num_nodes)
        self.edge_index, self.edge_weight = _merged(index, weight, self.num_nodes)
        self.batch: Tensor | None = None
        self.num_graphs = 1
        self._kept: dict[Any, Any] = {}

    @classmethod
    def from_edges(
        cls,
        edges: Iterable[tuple[int, int]],
        weights: Iterable[float] | None = None,
        num_nodes: int | None = None,
    ) -> "Graph":
        """Make a graph from pairs (source, target).

        >>> from plait import Graph
        >>> Graph.from_edges([(0, 1), (1, 2)], num_nodes=4)
        Graph(num_nodes=4, num_edges=2)
        """
        index = torch.tensor([tuple(edge) for edge in edges], dtype=torch.long).reshape(-1, 2).T
        return cls(index, None if weights is None else list(weights), num_nodes)

    @classmethod
    def from_adjacency(cls, adjacency: Any) -> "Graph":
        """Make a graph from a square matrix whose entry [source, target] is an edge's weight.

        Parameters
        ----------
        adjacency : Tensor or array `[N, N]`, or a sparse matrix of scipy or torch
            Where it is 0, there is no edge.

        Example
        -------
        >>> from plait import Graph
        >>> Graph.from_adjacency([[0, 1], [0, 0]]).edge_index.tolist()
        [[0], [1]]
        """
        if scipy.sparse.issparse(adjacency):
            found = adjacency.tocoo()
            index = torch.from_numpy(np.stack([found.row, found.col]).astype(np.int64))
            weight, shape = torch.as_tensor(found.data), found.shape
        else:
            matrix = torch.as_tensor(adjacency)
            shape = matrix.shape
            if matrix.layout != torch.strided:
                found = matrix.to_sparse_coo().coalesce()
                index, weight = found.indices(), found.values()
            else:
                index = matrix.nonzero().T
                weight = matrix[tuple(index)] if matrix.ndim == 2 else matrix
        if len(shape) != 2 or shape[0] != shape[1]:
            raise InputError(f"an adjacency must be square; got shape {list(shape)}")
        present = weight != 0
        return cls(index[:, present], weight[present], shape[0])

    @classmethod
    def from_networkx(cls, graph: Any, weight: str = "weight") -> "Graph":
        """Make a graph from one of networkx; its nodes are numbered in their order there.

        An undirected edge becomes two, one each way. An edge without the attribute `weight`
        weighs 1.

        >>> import networkx
        >>> from plait import Graph
        >>> Graph.from_networkx(networkx.karate_club_graph())
        Graph(num_nodes=34, num_edges=156)
        """
        import networkx

        if not isinstance(graph, networkx.Graph):
            raise TypeError(f"from_networkx takes a graph of networkx, not {type(graph).__name__}")
        number = {node: k for k, node in enumerate(graph)}
        found = [(number[s], number[t], w) for s, t, w in graph.edges(data=weight, default=1.0)]
        if not graph.is_directed():
            found += [(t, s, w) for s, t, w in found if s != t]
        edges = [(s, t) for s, t, _ in found]
        return cls.from_edges(edges, [float(w) for *_, w in found], len(number))

    @classmethod
    def from_pyg(cls, data: Any) -> "Graph":
        """Make a graph from PyTorch Geometric's `Data` or `Batch`: its edges, weights and batch.

        The weights are its `edge_weight`, or else an `edge_attr` of one number an edge.
        """
        weight = getattr(data, "edge_weight", None)
        attributes = getattr(data, "edge_attr", None)
        if weight is None and attributes is not None and attributes.numel() == len(attributes):
            weight = attributes.flatten()
        graph = cls(data.edge_index, weight, data.num_nodes)
        batch = getattr(data, "batch", None)
        if batch is not None:
            graph.batch = batch
            graph.num_graphs = int(getattr(data, "num_graphs", 0) or batch.max() + 1)
        return graph

    @classmethod
    def from_points(cls, xy: Tensor | np.ndarray | Sequence[Sequence[float]], k: int) -> "Graph":
        """Join each point with its k nearest, the nearer the stronger.

        w_ij = exp(−d_ij² / σ²), with d the Euclidean distance and the width σ the mean, over all
        points, of the distance to the k-th neighbour (the rule of Defferrard et al. 2016, whose
        code GCRN builds on). Symmetrised by maximum: an edge stands when either of the two points
        has the other among its k nearest.

        Parameters
        ----------
        xy : Tensor or array `[N, dimensions]`
        k : int, less than N

        Example
        -------
        >>> from plait import Graph
        >>> Graph.from_points([[0.0], [1.0], [2.0]], k=1).edge_weight.tolist()
        [0.3678794503211975, 0.3678794503211975, 0.3678794503211975, 0.3678794503211975]
        """
        points = np.asarray(xy, dtype=np.float64)
        if points.ndim != 2:
            raise InputError(f"points must be [N, dimensions]; got shape {list(points.shape)}")
        if not np.isfinite(points).all():
            n = int(np.flatnonzero(~np.isfinite(points).all(1))[0])
            raise InputError(f"point {n} is not finite: {points[n].tolist()}")
        N = len(points)
        if not 1 <= k < N:
            raise InputError(f"k must be at least 1 and less than the {N} points, not {k}")
        distance, neighbour = map(
            np.asarray, KDTree(points).query(points, k + 1)
        )  # itself among them
        # a point is its own nearest, unless more than k others lie exactly on it
        own = neighbour == np.arange(N)[:, None]
        own[~own.any(1), -1] = True
        distance, neighbour = distance[~own].reshape(N, k), neighbour[~own].reshape(N, k)
        width = distance[:, -1].mean()
        weight = np.exp(-((distance / width) ** 2)) if width else np.ones_like(distance)
        index = np.stack([neighbour.flatten(), np.arange(N).repeat(k)])
        kind = xy.dtype if isinstance(xy, Tensor) else torch.get_default_dtype()
        return cls(index, torch.from_numpy(weight.flatten()).to(kind), N).to_undirected()

    @classmethod
    def join(cls, graphs: Sequence["Graph"]) -> "Graph":
        """Put graphs side by side, unconnected, as one; `batch` says whose each node is.

        >>> from plait import Graph
        >>> pair = Graph.join([Graph([[0], [1]]), Graph([[0], [2]])])
        >>> pair.edge_index.tolist(), pair.batch.tolist()
        ([[0, 2], [1, 4]], [0, 0, 1, 1, 1])
        """
        if not graphs:
            raise InputError("there are no graphs to join")
        index, weight, batch, nodes, count = [], [], [], 0, 0
        for graph in graphs:
            index.append(graph.edge_index + nodes)
            weight.append(graph.edge_weight)
            batch.append(graph._members + count)
            nodes += graph.num_nodes
            count += graph.num_graphs
        joined = cls(torch.cat(index, 1), torch.cat(weight), nodes)
        joined.batch, joined.num_graphs = torch.cat(batch), count
        return joined

    def to_undirected(self) -> "Graph":
        """Give every edge its reverse; of an edge and a reverse already there, the larger weight.

        >>> from plait import Graph
        >>> Graph([[0, 1], [1, 0]], [2.0, 3.0]).to_undirected().edge_weight.tolist()
        [3.0, 3.0]
        """
        index = torch.cat([self.edge_index, self.edge_index.flip(0)], 1)
        weight = self.edge_weight.repeat(2)
        order = _by_place(index, self.num_nodes, then=-weight)
        index, weight = index[:, order], weight[order]
        first = _firsts(index)
        return self._like(index[:, first], weight[first])

    def to(self, target: torch.device | torch.dtype | str) -> "Graph":
        """Give the graph on another device, or with weights of another type.

        Operators compute in the type of their features, whatever the weights' is.
        """
        if isinstance(target, torch.dtype):
            return self._like(self.edge_index, self.edge_weight.to(target))
        moved = self._like(self.edge_index.to(target), self.edge_weight.to(target))
        moved.batch = None if self.batch is None else self.batch.to(target)
        return moved

    def hops(self, source: int, target: int) -> int | None:
        """Count the updates until `target` has heard of `source`; None: it never does.

        >>> from plait import Graph
        >>> Graph([[0, 1], [1, 2]]).hops(0, 2), Graph([[0, 1], [1, 2]]).hops(2, 0)
        (2, None)
        """
        self._check_node(source)
        self._check_node(target)
        distances = csgraph.dijkstra(self._unweighted(), indices=source, unweighted=True)
        distance = float(np.asarray(distances)[target])
        return int(distance) if np.isfinite(distance) else None

    def receptive_field(self, node: int, layers: int) -> Tensor:
        """List the nodes that `node` has heard of after so many updates, itself included.

        >>> from plait import Graph
        >>> Graph([[0, 1, 2], [1, 2, 3]]).receptive_field(3, layers=2).tolist()
        [1, 2, 3]
        """
        self._check_node(node)
        if layers < 0:
            raise ValueError(f"layers must be at least 0, not {layers}")
        backward = self._unweighted().T
        distance = csgraph.dijkstra(backward, indices=node, unweighted=True, limit=layers)
        return torch.from_numpy(np.flatnonzero(np.isfinite(distance)))

    def readout(self, x: Tensor, how: Literal["mean", "max", "sum"] = "mean") -> Tensor:
        """Summarise the nodes of each joined graph: `[..., N, F]` to `[..., graphs, F]`.

        A graph without nodes reads out as zeros. Where several nodes share a maximum, so they do
        its gradient.

        >>> import torch
        >>> from plait import Graph
        >>> pair = Graph.join([Graph([[0], [1]]), Graph([[0], [0]])])
        >>> pair.readout(torch.tensor([[1.0], [2.0], [5.0]]), "sum").tolist()
        [[3.0], [5.0]]
        """
        if how not in ("mean", "max", "sum"):
            raise ValueError(f"a readout is 'mean', 'max' or 'sum', not {how!r}")
        if x.ndim < 2 or x.shape[-2] != self.num_nodes:
            raise ValueError(
                f"x must be [..., {self.num_nodes} nodes, F]; got shape {list(x.shape)}"
            )
        empty = x.new_zeros(*x.shape[:-2], self.num_graphs, x.shape[-1])
        if how == "max":
            members = self._members[:, None].expand(x.shape)
            return empty.scatter_reduce(-2, members, x, "amax", include_self=False)
        total = empty.index_add(-2, self._members, x)
        if how == "sum":
            return total
        sizes = torch.bincount(self._members, minlength=self.num_graphs).clamp(min=1)
        return total / sizes[:, None]

    @property
    def num_edges(self) -> int:
        """Edges, after merging."""
        return self.edge_index.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the edges lie."""
        return self.edge_index.device

    @cached_property
    def one_way(self) -> tuple[int, int] | None:
        """An edge without a reverse of the same weight (to five digits); None: undirected."""
        order = _by_place(self.edge_index.flip(0), self.num_nodes)
        N, there, back = self.num_nodes, self.edge_index, self.edge_index.flip(0)
        if torch.equal(there, back[:, order]):
            w, other = self.edge_weight, self.edge_weight[order]
            differs = (w - other).abs() > 1e-5 * torch.maximum(w.abs(), other.abs())
        else:
            differs = ~torch.isin(there[0] * N + there[1], back[0] * N + back[1])
        found = differs.nonzero()
        return _edge(self.edge_index, found[0]) if len(found) else None

    @cached_property
    def negative(self) -> tuple[int, int] | None:
        """An edge of negative weight; None: there is none."""
        found = (self.edge_weight < 0).nonzero()
        return _edge(self.edge_index, found[0]) if len(found) else None

    def keep(self, name: Any, make: Callable[[], Made]) -> Made:
        """Give what `make()` returned when first asked for under this name."""
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]

    def __repr__(self) -> str:
        graphs = f", num_graphs={self.num_graphs}" if self.batch is not None else ""
        return f"Graph(num_nodes={self.num_nodes}, num_edges={self.num_edges}{graphs})"

    @property
    def _members(self) -> Tensor:
        if self.batch is not None:
            return self.batch
        return torch.zeros(self.num_nodes, dtype=torch.long, device=self.device)

    def _like(self, index: Tensor, weight: Tensor) -> "Graph":
        """Give a graph of the same nodes with these edges, which are checked and sorted."""
        other = object.__new__(Graph)
        other.num_nodes, other.num_graphs, other.batch = self.num_nodes, self.num_graphs, self.batch
        other.edge_index, other.edge_weight, other._kept = index, weight, {}
        return other

    def _unweighted(self) -> scipy.sparse.csr_array:
        source, target = self.edge_index.cpu().numpy()
        ones = np.ones(len(source))
        return scipy.sparse.csr_array((ones, (source, target)), (self.num_nodes, self.num_nodes))

    def _check_node(self, node: int) -> None:
        if not 0 <= node < self.num_nodes:
            raise InputError(f"there is no node {node}; nodes are 0 … {self.num_nodes - 1}")


def checked_graph(operator: Any, x: Tensor, graph: Any) -> Graph:
    """Give the graph, or say why `operator` cannot carry `x [..., N, F]` over it."""
    if graph is None:
        raise ValueError(f"{operator!r} hears neighbours and needs graph=")
    if not isinstance(graph, Graph):
        raise TypeError(f"graph must be a Graph, not {type(graph).__name__}; see Graph.from_…")
    if x.ndim < 2 or x.shape[-2] != graph.num_nodes:
        raise ValueError(
            f"x must be [..., N, F] with the graph's N = {graph.num_nodes} nodes; "
            f"got shape {list(x.shape)}"
        )
    if x.device != graph.device:
        raise ValueError(f"x is on {x.device}, the graph on {graph.device}: graph.to(x.device)")
    return graph


def _checked_index(index: Tensor) -> Tensor:
    if index.numel() == 0 and index.shape in ((0,), (2, 0)):
        return torch.empty(2, 0, dtype=torch.long, device=index.device)
    if index.ndim != 2 or index.shape[0] != 2:
        raise InputError(f"edge_index must be [2, E], sources and targets; got {list(index.shape)}")
    if index.is_floating_point() or index.is_complex() or index.dtype == torch.bool:
        raise InputError(f"edge_index must be integers, not {index.dtype}")
    return index.long()


def _checked_weight(given: Any, index: Tensor) -> Tensor:
    E = index.shape[1]
    if given is None:
        return torch.ones(E, device=index.device)
    weight = torch.as_tensor(given, device=index.device)
    if weight.requires_grad:
        raise InputError("edge weights are not learned; pass edge_weight.detach()")
    if weight.shape != (E,):
        raise InputError(f"edge_weight must be [{E}], one an edge; got {list(weight.shape)}")
    if not weight.is_floating_point():
        weight = weight.to(torch.get_default_dtype())
    bad = (~weight.isfinite()).nonzero()
    if len(bad):
        s, t = _edge(index, bad[0])
        raise InputError(f"the weight of edge {int(bad[0])}, {s} → {t}, is {weight[bad[0]].item()}")
    return weight


def _checked_range(index: Tensor, num_nodes: int | None) -> int:
    N = int(index.max()) + 1 if num_nodes is None and index.numel() else num_nodes or 0
    bad = ((index < 0) | (index >= N)).any(0).nonzero()
    if len(bad):
        s, t = _edge(index, bad[0])
        node = s if not 0 <= s < N else t
        raise InputError(
            f"edge {int(bad[0])}, {s} → {t}, names node {node}; nodes are 0 … {N - 1} "
            f"(num_nodes={N})"
        )
    return N


def _merged(index: Tensor, weight: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
    """Sort by target, then source, and merge what stands twice."""
    order = _by_place(index, nodes)
    index, weight = index[:, order], weight[order]
    first = _firsts(index)
    extra = index.shape[1] - int(first.sum())
    if not extra:
        return index, weight
    s, t = _edge(index, (~first).nonzero()[0])
    warnings.warn(
        f"{extra} duplicate edge{'s' * (extra > 1)} merged, the weights summed; "
        f"the first is {s} → {t}",
        stacklevel=3,
    )
    place = first.cumsum(0) - 1
    index = index[:, first]
    return index, weight.new_zeros(index.shape[1]).index_add_(0, place, weight)


def _by_place(index: Tensor, nodes: int, then: Tensor | None = None) -> Tensor:
    """Order edges by target, then source, then as they stand or by another measure."""
    place = index[1] * nodes + index[0]
    if then is None:
        return torch.argsort(place, stable=True)
    order = torch.argsort(then, stable=True)
    return order[torch.argsort(place[order], stable=True)]


def _firsts(index: Tensor) -> Tensor:
    """Say of sorted edges which is the first of its place."""
    first = torch.ones(index.shape[1], dtype=torch.bool, device=index.device)
    first[1:] = (index[:, 1:] != index[:, :-1]).any(0)
    return first


def _edge(index: Tensor, k: Tensor) -> tuple[int, int]:
    return int(index[0, k]), int(index[1, k])
