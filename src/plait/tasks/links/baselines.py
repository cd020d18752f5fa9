"""What scores pairs of nodes without training: the graph's heuristics, an embedding, features."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from plait.nn.graph import Graph
from plait.tasks.links.embedding import LARGEST, embed_nodes
from plait.tasks.links.pagerank import pagerank_rows

BETA = 0.005
"""What each edge of a walk multiplies it by in `katz`."""

PAIRS = 2**14
"""Pairs that are scored at once."""

SOURCES = 256
"""Nodes whose walks are counted at once."""

Measure = Callable[[Tensor], Tensor]
"""Scores pairs `[2, n]` of one graph, `[n]`: the larger, the likelier an edge."""


def measures_of(graph: Graph, x: Tensor | None = None) -> dict[str, Measure]:
    """Return what scores pairs of this graph without training, by name.

    These are `HEURISTICS`, of up to 5,000 nodes `embedding_product`, and with features `x`, `[N,
    F]`, their `cosine`. Nothing else is known to them: the graph must not have the edges that
    are sought.
    """
    found: dict[str, Measure] = {n: partial(rule, graph) for n, rule in HEURISTICS.items()}
    if graph.num_nodes <= LARGEST:
        found["embedding"] = partial(embedding_product, graph)
    if x is not None:
        found["features"] = partial(cosine, x)
    return found


def common_neighbours(graph: Graph, pairs: Tensor) -> Tensor:
    """Count the nodes that both are joined with: |Γ(u) ∩ Γ(v)|, `[n]`."""
    return _shared(graph, pairs, np.ones_like)


def adamic_adar(graph: Graph, pairs: Tensor) -> Tensor:
    """Count common neighbours, the rarer the more: Σ_{w ∈ Γ(u) ∩ Γ(v)} 1 / ln d_w, `[n]`.

    Source: Adamic & Adar (2003), Friends and neighbors on the web.

    >>> import torch
    >>> from plait import Graph
    >>> from plait.tasks.links.baselines import adamic_adar
    >>> path = Graph.from_edges([(0, 1), (1, 2)]).to_undirected()
    >>> adamic_adar(path, torch.tensor([[0], [2]])).item()          # 1 / ln 2
    1.4426950408889634
    """
    # what two nodes share has two neighbours at least; the others count nowhere
    return _shared(graph, pairs, lambda degree: 1 / np.log(degree.clip(min=2)))


def resource_allocation(graph: Graph, pairs: Tensor) -> Tensor:
    """Count common neighbours, each by one share of its degree: Σ_{w ∈ Γ(u) ∩ Γ(v)} 1 / d_w, `[n]`.

    Source: Zhou et al. (2009), Predicting missing links via local information.

    >>> import torch
    >>> from plait import Graph
    >>> from plait.tasks.links.baselines import resource_allocation
    >>> path = Graph.from_edges([(0, 1), (1, 2)]).to_undirected()
    >>> resource_allocation(path, torch.tensor([[0], [2]])).item()
    0.5
    """
    return _shared(graph, pairs, one_share)


def katz(graph: Graph, pairs: Tensor) -> Tensor:
    """Count walks of at most three edges, the shorter the more: Σ_{l ≤ 3} βˡ (Aˡ)_uv, `[n]`.

    β = 0.005. With three edges it distinguishes pairs that have no common neighbour.

    Source: Katz (1953), A new status index derived from sociometric analysis; β and the greatest
    length as in Li et al. (2023), Evaluating graph neural networks for link prediction.

    >>> import torch
    >>> from plait import Graph
    >>> from plait.tasks.links.baselines import katz
    >>> path = Graph.from_edges([(0, 1), (1, 2), (2, 3)]).to_undirected()
    >>> [f"{score:.3g}" for score in katz(path, torch.tensor([[0, 0], [2, 3]]))]  # β², β³
    ['2.5e-05', '1.25e-07']
    """
    adjacency = adjacency_of(graph)

    def rows(sources: np.ndarray) -> Any:
        one: Any = adjacency[sources]
        two = one @ adjacency
        return BETA * one + BETA**2 * two, BETA**3 * two

    def score(found: Any, u: np.ndarray, v: np.ndarray, _: np.ndarray) -> np.ndarray:
        shorter, two = found
        last: Any = adjacency[v]  # the last edge of three
        pair = np.repeat(np.arange(len(v)), np.diff(last.indptr))
        threes = np.bincount(pair, _at(two, u[pair], last.indices), len(v))
        return _at(shorter, u, v) + threes

    return _by_source(graph, pairs, rows, score)


def pagerank(graph: Graph, pairs: Tensor) -> Tensor:
    """Add both personalised PageRanks: π_u(v) + π_v(u), `[n]`; see `pagerank_rows`.

    Source: Brin & Page (1998); with the two directions added as in Li et al. (2023).

    >>> import torch
    >>> from plait import Graph
    >>> from plait.tasks.links.baselines import pagerank
    >>> pair = Graph.from_edges([(0, 1)]).to_undirected()
    >>> round(pagerank(pair, torch.tensor([[0], [1]])).item(), 3)      # 2 (1 − α) / (2 − α)
    0.919
    """
    adjacency = adjacency_of(graph)
    degree = np.diff(adjacency.indptr)

    def score(rows: Any, u: np.ndarray, v: np.ndarray, sources: np.ndarray) -> np.ndarray:
        # what goes from u to v comes from v to u by their degrees: π_v(u) d_v = π_u(v) d_u
        return _at(rows, u, v) * (1 + degree[sources] / degree[v].clip(min=1))

    return _by_source(graph, pairs, partial(pagerank_rows, adjacency), score)


def degree_product(graph: Graph, pairs: Tensor) -> Tensor:
    """Multiply the degrees: d_u d_v, preferential attachment (Barabási & Albert 1999), `[n]`."""
    u, v = pairs.cpu().numpy()
    degree = adjacency_of(graph).sum(1)
    return torch.from_numpy(degree[u] * degree[v])


def embedding_product(graph: Graph, pairs: Tensor) -> Tensor:
    """Multiply the embeddings of both by random walks: z_uᵀ z_v, `[n]`; see `embed_nodes`."""
    z = graph.cached("walks", lambda: embed_nodes(adjacency_of(graph)))
    return _in_parts(pairs, lambda u, v: np.einsum("nd,nd->n", z[u], z[v]))


def cosine(x: Tensor, pairs: Tensor) -> Tensor:
    """Return how alike the features of both are: x_uᵀ x_v / (|x_u| |x_v|), `[n]`; 0 of nothing."""
    rows = as_rows(x)

    def alike(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        a, b = unit_rows(rows[u]), unit_rows(rows[v])
        return np.asarray((a * b).sum(1)).ravel()

    return _in_parts(pairs, alike)


HEURISTICS: Mapping[str, Callable[[Graph, Tensor], Tensor]] = {
    "common_neighbours": common_neighbours,
    "adamic_adar": adamic_adar,
    "resource_allocation": resource_allocation,
    "katz": katz,
    "pagerank": pagerank,
    "degree": degree_product,
}
"""Scores of pairs by the graph alone, by name."""


def adjacency_of(graph: Graph) -> scipy.sparse.csr_array:
    """Return the adjacency, 1 both ways, without self-loops: `[N, N]`."""

    def make() -> scipy.sparse.csr_array:
        source, target = graph.to("cpu").to_undirected().edge_index.numpy()
        other = source != target
        ones = np.ones(int(other.sum()))
        N = graph.num_nodes
        return scipy.sparse.csr_array((ones, (source[other], target[other])), (N, N))

    return graph.cached("adjacency both ways", make)


def one_share(degree: np.ndarray) -> np.ndarray:
    """Return 1 / d, of a node without neighbours 1."""
    return 1 / degree.clip(min=1)


def as_rows(x: Tensor) -> Any:
    """Return features as SciPy's sparse rows where they are sparse, else as an array, `[N, F]`."""
    x = x.cpu()
    if not x.is_sparse:
        return x.numpy()
    x = x.coalesce()
    return scipy.sparse.csr_array((x.values().numpy(), x.indices().numpy()), tuple(x.shape))


def unit_rows(rows: Any) -> Any:
    """Scale rows of features to length 1, those of zeros left as they are."""
    length = np.sqrt(np.asarray((rows * rows).sum(1), dtype=np.float64)).reshape(-1, 1)
    return rows * (1 / np.where(length > 0, length, 1))


def shared_neighbours(graph: Graph, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the common neighbours of all pairs: which pair, and which node, each `[c]`.

    >>> import torch
    >>> from plait import Graph
    >>> from plait.tasks.links.baselines import shared_neighbours
    >>> square = Graph.from_edges([(0, 1), (1, 2), (2, 3), (3, 0)]).to_undirected()
    >>> shared_neighbours(square, torch.tensor([[0, 0], [1, 2]]))
    (tensor([1, 1]), tensor([1, 3]))
    """
    adjacency = adjacency_of(graph)
    u, v = pairs.cpu().numpy()
    both: Any = adjacency[u].multiply(adjacency[v]).tocsr()
    both.sort_indices()
    pair = np.repeat(np.arange(len(u)), np.diff(both.indptr))
    return torch.from_numpy(pair), torch.from_numpy(both.indices.astype(np.int64))


def _shared(graph: Graph, pairs: Tensor, worth: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """Sum what the common neighbours of each pair are worth by their degrees."""
    adjacency = adjacency_of(graph)
    worthy: Any = adjacency @ scipy.sparse.diags_array(worth(adjacency.sum(1)))
    return _in_parts(pairs, lambda u, v: worthy[u].multiply(adjacency[v]).sum(1))


def _in_parts(pairs: Tensor, score: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Tensor:
    """Score pairs, so many at once."""
    parts = [score(*part.numpy()) for part in pairs.cpu().split(PAIRS, 1)]
    return torch.from_numpy(np.concatenate([np.empty(0), *parts]))


def _by_source(graph: Graph, pairs: Tensor, rows: Any, score: Any) -> Tensor:
    """Score pairs by what is computed once for the end that more of the pairs have, or the first.

    So one pair alone is scored as among other pairs of its first end.
    """
    u, v = pairs.cpu().numpy()
    often = np.bincount(np.concatenate([u, v]), minlength=graph.num_nodes)
    u, v = np.where(often[u] >= often[v], [u, v], [v, u])
    sources, place = np.unique(u, return_inverse=True)
    order = np.argsort(place, kind="stable")
    found = np.empty(len(u))
    for first in range(0, len(sources), SOURCES):
        known = rows(sources[first : first + SOURCES])
        begin, end = np.searchsorted(place[order], [first, first + SOURCES])
        for start in range(begin, end, PAIRS):
            part = order[start : min(start + PAIRS, end)]
            found[part] = score(known, place[part] - first, v[part], u[part])
    return torch.from_numpy(found)


def _at(matrix: Any, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return single entries."""
    return np.asarray(matrix[rows, columns]).ravel()
