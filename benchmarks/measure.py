"""What the benchmarks share: times of two sides in turn, memory of one in a process of its own."""

import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def seconds(run: Callable[[], Any]) -> float:
    """Wall-clock time of one call."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def memory(run: Callable[[], Any]) -> float:
    """Highest resident memory of two calls above that before them, in MB."""
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


def beside(
    name: str, runs: dict[str, Callable[[], Any]], rounds: int, memory_of: Sequence[Sequence[str]]
) -> None:
    """Print the times of two sides in turn, after a first call of each, memory, and the ratios.

    `memory_of` are the arguments of this script that print the memory of each side.
    """
    for run in runs.values():
        run()
    times = [[seconds(run) for run in runs.values()] for _ in range(rounds)]
    names = list(runs)
    runs.clear()  # so that their memory is free for the others'
    used = []
    for whose, of, arguments in zip(names, zip(*times, strict=True), memory_of, strict=True):
        command = [sys.executable, sys.argv[0], *arguments]
        shown = subprocess.run(command, check=True, capture_output=True, text=True)
        used.append(float(shown.stdout))
        print(
            f"{name}, {whose:>8}: {statistics.median(of) * 1e3:7.1f} ms "
            f"({min(of) * 1e3:.1f} … {max(of) * 1e3:.1f}), {used[-1]:6.0f} MB"
        )
    ratios = [theirs / ours for ours, theirs in times]
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(
        f"{name}: {middle:.2f}× as fast (quartiles {low:.2f} … {high:.2f}), "
        f"{used[0] / used[1]:.3f} of the memory",
        flush=True,
    )


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6
