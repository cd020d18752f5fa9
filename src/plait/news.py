"""Messages about slow work, such as compiling, sent by logging from any module."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

LOGGER = logging.getLogger("plait")
"""Where it is logged, at level INFO: `logging.getLogger(__name__).info("compiling kernels")`.

At level WARNING is what must not be missed, such as rows of a table that were left out.
"""


def remark(what: str, notes: Iterable[str]) -> None:
    """Log, where there are any, notes on how data was read."""
    if text := "; ".join(notes):
        LOGGER.warning("%s: %s", what, text)


class _Listener(logging.Handler):
    def __init__(self, receive: Callable[[str], None], level: int) -> None:
        super().__init__(level)
        self.receive = receive

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a message to the function."""
        self.receive(record.getMessage())


@contextmanager
def messages_to(receive: Callable[[str], None], level: int = logging.INFO) -> Iterator[None]:
    """Pass what Plait logs on to a function, in place of the function before.

    Example
    -------
    >>> import logging
    >>> from plait.news import messages_to
    >>> with messages_to(print):
    ...     logging.getLogger("plait.kernels").info("compiling kernels, once for this machine")
    compiling kernels, once for this machine
    """
    before, level_before = LOGGER.handlers, LOGGER.level
    others = [handler for handler in before if not isinstance(handler, _Listener)]
    LOGGER.handlers = [*others, _Listener(receive, level)]
    LOGGER.setLevel(level)
    try:
        yield
    finally:
        LOGGER.handlers = before
        LOGGER.setLevel(level_before)
