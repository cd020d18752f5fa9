"""The text task: its parts, its loss, and that it learns."""

import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from plait.api import load
from plait.errors import InputError
from plait.nn.registry import CELLS
from plait.tasks.text.config import TextConfig
from plait.tasks.text.data import split
from plait.tasks.text.scores import score_stream
from plait.tasks.text.task import TextTask
from plait.training.checkpoint import load_tensors
from plait.training.loop import train
from plait.training.progress import Progress
from plait.training.random import seed_all
from plait.training.run import Run

BOUNDED = [name for name in CELLS if name != "ind-rnn"]
"""Cells whose states do not grow without bound, or are all 0, from weights drawn at random."""

SMALL = {
    "hidden_size": 6, "embedding_size": 5, "layers": 2, "length": 7, "batch_size": 3, "threads": 1,
}  # fmt: skip


@pytest.fixture
def prose(tmp_path):
    """A text of 1,000 characters, the last of which is there once."""
    path = tmp_path / "prose.txt"
    path.write_text(("It was the best of times, it was the worst of times. " * 20)[:999] + "!")
    return str(path)


def task(data: str, **options) -> TextTask:
    config = TextConfig(data=data, **{**SMALL, **options})
    seed_all(config.seed, 0)
    return TextTask(config, torch.device("cpu"))


@pytest.mark.parametrize(
    ("size", "parts"), [(1000, (900, 50, 50)), (999, (901, 49, 49)), (40, (36, 2, 2))]
)
def test_the_parts_follow_one_another(size, parts):
    numbers = torch.arange(size)
    cut = split(numbers)
    assert tuple(map(len, cut)) == parts
    assert torch.equal(torch.cat(cut), numbers)


def test_the_vocabulary_is_that_of_the_whole_text(prose):
    made = task(prose)
    assert made.vocabulary.decode(made.testing.tolist()).endswith("!")
    assert "!" not in made.vocabulary.decode(made.training.tolist())
    assert made.facts()["vocabulary"] == "".join(sorted(set(Path(prose).read_text())))
    assert made.facts()["characters"] == 1000
    assert torch.equal(made.batches.numbers, made.training)  # and nothing else is read in training
    assert made.validate() == score_stream(made.model, made.validation)
    assert made.test()["loss"] == score_stream(made.model, made.testing)["loss"]


def test_a_text_too_short_to_be_cut_is_refused(tmp_path):
    (tmp_path / "short").write_text("x" * 39)
    with pytest.raises(InputError, match=r"short has 39 characters; at least 40 are needed"):
        task(str(tmp_path / "short"), length=1, batch_size=1)
    (tmp_path / "short").write_text("xy" * 20)
    assert task(str(tmp_path / "short"), length=1, batch_size=1).facts()["vocabulary"] == "xy"


@pytest.mark.parametrize("cell", BOUNDED)
def test_two_batches_with_the_state_carried_are_one_of_twice_the_length(prose, cell):
    made = task(prose, cell=cell)
    made.model.double()
    first, scores, carry = made.loss(made.model, made.batch(1), made.start())
    second, _, carry = made.loss(made.model, made.batch(2), carry)
    assert not any(s.requires_grad for s in carry)
    (x1, y1, _), (x2, y2, _) = made.batches.batch(1), made.batches.batch(2)
    logits, final = made.model(torch.cat([x1, x2]))  # [2T, B, V]
    nats = F.cross_entropy(logits.flatten(0, 1), torch.cat([y1, y2]).flatten(), reduction="none")
    halves = nats.view(2, -1).mean(1)
    torch.testing.assert_close(torch.stack([first, second]), halves, rtol=1e-12, atol=0)
    final = final if isinstance(final, tuple) else (final,)
    torch.testing.assert_close(carry, final, rtol=1e-12, atol=1e-13)
    assert scores["bits_per_character"].item() == pytest.approx(first.item() / math.log(2))
    right = (logits[:7].argmax(-1) == y1).float().mean()
    assert scores["accuracy"].item() == pytest.approx(right.item())


def test_the_state_is_forgotten_when_a_pass_begins(prose):
    made = task(prose)
    steps = made.batches.steps
    dirty = tuple(torch.ones_like(s) for s in made.start())
    for step in range(1, 2 * steps + 2):
        clean_loss, _, clean = made.loss(made.model, made.batch(step), made.start())
        dirty_loss, _, after = made.loss(made.model, made.batch(step), dirty)
        begins = step % steps == 1
        assert (clean_loss == dirty_loss) == begins
        assert torch.equal(clean[0], after[0]) == begins


def test_windows_carry_nothing(prose):
    made = task(prose, batches="windows")
    assert made.start() == ()
    loss, _, carry = made.loss(made.model, made.batch(5), ())
    assert carry == ()
    x, y, _ = made.batches.batch(5)
    logits, _ = made.model(x)
    assert loss.item() == F.cross_entropy(logits.flatten(0, 1), y.flatten()).item()


def go(path, data: str, stop=None, resume: bool = False, **options) -> Run:
    made = task(data, **options)
    run = Run.open(path) if resume else Run.create(path, "text", made.config, made.facts())
    progress = Progress()
    if stop is not None:
        progress.step = stop
    train(made, run, progress, resume=resume)
    return run


@pytest.fixture
def quick(monkeypatch):
    """No pictures, short samples: they are tested elsewhere."""
    monkeypatch.setattr(TextTask, "draw", lambda *_: None)
    monkeypatch.setattr("plait.tasks.text.task.SAMPLE_LENGTH", 20)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("save_every", [0.0, 1e6])
@pytest.mark.parametrize(
    "options",
    [
        {"batches": "lanes", "dropout": 0.2, "recurrent_dropout": 0.2, "average": 0.9},
        {"batches": "windows", "dropout": 0.2, "average": 0.9, "schedule": "cosine"},
        {"cell": "gru", "warmup": 5, "weight_decay": 0.1},
        {"cell": "gru", "batches": "lanes", "dropout": 0.2, "precision": "bfloat16"},
    ],
)
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, prose, options, save_every):
    options = {**options, "steps": 12, "lr": 0.02, "seed": 5, "save_every": save_every}
    whole = go(tmp_path / "whole", prose, **options)

    def stop_at(*steps):
        def stop(step: int, record: object) -> None:
            if step in steps:
                raise KeyboardInterrupt

        return stop

    path = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        go(path, prose, stop=stop_at(4), **options)
    for steps in ((7,), (8,), (11,)):
        with pytest.raises(KeyboardInterrupt):
            go(path, prose, stop=stop_at(*steps), resume=True, **options)
    run = go(path, prose, resume=True, **options)
    best, expected = load_tensors(run.model_path), load_tensors(whole.model_path)
    assert best[1] == expected[1]
    for ours, theirs in ((best, expected), (run.load_checkpoint(), whole.load_checkpoint())):
        assert ours[0].keys() == theirs[0].keys()
        assert all(torch.equal(ours[0][k], theirs[0][k]) for k in ours[0])
    assert (path / "samples.txt").read_text() == (whole.path / "samples.txt").read_text()
    lines = [
        [{k: v for k, v in r.items() if k != "seconds"} for r in each.records()]
        for each in (run, whole)
    ]
    assert lines[0] == lines[1]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("batches", ["lanes", "windows"])
def test_it_learns_a_text_that_repeats_itself(tmp_path, batches):
    path = tmp_path / "abc.txt"
    path.write_text("abc" * 400)
    run = go(
        tmp_path / "run", str(path), batches=batches, hidden_size=12, layers=1, steps=60, lr=0.03,
        length=12,
    )  # fmt: skip
    (scores,) = run.records("test")
    assert scores["bits_per_character"] < 0.05
    assert scores["accuracy"] == 1.0
    assert run.records("train")[0]["bits_per_character"] == pytest.approx(math.log2(3), abs=0.5)
    assert load(run).generate("bca", 30, greedy=True) == "bca" * 11
