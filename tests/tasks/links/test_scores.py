"""Scores by brute force and by scikit-learn; those who learn nothing, by networkx."""

import networkx
import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from plait.nn.graph import Graph
from plait.tasks.links.baselines import BETA, HEURISTICS, KATZ_PAIRS, baselines
from plait.tasks.links.scores import area, score_pairs


def drawn(ties: bool, n: int = 40, m: int = 33) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(k, generator=generator, dtype=torch.float64) for k in (n, m))
    a = a + 0.5
    return ((a * 2).round(), (b * 2).round()) if ties else (a, b)


@pytest.mark.parametrize("ties", [False, True])
def test_scores_are_those_of_every_pair_of_pairs(ties):
    a, b = drawn(ties)
    scores = score_pairs(a, b, k=5)
    wins = [float(x > y) + 0.5 * float(x == y) for x in a for y in b]
    assert scores["auc"] == pytest.approx(np.mean(wins), rel=1e-12)
    both, truth = np.concatenate([a, b]), np.repeat([1, 0], [len(a), len(b)])
    assert scores["auc"] == pytest.approx(roc_auc_score(truth, both), rel=1e-12)
    precision, before = 0.0, 0.0
    for bar in sorted(set(both), reverse=True):
        above = both >= bar
        recall = truth[above].sum() / len(a)
        precision += (recall - before) * truth[above].mean()
        before = recall
    assert scores["average_precision"] == pytest.approx(precision, rel=1e-12)
    assert precision == pytest.approx(average_precision_score(truth, both), rel=1e-12)
    fifth = sorted(b.tolist())[-5]
    assert scores["hits_at_5"] == np.mean([x > fifth for x in a.tolist()])


def test_with_fewer_pairs_than_k_a_hit_is_above_the_worst():
    assert score_pairs(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 5.0]), 9)["hits_at_9"] == 0.5


def test_the_area_of_what_is_perfect_reversed_or_the_same():
    low, high = torch.arange(3.0), torch.arange(3.0, 7.0)
    assert (area(high, low).item(), area(low, high).item()) == (1.0, 0.0)
    assert area(torch.zeros(4), torch.zeros(7)).item() == 0.5


def walks_of_three(graph, pairs):
    """Return Σ_{l ≤ 3} βˡ (Aˡ)_uv by dense powers."""
    A = networkx.to_numpy_array(graph, nodelist=range(len(graph)))
    scores = sum(BETA**length * np.linalg.matrix_power(A, length) for length in (1, 2, 3))
    return [(u, v, scores[u, v]) for u, v in pairs]


def test_those_who_learn_nothing_are_networkx_s():
    names = {
        "common_neighbours": lambda g, p: [
            (u, v, len(list(networkx.common_neighbors(g, u, v)))) for u, v in p
        ],
        "adamic_adar": networkx.adamic_adar_index,
        "resource_allocation": networkx.resource_allocation_index,
        "katz": walks_of_three,
        "degree": networkx.preferential_attachment,
    }
    assert set(names) == set(HEURISTICS)
    theirs = networkx.gnp_random_graph(25, 0.2, seed=0)
    theirs.add_node(25)  # with nobody
    graph = Graph.from_networkx(theirs)
    pairs = [(u, v) for u in range(26) for v in range(u)]
    index = torch.tensor(pairs).T
    assert len(pairs) > KATZ_PAIRS
    for name, function in names.items():
        expected = [score for *_, score in function(theirs, pairs)]
        assert HEURISTICS[name](graph, index).tolist() == pytest.approx(expected, rel=1e-12)
        flipped = HEURISTICS[name](graph, index.flip(0))
        assert flipped.tolist() == pytest.approx(expected, rel=1e-12)


def test_loops_weights_and_directions_are_nobody_s_neighbours():
    plain = Graph([[0, 1, 1], [1, 2, 3]]).to_undirected()
    other = Graph([[0, 1, 3, 2, 1], [1, 2, 1, 2, 1]], [3.0, 0.5, 2.0, 7.0, 1.0])
    pairs = torch.tensor([[0, 0, 2], [2, 1, 3]])
    for measure in HEURISTICS.values():
        assert measure(other, pairs).tolist() == measure(plain, pairs).tolist()


def test_baselines_are_scores_by_name():
    graph = Graph.from_networkx(networkx.karate_club_graph())
    there, not_there = torch.tensor([[0, 1], [1, 2]]), torch.tensor([[0, 3], [33, 32]])
    found = baselines(graph, there, not_there, 2)
    assert len(found) == 3 * len(HEURISTICS)
    for name, measure in HEURISTICS.items():
        expected = score_pairs(measure(graph, there), measure(graph, not_there), 2)
        assert {k.removeprefix(f"{name}_"): v for k, v in found.items() if k.startswith(name)} == (
            expected
        )
