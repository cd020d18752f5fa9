"""What fits a text and the time for it: width, learning rate, dropout, and the type of products."""

import math
from collections.abc import Collection, Mapping
from typing import Any

WORK = 854_016e6
"""A million symbols × the recurrent weights of two layers of 256."""

WIDTHS = ((0.0, 128, 0.016), (0.7, 192, 0.012), (1.5, 256, 0.008), (6.0, 384, 0.006))
"""Width and learning rate from so much work on (measured: see the tutorial on text)."""

WORDS: dict[str, Any] = {"length": 35, "batch_size": 20, "lr": 0.003, "schedule": "linear",
                            "warmup": 100}  # fmt: skip
"""Of words."""

WIDE: dict[str, Any] = {"hidden_size": 256, "embedding_size": 256, "tied": True}
"""Of words, where none of these is given: most of their work is the output, whatever the time."""

FASTER = 1.8
"""How many times as fast steps are where products are computed in bfloat16."""


def dropout_for(readings: float) -> float:
    """Return the dropout rate for a text that is read so often.

    0.1 log₂(readings / 6), from 0 to 0.3, in steps of 0.05: none below seven readings.

    >>> from plait.tasks.text.sizes import dropout_for
    >>> [dropout_for(readings) for readings in (0.01, 3, 9, 28, 1e6)]
    [0.0, 0.0, 0.05, 0.2, 0.3]
    """
    rate = 0.1 * math.log2(max(readings, 6) / 6)
    return round(20 * min(0.3, rate)) / 20


def sizes_for(
    recipe: Mapping[str, Any],
    words: bool,
    *,
    read: float,
    weights: int,
    symbols: int,
    half: bool,
    fixed: Collection[str],
) -> dict[str, Any]:
    """Return the options for a text of so many `symbols` to train on.

    Parameters
    ----------
    recipe : mapping
        The options that hold for characters whatever the time, `steps` aside.
    words : bool
        Whether the symbols are words.
    read : float
        The symbols that a model with so many recurrent `weights` reads in the time, in float32.
    weights, symbols : int
    half : bool
        Whether products in bfloat16 are faster here.
    fixed : collection of str
        The options that are given.
    """
    chosen: dict[str, Any] = {"precision": "bfloat16"} if half else {}
    if words:
        chosen |= WORDS | (WIDE if WIDE.keys().isdisjoint(fixed) else {})
    else:
        _, width, lr = max(size for size in WIDTHS if read * weights >= size[0] * WORK)
        chosen |= {name: value for name, value in recipe.items() if name != "steps"}
        chosen |= {"hidden_size": width, "lr": lr}
        read *= weights / (12 * width**2 + 4 * width * recipe["embedding_size"])
    return {**chosen, "dropout": dropout_for(read * (FASTER if half else 1) / symbols)}
