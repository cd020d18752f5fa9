"""Which kernel runs a layer, and why."""

from typing import NamedTuple


class Choice(NamedTuple):
    """A kernel by the name that `explain()` shows, the reason in plain words.

    `{}` in the reason stands for the cell and the operator.

    `native` is the name of torch's own recurrence, when it is one of those that runs; `fused` that
    of the cell, when it is one of the compiled loops.
    """

    kernel: str
    reason: str
    native: str | None = None
    fused: str | None = None

    def said_of(self, layer: str) -> str:
        """Give kernel and reason in one line."""
        return f"{self.kernel} - {self.reason.format(layer)}"
