"""What is held out, and that nothing of it is in the graph that the model reads."""

import networkx
import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from plait.errors import InputError
from plait.graph_data import LabelledGraph, named_labelled_graph
from plait.nn.graph import Graph
from plait.tasks.links.splits import (
    connections,
    distinct_non_edges,
    non_edges,
    numbers_of,
    split_edges,
)


def network(graph: Graph) -> LabelledGraph:
    return LabelledGraph("own", "own.csv", tuple(map(str, range(graph.num_nodes))), graph)


def pairs_of(part: torch.Tensor) -> set[tuple[int, int]]:
    assert bool((part[0] < part[1]).all())
    return set(map(tuple, part.T.tolist()))


@pytest.mark.parametrize("name", ["karate", "florentine", "les-miserables", "davis"])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_edge_is_in_one_part_and_held_out_ones_are_not_in_the_graph(name, seed):
    given = named_labelled_graph(name)
    links = split_edges(given, 0.1, 0.2, seed)
    every = pairs_of(connections(given.graph)[0])
    parts = [pairs_of(part) for part in (links.train, links.valid, links.test)]
    assert set.union(*parts) == every
    assert [len(part) for part in parts[1:]] == [round(0.1 * len(every)), round(0.2 * len(every))]
    assert sum(map(len, parts)) == len(every)
    others = [pairs_of(part) for part in (links.valid_non, links.test_non)]
    assert [len(part) for part in others] == [len(part) for part in parts[1:]]
    assert links.valid_non.shape == links.valid.shape  # none occurs twice
    assert not others[0] & others[1]
    assert not every & (others[0] | others[1])
    kept = links.graph.edge_index
    assert set(map(tuple, kept.T.tolist())) == parts[0] | {(t, s) for s, t in parts[0]}
    edges = map(tuple, given.graph.edge_index.T.tolist())
    whole = dict(zip(edges, given.graph.edge_weight.tolist(), strict=True))
    weights = links.graph.edge_weight.tolist()
    assert weights == [whole[s, t] for s, t in kept.T.tolist()]


def test_a_seed_is_a_split():
    karate = named_labelled_graph("karate")
    a, b, c = (split_edges(karate, 0.1, 0.2, seed) for seed in (0, 0, 1))
    for name in ("train", "valid", "test", "valid_non", "test_non"):
        assert torch.equal(getattr(a, name), getattr(b, name))
        assert pairs_of(getattr(a, name)) != pairs_of(getattr(c, name))


def test_an_edge_is_a_pair_whatever_its_direction_and_no_loop():
    graph = Graph([[0, 1, 2, 3, 3], [1, 0, 1, 3, 0]], [1.0, 4.0, 2.0, 9.0, 3.0])
    pairs, weights = connections(graph)
    assert pairs.T.tolist() == [[0, 1], [1, 2], [0, 3]]
    assert weights.tolist() == [4.0, 2.0, 3.0]


def test_what_is_drawn_is_uniform_over_the_pairs_without_an_edge():
    taken = torch.tensor([[0, 0, 2], [1, 4, 3]])
    numbers = np.sort(numbers_of(taken.flip(0), 5))
    drawn = non_edges(np.random.default_rng(0), 7000, 5, numbers)
    assert drawn.shape == (2, 7000)
    pairs, counts = np.unique(drawn, axis=1, return_counts=True)
    every = {(u, v) for u in range(5) for v in range(u + 1, 5)}
    assert set(map(tuple, pairs.T.tolist())) == every - pairs_of(taken)
    assert chisquare(counts).pvalue > 0.01
    found = distinct_non_edges(np.random.default_rng(0), 7, 5, numbers_of(taken, 5))
    assert pairs_of(found) == every - pairs_of(taken)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (Graph([[0], [1]]), "own.csv has 1 edges, too few to train on some"),
        (Graph([[0, 1], [1, 2]]), "own.csv has 2 edges, too few"),
        (Graph([[0, 1, 2], [0, 1, 2]]), "own.csv has 0 edges, too few"),
        (Graph.from_networkx(networkx.complete_graph(6)), "own.csv joins almost all of its 6 node"),
    ],
)
def test_what_cannot_be_cut_is_refused(graph, message):
    with pytest.raises(InputError, match=message):
        split_edges(network(graph), 0.1, 0.2, seed=0)


def test_three_edges_are_enough():
    links = split_edges(network(Graph([[0, 1, 2], [1, 2, 3]])), 0.1, 0.2, seed=0)
    assert [part.shape[1] for part in (links.train, links.valid, links.test)] == [1, 1, 1]
