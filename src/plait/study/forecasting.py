"""How long runs will take here: a few steps of each kind, measured."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from plait.api import make_task
from plait.comparison.grid import Plan
from plait.training.config import TrainingConfig
from plait.training.loop import Loop
from plait.training.progress import Progress
from plait.training.run import Run

WARM, MEASURED = 1, 3
"""Steps that are made first, and those that are measured."""

TESTED = 3
"""A test is taken to cost as much as so many validations."""


def seconds_ahead(task: str, plans: Sequence[Plan], threads: int, jobs: int) -> float:
    """Say how long runs of one task will take, so many at a time.

    Runs that differ in the seed and the number of steps alone are one kind, and measured once.
    """
    speeds: dict[str, tuple[float, float, float]] = {}
    total = 0.0
    for plan in plans:
        kind = repr({**asdict(plan.config), "seed": 0, "steps": 0})
        if kind not in speeds:
            config = replace(plan.config, threads=max(1, threads // jobs))
            speeds[kind] = measured(task, config)
        begin, step, validation = speeds[kind]
        config = plan.config
        validations = config.steps / (config.validate_every or max(1, config.steps // 10))
        total += begin + config.steps * step + (validations + TESTED) * validation
    return total / jobs


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
    ('under a minute', '10 minutes', '2 h 13 min')
    """
    minutes = round(seconds / 60)
    if seconds < 60:
        return "under a minute"
    if minutes < 60:
        return f"{minutes} minute{'s' * (minutes > 1)}"
    return f"{minutes // 60} h {minutes % 60:02d} min"
