"""Samples of neighbours: training on parts of a graph that is too large for a step."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from plait.errors import InputError
from plait.kernels.cpu.neighbours import Numbering, draw_rows, find_edges, sort_rows
from plait.nn.edges import Whole
from plait.nn.graph import Graph


class Adjacency(NamedTuple):
    """The edges of a graph as compressed sparse columns (CSC): arrays, which may be mapped files.

    The columns are the targets.

    Attributes
    ----------
    pointer : int64 array `[N + 1]`
        The edges into node i are those from `pointer[i]` to `pointer[i + 1]`.
    source : int32 or int64 array `[E]`
        Ascending among the edges into one node.
    weight : float32 array `[E]`, or `[0]` where every edge weighs 1
    in_degree, out_degree : float array `[N]`
        Sums of the weights of the edges into and out of each node.
    loops : float array `[N]`
        The weight of each node's self-loop; NaN where there is none.
    asymmetric_edge : tuple of int, or None
        An edge without a reverse of the same weight; None: undirected.
    features : float array `[E, D]`, or None

    Shapes
    ------
    N nodes, E edges

    Raises
    ------
    Nothing; a sample of them checks nodes, and that there are features of every edge.

    Example
    -------
    >>> from plait import Graph
    >>> from plait.nn import Adjacency
    >>> Adjacency.of(Graph([[0, 2], [1, 1]])).pointer.tolist()
    [0, 0, 2, 2]
    """

    pointer: np.ndarray
    source: np.ndarray
    weight: np.ndarray
    in_degree: np.ndarray
    out_degree: np.ndarray
    loops: np.ndarray
    asymmetric_edge: tuple[int, int] | None
    features: np.ndarray | None = None

    @classmethod
    def of(cls, graph: Graph) -> "Adjacency":
        """Return the edges of a `Graph` as arrays."""
        source, target = graph.edge_index.cpu().numpy()
        counts = np.bincount(target, minlength=graph.num_nodes)
        weight = graph.edge_weight.cpu().float().numpy()
        return cls(
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            source,
            weight[:0] if (weight == 1).all() else weight,
            in_degree=graph.in_degree.cpu().numpy(),
            out_degree=graph.out_degree.cpu().numpy(),
            loops=graph.loops.cpu().numpy(),
            asymmetric_edge=graph.asymmetric_edge,
            features=None if graph.edge_features is None else graph.edge_features.cpu().numpy(),
        )

    @property
    def num_nodes(self) -> int:
        """N."""
        return len(self.pointer) - 1


class Sample(NamedTuple):
    """A subgraph: sampled nodes and the edges drawn between them.

    Attributes
    ----------
    nodes : int64 Tensor `[n]`
        The number that each node of the subgraph has in the whole graph, the seeds first.
    graph : Graph
        The subgraph; it knows the degrees in the whole graph.

    Shapes
    ------
    nodes : `[n]`; graph : n nodes

    Raises
    ------
    Nothing.

    Example
    -------
    >>> from plait import Graph
    >>> from plait.nn import NeighbourSampler
    >>> nodes, part = NeighbourSampler(Graph([[4, 2], [2, 0]]), [1, 1]).sample([0])
    >>> nodes.tolist(), part.edge_index.tolist()
    ([0, 2, 4], [[1, 2], [0, 1]])
    """

    nodes: Tensor
    graph: Graph


class NeighbourSampler:
    r"""Draws, for some nodes, the edges that a stack of layers needs to compute their outputs.

    Into every node that is met at hop l, up to `fanouts[l]` edges are drawn at random, each equally
    likely. With d edges of which k are drawn, their weights are scaled by d/k, so that a weighted
    sum over neighbours keeps its expectation; self-loops are always there. Normalisations such as
    GCN's take the degrees of the whole graph. With −1 all edges are taken, and the seeds' outputs
    are those of the whole graph exactly.

    What is drawn into a node depends on the seed, the number of the sample, the hop and the node
    alone: not on threads, nor on the other nodes. Attention is over the sampled neighbours, and so
    in expectation not that over all.

    Parameters
    ----------
    edges : Graph or Adjacency
    fanouts : sequence of int
        For each hop from the seeds, at least 1, or −1 for all. A layer of GCN or attention needs
        one hop, one of Chebyshev k − 1: `hops_of` counts them.
    replace : bool
        Draw with replacement: an edge drawn c times weighs c times as much.
    seed : int

    Shapes
    ------
    seeds `[s]` to nodes `[n]`, the first s of which are the seeds, and a graph of n nodes

    Raises
    ------
    InputError
        For fan-outs out of range, for seeds out of range or given twice, and for edges whose source
        is not a node of the graph.

    Source: Hamilton et al. (2017), Inductive representation learning on large graphs, algorithm 2.

    Example
    -------
    >>> from plait import Graph
    >>> from plait.nn import NeighbourSampler
    >>> star = Graph([[1, 2, 3, 4], [0, 0, 0, 0]])
    >>> sample = NeighbourSampler(star, [2]).sample([0])
    >>> len(sample.nodes), sample.graph.edge_weight.tolist(), float(sample.graph.in_degree[0])
    (3, [2.0, 2.0], 4.0)
    """

    def __init__(
        self,
        edges: Graph | Adjacency,
        fanouts: Sequence[int],
        *,
        replace: bool = False,
        seed: int = 0,
    ) -> None:
        if any(isinstance(f, bool) or (f < 1 and f != -1) for f in fanouts):
            raise InputError(f"fan-outs must be at least 1, or -1 for all, not {list(fanouts)}")
        self.adjacency = Adjacency.of(edges) if isinstance(edges, Graph) else edges
        self.fanouts, self.replace, self.seed = tuple(fanouts), replace, seed

    def sample(
        self,
        seeds: Iterable[int] | Tensor | np.ndarray,
        number: int = 0,
        *,
        among: Iterable[int] | Tensor | np.ndarray | None = None,
    ) -> Sample:
        """Return the subgraph that the outputs of `seeds` need.

        Parameters
        ----------
        seeds : nodes, each once
        number : int
            Samples of other numbers draw other edges.
        among : nodes, each once
            Of which `seeds` are some. What is drawn is then that of a sample for all of these, so
            that processes may each have a part of a sample. None: the seeds themselves.
        """
        hops = self._hops(among, number)
        numbering = Numbering()
        numbering.of(self._checked(seeds))
        if numbering.count != numbering.given:
            raise InputError("the nodes to sample for hold one of them twice; give each once")
        parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        first = 0
        for hop in range(len(self.fanouts)):
            nodes = numbering.nodes[first:].copy()
            ends, sources, weights = self._drawn(nodes, number, hop, hops)
            sources = numbering.of(sources)
            sort_rows(ends, sources, weights)
            parts.append((np.repeat(np.arange(first, first + len(nodes)), np.diff(ends)),
                          sources, weights))  # fmt: skip
            first += len(nodes)
        target, source, weight = (
            (np.concatenate(columns) for columns in zip(*parts, strict=True))
            if parts
            else (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
        )
        nodes = numbering.nodes.copy()
        return Sample(torch.from_numpy(nodes), self._graph(nodes, source, target, weight))

    def _hops(self, among: Any, number: int) -> list[np.ndarray]:
        """Return the nodes that a sample for `among` meets first at each hop but the last."""
        if among is None:
            return []
        numbering, found, first = Numbering(), [], 0
        numbering.of(self._checked(among))
        for hop in range(len(self.fanouts) - 1):
            found.append(numbering.nodes[first:].copy())
            first += len(found[-1])
            if hop < len(self.fanouts) - 2:
                numbering.of(self._rows(found[-1], number, hop)[1])
        return found

    def _drawn(
        self, nodes: np.ndarray, number: int, hop: int, hops: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw edges into nodes that are met at a hop, or in a larger sample at an earlier one."""
        met = np.full(len(nodes), hop)
        for earlier, others in enumerate(hops[:hop]):
            met[np.isin(nodes, others)] = earlier
        if (met == hop).all():
            return self._rows(nodes, number, hop)
        rows, parts = [], []
        for at in np.unique(met):
            of = np.flatnonzero(met == at)
            ends, *columns = self._rows(nodes[of], number, int(at))
            rows.append(np.repeat(of, np.diff(ends)))
            parts.append(columns)
        row = np.concatenate(rows)
        order = np.argsort(row, kind="stable")
        sources, weights = (np.concatenate(part)[order] for part in zip(*parts, strict=True))
        ends = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(nodes)))])
        return ends, sources, weights

    def _rows(
        self, nodes: np.ndarray, number: int, hop: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        edges = self.adjacency
        drawn = draw_rows(
            edges.pointer, edges.source, edges.weight, nodes, self.fanouts[hop], self.replace,
            _key(self.seed, number, hop),
        )  # fmt: skip
        sources = drawn[1]
        wrong = sources[(sources < 0) | (sources >= edges.num_nodes)]
        if len(wrong):
            raise InputError(
                f"an edge comes from node {wrong[0]}, and nodes are 0 … {edges.num_nodes - 1}; "
                "import the graph again"
            )
        return drawn

    def _graph(self, nodes: Any, source: Any, target: Any, weight: Any) -> Graph:
        whole = self.adjacency
        columns = (whole.in_degree, whole.out_degree, whole.loops)
        into, out, loops = (torch.from_numpy(np.asarray(c[nodes], np.float64)) for c in columns)
        kept = Whole(into, out, loops, whole.asymmetric_edge)
        index = torch.from_numpy(np.stack([source, target]))
        graph = Graph.sampled(index, torch.from_numpy(weight), len(nodes), kept)
        if whole.features is not None:
            if len(whole.features) != len(whole.source):
                raise InputError("the features are not those of the graph's edges; import it again")
            drawn = find_edges(whole.pointer, whole.source, nodes[target], nodes[source])
            graph.edge_features = torch.from_numpy(whole.features[drawn])
        return graph

    def _checked(self, seeds: Iterable[int] | Tensor | np.ndarray) -> np.ndarray:
        given = seeds.cpu().numpy() if isinstance(seeds, Tensor) else np.asarray(seeds)
        given = given.astype(np.int64) if len(given) == 0 else given
        if given.ndim != 1 or given.dtype.kind not in "iu":
            raise InputError(f"nodes to sample for must be whole numbers [n], not {given.dtype}")
        N = self.adjacency.num_nodes
        wrong = given[(given < 0) | (given >= N)]
        if len(wrong):
            raise InputError(f"there is no node {wrong[0]}; nodes are 0 … {N - 1}")
        return given.astype(np.int64)


def hops_of(operators: Iterable[Any]) -> int:
    """Return how many hops a stack of layers with these operators needs.

    Raises `InputError` for an operator without `reach`, such as `Diffusion`.

    >>> from plait import GCN, Chebyshev
    >>> from plait.nn import hops_of
    >>> hops_of([GCN(), Chebyshev(3)])
    3
    """
    total = 0
    for operator in operators:
        reach = getattr(operator, "reach", None)
        if reach is None:
            raise InputError(
                f"{type(operator).__name__} cannot be computed on samples of neighbours"
            )
        total += reach
    return total


def _key(seed: int, number: int, hop: int) -> int:
    """Scatter three numbers over 64 bits."""
    state = 0
    for value in (seed, number, hop):
        state = (state + value + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state
