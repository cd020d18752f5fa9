"""How long the runs of a study will take on this machine."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean

import torch

from plait.api import make_task
from plait.comparison.grid import PlannedRun
from plait.comparison.running import finished
from plait.study.runs import parallel_runs
from plait.training.config import TrainingConfig
from plait.training.learning import Learning
from plait.training.progress import Progress
from plait.training.run import Run

WARM_UP, TIMED = 1, 3
"""Steps that are run first, and those that are timed."""

TEST_COST = 3
"""The test is assumed to take as long as this many validations."""


@dataclass(frozen=True)
class StepTimes:
    """Seconds that a task takes to start, for a training step, and for a validation."""

    start: float
    step: float
    validation: float


class DurationEstimate:
    """How long unfinished runs will take.

    A run takes what finished runs of its kind took; before there is one, time per step × planned
    steps. Runs that differ only in their seed are of one kind; each kind is timed once.
    """

    def __init__(self, planned: Mapping[str, Sequence[PlannedRun]], threads: int) -> None:
        self.planned, self.threads = planned, threads
        self.times: dict[str, StepTimes] = {}
        self.took: dict[Path, float] = {}

    def __str__(self) -> str:
        """Return the time left, with "at most" where runs may stop early; empty if none is left."""
        total, may_stop = 0.0, False
        for task, runs in self.planned.items():
            took: dict[str, list[float]] = {}
            left = [run for run in runs if not self._finished(run, took)]
            jobs = parallel_runs(left, self.threads)
            for run in left:
                known, config = took.get(_kind(run)), run.config
                total += (fmean(known) if known else self._from_steps(task, run, jobs)) / jobs
                may_stop |= not known and bool(config.until_converged or config.patience)
        return f"{'at most' if may_stop else 'about'} {in_words(total)}" if total else ""

    def _finished(self, run: PlannedRun, took: dict[str, list[float]]) -> bool:
        if run.path not in self.took and finished(run):
            self.took[run.path] = Run.open(run.path).records("valid")[-1]["seconds"]
        if run.path in self.took:
            took.setdefault(_kind(run), []).append(self.took[run.path])
        return run.path in self.took

    def _from_steps(self, task: str, run: PlannedRun, jobs: int) -> float:
        kind, config = _kind(run), run.config
        if kind not in self.times:
            threads = max(1, self.threads // jobs)
            self.times[kind] = time_steps(task, replace(config, threads=threads))
        times = self.times[kind]
        validations = config.steps / (config.validate_every or max(1, config.steps // 10))
        scoring = (validations + TEST_COST) * times.validation
        return times.start + config.steps * times.step + scoring


def _kind(run: PlannedRun) -> str:
    return repr({**asdict(run.config), "seed": 0, "threads": 0})


def time_steps(task: str, config: TrainingConfig) -> StepTimes:
    """Time the start, a training step and a validation of a task."""
    began = time.perf_counter()
    problem = make_task(task, config)
    start = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder) / "run", task, config, problem.facts())
        loop = Learning(problem, run, Progress())
        loop.progress.start(0, 0.0, [])
        for _ in range(WARM_UP):
            loop.step()
        began = time.perf_counter()
        for _ in range(TIMED):
            loop.step()
        step = (time.perf_counter() - began) / TIMED
        loop.model.eval()
        began = time.perf_counter()
        with torch.no_grad():
            problem.validate()
        return StepTimes(start, step, time.perf_counter() - began)


def in_words(seconds: float) -> str:
    """Return a duration in words.

    >>> from plait.study.duration import in_words
    >>> in_words(40), in_words(600), in_words(8000)
    ('a minute', '10 minutes', '2 h 13 min')
    """
    minutes = round(seconds / 60)
    if minutes < 2:
        return "a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    return f"{minutes // 60} h {minutes % 60:02d} min"
