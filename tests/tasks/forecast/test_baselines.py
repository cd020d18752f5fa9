"""Forecasts without a network, by hand and against published figures."""

import os

import numpy as np
import pandas as pd
import pytest

from plait import Graph
from plait.tasks.forecast.baselines import HOPS, baselines, filtered
from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.data import read_data
from plait.tasks.forecast.scores import Errors
from plait.tasks.forecast.seasonal import Season
from plait.tasks.forecast.series import Series
from plait.tasks.forecast.splits import TimeSplits
from plait.tasks.forecast.waves import Waves
from plait.tasks.forecast.windows import scaling

P, H, SEASON = 3, 5, 4
generator = np.random.default_rng(0)
VALUES = generator.standard_normal((60, 3)).cumsum(0)
GRAPH = Graph([[0, 1, 2, 1], [1, 0, 1, 1]], [1.0, 1.0, 3.0, 7.0])
CUTS = TimeSplits(P, 36, 42, 60)
FIRST = np.arange(42, 60)


def made(values: np.ndarray, season: int = SEASON, graph: Graph = GRAPH) -> dict[str, np.ndarray]:
    series = Series("s", "s", ("a", "b", "c"), values, None)
    mean, scale = scaling(values[: CUTS.valid], "node", series)
    rhythm = Season(season, "")
    found = baselines(series, graph, CUTS, FIRST, horizon=H, season=rhythm, mean=mean, scale=scale)
    return dict(found)


def test_those_that_repeat():
    found = made(VALUES)
    for k in range(H):
        np.testing.assert_array_equal(found["last value"][k], VALUES[FIRST - 1])
        back = SEASON if k < SEASON else 2 * SEASON  # a season before, if that is past by then
        np.testing.assert_array_equal(found["seasonal value"][k], VALUES[FIRST + k - back])
        for w, t in enumerate(FIRST + k):
            same = VALUES[: CUTS.test][np.arange(CUTS.test) % SEASON == t % SEASON]
            np.testing.assert_allclose(found["historical mean"][k, w], same.mean(0))


def test_without_a_season_there_is_no_seasonal_value():
    found = made(VALUES, season=0)
    assert "seasonal value" not in found
    mean = VALUES[: CUTS.test].mean(0)
    np.testing.assert_allclose(found["historical mean"], np.broadcast_to(mean, (H, 18, 3)))


def test_without_edges_there_are_no_neighbours():
    assert "linear, neighbours" not in made(VALUES, graph=Graph([], num_nodes=3))


def test_the_linear_models_by_least_squares():
    """One step ahead and three, row by row."""
    found = made(VALUES)
    mean, scale = VALUES[: CUTS.valid].mean(0), VALUES[: CUTS.valid].std(0)
    x = (VALUES - mean) / scale
    M = np.array([[0, 1, 0], [0.25, 0, 0.75], [0, 0, 0]])  # without self-loops
    around = x @ M.T
    for name, features in (("autoregression", (x,)), ("linear, neighbours", (x, around))):
        for k in (0, 2):

            def row(t, n, features=features):
                return [1.0, *(f[t - p, n] for p in range(1, P + 1) for f in features)]

            past = [(t, n) for t in range(P, CUTS.test - k) for n in range(3)]
            A, b = np.array([row(t, n) for t, n in past]), [x[t + k, n] for t, n in past]
            weights = np.linalg.lstsq(A, b, rcond=None)[0]
            expected = [[row(t, n) @ weights * scale[n] + mean[n] for n in range(3)] for t in FIRST]
            np.testing.assert_allclose(found[name][k], expected, rtol=1e-8, atol=1e-10)


def test_the_filter_over_the_graph_by_dense_matrices():
    x = VALUES[:20]
    A = np.array([[0, 1.0, 0], [1.0, 0, 3.0], [0, 1.0, 0]])  # row: into, column: out of
    S = A / np.sqrt(A.sum(1)[:, None] * A.sum(0))
    terms = [np.eye(3), S]
    while len(terms) <= HOPS:
        terms.append(2 * S @ terms[-1] - terms[-2])
    graph = Graph([[1, 0, 2, 1, 1], [0, 1, 1, 2, 1]], [1.0, 1.0, 3.0, 1.0, 7.0])
    np.testing.assert_allclose(filtered(x, graph), np.stack([x @ M.T for M in terms], -1))


def test_the_filter_knows_waves_as_far_as_it_reaches():
    """The best possible forecast of waves is such a filter."""
    waves = Waves.drawn(steps=2000)
    series = Series("w", "w", tuple(map(str, range(48))), waves.values)
    cuts, first = TimeSplits(12, 1300, 1500, 2000), np.arange(1500, 1990)
    found = dict(baselines(
        series, waves.graph, cuts, first, horizon=4, season=Season(0, ""),
        mean=np.zeros(48), scale=np.ones(48),
    ))  # fmt: skip
    truth = waves.values[first + np.arange(4)[:, None]]
    rmse = Errors.of(found["linear, graph"], truth).at["rmse"]
    past = waves.values[first[:, None] + np.arange(-12, 0)]
    best = Errors.of(waves.best_forecast(past, 4).transpose(1, 0, 2), truth).at["rmse"]
    assert (rmse / best - 1).max() < 0.01


def test_nothing_that_comes_is_known():
    changed = VALUES.copy()
    changed[55:] += 100
    before, after = made(VALUES), made(changed)
    for name, values in before.items():
        np.testing.assert_array_equal(values[:, FIRST <= 55], after[name][:, FIRST <= 55])


def test_missing_values_are_carried_on_and_fit_nothing():
    holes = VALUES.copy()
    holes[generator.random(holes.shape) < 0.2] = np.nan
    holes[41] = np.nan
    found = made(holes)
    assert all(np.isfinite(values).all() for values in found.values())
    carried = pd.DataFrame(holes).ffill().to_numpy()
    np.testing.assert_array_equal(found["last value"][0], carried[FIRST - 1])


@pytest.mark.skipif(not os.environ.get("PLAIT_DATA"), reason="PLAIT_DATA names no folder")
def test_chickenpox_as_published():
    """Standardised squared error one week ahead: nothing 1.117, one shared AR(4) 0.819."""
    data = read_data(ForecastConfig.of({}, "chickenpox"))
    assert (data.splits.history, data.splits.test, data.splits.end) == (4, 469, 521)
    first = np.arange(469, 521)
    truth = data.series.values[first][None]
    assert (truth**2).mean() == pytest.approx(1.117, abs=5e-4)
    found = baselines(
        data.series, data.joined.graph, data.splits, first, horizon=1,
        season=Season(52, ""),
        mean=np.zeros(20), scale=np.ones(20),
    )  # fmt: skip
    error = Errors.of(dict(found)["autoregression"], truth).overall()["rmse"] ** 2
    assert error == pytest.approx(0.819, abs=5e-4)


@pytest.mark.skipif(not os.environ.get("PLAIT_DATA"), reason="PLAIT_DATA names no folder")
def test_los_loop_as_published():
    """The last value, averaged over steps 1…3, 1…6, 1…9, 1…12, on the last fifth."""
    config = ForecastConfig.of({}, "los-loop")
    values = read_data(config).series.values
    n, steps = int(0.8 * len(values)), np.arange(1, 13)
    for h, rmse, mae in ((3, 5.54, 3.16), (6, 6.69, 3.63), (9, 7.62, 4.04), (12, 8.45, 4.43)):
        first = np.arange(n + 12, len(values) - h + 1)
        ahead = first + steps[:h, None] - 1
        errors = Errors.of(np.broadcast_to(values[first - 1], (h, len(first), 207)), values[ahead])
        assert errors.upto["rmse"][-1] == pytest.approx(rmse, abs=6e-3)
        assert errors.upto["mae"][-1] == pytest.approx(mae, abs=6e-3)
