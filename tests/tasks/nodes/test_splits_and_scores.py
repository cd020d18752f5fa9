"""How nodes are cut, and the scores next to those of the network, against formulas and counts."""

import dataclasses
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from plait import Graph
from plait.errors import InputError
from plait.graph_data import LabelledGraph, named_labelled_graph
from plait.tasks.nodes.baselines import baselines
from plait.tasks.nodes.scores import score_nodes
from plait.tasks.nodes.splits import split_nodes
from plait.tasks.nodes.spreading import ALPHA, spread_labels


def network(counts, unknown=0) -> LabelledGraph:
    """Make a network without edges whose classes have so many nodes."""
    labels = torch.cat([torch.full((n,), k) for k, n in enumerate(counts)])
    labels = torch.cat([labels, torch.full((unknown,), -1)])
    ids = tuple(map(str, range(len(labels))))
    empty = torch.empty(2, 0, dtype=torch.long)
    classes = tuple("abcdef"[: len(counts)])
    return LabelledGraph(
        "made", "made", ids, Graph(empty, num_nodes=len(ids)), None, labels, classes
    )


def test_few_are_twenty_and_thirty_of_each_class():
    made = network([60, 51, 500], unknown=7)
    parts = split_nodes(made, "few", seed=3)
    assert made.labels[parts.train].bincount().tolist() == [20, 20, 20]
    assert made.labels[parts.valid].bincount().tolist() == [30, 30, 30]
    assert made.labels[parts.test].bincount().tolist() == [10, 1, 450]
    everyone = torch.cat(parts)
    assert len(everyone.unique()) == len(everyone) == 611
    assert (made.labels[everyone] >= 0).all()


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, (1, 0, 0)), (2, (2, 0, 0)), (3, (1, 1, 1)), (5, (3, 1, 1)), (10, (6, 2, 2)),
     (101, (61, 20, 20))],
)  # fmt: skip
def test_most_are_sixty_percent_of_each_class(count, expected):
    made = network([10, count], unknown=3)
    parts = split_nodes(made, "most", seed=0)
    assert tuple(int((made.labels[part] == 1).sum()) for part in parts) == expected


def test_the_seed_decides_which():
    made = network([60, 60])
    first, again, other = (split_nodes(made, "few", seed) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.train, other.train)


def test_the_published_parts_are_the_published_ones():
    karate = named_labelled_graph("karate")
    assert split_nodes(karate, "published", seed=5) is karate.split
    with pytest.raises(InputError, match="there are no published parts of made; give --split few"):
        split_nodes(network([60, 60]), "published", 0)


def test_too_few_are_refused():
    with pytest.raises(InputError, match="the class 'b' has 50 nodes, and --split few takes 20 "):
        split_nodes(network([51, 50]), "few", 0)
    with pytest.raises(InputError, match="4 nodes with a label are too few to test on some"):
        split_nodes(network([2, 2], unknown=9), "most", 0)


def test_scores_by_hand():
    logits = torch.tensor([[2.0, 0, 0], [0, 1, 0], [0, 0, 3], [5, 0, 0]])
    labels = torch.tensor([0, 0, 2, 1])
    scores = score_nodes(logits[:3], labels[:3])
    assert scores["accuracy"] == pytest.approx(2 / 3)
    assert scores["balanced_accuracy"] == pytest.approx((1 / 2 + 1) / 2)
    e = math.e
    nats = [-math.log(e**2 / (e**2 + 2)), -math.log(1 / (e + 2)), -math.log(e**3 / (e**3 + 2))]
    assert scores["loss"] == pytest.approx(sum(nats) / 3)


def test_labels_spread_as_the_closed_form_says():
    """F = (1 − α) (I − α S)⁻¹ Y of Zhou et al. (2004), equation 4, on a weighted graph."""
    generator = np.random.default_rng(0)
    A = generator.random((12, 12)) * (generator.random((12, 12)) < 0.4)
    A[3] = A[:, 3] = 0  # one node alone
    graph = Graph.from_adjacency(torch.from_numpy(A))
    W = np.maximum(A, A.T)
    np.fill_diagonal(W, 0)
    degree = W.sum(1)
    root = np.where(degree > 0, 1 / np.sqrt(np.where(degree > 0, degree, 1)), 0)
    S = root[:, None] * W * root
    labels, known = torch.tensor([0, 2, 1] * 4), torch.tensor([0, 1, 2, 3])
    Y = np.zeros((12, 3))
    Y[known, labels[known]] = 1
    expected = (1 - ALPHA) * np.linalg.solve(np.eye(12) - ALPHA * S, Y)
    ours = spread_labels(graph, labels, known, 3)
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-7)


def test_baselines_know_nothing_but_the_graph_or_nothing_at_all():
    karate = named_labelled_graph("karate")
    found = baselines(karate, karate.split)
    assert found["prior"] == 0.5
    assert found["spread_accuracy"] == 31 / 32
    # no label but those of the training nodes is looked at
    hidden = karate.labels.clone()
    hidden[karate.split.test] = 0
    reported = dataclasses.replace(karate, labels=hidden)
    ours = spread_labels(reported.graph, reported.labels, karate.split.train, 2)
    assert torch.equal(ours, spread_labels(karate.graph, karate.labels, karate.split.train, 2))


@pytest.mark.skipif(
    not (Path(os.environ.get("PLAIT_DATA", "-")) / "graphs/planetoid/ind.cora.x").is_file(),
    reason="PLAIT_DATA names no folder with graphs/planetoid/ind.cora.…",
)
def test_baselines_of_cora():
    cora = named_labelled_graph("cora")
    found = baselines(cora, cora.split)
    assert found["prior"] == pytest.approx(0.319)
    assert 0.70 < found["spread_accuracy"] < 0.73
    assert found["averaged_accuracy"] > found["spread_accuracy"] > found["linear_accuracy"]
