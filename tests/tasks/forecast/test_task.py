"""The whole way, as a user goes it: train, read the table, predict, go on, and every mistake."""

import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import plait
from plait.cli import run as run_command
from plait.errors import InputError
from plait.serve import overview
from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.data import read_data
from plait.tasks.forecast.loss import pointwise, reweighting, sampling
from plait.tasks.forecast.task import ForecastTask
from plait.tasks.forecast.waves import Waves
from plait.times import time_text
from plait.training.checkpoint import load_tensors

TINY = {"hidden_size": 4, "k": 2, "history": 4, "horizon": 3, "batch_size": 8, "threads": 1}
FLAGS = [w for n, v in TINY.items() for w in (f"--{n.replace('_', '-')}", str(v))]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with hourly measurements at three places, some missing, and their roads."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    hours = np.arange(200)
    values = 10 + 3 * np.sin(hours[:, None] / 24 * 2 * np.pi + np.arange(3))
    values += 0.3 * generator.standard_normal(values.shape)
    values[generator.random(values.shape) < 0.05] = np.nan
    frame = pd.DataFrame(values, columns=["n1", "n2", "n3"])
    frame.insert(0, "time", pd.date_range("2024-03-01", periods=200, freq="h"))
    frame.to_csv("speeds.csv", index=False)
    (tmp_path / "roads.csv").write_text("source,target\nn1,n2\nn2,n3\n")
    return tmp_path


OWN = {"data": "speeds.csv", "graph": "roads.csv", "steps": 4, **TINY}


def test_train_predict_score_and_go_on(capsys, here):
    words = ["train", "forecast", "--data", "speeds.csv", "--graph", "roads.csv", "--steps", "4"]
    more = ["--quantiles", "0.1,0.5,0.9", "--calendar", "week", "--out", "run"]
    assert run_command([*words, *FLAGS, *more]) == 0
    said = capsys.readouterr().out
    assert "speeds.csv: 200 steps × 3 nodes, 1 hour apart; " in said
    assert "% missing, filled with the last value, never scored" in said
    for name in ("last value", "seasonal value", "historical mean", "autoregression"):
        assert said.count(f"  {name} ") == 3  # MAE, RMSE, MAPE
    assert "the best without a network" in said
    assert "of the values lie between the outer quantiles (nominal 80%)" in said
    for picture in ("curves", "forecasts", "nodes"):
        assert (here / "run" / f"{picture}.png").stat().st_size > 10_000
    (test,) = plait.training.run.Run.open(here / "run").records("test")
    assert len(test["table"]["network"]["rmse_at"]) == 3
    assert test["rmse"] == test["table"]["combination"]["rmse_to"][-1]
    assert said.count("  network ") == said.count("  combination ") == 3

    recent = pd.read_csv("speeds.csv").iloc[-24:, [0, 3, 1, 2]]  # the columns in another order
    recent.to_csv("recent.csv", index=False)
    assert run_command(["predict", "run", "--data", "recent.csv", "--out", "next.csv"]) == 0
    assert run_command(["predict", "run"]) == 0  # of the series itself: the same
    table = pd.read_csv("next.csv", parse_dates=["time"])
    assert (here / "run" / "predictions.csv").read_text() == (here / "next.csv").read_text()
    assert list(table) == ["time", "id", "forecast", "q0.1", "q0.5", "q0.9", "missing"]
    assert list(table["id"]) == ["n1", "n2", "n3"] * 3
    assert list(table["time"].unique()) == list(
        pd.date_range("2024-03-09 08:00", periods=3, freq="h")
    )
    assert (table["forecast"] == table["q0.5"]).all()
    last = recent.iloc[-4:]
    assert list(table["missing"][:3]) == [last[n].isna().sum() for n in ("n1", "n2", "n3")]

    last.to_csv("last.csv", index=False)  # without a season before it
    table = pd.read_csv(plait.predict("run", "last.csv", out="last-next.csv"))
    model, state = plait.load("run"), None
    for time, *row in last[["time", "n1", "n2", "n3"]].itertuples(index=False):
        forecast, state = model.step(row, state, time)
    shown = table[["q0.1", "q0.5", "q0.9"]].to_numpy().reshape(3, 3, 3)
    np.testing.assert_allclose(forecast, shown, rtol=1e-5)

    scores = plait.score("run")
    assert scores["rmse"] == pytest.approx(test["rmse"], rel=1e-6)
    assert scores["last_value_rmse"] == test["table"]["last value"]["rmse_to"][-1]
    pd.read_csv("speeds.csv").iloc[:60].to_csv("other.csv", index=False)
    other = plait.score("run", "other.csv")
    assert {"mae_at_1", "linear_with_neighbours_mae", "historical_mean_rmse"} <= set(other)
    assert "seasonal_value_mae" not in other
    assert plait.inspect("run")[0].without_flow == ""


def test_the_size_of_the_state_is_that_of_the_data_and_stays_with_the_run(here):
    options = {k: v for k, v in OWN.items() if k != "hidden_size"}
    run = plait.train("forecast", out="run", **options)
    assert run.facts["hidden_size"] == plait.load(run).recurrent.hidden_size == 4
    assert plait.score(run)["rmse"] == pytest.approx(run.records("test")[0]["rmse"], rel=1e-6)
    many = pd.concat([pd.read_csv("speeds.csv")] * 40, ignore_index=True)
    many["time"] = pd.date_range("2024-03-01", periods=len(many), freq="h")
    many.to_csv("many.csv", index=False)
    longer = {**options, "data": "many.csv", "steps": 1}
    config = ForecastConfig(**longer)
    assert ForecastTask(config, torch.device("cpu")).model.recurrent.hidden_size == 16
    further = plait.train("forecast", out="further", from_run=run, **longer)
    assert further.facts["hidden_size"] == 4  # that of the weights it begins with
    heads = ForecastConfig(**{**options, "operator": "attention", "heads": 3})
    assert heads.with_size(100).hidden_size == 6
    with pytest.raises(InputError, match="--heads 4 must divide --hidden-size 6"):
        ForecastConfig(**{**options, "operator": "attention", "hidden_size": 6})


def test_a_resumed_run_ends_where_an_unbroken_one_does():
    options = {**OWN, "validate_every": 2, "decoder": "recurrent", "sampling": 5.0, "dropout": 0.2}
    whole = plait.train("forecast", out="whole", **options)
    logs = [{k: v for k, v in r.items() if k != "seconds"} for r in whole.records()]
    weights = load_tensors(whole.model_path)[0]
    part = plait.train("forecast", out="part", **{**options, "save_every": 0.0})
    (part.path / "checkpoint" / "step-00000004.safetensors").unlink()
    part.truncate_log(3)
    plait.resume(part)
    assert [{k: v for k, v in r.items() if k != "seconds"} for r in part.records()] == logs
    again = load_tensors(part.model_path)[0]
    assert all(torch.equal(again[name], value) for name, value in weights.items())


def test_weights_go_on_over_another_graph():
    first = plait.train("forecast", out="first", **OWN)
    task = ForecastTask(
        ForecastConfig(**{**OWN, "graph": "correlation", "neighbours": 1, "threshold": 0.0}),
        torch.device("cpu"),
    )
    task.load_pretrained(plait.load(first))
    theirs = dict(plait.load(first).named_parameters())
    assert all(torch.equal(p, theirs[name]) for name, p in task.model.named_parameters())
    assert not torch.equal(task.model.edge_weight, plait.load(first).edge_weight)
    whole = pd.read_csv("speeds.csv").ffill()
    whole.to_csv("whole.csv", index=False)
    without_gaps = ForecastTask(ForecastConfig(**{**OWN, "data": "whole.csv"}), task.device)
    with pytest.raises(InputError, match="missing values, a season or a graph"):
        without_gaps.load_pretrained(plait.load(first))


def test_scale_and_correlations_know_the_training_set_only():
    options = {
        **OWN, "graph": "correlation", "neighbours": 2, "threshold": 0.0, "skip": "linear",
    }  # fmt: skip
    task = ForecastTask(ForecastConfig(**options), torch.device("cpu"))
    frame = pd.read_csv("speeds.csv")
    frame.iloc[task.splits.valid :, 1:] = np.random.default_rng(1).random(
        (200 - task.splits.valid, 3)
    )
    frame.to_csv("changed.csv", index=False)
    other = ForecastTask(ForecastConfig(**{**options, "data": "changed.csv"}), task.device)
    assert torch.equal(task.model.scale, other.model.scale)
    assert torch.equal(task.model.mean, other.model.mean)
    assert torch.equal(task.model.edge_weight, other.model.edge_weight)
    early, others = task.model.early.state_dict(), other.model.early.state_dict()
    assert all(torch.equal(value, others[name]) for name, value in early.items())
    assert not np.array_equal(task.data.series.values, other.data.series.values)
    for step in range(1, 5):  # and what is trained on lies there too
        assert (
            task.loss(task.model, task.batch(step), ())[0]
            == other.loss(other.model, other.batch(step), ())[0]
        )


def test_the_loss_leaves_out_what_was_not_measured():
    task = ForecastTask(ForecastConfig(**OWN), torch.device("cpu"))
    first = torch.arange(task.splits.test, task.splits.end)
    window = task.windows.at(first, task.splits.end)
    answer = task.model(window.x, window.calendar)
    seen = ~window.y.isnan()
    assert 0 < int(seen.sum()) < seen.numel()
    expected = (answer - window.y)[seen].square().mean()
    loss, _, _ = task.loss(task.model, (window, 0.0), ())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    means = task.model.latest_means(window.calendar)  # what is scored knows all before the test
    answer = task.model(window.x, window.calendar, means=means)
    expected = (answer - window.y)[seen].square().mean()
    assert task.test()["loss"] == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"error": "squared"}, [4.0, 0.25]),
        ({"error": "absolute"}, [2.0, 0.5]),
        ({"error": "huber"}, [1.5, 0.125]),
        ({"error": "huber", "delta": 0.25}, [0.46875, 0.09375]),
        ({"quantiles": "0.5"}, [1.0, 0.25]),
    ],
)
def test_what_is_made_small(options, expected):
    e = torch.tensor([2.0, -0.5])[:, None]
    assert pointwise(e, ForecastConfig(**options))[:, 0].tolist() == expected


@pytest.mark.parametrize(
    ("options", "factor"),
    [
        ({}, 2.0),
        ({"error": "huber", "delta": 0.25}, 1.0),
        ({"error": "absolute"}, 1.0),
        ({"quantiles": "0.5", "error": "squared"}, 0.5),
    ],
)
def test_a_combination_is_fitted_to_the_loss(options, factor):
    """Squared errors with these weights have its gradient."""
    config, e = ForecastConfig(**options), torch.tensor([2.0, -0.5, 0.1]).double()
    e.requires_grad_()
    pointwise(e[:, None], config).sum().backward()
    torch.testing.assert_close(e.grad, factor * (reweighting(e, config) * e).detach())


def test_quantiles_are_weighed_by_their_side():
    e = torch.tensor([1.0, -1.0])[:, None].expand(2, 2)
    loss = pointwise(e, ForecastConfig(quantiles="0.5,0.9"))
    torch.testing.assert_close(loss, torch.tensor([[0.5, 0.9], [0.5, 0.1]]))


def test_scheduled_sampling_falls_from_one_to_none():
    falling = [sampling(step, 100.0) for step in range(0, 2000, 50)]
    assert falling == sorted(falling, reverse=True)
    assert falling[0] > 0.98
    assert falling[-1] < 0.01
    assert sampling(1, 0.0) == 0.0
    assert sampling(10**9, 1.0) < 1e-300


BAD = {
    "no such file": (["--data", "no.csv"], "no series 'no.csv': there is no such file, and it is"),
    "no graph": (
        ["--graph", "", "--operator", "gcn"],
        "speeds.csv has no graph for --operator gcn: give one by --graph FILE, connect what",
    ),
    "no graph for the operator that is the default over one": (
        ["--graph", "", "--operator", "chebyshev"],
        "no graph for --operator chebyshev: give one by --graph FILE, connect what is correlated "
        "by --graph correlation, or learn one by --operator adaptive, or leave --operator out",
    ),
    "no graph next to a learnt one": (
        ["--graph", "", "--operator", "adaptive", "--adaptive-given", "gcn"],
        "for --adaptive-given gcn: give one by --graph FILE, connect what is correlated by --graph "
        "correlation, or leave --adaptive-given out",
    ),
    "no graph file": (["--graph", "no.csv"], "cannot read no.csv: No such file"),
    "an id not in the series": (["--graph", "more.csv"], "more.csv names 'n4', which the series"),
    "an id not in the graph": (["--graph", "less.csv"], "less.csv does not name 'n3', which the"),
    "not a number": (["--data", "text.csv"], "text.csv, line 12, column 'n2': 'fast' is no number"),
    "too short": (
        ["--horizon", "60"],
        "speeds.csv has 200 steps, too few: after --history 4, 16 are left to validate on, and",
    ),
    "far too short": (["--history", "500"], "speeds.csv has 200 steps, too few: after --history"),
    "unsorted": (["--data", "unsorted.csv"], "unsorted.csv, line 7: 2024-03-01 04:00:00 comes aft"),
    "uneven": (
        ["--data", "uneven.csv"],
        "uneven.csv, line 6: 2024-03-01 04:00 is missing before 2024-03-01 05:00 (steps of 1 hour)",
    ),
    "constant": (
        ["--data", "constant.csv"],
        "constant.csv: column 'n2' is constant in the training set, always 7; take it out, or",
    ),
    "empty": (["--data", "hollow.csv"], "hollow.csv: column 'n2' has no value in the training se"),
    "no times": (["--data", "untimed.csv", "--calendar", "day"], "--calendar day needs times, and"),
    "no such column": (["--time", "when"], "--time when: speeds.csv has no such column"),
    "quantiles": (["--quantiles", "0.9,0.5"], "--quantiles must rise and have 0.5 among them"),
    "no quantile": (["--quantiles", "0.5;0.9"], "--quantiles must be numbers between 0 and 1"),
    "heads": (["--operator", "attention", "--heads", "3"], "--heads 3 must divide --hidden-size 4"),
    "one way": (["--directed"], "Chebyshev needs an undirected graph, and edge 0 → 1 has no rever"),
    "no neighbours": (
        ["--graph", "correlation", "--neighbours", "3"],
        "--neighbours 3 must be less",
    ),
    "no correlation": (
        ["--graph", "correlation", "--neighbours", "1", "--threshold", "0.999"],
        "no two nodes of speeds.csv have a correlation above --threshold 0.999; lower it, or take",
    ),
    "no test": (["--test", "0"], "--test must be more than 0: scores are of steps never seen"),
}


@pytest.fixture
def clutter(here):
    frame = pd.read_csv("speeds.csv")

    def write(name: str, change) -> None:
        changed = frame.astype({"n2": object})
        (change(changed) if callable(change) else change).to_csv(f"{name}.csv", index=False)

    write("text", lambda f: f.assign(n2=f["n2"].where(f.index != 10, "fast")))
    write("unsorted", lambda f: f.iloc[[0, 1, 2, 3, 5, 4, *range(6, 200)]])
    write("uneven", lambda f: f.drop(index=4))
    write("constant", lambda f: f.assign(n2=7))
    write("hollow", lambda f: f.assign(n2=f["n2"].where(f.index > 180)))
    write("untimed", lambda f: f.drop(columns="time"))
    (here / "more.csv").write_text("source,target\nn1,n2\nn2,n3\nn3,n4\n")
    (here / "less.csv").write_text("source,target\nn1,n2\n")


@pytest.mark.usefixtures("clutter")
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(capsys, here, case):
    options, message = BAD[case]
    given = {
        "--data": "speeds.csv",
        "--graph": "roads.csv",
        **dict(zip(FLAGS[::2], FLAGS[1::2], strict=True)),
    }
    rest = [w for name, value in given.items() if name not in options for w in (name, value)]
    assert run_command(["train", "forecast", *rest, *options, "--out", "run"]) == 2
    out, errors = capsys.readouterr()
    assert (out, errors.count("\n")) == ("", 1)
    assert message in errors.replace(f"{here}/", "")
    assert not (here / "run").exists()


def test_bad_recent_data_is_one_line(capsys, here):
    plait.train("forecast", out="run", **OWN)
    frame = pd.read_csv("speeds.csv")
    cases = {
        "few": (frame.iloc[-3:], "few.csv has 3 steps; the model takes 4 before it forecasts"),
        "less": (
            frame.drop(columns="n2"),
            "less.csv has no column 'n2'; the table must have the 3",
        ),
        "more": (
            frame.assign(n9=1.0),
            "more.csv has the unknown columns 'n9'; the table must have the 3",
        ),
        "untimed": (
            frame.drop(columns="time"),
            "untimed.csv has no times, and the run was trained",
        ),
        "apart": (frame.iloc[::2], "apart.csv, line 3: the steps are 2h long, and the run was "),
    }
    for name, (content, message) in cases.items():
        content.to_csv(f"{name}.csv", index=False)
        for command in ("predict", "score"):
            assert run_command([command, "run", "--data", f"{name}.csv"]) == 2
            errors = capsys.readouterr().err
            assert message in errors
            assert errors.count("\n") == 1
    assert run_command(["predict", "run", "--data", "no.csv"]) == 2
    frame.iloc[:6].to_csv("short.csv", index=False)
    assert run_command(["score", "run", "--data", "short.csv"]) == 2
    assert "--history 4 and --horizon 3 take more" in capsys.readouterr().err
    frame.assign(n1=0.0).to_csv("speeds.csv", index=False)
    assert run_command(["score", "run"]) == 2
    assert "constant in the training set" in capsys.readouterr().err
    frame.iloc[:-1].to_csv("speeds.csv", index=False)
    assert run_command(["resume", "run"]) == 2
    assert "speeds.csv is no longer what the run was trained on" in capsys.readouterr().err


def test_waves_generated_by_another_processor_are_the_same_data(tmp_path, monkeypatch):
    """Their last digits are another's: eigenvectors and products of matrices are a library's."""
    run = plait.train("forecast", data="waves", out=tmp_path / "run", steps=1, **TINY)
    drawn = Waves.drawn()
    other = replace(drawn, values=drawn.values * (1 + 1e-15))
    monkeypatch.setattr("plait.tasks.forecast.data.Waves.drawn", lambda: other)
    found = plait.score(run)
    assert found["rmse"] == pytest.approx(run.records("test")[-1]["rmse"], rel=1e-6)


def test_waves_are_next_to_the_best_possible(tmp_path):
    run = plait.train("forecast", data="waves", out=tmp_path / "run", steps=1, **TINY)
    (test,) = run.records("test")
    best = test["table"]["best possible"]
    assert test["best_rmse"] == best["rmse_to"][-1]
    for name, record in test["table"].items():
        if name != "best possible":
            assert (np.array(record["rmse_at"]) > best["rmse_at"]).all()


@pytest.mark.skipif(not os.environ.get("PLAIT_DATA"), reason="PLAIT_DATA names no folder")
@pytest.mark.parametrize("name", ["chickenpox", "los-loop"])
def test_named_series_are_read(name):
    data = plait.tasks.forecast.data.read_data(ForecastConfig(data=name))
    shape, edges = {"chickenpox": ((521, 20), 102), "los-loop": ((2016, 207), 2833)}[name]
    assert (data.series.values.shape, data.joined.graph.num_edges) == (shape, edges)
    assert data.series.frequency == {"chickenpox": "W-MON", "los-loop": "5min"}[name]


def test_nodes_have_features_and_learnt_vectors(capsys, here):
    (here / "nodes.csv").write_text("id,lanes,kind\nn3,2,road\nn1,4,ramp\nn2,3,road\nn9,1,road\n")
    options = {**OWN, "nodes": "nodes.csv", "node_embedding": 2}
    run = plait.train("forecast", out="run", **options)
    model = plait.load(run)
    spread = np.sqrt(2 / 3)
    expected = [[1 / spread, 1, 0], [0, 0, 1], [-1 / spread, 0, 1]]
    np.testing.assert_allclose(model.static, expected, rtol=1e-6, atol=1e-7)
    assert model.node_embedding.shape == (3, 2)
    before = ForecastTask(ForecastConfig(**options), torch.device("cpu")).model.node_embedding
    assert not torch.equal(model.node_embedding, before)
    (here / "nodes.csv").unlink()
    table = pd.read_csv("speeds.csv")
    table.to_csv("same.csv", index=False)  # features of nodes are the run's own
    assert run_command(["predict", "run", "--data", "same.csv", "--out", "next.csv"]) == 0
    renamed = table.rename(columns={"n1": "n5"})
    renamed.to_csv("renamed.csv", index=False)
    (here / "others.csv").write_text("source,target\nn5,n2\nn2,n3\n")
    of_others = {**OWN, "node_embedding": 2, "data": "renamed.csv", "graph": "others.csv"}
    other = ForecastTask(ForecastConfig(**of_others), torch.device("cpu"))
    with pytest.raises(InputError, match="that run has learnt embeddings of other nodes; leave"):
        other.load_pretrained(model)
    (here / "nodes.csv").write_text("id,lanes\nn1,4\nn2,3\n")
    words = ["train", "forecast", "--data", "speeds.csv", "--graph", "roads.csv", *FLAGS]
    assert run_command([*words, "--nodes", "nodes.csv", "--out", "no"]) == 2
    errors = capsys.readouterr().err.replace(f"{here}/", "")
    assert errors == "plait: nodes.csv has no row for node 'n3' in its column 'id'; add it\n"
    (here / "nodes.csv").write_text("id\nn1\nn2\nn3\n")
    assert run_command([*words, "--nodes", "nodes.csv", "--out", "no"]) == 2
    assert "nodes.csv has no column of features next to 'id'" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["none", "chebyshev"])
def test_a_graph_is_learnt_and_written_as_edges_that_can_be_given(here, given):
    options = {**OWN, "operator": "adaptive", "adaptive_given": given, "adaptive_edges": 2}
    if given == "none":
        options["graph"] = ""  # none is needed
    run = plait.train("forecast", out="run", decoder="recurrent", **options)
    model = plait.load(run)
    first, second = model.recurrent.operator, model.decoder.operator
    assert torch.equal(first.sources, second.sources)  # one graph for both
    fresh = ForecastTask(ForecastConfig(**options), torch.device("cpu")).model
    assert not torch.equal(first.sources, fresh.recurrent.operator.sources)
    edges = pd.read_csv("run/learnt.csv")
    index, weight = first.edges(3)
    np.testing.assert_allclose(edges["weight"], weight, rtol=1e-6)
    assert [f"n{k + 1}" for k in index[0].tolist()] == edges["source"].tolist()
    assert Path("run/learnt.png").stat().st_size > 10_000
    again = {**OWN, "graph": "run/learnt.csv", "directed": True, "operator": "diffusion"}
    assert plait.train("forecast", out="again", **again).records("test")
    table = pd.read_csv(plait.predict(run))
    assert table["forecast"].notna().all()
    assert plait.score("run")["rmse"] == pytest.approx(run.records("test")[0]["rmse"], rel=1e-6)


def test_a_series_without_a_graph_is_forecast_node_by_node(capsys):
    words = ["train", "forecast", "--data", "speeds.csv", "--steps", "3", *FLAGS]
    assert run_command([*words, "--out", "plain"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "none: every node is forecast from its own values; give one by --graph FILE, conn" in said
    )
    assert run_command([*words, "--operator", "dense", "--out", "dense"]) == 0
    assert "every node is forecast from its own values" not in capsys.readouterr().out
    plain, dense = (plait.load(name) for name in ("plain", "dense"))
    assert all(
        torch.equal(p, q) for p, q in zip(plain.parameters(), dense.parameters(), strict=True)
    )
    tables = [pd.read_csv(plait.predict(name)) for name in ("plain", "dense")]
    pd.testing.assert_frame_equal(*tables)
    assert plait.score("plain") == plait.score("dense")
    with pytest.raises(InputError, match="or a graph are there in only one"):
        plait.train("forecast", out="graph", from_run="plain", **OWN)


def driven(here: Path, steps: int = 400) -> pd.DataFrame:
    """Write a long table whose values follow rain at once, and an event a step before it is due."""
    random = np.random.default_rng(0)
    times = pd.date_range("2024-01-01", periods=steps, freq="h")
    rows = []
    for name in ("a", "b"):
        rain, event = random.standard_normal(steps), random.integers(0, 2, steps).astype(float)
        value = 5 * event + np.r_[0, rain[:-1]] + 0.1 * random.standard_normal(steps)
        rows.append(pd.DataFrame({
            "time": times, "sensor": name, "flow": value, "rain": rain, "event": event,
        }))  # fmt: skip
    table = pd.concat(rows)
    table.to_csv(here / "flows.csv", index=False)
    return table


COVARIATES = {
    "data": "flows.csv", "operator": "dense", "value": "flow", "covariates": "rain",
    "known": "event", "history": 3, "horizon": 2, "hidden_size": 16, "batch_size": 16,
    "lr": 0.02, "threads": 1,
}  # fmt: skip


def test_covariates_are_learnt_from_and_asked_for(capsys, here):
    table = driven(here)
    run = plait.train("forecast", out="run", steps=250, **COVARIATES)
    (test,) = run.records("test")
    best = test["table"]["historical mean"]["rmse_at"]
    network = test["table"]["network"]["rmse_at"]
    assert best[0] > 2.4  # what no past value knows
    assert network[0] < 0.5  # the event is known, the rain was measured
    assert 0.9 < network[1] < 1.4  # the rain to come is not

    with pytest.raises(InputError) as caught:
        plait.predict(run, out="no.csv")
    assert "'event' is known for 0 steps after the last value, and 2 are forecast" in str(
        caught.value
    )
    last = table["time"] == table["time"].max()
    ahead = pd.concat([
        table[last].assign(time=lambda f, k=k: f["time"] + pd.Timedelta(hours=k), flow="", rain="",
                           event=float(k == 2))
        for k in (1, 2)
    ])  # fmt: skip
    pd.concat([table[table["time"] > "2024-01-10"], ahead]).to_csv("recent.csv", index=False)
    found = pd.read_csv(plait.predict(run, "recent.csv", out="next.csv"))
    assert list(found["time"].unique()) == [str(t) for t in ahead["time"].unique()]
    rain = table[last].set_index("sensor")["rain"]
    np.testing.assert_allclose(found["forecast"][:2], rain[["a", "b"]], atol=1.0)
    np.testing.assert_allclose(found["forecast"][2:], 5.0, atol=1.0)
    table.drop(columns="rain").to_csv("less.csv", index=False)
    assert run_command(["predict", "run", "--data", "less.csv"]) == 2
    assert "less.csv has no column 'rain', which --covariates" in capsys.readouterr().err
    scores = plait.score("run", "flows.csv")
    assert scores["rmse_at_1"] < 0.5
    assert plait.inspect("run")[0].without_flow == ""


def test_training_reads_no_covariate_before_its_time(here):
    table = driven(here)
    task = ForecastTask(ForecastConfig(**COVARIATES), torch.device("cpu"))
    late = table["time"] >= table["time"].unique()[task.splits.valid]
    changed = table.assign(rain=table["rain"].where(~late, 99.0))
    changed.assign(event=changed["event"].where(~late, 7.0)).to_csv("changed.csv", index=False)
    other = ForecastTask(
        ForecastConfig(**{**COVARIATES, "data": "changed.csv"}), torch.device("cpu")
    )
    assert torch.equal(task.model.covariates, other.model.covariates)
    other.model.load_state_dict(task.model.state_dict())
    for step in range(1, 4):
        first, second = (t.loss(t.model, t.batch(step), ())[0] for t in (task, other))
        assert first == second


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"known": "rain"}, "'rain' is named twice in --value, --covariates and --known"),
        ({"covariates": "flow"}, "'flow' is named twice"),
        ({"data": "waves"}, "--data waves has no columns for --value, --covariates or --known"),
    ],
)
def test_covariates_that_cannot_be_are_refused(here, options, message):
    driven(here, 40)
    with pytest.raises(InputError, match=message):
        plait.train("forecast", out="run", steps=1, **{**COVARIATES, **options})


def cycle(*values: float) -> pd.Series:
    return pd.Series(np.resize(np.array(values, dtype=float), 120))


DENSE = {**TINY, "operator": "dense", "steps": 3, "horizon": 2, "data": "own.csv"}


def test_a_share_of_0_counts_nowhere(capsys):
    frame = pd.DataFrame({"a": cycle(0, 1, 2, 0, 3, 1, 0, 2), "b": cycle(1, 0, 0, 2, 0, 1, 4, 0)})
    frame.to_csv("own.csv", index=False)
    run = plait.train("forecast", out="run", **DENSE)
    (test,) = run.records("test")
    begin = len(frame) - 24  # of the test set: a fifth of 116 steps after the history
    truth, before = (frame.to_numpy()[begin - k : len(frame) - k] for k in (0, 1))
    share = np.abs(truth - before)[truth != 0] / truth[truth != 0]
    assert test["table"]["last value"]["mape_at"][0] == pytest.approx(share.mean(), rel=1e-12)
    assert test["zeros"] == (truth == 0).sum() > 0
    args = [w for n, v in DENSE.items() for w in (f"--{n.replace('_', '-')}", str(v))]
    assert run_command(["train", "forecast", *args, "--out", "again"]) == 0
    assert f"MAPE leaves out {test['zeros']} measurements of 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("empty", "message"),
    [
        (slice(92, None), "has no value in the part to test on, steps 97 to 120 of 120 (the last "
         "value is in step 92); take steps without values out at the end, or change --test 0.2"),
        (slice(86, 96), "has no value in the part to validate on, steps 87 to 96 of 120"),
        (slice(4, 86), "has no value in the part to train on, steps 5 to 86 of 120"),
    ],
)  # fmt: skip
def test_a_part_without_values_is_reported_before_training(here, empty, message):
    frame = pd.DataFrame({"a": cycle(0, 1, 2), "b": cycle(1, 5, 0, 2)})
    frame.iloc[empty] = np.nan
    frame.to_csv("own.csv", index=False)
    with pytest.raises(InputError) as caught:
        plait.train("forecast", out="run", **DENSE)
    assert message in str(caught.value)
    assert not (here / "run").exists()


def test_a_baseline_without_error_has_a_verdict(capsys):
    frame = pd.DataFrame({"a": cycle(0, 1), "b": cycle(1, 0)})
    frame.iloc[80:] = [1.0, 0.0]
    frame.to_csv("own.csv", index=False)
    args = [w for n, v in DENSE.items() for w in (f"--{n.replace('_', '-')}", str(v))]
    assert run_command(["train", "forecast", *args, "--out", "run"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"without a network, 'last value', 0: it wins by [\d.e-]+: take it", out)


def test_times_are_written_back_by_their_own_clock(capsys):
    frame = pd.read_csv("speeds.csv", parse_dates=["time"])
    frame["time"] = [f"{t}+09:00" for t in frame["time"]]
    frame.to_csv("tokyo.csv", index=False)
    options = {**OWN, "data": "tokyo.csv", "calendar": "day"}
    run = plait.train("forecast", out="run", **options)
    table = pd.read_csv(plait.predict(run))
    assert table["time"][0] == "2024-03-09 08:00:00+09:00"
    naive = plait.train("forecast", out="naive", **{**options, "data": "speeds.csv"})
    same = pd.read_csv(plait.predict(naive))["forecast"]
    np.testing.assert_array_equal(table["forecast"], same)
    recent = frame.iloc[-24:].assign(time=lambda f: pd.to_datetime(f["time"]).dt.tz_convert("UTC"))
    recent.to_csv("recent.csv", index=False)
    assert pd.read_csv(plait.predict(run, "recent.csv", out="again.csv")).equals(table)
    with pytest.raises(InputError, match=r"speeds.csv has times with none as their offset"):
        plait.predict(run, "speeds.csv", out="third.csv")


def test_a_run_that_knew_no_clock_goes_on_in_utc():
    """Version 0.1.0 read times with an offset in UTC, and wrote them so."""
    frame = pd.read_csv("speeds.csv", parse_dates=["time"])
    frame["time"] = [f"{t}+09:00" for t in frame["time"]]
    frame.to_csv("tokyo.csv", index=False)
    options = {**OWN, "data": "tokyo.csv", "calendar": "day"}
    task = ForecastTask(ForecastConfig(**options), torch.device("cpu"), known={"sha256": ""})
    assert task.facts()["clock"] is None
    assert str(task.data.series.times[0]) == "2024-02-29 15:00:00"
    other = ForecastTask(ForecastConfig(**options), torch.device("cpu"))
    assert other.facts()["clock"] == "+09:00"
    assert other.facts()["sha256"] == task.facts()["sha256"]


def test_rows_that_are_missing_and_values_that_mean_missing(capsys):
    frame = pd.read_csv("speeds.csv").drop(index=[20, 21, 150]).fillna(-9999)
    frame.to_csv("gaps.csv", index=False)
    args = [
        "train",
        "forecast",
        "--data",
        "gaps.csv",
        "--graph",
        "roads.csv",
        "--steps",
        "2",
        *FLAGS,
    ]
    assert run_command([*args, "--out", "run"]) == 2
    assert "gaps.csv, line 22: 2024-03-01 20:00 is missing before" in capsys.readouterr().err
    more = ["--missing-rows", "empty", "--missing", "-9999", "--out", "run"]
    assert run_command([*args, *more]) == 0
    assert "3 steps without a row, read as missing" in capsys.readouterr().out
    series = read_data(
        ForecastConfig.from_dict(plait.training.run.Run.open(Path("run")).config)
    ).series
    whole = pd.read_csv("speeds.csv").drop(columns="time").to_numpy()
    whole[[20, 21, 150]] = np.nan
    np.testing.assert_array_equal(series.values, whole)


def test_a_season_longer_than_the_training_set_is_refused_before_training(tmp_path):
    with pytest.raises(InputError, match=r"^--season 999999999999 is longer than the \d+ steps of"):
        plait.train("forecast", data="waves", season=999999999999, steps=1, out=tmp_path / "run")


def test_a_page_forecasts_after_the_end_what_predict_does():
    run = plait.train("forecast", **OWN, out="run", coverage=0.8)
    page, reason = overview.page(run)
    assert page is not None, reason
    place = page.controls[1]
    assert place.choices[-1] == "2024-03-09 08:00, to come"
    assert place.default == len(place.choices) - 1  # the last one with true values
    table = plait.api.predictions(run)
    answer = page.answer(
        **page.read({"place": place.most, "nodes": ["n2"], "baseline": "last value"})
    )
    blocks = {block["to"]: block for block in answer}
    chart, own = blocks["node n2"], table[table["id"] == "n2"]
    assert chart["x_names"][-3:] == own["time"].map(time_text).tolist()
    lines = {line["name"]: line["values"] for line in chart["lines"]}
    assert set(lines) == {"history", "forecast", "last value"}
    assert lines["forecast"][-3:] == pytest.approx(own["forecast"].tolist(), rel=1e-6)
    assert chart["band"]["low"][-3:] == pytest.approx(own["low"].tolist(), rel=1e-6)
    assert len(set(lines["last value"][-3:])) == 1
    assert "error" not in blocks
    tested = {block["to"]: block for block in page.answer(**page.read({}))}
    assert "true values" in [line["name"] for line in tested["node n1"]["lines"]]
    assert "Mean absolute error" in tested["error"]["text"]
    assert place.choices[0] == first_of_the_test_part(run)


def first_of_the_test_part(run) -> str:
    """The time of the first step of the test set."""
    config = plait.api.config_of(run)
    splits = read_data(config).splits
    return time_text(read_data(config).series.times[splits.test])
