"""Seasons: places by hand, means that leave a season out, and which means are chosen."""

import numpy as np
import pandas as pd
import pytest
import torch

from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.seasonal import NODES, Season, fitted_season, seasonal_means
from plait.tasks.forecast.series import Series
from plait.tasks.forecast.task import ForecastTask

FRIDAY = pd.Timestamp("2024-03-01 06:00")


def hourly(days: int, nodes: int = 1, weekend: float = 0.0) -> Series:
    times = pd.date_range(FRIDAY, periods=24 * days, freq="h")
    random = np.random.default_rng(0)
    values = np.sin(2 * np.pi * times.hour.to_numpy() / 24)[:, None] * 5
    values = values + np.where(times.day_of_week >= 5, weekend, 0.0)[:, None]
    values = values + random.standard_normal((len(times), nodes))
    return Series("s", "s", tuple(f"n{k}" for k in range(nodes)), values, times)


def test_places_of_weekends_are_their_own():
    own = hourly(20)
    season = Season.of(own, 24, 400)
    assert (season.count, season.monday) == (48, 4 * 24 + 6)
    place = season.place(np.arange(480))
    assert own.times is not None
    for t, time in enumerate(own.times):
        expected = (t % 24) + 24 * (time.day_of_week >= 5)
        assert place[t] == expected
    np.testing.assert_array_equal(season.place(torch.arange(480)), place)
    np.testing.assert_array_equal(season.places(own.times[30:], "h"), place[30:])
    before = pd.date_range(FRIDAY - pd.Timedelta(hours=30), periods=9, freq="h")
    assert season.places(before, "h").tolist() == [*range(18, 24), 0, 1, 2]
    assert Season.of(own, 168, 400).monday == -1  # a season of a week has all its days


@pytest.mark.parametrize("width", [0, 2])
@pytest.mark.parametrize("kinds", [1, 2])
def test_means_by_hand(width, kinds):
    """Over days of the same kind and places near by, each step's own season left out."""
    random, S, T = np.random.default_rng(1), 6, 70
    values = random.standard_normal((T, NODES + 2))
    values[random.random(values.shape) < 0.2] = np.nan
    values[:, 1] = np.where(np.arange(T) < 60, np.nan, values[:, 1])
    season = Season(S, "", 27 if kinds == 2 else -1, width)
    means, others = seasonal_means(values, season)
    place, own = season.place(np.arange(T)), np.arange(T) // S
    overall = np.nanmean(values, axis=0)

    def expected(p: int, n: int, leave: int) -> float:
        kind, at = divmod(p, S)
        near = {kind * S + (at + k) % S for k in range(-width, width + 1)}
        within = [values[t, n] for t in range(T) if place[t] in near and own[t] != leave]
        seen = [v for v in within if v == v]
        return float(np.mean(seen)) if seen else overall[n]

    for n in (0, 1, NODES + 1):
        for p in range(kinds * S):
            assert means[p, n] == pytest.approx(expected(p, n, -1), rel=1e-12)
        for t in range(T):
            assert others[t, n] == pytest.approx(expected(place[t], n, own[t]), rel=1e-12)


@pytest.mark.parametrize(("weekend", "apart"), [(-4.0, True), (0.0, False)])
def test_weekends_are_apart_where_they_differ(weekend, apart):
    own = hourly(24, nodes=3, weekend=weekend)
    found = fitted_season(own.values, Season.of(own, 24, len(own.values)))
    assert (found.monday >= 0, found.width) == (apart, 0)


def test_means_reach_over_places_where_there_is_little_between_them():
    t = np.arange(5 * 288)[:, None]
    smooth = np.sin(2 * np.pi * t / 288) + np.random.default_rng(0).standard_normal((len(t), 2))
    assert fitted_season(smooth, Season(288, "")).width in (4, 8)
    sharp = np.where(t % 288 % 5 == 0, 9.0, 0.0) + 0 * smooth
    assert fitted_season(sharp, Season(288, "")).width == 0


def test_training_knows_no_mean_that_holds_what_it_forecasts(tmp_path):
    """Windows to train on have the means of other seasons; those that are scored have all."""
    own = hourly(20, nodes=2)
    frame = pd.DataFrame(own.values, columns=own.ids)
    frame.insert(0, "time", own.times)
    frame.to_csv(tmp_path / "s.csv", index=False)
    config = ForecastConfig(
        data=str(tmp_path / "s.csv"), operator="dense", hidden_size=4, history=6, horizon=4
    )
    task = ForecastTask(config, torch.device("cpu"))
    valid = task.splits.valid
    scaled = (own.values[:valid] - task.mean) / task.scale
    _, others = seasonal_means(scaled, task.rhythm)
    window = task.windows.at(torch.tensor([50, valid - 2]), valid)
    assert window.means is not None
    np.testing.assert_allclose(window.means[:, 0], others[44:54], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(window.means[:8, 1], others[valid - 8 :], rtol=1e-5, atol=1e-6)
    assert task.windows.at(torch.tensor([valid]), task.splits.test).means is None
    places = task.rhythm.place(np.arange(44, 54))
    early = task.model.means_at(window.calendar)[:, 0].numpy()
    np.testing.assert_allclose(early, seasonal_means(scaled, task.rhythm)[0][places], rtol=1e-5)
    past = (own.values[: task.splits.test] - task.mean) / task.scale
    latest = task.model.latest_means(window.calendar)[:, 0]
    np.testing.assert_allclose(latest, seasonal_means(past, task.rhythm)[0][places], rtol=1e-12)
    assert np.abs(early - others[44:54]).max() > 0.01


def test_a_network_in_training_differs_by_the_means_alone(tmp_path):
    test_training_knows_no_mean_that_holds_what_it_forecasts(tmp_path)
    config = ForecastConfig(
        data=str(tmp_path / "s.csv"), operator="dense", hidden_size=4, history=6, horizon=4
    )
    task = ForecastTask(config, torch.device("cpu"))
    x, _, calendar, means = task.windows.at(torch.tensor([50]), task.splits.valid)
    with torch.no_grad():
        task.model.output.weight.normal_()
        plain = task.model(x, calendar)
        same = task.model(x, calendar, means=task.model.means_at(calendar))
        other = task.model(x, calendar, means=means)
    torch.testing.assert_close(plain, same, rtol=1e-6, atol=1e-6)
    assert (plain - other).abs().max() > 1e-3
