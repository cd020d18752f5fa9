"""The memory of this machine, and what is asked of it: said before the work begins."""

import contextlib
import os
from pathlib import Path

from plait.errors import InputError

CGROUP = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where a container says how much it may use, of version 2 and 1."""


def machine_memory() -> int | None:
    """Return the bytes of memory that a process may use here; None where the system is silent.

    It is the smallest of the machine's memory, its container's limit and the process's own.
    """
    limits = []
    with contextlib.suppress(AttributeError, ValueError, OSError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for file in CGROUP:
        with contextlib.suppress(OSError, ValueError):  # "max" is no number
            limits.append(int(file.read_text()))
    with contextlib.suppress(ImportError, OSError):
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft != resource.RLIM_INFINITY:
            limits.append(soft)
    return min((limit for limit in limits if limit > 0), default=None)


def require_memory(needed: float, what: str, fix: str) -> None:
    """Refuse, with `InputError`, work that needs more bytes than this machine has.

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
    there = machine_memory()
    if there is not None and needed > there:
        raise InputError(
            f"{what} needs about {gigabytes(needed)} of memory, and there are {gigabytes(there)} "
            f"here; {fix}"
        )


def gigabytes(count: float) -> str:
    """Write a number of bytes in GB, with two digits at least.

    >>> from plait.memory import gigabytes
    >>> gigabytes(2e9), gigabytes(123_456_000_000), gigabytes(1e20)
    ('2.0 GB', '123 GB', '1e+11 GB')
    """
    value = count / 1e9
    return (
        f"{value:.2g} GB"
        if value >= 1e6
        else f"{value:,.0f} GB"
        if value >= 10
        else f"{value:.1f} GB"
    )
