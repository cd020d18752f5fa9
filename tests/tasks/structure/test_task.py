"""How graphs are read, what each kind of network can know, and the commands."""

import os

import networkx
import numpy as np
import pytest
import torch

import plait
from plait.cli import run as run_command
from plait.serve import overview
from plait.tasks.structure.config import StructureConfig
from plait.tasks.structure.model import Batch, StructureModel, visited
from plait.tasks.structure.problems import DRAW, Drawn, draw_neighbours, draw_order
from plait.tasks.structure.task import TEST, TRAINING, VALIDATION, StructureTask, drawn
from plait.training.streams import random_generator

CPU = torch.device("cpu")
TINY = {"nodes": 12, "hidden_size": 8, "batch_size": 4, "threads": 1}


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.mark.parametrize("way", ["bfs", "dfs"])
def test_nodes_are_visited_as_networkx_visits_them(way):
    """Breadth first by distance, all; depth first each next to one visited before it."""
    found = draw_neighbours(np.random.default_rng(0), 20, 12)
    orders = visited(found.adjacency, found.starts, way).tolist()
    for adjacency, start, order in zip(found.adjacency, found.starts, orders, strict=True):
        graph = networkx.Graph(adjacency)
        assert sorted(order) == list(range(12))
        assert order[0] == start
        if way == "bfs":
            far = networkx.single_source_shortest_path_length(graph, start)
            assert [far[n] for n in order] == sorted(far.values())
        else:
            stack = [order[0]]
            for node in order[1:]:
                while not graph.has_edge(stack[-1], node):
                    left = set(graph[stack.pop()]) - set(order[: order.index(node)])
                    assert not left  # it turns back only where nothing new is left
                stack.append(node)


def test_a_path_is_the_same_sequence_both_ways():
    found = draw_order(np.random.default_rng(0), 7, 9)
    breadth, depth = (Batch.of(found, way, CPU) for way in ("bfs", "dfs"))
    assert torch.equal(breadth.symbols, depth.symbols)
    first = torch.where(breadth.symbols > 0, breadth.symbols, 0).T
    marks = torch.stack([row[row > 0] for row in first])
    assert torch.equal((marks[:, 0] == 1).long(), breadth.answers)


@pytest.mark.parametrize("network", ["gcn", "attention", "diffusion", "dense"])
def test_the_numbers_of_nodes_do_not_matter_and_graphs_stay_apart(network):
    found = draw_neighbours(np.random.default_rng(0), 6, 12)
    order = np.random.default_rng(1).permutation(12)
    shuffled = Drawn(found.symbols[:, order], found.adjacency[:, order][:, :, order],
                     found.starts, found.answers)  # fmt: skip
    model = StructureModel(StructureConfig(network=network, hidden_size=8)).double().eval()
    expected = model(Batch.of(found, "", CPU))
    torch.testing.assert_close(model(Batch.of(shuffled, "", CPU)), expected, rtol=0, atol=1e-12)
    alone = [Drawn(*(part[k : k + 1] for part in vars(found).values())) for k in range(6)]
    one_by_one = torch.cat([model(Batch.of(a, "", CPU)) for a in alone])
    torch.testing.assert_close(one_by_one, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("problem", DRAW)
def test_without_edges_there_is_nothing_to_know(problem):
    """The same marks in every graph: a network without neighbours always answers the same."""
    found = DRAW[problem](np.random.default_rng(0), 20, 12)
    model = StructureModel(StructureConfig(network="dense")).double()
    logits = model(Batch.of(found, "", CPU))
    torch.testing.assert_close(logits, logits[:1].expand(20, 2), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("network", "apart", "solved"),
    [
        ("diffusion", 1, True),
        ("diffusion", 4, True),  # by a node between them, which reads two edges both ways
        ("diffusion", 5, False),
        ("gcn", 1, False),  # a node and the one before it weigh alike: who was first is lost
    ],
)
def test_which_order_two_layers_can_distinguish(network, apart, solved):
    """On a path, of marks so many edges apart and far from both ends."""
    symbols = np.zeros((2, 16), int)
    symbols[0, [5, 5 + apart]], symbols[1, [5 + apart, 5]] = (1, 2), (1, 2)
    path = np.eye(16, k=1, dtype=bool)[None].repeat(2, 0)
    batch = Batch.of(Drawn(symbols, path, np.zeros(2, int), np.array([1, 0])), "", CPU)

    def answers() -> bool:
        model = StructureModel(StructureConfig(network=network, layers=2, k=1)).double()
        before, after = model(batch)
        return not torch.allclose(before, after, rtol=0, atol=1e-12)

    assert any(answers() for _ in range(10)) == solved


def test_streams_never_meet():
    config = StructureConfig(**TINY)
    parts = {s: drawn(config, 1, s, 50, CPU).answers.tolist() for s in (TRAINING, VALIDATION, TEST)}
    assert len({tuple(answers) for answers in parts.values()}) == 3


@pytest.mark.parametrize(
    ("problem", "network", "least"),
    [("order", "lstm-dfs", 0.99), ("neighbours", "diffusion", 0.9)],
)
def test_a_small_network_learns_what_suits_it(problem, network, least, learn):
    config = StructureConfig(
        problem=problem, network=network, nodes=12, hidden_size=16, steps=100, lr=0.01
    )
    task = StructureTask(config, CPU)
    learn(task)
    assert task.validate()["accuracy"] > least


def test_a_run_its_scores_and_its_picture(tmp_path, capsys):
    out = tmp_path / "run"
    command = ["train", "structure", "--network", "gru-dfs", "--nodes", "12", "--steps", "2"]
    assert run_command([*command, "--hidden-size", "8", "--out", str(out)]) == 0
    assert "accuracy 0.5, loss 0.6931: either answer" in capsys.readouterr().out
    (test,) = plait.resume(out).records("test")
    assert (out / "curves.png").stat().st_size > 10_000
    assert test["prior"] == 0.5
    assert all(test[name] == value for name, value in plait.score(out).items())
    assert run_command(["score", str(out), "--data", "x"]) == 2
    assert "leave --data out" in capsys.readouterr().err


def test_a_resumed_run_ends_where_an_unbroken_one_does(tmp_path, monkeypatch):
    monkeypatch.setattr(StructureTask, "draw", lambda *_: None)
    run = plait.train("structure", out=tmp_path / "run", **TINY, steps=4, validate_every=2)
    logs = [{k: v for k, v in r.items() if k != "seconds"} for r in run.records()]
    (run.path / "checkpoint" / "step-00000004.safetensors").unlink()
    run.truncate_log(3)
    plait.resume(run)
    assert [{k: v for k, v in r.items() if k != "seconds"} for r in run.records()] == logs
    begun = plait.train("structure", out=tmp_path / "b", **TINY, steps=1, problem="order",
                        from_run=run)  # fmt: skip
    assert begun.facts["began_with"] == str(run.path)


def test_a_path_read_breadth_first_and_depth_first_trains_to_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(StructureTask, "draw", lambda *_: None)
    grid = plait.compare(
        "structure", {"network": ["lstm-bfs", "lstm-dfs"]}, seeds=2, out=tmp_path / "grid",
        problem="order", **TINY | {"threads": 1}, steps=3,
    )  # fmt: skip
    (row,) = (d for d in grid.differences if d["measure"] == "test_accuracy")
    assert row["difference"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nodes", "11"], "plait: --nodes must be at least 12, not 11"),
        (["--network", "lstm"], "plait: --network must be gcn or "),
        (["--network", "attention", "--heads", "5"], "plait: --heads 5 must divide"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, arguments, message):
    out = tmp_path / "run"
    assert run_command(["train", "structure", "--out", str(out), *arguments]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(message)
    assert printed.count("\n") == 1
    assert not out.exists()


def test_batches_are_found_again_by_number():
    config = StructureConfig(**TINY)
    one, two, again = (drawn(config, k, TRAINING, 50, CPU) for k in (1, 2, 1))
    assert torch.equal(one.symbols, again.symbols)
    assert not torch.equal(one.symbols, two.symbols)
    first = DRAW["neighbours"](random_generator(config.seed, 1, TRAINING), 50, 12)
    assert one.symbols.tolist() == first.symbols.reshape(-1).tolist()


@pytest.mark.parametrize("problem", ["neighbours", "order"])
def test_a_page_shows_the_graph_and_whether_the_answer_is_right(tmp_path, problem):
    run = plait.train("structure", problem=problem, steps=1, out=tmp_path / "run", **TINY)
    page, reason = overview.page(run)
    assert page is not None, reason
    shown, answer = page.answer(**page.read({"seed": 4, "number": 3}))
    marks = {mark: node for node, mark in enumerate(shown["groups"]) if mark >= 0}
    if problem == "order":
        path = networkx.Graph([(u, v) for u, v, _ in shown["edges"]])
        start = shown["names"].index("start")
        far = networkx.single_source_shortest_path_length(path, start)
        truth = far[marks[0]] < far[marks[1]]
    else:
        assert len(shown["marked"]) == 4
        truth = any({u, v} <= set(shown["marked"]) for u, v, _ in shown["edges"])
    assert answer["text"].startswith(f"The answer is {'yes' if truth else 'no'}; the model says")
