"""Back-testing: what each fold knows, its sums, and the baseline of trees."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import plait
from plait import Graph
from plait.cli import run as run_command
from plait.errors import InputError
from plait.tasks.forecast.backtest import backtest, summary
from plait.tasks.forecast.baselines import baselines
from plait.tasks.forecast.boosting import boosted
from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.scores import Errors
from plait.tasks.forecast.seasonal import Season
from plait.tasks.forecast.series import Series
from plait.tasks.forecast.splits import TimeSplits
from plait.tasks.forecast.task import ForecastTask

TINY = {
    "data": "own.csv", "operator": "dense", "history": 3, "horizon": 2, "hidden_size": 4,
    "steps": 4, "batch_size": 8, "threads": 1, "test": 0.4,
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(0).standard_normal((103, 2)).cumsum(0)
    values[50, 0] = values[80, 1] = np.nan
    frame = pd.DataFrame(values, columns=["a", "b"])
    frame.insert(0, "time", pd.date_range("2024-01-01", periods=103, freq="D"))
    frame.to_csv("own.csv", index=False)
    return tmp_path


def task() -> ForecastTask:
    return ForecastTask(ForecastConfig(**TINY), torch.device("cpu"))


def test_folds_are_the_test_set_and_baselines_know_what_is_before_each():
    own = task()
    table = backtest(own, 4)
    assert [len(rows) for _, rows in table.groupby("fold")] == [10 * 2 * 2] * 4  # methods, N, H
    assert list(table["begin"].unique()) == [own.data.series.times[63 + 10 * k] for k in range(4)]
    for fold, begin in ((1, 63), (3, 83)):
        splits = TimeSplits(3, own.splits.valid, begin, begin + 10)
        first = np.arange(begin, begin + 10)
        network = own.forecasts(own.windows, own.data.series, begin, begin + 10)
        expected = dict(baselines(
            own.data.series, own.data.joined.graph, splits, first, horizon=2, season=own.rhythm,
            mean=own.mean, scale=own.scale,
        ))  # fmt: skip
        expected |= {"combination": network.values, "network": network.own.values}
        for method, values in expected.items():
            rows = table[(table["fold"] == fold) & (table["method"] == method)]
            errors = Errors.of(values, network.truth)
            by_step = rows.groupby("step")[["count", "absolute", "squared"]].sum()
            np.testing.assert_allclose(by_step["absolute"] / by_step["count"], errors.at["mae"])
            np.testing.assert_allclose(
                np.sqrt(by_step["squared"] / by_step["count"]), errors.at["rmse"]
            )
    one = backtest(own, 1)
    network = one[one["method"] == "combination"]
    rmse = np.sqrt(network["squared"].sum() / network["count"].sum())
    assert rmse == pytest.approx(own.own_scores()["rmse"], rel=1e-12)


def test_a_fold_is_trained_on_what_is_before_it(monkeypatch):
    seen = []
    batch = ForecastTask.batch

    def watched(self, step):
        seen.append((len(self.data.series.values), self.splits.valid, self.splits.test))
        return batch(self, step)

    own = task()
    kept = backtest(own, 2)
    monkeypatch.setattr(ForecastTask, "batch", watched)
    table = backtest(own, 2, refit=True)
    assert set(seen) == {(83, 57, 63), (103, 75, 83)}  # its end, 9 / 10 of what is before, begin
    ours, theirs = (t[t["method"] == "network"]["squared"].to_numpy() for t in (table, kept))
    assert not np.allclose(ours, theirs)
    others = ~table["method"].isin(["network", "combination"])
    pd.testing.assert_frame_equal(table[others], kept[others])
    again = backtest(own, 2, refit=True)
    pd.testing.assert_frame_equal(again, table)


def test_trees_learn_what_is_no_line():
    random = np.random.default_rng(0)
    values = np.zeros((600, 2))
    for t in range(2, 600):
        values[t] = np.abs(values[t - 1] * 1.9 - 1) - 0.9 + 0.05 * random.standard_normal(2)
    series = Series("s", "s", ("a", "b"), values)
    splits, first = TimeSplits(2, 400, 450, 600), np.arange(450, 600)
    found = dict(baselines(
        series, Graph([], num_nodes=2), splits, first, horizon=1, season=Season(0, ""),
        mean=np.zeros(2), scale=np.ones(2), boosting=True,
    ))  # fmt: skip
    rmse = {name: np.sqrt(((v[0] - values[first]) ** 2).mean()) for name, v in found.items()}
    assert rmse["gradient boosting"] < 0.5 * rmse["autoregression"]
    x = values[..., None].copy()
    x[450:], later = 9.0, values.copy()
    later[450:] = -9.0
    one, profile = np.array([450]), np.zeros((601, 2))
    blind = boosted(x, later, profile, (2, 450), one, 1)  # knows no later step
    seeing = boosted(values[..., None], values, profile, (2, 450), one, 1)
    np.testing.assert_array_equal(blind, seeing)


def test_who_wins_where():
    rows = [
        ("network", 1, "a", 1, 2, 2.0, 2.0), ("network", 1, "b", 1, 1, 4.0, 16.0),
        ("network", 2, "a", 1, 2, 1.0, 0.5), ("network", 2, "b", 1, 0, 0.0, 0.0),
        ("last value", 1, "a", 1, 2, 4.0, 8.0), ("last value", 1, "b", 1, 1, 1.0, 1.0),
        ("last value", 2, "a", 1, 2, 2.0, 4.0), ("last value", 2, "b", 1, 0, 0.0, 0.0),
    ]  # fmt: skip
    names = ["method", "fold", "id", "step", "count", "absolute", "squared"]
    found = summary(pd.DataFrame(rows, columns=names))
    assert found["network_mae"] == 7 / 5
    assert found["last_value_rmse"] == pytest.approx(np.sqrt(13 / 5))
    assert found["network_worst_fold_rmse"] == pytest.approx(np.sqrt(18 / 3))
    assert (found["network_folds_won"], found["last_value_folds_won"]) == (1, 1)
    assert (found["network_nodes_won"], found["last_value_nodes_won"]) == (1, 1)
    assert (found["network_steps_won"], found["last_value_steps_won"]) == (0, 1)


def test_the_command_prints_and_writes(capsys):
    plait.train("forecast", out="run", **TINY)
    capsys.readouterr()
    assert run_command(["score", "run", "--backtest", "2", "--table", "folds.csv"]) == 0
    out = capsys.readouterr().out
    for name in ("network rmse", "gradient boosting worst fold rmse", "last value nodes won"):
        assert name in out
    table = pd.read_csv("folds.csv")
    assert list(table) == ["fold", "begin", "method", "id", "step", "count", "mae", "rmse"]
    assert len(table) == 2 * 10 * 2 * 2
    assert Path("folds.png").stat().st_size > 10_000
    with pytest.raises(InputError, match=r"its picture folds\.png exists; name a new CSV"):
        plait.score("run", backtest=2, table="folds.txt")
    scores = plait.score("run", backtest=2)
    network = table[table["method"] == "network"]
    rmse = np.sqrt((network["rmse"] ** 2 * network["count"]).sum() / network["count"].sum())
    assert scores["network_rmse"] == pytest.approx(rmse, rel=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backtest": 21}, "--backtest 21: the test set of 40 steps has at most 20 folds of"),
        ({"refit": True}, "--refit and --table belong to --backtest FOLDS; give that too"),
        ({"backtest": 2, "table": "own.csv"}, "--table own.csv exists already; name a new file"),
        ({"backtest": 2, "table": "no/t.csv"}, "no is no folder; name one that is"),
        ({"backtest": 2, "data": "own.csv"}, "--backtest is of the run's own test set; leave"),
    ],
)  # fmt: skip
def test_what_cannot_be_tested_is_refused(options, message):
    plait.train("forecast", out="run", **TINY)
    with pytest.raises(InputError, match=message):
        plait.score("run", **options)
