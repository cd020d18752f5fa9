"""A run that says when nothing is left to learn: the step is kept, and can be the last."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn

from plait.training.config import TrainingConfig, option
from plait.training.loop import Interrupted, train
from plait.training.progress import Progress
from plait.training.run import Run


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


@dataclass(frozen=True, kw_only=True)
class CountdownConfig(TrainingConfig):
    until_converged: bool = option(False, "Stop when the countdown is at 0.")
    steps: int = 12
    validate_every: int = 2

    def converged(self, scores):
        return scores["left"] == 0


class Countdown:
    """Its validation score is scripted: how many steps are left before step 6."""

    name, unit, monitor, lower_is_better, units_per_step = "countdown", "u", "left", True, 1
    without_graph: ClassVar = {}
    prepares_ahead = False

    def __init__(self, config: TrainingConfig, interrupt_at: int = 0) -> None:
        self.config, self.step, self.interrupt_at = config, 0, interrupt_at
        self.model = nn.Linear(1, 1)

    def start(self):
        return ()

    def batch(self, step: int) -> int:
        return step

    def loss(self, model, step: int, carry):
        self.step = step
        if step == self.interrupt_at:
            os.kill(os.getpid(), 15)
        return (self.model(torch.ones(1, 1)) ** 2).sum(), {}, ()

    def validate(self):
        return {"left": float(max(0, 6 - self.step))}

    def test(self):
        return {"left": 0.0}

    def sample(self, step: int) -> str:
        return f"at {step}"

    def interpret(self, scores) -> str:
        return ""

    def draw(self, records, path) -> None:
        Path(path).touch()


class Notices(Progress):
    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)


def go(path: Path, *, resume: bool = False, interrupt_at: int = 0, **options) -> list[str]:
    config = CountdownConfig(**options)
    run = Run.open(path) if resume else Run.create(path, "countdown", config, {})
    progress = Notices()
    train(Countdown(config, interrupt_at), run, progress, resume=resume)
    return progress.notices


def test_the_step_is_reported_and_kept_and_the_run_goes_on(tmp_path):
    assert "converged at step 6" in go(tmp_path / "run")
    (record,) = Run.open(tmp_path / "run").records("test")
    assert (record["step"], record["converged_step"]) == (12, 6)


def test_until_converged_the_step_is_the_last(tmp_path):
    go(tmp_path / "run", until_converged=True)
    run = Run.open(tmp_path / "run")
    (record,) = run.records("test")
    assert (record["step"], record["converged_step"]) == (6, 6)
    assert [r["step"] for r in run.records("train")] == [1, 2, 3, 4, 5, 6]
    assert run.kept_steps() == [4, 6]
    assert [r["text"] for r in run.records("sample")] == ["at 4", "at 6"]
    assert run.load_checkpoint()[1]["step"] == 6
    finished = go(tmp_path / "run", resume=True, until_converged=True)
    assert finished == [f"{run.path} is finished: it converged at step 6 of 12"]


def test_a_run_that_never_converges_makes_all_its_steps_and_says_nothing(tmp_path):
    assert go(tmp_path / "run", steps=5, until_converged=True) == [""]
    (record,) = Run.open(tmp_path / "run").records("test")
    assert record["step"] == 5
    assert "converged_step" not in record


def test_a_run_stopped_after_it_converged_still_knows_when(tmp_path):
    with pytest.raises(Interrupted):
        go(tmp_path / "run", interrupt_at=9)
    assert "converged at step 6" not in go(tmp_path / "run", resume=True)
    (record,) = Run.open(tmp_path / "run").records("test")
    assert (record["step"], record["converged_step"]) == (12, 6)


def test_a_signal_at_the_last_step_does_not_interrupt(tmp_path):
    go(tmp_path / "run", interrupt_at=6, until_converged=True)
    assert Run.open(tmp_path / "run").records("test")[0]["step"] == 6


def test_a_run_cut_off_between_its_last_save_and_its_test_is_only_tested(tmp_path, monkeypatch):
    monkeypatch.setattr(Countdown, "test", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        go(tmp_path / "run", until_converged=True)
    monkeypatch.undo()
    go(tmp_path / "run", resume=True, until_converged=True)
    run = Run.open(tmp_path / "run")
    assert run.records("train")[-1]["step"] == run.records("test")[0]["step"] == 6
