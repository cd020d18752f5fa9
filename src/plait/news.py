"""Messages about slow work, such as compiling, sent by logging from any module."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOGGER = logging.getLogger("plait")
"""Messages go here at level INFO: `logging.getLogger(__name__).info("compiling kernels")`."""


class _Listener(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self.tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a message to the function."""
        self.tell(record.getMessage())


@contextmanager
def heard_by(tell: Callable[[str], None]) -> Iterator[None]:
    """Pass Plait's messages to a function for a block of code, instead of to an outer one.

    Example
    -------
    >>> import logging
    >>> from plait.news import heard_by
    >>> with heard_by(print):
    ...     logging.getLogger("plait.kernels").info("compiling kernels, once for this machine")
    compiling kernels, once for this machine
    """
    before, level = LOGGER.handlers, LOGGER.level
    others = [handler for handler in before if not isinstance(handler, _Listener)]
    LOGGER.handlers = [*others, _Listener(tell)]
    LOGGER.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOGGER.handlers = before
        LOGGER.setLevel(level)
