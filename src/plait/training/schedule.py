"""The learning rate over time."""

import math

from plait.training.config import TrainingConfig


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Return the learning rate of a step; the first is step 1.

    With warm-up w and n steps in all: lr · step / w while step < w; after that lr ("constant"),
    or lr · (1 + cos(π (step − w) / (n − w))) / 2 ("cosine").

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
    share = (step - config.warmup) / (config.steps - config.warmup)
    return config.lr * (1 + math.cos(math.pi * share)) / 2
