"""A run that stops where validation gets no better."""

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
class PatientConfig(TrainingConfig):
    patience: int = option(0, "Steps.")
    steps: int = 40
    validate_every: int = 2


class Valley:
    """Its validation score falls to step 8, and rises from there."""

    name, unit, monitor, lower_is_better, units_per_step = "valley", "u", "height", True, 1
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
        return {"height": float(abs(8 - self.step))}

    def test(self):
        return {"height": 0.0}

    def sample(self, step: int) -> str:
        return ""

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
    config = PatientConfig(**options)
    run = Run.open(path) if resume else Run.create(path, "valley", config, {})
    progress = Notices()
    train(Valley(config, interrupt_at), run, progress, resume=resume)
    return progress.notices


@pytest.mark.parametrize(
    ("patience", "every", "last", "best"),
    [(0, 2, 40, 8), (6, 2, 14, 8), (7, 2, 16, 8), (100, 2, 40, 8), (1, 5, 15, 10), (6, 3, 15, 9)],
)
def test_it_stops_at_the_validation_that_comes_so_long_after_the_best(
    tmp_path, patience, every, last, best
):
    go(tmp_path / "run", patience=patience, validate_every=every)
    run = Run.open(tmp_path / "run")
    (test,) = run.records("test")
    assert (test["step"], test["best_step"]) == (last, best)
    assert run.records("train")[-1]["step"] == last
    assert run.load_checkpoint()[1]["step"] == last
    finished = "is finished: all 40 steps are done"
    if last < 40:
        finished = f"is finished at step {last} of 40, the best being step {best}"
    again = go(tmp_path / "run", resume=True, patience=patience, validate_every=every)
    assert again == [f"{run.path} {finished}"]


@pytest.mark.parametrize("interrupt_at", [3, 9, 13])
def test_an_interrupted_run_stops_where_an_unbroken_one_does(tmp_path, interrupt_at):
    with pytest.raises(Interrupted):
        go(tmp_path / "run", patience=6, interrupt_at=interrupt_at)
    go(tmp_path / "run", patience=6, resume=True)
    (test,) = Run.open(tmp_path / "run").records("test")
    assert (test["step"], test["best_step"]) == (14, 8)
