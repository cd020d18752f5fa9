"""Ctrl-C and SIGTERM: after the first the loop saves and stops."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """The run was stopped by a signal, with everything saved."""


@contextlib.contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C or SIGTERM into an event; the second Ctrl-C acts at once.

    Within another it gives the other's event: what stops a run stops those that would follow.
    """
    if threading.current_thread() is not threading.main_thread():
        yield threading.Event()
        return
    outer = signal.getsignal(signal.SIGINT)
    if isinstance(outer, _Stop):
        yield outer.event
        return
    stop = _Stop(threading.Event())
    previous = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop.event
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@dataclass(frozen=True)
class _Stop:
    """The handler of the signals."""

    event: threading.Event

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.event.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.event.set()
