"""`Graph`: directed, weighted edges between nodes."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Self, TypeVar

import numpy as np
import scipy.sparse
import torch
from scipy.sparse import csgraph
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from plait.errors import InputError
from plait.kernels.edge_sums import add_at
from plait.kernels.handles import handle
from plait.kernels.transforms import compiling, outside
from plait.nn import graph_sources
from plait.nn.cache import Cache
from plait.nn.edges import (
    Whole,
    by_place,
    checked_features,
    checked_index,
    checked_range,
    checked_weight,
    edge_at,
    firsts,
    joined_features,
)
from plait.nn.edges import merged as merged_edges
from plait.renamed import RenamedAttribute

Made = TypeVar("Made")


class Graph:
    """Directed, weighted edges between nodes 0 … N − 1. A message goes from source to target.

    Edges of the same source and target are merged into one, their weights summed and their features
    averaged, with a warning. The edges are sorted by target, then source. A graph is immutable, so
    what operators compute from it, such as a normalised adjacency, is cached with it; copies,
    pickles and other processes compute their own.

    Parameters
    ----------
    edge_index : integer Tensor `[2, E]`
        Row 0 the sources, row 1 the targets, as in PyTorch Geometric.
    edge_weight : Tensor `[E]`
        None: every edge weighs 1.
    num_nodes : int
        None: one more than the largest index.
    edge_features : Tensor `[E, D]`
        What `GINE` and `Attention(edge_size=D)` read of each edge; other operators ignore it.

    Attributes
    ----------
    edge_index : Tensor `[2, E]`
    edge_weight : Tensor `[E]`
    edge_features : Tensor `[E, D]` or None
    num_nodes : int
    batch : Tensor `[N]` or None
        In a disjoint union of graphs: the number of each node's graph.
    num_graphs : int
    relations : tuple of Graph
        The edges of each kind, as graphs of the same nodes; empty where there is one kind.

    Shapes
    ------
    edge_index : `[2, E]`; edge_weight : `[E]`; edge_features : `[E, D]`; batch : `[N]`; features of
    the nodes : `[..., N, F]`

    Raises
    ------
    InputError
        For an index out of range, or a weight or feature that is not finite; the message names the
        edge.

    Example
    -------
    >>> from plait import Graph
    >>> path = Graph([[0, 1], [1, 2]]).to_undirected()
    >>> path
    Graph(num_nodes=3, num_edges=4)
    >>> path.hops(0, 2)
    2
    """

    __slots__ = ("__dict__", "__weakref__", "handle")

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Make the handle by which compiled programs find what is kept with the graph."""
        graph, twin = super().__new__(cls), super().__new__(cls)
        twin.__dict__ = graph.__dict__  # all but the handle, which must not keep itself alive
        graph.handle = handle(twin)
        return graph

    def __init__(
        self,
        edge_index: Tensor | np.ndarray | Sequence[Sequence[int]],
        edge_weight: Tensor | np.ndarray | Sequence[float] | None = None,
        num_nodes: int | None = None,
        edge_features: Tensor | np.ndarray | Sequence[Sequence[float]] | None = None,
    ) -> None:
        index = checked_index(torch.as_tensor(edge_index))
        weight = checked_weight(edge_weight, index)
        features = checked_features(edge_features, index)
        self.num_nodes = checked_range(index, num_nodes)
        self.edge_index, self.edge_weight, self.edge_features = merged_edges(
            index, weight, features, self.num_nodes
        )
        self.batch: Tensor | None = None
        self.num_graphs = 1
        self.whole: Whole | None = None
        self.relations: tuple[Graph, ...] = ()
        self._cache = Cache()

    @classmethod
    def sampled(cls, index: Tensor, weight: Tensor, num_nodes: int, whole: Whole) -> "Graph":
        """Return a sample of a graph: edges by target and source, and what is known of the whole.

        The edges are taken as they are; `plait.nn.NeighbourSampler` makes them.
        """
        graph = cls.__new__(cls)
        graph.num_nodes, graph.num_graphs, graph.batch = num_nodes, 1, None
        graph.edge_index, graph.edge_weight, graph.whole = index, weight, whole
        graph.edge_features = None
        graph.relations, graph._cache = (), Cache()
        return graph

    @classmethod
    def of_relations(cls, relations: Sequence["Graph"]) -> "Graph":
        """Make a graph of several kinds of edges, from one graph of the same nodes for each.

        `RGCN` has a weight for each kind. Other operators read all edges alike: of edges of the
        same source and target the weights are summed.

        >>> from plait import Graph
        >>> likes, knows = Graph([[0], [1]]), Graph([[0, 1], [1, 0]])
        >>> both = Graph.of_relations([likes, knows])
        >>> both, both.edge_weight.tolist(), len(both.relations)
        (Graph(num_nodes=2, num_edges=2, relations=2), [1.0, 2.0], 2)
        """
        sizes = {graph.num_nodes for graph in relations}
        if len(sizes) != 1:
            raise InputError(f"graphs of relations must have the same nodes, not {sorted(sizes)}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # edges of several kinds are no duplicates
            graph = cls(
                torch.cat([one.edge_index for one in relations], 1),
                torch.cat([one.edge_weight for one in relations]),
                relations[0].num_nodes,
                joined_features([one.edge_features for one in relations]),
            )
        graph.relations = tuple(relations)
        return graph

    def select_edges(self, which: Callable[["Graph"], Tensor]) -> "Graph":
        """Return the graph of the edges that a mask `which(graph) [E]` marks, relations alike.

        >>> from plait import Graph
        >>> Graph([[0, 1], [1, 2]]).select_edges(lambda g: g.edge_index[0] != 1).edge_index.tolist()
        [[0], [1]]
        """

        def select(graph: Graph) -> Graph:
            kept = which(graph)
            features = None if graph.edge_features is None else graph.edge_features[kept]
            part = graph._like(graph.edge_index[:, kept], graph.edge_weight[kept], features)
            part.whole = graph.whole
            return part

        return self.each(select)

    def each(self, change: Callable[["Graph"], "Graph"]) -> "Graph":
        """Return the graph changed, and its relations, if it has any, changed alike."""
        changed = change(self)
        changed.relations = tuple(change(one) for one in self.relations)
        return changed

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
        return cls(*graph_sources.from_edges(edges, weights, num_nodes))

    @classmethod
    def from_adjacency(cls, adjacency: Any) -> "Graph":
        """Make a graph from a square matrix whose entry [source, target] is an edge's weight.

        Parameters
        ----------
        adjacency : Tensor or array `[N, N]`, or a sparse matrix of scipy or torch
            0 means no edge.

        Example
        -------
        >>> from plait import Graph
        >>> Graph.from_adjacency([[0, 1], [0, 0]]).edge_index.tolist()
        [[0], [1]]
        """
        return cls(*graph_sources.from_adjacency(adjacency))

    @classmethod
    def from_networkx(cls, graph: Any, weight: str = "weight") -> "Graph":
        """Make a graph from one of networkx, with the nodes in the same order.

        An undirected edge becomes two, one each way. An edge without the attribute `weight`
        weighs 1.

        >>> import networkx
        >>> from plait import Graph
        >>> Graph.from_networkx(networkx.karate_club_graph())
        Graph(num_nodes=34, num_edges=156)
        """
        return cls(*graph_sources.from_networkx(graph, weight))

    @classmethod
    def from_pyg(
        cls, data: Any, weight: int | str | None = None, features: str | None = None
    ) -> "Graph":
        """Make a graph from PyTorch Geometric's `Data` or `Batch`: its edges, weights and batch.

        Parameters
        ----------
        data : Data or Batch
        weight : int or str
            A column of `edge_attr`, or the name of an attribute with one number per edge. None:
            `edge_weight`, or else an `edge_attr` of one column; without either all weights are 1.
        features : str
            The attribute with the edges' features, such as `"edge_attr"`, which is then not read
            as weights. None: they have none.

        Raises
        ------
        InputError
            For an `edge_attr` of several columns when none is chosen, and for `HeteroData`.
        """
        parts, batch, graphs = graph_sources.from_pyg(data, weight, features)
        graph = cls(*parts)
        graph.batch, graph.num_graphs = batch, graphs
        return graph

    @classmethod
    def from_points(cls, xy: Tensor | np.ndarray | Sequence[Sequence[float]], k: int) -> "Graph":
        """Make the graph of each point's k nearest neighbours; closer ones have larger weights.

        w_ij = exp(−d_ij² / σ²), with d the Euclidean distance and the width σ the mean, over all
        points, of the distance to the k-th neighbour (the rule of Defferrard et al. 2016, whose
        code GCRN builds on). Symmetrised by maximum: there is an edge if either point is among
        the other's k nearest.

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
        return cls(*graph_sources.from_points(xy, k)).to_undirected()

    @classmethod
    def join(cls, graphs: Sequence["Graph"]) -> "Graph":
        """Return the disjoint union of graphs; `batch` is the number of each node's graph.

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
        features = joined_features([graph.edge_features for graph in graphs])
        joined = cls(torch.cat(index, 1), torch.cat(weight), nodes, features)
        joined.batch, joined.num_graphs = torch.cat(batch), count
        kinds = {len(graph.relations) for graph in graphs}
        if len(kinds) > 1:
            raise InputError(
                f"graphs to join must all have the same number of relations, not {sorted(kinds)}"
            )
        of_kinds = zip(*(graph.relations for graph in graphs), strict=True)
        joined.relations = tuple(cls.join(of_kind) for of_kind in of_kinds)
        return joined

    def to_pyg(self) -> Any:
        """Make a `Data` of PyTorch Geometric with `edge_weight`; for a disjoint union a `Batch`.

        Features of the edges are its `edge_attr`.

        Raises
        ------
        InputError
            Without PyTorch Geometric, or if the nodes of a union are not in the order of graphs.

        Example
        -------
        `Graph.from_pyg(graph.to_pyg())` is the same graph.
        """
        parts = self.edge_index, self.edge_weight, self.edge_features, self.num_nodes
        return graph_sources.to_pyg(*parts, self.batch, self.num_graphs)

    def to_networkx(self) -> Any:
        """Make a `DiGraph` of networkx: nodes 0 … N − 1, edges with their `weight`.

        In a disjoint union each node's attribute `batch` is the number of its graph. Features of
        edges are left out.

        >>> from plait import Graph
        >>> list(Graph([[0], [1]], [0.5], 3).to_networkx().edges(data=True))
        [(0, 1, {'weight': 0.5})]
        """
        return graph_sources.to_networkx(
            self.edge_index, self.edge_weight, self.num_nodes, self.batch
        )

    def to_undirected(self) -> "Graph":
        """Add the reverse of every edge; if it already exists, both get the larger weight.

        A reverse that is added has the features of its edge; one that exists keeps its own.

        >>> from plait import Graph
        >>> Graph([[0, 1], [1, 0]], [2.0, 3.0]).to_undirected().edge_weight.tolist()
        [3.0, 3.0]
        """
        index = torch.cat([self.edge_index, self.edge_index.flip(0)], 1)
        weight = self.edge_weight.repeat(2)
        order = by_place(index, self.num_nodes, then=-weight)
        index, weight = index[:, order], weight[order]
        first = firsts(index)
        features = self.edge_features
        if features is not None:  # of edges that are there before those of added ones
            there = torch.cat([self.edge_index, self.edge_index.flip(0)], 1)
            features = features.repeat(2, 1)[by_place(there, self.num_nodes)][first]
        other = self._like(index[:, first], weight[first], features)
        other.relations = tuple(one.to_undirected() for one in self.relations)
        return other

    def to(self, target: torch.device | torch.dtype | str) -> "Graph":
        """Return the graph on another device, or with weights and features of another type.

        Operators compute in the type of the nodes' features, not in that of the edges'.
        """
        features = None if self.edge_features is None else self.edge_features.to(target)
        if isinstance(target, torch.dtype):
            other = self._like(self.edge_index, self.edge_weight.to(target), features)
            other.whole = self.whole
            other.relations = tuple(one.to(target) for one in self.relations)
            return other
        moved = self._like(self.edge_index.to(target), self.edge_weight.to(target), features)
        moved.batch = None if self.batch is None else self.batch.to(target)
        if self.whole is not None:
            moved.whole = self.whole.to(target)
        moved.relations = tuple(one.to(target) for one in self.relations)
        return moved

    def hops(self, source: int, target: int) -> int | None:
        """Return the hops from `source` to `target`; None if it cannot be reached.

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
        """Return the nodes from which `node` is at most `layers` hops away, itself included.

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
        """Summarise the nodes of each graph of a union: `[..., N, F]` to `[..., graphs, F]`.

        A graph without nodes gives zeros. Nodes with the same maximum share its gradient.

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
        total = add_at(empty, self._members, x, -2)
        if how == "sum":
            return total
        sizes = torch.bincount(self._members, minlength=self.num_graphs).clamp(min=1)
        return total / sizes[:, None]

    @property
    def num_edges(self) -> int:
        """The number of edges, after merging."""
        return self.edge_index.shape[1]

    @property
    def edge_size(self) -> int:
        """D, the features of an edge; 0 without any."""
        return 0 if self.edge_features is None else self.edge_features.shape[1]

    @property
    def in_degree(self) -> Tensor:
        """Sum of the weights of the edges into each node, float64 `[N]`; in a sample, of all."""
        if self.whole is not None:
            return self.whole.in_degree
        return self.cached("in_degree", lambda: self._degree(self.edge_index[1]))

    @property
    def out_degree(self) -> Tensor:
        """The same of the edges out of each node."""
        if self.whole is not None:
            return self.whole.out_degree
        return self.cached("out_degree", lambda: self._degree(self.edge_index[0]))

    @property
    def loops(self) -> Tensor:
        """The weight of each node's self-loop, float64 `[N]`; NaN where there is none."""

        def find() -> Tensor:
            source, target = self.edge_index
            loop, found = source == target, self.edge_weight.new_full((self.num_nodes,), torch.nan)
            found = found.double()
            found[source[loop]] = self.edge_weight[loop].double()
            return found

        return self.whole.loops if self.whole is not None else self.cached("loops", find)

    @property
    def device(self) -> torch.device:
        """The device of the edges."""
        return self.edge_index.device

    @property
    def asymmetric_edge(self) -> tuple[int, int] | None:
        """An edge without a reverse of the same weight (to five digits); None: undirected.

        Of a sample it is one of the whole graph.
        """
        if self.whole is not None:
            return self.whole.asymmetric_edge
        return self.cached("asymmetric_edge", self._find_asymmetric_edge)

    @property
    def negative_edge(self) -> tuple[int, int] | None:
        """An edge of negative weight; None: there is none."""

        def find() -> tuple[int, int] | None:
            found = (self.edge_weight < 0).nonzero()
            return edge_at(self.edge_index, found[0]) if len(found) else None

        return self.cached("negative_edge", find)

    one_way, negative = RenamedAttribute("asymmetric_edge"), RenamedAttribute("negative_edge")
    keep = RenamedAttribute("cached")

    def cached(self, name: Any, make: Callable[[], Made]) -> Made:
        """Return the result cached under this name; `make()` computes it the first time."""
        if name not in self._cache:
            self._cache[name] = outside(make)
        return self._cache[name]

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle takes over."""
        return self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickle; caches, which version 0.1.0 pickled too, are dropped."""
        fields = {k: v for k, v in state.items() if k not in ("_kept", "one_way", "negative")}
        new = {"whole": None, "relations": (), "edge_features": None}
        self.__dict__.update({**new, **fields}, _cache=Cache())

    def __repr__(self) -> str:
        graphs = f", num_graphs={self.num_graphs}" if self.batch is not None else ""
        kinds = f", relations={len(self.relations)}" if self.relations else ""
        kinds += f", edge_features={self.edge_size}" if self.edge_size else ""
        return f"Graph(num_nodes={self.num_nodes}, num_edges={self.num_edges}{graphs}{kinds})"

    @property
    def _members(self) -> Tensor:
        if self.batch is not None:
            return self.batch
        return torch.zeros(self.num_nodes, dtype=torch.long, device=self.device)

    def _degree(self, nodes: Tensor) -> Tensor:
        weight = self.edge_weight.double()
        return add_at(weight.new_zeros(self.num_nodes), nodes, weight)

    def _find_asymmetric_edge(self) -> tuple[int, int] | None:
        order = by_place(self.edge_index.flip(0), self.num_nodes)
        N, there, back = self.num_nodes, self.edge_index, self.edge_index.flip(0)
        if torch.equal(there, back[:, order]):
            w, other = self.edge_weight, self.edge_weight[order]
            differs = (w - other).abs() > 1e-5 * torch.maximum(w.abs(), other.abs())
        else:
            differs = ~torch.isin(there[0] * N + there[1], back[0] * N + back[1])
        found = differs.nonzero()
        return edge_at(self.edge_index, found[0]) if len(found) else None

    def _like(self, index: Tensor, weight: Tensor, features: Tensor | None) -> "Graph":
        """Return a graph of the same nodes with these edges, which are checked and sorted."""
        other = Graph.__new__(Graph)
        other.num_nodes, other.num_graphs, other.batch = self.num_nodes, self.num_graphs, self.batch
        other.edge_index, other.edge_weight, other._cache = index, weight, Cache()
        other.edge_features, other.whole, other.relations = features, None, ()
        return other

    def _unweighted(self) -> scipy.sparse.csr_array:
        source, target = self.edge_index.cpu().numpy()
        ones = np.ones(len(source))
        return scipy.sparse.csr_array((ones, (source, target)), (self.num_nodes, self.num_nodes))

    def _check_node(self, node: int) -> None:
        if not 0 <= node < self.num_nodes:
            raise InputError(f"there is no node {node}; nodes are 0 … {self.num_nodes - 1}")


_from_pyg: Any = WeakTensorKeyDictionary()
"""Graphs made of PyTorch Geometric's, by their `edge_index`, with what else they were made of."""


def as_graph(given: Any) -> Any:
    """Return what a layer was given as `graph=` as a `Graph`, or a list of them.

    A `Data` or `Batch` of PyTorch Geometric is converted by `Graph.from_pyg`, and again only when
    its edges have changed. Other things are returned as they are.
    """
    if given is None or isinstance(given, Graph):
        return given
    if isinstance(given, list | tuple):
        plain = all(isinstance(one, Graph) for one in given)
        return given if plain else [as_graph(one) for one in given]
    index = getattr(given, "edge_index", None)
    if not isinstance(index, Tensor):
        return given
    if compiling():
        raise TypeError(
            f"torch.compile takes no {type(given).__name__} as graph=; pass Graph.from_pyg(data), "
            "made before the call"
        )
    parts = [getattr(given, name, None) for name in ("edge_weight", "edge_attr", "batch")]
    sizes = [given.num_nodes, index._version, *(getattr(p, "_version", None) for p in parts)]
    parts_known, sizes_known, graph = _from_pyg.get(index, ((), (), None))
    if sizes != sizes_known or any(a is not b for a, b in zip(parts, parts_known, strict=True)):
        graph = outside(lambda: Graph.from_pyg(given))
        _from_pyg[index] = parts, sizes, graph
    return graph


def checked_edge_features(operator: Any, size: int, graph: Graph) -> None:
    """Refuse a graph of another number of edge features than `size`; 0: any."""
    if size and graph.edge_size != size:
        raise InputError(
            f"{operator!r} is for {size} features per edge, and the graph has {graph.edge_size}; "
            f"give Graph(…, edge_features=) with {size} columns, or edge_size={graph.edge_size}"
        )


def checked_graph(operator: Any, x: Tensor, graph: Any) -> Graph:
    """Return the graph; refuse it if `operator` cannot apply it to `x [..., N, F]`."""
    if graph is None:
        raise ValueError(f"{operator!r} aggregates neighbours; pass graph=")
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
