"""How many steps a training makes: what fits in the time given, or what the data asks for."""

import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from plait.news import LOGGER
from plait.training.followed import create_run
from plait.training.learning import Learning
from plait.training.pacing import Pace
from plait.training.progress import Progress
from plait.training.ranks import current_ranks
from plait.training.task import Task

SEARCHED = 0.5
"""Share of the time in which a task may search for what does best on validation."""

WARM_UP = 3
"""Steps before the clock is read."""

LEAST_TIMED = 5
"""Steps that are timed at least."""

SHARE_TIMED = 0.03
"""Share of the time in which steps are timed, at most 10 seconds."""


def measure(task: Task, seconds: float) -> Pace:
    """Train a task's model for about so many seconds, and time it; its weights are then as before.

    The steps are those of the loop itself, in a run folder that is deleted.
    """
    weights = {name: value.clone() for name, value in task.model.state_dict().items()}
    long = replace(task.config, steps=10**6, validate_every=10**6, minutes=0.0)
    own, task.config = task.config, long
    try:
        with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
            run = create_run(Path(folder) / "run", task.name, long, task.facts())
            loop = Learning(task, run, Progress())
            loop.progress.start(0, 0.0, [])
            for _ in range(WARM_UP):
                loop.step()
            step = _time(loop.step, seconds)
            loop.now.step = long.steps  # a milestone with a sample
            loop.milestone()
            validation, milestone = _time(loop.validate), _time(loop.milestone)
            return Pace(step, validation, milestone)
    finally:
        task.config = own
        task.model.load_state_dict(weights)


def _time(call: Callable[[], None], seconds: float = 0.0) -> float:
    """Return the mean time of a call, of those that fill so many seconds, at least one."""
    began, calls, taken = time.perf_counter(), 0, 0.0
    while calls == 0 or (seconds and (taken < seconds or calls < LEAST_TIMED)):
        call()
        calls += 1
        [taken] = current_ranks().largest(time.perf_counter() - began)  # all processes stop alike
    return taken / calls


def planned(task: Task, fixed: Collection[str], make: Callable[[Any], Task]) -> Task:
    """Return the task with the steps that its budget and its data ask for.

    With a budget it has the measured `pace`, by which the loop plans again while it runs.

    Parameters
    ----------
    task : Task
        Made from its configuration. Its options are changed by `Task.search`; with `minutes` it is
        timed, resized by `Task.sizes_for` too, and timed again if that changed anything.
    fixed : collection of str
        The options that were given, and so are kept.
    make : function
        Makes the task of another configuration.
    """
    minutes = task.config.minutes
    if not minutes:
        if "steps" not in fixed:
            task.config = replace(task.config, steps=task.default_steps())
        found = task.search(0.0, fixed)
        return make(replace(task.config, **found)) if found else task
    LOGGER.info("measuring this machine, to plan %g minutes", minutes)
    began = time.perf_counter()

    def left() -> float:
        [taken] = current_ranks().largest(time.perf_counter() - began)  # all processes plan alike
        return 60 * minutes - taken

    timed = min(10.0, SHARE_TIMED * 60 * minutes)
    pace = measure(task, timed)
    sizes = {
        **task.sizes_for(minutes, pace.step, fixed),
        **task.search(SEARCHED * left(), fixed),
    }
    changed = {k: v for k, v in sizes.items() if k not in fixed and getattr(task.config, k) != v}
    if changed:
        task = make(replace(task.config, **changed))
        pace = measure(task, timed)
    seconds = left()
    task.config = pace.plan(seconds, task.config, fixed=fixed)
    task.pace = replace(pace, measuring=60 * minutes - seconds)
    return task
