"""The seasonal profile: its place in any table, and what a network begins with."""

import os

import numpy as np
import pandas as pd
import pytest
import torch

import plait
from plait.errors import InputError
from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.profile import Profile
from plait.tasks.forecast.series import Series
from plait.tasks.forecast.task import ForecastTask

OPTIONS = {
    "data": "own.csv", "operator": "dense", "history": 3, "horizon": 4, "hidden_size": 4,
    "steps": 3, "batch_size": 8, "threads": 1, "seasonal": True,
}  # fmt: skip


@pytest.fixture(autouse=True)
def frame(tmp_path, monkeypatch) -> pd.DataFrame:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.chdir(tmp_path)
    times = pd.date_range("2024-03-01 05:00", periods=360, freq="h")
    hours = times.hour.to_numpy()
    values = np.stack([np.where(hours == 8, 50.0, 0), 10.0 + hours], 1)
    values += 0.5 * np.random.default_rng(0).standard_normal(values.shape)
    frame = pd.DataFrame(values, columns=["a", "b"])
    frame.insert(0, "time", times)
    frame.to_csv("own.csv", index=False)
    return frame


@pytest.mark.parametrize("frequency", ["h", "MS", "1 month", "D"])
def test_the_place_in_the_season_is_that_of_the_time(frequency):
    start = pd.Timestamp("2024-01-15" if frequency == "1 month" else "2024-01-01")
    profile = Profile(np.arange(5.0)[:, None], start, frequency)
    step = pd.DateOffset(months=1) if "M" in frequency or "month" in frequency else None
    for offset in (0, 7, 23, -3):
        first = start + offset * (step or pd.Timedelta(1, frequency))
        times = pd.DatetimeIndex([first + k * (step or pd.Timedelta(1, frequency)) for k in (0, 1)])
        expected = [offset % 5, (offset + 1) % 5]
        assert profile.at(times)[:, 0].tolist() == expected


def test_untrained_it_is_the_profile_and_what_is_left_of_the_last_value(frame):
    task = ForecastTask(ForecastConfig(skip="linear", **OPTIONS), torch.device("cpu"))
    training = frame.iloc[: task.splits.valid]
    means = training.groupby(training["time"].dt.hour)[["a", "b"]].mean().to_numpy()
    found = task.tested
    values, hours = frame[["a", "b"]].to_numpy(), frame["time"].dt.hour.to_numpy()
    for w, first in enumerate(found.first[:30]):
        left = values[first - 1] - means[hours[first - 1]]
        for h in range(4):
            hour = (hours[0] + first + h) % 24
            np.testing.assert_allclose(found.values[h, w], means[hour] + left, atol=1e-4)
    assert task.own_scores()["rmse"] < 1.2  # of noise 0.5, and the last value's


@pytest.mark.parametrize("quantiles", ["", "0.1,0.5,0.9"])
def test_predictions_and_steps_add_it_again(frame, quantiles):
    run = plait.train("forecast", out="run", quantiles=quantiles, **OPTIONS)
    whole = pd.read_csv(plait.predict(run))
    frame.iloc[-31:].to_csv("recent.csv", index=False)  # another first place, a season and more
    recent = pd.read_csv(plait.predict(run, "recent.csv", out="next.csv"))
    pd.testing.assert_frame_equal(whole, recent)
    model, state = plait.load(run), None
    before = 1 + model.simple.names.index("seasonal value")
    model.weights[:, 0] += model.weights[:, before]  # three steps do not know it
    model.weights[:, before] = 0
    shown = model.predict(frame.iloc[-31:])
    for time, *row in frame.iloc[-3:].itertuples(index=False):
        forecast, state = model.step(row, state, time)
    columns = ["q0.1", "q0.5", "q0.9"] if quantiles else ["forecast"]
    shown = shown[columns].to_numpy().reshape(forecast.shape)
    np.testing.assert_allclose(forecast, shown, rtol=1e-5, atol=1e-5)
    with pytest.raises(InputError, match="trained with --seasonal: give the time"):
        model.step([0.0, 0.0])
    frame.iloc[100:].to_csv("other.csv", index=False)
    assert plait.score(run, "other.csv")["rmse"] < 1.2
    assert plait.score(run)["rmse"] == pytest.approx(run.records("test")[0]["rmse"], rel=1e-6)


def test_it_knows_the_training_set_only(frame):
    task = ForecastTask(ForecastConfig(**OPTIONS), torch.device("cpu"))
    frame.loc[task.splits.valid :, ["a", "b"]] = 7.0
    frame.to_csv("changed.csv", index=False)
    config = ForecastConfig(**{**OPTIONS, "data": "changed.csv"})
    other = ForecastTask(config, torch.device("cpu"))
    assert torch.equal(task.model.seasonal, other.model.seasonal)
    assert torch.equal(task.model.scale, other.model.scale)


def test_a_season_that_is_not_there_is_refused(frame):
    frame.drop(columns="time").to_csv("untimed.csv", index=False)
    with pytest.raises(
        InputError, match=r"--seasonal needs times, and .*untimed\.csv has no column"
    ):
        plait.train("forecast", out="run", **{**OPTIONS, "data": "untimed.csv"})
    series = Series("s", "s.csv", ("a",), np.zeros((30, 1)), pd.date_range("2024", periods=30))
    with pytest.raises(
        InputError, match=r"of at most the 6 steps to train on, and that of s\.csv is 7"
    ):
        Profile.of(series, 6, 7)
    with pytest.raises(InputError, match="is not known; give --season"):
        Profile.of(series, 6, 0)
