"""What fits a text and the time for it: width, learning rate, dropout, and the type of products."""

import math
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from plait.tasks.text.config import TextConfig

WORK = 851_968e6
"""A million symbols × the recurrent weights of two layers of 256."""

WIDTHS = ((0.0, 128, 0.016), (0.7, 192, 0.012), (1.5, 256, 0.008), (6.0, 384, 0.006))
"""Width and learning rate from so much work on (measured: docs/text_options.md)."""

WORDS: dict[str, Any] = {"length": 35, "batch_size": 20, "lr": 0.003, "schedule": "linear",
                            "warmup": 100}  # fmt: skip
"""Of words."""

WIDE: dict[str, Any] = {"hidden_size": 256, "embedding_size": 256, "tied": True}
"""Of words, where none of these is given: most of their work is the output, whatever the time."""

FASTER = 1.8
"""How many times as fast steps of width 256 are where products are computed in bfloat16."""


def dropout_for(readings: float) -> float:
    """Return the dropout rate for a text that is read so often.

    0.1 log₂(readings / 5), from 0 to 0.3, in steps of 0.05: none below six readings.

    >>> from plait.tasks.text.sizes import dropout_for
    >>> [dropout_for(readings) for readings in (0.01, 3, 9, 28, 1e6)]
    [0.0, 0.0, 0.1, 0.25, 0.3]
    """
    rate = 0.1 * math.log2(max(readings, 5) / 5)
    return round(20 * min(0.3, rate)) / 20


def sizes_for(
    config: TextConfig, fixed: Collection[str], *, read: float, symbols: int, half: bool
) -> dict[str, Any]:
    """Return the options that suit a text and a time, next to those that are given.

    Parameters
    ----------
    config : TextConfig
    fixed : collection of str
        The options that are given.
    read : float
        The symbols that the model of `config` reads in the time.
    symbols : int
        Of the text's part to train on.
    half : bool
        Whether products in bfloat16 are faster here.
    """
    chosen: dict[str, Any] = {}
    if half and "precision" not in fixed:
        chosen["precision"] = "bfloat16"
        read *= FASTER
    if config.units == "words":
        chosen |= WORDS | (WIDE if WIDE.keys().isdisjoint(fixed) else {})
    else:
        work = read * _weights(config) / (FASTER if "precision" in chosen else 1)
        _, width, lr = max(size for size in WIDTHS if work >= size[0] * WORK)
        recipe = {k: v for k, v in config.recipes["good"].items() if k != "steps"}
        chosen |= recipe | {"hidden_size": width, "lr": lr}
        trained = {k: v for k, v in chosen.items() if k not in fixed}
        read *= _weights(config) / _weights(replace(config, **trained))
    return {**chosen, "dropout": dropout_for(read / symbols)}


def _weights(config: TextConfig) -> int:
    """Return the recurrent weights of an LSTM of these sizes, biases aside."""
    E, H = config.embedding_size, config.hidden_size
    return 4 * H * (E + H + (config.layers - 1) * 2 * H)
