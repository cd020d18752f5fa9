"""Hard negatives: for every edge, pairs that heuristics take for edges too."""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from plait.nn.graph import Graph
from plait.tasks.links.baselines import adjacency_of, as_rows, one_share, unit_rows
from plait.tasks.links.pagerank import pagerank_rows

PER_END = 250
"""Other pairs of each end of an edge, at most."""

CONNECTIONS = 1000
"""Edges that are ranked among hard pairs, at most."""

ENTRIES = 2**27
"""Scores of candidates that are ranked, at most: in large graphs fewer edges are."""

SCORES_PER_BATCH = 2**22
"""Scores of candidates in memory."""


class HardPairs(NamedTuple):
    """Edges, and for each of them negative pairs.

    Attributes
    ----------
    there : Tensor `[2, n]`
        The edges.
    others : Tensor `[2, m]`
        Pairs without an edge, one end of each being that of an edge.
    of : Tensor `[m]`
        Which edge each of these belongs to.
    """

    there: Tensor
    others: Tensor
    of: Tensor


def hard_pairs(
    graph: Graph, x: Tensor | None, whole: Graph, there: Tensor, generator: np.random.Generator
) -> HardPairs:
    """Choose hard negatives for edges.

    For an edge u – v these are pairs u – w and w – v, up to 250 each. The candidates w are all
    nodes not joined with that end anywhere in the whole graph, ranked by resource allocation, by
    personalised PageRank and, with features, by their cosine; of a candidate counts the best of its
    ranks. What no heuristic takes for an edge comes last, in a random order.

    At most 1,000 edges are drawn, fewer in graphs of more than 60,000 nodes.

    Source: Li et al. (2023), Evaluating graph neural networks for link prediction: current pitfalls
    and new benchmarking (HeaRT), section 4.

    Parameters
    ----------
    graph : Graph
        What is known: the heuristics' graph.
    x : Tensor `[N, F]`, or None
    whole : Graph
        All edges.
    there : Tensor `[2, n]`
    generator : np.random.Generator
        Breaks ties, and draws edges.
    """
    N = graph.num_nodes
    most = min(CONNECTIONS, max(1, ENTRIES // (2 * N)))
    if there.shape[1] > most:
        chosen = np.sort(generator.choice(there.shape[1], most, replace=False))
        there = there[:, torch.from_numpy(chosen)]
    ends, place = np.unique(there.cpu().numpy(), return_inverse=True)
    candidates = likely_ends(graph, x, whole, ends, generator)
    counts = np.array([len(some) for some in candidates])
    others, of = [], []
    for near in place.reshape(2, -1):
        of.append(np.repeat(np.arange(len(near)), counts[near]))
        far = np.concatenate([candidates[k] for k in near])
        others.append(np.stack([np.repeat(ends[near], counts[near]), far]))
    return HardPairs(
        there, torch.from_numpy(np.concatenate(others, 1)), torch.from_numpy(np.concatenate(of))
    )


def likely_ends(
    graph: Graph, x: Tensor | None, whole: Graph, ends: np.ndarray, generator: np.random.Generator
) -> list[np.ndarray]:
    """Return for each of some nodes up to 250 others that heuristics would join it with.

    None of them is joined with it in the whole graph; see `hard_pairs`.
    """
    adjacency, joined = adjacency_of(graph), adjacency_of(whole)
    N = graph.num_nodes
    by_degree: Any = adjacency @ scipy.sparse.diags_array(one_share(adjacency.sum(1)))
    unit = None if x is None else unit_rows(as_rows(x))
    order = generator.permutation(N)  # ties are broken by chance
    found: list[np.ndarray] = []
    for some in np.array_split(ends, max(1, len(ends) * N // SCORES_PER_BATCH)):
        scores = [(by_degree[some] @ adjacency).toarray(), pagerank_rows(adjacency, some).toarray()]
        if unit is not None:
            alike: Any = unit[some] @ unit.T
            scores.append(alike.toarray() if scipy.sparse.issparse(alike) else alike)
        excluded = joined[some].toarray() > 0
        excluded[np.arange(len(some)), some] = True
        best = np.full((len(some), N), N)
        for score in scores:
            score[excluded] = 0
            np.minimum(best, _ranks(score[:, order]), out=best)
        best[excluded[:, order]] = N + 1
        nearest = np.argsort(best, 1, kind="stable")[:, :PER_END]
        for row, nodes in zip(best, nearest, strict=True):
            found.append(order[nodes[row[nodes] <= N]])
    return found


def _ranks(scores: np.ndarray) -> np.ndarray:
    """Return the place of each score in its row, from 0; N where it is 0."""
    n, N = scores.shape
    ranks = np.empty((n, N), dtype=np.int64)
    np.put_along_axis(ranks, np.argsort(-scores, 1, kind="stable"), np.arange(N)[None], 1)
    ranks[scores <= 0] = N
    return ranks
