"""How long runs will take here: a few steps of each kind, measured."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean

import torch

from plait.api import make_task
from plait.comparison.grid import Plan
from plait.comparison.running import finished
from plait.study.runs import at_once
from plait.training.config import TrainingConfig
from plait.training.loop import Loop
from plait.training.progress import Progress
from plait.training.run import Run

WARM, MEASURED = 1, 3
"""Steps that are made first, and those that are measured."""

TESTED = 3
"""A test is taken to cost as much as so many validations."""


class Forecast:
    """How long runs will take: what finished ones of their kind took, else speed × planned steps.

    Runs that differ in the seed alone are of one kind; a kind is measured once.
    """

    def __init__(self, plans: Mapping[str, Sequence[Plan]], threads: int) -> None:
        self.plans, self.threads = plans, threads
        self.speeds: dict[str, tuple[float, float, float]] = {}
        self.took: dict[Path, float] = {}

    def __str__(self) -> str:
        """Say how long what is not finished takes, "at most" where runs may stop."""
        total, early = 0.0, False
        for task, plans in self.plans.items():
            took: dict[str, list[float]] = {}
            ahead = [plan for plan in plans if not self._finished(plan, took)]
            jobs = at_once(ahead, self.threads)
            for plan in ahead:
                known, config = took.get(_kind(plan)), plan.config
                total += (fmean(known) if known else self._planned(task, plan, jobs)) / jobs
                early |= not known and bool(config.until_converged or config.patience)
        return f"{'at most' if early else 'about'} {clock(total)}" if total else ""

    def _finished(self, plan: Plan, took: dict[str, list[float]]) -> bool:
        if plan.path not in self.took and finished(plan):
            self.took[plan.path] = Run.open(plan.path).records("valid")[-1]["seconds"]
        if plan.path in self.took:
            took.setdefault(_kind(plan), []).append(self.took[plan.path])
        return plan.path in self.took

    def _planned(self, task: str, plan: Plan, jobs: int) -> float:
        kind, config = _kind(plan), plan.config
        if kind not in self.speeds:
            threads = max(1, self.threads // jobs)
            self.speeds[kind] = measured(task, replace(config, threads=threads))
        begin, step, validation = self.speeds[kind]
        validations = config.steps / (config.validate_every or max(1, config.steps // 10))
        return begin + config.steps * step + (validations + TESTED) * validation


def _kind(plan: Plan) -> str:
    return repr({**asdict(plan.config), "seed": 0, "threads": 0})


def measured(task: str, config: TrainingConfig) -> tuple[float, float, float]:
    """Measure, in seconds, how long a task takes to begin, a step, and a validation."""
    began = time.perf_counter()
    problem = make_task(task, config)
    begin = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder) / "run", task, config, problem.facts())
        loop = Loop(problem, run, Progress())
        loop.progress.start(0, 0.0, [])
        for _ in range(WARM):
            loop.step()
        began = time.perf_counter()
        for _ in range(MEASURED):
            loop.step()
        step = (time.perf_counter() - began) / MEASURED
        loop.model.eval()
        began = time.perf_counter()
        with torch.no_grad():
            problem.validate()
        return begin, step, time.perf_counter() - began


def clock(seconds: float) -> str:
    """Write a time as a person would.

    >>> from plait.study.forecasting import clock
    >>> clock(40), clock(600), clock(8000)
    ('a minute', '10 minutes', '2 h 13 min')
    """
    minutes = round(seconds / 60)
    if minutes < 2:
        return "a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    return f"{minutes // 60} h {minutes % 60:02d} min"
