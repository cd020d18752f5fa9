"""Which of the processes of one training this is, as torchrun says it in the environment."""

import os


def process_count() -> int:
    """Return how many processes train together; 1 without torchrun.

    >>> from plait.launch import process_count
    >>> process_count()
    1
    """
    return _number("WORLD_SIZE", 1) if "RANK" in os.environ else 1


def process_rank() -> int:
    """Return the number of this process, from 0."""
    return _number("RANK", 0)


def local_rank() -> int:
    """Return the number of this process on its machine, from 0."""
    return _number("LOCAL_RANK", 0)


def is_first() -> bool:
    """Return whether this is the process that writes and shows the progress."""
    return process_count() == 1 or process_rank() == 0


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else default
