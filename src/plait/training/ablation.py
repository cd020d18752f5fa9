"""The same model without the graph: what the graph is worth."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from plait.news import LOGGER
from plait.training.followed import create_run
from plait.training.learning import Learning
from plait.training.progress import Progress
from plait.training.random import seed_all
from plait.training.signals import stop_signals
from plait.training.task import Task


def scores_with_ablation(task: Task) -> dict[str, Any]:
    """Return a task's `test`, and where its model uses the graph, those of `score_ablation` too."""
    scores = dict(task.test())
    if any(getattr(task.config, name) != v for name, v in task.without_graph.items()):
        scores |= score_ablation(task)
    return scores


def score_ablation(task: Task) -> dict[str, float]:
    """Train a task's model without the graph and return its test scores, named `dense_…`.

    The options are the task's own but for `Task.without_graph`; initial weights, batches and the
    choice of weights are those of a run of its own with the same seed.
    """
    LOGGER.info("training the same model without the graph, to compare with")
    scores = train_alone(type(task), replace(task.config, **task.without_graph), task.device)
    return {f"dense_{name}": value for name, value in scores.items()}


def train_alone(kind: type[Task], config: Any, device: torch.device) -> dict[str, float]:
    """Train a task from its seed, leave nothing behind, and return its own test scores."""
    with (
        torch.enable_grad(), torch.random.fork_rng(devices=[]), stop_signals() as stop,
        tempfile.TemporaryDirectory() as folder,
    ):  # fmt: skip
        seed_all(config.seed, 0)
        task = kind(config, device)
        run = create_run(Path(folder) / "run", task.name, config, task.facts())
        learning = Learning(task, run, Progress())
        learning.progress.start(0, 0.0, [])
        learning.learn(stop)
        learning.load_best()
        with torch.no_grad():
            return dict(task.own_scores())
