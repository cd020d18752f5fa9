"""Scores by brute force and by scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from plait.tasks.links.scores import area, score_hard, score_pairs


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


@pytest.mark.parametrize("ties", [False, True])
def test_ranks_among_hard_pairs_are_those_of_counting(ties):
    own, others = drawn(ties, 9, 80)
    of = torch.arange(80) % 9
    ranks = [
        1 + sum(float(x > y) + 0.5 * float(x == y) for x in others[of == k])
        for k, y in enumerate(own)
    ]
    found = score_hard(own, others, of, 3)
    assert found["mrr"] == pytest.approx(np.mean([1 / r for r in ranks]), rel=1e-12)
    assert found["hard_hits_at_3"] == np.mean([r <= 3 for r in ranks])
    broken = score_hard(own, others * math.nan, of, 3)
    assert math.isnan(broken["mrr"])
