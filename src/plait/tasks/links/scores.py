"""How well connections are told from pairs without one, and who does it without learning."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy.sparse
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from plait.nn.graph import Graph


def score_pairs(there: Tensor, not_there: Tensor, k: int) -> dict[str, float]:
    """Score the scores of pairs that are connected, and of pairs that are not.

    Returns
    -------
    dict
        `auc` (see `area`), `average_precision` (Σ_n (R_n − R_{n−1}) P_n, with precision and recall
        at every threshold), and `hits_at_k`: the share of connections that score higher than the
        k-th best of the other pairs (Hu et al. 2020), or the worst where there are fewer. NaN
        where a score is not a finite number.

    Example
    -------
    >>> import torch
    >>> from plait.tasks.links.scores import score_pairs
    >>> score_pairs(torch.tensor([3.0, 1.0]), torch.tensor([2.0, 0.0]), k=1)
    {'auc': 0.75, 'average_precision': 0.8333333333333333, 'hits_at_1': 0.5}
    """
    if not (there.isfinite().all() and not_there.isfinite().all()):  # a training that broke down
        return dict.fromkeys(("auc", "average_precision", f"hits_at_{k}"), math.nan)
    scores = torch.cat([there, not_there]).double().cpu().numpy()
    truth = np.arange(len(scores)) < len(there)
    bar = not_there.topk(min(k, len(not_there))).values[-1]
    return {
        "auc": area(there, not_there).item(),
        "average_precision": float(average_precision_score(truth, scores)),
        f"hits_at_{k}": (there > bar).double().mean().item(),
    }


def area(there: Tensor, not_there: Tensor) -> Tensor:
    """Say how often a connection scores higher than another pair, equals counting half.

    It is the area under the ROC curve (Hanley & McNeil 1982).

    >>> import torch
    >>> from plait.tasks.links.scores import area
    >>> area(torch.tensor([3.0, 1.0]), torch.tensor([2.0, 1.0, 0.0])).item()
    0.75
    """
    others = not_there.detach().sort().values
    there = there.detach().contiguous()
    lower = torch.searchsorted(others, there) + torch.searchsorted(others, there, right=True)
    return lower.double().mean() / (2 * len(others))


def baselines(graph: Graph, there: Tensor, not_there: Tensor, k: int) -> dict[str, float]:
    """Give the scores of those who learn nothing, by name and score, as `adamic_adar_auc`.

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
    >>> from plait.tasks.links.scores import adamic_adar
    >>> path = Graph.from_edges([(0, 1), (1, 2)]).to_undirected()
    >>> adamic_adar(path, torch.tensor([[0], [2]])).item()          # 1 / ln 2
    1.4426950408889634
    """
    # what two nodes share has two neighbours at least; the others count nowhere
    return _shared(graph, pairs, lambda degree: 1 / np.log(degree.clip(min=2)))


def degree_product(graph: Graph, pairs: Tensor) -> Tensor:
    """Multiply the degrees: d_u d_v, preferential attachment (Barabási & Albert 1999), `[n]`."""
    u, v = pairs.cpu().numpy()
    degree = adjacency_of(graph).sum(1)
    return torch.from_numpy(degree[u] * degree[v])


HEURISTICS: Mapping[str, Callable[[Graph, Tensor], Tensor]] = {
    "common_neighbours": common_neighbours,
    "adamic_adar": adamic_adar,
    "degree": degree_product,
}
"""Who learns nothing, by name."""


def adjacency_of(graph: Graph) -> scipy.sparse.csr_array:
    """Say who is joined with whom, 1 both ways, loops left out: `[N, N]`."""
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
