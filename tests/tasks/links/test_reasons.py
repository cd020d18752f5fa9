"""Why two nodes should be joined: every change is what the whole graph without it gives."""

from itertools import pairwise

import networkx
import pandas as pd
import pytest
import torch

import plait
from plait.api import predictions
from plait.cli import run as run_command
from plait.nn.graph import Graph
from plait.tasks.links.config import LinksConfig
from plait.tasks.links.judge import Judge
from plait.tasks.links.reasons import (
    MEASURED,
    explain_link,
    paths,
    shared_features,
    without_edges,
    without_feature,
)
from plait.tasks.links.splits import connections
from plait.tasks.links.task import LinksTask

TINY = {"hidden_size": 8, "embedding_size": 8, "steps": 8, "threads": 1, "device": "cpu"}
CLUB = networkx.karate_club_graph()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return plait.train("links", out=tmp_path_factory.mktemp("links") / "run", **TINY)


@pytest.fixture(scope="module")
def task(run) -> LinksTask:
    return LinksTask.restore(plait.load(run), LinksConfig.from_dict(run.config), run.facts)


@pytest.fixture(scope="module")
def judge(task) -> Judge:
    with torch.no_grad():
        return Judge(task, Graph(*connections(task.network.graph), 34).to_undirected())


@pytest.mark.parametrize("pair", [(0, 33), (0, 1), (16, 24)])
def test_paths_are_all_of_two_and_three_edges(judge, pair):
    u, v = pair
    found = paths(judge.graph, u, v)
    expected = {tuple(p[1:-1]) for p in networkx.all_simple_paths(CLUB, u, v, 3) if len(p) > 2}
    assert set(found) == expected
    assert len(found) == len(expected)


@torch.no_grad()
def test_a_path_s_change_is_that_of_the_graph_without_its_edges(task, judge):
    table = explain_link(task, judge, 16, 10, 100)
    pair = torch.tensor([[16], [10]])
    before = judge.logits(pair).sigmoid().item()
    assert set(table["score"]) == {before}
    every = []
    for row in table[table["reason"] == "path"].itertuples():
        nodes = [16, *map(int, str(row.through).split(" – ")), 10]
        edges = list(pairwise(nodes))
        assert row.edges == len(edges)
        every += edges
        other = CLUB.copy()
        other.remove_edges_from(edges)
        graph = Graph.from_networkx(other)
        after = Judge(task, graph).logits(pair).sigmoid().item()
        assert row.change == pytest.approx(after - before, abs=1e-6)
    other = CLUB.copy()
    other.remove_edges_from(every)
    after = Judge(task, Graph.from_networkx(other)).logits(pair).sigmoid().item()
    together = table[table["reason"] == "all paths"]
    assert together["change"].tolist() == [pytest.approx(after - before, abs=1e-6)]


@torch.no_grad()
def test_an_edge_is_explained_as_if_it_were_not_there(task, judge):
    table = explain_link(task, judge, 0, 1, 3)
    gone = judge.over(without_edges(judge.graph, [(1, 0)]))
    assert gone.graph.num_edges == judge.graph.num_edges - 2
    score = gone.logits(torch.tensor([[0], [1]])).sigmoid().item()
    assert set(table["score"]) == {score}
    assert table["reason"].tolist() == ["all paths", "path", "path", "path"]
    assert table["through"][0] == f"{MEASURED} paths"


@pytest.mark.parametrize("sparse", [False, True])
def test_a_feature_of_both_is_taken_from_both(sparse):
    x = torch.tensor([[1.0, 2.0, 0.0, 3.0], [1.0, -2.0, 5.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    given = x.to_sparse() if sparse else x
    assert shared_features(given, 0, 1) == [1, 0]
    assert shared_features(None, 0, 1) == []
    found = without_feature(given, (0, 1), 1).to_dense()
    right = x.clone()
    right[:2, 1] = 0
    assert torch.equal(found, right)


def test_features_are_reasons_too(tmp_path):
    edges = [(u, v) for u in range(12) for v in range(u) if u % 3 == v % 3 and u + v != 15]
    (tmp_path / "edges.csv").write_text(
        "source,target\n" + "".join(f"p{u},p{v}\n" for u, v in edges)
    )
    (tmp_path / "nodes.csv").write_text(
        "id,town,age\n" + "".join(f"p{u},{'abc'[u % 3]},{20 + u}\n" for u in range(12))
    )
    files = {"edges": str(tmp_path / "edges.csv"), "nodes": str(tmp_path / "nodes.csv")}
    run = plait.train("links", out=tmp_path / "run", **files, **TINY)
    table = predictions(run, node="p6", other="p9", why=True, top=30)
    assert set(table["reason"]) == {"all paths", "path", "feature"}
    features = set(table["through"][table["reason"] == "feature"])
    assert features == {"age", "town = a"}
    assert (set(table["node"]), set(table["suggestion"])) == ({"p6"}, {"p9"})
    assert table["score"].between(0, 1).all()


def test_the_table_is_printed_or_kept_with_a_picture(run, tmp_path, capsys):
    best = predictions(run, node="16", top=1)["suggestion"][0]
    table = predictions(run, node="16", why=True, top=4)
    assert set(table["suggestion"]) == {best}
    words = ["predict", str(run.path), "--for", "16", "--why", "--top", "4"]
    assert run_command(words) == 0
    out = capsys.readouterr().out.splitlines()
    assert len(out) == len(table) + 1
    kept = plait.predict(run, node="16", why=True, top=4, out=tmp_path / "why.csv")
    read = pd.read_csv(kept, dtype={"node": str, "suggestion": str, "through": str})
    pd.testing.assert_frame_equal(read, table, check_dtype=False)
    assert (tmp_path / "why.png").read_bytes()[:4] == b"\x89PNG"


def test_one_pair_is_scored(run):
    table = predictions(run, node="16", other="24")
    every = predictions(run, node="16", top=100)
    row = every[every["suggestion"] == "24"].reset_index(drop=True)
    pd.testing.assert_frame_equal(table, row, rtol=1e-6)
    joined = predictions(run, node="0", other="1")  # as if they were not
    assert joined["suggestion"].tolist() == ["1"]
    because = predictions(run, node="0", other="1", why=True)
    assert because["score"].tolist() == pytest.approx([joined["score"][0]] * len(because))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--why"], "--why is about one node; name it with --for"),
        (["--with", "3"], "--with is about one node; name it with --for"),
        (["--for", "3", "--with", "3"], "--for and --with are the same node, '3'; give two"),
        (
            ["--for", "16", "--with", "24", "--why"],
            "there is nothing to take away between '16' and '24': no path of up to three edges",
        ),
        (["--for", "3", "--with", "x"], "there is no node 'x' in karate_club_graph() of networkx"),
    ],
)
def test_bad_input_is_one_line(run, capsys, words, message):
    assert run_command(["predict", str(run.path), *words]) == 2
    out, errors = capsys.readouterr()
    assert (out, errors.count("\n")) == ("", 1)
    assert errors.startswith(f"plait: {message}")
