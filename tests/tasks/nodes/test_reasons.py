"""Why a node has its label: every change is what taking it away from the whole graph gives."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

import plait
from plait.api import predictions
from plait.cli import run as run_command
from plait.nn.graph import Graph
from plait.tasks.nodes import reasons
from plait.tasks.nodes.config import NodesConfig
from plait.tasks.nodes.reasons import explain_node, surroundings
from plait.tasks.nodes.task import NodesTask

TINY = {"hidden_size": 8, "heads": 2, "steps": 10, "threads": 1, "device": "cpu"}


def made(**options) -> NodesTask:
    torch.manual_seed(0)
    task = NodesTask(NodesConfig(**{**TINY, "data": "karate", **options}), torch.device("cpu"))
    task.model.double().eval()
    return task


def with_features(task: NodesTask, sparse: bool) -> NodesTask:
    """Give the club features, and its model weights for them."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(34, 7, dtype=torch.float64, generator=generator)
    x = x * (x > 0)
    torch.manual_seed(2)
    task.model = type(task.model)(task.config, nodes=34, features=7, classes=2).double().eval()
    task.x = x.to_sparse() if sparse else x
    return task


def answer(task: NodesTask, graph: Graph, x: torch.Tensor | None, node: int) -> torch.Tensor:
    return task.model(x, graph)[node].softmax(-1)


@pytest.mark.parametrize("operator", ["gcn", "attention", "chebyshev", "diffusion"])
@pytest.mark.parametrize("node", [8, 16])
@torch.no_grad()
def test_a_neighbour_s_change_is_that_of_the_whole_graph_without_it(operator, node):
    task = made(operator=operator)
    table = explain_node(task, node, 100)
    before = answer(task, task.graph, None, node)
    label = int(before.argmax())
    np.testing.assert_allclose(table["probability"], before[label].item(), rtol=1e-6)
    assert set(table["label"]) == {task.network.classes[label]}
    for row in table.itertuples():
        source, target = task.graph.edge_index
        gone = int(row.name)
        kept = (source != gone) & (target != gone)
        other = Graph(task.graph.edge_index[:, kept], task.graph.edge_weight[kept], 34)
        after = answer(task, other, None, node)
        assert row.change == pytest.approx((after - before)[label].item(), abs=1e-6)
        assert row.label_without == task.network.classes[int(after.argmax())]
        assert row.hops == task.graph.hops(gone, node)
    field = set(task.graph.receptive_field(node, reasons.reach_of(task.model)).tolist())
    assert set(map(int, table["name"])) == field - {node}
    assert (table["change"].abs().diff().dropna() <= 0).all()


@pytest.mark.parametrize("sparse", [False, True])
@torch.no_grad()
def test_a_feature_s_change_is_that_of_a_zero_in_its_place(sparse, monkeypatch):
    monkeypatch.setattr(reasons, "ENTRIES", 300)  # a copy at a time
    task = with_features(made(), sparse)
    table = explain_node(task, 8, 100)
    x = task.x.to_dense()
    before = answer(task, task.graph, x, 8)
    label = int(before.argmax())
    features = table[table["reason"] == "feature"]
    assert {int(k) - 1 for k in features["name"]} == set(x[8].nonzero().flatten().tolist())
    for row in features.itertuples():
        other = x.clone()
        other[8, int(row.name) - 1] = 0
        after = answer(task, task.graph, other, 8)
        assert row.change == pytest.approx((after - before)[label].item(), abs=1e-6)
    assert set(table["reason"]) == {"neighbour", "feature"}
    pd.testing.assert_frame_equal(explain_node(task, 8, 3), table[:3])


def test_surroundings_are_what_is_near_whatever_the_direction():
    graph = Graph([[0, 2, 3, 4], [1, 1, 2, 3]], [1.0, 2.0, 3.0, 4.0], 6)
    around = surroundings(graph, 1, 2)
    assert around.nodes.tolist() == [1, 0, 2, 3]
    assert around.hops.tolist() == [0, 1, 1, 2]
    edges = around.nodes[around.graph.edge_index].T.tolist()
    assert sorted(zip(map(tuple, edges), around.graph.edge_weight.tolist(), strict=True)) == [
        ((0, 1), 1.0), ((2, 1), 2.0), ((3, 2), 3.0)
    ]  # fmt: skip


def test_where_nothing_can_be_taken_away_it_is_refused():
    with pytest.raises(plait.InputError, match="there is nothing to take away from '8': no neigh"):
        explain_node(made(operator="dense"), 8, 5)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return plait.train("nodes", data="karate", out=tmp_path_factory.mktemp("nodes") / "run", **TINY)


def test_the_table_is_printed_or_kept_with_a_picture(run, tmp_path, capsys):
    table = predictions(run, node="8", why=True, top=4)
    assert len(table) == 4
    words = ["predict", str(run.path), "--for", "8", "--why", "--top", "4"]
    assert run_command(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [re.findall(r"neighbour +(\d+)", line)[0] for line in lines[1:]] == list(table["name"])
    kept = plait.predict(run, node="8", why=True, top=4, out=tmp_path / "why.csv")
    read = pd.read_csv(kept, dtype={"node": str, "name": str})
    np.testing.assert_allclose(read["change"], table["change"], rtol=1e-12)
    assert (tmp_path / "why.png").read_bytes()[:4] == b"\x89PNG"
    one = predictions(run, node="8")
    assert one["id"].tolist() == ["8"]
    assert one["probability"][0] == pytest.approx(table["probability"][0], rel=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--why"], "--why is about one node; name it with --for"),
        (["--for", "99", "--why"], "there is no node '99' in karate_club_graph() of networkx; ids"),
        (["--for", "1", "--top", "0"], "--top must be at least 1, not 0"),
        (["--for", "1", "--why", "--out", "a.csv"], "a.png exists already; give another --out"),
    ],
)
def test_bad_input_is_one_line(run, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    assert run_command(["predict", str(run.path), *words]) == 2
    out, errors = capsys.readouterr()
    assert (out, errors.count("\n")) == ("", 1)
    assert errors.startswith(f"plait: {message}")
