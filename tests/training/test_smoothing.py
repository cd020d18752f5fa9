"""Weights chosen by the mean of several validations in a row."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn

from plait.tasks.links.config import LinksConfig
from plait.training.checkpoint import load_tensors
from plait.training.config import TrainingConfig
from plait.training.loop import Interrupted, train
from plait.training.progress import Progress
from plait.training.run import Run


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


@dataclass(frozen=True, kw_only=True)
class SmoothConfig(TrainingConfig):
    smoothing = 3
    validate_every: int = 1


class Scripted:
    """A task whose validation scores are written down."""

    name, unit, monitor, lower_is_better, units_per_step = "scripted", "u", "auc", False, 1
    without_graph: ClassVar = {}
    prepares_ahead = False

    def __init__(self, config, scores, losses=None, interrupt_at: int = 0) -> None:
        self.config, self.scores, self.losses = config, scores, losses
        self.interrupt_at, self.now = interrupt_at, 0
        self.model = nn.Linear(1, 1)

    def start(self):
        return ()

    def batch(self, step: int) -> int:
        return step

    def loss(self, model, step: int, carry):
        self.now = step
        if step == self.interrupt_at:
            os.kill(os.getpid(), 15)
        return self.model(torch.ones(1, 1)).square().sum(), {}, ()

    def validate(self):
        loss = {} if self.losses is None else {"loss": self.losses[self.now - 1]}
        return {"auc": self.scores[self.now - 1], **loss}

    def test(self):
        return {"auc": 0.0}

    def sample(self, step: int) -> str:
        return ""

    def interpret(self, scores) -> str:
        return ""

    def draw(self, records, path) -> None:
        Path(path).touch()


def best_step(path: Path, scores, losses=None, interrupt_at: int = 0, **options) -> int:
    config = SmoothConfig(steps=len(scores), **options)
    run = Run.create(path, "scripted", config, {})
    try:
        train(Scripted(config, scores, losses, interrupt_at), run, Progress())
    except Interrupted:
        assert load_tensors(run.model_path)[1]["step"] <= interrupt_at  # there is something
        again = Run.open(path)
        train(Scripted(config, scores, losses), again, Progress(), resume=True)
    return Run.open(path).records("test")[0]["best_step"]


@pytest.mark.parametrize(
    ("scores", "losses", "best"),
    [
        ([1.0, 0.0, 0.0, 0.6, 0.6, 0.6, 0.5], None, 6),  # an early one by chance does not win
        ([0.9, 0.9, 0.9, 0.1, 0.1, 0.1], None, 3),  # three in a row do
        ([0.5] * 6, [6.0, 5.0, 4.0, 3.0, 2.0, 9.0], 5),  # of equal ones the smaller mean loss
        ([0.5] * 6, None, 3),  # or the first
        ([0.9, 0.1], None, 2),  # where there are but two, their mean
        ([0.9], None, 1),
    ],
)
@pytest.mark.parametrize("interrupt_at", [0, 1, 2, 4])
def test_the_best_mean_of_three_is_kept(tmp_path, scores, losses, best, interrupt_at):
    interrupt_at = interrupt_at if interrupt_at < len(scores) else 0
    assert best_step(tmp_path / "run", scores, losses, interrupt_at) == best


def test_links_are_chosen_so_and_others_by_a_single_validation() -> None:
    assert (LinksConfig().smoothing, TrainingConfig().smoothing) == (5, 1)
