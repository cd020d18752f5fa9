"""What is asked is what is answered, and only structure, or order, determines it."""

import networkx
import numpy as np
import pytest

from plait.tasks.structure.problems import DRAW, MARKED, draw_neighbours, draw_order
from plait.training.streams import random_generator


def graphs(drawn):
    for k, adjacency in enumerate(drawn.adjacency):
        yield networkx.DiGraph(adjacency), drawn.symbols[k], drawn.starts[k], drawn.answers[k]


def test_neighbours_are_answered_by_the_edges():
    drawn = draw_neighbours(np.random.default_rng(0), 200, 12)
    for graph, symbols, _, answer in graphs(drawn):
        assert all(graph.has_edge(t, s) and s != t for s, t in graph.edges)
        assert networkx.is_connected(graph.to_undirected())
        assert symbols.sum() == MARKED
        assert any(symbols[s] and symbols[t] for s, t in graph.edges) == answer


def test_order_is_answered_along_the_path():
    drawn = draw_order(np.random.default_rng(0), 200, 9)
    for graph, symbols, start, answer in graphs(drawn):
        path = [start]
        while list(graph.successors(path[-1])):
            (following,) = graph.successors(path[-1])
            path.append(following)
        assert sorted(path) == list(range(9))
        marks = [symbols[node] for node in path if symbols[node]]
        assert sorted(marks) == [1, 2]
        assert (marks == [1, 2]) == answer


@pytest.mark.parametrize("problem", DRAW)
def test_answers_are_halves_and_numbers_are_not_informative(problem):
    drawn = DRAW[problem](random_generator(0, 1), 4000, 12)
    assert abs(drawn.answers.mean() - 0.5) < 4 * 0.5 / np.sqrt(4000)
    for answer in (0, 1):  # the same symbols at every number, whatever the answer
        share = (drawn.symbols[drawn.answers == answer] == 1).mean(0)
        mean = share.mean()
        assert np.abs(share - mean).max() < 5 * np.sqrt(mean * (1 - mean) / 1900)


def test_marks_alone_do_not_give_the_answer():
    """The graph is drawn before the answer: edges are as many in both, but for chance."""
    drawn = draw_neighbours(random_generator(0, 2), 4000, 12)
    edges = drawn.adjacency.sum((1, 2)) / 2
    none, some = edges[drawn.answers == 0], edges[drawn.answers == 1]
    assert abs(none.mean() - some.mean()) < 4 * edges.std() * np.sqrt(4 / 4000)
