"""Sequences of several lengths without their padding."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor


class Packing(NamedTuple):
    """Sequences by falling lengths, and of every step those that have it: P rows in all."""

    T: int
    B: int
    starts: Tensor  # int32 [T + 1], the rows before those of each step
    order: Tensor | None  # [B]; None: all are of length T
    back: Tensor | None  # [B], the order undone
    index: Tensor | None  # [P], where the rows lie among T · B

    @classmethod
    def of(cls, lengths: Tensor | None, T: int, B: int) -> "Packing":
        """Pack `[T, B]` sequences of these lengths."""
        if lengths is None:
            return _unpacked(T, B)
        ends, order = lengths.sort(descending=True, stable=True)
        steps = torch.arange(T)[:, None]
        has = steps < ends  # [T, B]
        starts = torch.zeros(T + 1, dtype=torch.int32)
        starts[1:] = has.sum(1).cumsum(0)
        return cls(T, B, starts, order, order.argsort(), (steps * B + order)[has])

    def pack(self, x: Tensor) -> Tensor:
        """Return the rows `[P, …]` of `[T, B, …]`."""
        x = x.flatten(0, 1)
        return x if self.index is None else x.index_select(0, self.index)

    def unpack(self, x: Tensor) -> Tensor:
        """Put the rows `[P, …]` back, zeros past the ends: `[T, B, …]`."""
        if self.index is not None:
            x = x.new_zeros(self.T * self.B, *x.shape[1:]).index_copy(0, self.index, x)
        return x.unflatten(0, (self.T, self.B))

    def sort(self, state: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Order states `[B, …]` by falling lengths."""
        return tuple(s if self.order is None else s.index_select(0, self.order) for s in state)

    def unsort(self, state: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Bring states back into the order of the batch."""
        return tuple(s if self.back is None else s.index_select(0, self.back) for s in state)


@lru_cache(64)
def _unpacked(T: int, B: int) -> Packing:
    """Pack sequences that are all of length T; it is asked for at every call."""
    return Packing(T, B, torch.arange(T + 1, dtype=torch.int32) * B, None, None, None)
