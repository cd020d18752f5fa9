"""`plait export`: trained runs as files that ONNX Runtime and torch run without Plait."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import plait
from plait import GRU, Graph, InputError, Recurrent
from plait.cli import run as command

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def opened(path: Path) -> tuple[Any, dict[str, Any]]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    return session, {name: json.loads(value) for name, value in facts.items()}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    (folder / "book.txt").write_text("The people of the United States, in order. " * 20, "utf-8")
    run = plait.train(
        "text", data=str(folder / "book.txt"), out=folder / "run", hidden_size=8, layers=2, steps=3,
        length=20, batch_size=4,
    )  # fmt: skip
    return run.path


def test_a_text_run_steps_in_onnx_runtime_to_the_same_text(
    text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["export", str(text), "--step"]) == 0
    said = capsys.readouterr().out
    path = text / "model-step.onnx"
    assert said.startswith(f"saved in {path}; differs from the model's own output by ")
    session, facts = opened(path)
    assert (facts["task"], facts["unit"]) == ("text", "characters")
    assert facts["options"]["hidden_size"] == 8
    symbols = facts["vocabulary"]
    state = {
        name: np.zeros((depth, 1, width), np.float32)
        for name, (depth, width) in facts["state_shapes"].items()
    }
    draws, written = np.random.Generator(np.random.Philox(key=[5, 0])), "The "
    for k in range(63):
        given = {"symbols": np.array([symbols.index(written[k])]), **state}
        logits, *new = session.run(None, given)
        state = dict(zip(state, new, strict=True))
        if k + 1 == len(written):
            p = np.exp(logits[0].astype(float) - logits.max())
            written += symbols[int((p.cumsum() / p.sum() <= draws.random()).sum())]
    assert written == plait.load(text).generate("The ", 60, seed=5)


@pytest.mark.slow
def test_a_text_run_is_a_program_of_torch_on_whole_sequences(text: Path, tmp_path: Path) -> None:
    path = plait.export(text, tmp_path / "model.pt2", format="torch")
    extra = {"metadata.json": ""}
    program = torch.export.load(path, extra_files=extra).module()
    facts = json.loads(extra["metadata.json"])
    assert facts["vocabulary"] == list(plait.load(text).vocabulary.symbols)
    numbers = torch.arange(14).view(7, 2) % len(facts["vocabulary"])
    zeros = torch.zeros(2, 2, 8)
    with torch.no_grad():
        logits, h, _ = program(numbers, zeros, zeros)
        ours, (our_h, _) = plait.load(text)(numbers)
    torch.testing.assert_close((logits, h), (ours, our_h), rtol=0, atol=1e-6)


SMALL: dict[str, Any] = {"hidden_size": 4, "steps": 2, "history": 4, "horizon": 3, "batch_size": 4}


def table(folder: Path) -> str:
    hours = pd.date_range("2024-01-01", periods=200, freq="h")
    waves = np.sin(np.arange(200)[:, None] / 24 * 2 * np.pi + np.arange(3)) + 40
    frame = pd.DataFrame(waves, columns=["a", "b", "c"]).assign(time=hours)
    frame.loc[[5, 30, 198], "b"] = np.nan
    frame.to_csv(folder / "waves.csv", index=False)
    (folder / "edges.csv").write_text("source,target\na,b\nb,c\n", "utf-8")
    return str(folder / "waves.csv")


def test_a_forecast_run_forecasts_in_onnx_runtime_what_predict_does(tmp_path: Path) -> None:
    data = table(tmp_path)
    run = plait.train(
        "forecast", data=data, graph=str(tmp_path / "edges.csv"), operator="gcn", cell="rnn",
        time="time", coverage=0.8, out=tmp_path / "run", **SMALL,
    )  # fmt: skip
    session, facts = opened(plait.export(run))
    whole = pd.read_csv(data)[facts["ids"]].to_numpy()
    values, T = whole[-4:, None], len(whole)  # [P, B, N]
    given = {"values": values, "before": whole[T - 24 : T - 21, None], "season_place": [T - 4]}
    forecast, low, high = session.run(None, {k: np.array(v) for k, v in given.items()})
    ours = plait.api.predictions(run)
    for name, found in (("forecast", forecast), ("low", low), ("high", high)):
        expected = ours[name].to_numpy().reshape(3, 3)
        np.testing.assert_allclose(found[:, 0], expected, rtol=0, atol=1e-5)
    assert facts["graph"]["edge_index"] == run_graph(run)
    assert len(facts["mean"]) == len(facts["scale"]) == 3


def run_graph(run: Any) -> list[list[int]]:
    return plait.load(run).graph.edge_index.tolist()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"calendar": "week", "seasonal": True, "season": 24, "quantiles": "0.1,0.5,0.9"},
        {"decoder": "recurrent", "node_embedding": 2, "skip": "last"},
    ],
)
def test_a_forecast_run_streams_in_onnx_runtime_as_its_step_does(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    data = table(tmp_path)
    given = {**SMALL, **options}
    run = plait.train(
        "forecast", data=data, graph=str(tmp_path / "edges.csv"), operator="gcn", time="time",
        out=tmp_path / "run", **given,
    )  # fmt: skip
    session, facts = opened(plait.export(run, step=True))
    model, state = plait.load(run), None
    frame = pd.read_csv(data, parse_dates=["time"]).tail(6)
    window = np.full((4, 1, 3), np.nan, np.float32)
    states = {
        name: np.zeros((depth, 1, *rest), np.float32)
        for name, (depth, *rest) in facts["state_shapes"].items()
    }
    series = pd.read_csv(data)[facts["ids"]].to_numpy()
    begin, T = len(series) - 6, len(series)
    for t, (_, row) in zip(range(begin, T), frame.iterrows(), strict=True):
        values = row[facts["ids"]].to_numpy(float)
        ours, state = model.step(values, state, row["time"])
        more: dict[str, Any] = {}
        if "calendar" in options:
            times = pd.date_range(row["time"], periods=4, freq="h")
            turn = 2 * np.pi * times.hour / 24
            days = np.eye(7)[times.day_of_week]
            calendar = np.column_stack([np.sin(turn), np.cos(turn), days])[:, None]
            more["calendar"] = calendar.astype(np.float32)
            since = row["time"] - pd.Timestamp(facts["season_start"])
            more["place"] = np.array([since // pd.Timedelta("1h")])
        before = np.full((3, 1, 3), np.nan)  # a season before: the stream began later
        more |= {"before": before, "season_place": np.array([t])}
        given = {"values": values[None], "window": window, **states, **more}
        found = dict(
            zip([o.name for o in session.get_outputs()], session.run(None, given), strict=True)
        )
        window = found["next_window"]
        states = {name: found[f"next_{name}"] for name in states}
        np.testing.assert_allclose(found["forecast"][:, 0], ours, rtol=0, atol=1e-4)


def test_a_nodes_run_labels_in_onnx_runtime_as_predict_does(tmp_path: Path) -> None:
    run = plait.train("nodes", data="karate", steps=3, hidden_size=4, out=tmp_path / "nodes")
    session, facts = opened(plait.export(run))
    ours = plait.api.predictions(run)
    (found,) = session.run(None, {"nodes": np.arange(34)})
    assert [facts["classes"][k] for k in found.argmax(1)] == list(ours["label"])
    assert facts["ids"] == list(ours["id"])
    np.testing.assert_allclose(found.max(1), ours["probability"], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_links_run_scores_in_onnx_runtime_as_its_network_does(tmp_path: Path) -> None:
    run = plait.train("links", data="karate", steps=3, hidden_size=4, out=tmp_path / "links")
    session, facts = opened(plait.export(run, tmp_path / "links.onnx"))
    ours = plait.api.predictions(run, node="33", top=5)
    ends = [facts["ids"].index(name) for name in ours["suggestion"]]
    pairs = np.stack([np.full(5, facts["ids"].index("33")), ends])
    (found,) = session.run(["probabilities"], {"pairs": pairs})
    from plait.tasks.links.splits import connections
    from plait.tasks.links.task import LinksTask

    task = LinksTask.restore(plait.load(run), plait.api.config_of(run), run.facts)
    whole = plait.Graph(*connections(task.network.graph), len(facts["ids"])).to_undirected()
    z = task.embed(whole, task.x)
    expected = task.model.score(z, torch.from_numpy(pairs)).sigmoid()
    np.testing.assert_allclose(found, expected.detach(), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_common_neighbours_are_refused(tmp_path: Path) -> None:
    options = {"data": "karate", "steps": 2, "hidden_size": 4, "scorer": "ncn"}
    run = plait.train("links", out=tmp_path / "links", **options)
    with pytest.raises(plait.InputError, match="--scorer ncn is not exported"):
        plait.export(run, tmp_path / "links.onnx")


@pytest.mark.slow
def test_features_of_nodes_are_an_input(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    nodes = pd.DataFrame({"id": range(8), "x": rng.random(8), "y": rng.random(8)})
    nodes.assign(kind=["a", "b"] * 4).to_csv(tmp_path / "nodes.csv", index=False)
    (tmp_path / "edges.csv").write_text(
        "source,target\n" + "".join(f"{k},{(k + 1) % 8}\n" for k in range(8)), "utf-8"
    )
    run = plait.train(
        "nodes", edges=str(tmp_path / "edges.csv"), nodes=str(tmp_path / "nodes.csv"), label="kind",
        steps=2, hidden_size=4, operator="gcn", smooth=False, out=tmp_path / "run",
    )  # fmt: skip
    path = plait.export(run, tmp_path / "nodes.pt2", format="torch")
    from plait.tasks.nodes.task import NodesTask

    network = NodesTask.restore(plait.load(run), plait.api.config_of(run), run.facts).network
    program = torch.export.load(path).module()
    found = program(network.features, torch.tensor([7, 0]))
    ours = plait.api.predictions(run)["probability"].to_numpy()
    np.testing.assert_allclose(found.detach().numpy().max(1), ours[[7, 0]], rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def karate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("karate") / "run"
    return plait.train("nodes", data="karate", steps=1, hidden_size=4, out=folder).path


def test_mistakes_are_one_line(
    karate: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "there.onnx"
    there.write_text("mine", "utf-8")
    for words, message in (
        ([str(karate), "--out", str(there)], f"{there} exists already; give another --out"),
        (
            [str(karate), "--out", f"{tmp_path}/no/x.onnx"],
            "is no folder, so x.onnx cannot be",
        ),
        ([str(karate), "--step"], "a nodes run has no steps over time; leave --step out"),
        (
            [str(karate), "--out", f"{tmp_path}/x.pt2"],
            "x.pt2 is named as a file of torch, and the format is onnx; name it x.onnx, or give "
            "--format torch",
        ),
        ([str(tmp_path / "none")], "is not a run folder"),
    ):
        assert command(["export", *words]) == 2
        said = capsys.readouterr()
        assert message in said.err
        assert said.err.count("\n") == 1
    assert there.read_text("utf-8") == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["there.onnx"]


def test_other_tasks_and_arguments_are_refused(tmp_path: Path) -> None:
    memory = plait.train("memory", steps=1, hidden_size=4, out=tmp_path / "memory")
    with pytest.raises(InputError, match="memory runs cannot be exported, those of text, nodes, "):
        plait.export(memory)
    layer = Recurrent(GRU(), 3, 4)
    with pytest.raises(InputError, match="give out=, the file to write, such as layer"):
        plait.export(layer)
    with pytest.raises(InputError, match="format must be onnx or torch, not 'tflite'"):
        plait.export(layer, tmp_path / "x", format="tflite")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="a run has its own graph"):
        plait.export(memory, graph=Graph([[0], [1]]))


def test_without_onnx_the_message_names_the_extra(
    karate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(InputError, match=r"pip install 'plait\[export\]'; or give --format torch"):
        plait.export(karate, tmp_path / "x.onnx")


def test_a_file_that_computes_something_else_is_not_written(
    karate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plait.export_formats.form.TOLERANCE", -1.0)
    with pytest.raises(InputError, match=r"differs from the model by .*; nothing is written"):
        plait.export(karate, tmp_path / "x.pt2", format="torch")
    assert not list(tmp_path.iterdir())
