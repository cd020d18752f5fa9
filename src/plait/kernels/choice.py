"""Which kernel runs a layer, and why."""

from typing import NamedTuple


class Choice(NamedTuple):
    """A kernel by the name that `explain()` shows, the reason in plain words.

    `native` is the name of torch's own recurrence, when it is one of those that runs.
    """

    kernel: str
    reason: str
    native: str | None = None
