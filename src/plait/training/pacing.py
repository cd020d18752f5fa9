"""How many steps fit in the time given: before a training, and again while it runs."""

import math
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

SHARE_VALIDATED = 0.12
"""Share of the time that validations may take, where `validate_every` is not given."""

VALIDATIONS = 10
"""How many there are where time allows."""

INTERVAL = 0.02
"""Share of the time after which the steps are planned again."""

SHORT = 10.0
"""Seconds below which a training is made as it was planned."""

WINDOWS = 3
"""Intervals over which the time of a step is averaged."""


@dataclass(frozen=True)
class Pace:
    """Seconds that a step, a validation, and keeping the weights of a milestone take."""

    step: float
    validation: float
    milestone: float
    measuring: float = 0.0
    """Seconds that it took to find out, with compiling and warm-up."""

    def plan(self, seconds: float, config: Any, *, fixed: Collection[str] = ()) -> Any:
        """Return the configuration with the steps, and validations, that fit in this time.

        Of few steps at most a fifth are warm-up. With `patience` validations stay as they are.

        >>> from plait.training.config import TrainingConfig
        >>> from plait.training.pacing import Pace
        >>> config = Pace(step=0.1, validation=0.6, milestone=0.0).plan(60, TrainingConfig())
        >>> config.steps, config.validate_every
        (540, 54)
        """
        left = max(0.0, seconds - self.milestone * config.milestones)
        if config.validate_every and ("validate_every" in fixed or config.patience):
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


class Clock:
    """What a training with a given time has taken so far, and the steps that are left for it.

    A step's time is the mean over the last three intervals, with all that is done between two
    steps but validations and milestones; of those the last one's time counts.

    Parameters
    ----------
    pace : Pace
        As measured before.
    seconds : float
        Of the whole training, without the measuring.
    step : int
        Steps made before.
    elapsed : float
        Seconds that they took.

    Example
    -------
    >>> from plait.training.pacing import Clock, Pace
    >>> clock = Clock(Pace(step=0.1, validation=1.0, milestone=0.0), seconds=60)
    >>> clock.due(1.0), clock.due(2.0)
    (False, True)
    >>> clock.steps_left(10, 2.0, validate_every=100, milestones=0)     # 0.2 s a step
    275.0
    """

    def __init__(self, pace: Pace, seconds: float, step: int = 0, elapsed: float = 0.0) -> None:
        self.seconds, self.interval = seconds, INTERVAL * seconds
        self.last = {"validation": pace.validation, "milestone": pace.milestone}
        self.step, self.elapsed, self.aside = step, elapsed, 0.0
        self.windows: deque[tuple[int, float]] = deque(maxlen=WINDOWS)  # steps, their seconds

    def time(self, name: str, call: Callable[[], None]) -> None:
        """Call a "validation" or "milestone", and keep its time apart from that of steps."""
        began = time.monotonic()
        call()
        self.last[name] = time.monotonic() - began
        self.aside += self.last[name]

    def due(self, elapsed: float) -> bool:
        """Return whether it is time to plan again."""
        return elapsed - self.elapsed >= self.interval

    def steps_left(self, step: int, elapsed: float, validate_every: int, milestones: int) -> float:
        """Return how many steps fit in the time left after `step`, and begin a new interval."""
        self.windows.append((step - self.step, elapsed - self.elapsed - self.aside))
        self.step, self.elapsed, self.aside = step, elapsed, 0.0
        steps, seconds = (sum(part) for part in zip(*self.windows, strict=True))
        each = max(seconds / steps, 1e-9)
        left = self.seconds - elapsed - milestones * self.last["milestone"]
        validation = self.last["validation"]
        guess = int(step + max(0.0, left / (each + validation / validate_every)))
        validations = guess // validate_every - step // validate_every
        validations += guess % validate_every > 0  # the last step is validated
        return max(0.0, (left - validations * validation) / each)


class Parts:
    """The ends of equal parts of a training whose steps may change.

    Example
    -------
    >>> from plait.training.pacing import Parts
    >>> thirds = Parts(3)
    >>> [step for step in range(1, 21) if thirds.reached(step, 20)]
    [6, 13, 20]
    """

    def __init__(self, count: int) -> None:
        self.count, self.done = count, 0

    def ended(self, step: int, steps: int) -> int:
        """Return how many parts end by a step."""
        return sum(max(1, steps * k // self.count) <= step for k in range(1, self.count + 1))

    def reached(self, step: int, steps: int) -> bool:
        """Return whether a part has ended since this was last true."""
        ended = self.ended(step, steps)
        new = ended > self.done
        self.done = max(self.done, ended)
        return new
