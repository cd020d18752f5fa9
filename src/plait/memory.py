"""The memory that is free on this machine, and what is asked of it: checked before work begins."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from plait.errors import InputError

CGROUP = Path("/sys/fs/cgroup")
"""Where a container's limit and use are written."""

GROUP_FILES = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat",
        "total_inactive_file",
    ),
)  # fmt: skip
"""Limit, use, statistics, and the name there of what can be dropped, in version 2 and 1."""

SMALL = 2**24
"""Bytes that are granted without a look at what is free."""


def free_memory() -> int | None:
    """Return the bytes of memory that a process may still take; None where the system is silent.

    It is the smallest of what is free on the machine, in its container, and for the process itself.
    """
    return min((max(0, free) for free in _limits()), default=None)


def require_memory(needed: float, what: str, fix: str) -> None:
    """Refuse, with `InputError`, work that needs more memory than is free.

    Parameters
    ----------
    needed : float
        Bytes.
    what : str
        What needs them, the beginning of the message.
    fix : str
        What to do, its end.

    Example
    -------
    >>> from plait.memory import require_memory
    >>> require_memory(2**80, "--batch-size 1000000000000000", "make it smaller")
    Traceback (most recent call last):
        ...
    plait.errors.InputError: --batch-size 1000000000000000 needs about 1.2e+15 GB of memory, and...
    """
    if needed <= SMALL:
        return
    free = free_memory()
    if free is not None and needed > free:
        raise InputError(
            f"{what} needs about {bytes_text(needed)} of memory, and {bytes_text(free)} are free; "
            f"{fix}"
        )


def bytes_text(count: float) -> str:
    """Write a number of bytes in MB or GB.

    >>> from plait.memory import bytes_text
    >>> bytes_text(5_230_000), bytes_text(2e9), bytes_text(123_456_000_000), bytes_text(1e20)
    ('5.23 MB', '2.0 GB', '123 GB', '1e+11 GB')
    """
    value = count / 1e9
    if value < 1:
        return f"{count / 1e6:.3g} MB"
    return f"{value:.1f} GB" if value < 10 else f"{value:,.0f} GB" if value < 1e6 else (
        f"{value:.2g} GB"
    )  # fmt: skip


def _limits() -> Iterator[int]:
    page = 4096
    with contextlib.suppress(AttributeError, ValueError, OSError):
        page = os.sysconf("SC_PAGE_SIZE")
        yield page * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError, KeyError):
        yield 1024 * _numbers(Path("/proc/meminfo"))["MemAvailable:"]
    for limit, use, statistics, inactive in GROUP_FILES:
        with contextlib.suppress(OSError, ValueError, KeyError):  # "max" is no number
            most = int((CGROUP / limit).read_text())
            # files read before count as used, and are dropped where memory is wanted
            dropped = _numbers(CGROUP / statistics)[inactive]
            yield most - int((CGROUP / use).read_text()) + dropped
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft != resource.RLIM_INFINITY:
            yield soft - page * int(Path("/proc/self/statm").read_text().split()[0])


def _numbers(file: Path) -> dict[str, int]:
    """Return the first number of each line, by the word before it."""
    words = (line.split() for line in file.read_text().splitlines())
    return {line[0]: int(line[1]) for line in words if len(line) > 1}
