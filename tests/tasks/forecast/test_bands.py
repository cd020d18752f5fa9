"""Conformal bands: the ranks by their formula, and the share that they hold."""

import math
import os

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import plait
from plait.tasks.forecast.bands import bands, margins, outside
from plait.tasks.forecast.scores import band_scores, quantile_scores


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
def test_margins_are_the_ranked_scores(coverage):
    scores = np.random.default_rng(0).standard_normal((2, 30, 3))
    scores[0, :7, 1] = np.nan
    found = margins(scores, coverage)
    for h in range(2):
        for n in range(3):
            own = sorted(s for s in scores[h, :, n] if s == s)
            assert found[h, n] == own[math.ceil((len(own) + 1) * coverage) - 1]


def test_few_scores_are_pooled_and_too_few_are_the_largest():
    scores = np.full((2, 12, 2), np.nan)
    scores[0, :, 0], scores[0, :4, 1] = np.arange(12.0), [20, 21, 22, 23]
    scores[1, 0] = [1, 3]
    found = margins(scores, 0.9)
    assert found[0].tolist() == [11.0, 23.0]  # the 12th of 12; the 16th of all 16
    assert found[1].tolist() == [3.0, 3.0]
    assert margins(np.full((1, 3, 1), np.nan), 0.9).tolist() == [[0.0]]


def test_new_values_of_the_same_distribution_are_covered():
    random = np.random.default_rng(1)
    covered = []
    for _ in range(400):
        known, new = random.exponential(size=(1, 39, 1)), random.exponential(size=50)
        covered.append(float((new <= margins(known, 0.9)[0, 0]).mean()))
    assert np.mean(covered) == pytest.approx(36 / 40, abs=0.01)


def test_bands_lie_around_the_middle_and_widen_or_narrow_quantiles():
    values = np.array([[[1.0, 2.0, 6.0]]])  # [H, N, Q]
    low, high = bands(values, (0.1, 0.5, 0.9), np.array([[-0.5]]))
    assert (low.item(), high.item()) == (1.5, 5.5)
    low, high = bands(values, (0.1, 0.5, 0.9), np.array([[-9.0]]))
    assert (low.item(), high.item()) == (2.0, 2.0)
    many = np.zeros((2, 5, 3))  # [H, W, N]
    low, high = bands(many, (), np.arange(6.0).reshape(2, 3))
    assert (high[1] == [3, 4, 5]).all()
    assert (low == -high).all()
    truth = np.array([0.0, 3.0])
    np.testing.assert_array_equal(outside(truth, np.ones(2), np.full(2, 2.5)), [1.0, 0.5])


def test_the_score_of_many_quantiles_is_that_of_the_distribution():
    y = np.random.default_rng(0).standard_normal((1, 200, 1)) * 1.5
    levels = tuple(float(q) for q in np.linspace(0.005, 0.995, 199))
    forecast = np.broadcast_to(norm.ppf(levels), (*y.shape, 199))
    closed = y * (2 * norm.cdf(y) - 1) + 2 * norm.pdf(y) - 1 / math.sqrt(math.pi)
    scores = quantile_scores(forecast, y, levels)
    assert scores["crps"] == pytest.approx(closed.mean(), rel=2e-3)
    assert quantile_scores(np.zeros((*y.shape, 1)), y, (0.5,))["crps"] == pytest.approx(
        np.abs(y).mean(), rel=1e-12
    )  # of one number it is the absolute error


def test_what_is_missing_counts_in_no_band():
    truth = np.array([[[1.0, np.nan, -2.0]]])
    scores = band_scores(np.zeros((1, 1, 3)), np.array([[[2.0, 9.0, 4.0]]]), truth, 0.8)
    assert scores["band_coverage"] == 0.5
    assert scores["band_width"] == 3.0
    assert scores["interval_score"] == pytest.approx(3 + (2 / 0.2) * 2 / 2, rel=1e-12)


@pytest.mark.parametrize("quantiles", ["", "0.2,0.5,0.8"])
def test_a_run_writes_bands_and_measures_them(tmp_path, monkeypatch, capsys, quantiles):
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    values = random.standard_normal((600, 2)) * [1.0, 10.0]
    pd.DataFrame(values, columns=["a", "b"]).to_csv("noise.csv", index=False)
    options = {
        "data": "noise.csv", "operator": "dense", "history": 3, "horizon": 2, "hidden_size": 4,
        "steps": 20, "batch_size": 16, "threads": 1, "validation": 0.3, "coverage": 0.9,
        "quantiles": quantiles,
    }  # fmt: skip
    run = plait.train("forecast", out="run", **options)
    (test,) = run.records("test")
    assert 0.83 < test["band_coverage"] < 0.96
    table = pd.read_csv(plait.predict(run))
    assert (table["low"] < table["forecast"]).all()
    assert (table["forecast"] < table["high"]).all()
    width = (table["high"] - table["low"]).to_numpy().reshape(2, 2)
    assert (width[:, 1] > 5 * width[:, 0]).all()  # each node by its own errors
    scores = plait.score("run")
    for name in ("band_coverage", "band_width", "interval_score"):
        assert scores[name] == pytest.approx(test[name], rel=1e-5)
    if quantiles:
        assert test["coverage"] < 0.75  # what the quantiles hold without the margin
        assert scores["crps"] == pytest.approx(test["crps"], rel=1e-5)
