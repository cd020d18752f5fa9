"""The run folder of a training in several processes, as all but the first see it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from plait.training.config import TrainingConfig
from plait.training.ranks import current_ranks
from plait.training.run import Run


def create_run(path: Path, task: str, config: TrainingConfig, facts: Mapping[str, Any]) -> Run:
    """Create a run folder; in several processes the first one does."""
    if current_ranks().is_first:
        return Run.create(path, task, config, facts)
    return FollowedRun(path, task, asdict(config), dict(facts))


def open_run(find: Callable[[], Run]) -> Run:
    """Return the run that `find` returns; in several processes the first one calls it."""
    ranks, found = current_ranks(), []

    def facts() -> list[Any]:
        run = find()
        found.append(run)
        return [str(run.path), run.task, run.config, dict(run.facts)]

    path, task, config, known = ranks.first(facts)
    return found[0] if found else FollowedRun(Path(path), task, config, known)


class FollowedRun(Run):
    """The run folder of a training in several processes, as all but the first see it.

    They neither read nor write it, and need not have the disk that it is on.
    """

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Do nothing: the first process holds the folder for all."""
        yield

    def log(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Do nothing."""

    def flush(self, *, to_disk: bool = False) -> None:
        """Do nothing."""

    def records(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Return nothing."""
        return []

    def save_config(self) -> None:
        """Do nothing."""

    def truncate_log(self, step: int) -> None:
        """Do nothing."""

    def write_samples(self) -> None:
        """Do nothing."""

    def save_model(self, path: Path, weights: Mapping[str, Tensor], step: int) -> None:
        """Do nothing."""

    def save_checkpoint(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Do nothing."""
