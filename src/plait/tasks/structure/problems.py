"""Graphs without end, drawn from a generator, and what is asked about them.

Each node carries a symbol, 0 (blank), 1 or 2, and every answer is 0 or 1, half of them each. The
nodes are numbered at random, so that a number carries no information.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MARKED = 4
"""Marked nodes of the problem "neighbours"."""

SYMBOLS = 3


@dataclass(frozen=True)
class Drawn:
    """B graphs of N nodes.

    Attributes
    ----------
    symbols : integer array `[B, N]`
    adjacency : boolean array `[B, N, N]`
        True at [graph, source, target].
    starts : integer array `[B]`
        The node where a walk over the graph begins; from it every other is reached.
    answers : integer array `[B]`
    """

    symbols: np.ndarray
    adjacency: np.ndarray
    starts: np.ndarray
    answers: np.ndarray


def draw_neighbours(random: np.random.Generator, count: int, nodes: int) -> Drawn:
    """Draw random graphs with four marked nodes; 1: some edge joins two of them.

    A graph is undirected and connected: node i > 0 is joined to one of those before it, all as
    likely, and N / 2 more pairs are drawn and joined. The answer is drawn first, then marks until
    they give it, so that the graph alone, or the number of marks, carries no information. Symbols
    are 0 and 1. From 12 nodes on every graph has four that no edge joins: of N nodes and at most
    3 N / 2 − 1 edges there are N² / (4 N − 2) such at least (Caro 1979, Wei 1981).

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.structure.problems import draw_neighbours
    >>> drawn = draw_neighbours(np.random.default_rng(0), 5, 16)
    >>> drawn.symbols.sum(1).tolist()
    [4, 4, 4, 4, 4]
    """
    adjacency = np.zeros((count, nodes, nodes), bool)
    graphs = np.arange(count)[:, None]
    child = np.arange(1, nodes)
    adjacency[graphs, child, random.integers(child, size=(count, nodes - 1))] = True
    one = random.integers(nodes, size=(count, nodes // 2))
    other = (one + random.integers(1, nodes, size=one.shape)) % nodes
    adjacency[graphs, one, other] = True
    adjacency |= adjacency.swapaxes(1, 2)
    answers = random.integers(2, size=count)
    symbols = np.zeros((count, nodes), np.int64)
    open_ = np.arange(count)  # those whose marks do not give the answer yet
    while len(open_):
        marked = random.random((len(open_), nodes)).argsort(1)[:, :MARKED]
        joined = adjacency[open_[:, None, None], marked[:, :, None], marked[:, None]].any((1, 2))
        right = joined == answers[open_]
        symbols[open_[right, None], marked[right]] = 1
        open_ = open_[~right]
    return _renumbered(random, symbols, adjacency, answers)


def draw_order(random: np.random.Generator, count: int, nodes: int) -> Drawn:
    """Draw paths on which one node is marked 1 and one 2; the answer 1: the 1 comes first.

    The edges go along the path, so that both the path as a graph and the sequence of its nodes,
    which is breadth first and depth first, give the order.

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.structure.problems import draw_order
    >>> drawn = draw_order(np.random.default_rng(0), 1, 6)
    >>> drawn.adjacency.sum().item()
    5
    """
    adjacency = np.zeros((count, nodes, nodes), bool)
    adjacency[:, np.arange(nodes - 1), np.arange(1, nodes)] = True
    places = random.random((count, nodes)).argsort(1)[:, :2]
    symbols = np.zeros((count, nodes), np.int64)
    np.put_along_axis(symbols, places, np.array([[1, 2]]), 1)
    answers = (places[:, 0] < places[:, 1]).astype(np.int64)
    return _renumbered(random, symbols, adjacency, answers)


DRAW: dict[str, Callable[[np.random.Generator, int, int], Drawn]] = {
    "neighbours": draw_neighbours,
    "order": draw_order,
}
"""The problems by name: each draws so many graphs of so many nodes."""


def _renumbered(
    random: np.random.Generator, symbols: np.ndarray, adjacency: np.ndarray, answers: np.ndarray
) -> Drawn:
    """Number the nodes at random; a walk begins where the first node has come to."""
    order = random.random(symbols.shape).argsort(1)  # [B, N]: which node has this number
    return Drawn(
        np.take_along_axis(symbols, order, 1),
        np.take_along_axis(np.take_along_axis(adjacency, order[:, :, None], 1), order[:, None], 2),
        (order == 0).argmax(1),
        answers,
    )
