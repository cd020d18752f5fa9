"""The next batch, computed in a thread while a step is made with this one."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from plait.kernels.cpu.jit import on_one_thread

Batch = TypeVar("Batch")


class Ahead(Generic[Batch]):
    """Batches by their step, each computed before it is asked for, in a thread.

    A batch is a function of its step, so it is the same wherever it is computed. The thread
    computes alone, on one processor; the compiled code of samples and torch's own release
    the GIL.

    Parameters
    ----------
    batch : callable
        Returns the batch of a step.
    last : int
        The step after which none is asked for.

    Example
    -------
    >>> from plait.training.ahead import Ahead
    >>> with Ahead(lambda step: step**2, last=3) as batches:
    ...     [batches(1), batches(2), batches(3)]
    [1, 4, 9]
    """

    def __init__(self, batch: Callable[[int], Batch], last: int) -> None:
        self._batch, self._last = batch, last
        self._thread = ThreadPoolExecutor(1, "plait-batches", on_one_thread)
        self._next: tuple[int, Future[Batch]] | None = None

    def __enter__(self) -> "Ahead[Batch]":
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def __call__(self, step: int) -> Batch:
        """Return the batch of a step, and have that of the next one computed."""
        ahead, self._next = self._next, None
        found = ahead[1].result() if ahead and ahead[0] == step else self._batch(step)
        if step < self._last:
            self._next = step + 1, self._thread.submit(self._batch, step + 1)
        return found
