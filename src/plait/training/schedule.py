"""The learning rate over time."""

import math

from plait.training.config import TrainingConfig


def learning_rate(config: TrainingConfig, step: int, since: tuple[int, float] = (0, 0.0)) -> float:
    """Return the learning rate of a step; the first is step 1.

    With warm-up w: lr · step / w while step < w; after that, with s of `schedule_share`,

    | schedule | learning rate |
    |---|---|
    | constant | lr |
    | cosine | lr · (1 + cos(π s)) / 2 (Loshchilov and Hutter 2017) |
    | linear | lr · (1 − s) |
    | wsd | lr · min(1, 3 (1 − s)): warm-up, stable, decay (Hu et al. 2024, MiniCPM) |

    >>> from plait.training.config import TrainingConfig
    >>> from plait.training.schedule import learning_rate
    >>> config = TrainingConfig(steps=100, lr=1.0, schedule="cosine", warmup=10)
    >>> [round(learning_rate(config, s), 3) for s in (1, 10, 55, 100)]
    [0.1, 1.0, 0.5, 0.0]
    """
    if step < config.warmup:
        return config.lr * step / config.warmup
    if config.schedule == "constant" or config.steps <= config.warmup:
        return config.lr
    share = schedule_share(config, step, since)
    if config.schedule == "linear":
        return config.lr * (1 - share)
    if config.schedule == "wsd":
        return config.lr * min(1.0, 3 * (1 - share))
    return config.lr * (1 + math.cos(math.pi * share)) / 2


def schedule_share(config: TrainingConfig, step: int, since: tuple[int, float] = (0, 0.0)) -> float:
    """Return how much of the schedule lies behind a step, from 0 at the warm-up's end to 1.

    s = s_a + (1 − s_a) (step − a) / (steps − a)

    Here a is the step, and s_a the share behind it, at which the number of steps was last changed:
    `since`. At first, and as long as it was changed in the warm-up, a is its end and s_a = 0. So
    the rate has no jump where steps are planned anew, and reaches its bottom at the last.

    >>> from dataclasses import replace
    >>> from plait.training.config import TrainingConfig
    >>> from plait.training.schedule import schedule_share
    >>> config = TrainingConfig(steps=100)
    >>> schedule_share(config, 50)
    0.5
    >>> longer = replace(config, steps=150)
    >>> [schedule_share(longer, step, since=(50, 0.5)) for step in (50, 100, 150)]
    [0.5, 0.75, 1.0]
    """
    first, behind = since if since[0] > config.warmup else (config.warmup, 0.0)
    if config.steps <= first:
        return 1.0
    return behind + (1 - behind) * (step - first) / (config.steps - first)
