"""Training a network for its scores alone, to stand beside another's."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from plait.news import LOGGER
from plait.training.config import TrainingConfig
from plait.training.loop import seed_all, train
from plait.training.progress import Progress
from plait.training.run import Run


def train_alone(
    make: Callable[[Any, torch.device], Any], config: TrainingConfig, device: torch.device
) -> Mapping[str, Any]:
    """Train the task that `make` makes, from its seed, as a run of its own would be.

    Gives the scores of its test, and leaves nothing behind.
    """
    config = replace(config, save_every=1e9)
    with (
        torch.enable_grad(), torch.random.fork_rng(devices=[]),
        tempfile.TemporaryDirectory() as folder,
    ):  # fmt: skip
        seed_all(config.seed, 0)
        task = make(config, device)
        run = Run.create(Path(folder) / "run", task.name, config, task.facts())
        LOGGER.info("training another network, to stand beside this one")
        train(task, run, Progress())
        (test,) = run.records("test")
    return {
        name: value for name, value in test.items() if name not in ("step", "kind", "best_step")
    }
