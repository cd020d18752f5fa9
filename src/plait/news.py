"""News of what takes a while: told by a line of logging, from whatever depth it comes."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOGGER = logging.getLogger("plait")
"""Where it is logged, at level INFO: `logging.getLogger(__name__).info("compiling kernels")`."""


class _Listener(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self.tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a line on."""
        self.tell(record.getMessage())


@contextmanager
def heard_by(tell: Callable[[str], None]) -> Iterator[None]:
    """Pass what Plait logs on to a function, in place of whoever heard it before.

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
