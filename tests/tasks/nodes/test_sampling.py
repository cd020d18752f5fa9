"""Training on samples: with all neighbours it is training on the whole graph."""

import pytest
import torch

import plait
from plait import Graph
from plait.cli import run as run_command
from plait.graph_data import named_labelled_graph
from plait.nn import Adjacency
from plait.tasks.nodes.config import NodesConfig
from plait.tasks.nodes.model import NodesModel
from plait.tasks.nodes.task import NodesTask

CPU = torch.device("cpu")
TINY = {"data": "digits", "hidden_size": 16, "heads": 2, "threads": 1, "dropout": 0.0}


def losses(**options) -> tuple[float, list[torch.Tensor]]:
    torch.manual_seed(0)
    task = NodesTask(NodesConfig(**{**TINY, **options}), CPU)
    loss, _, _ = task.loss(task.model, task.batch(1), ())
    return loss.item(), list(torch.autograd.grad(loss, list(task.model.parameters())))


@pytest.mark.parametrize(
    "options", [{}, {"operator": "attention"}, {"operator": "chebyshev", "k": 3}, {"layers": 3}]
)
def test_all_neighbours_of_all_training_nodes_are_the_whole_graph(options):
    hops = 4 if "k" in options else options.get("layers", 2)
    loss, gradients = losses(**options)
    sampled, others = losses(**options, sample=",".join(["all"] * hops), batch_size=10**6)
    assert sampled == pytest.approx(loss, rel=1e-5)
    largest = max(gradient.abs().max().item() for gradient in gradients)
    for ours, theirs in zip(others, gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * largest)


@pytest.mark.parametrize("operator", ["gcn", "attention", "chebyshev", "dense"])
@pytest.mark.parametrize("features", [True, False])
def test_slices_give_what_the_whole_graph_gives(operator, features):
    digits = named_labelled_graph("digits")
    x = digits.features.double() if features else None
    config = NodesConfig(**{**TINY, "operator": operator, "k": 3, "layers": 3})
    width = x.shape[1] if features else 0
    model = NodesModel(config, nodes=1797, features=width, classes=10).double().eval()
    whole = model(x, digits.graph)
    found = model.in_slices(x, Adjacency.of(digits.graph), size=500)
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-5 * whole.abs().max().item())
    some = torch.tensor([1700, 3, 12])
    found = model.in_slices(x, Adjacency.of(digits.graph), some, size=2)
    torch.testing.assert_close(found, whole[some], rtol=0, atol=1e-5 * whole.abs().max().item())
    before = model.in_slices(x, Adjacency.of(digits.graph), size=500, to_last=True)
    torch.testing.assert_close(before, model.represent(x, digits.graph), rtol=0, atol=1e-5)


def test_a_run_on_samples_learns_is_scored_and_resumed(tmp_path, capsys):
    options = {**TINY, "dropout": 0.2, "sample": "5,5", "batch_size": 64, "operator": "gcn"}
    run = plait.train("nodes", **options, steps=60, validate_every=20, out=tmp_path / "run")
    (test,) = run.records("test")
    assert test["accuracy"] > 0.85
    assert test["accuracy"] > test["dense_accuracy"] - 0.02
    assert plait.score(run)["accuracy"] == pytest.approx(test["accuracy"], abs=1e-12)
    assert len(plait.predict(run, out=tmp_path / "labels.csv").read_text().splitlines()) == 1798
    assert run_command(["train", "nodes", "--sample", "3,3", "--steps", "1", "--out",
                        str(tmp_path / "karate"), "--batch-size", "9"]) == 0  # fmt: skip
    assert "9 nodes a step, up to 3,3 neighbours by hop" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--sample 0,2", "--sample must be numbers of neighbours from 1, or all, such as 15,10; "),
        ("--sample 5;5", "--sample must be numbers of neighbours from 1, or all, such as 15,10; "),
        ("--sample 5", "is for 1 hops, and 2 layers of gcn need 2: give 2 numbers, such as 10,10"),
        (
            "--sample 5,5 --operator chebyshev --k 3",
            "chebyshev need 4: give 4 numbers, such as",
        ),
        ("--sample 5,5 --operator diffusion", "Diffusion cannot be computed on samples of"),
        ("--sample 5,5 --batch-size 0", "--batch-size must be at least 1, not 0"),
    ],
)
def test_bad_input_is_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_command(["train", "nodes", *words.split()]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_batches_are_a_function_of_the_step():
    task = NodesTask(NodesConfig(**{**TINY, "sample": "2,2", "batch_size": 50}), CPU)
    sample = task.batch(3).sample
    assert isinstance(sample.graph, Graph)
    assert len(task.batch(3).seeds) == 50
    assert torch.equal(task.batch(3).sample.nodes, sample.nodes)
    assert not torch.equal(task.batch(4).seeds, task.batch(3).seeds)
