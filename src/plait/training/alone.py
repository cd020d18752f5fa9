"""Training a network for its scores alone, to stand beside another's."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from plait.training.loop import Interrupted, train
from plait.training.progress import Progress
from plait.training.run import Run


def train_alone(task: Any) -> Mapping[str, Any]:
    """Train a `Task`, leave nothing behind, and give the scores of its test."""
    with torch.enable_grad(), tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder) / "run", task.name, task.config, task.facts())
        try:
            train(task, run, Progress())
        except Interrupted:
            raise Interrupted("stopped before the test was done; the run is saved") from None
        return run.records("test")[0]
