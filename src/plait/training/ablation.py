"""The same model without the graph: what the graph is worth."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from plait.news import LOGGER
from plait.training.followed import create_run
from plait.training.loop import Loop
from plait.training.progress import Progress
from plait.training.random import seed_all
from plait.training.signals import stop_signals

if TYPE_CHECKING:
    from plait.training.task import Task


def score_ablation(task: "Task") -> dict[str, float]:
    """Train a task's model without the graph and return its test scores, named `dense_…`.

    The options are the task's own but for `Task.without_graph`; initial weights, batches and the
    choice of weights are those of a run of its own with the same seed.
    """
    LOGGER.info("training the same model without the graph, to compare with")
    scores = train_alone(type(task), replace(task.config, **task.without_graph), task.device)
    return {f"dense_{name}": value for name, value in scores.items()}


def train_alone(kind: type["Task"], config: Any, device: torch.device) -> dict[str, float]:
    """Train a task from its seed, leave nothing behind, and return its own test scores."""
    with (
        torch.enable_grad(), torch.random.fork_rng(devices=[]), stop_signals() as stop,
        tempfile.TemporaryDirectory() as folder,
    ):  # fmt: skip
        seed_all(config.seed, 0)
        task = kind(config, device)
        run = create_run(Path(folder) / "run", task.name, config, task.facts())
        loop = Loop(task, run, Progress())
        loop.progress.start(0, 0.0, [])
        loop.learn(stop)
        loop.load_best()
        with torch.no_grad():
            return dict(task.own_scores())
