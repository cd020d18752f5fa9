"""What the benchmarks share: rows, times of two sides in turn, memory."""

import ctypes
import gc
import platform
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch

import plait
from plait.errors import InputError
from plait.kernels.cpu.simd import LANES

Sides = tuple[Callable[[], Any], Callable[[], Any]]


@dataclass
class Row:
    """A question: our side and the peer's, the least ratio that is wanted, what it must compute."""

    name: str
    peer: str
    least: float | None
    make: Callable[[], Sides]  # ImportError: no peer; InputError: no data
    operations: float = 0.0  # multiplications and additions of the matrix products of our side
    memory: bool = False  # measured too, each side in a process of its own


def seconds(run: Callable[[], Any]) -> float:
    """Wall-clock time of one call."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def measure(row: Row, patience: float, most: int = 15) -> dict[str, Any]:
    """Take the times of both sides in turn, 3 … `most` of them within so many seconds."""
    record: dict[str, Any] = {"work": row.name, "peer": row.peer, "wanted": row.least}
    torch.manual_seed(0)
    try:
        ours, theirs = row.make()
    except (ImportError, InputError) as error:  # no peer, or no data
        return record | {"missing": str(error)}
    ours(), theirs()
    once = seconds(ours) + seconds(theirs)
    rounds = max(3, min(most, int(patience / once)))
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    low, middle, high = statistics.quantiles([t / o for o, t in pairs], n=4)
    mine, peers = (statistics.median(side) for side in zip(*pairs, strict=True))
    record |= {
        "ours, ms": mine * 1e3, "peer, ms": peers * 1e3, "times as fast": middle,
        "quartiles": [low, high], "rounds": rounds, "operations": row.operations,
    }  # fmt: skip
    del ours, theirs
    if row.memory:
        for key, side in (("ours, MB", "0"), ("peer, MB", "1")):
            record[key] = memory_apart(row.name, side)
    return record


def memory_apart(*what: str) -> float:
    """Ask this script, in a process of its own, for the memory of something, in MB."""
    arguments = ["--threads", str(torch.get_num_threads()), "--memory", *what]
    command = [sys.executable, sys.argv[0], *arguments]
    shown = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(shown.stdout)


def memory(make: Callable[[], Callable[[], Any]]) -> float:
    """Highest resident memory of two calls above that before them, in MB.

    Another one was made and called before, so that code that is loaded at a first call does not
    count; what it left is given back to the system.
    """
    make()()
    run = make()
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = highest = _resident()
    done = threading.Event()

    def watch() -> None:  # not every system keeps the highest; torch lets this thread run
        nonlocal highest
        while not done.wait(0.001):
            highest = max(highest, _resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    run()
    run()
    done.set()
    watcher.join()
    return highest - before


def facts(limits: dict[str, float]) -> dict[str, Any]:
    """State when, where and with what it is measured, and these limits of the machine."""
    return {
        "date": date.today().isoformat(), "processor": _processor(),
        "vectors of float32": LANES,
        "threads": torch.get_num_threads(), "torch": torch.__version__,
        "plait": plait.__version__, "python": platform.python_version(), **limits,
    }  # fmt: skip


HEADER = (
    "| work | ours, ms | peer | peer, ms | times as fast | wanted | products alone, ms | memory |\n"
    "|---|---|---|---|---|---|---|---|"
)


def line(record: dict[str, Any], peak: float) -> str:
    """Write a row of the table; `peak` is the machine's limit, in GFLOP/s."""
    work, peer = record["work"], record["peer"]
    wanted = "" if record["wanted"] is None else f"{record['wanted']:g}"
    if "missing" in record:
        return f"| {work} | | {peer} | not measured: {record['missing']} | | {wanted} | | |"
    low, high = record["quartiles"]
    alone = f"{record['operations'] / peak / 1e6:.1f}" if record["operations"] else ""
    used = ""
    if "peer, MB" in record:
        mine, theirs = record["ours, MB"], record["peer, MB"]
        used = f"{mine:.0f} of {theirs:.0f} MB: {mine / theirs:.2f}"
    return (
        f"| {work} | {record['ours, ms']:.2f} | {peer} | {record['peer, ms']:.2f} | "
        f"{record['times as fast']:.2f} ({low:.2f} … {high:.2f}) | {wanted} | {alone} | {used} |"
    )


def shown(facts: dict[str, Any]) -> str:
    """Write the facts in one line."""
    shown = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in facts.items()}
    return "; ".join(f"{k}: {v}" for k, v in shown.items())


def chosen(rows: Iterable[Row], part: str) -> list[Row]:
    """Return the rows whose name contains this."""
    return [row for row in rows if part.lower() in row.name.lower()]


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def _processor() -> str:
    """Name the processor as the system does."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
