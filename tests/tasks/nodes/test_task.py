"""The nodes task from the command line and from Python, on small graphs of its own."""

import csv
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import plait
from plait.api import predictions
from plait.cli import run as run_command
from plait.errors import InputError
from plait.tasks.nodes.config import NodesConfig
from plait.tasks.nodes.task import NodesTask
from plait.training.ablation import train_alone
from plait.training.run import Run

CPU = torch.device("cpu")
OPERATORS = ("gcn", "attention", "chebyshev", "diffusion", "dense")


@pytest.fixture
def drawn() -> None:
    """Ask for this to have pictures drawn."""


@pytest.fixture(autouse=True)
def quick(request, monkeypatch):
    """No waiting for the disk, and no pictures unless they are asked for."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(NodesTask, "draw", lambda *_: None)


@pytest.fixture
def tables(tmp_path) -> dict[str, str]:
    """Three groups of twelve, mostly joined within, some labels unknown; as options."""
    rng = np.random.default_rng(0)
    edges = ["source,target"]
    nodes = ["name,noise,colour,team"]
    for a in range(36):
        team = "" if a % 12 == 11 else "abc"[a // 12]
        x = rng.normal() + 1.2 * (a // 12 - 1)
        nodes.append(f"n{a},{x:.3f},{'red' if rng.random() < 0.5 else 'blue'},{team}")
        for b in range(a):
            if rng.random() < (0.5 if a // 12 == b // 12 else 0.01):
                edges.append(f"n{a},n{b}")
    (tmp_path / "edges.csv").write_text("\n".join(edges) + "\n")
    (tmp_path / "nodes.csv").write_text("\n".join(nodes) + "\n")
    paths = {name: str(tmp_path / f"{name}.csv") for name in ("edges", "nodes")}
    return {**paths, "label": "team", "threads": "1"}


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def words(options) -> list[str]:
    return [w for k, v in options.items() for w in ("--" + k.replace("_", "-"), str(v))]


def task(**options) -> NodesTask:
    return NodesTask(NodesConfig(**{"data": "karate", "threads": 1, **options}), CPU)


@pytest.mark.usefixtures("drawn")
def test_train_predict_score_inspect_resume(tables, tmp_path, capsys):
    run = str(tmp_path / "run")
    assert run_command(["train", "nodes", *words(tables), "--out", run, "--hidden-size", "8"]) == 0
    out = capsys.readouterr().out
    assert "36 nodes, " in out
    assert "3 features, 3 classes" in out
    assert "21, 6, 6 nodes to train, validate, test on; 3 without a label" in out
    assert "; the same network without the graph: " in out
    assert "; label propagation: " in out
    assert "; the most frequent class: 33.3%" in out
    (test,) = Run.open(Path(run)).records("test")
    assert test["accuracy"] > max(0.8, test["dense_accuracy"])
    assert test["prior"] == pytest.approx(1 / 3)
    for picture in ("curves.png", "graph.png"):
        assert (tmp_path / "run" / picture).stat().st_size > 10_000

    assert run_command(["predict", run]) == 0
    written = tmp_path / "run" / "predictions.csv"
    assert capsys.readouterr().out == f"saved in {written}\n"
    rows = rows_of(written)
    assert [r["id"] for r in rows] == [f"n{a}" for a in range(36)]
    assert [rows[a]["label"] for a in (11, 23, 35)] == ["a", "b", "c"]  # the unknown labels
    model = plait.load(run)
    network = task(data="", **{k: v for k, v in tables.items() if k != "threads"}).network
    p = model(network.features, network.graph).softmax(-1)
    restored = NodesTask.restore(model, NodesConfig.from_dict(Run.open(Path(run)).config),
                                 Run.open(Path(run)).facts)  # fmt: skip
    weights = restored.mixture()
    candidates = restored._candidates(p.detach().double())
    powers = [candidates[name].clamp(min=1e-6) ** w for name, w in weights.items()]
    product = torch.stack(powers).prod(0)
    expected = (product / product.sum(-1, keepdim=True)).max(-1).values.tolist()
    assert [float(r["probability"]) for r in rows] == pytest.approx(expected, abs=1e-6)
    assert run_command(["predict", run]) == 2
    assert capsys.readouterr().err == f"plait: {written} exists already; give another --out\n"

    scores = plait.score(run)
    assert scores == {k: test[k] for k in scores}
    assert run_command(["inspect", run]) == 0
    assert "gcn 2 × 8" in (out := capsys.readouterr().out)
    assert "layer 1: product first, because 3 outputs are fewer than 8 inputs" in out
    assert "no gradient flow: nodes runs have no sequences" in out
    picture = Path(run, "graph.png").read_bytes()
    assert run_command(["resume", run]) == 0
    assert " is finished" in capsys.readouterr().out
    assert Path(run, "graph.png").read_bytes() == picture  # of the best weights, as before
    assert run_command(["generate", run]) == 2
    assert "was trained on 'nodes' and writes no text" in capsys.readouterr().err


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_operator_learns_what_is_within_its_reach(tables, operator):
    config = NodesConfig(
        **{**tables, "threads": 1}, operator=operator, hidden_size=16, dropout=0.2, steps=100
    )
    accuracy = train_alone(NodesTask, config, CPU)["accuracy"]
    assert accuracy < 0.8 if operator == "dense" else accuracy > 0.8


def test_the_loss_is_that_of_the_training_nodes_and_the_penalty():
    ours = task(dropout=0.0, penalty=0.1)
    ours.model.train()
    loss, scores, carry = ours.loss(ours.model, ours.batch(1), ())
    logits = ours.model(None, ours.graph)
    labelled = F.cross_entropy(logits[[0, 33]], torch.tensor([0, 1]))
    own, first = ours.model.own, ours.model.layers[0].weights["weight"]
    penalty = 0.05 * (own.square().sum() + first.square().sum())
    torch.testing.assert_close(loss, labelled + penalty)
    assert scores["accuracy"] == (logits[[0, 33]].argmax(1) == torch.tensor([0, 1])).float().mean()
    assert carry == ()


def test_labels_to_test_on_are_never_looked_at(tables, monkeypatch):
    """Other labels of the test nodes change no weight; only the score."""
    config = NodesConfig(**{**tables, "threads": 1}, hidden_size=4, steps=5)
    first, second = NodesTask(config, CPU), NodesTask(config, CPU)
    second.labels[second.splits.test] = (second.labels[second.splits.test] + 1) % 3
    second.model.load_state_dict(first.model.state_dict())
    for ours in (first, second):
        torch.manual_seed(1)
        ours.loss(ours.model, ours.batch(1), ())[0].backward()
        ours.model.eval()
    for p, q in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(p.grad, q.grad)
    assert first.validate() == second.validate()


def test_the_dense_network_is_an_ordinary_run_of_the_same_settings(tables, tmp_path):
    options = {**tables, "threads": 1, "hidden_size": 8, "steps": 20, "dropout": 0.3}
    run = plait.train("nodes", out=tmp_path / "gcn", **options)
    dense = plait.train("nodes", out=tmp_path / "dense", operator="dense", **options)
    (test,), (alone,) = run.records("test"), dense.records("test")
    assert test["dense_accuracy"] == alone["accuracy"]
    assert "dense_accuracy" not in alone


@pytest.mark.parametrize("operator", ["gcn", "attention"])
def test_a_resumed_run_ends_where_an_unbroken_one_does(tables, tmp_path, operator):
    options = {
        **tables, "threads": 1, "operator": operator, "hidden_size": 8, "steps": 12,
        "validate_every": 3, "coefficient_dropout": 0.4, "save_every": 0,
    }  # fmt: skip
    run = plait.train("nodes", out=tmp_path / "run", **options)
    logs = [{k: v for k, v in r.items() if k != "seconds"} for r in run.records()]
    weights = plait.load(run).state_dict()
    (run.path / "checkpoint" / "step-00000012.safetensors").unlink()
    run.truncate_log(11)
    plait.resume(run)
    assert [{k: v for k, v in r.items() if k != "seconds"} for r in run.records()] == logs
    again = plait.load(run).state_dict()
    assert all(torch.equal(again[k], w) for k, w in weights.items())


def test_a_run_stopped_while_its_baseline_is_trained_is_only_tested(tables, tmp_path, monkeypatch):
    """Ctrl-C in the network without the graph leaves the run saved, and resume tests it."""
    whole = plait.train("nodes", out=tmp_path / "a", **{**tables, "threads": 1}, steps=5)
    batch = NodesTask.batch

    def stop(self, step):
        if self.config.operator == "dense" and step == 2:
            signal.raise_signal(signal.SIGINT)
        return batch(self, step)

    monkeypatch.setattr(NodesTask, "batch", stop)
    with pytest.raises(
        KeyboardInterrupt, match=r"before the test was done, saved in .*; to go on: plait resume"
    ):
        plait.train("nodes", out=tmp_path / "b", **{**tables, "threads": 1}, steps=5)
    monkeypatch.undo()
    run = plait.resume(tmp_path / "b")
    assert run.records("test") == whole.records("test")


def test_karate_without_validation_nodes(tmp_path, capsys):
    assert run_command(["train", "nodes", "--out", str(tmp_path / "run"), "--threads", "1"]) == 0
    assert "validation: none; the weights that do best on the training" in capsys.readouterr().out
    (test,) = Run.open(tmp_path / "run").records("test")
    assert test["accuracy"] >= 30 / 32
    assert "the model does not beat this baseline" in task().interpret(
        {**test, "accuracy": test["spread_accuracy"]}
    )


def test_weights_begin_another_split(tables, tmp_path):
    first = plait.train("nodes", out=tmp_path / "a", **{**tables, "threads": 1}, steps=3,
                        hidden_size=8)  # fmt: skip
    second = plait.train("nodes", out=tmp_path / "b", from_run=first, **{**tables, "threads": 1},
                         steps=1, lr=0.0, seed=1)  # fmt: skip
    ours, theirs = plait.load(second).state_dict(), plait.load(first).state_dict()
    assert all(ours[k].shape == w.shape for k, w in theirs.items())
    assert second.facts["began_with"] == str(first.path)
    with pytest.raises(InputError, match="other nodes, features or classes; leave --from out"):
        plait.train("nodes", out=tmp_path / "c", from_run=first, data="karate", threads=1)


def test_the_picture_of_a_larger_graph(tmp_path):
    from plait.tasks.nodes.figure import draw_network, some_of

    ours = task(data="digits", split="few")
    nodes = some_of(1797, ours.splits.test.numpy())
    assert len(set(nodes)) == 1000
    assert set(nodes) <= set(ours.splits.test.tolist())
    with torch.no_grad():
        logits = ours.model(ours.x, ours.graph)
    given = ours.network.features
    draw_network(ours.network, ours.splits, given, logits, tmp_path / "graph.png", title="digits")
    assert (tmp_path / "graph.png").stat().st_size > 50_000


def test_a_grid(tables, tmp_path, capsys):
    words_of = words({**tables, "steps": 10, "hidden_size": 4})
    grid = ["compare", "nodes", "--vary", "operator=gcn,dense", "--seeds", "2", *words_of]
    assert run_command([*grid, "--out", str(tmp_path / "grid")]) == 0
    assert "dense − gcn" in capsys.readouterr().out
    summary = rows_of(tmp_path / "grid" / "summary.csv")
    assert [row["operator"] for row in summary] == ["gcn", "dense"]
    assert all(row["test_accuracy"] for row in summary)


BAD = {
    "a missing node": ({}, "edges", "n0,nobody\n", "there is no node 'nobody' in "),
    "no such column": ({"label": "club"}, "", "", "nodes.csv has no column 'club'; its first line"),
    "no number": (
        {},
        "nodes",
        "x,inf,red,a\n",
        "line 38: the 'noise' of node 'x' is inf",
    ),
    "one class": ({"label": "same"}, "", "", "the column 'same' has only the class 'yes'; two"),
    "no labels": ({"label": "none"}, "", "", "the column 'none' has no labels; two classes"),
    "rare classes": ({"split": "few"}, "", "", "the class 'a' has 11 nodes, and --split few takes"),
    "no published parts": ({"split": "published"}, "", "", "there are no published parts of edges"),
    "two graphs": ({"data": "karate"}, "", "", "give --data or --edges, not both"),
    "heads": ({"operator": "attention", "heads": 7}, "", "", "--heads 7 must divide --hidden-size"),
    "an operator": ({"operator": "cheb"}, "", "", 'Invalid value "cheb" for --operator'),
    "a recipe": ({"recipe": "kipf"}, "", "", "no recipe 'kipf'; there are kipf2017, velickovic20"),
    "no file": ({"edges": "no.csv"}, "", "", "cannot read no.csv: No such file or directory"),
    "a dropout": (
        {"coefficient-dropout": "1"},
        "",
        "",
        "--coefficient-dropout must be less than 1",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(tables, tmp_path, capsys, case):
    options, table, line, message = BAD[case]
    nodes = Path(tables["nodes"])
    more = {"one class": ("same", "yes"), "no labels": ("none", "")}.get(case)
    if more:
        rows = zip(nodes.read_text().splitlines(), [more[0], *[more[1]] * 36], strict=True)
        nodes.write_text("\n".join(map(",".join, rows)))
    if table:
        with Path(tables[table]).open("a") as file:
            file.write(line)
    out = tmp_path / "run"
    assert run_command(["train", "nodes", *words({**tables, **options}), "--out", str(out)]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.startswith("plait: ")
    assert printed.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nodes", "nodes.csv"], "--nodes goes with --edges, a graph of your own"),
        (["--directed"], "--directed goes with --edges, a graph of your own"),
        (["--edges", "e.csv"], "--edges alone gives nothing to learn; give --nodes and --label"),
        (
            ["--edges", "e.csv", "--nodes", "n.csv"],
            "--edges alone gives nothing to learn; give --la",
        ),
        (["--data", "davis"], "the graph 'davis' has no labels; plait train links needs none"),
        (
            ["--data", "kora"],
            "no graph named 'kora'; there are karate, digits, cora, ",
        ),
    ],
)
def test_what_belongs_together(capsys, tmp_path, options, message):
    assert run_command(["train", "nodes", *options, "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.startswith(f"plait: {message}")


@pytest.mark.parametrize("operator", OPERATORS)
def test_weights_and_directions_that_an_operator_cannot_take(tables, tmp_path, capsys, operator):
    edges = Path(tables["edges"])
    rows = edges.read_text().splitlines()
    command = ["train", "nodes", *words(tables), "--steps", "1", "--operator", operator]
    signed = [f"{row},1" for row in rows[1:-1]] + [f"{rows[-1]},-1"]
    edges.write_text("\n".join(["source,target,weight", *signed]))
    refused = operator in ("gcn", "chebyshev", "diffusion")
    assert run_command([*command, "--out", str(tmp_path / "signed")]) == (2 if refused else 0)
    errors = capsys.readouterr().err
    ends = [repr(end) for end in rows[-1].split(",")]
    assert (f"edges.csv: --operator {operator} needs weights of at least 0" in errors) == refused
    assert all(end in errors for end in ends) == refused
    edges.write_text("\n".join(rows))
    refused = operator == "chebyshev"
    out = str(tmp_path / "directed")
    assert run_command([*command, "--directed", "--out", out]) == (2 if refused else 0)
    errors = capsys.readouterr().err
    assert ("needs an undirected graph, and 'n" in errors) == refused
    assert errors.count("\n") == refused


def test_a_network_that_has_changed_is_reported(tables, tmp_path, capsys):
    run = plait.train("nodes", out=tmp_path / "run", **{**tables, "threads": 1}, steps=1)
    with Path(tables["edges"]).open("a") as file:
        file.write("n0,n35\n")
    for command in ("predict", "score"):
        assert run_command([command, str(run.path)]) == 2
        assert "edges.csv is no longer what the run" in capsys.readouterr().err
    assert run_command(["resume", str(run.path)]) == 2
    assert "edges.csv is no longer what the run was trained on" in capsys.readouterr().err
    assert run_command(["score", str(run.path), "--data", "x"]) == 2
    assert "a nodes run is scored on its own data alone" in capsys.readouterr().err
    assert not (run.path / "predictions.csv").exists()


def test_only_some_tasks_predict_a_table(tmp_path, capsys):
    run = plait.train("memory", out=tmp_path / "run", hidden_size=4, steps=1, threads=1)
    assert run_command(["predict", str(run.path)]) == 2
    assert capsys.readouterr().err == "plait: memory runs predict no table\n"
    absent = str(tmp_path / "no" / "x.csv")
    nodes = plait.train("nodes", out=tmp_path / "nodes", steps=1, threads=1)
    assert run_command(["predict", str(nodes.path), "--out", absent]) == 2
    assert "is no folder, so x.csv cannot be written there" in capsys.readouterr().err


def test_the_configuration_comes_back_as_it_was(tables):
    for config in (NodesConfig(), NodesConfig(data="cora", operator="attention"),
                   NodesConfig(**{**tables, "threads": 1}, directed=True)):  # fmt: skip
        assert NodesConfig.from_dict(json.loads(json.dumps(vars(config)))) == config


def test_a_run_finds_its_tables_from_any_folder(tables, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {**tables, "edges": "edges.csv", "nodes": "nodes.csv", "threads": 1}
    run = plait.train("nodes", **given, steps=1)
    assert run.path == Path("runs/nodes-edges")
    path = run.path.resolve()
    monkeypatch.chdir("/")
    assert plait.predict(path).is_file()


def test_recipes_are_the_published_settings():
    kipf = NodesConfig.of({"data": "cora"}, "kipf2017")
    assert (kipf.hidden_size, kipf.lr, kipf.dropout, kipf.penalty, kipf.penalty_on, kipf.steps) == (
        16, 0.01, 0.5, 5e-4, "first", 200,
    )  # fmt: skip
    gat = NodesConfig.of({"data": "cora"}, "velickovic2018")
    assert (gat.operator, gat.hidden_size, gat.heads, gat.lr, gat.patience) == (
        "attention", 64, 8, 0.005, 100,
    )  # fmt: skip
    assert (gat.dropout, gat.coefficient_dropout, gat.penalty, gat.penalty_on) == (
        0.6,
        0.6,
        5e-4,
        "all",
    )
    gcn = NodesConfig.of({"data": "amazon-computers"}, "shchur2018")
    assert (gcn.hidden_size, gcn.dropout, gcn.penalty, gcn.lr, gcn.patience) == (
        64,
        0.8,
        1e-3,
        0.01,
        50,
    )
    assert gcn.validate_every == 1
    assert kipf.max_norm == gat.max_norm == gcn.max_norm == 0  # nobody clipped
    other = NodesConfig.of({"operator": "attention", "lr": 0.1}, "shchur2018")
    assert (other.dropout, other.coefficient_dropout, other.penalty, other.lr) == (
        0.6,
        0.3,
        0.01,
        0.1,
    )


def test_the_columns_of_own_tables_may_be_named_and_are_reported(tmp_path):
    edges, nodes = tmp_path / "snap.txt", tmp_path / "nodes.csv"
    edges.write_text("# from to\n" + "".join(f"n{k} n{(k + 1) % 9} 2\n" for k in range(9)))
    rows = [f"{k},n{k},{-9999 if k == 4 else k % 5},{'ab'[k % 2]}\n" for k in range(9)]
    nodes.write_text(",id,age,y\n" + "".join(rows))
    config = NodesConfig(
        edges=str(edges), nodes=str(nodes), label="y", source="1", target="2", weight="3",
        missing="-9999",
    )  # fmt: skip
    task = NodesTask(config, torch.device("cpu"))
    assert task.graph.edge_weight.unique().tolist() == [2]
    assert task.x[4].item() == 0
    assert task.summary()["columns"] == (
        "edges: source = '1', target = '2', weight = '3'; nodes: id = 'id', label = 'y' (2 "
        "classes), numbers: 'age', left out: the column without a name, which only numbers the rows"
    )
    assert task.summary()["read"] == "1 of 'age' missing, replaced by the mean"
    with pytest.raises(InputError, match="--missing goes with --edges, a graph of your own"):
        NodesConfig(missing="-1")


def test_a_table_of_mixed_columns_and_kinds_of_edges_by_one_command(tmp_path, capsys):
    """Numbers with gaps, dates, texts; two relations, a loop, ids of any kind, rare classes."""
    people = ["Ann Å", "7", "007", "d/e", *(f"p{k}" for k in range(16))]
    rows = ["id,age,since,about,kind,club"] + [
        f"{name},{'' if k == 3 else 20 + k},2020-{1 + k % 12:02}-{1 + k:02},likes maps of "
        f"{('north', 'south')[k % 2]} place{k},{'ab'[k % 2]},"
        + ("" if k == 5 else "alone" if k == 6 else ("x", "y")[k % 2])
        for k, name in enumerate(people)
    ]
    edges = ["source,target,relation", "7,7,works"] + [
        f"{a},{b},{('knows', 'works')[k % 2]}"
        for k, (a, b) in enumerate(zip(people, [*people[2:], *people[:2]], strict=True))
    ]
    (tmp_path / "nodes.csv").write_text("\n".join(rows), "utf-8")
    (tmp_path / "edges.csv").write_text("\n".join(edges), "utf-8")
    options = words({
        "edges": tmp_path / "edges.csv", "nodes": tmp_path / "nodes.csv", "label": "club",
        "operator": "rgcn", "hidden_size": 4, "steps": 20, "threads": 1, "out": tmp_path / "run",
    })  # fmt: skip
    assert run_command(["train", "nodes", *options]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "numbers: 'age', texts: 'kind' (2), times: 'since', words: 'about' (5)" in out
    assert "2 relations: knows, works" in out
    facts = Run.open(tmp_path / "run").facts
    assert [e["kind"] for e in facts["encodings"]] == ["number", "time", "words", "category"]
    assert facts["relations"] == ["knows", "works"]
    assert run_command(["predict", str(tmp_path / "run")]) == 0
    predicted = rows_of(tmp_path / "run" / "predictions.csv")
    assert [row["id"] for row in predicted] == people
    assert predicted[5]["label"] in ("alone", "x", "y")
    capsys.readouterr()
    assert run_command(["predict", str(tmp_path / "run"), "--for", "007", "--why"]) == 0
    shown = capsys.readouterr()
    assert "neighbour" in shown.out
    assert "; the reasons are those of the network alone" in " ".join(shown.err.split())
    (one,) = predictions(tmp_path / "run", node="007").to_dict("records")
    first, *_ = predictions(tmp_path / "run", node="007", why=True).to_dict("records")
    for name in ("label", "probability", "network_label"):
        assert first[name] == one[name]
    assert first["network_probability"] == pytest.approx(one["network_probability"], rel=1e-5)
    (tmp_path / "edges.csv").write_text("\n".join(edges).replace("knows", "likes"), "utf-8")
    assert run_command(["predict", str(tmp_path / "run"), "--for", "007"]) == 2
    assert "no longer what the run was trained on (sha256, relations differ)" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("operator", ["gine", "attention"])
def test_features_of_edges_by_one_command(tables, tmp_path, capsys, operator):
    edges = Path(tables["edges"])
    first, *rows = edges.read_text().splitlines()
    rows = [f"{row},{k % 7},{('road', 'rail')[k % 2]}" for k, row in enumerate(rows)]
    edges.write_text("\n".join([f"{first},km,kind", *rows]))
    options = {
        **tables, "operator": operator, "edge_features": "km,kind", "hidden_size": 8, "steps": 3,
        "out": tmp_path / "run",
    }  # fmt: skip
    assert run_command(["train", "nodes", *words(options)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "edges with 3 features" in out
    assert "features of edges: numbers: 'km', texts: 'kind' (2)" in out
    facts = Run.open(tmp_path / "run").facts
    assert (facts["edge_size"], len(facts["edge_encodings"])) == (3, 2)
    assert plait.load(tmp_path / "run").layers[0].weights["edge"].shape[1] == 3
    assert run_command(["predict", str(tmp_path / "run"), "--for", "n0", "--why"]) == 0
    assert "neighbour" in capsys.readouterr().out
    sampled = {**options, "sample": "all,all", "out": tmp_path / "sampled"}
    assert run_command(["train", "nodes", *words(sampled)]) == 0
    with pytest.raises(InputError, match="--operator gcn reads no features of edges; give --opera"):
        NodesConfig(**{**tables, "threads": 1}, edge_features="km")


def test_operators_for_kinds_of_edges_want_a_column_of_them(tables):
    with pytest.raises(InputError, match=r"has no column 'relation'; .* with --relation NAME"):
        task(data="", operator="rgcn", **{k: v for k, v in tables.items() if k != "threads"})


def test_nodes_without_features_have_degrees_and_positions_where_these_do_best(tmp_path):
    """Sides that every edge crosses: labels of neighbours are wrong, eigenvectors right."""
    random = np.random.default_rng(0)
    edges = {(int(a), 30 + int(b)) for a, b in random.integers(30, size=(150, 2))}
    table = "".join(f"{a},{b}\n" for a, b in sorted(edges))
    (tmp_path / "edges.csv").write_text("source,target\n" + table)
    nodes = "".join(f"{k},{'lr'[k // 30]}\n" for k in range(60))
    (tmp_path / "nodes.csv").write_text("id,side\n" + nodes)
    own = {"data": "", "edges": str(tmp_path / "edges.csv"), "label": "side",
           "nodes": str(tmp_path / "nodes.csv")}  # fmt: skip
    found = task(**own)
    assert found.features_as == found.facts()["features_as"] == "structure"
    assert found.baselines()["linear_accuracy"] == 1.0
    assert task(**own, operator="dense").features_as == "as-read"
    assert task(**own, features="as-read").network.features is None
    with pytest.raises(InputError, match="has features; --features structure is for graphs with"):
        task(data="digits", features="structure")
