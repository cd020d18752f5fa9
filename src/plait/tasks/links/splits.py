"""Which edges are trained on, and which are held out, each part with as many non-edges."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from plait.errors import InputError
from plait.graph_data import LabelledGraph
from plait.graph_data.folder import GraphFolder
from plait.nn.graph import Graph
from plait.training.streams import random_generator

TRAINING, SPLIT, HARD = 0, 1, 2
"""Streams of random numbers, which never meet."""


@dataclass(frozen=True)
class EdgeSplits:
    """Pairs of nodes, `[2, n]`, the smaller number first.

    Attributes
    ----------
    train, valid, test : Tensor
        Edges that are there.
    valid_non, test_non : Tensor
        As many pairs that are joined nowhere in the graph.
    graph : Graph
        The edges to train on, both ways, with their weights; the held-out ones are not
        in it.
    """

    train: Tensor
    valid: Tensor
    test: Tensor
    valid_non: Tensor
    test_non: Tensor
    graph: Graph


def split_edges(
    network: LabelledGraph | GraphFolder, valid_share: float, test_share: float, seed: int
) -> EdgeSplits:
    """Hold edges out to validate and to test on, with as many negative pairs.

    Directions are ignored: a pair of nodes is one edge. Self-loops are left out.

    Raises
    ------
    InputError
        Where there are too few edges, or too few pairs without one.

    Example
    -------
    >>> from plait.graph_data import named_labelled_graph
    >>> from plait.tasks.links.splits import split_edges
    >>> splits = split_edges(named_labelled_graph("karate"), 0.1, 0.2, seed=0)
    >>> splits.train.shape, splits.test.shape, splits.graph
    (torch.Size([2, 54]), torch.Size([2, 16]), Graph(num_nodes=34, num_edges=108))
    """
    N = network.graph.num_nodes
    pairs, weights = connections(network.graph)
    E = pairs.shape[1]
    valid, test = (max(1, round(share * E)) for share in (valid_share, test_share))
    if E - valid - test < 1:
        raise InputError(
            f"{network.source} has {E} edges, too few to train on some, to validate and to "
            "test on others"
        )
    if valid + test > N * (N - 1) // 2 - E:
        raise InputError(
            f"{network.source} joins almost all of its {N} nodes: there are not {valid + test} "
            "pairs without an edge to compare with those held out"
        )
    generator = random_generator(seed, 0, SPLIT)
    order = torch.from_numpy(generator.permutation(E))
    first, second, rest = order[:test], order[test : test + valid], order[test + valid :]
    rest = rest.sort().values
    non_edges = distinct_non_edges(generator, valid + test, N, numbers_of(pairs, N))
    graph = Graph(pairs[:, rest], weights[rest], N).to_undirected()
    return EdgeSplits(
        pairs[:, rest], pairs[:, second], pairs[:, first],
        non_edges[:, test:], non_edges[:, :test], graph,
    )  # fmt: skip


def connections(graph: Graph) -> tuple[Tensor, Tensor]:
    """Return the pairs of nodes with an edge between them, `[2, n]`, and their weights.

    >>> from plait import Graph
    >>> from plait.tasks.links.splits import connections
    >>> connections(Graph([[1, 0, 2], [0, 2, 2]]))[0].tolist()
    [[0, 0], [1, 2]]
    """
    both = graph.to_undirected()
    kept = both.edge_index[0] < both.edge_index[1]
    return both.edge_index[:, kept], both.edge_weight[kept]


def numbers_of(pairs: Tensor, nodes: int) -> np.ndarray:
    """Return for every pair `[2, n]` its number, whichever of the two comes first."""
    low, high = pairs.cpu().numpy().min(0), pairs.cpu().numpy().max(0)
    return low * nodes + high


def non_edges(
    generator: np.random.Generator, count: int, nodes: int, taken: np.ndarray
) -> np.ndarray:
    """Draw pairs of two nodes whose number is not `taken`, uniformly and each by itself, `[2, n]`.

    `taken` is sorted. There must be such pairs.
    """
    found: list[np.ndarray] = []
    while sum(part.shape[1] for part in found) < count:
        drawn = generator.integers(nodes, size=(2, 2 * count + 8))
        drawn = np.sort(drawn, 0)
        number = drawn[0] * nodes + drawn[1]
        place = np.searchsorted(taken, number).clip(max=len(taken) - 1)
        found.append(drawn[:, (drawn[0] < drawn[1]) & (taken[place] != number)])
    return np.concatenate(found, 1)[:, :count]


def distinct_non_edges(
    generator: np.random.Generator, count: int, nodes: int, taken: np.ndarray
) -> Tensor:
    """Draw pairs as `non_edges` does, none of them twice."""
    taken = np.sort(taken)
    found = np.empty((2, 0), dtype=np.int64)
    while found.shape[1] < count:
        more = np.concatenate([found, non_edges(generator, count, nodes, taken)], 1)
        _, first = np.unique(more[0] * nodes + more[1], return_index=True)
        found = more[:, np.sort(first)][:, :count]
    return torch.from_numpy(found)
