"""Simple forecasts inside a network: those of the baselines, window by window."""

import os

import numpy as np
import pandas as pd
import pytest
import torch

import plait
from plait import Graph
from plait.errors import InputError
from plait.tasks.forecast.baselines import baselines
from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.model import Forecaster
from plait.tasks.forecast.rolling import answers, error_products
from plait.tasks.forecast.seasonal import Season, place_of
from plait.tasks.forecast.series import Series
from plait.tasks.forecast.simple import Simple
from plait.tasks.forecast.splits import TimeSplits
from plait.tasks.forecast.task import ForecastTask
from plait.tasks.forecast.windows import windows_of

P, H = 4, 9
GRAPH = Graph([[0, 1, 2, 1], [1, 0, 1, 1]], [1.0, 1.0, 3.0, 7.0])


def series(timed: bool = True, gaps: bool = False) -> Series:
    random = np.random.default_rng(0)
    values = 5 * np.sin(2 * np.pi * np.arange(90)[:, None] / 7) + random.standard_normal((90, 3))
    if gaps:
        values[random.random(values.shape) < 0.1] = np.nan
    times = pd.date_range("2024-01-03", periods=90, freq="D") if timed else None
    return Series("s", "s", ("a", "b", "c"), values, times)


def forecasts(own: Series, season: Season, first: np.ndarray) -> dict[str, np.ndarray]:
    """By the windows of a network, fitted to the first 60 steps."""
    config = ForecastConfig(history=P, horizon=H)
    mean, scale = np.array([1.0, -1.0, 0.0]), np.array([1.0, 2.0, 3.0])
    simple = Simple(3, P, H, season, edges=True).fit((own.values[:60] - mean) / scale, GRAPH)
    windows = windows_of(config, own, mean, scale, "cpu", season=season)
    x, _, calendar, _ = windows.at(torch.from_numpy(first), len(own.values))
    found = simple(x, calendar, GRAPH).numpy() * scale + mean
    one = simple(x, calendar, GRAPH, "autoregression").numpy() * scale + mean
    np.testing.assert_array_equal(one[0], found[simple.names.index("autoregression")])
    return dict(zip(simple.names, found, strict=True))


@pytest.mark.parametrize(("steps", "timed"), [(7, True), (0, True), (0, False)])
def test_they_are_the_baselines(steps, timed):
    own, first = series(timed), np.arange(60, 82)
    found = forecasts(own, Season(steps, "2024-01-03" if timed else ""), first)
    expected = dict(baselines(
        own, GRAPH, TimeSplits(P, 50, 60, 90), first, horizon=H,
        season=Season(steps, ""),
        mean=np.array([1.0, -1.0, 0.0]), scale=np.array([1.0, 2.0, 3.0]),
    ))  # fmt: skip
    del expected["exponential smoothing"]  # of all the past, which windows do not hold
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-5, err_msg=name)


def test_a_season_without_times_has_no_places():
    found = forecasts(series(timed=False), Season(7, ""), np.array([70]))
    assert set(found) == {
        "last value", "seasonal value", "historical mean", "autoregression", "linear, neighbours",
        "differenced AR", "linear, graph",
    }  # fmt: skip
    assert np.ptp(found["historical mean"], axis=0).max() == 0
    np.testing.assert_allclose(
        found["seasonal value"][:, 0],
        series().values[[63, 64, 65, 66, 67, 68, 69, 63, 64]], rtol=1e-6,
    )  # fmt: skip


def test_where_a_season_before_is_not_known_its_mean_is_taken():
    own = series(gaps=True)
    season = Season(7, "2024-01-03")
    found = forecasts(own, season, np.arange(4, 70))
    assert all(np.isfinite(values).all() for values in found.values())
    means = found["historical mean"]
    np.testing.assert_array_equal(found["seasonal value"][0, :3], means[0, :3])  # before the first
    before = own.values[np.arange(7, 70) - 7]
    missing = np.isnan(before)
    assert missing.any()
    seasonal = found["seasonal value"][0, 3:]
    np.testing.assert_array_equal(seasonal[missing], means[0, 3:][missing])
    np.testing.assert_allclose(seasonal[~missing], before[~missing], rtol=1e-5)


@pytest.mark.parametrize(
    ("operator", "given", "reads"),
    [("dense", "none", False), ("chebyshev", "none", True), ("adaptive", "none", False),
     ("adaptive", "diffusion", True)],
)  # fmt: skip
def test_a_network_without_the_graph_starts_from_none_that_reads_it(operator, given, reads):
    config = ForecastConfig(operator=operator, adaptive_given=given, hidden_size=4)
    simple = {"steps": 0, "start": "", "base": "last value"}
    model = Forecaster(config, tuple("abc"), 4, simple=simple)
    assert model.simple is not None
    graph = {"linear, neighbours", "linear, graph"}
    assert set(model.simple.names) & graph == (graph if reads else set())


def test_a_season_fits_twice_into_the_training_set():
    assert Season.of(series(), 7, 14) == Season(7, "2024-01-03T00:00:00")
    assert Season.of(series(), 7, 13).steps == 0


@pytest.mark.parametrize("zone", ["Europe/Berlin", "+01:00"])
def test_places_are_counted_through_a_change_of_clocks(zone):
    times = pd.date_range("2024-03-30 22:00", periods=12, freq="h", tz=zone)
    start = pd.Timestamp(times[0].isoformat())
    assert [place_of(time, start, "h") for time in times] == list(range(12))
    days = pd.date_range("2024-03-29", periods=5, freq="D", tz=zone)
    assert [place_of(t, pd.Timestamp(days[0].isoformat()), "D") for t in days] == list(range(5))


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.chdir(tmp_path)
    own = series(gaps=True)
    frame = pd.DataFrame(own.values, columns=own.ids)
    frame.insert(0, "time", own.times)
    frame.to_csv("own.csv", index=False)
    options = {
        "data": "own.csv", "operator": "dense", "history": P, "horizon": 3, "hidden_size": 4,
        "steps": 4, "batch_size": 8, "threads": 1,
    }  # fmt: skip
    return plait.train("forecast", out="run", **options)


def test_the_network_begins_as_the_best_on_validation(run):
    config = ForecastConfig.from_dict(run.config)
    task = ForecastTask(config, torch.device("cpu"))
    assert task.model.base == task.facts()["simple"]["base"] == "historical mean"
    window = task.windows.at(torch.arange(60, 70), 90)
    early = task.model.simple_forecasts(window.x, window.calendar, early=True)
    expected = early[task.model.early.names.index("historical mean")]
    answer = task.model(window.x, window.calendar)
    torch.testing.assert_close(answer.double(), expected, rtol=0, atol=1e-5)
    task.model.skip.data.normal_()  # of what differs from the mean
    means = task.model.early.profile(window.calendar)[:P]
    x = torch.where(window.x[-P:].isnan(), 0.0, window.x[-P:])
    whole = ~window.x[-P:].isnan().any(0)
    moved = torch.tensordot(task.model.skip.double(), x - means, 1) + expected
    answer = task.model(window.x, window.calendar).double()
    torch.testing.assert_close(answer[:, whole], moved[:, whole], rtol=0, atol=1e-4)


def test_what_is_predicted_is_the_combination(run):
    model = plait.load(run)
    assert model.weights.sum(1).tolist() == pytest.approx([1.0] * 3)
    assert (model.weights >= 0).all()
    task = ForecastTask.restore(model, ForecastConfig.from_dict(run.config), run.facts)
    window = task.windows.at(torch.tensor([90]), 90)
    means = model.latest_means(window.calendar)  # of all that is before the test set
    parts = [model(window.x, window.calendar, means=means).double()[None]]
    parts.append(model.simple_forecasts(window.x, window.calendar))
    expected = (model.weights.T[:, :, None, None] * torch.cat(parts)).sum(0)[:, 0]
    table = pd.read_csv(plait.predict(run))["forecast"].to_numpy().reshape(3, 3)
    np.testing.assert_allclose(table, expected.detach() * model.scale + model.mean, rtol=1e-5)
    frame, state = pd.read_csv("own.csv"), None
    for time, *row in frame.itertuples(index=False):
        forecast, state = model.step(row, state, time)
    network = model.weights[:, 0, None]
    far = np.abs(forecast - table).max()
    assert far < 1e-4 + float(network.max())  # the states are carried on, all else is the same
    with pytest.raises(InputError, match="was trained with a season: give the time"):
        model.step([0.0] * 3)


@torch.no_grad()
def test_weights_and_bands_are_fitted_to_halves_that_do_not_see_them(run):
    config = ForecastConfig.from_dict({**run.config, "coverage": 0.8, "validation": 0.4})
    task = ForecastTask(config, torch.device("cpu"))
    found = task.validate()
    kept, margin = task.model.weights.clone(), task.model.margin.clone()
    calls = []
    weights_of = task._weights
    task._weights = lambda products, steps: (
        calls.append((products, steps)) or weights_of(products, steps)
    )
    assert task.validate() == found
    (whole, n), (second, a), (first, b) = calls
    np.testing.assert_allclose(whole, first + second, rtol=1e-12)
    assert n == task.splits.test - task.splits.valid
    assert a == b == n // 2
    assert torch.equal(task.model.weights, kept)
    assert torch.equal(task.model.margin, margin)
    half, first_of = slice(0, n // 2), np.arange(task.splits.valid, task.splits.test)
    answer = answers(task.model, task.windows, first_of, task.splits.test, early=True)
    products = error_products(
        task.model, task.windows, answer[:, half], first_of[half], task.splits.test
    )  # fmt: skip
    np.testing.assert_allclose(products, first, rtol=1e-9)
