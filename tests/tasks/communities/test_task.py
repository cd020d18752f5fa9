"""The communities task: the loss, that it finds groups, that labels are not learnt, messages."""

import os

import numpy as np
import pandas as pd
import pytest
import torch

import plait
from plait.api import predictions
from plait.cli import run as run_command
from plait.errors import InputError
from plait.serve import overview
from plait.tasks.communities.config import CommunitiesConfig
from plait.tasks.communities.task import TRAINING, VALIDATION, CommunitiesTask
from plait.training.checkpoint import load_tensors

TINY = {"hidden_size": 8, "heads": 2, "steps": 6, "threads": 1, "device": "cpu"}


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


def made(**options) -> CommunitiesTask:
    torch.manual_seed(0)
    return CommunitiesTask(CommunitiesConfig(**TINY | options), torch.device("cpu"))


@pytest.mark.parametrize("operator", ["gcn", "attention"])
def test_the_loss_is_that_of_the_paper(operator):
    task = made(operator=operator)
    batch = task.batch(3)
    loss, scores, _ = task.loss(task.model, batch, ())
    model, graph = task.model.double(), task.graph
    x = model.encoder.own
    h, other = (model.activation(model.encoder(rows, graph)) for rows in (x, x[batch.order]))
    s = 1 / (1 + (-h.mean(0)).exp())
    p, q = (1 / (1 + (-(part @ model.weight @ s)).exp()) for part in (h, other))
    expected = -(p.log().sum() + (1 - q).log().sum()) / 68
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    right = ((p > 0.5).sum() + (q <= 0.5).sum()) / 68
    assert scores["accuracy"].item() == pytest.approx(right.item(), rel=1e-6)


def test_shuffles_are_of_the_step_and_validation_has_its_own():
    task = made()
    assert torch.equal(task.batch(2).order, task.batch(2).order)
    assert not torch.equal(task.batch(2).order, task.batch(1).order)
    assert not torch.equal(task.batch(0, TRAINING).order, task.batch(0, VALIDATION).order)
    assert sorted(task.batch(2).order.tolist()) == list(range(34))


def test_samples_of_all_neighbours_are_the_whole_graph():
    task = made(sample="all", batch_size=34, data="karate")
    whole = made(data="karate")
    whole.model = task.model
    (seeds, sample, _), order = task.batch(1)
    assert sample is not None
    place = torch.empty(34, dtype=torch.long)
    place[sample.nodes] = torch.arange(34)
    same = whole.batch(1)._replace(order=sample.nodes[order][place])
    found, _, _ = task.loss(task.model, task.batch(1), ())
    right, _, _ = whole.loss(task.model, same, ())
    assert found.item() == pytest.approx(right.item(), rel=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(task.embedding(), whole.embedding(), rtol=0, atol=1e-5)
    assert len(seeds) == 34


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    """Three groups of twelve, joined inside, with one connection between each two."""
    folder = tmp_path_factory.mktemp("groups")
    generator = np.random.default_rng(0)
    pairs = [(u, v) for u in range(36) for v in range(u) if u % 3 == v % 3]
    chosen = [pairs[k] for k in generator.choice(len(pairs), 120, replace=False)]
    lines = [f"n{u},n{v}" for u, v in [*chosen, (0, 1), (1, 2), (2, 3)]]
    (folder / "edges.csv").write_text("\n".join(["source,target", *lines]))
    rows = [f"n{u},{generator.normal():.3f},{'abc'[u % 3]}" for u in range(36)]
    (folder / "nodes.csv").write_text("\n".join(["id,age,team", *rows]))
    return folder


def test_groups_are_found(groups, tmp_path):
    run = plait.train(
        "communities", edges=str(groups / "edges.csv"), out=tmp_path / "run",
        **TINY | {"hidden_size": 32, "steps": 150},
    )  # fmt: skip
    assert run.facts["communities"] == 3  # as Louvain's method finds
    (test,) = run.records("test")
    assert test["modularity"] > 0.5
    assert test["louvain_modularity"] == pytest.approx(test["modularity"], abs=0.05)
    assert "ari" not in test
    table = predictions(run)
    assert list(table) == ["id", "community", "louvain"]
    team = table["id"].str[1:].astype(int) % 3
    assert table.groupby(team)["community"].nunique().max() == 1
    assert sorted(table["community"].unique()) == [1, 2, 3]
    assert (run.path / "communities.png").read_bytes()[:4] == b"\x89PNG"
    assert plait.score(run)["modularity"] == test["modularity"]


def test_labels_are_compared_with_and_not_learnt(groups, tmp_path):
    files = {"edges": str(groups / "edges.csv"), "nodes": str(groups / "nodes.csv")}
    named = plait.train("communities", **files, label="team", out=tmp_path / "a", **TINY)
    (test,) = named.records("test")
    assert {"ari", "nmi", "louvain_ari", "features_nmi"} <= set(test)
    assert test["louvain_ari"] > 0.9
    assert list(predictions(named)["label"][:3]) == ["a", "b", "c"]
    other = (groups / "nodes.csv").read_text().replace(",c", ",b")
    (tmp_path / "other.csv").write_text(other)
    again = plait.train(
        "communities", edges=files["edges"], nodes=str(tmp_path / "other.csv"), label="team",
        out=tmp_path / "b", **TINY,
    )  # fmt: skip
    assert again.facts["communities"] == 2
    a, b = (load_tensors(run.kept_path(6))[0] for run in (named, again))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_interpret_names_what_is_known():
    task = made()
    scores = {"modularity": 0.4, "communities": 2, "ari": 0.8, "nmi": 0.7,
              "louvain_modularity": 0.44, "louvain_communities": 4}  # fmt: skip
    assert task.interpret(scores).splitlines() == [
        "embedding: 2 communities, modularity 0.400; with the labels adjusted Rand index 0.800, "
        "mutual information 0.700",
        "Louvain: 4 communities, modularity 0.440",
    ]


def test_the_table_is_written(tmp_path):
    run = plait.train("communities", data="karate", out=tmp_path / "run", communities=3, **TINY)
    table = pd.read_csv(plait.predict(run), dtype=str)
    assert list(table) == ["id", "community", "louvain", "label"]
    assert set(table["community"]) <= {"1", "2", "3"}
    assert table["id"].tolist() == [str(k) for k in range(34)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--operator", "dense"], "--operator dense uses no graph to find communities in; give"),
        (["--label", "team"], "--label goes with --edges, a graph of your own"),
        (["--edges", "e.csv", "--label", "team"], "--label is a column of --nodes; give that tabl"),
        (["--communities", "35"], "--communities 35 is more than the 34 nodes of karate_club_gra"),
        (["--edges", "loop.csv"], "loop.csv has no edges; communities need some"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "e.csv").write_text("source,target\na,b\n")
    (tmp_path / "loop.csv").write_text("source,target\na,a\n")
    assert run_command(["train", "communities", "--out", "run", *words]) == 2
    out, errors = capsys.readouterr()
    assert (out, errors.count("\n")) == ("", 1)
    assert errors.replace(f"{tmp_path}/", "").startswith(f"plait: {message}")
    assert not (tmp_path / "run").exists()


def test_graphs_too_large_for_louvain_need_a_number(groups, monkeypatch):
    monkeypatch.setattr("plait.tasks.communities.baselines.LARGEST", 3)
    with pytest.raises(plait.InputError, match="is too large for Louvain's method, which chooses"):
        made(data="les-miserables")
    task = made(data="les-miserables", communities=4)
    assert task.louvain is None
    assert task.baselines() == {}


def test_a_page_groups_as_predict_does(tmp_path):
    run = plait.train("communities", data="karate", out=tmp_path / "run", **TINY)
    page, reason = overview.page(run)
    assert page is not None, reason
    table = predictions(run)
    for by, column in (("the embedding", "community"), ("Louvain's method", "louvain")):
        blocks = {b["to"]: b for b in page.answer(**page.read({"by": by, "node": "33"}))}
        assert blocks["graph"]["groups"] == (table[column] - 1).tolist()
        sizes = table[column].value_counts().sort_index()
        assert [row[1] for row in blocks["groups"]["rows"]] == sizes.tolist()
    blocks = {b["to"]: b for b in page.answer(**page.read({"by": "the labels"}))}
    assert [row[:2] for row in blocks["groups"]["rows"]] == [["Mr. Hi", 17], ["Officer", 17]]
    with pytest.raises(InputError, match=r"no node 'nobody' in karate.*; ids are 0, 1, 2, …"):
        list(page.answer(**page.read({"node": "nobody"})))
