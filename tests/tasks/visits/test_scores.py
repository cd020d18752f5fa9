"""Scores and baselines, against their definitions."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from plait.tasks.visits.baselines import baselines, counts_of, logistic_chances, targets_of
from plait.tasks.visits.config import VisitsConfig
from plait.tasks.visits.data import source_of
from plait.tasks.visits.scores import best_threshold, interacting_share, score_drugs


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    chances = random.random((30, 9))
    truth = (random.random((30, 9)) < chances).astype(int)
    truth[:, 0] = 1
    return chances, truth


def test_scores_by_their_definitions(drawn):
    chances, truth = drawn
    jaccard, f1, precision, recall, loss = [], [], [], [], []
    for p, y in zip(chances, truth, strict=True):
        said, given = set(np.flatnonzero(p >= 0.6)), set(np.flatnonzero(y))
        jaccard.append(len(said & given) / len(said | given))
        f1.append(2 * len(said & given) / (len(said) + len(given)))
        ranked = sorted(range(9), key=lambda d: -p[d])
        recall.append(len(set(ranked[:4]) & given) / len(given))
        hits = [len(set(ranked[: r + 1]) & given) / (r + 1) for r in range(9) if ranked[r] in given]
        precision.append(np.mean(hits))
        loss.append(-np.log(np.where(y, p, 1 - p)).sum())
    scores = score_drugs(chances, truth, 0.6, 4)
    expected = {
        "loss": loss, "jaccard": jaccard, "f1": f1, "pr_auc": precision, "recall_at_4": recall,
    }  # fmt: skip
    assert scores == pytest.approx({name: np.mean(v) for name, v in expected.items()}, rel=1e-12)


def test_the_threshold_is_that_of_the_largest_jaccard(drawn):
    chances, truth = drawn
    t = best_threshold(chances, truth)
    best = score_drugs(chances, truth, t, 1)["jaccard"]
    tried = np.arange(1, 100) / 100
    assert best >= max(score_drugs(chances, truth, x, 1)["jaccard"] for x in tried) - 0.01
    assert best > score_drugs(chances, truth, 0.95, 1)["jaccard"] + 0.1


def test_the_share_of_pairs_that_interact():
    interactions = np.zeros((4, 4), bool)
    interactions[0, 1] = interactions[1, 0] = True
    sets = np.array([[1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]], bool)  # three pairs, and one
    assert interacting_share(sets, interactions) == 1 / 4
    assert interacting_share(sets[2:], interactions) == 0


def test_baselines_see_what_they_may():
    config = VisitsConfig(patients=40)
    histories, parts, _ = source_of(config)
    D, C = histories.drugs, len(histories.codes)
    x, y = counts_of(histories, parts.train), targets_of(histories, parts.train)
    k = int(parts.train[1])
    row = len(histories.asked(int(parts.train[0]))) + 2  # the third asked about
    periods = histories.periods[k][:3]
    assert histories.asked(k)[2] == 2
    expected = np.concatenate([
        sum(np.bincount(codes, minlength=C) for codes in periods) / 3,
        np.bincount(periods[-1], minlength=C),
    ])  # fmt: skip
    assert x[[row]].toarray()[0].tolist() == expected.tolist()

    (chances,) = logistic_chances(histories, parts.train, [(histories, parts.test)])
    drug = int(y.mean(0).argmax())
    test = counts_of(histories, parts.test)
    fit = LogisticRegression(solver="lbfgs", tol=1e-8, max_iter=5000).fit(x, y[:, drug])
    # liblinear penalises the constant too, so the two differ a little
    assert np.abs(chances[:, drug] - fit.predict_proba(test)[:, 1]).max() < 0.1

    scores = baselines(histories, parts, histories, parts.test, 5)
    last = np.stack(
        [np.isin(np.arange(D), histories.periods[k][t]) for k in parts.test
         for t in histories.asked(k)]
    )  # fmt: skip
    truth = targets_of(histories, parts.test)
    overlap = (last & (truth > 0)).sum(1) / (last | (truth > 0)).sum(1)
    assert scores["repeat_jaccard"] == pytest.approx(overlap.mean())
    frequent = np.argsort(-y.mean(0), kind="stable")[:5]
    found = truth[:, frequent].sum(1) / truth.sum(1)
    assert scores["frequent_recall_at_5"] == pytest.approx(found.mean())


def test_thresholds_are_chosen_on_the_validation_set():
    histories, parts, _ = source_of(VisitsConfig(patients=40))
    asked = [(histories, parts.valid), (histories, parts.test)]
    on_valid, on_test = logistic_chances(histories, parts.train, asked)
    valid, truth = (targets_of(*part) for part in asked)
    scores = baselines(histories, parts, histories, parts.test, 5)
    threshold = best_threshold(on_valid, valid)
    assert scores["logistic_jaccard"] == score_drugs(on_test, truth, threshold, 5)["jaccard"]
    on_test_itself = best_threshold(on_test, truth)
    assert scores["logistic_jaccard"] < score_drugs(on_test, truth, on_test_itself, 5)["jaccard"]
