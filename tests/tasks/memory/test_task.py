"""Scores on fresh data, convergence, learning, and the command line."""

import math
import os
from pathlib import Path

import pytest
import torch

import plait
from plait.cli import run as run_command
from plait.errors import InputError
from plait.tasks.memory.config import MemoryConfig
from plait.tasks.memory.model import MemoryModel
from plait.tasks.memory.problems import problem_named
from plait.tasks.memory.scores import right, score_batches
from plait.tasks.memory.task import MemoryTask
from plait.training.run import Run

CPU = torch.device("cpu")
TINY = {"hidden_size": 8, "embedding_size": 4, "batch_size": 16, "threads": 1}


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


def task(**options) -> MemoryTask:
    return MemoryTask(MemoryConfig(**{**TINY, **options}), CPU)


class Says(torch.nn.Module):
    """A model that always gives the same answer."""

    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer.expand(x.shape[1], *self.answer.shape)


def test_scores_of_a_model_that_always_says_one_class():
    problem = problem_named("recall", 2)
    y = torch.tensor([0, 0, 0, 1, 5])
    logits = torch.zeros(8)
    logits[0] = 2.0
    scores = score_batches(Says(logits), problem, [(torch.zeros(3, 5), y), (torch.zeros(3, 5), y)])
    assert scores["accuracy"] == 0.6
    assert scores["balanced_accuracy"] == pytest.approx(1 / 3)
    normaliser = math.log(math.e**2 + 7)
    assert scores["loss"] == pytest.approx(normaliser - 2 * 0.6, rel=1e-6)
    assert (scores["prior"], scores["loss_prior"]) == (1 / 8, pytest.approx(math.log(8)))


def test_scores_of_a_model_that_always_says_one_number():
    problem = problem_named("adding", 2)
    y = torch.tensor([1.0, 1.03, 0.97, 1.05, 0.5])
    scores = score_batches(Says(torch.tensor(1.0)), problem, [(torch.zeros(2, 5, 2), y)])
    assert scores["accuracy"] == 0.6
    assert scores["loss"] == pytest.approx((2 * 0.03**2 + 0.05**2 + 0.25) / 5, rel=1e-5)
    assert "balanced_accuracy" not in scores
    assert not right(problem, torch.tensor([0.0]), torch.tensor([0.05])).any()


def test_the_last_state_of_both_directions_answers():
    model = MemoryModel(MemoryConfig(**TINY, bidirectional=True, layers=2)).double()
    x = torch.randint(3, (6, 5))
    y, _ = model.recurrent(model.embedding(x))  # [T, B, 2H]
    joined = torch.cat([y[-1, :, :8], y[0, :, 8:]], -1)
    torch.testing.assert_close(model(x), model.output(joined), rtol=0, atol=1e-14)


def test_padding_on_the_right_does_not_matter():
    model = MemoryModel(MemoryConfig(**TINY, bidirectional=True)).double()
    x = torch.randint(3, (6, 1))
    padded = torch.cat([x, torch.zeros(3, 1, dtype=torch.long)])
    answer = model(padded, torch.tensor([6]))
    torch.testing.assert_close(answer, model(x), rtol=0, atol=1e-14)


def test_every_validation_is_fresh_and_found_again():
    """Batches of validations and trainings never share a number of a stream."""
    ours, drawn = task(), []
    ours._draw, original = lambda n, s: drawn.append((s, n)) or original(n, s), ours._draw
    for step in (1, 2, 3):
        ours.loss(ours.model, ours.batch(step), ())
        ours.validate()
    assert len(set(drawn)) == len(drawn) == 3 * (1 + 10)
    again = task()
    again.model.load_state_dict(ours.model.state_dict())
    again.loss(again.model, again.batch(3), ())
    assert again.validate() == ours.validate()


def test_converged_is_ten_fresh_batches_without_an_error():
    config = MemoryConfig(**TINY)
    assert config.converged({"accuracy": 1.0})
    assert not config.converged({"accuracy": 1 - 1 / 2560})


def test_a_tiny_network_learns_random_combinations(tmp_path):
    run = plait.train(
        "memory", problem="random-combinations", length=3, hidden_size=16, embedding_size=8,
        batch_size=32, lr=0.01, steps=300, until_converged=True, threads=1, out=tmp_path / "run",
    )  # fmt: skip
    (test,) = run.records("test")
    assert test["accuracy"] == 1.0
    assert test["prior"] == 1 / 3
    assert test["converged_step"] == test["step"] < 300
    errors = [r["accuracy"] < 1 for r in run.records("valid")]
    assert errors == [True] * (len(errors) - 1) + [False]
    assert (tmp_path / "run" / "curves.png").stat().st_size > 10_000
    model = plait.load(run)
    # all six strings, in a row: 0, 1 → 2; …
    x = torch.tensor([[0, 0, 1, 1, 2, 2], [1, 2, 0, 2, 0, 1]])
    assert model(x).argmax(-1).tolist() == [2, 1, 2, 0, 1, 0]


def test_a_tiny_network_learns_to_add(tmp_path):
    run = plait.train(
        "memory", problem="adding", length=4, cell="gru", hidden_size=16, batch_size=64, lr=0.01,
        steps=200, validate_every=0, threads=1, out=tmp_path / "run",
    )  # fmt: skip
    (test,) = run.records("test")
    assert test["loss"] < test["loss_prior"] / 5
    assert test["prior"] == pytest.approx(0.0784)


def test_a_resumed_run_ends_where_an_unbroken_one_does(tmp_path):
    options = {**TINY, "steps": 6, "validate_every": 2, "cell": "gru-course", "save_every": 0}
    run = plait.train("memory", out=tmp_path / "run", **options)
    logs = [{k: v for k, v in r.items() if k != "seconds"} for r in run.records()]
    (run.path / "checkpoint" / "step-00000006.safetensors").unlink()
    run.truncate_log(5)
    plait.resume(run)
    assert [{k: v for k, v in r.items() if k != "seconds"} for r in run.records()] == logs


def test_weights_begin_another_length(tmp_path):
    first = plait.train("memory", out=tmp_path / "a", **TINY, steps=2)
    config = MemoryConfig(**TINY, length=5)
    other = MemoryTask(config, CPU)
    other.load_pretrained(plait.load(first))
    expected = plait.load(first).state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in other.model.state_dict().items())
    shorter = task(problem="random-combinations", length=3)
    with pytest.raises(InputError, match="other tokens"):
        shorter.load_pretrained(task(problem="random-combinations", length=4).model)


def test_other_lengths_are_tested_each_next_to_its_prior(tmp_path, capsys):
    run = plait.train("memory", out=tmp_path / "run", **TINY, steps=1, eval_lengths="6,8")
    (test,) = run.records("test")
    assert (round(test["prior_at_6"], 4), round(test["prior_at_8"], 4)) == (0.5041, 0.8092)
    assert run_command(["score", str(run.path), "--data", "6,8"]) == 0
    assert f"{test['accuracy_at_8']:.4f}" in capsys.readouterr().out
    scores = plait.score(run)
    assert all(test[name] == value for name, value in scores.items())


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"accuracy": 0.83, "loss": 0.46}, "accuracy 83.0%; always the likeliest answer 82.3%: l"),
        ({"accuracy": 0.995, "loss": 0.02}, "accuracy 99.5%; always the likeliest answer 82.3%"),
    ],
)
def test_interpret_states_what_an_accuracy_is_worth(scores, expected):
    problem = problem_named("baum-sweet", 4)
    scores = {**scores, "prior": problem.prior, "loss_prior": problem.loss_prior}
    assert task().interpret(scores).startswith(expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--length", "99"], "plait: baum-sweet has lengths from 2 to 18, not 99"),
        (["--cell", "lstn"], "plait: no cell named 'lstn'; there are rnn, "),
        (
            ["--problem", "adding", "--recipe", "report"],
            "plait: --recipe report has no settings for --problem adding",
        ),
        (["--hidden-size", "0"], "plait: --hidden-size must be at least 1, not 0"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, arguments, message):
    out = tmp_path / "run"
    assert run_command(["train", "memory", "--out", str(out), *arguments]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(message)
    assert printed.count("\n") == 1
    assert not out.exists()


def test_scoring_by_lengths_and_options_that_are_none(tmp_path, capsys):
    run = plait.train("memory", out=tmp_path / "run", **TINY, steps=1)
    for data in ("book.txt", "99", ""):
        assert run_command(["score", str(run.path), "--data", data]) == 2
    assert run_command(["score", str(run.path), "--dynamic"]) == 2
    assert capsys.readouterr().err.count("\n") == 4


def test_a_run_folder_is_called_after_the_problem(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = plait.train("memory", problem="recall", **TINY, steps=1)
    assert Run.open(Path("runs/memory-recall")).facts == run.facts


@pytest.mark.parametrize(("length", "size"), [(5, 64), (15, 7)])
@pytest.mark.parametrize("init", ["orthogonal", "kaiming"])
def test_tokens_begin_at_right_angles_as_far_as_there_is_room(init, length, size):
    config = MemoryConfig(
        problem="random-combinations", length=length, embedding_size=size, init=init
    )
    e = MemoryModel(config).embedding.weight.detach().double()
    few = e.T if e.shape[0] > e.shape[1] else e
    expected = max(e.shape) * torch.eye(len(few), dtype=torch.float64)
    assert torch.allclose(few @ few.T, expected, atol=1e-4)
    assert float(e.square().mean()) == pytest.approx(1, rel=1e-5)
