"""What this machine has room for, asked before work begins."""

import os
from pathlib import Path

from plait.errors import InputError

SMALL = 2**24
"""Bytes that are there without asking."""

UNKNOWN = 4 * 10**9
"""Bytes taken to be free where the system does not say."""


def free_memory() -> int:
    """Return the bytes of memory that are free here, within the limit of a container."""
    free = [_available()]
    group = Path("/sys/fs/cgroup")
    for most, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        limit, taken = _number(group / most), _number(group / used)
        if limit is not None and taken is not None:
            free.append(max(0, limit - taken))
    return min(free)


def require_memory(what: str, need: int, mend: str) -> None:
    """Raise `InputError` where something needs more memory than is free.

    Parameters
    ----------
    what : str
        What needs it, the beginning of the sentence.
    need : int
        Bytes.
    mend : str
        What to do about it.

    Example
    -------
    >>> from plait.bounds import require_memory
    >>> require_memory("a table of one row", 100, "give fewer rows")
    """
    if need < SMALL:
        return
    free = free_memory()
    if need > free:
        raise InputError(
            f"{what} takes about {size(need)} of memory, and {size(free)} are free; {mend}"
        )


def size(count: int) -> str:
    """Write a number of bytes.

    >>> from plait.bounds import size
    >>> size(3_200_000_000), size(5_000_000)
    ('3.2 GB', '5 MB')
    """
    return f"{count / 1e9:.2g} GB" if count >= 10**9 else f"{count / 1e6:.3g} MB"


def _available() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvail"))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, OSError, ValueError):
        return UNKNOWN


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
