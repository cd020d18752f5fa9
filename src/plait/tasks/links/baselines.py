"""What scores pairs of nodes by the graph alone, without learning."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from plait.nn.graph import Graph
from plait.tasks.links.scores import score_pairs

BETA = 0.005
"""What each edge of a walk multiplies it by in `katz`."""

KATZ_PAIRS = 256
"""Pairs whose walks are counted at once."""


def baselines(graph: Graph, there: Tensor, not_there: Tensor, k: int) -> dict[str, float]:
    """Return the scores of what learns nothing, by name and score, as `adamic_adar_auc`.

    Each of `HEURISTICS` sees the graph alone, which must not have the held-out connections.
    """
    return {
        f"{name}_{score}": value
        for name, measure in HEURISTICS.items()
        for score, value in score_pairs(measure(graph, there), measure(graph, not_there), k).items()
    }


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
    return _shared(graph, pairs, lambda degree: 1 / degree.clip(min=1))


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
    adjacency: Any = adjacency_of(graph)
    found: list[np.ndarray] = [np.empty(0)]
    for part in pairs.cpu().split(KATZ_PAIRS, 1):
        u, v = part.numpy()
        one, last = adjacency[u], adjacency[v]  # walks of one edge from u; the last edge, to v
        two = one @ adjacency
        counts = adjacency[u, v], one.multiply(last).sum(1), two.multiply(last).sum(1)
        found.append(BETA ** np.arange(1, 4) @ np.stack([np.asarray(n).ravel() for n in counts]))
    return torch.from_numpy(np.concatenate(found))


def degree_product(graph: Graph, pairs: Tensor) -> Tensor:
    """Multiply the degrees: d_u d_v, preferential attachment (Barabási & Albert 1999), `[n]`."""
    u, v = pairs.cpu().numpy()
    degree = adjacency_of(graph).sum(1)
    return torch.from_numpy(degree[u] * degree[v])


HEURISTICS: Mapping[str, Callable[[Graph, Tensor], Tensor]] = {
    "common_neighbours": common_neighbours,
    "adamic_adar": adamic_adar,
    "resource_allocation": resource_allocation,
    "katz": katz,
    "degree": degree_product,
}
"""Scores of pairs that nothing is learnt for, by name."""


def adjacency_of(graph: Graph) -> scipy.sparse.csr_array:
    """Return the adjacency, 1 both ways, loops left out: `[N, N]`."""
    source, target = graph.to("cpu").to_undirected().edge_index.numpy()
    other = source != target
    ones = np.ones(int(other.sum()))
    N = graph.num_nodes
    return scipy.sparse.csr_array((ones, (source[other], target[other])), (N, N))


def _shared(graph: Graph, pairs: Tensor, worth: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """Sum what the common neighbours of each pair are worth by their degrees."""
    adjacency = adjacency_of(graph)
    worthy: Any = adjacency @ scipy.sparse.diags_array(worth(adjacency.sum(1)))
    u, v = pairs.cpu().numpy()
    return torch.from_numpy(worthy[u].multiply(adjacency[v]).sum(1))
