"""How many steps a training makes: what fits in the time given, or what the data asks for."""

import math
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from plait.news import LOGGER
from plait.training.followed import create_run
from plait.training.learning import Learning
from plait.training.progress import Progress
from plait.training.ranks import current_ranks
from plait.training.task import Task

WARM_UP = 3
"""Steps before the clock is read."""

LEAST_TIMED = 5
"""Steps that are timed at least."""

SHARE_TIMED = 0.03
"""Share of the time in which steps are timed, at most 10 seconds."""

SHARE_VALIDATED = 0.12
"""Share of the time that validations may take, where `validate_every` is not given."""

VALIDATIONS = 10
"""How many there are where time allows."""


@dataclass(frozen=True)
class Pace:
    """Seconds that a step, a validation, and keeping the weights of a milestone take."""

    step: float
    validation: float
    milestone: float
    measuring: float = 0.0
    """Seconds that it took to time them, warm-up and compiling left out."""

    def plan(self, seconds: float, config: Any, *, fixed: Collection[str] = ()) -> Any:
        """Return the configuration with the steps, and validations, that fit in this time.

        Of few steps at most a fifth are warm-up.

        >>> from plait.training.budget import Pace
        >>> from plait.training.config import TrainingConfig
        >>> config = Pace(step=0.1, validation=0.6, milestone=0.0).plan(60, TrainingConfig())
        >>> config.steps, config.validate_every
        (540, 54)
        """
        left = max(0.0, seconds - self.milestone * config.milestones)
        if "validate_every" in fixed and config.validate_every:
            each = self.step + self.validation / config.validate_every
            return self._with_steps(config, left / each, fixed)
        allowed = int(SHARE_VALIDATED * left / max(self.validation, 1e-9))
        count = max(1, min(VALIDATIONS, allowed))
        config = self._with_steps(config, (left - count * self.validation) / self.step, fixed)
        return replace(config, validate_every=math.ceil(config.steps / count))

    @staticmethod
    def _with_steps(config: Any, count: float, fixed: Collection[str]) -> Any:
        steps = max(1, round(count))
        warmup = config.warmup if "warmup" in fixed else min(config.warmup, steps // 5)
        return replace(config, steps=steps, warmup=warmup)


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
            steps, step = _time(loop.step, seconds)
            loop.now.step = long.steps  # a milestone with a sample
            loop.milestone()
            (_, validation), (_, milestone) = _time(loop.validate), _time(loop.milestone)
            return Pace(step, validation, milestone, steps * step + validation + milestone)
    finally:
        task.config = own
        task.model.load_state_dict(weights)


def _time(call: Callable[[], None], seconds: float = 0.0) -> tuple[int, float]:
    """Return how many calls filled so many seconds, at least one, and the mean time of one."""
    began, calls, taken = time.perf_counter(), 0, 0.0
    while calls == 0 or (seconds and (taken < seconds or calls < LEAST_TIMED)):
        call()
        calls += 1
        [taken] = current_ranks().largest(time.perf_counter() - began)  # all processes stop alike
    return calls, taken / calls


def planned(task: Task, fixed: Collection[str], make: Callable[[Any], Task]) -> Task:
    """Return the task with the steps that its budget and its data ask for.

    Parameters
    ----------
    task : Task
        Made from its configuration. With `minutes` it is timed, resized by `Task.sizes_for`, and
        timed again if that changed anything.
    fixed : collection of str
        The options that were given, and so are kept.
    make : function
        Makes the task of another configuration.
    """
    minutes = task.config.minutes
    if not minutes:
        if "steps" not in fixed:
            task.config = replace(task.config, steps=task.default_steps())
        return task
    LOGGER.info("measuring this machine, to plan %g minutes", minutes)
    timed = min(10.0, SHARE_TIMED * 60 * minutes)
    pace = measure(task, timed)
    left = 60 * minutes - pace.measuring
    sizes = task.sizes_for(minutes, pace.step)
    changed = {k: v for k, v in sizes.items() if k not in fixed and getattr(task.config, k) != v}
    if changed:
        task = make(replace(task.config, **changed))
        pace = measure(task, timed)
        left -= pace.measuring
    task.config = pace.plan(left, task.config, fixed=fixed)
    return task
