"""Text symbol by symbol on a GPU: a step is recorded once, and replayed for each symbol.

A step of one text is some dozens of small launches, each of which costs more than its work. What
changes from step to step lies in tensors that the step itself writes: states, the last symbol, and
which of the random numbers is the next.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plait.kernels.gpu.graphs import Recorder, Replay

WARM = 2
"""Symbols drawn by a step that is not recorded yet."""

ROWS = 64
"""Symbols of a text between two times that they are fetched."""

State = tuple[Tensor, ...]


class RecordedLoop:
    """Texts that are being written: their states, and the step that was recorded.

    Parameters
    ----------
    step : callable
        `step(symbols [B], state)` returns logits `[B, V]` and the new state.
    state : tuple of Tensor
    count : int
        B.
    recorder : Recorder
    """

    def __init__(
        self, step: Callable[[Tensor, State], tuple[Tensor, State]], state: State, count: int,
        recorder: Recorder,
    ) -> None:  # fmt: skip
        self.step, self.recorder = step, recorder
        self.state = tuple(s.clone(memory_format=torch.contiguous_format) for s in state)
        device = state[0].device
        self.drawn = torch.zeros(count, dtype=torch.long, device=device)
        self.uniform = torch.zeros(ROWS, count, dtype=torch.float64, device=device)
        self.written = torch.zeros(ROWS, count, dtype=torch.long, device=device)
        self.row = torch.zeros(1, dtype=torch.long, device=device)
        self.done = 0
        self.draw: Any = None
        self.replay: Replay[None] | None = None

    def generate(
        self, last: Tensor, uniform: np.ndarray, draw: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """Return the symbols after `last [B]`, drawn with `uniform [n, B]`: `[n, B]`.

        Parameters
        ----------
        last : Tensor
        uniform : array of float64
        draw : callable
            `draw(logits [B, V], u [B])` returns symbols; the same at every call.
        """
        if self.draw is None:
            self.draw = draw
        self.recorder.follow()
        self.drawn.copy_(last)
        found = [self._some(part) for part in np.split(uniform, range(ROWS, len(uniform), ROWS))]
        return torch.cat(found)

    def _some(self, uniform: np.ndarray) -> Tensor:
        """Draw at most `ROWS` symbols of every text."""
        self.uniform[: len(uniform)].copy_(torch.from_numpy(uniform))
        self.row.zero_()
        for _ in range(len(uniform)):
            if self.done < WARM:
                self.recorder.warm_up(self._work)
                self.done += 1
                continue
            if self.replay is None:
                self.replay = self.recorder.record(self._work)
            self.replay()
        return self.written[: len(uniform)].clone()

    def _work(self) -> None:
        """Do one step, in place."""
        logits, state = self.step(self.drawn, self.state)
        u = self.uniform.index_select(0, self.row)[0]
        drawn = self.draw(logits, u)
        self.written.index_copy_(0, self.row, drawn[None])
        self.drawn.copy_(drawn)
        self.row.add_(1)
        for own, new in zip(self.state, state, strict=True):
            own.copy_(new)
