"""Which network suits a graph, by short trainings, where the time of a training is given."""

import pytest
import torch

import plait
from plait.tasks.nodes import search
from plait.tasks.nodes.config import NodesConfig
from plait.tasks.nodes.search import best_options
from plait.tasks.nodes.task import NodesTask
from plait.training.budget import Pace

SMALL = {
    "data": "karate", "split": "most", "features": "structure", "hidden_size": 4, "threads": 1,
}  # fmt: skip


@pytest.fixture
def task() -> NodesTask:
    config = NodesConfig(**SMALL, steps=20)
    return NodesTask(config, torch.device("cpu"))


@pytest.fixture
def few(monkeypatch) -> None:
    """Four candidates, of which one can learn."""
    wrong = {"operator": "sage", "skip": "gcnii"}  # refused, and so passed over
    candidates = ({"lr": 0.0}, wrong, {"lr": 0.1}, {"dropout": 0.9, "lr": 0.0})
    monkeypatch.setattr(search, "CANDIDATES", candidates)


@pytest.mark.usefixtures("few")
def test_the_best_on_validation_is_taken_and_what_is_given_is_kept(task, caplog):
    caplog.set_level("INFO", "plait")
    config, weights = task.config, {k: v.clone() for k, v in task.model.state_dict().items()}
    assert best_options(task, 5.0, set()) == {"lr": 0.1}
    assert "tried lr 0.1: validation loss " in caplog.text
    assert task.config is config
    assert all(torch.equal(v, weights[k]) for k, v in task.model.state_dict().items())
    assert best_options(task, 5.0, {"dropout"}) == {"lr": 0.1}
    assert best_options(task, 5.0, {"lr"}) == {}


@pytest.mark.usefixtures("few")
def test_a_run_of_minutes_searches_and_a_recipe_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "_validation_loss", lambda task, _: abs(task.config.lr - 0.1))
    monkeypatch.setattr("plait.training.budget.measure", lambda *_: Pace(0.5, 0.0, 0.0))
    own = {**SMALL, "minutes": 0.1}
    run = plait.train("nodes", out=tmp_path / "a", **own)
    assert run.config["lr"] == 0.1
    assert run.config["validate_every"] == 5  # patience counts by it
    recipe = plait.train("nodes", recipe="kipf2017", out=tmp_path / "b", **own)
    assert recipe.config["lr"] == 0.01


@pytest.mark.parametrize(
    ("features", "expected"), [("own", search.OWN_WAY), ("neighbours", {})], ids=str
)
def test_own_features_have_a_way_of_their_own_where_neighbours_are_no_help(
    features, expected, task, monkeypatch
):
    right = torch.nn.functional.one_hot(task.labels, 2).double()
    both = (right, 1 - right) if features == "own" else (1 - right, right)
    monkeypatch.setattr(NodesTask, "own_and_averaged", both)
    assert task.search(0.0, set()) == expected
    assert task.search(0.0, {"skip"}) == {}


def test_a_run_that_begins_with_another_has_its_kind_of_network(tmp_path, monkeypatch):
    own = {**SMALL, "steps": 1}
    monkeypatch.setattr("plait.tasks.nodes.task.usual_options", lambda *_: search.OWN_WAY)
    first = plait.train("nodes", out=tmp_path / "a", **own)
    monkeypatch.undo()
    second = plait.train("nodes", out=tmp_path / "b", from_run=first, **own)
    kinds = [{name: run.config[name] for name in search.OWN_WAY} for run in (first, second)]
    assert kinds == [dict(search.OWN_WAY), {**search.OWN_WAY, "lr": 0.01}]


def test_without_validation_nodes_there_is_nothing_to_choose_by():
    task = NodesTask(NodesConfig(data="karate", threads=1), torch.device("cpu"))
    assert best_options(task, 1.0, set()) == {}
