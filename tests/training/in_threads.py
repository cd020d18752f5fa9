"""Processes that train together, played by threads: what they exchange is passed in memory."""

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import distributed as dist

from plait.training.ranks import Ranks, as_ranks


class Board:
    """Where the threads lay down what they send; each waits until all have."""

    def __init__(self, count: int) -> None:
        self.slots: list[Any] = [None] * count
        self.barrier = threading.Barrier(count, timeout=20)


class ThreadRanks(Ranks):
    """A group of threads."""

    def __init__(self, rank: int, count: int, board: Board) -> None:
        super().__init__(rank, count)
        self.board = board

    def _exchange(self, value: Any) -> list[Any]:
        self.board.slots[self.rank] = value
        self.board.barrier.wait()
        values = list(self.board.slots)
        self.board.barrier.wait()
        return values

    def _all_reduce(self, tensor, operation) -> None:
        values = torch.stack(self._exchange(tensor.clone()))
        total = values.sum(0) if operation == dist.ReduceOp.SUM else values.amax(0)
        tensor.copy_(total)

    def _broadcast(self, content: bytes) -> bytes:
        return self._exchange(content)[0]

    def _gather(self, content: bytes) -> list[bytes]:
        return self._exchange(content)


def side_by_side(count: int, function: Callable[[Ranks], Any]) -> list[Any]:
    """Return what each of so many threads returns; an exception of one, or of its value."""
    board, found = Board(count), [None] * count

    def go(rank: int) -> None:
        ranks = ThreadRanks(rank, count, board)
        try:
            with as_ranks(ranks):
                found[rank] = function(ranks)
        except Exception as error:
            found[rank] = error
        except KeyboardInterrupt as error:  # `Interrupted` is one
            found[rank] = error

    threads = [threading.Thread(target=go, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
