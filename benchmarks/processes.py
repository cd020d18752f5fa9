"""What a step costs in one process and in several, and what follows for many machines.

    python benchmarks/processes.py measure     # torchrun's processes on this machine, 1 and 2
    python benchmarks/processes.py simulate    # 2 to 1,024 workers, from those figures

`measure` writes `build/processes.json`, which `simulate` reads. Seconds are the processor's, of all
threads of a process, so that other work on the machine counts little; messages are timed by the
clock, and the fastest counts.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from plait.api import make_task
from plait.tasks import config_class
from plait.training.followed import create_run
from plait.training.loop import Loop
from plait.training.progress import Progress
from plait.training.ranks import Ranks, launched

FIGURES = Path("build/processes.json")
STEPS, SKIPPED = 100, 10
WORK = {
    "text": {"data": "python-docs", "hidden_size": 256, "layers": 2, "length": 64},
    "forecast": {"hidden_size": 32, "history": 12, "horizon": 6},
    "nodes": {"data": "amazon-computers", "hidden_size": 128, "sample": "10,5", "layers": 2},
}
BATCHES = {"text": 16, "forecast": 16, "nodes": 256}
NETWORKS = {"10 Gbit/s, 50 µs": (10e9 / 8, 50e-6), "100 Gbit/s, 5 µs": (100e9 / 8, 5e-6)}
"""Bytes a second, and seconds per message: assumed, of Ethernet and of a cluster's network."""
SPREAD = 0.05
"""Standard deviation of the logarithm of a worker's step: assumed."""


def train(name: str, batch_size: int, out: str) -> None:
    """Time the steps of a task in this group of processes; the first one writes the figures."""
    torch.set_num_threads(1)
    with launched() as ranks, tempfile.TemporaryDirectory() as folder:
        config = config_class(name).of(
            {**WORK[name], "batch_size": batch_size, "steps": STEPS, "threads": 1}
        )
        task = make_task(name, config)
        loop = Loop(task, create_run(Path(folder) / "run", name, config, {}), Progress())
        loop.progress.start(0, 0.0, [])
        steps, shares = [], []
        average = Ranks.average_gradients

        def timed(self, *args):
            began = time.process_time()
            found = average(self, *args)
            shares[-1] += time.process_time() - began
            return found

        Ranks.average_gradients = timed  # pyright: ignore[reportAttributeAccessIssue]
        sent = 0
        for k in range(STEPS):
            if k == SKIPPED:
                sent = sent_bytes()
            shares.append(0.0)
            began = time.process_time()
            loop.step()
            ranks.largest(False, False, began)
            steps.append(time.process_time() - began)
        sent = sent_bytes() - sent
        if ranks.is_first:
            parameters = sum(p.numel() for p in loop.parameters)
            figures = {
                "task": name, "processes": ranks.count, "batch_size": batch_size,
                "parameters": parameters, "steps": steps[SKIPPED:], "shares": shares[SKIPPED:],
                "sent": sent / (STEPS - SKIPPED), "units": task.units_per_step,
            }  # fmt: skip
            Path(out).write_text(json.dumps(figures))


def sent_bytes() -> int:
    """Return what this machine has sent over its loopback so far."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    return next(int(line.split()[9]) for line in lines if line.split()[0] == "lo:")


def exchange(out: str) -> None:
    """Time all-reduces of several sizes."""
    torch.set_num_threads(1)
    with launched() as ranks:
        found = {}
        for size in (1, 10**4, 10**5, 10**6, 10**7):
            tensor, times = torch.ones(size), []
            for _ in range(1000 if size < 10**6 else 20):
                ranks.largest(0)
                began = time.perf_counter()
                ranks._all_reduce(tensor, torch.distributed.ReduceOp.MAX)
                times.append(time.perf_counter() - began)
            found[4 * size] = min(times)
        if ranks.is_first:
            Path(out).write_text(json.dumps(found))


def run(processes: int, *words: str) -> dict:
    """Run a mode of this file in so many processes, and return what it writes."""
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/found.json"
        start = [sys.executable]
        if processes > 1:
            start += ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run([*start, __file__, *words, out], check=True, env=environment)
        return json.loads(Path(out).read_text())


def measure() -> None:
    """Measure 1 and 2 processes, and write the figures."""
    figures = {"exchange": run(2, "exchange"), "training": []}
    for name, size in BATCHES.items():
        for processes, batch_size in ((1, size), (1, 2 * size), (2, size)):
            found = run(processes, "train", name, str(batch_size))
            figures["training"].append(found)
            step, share = (1000 * statistics.median(found[k]) for k in ("steps", "shares"))
            print(
                f"{name}, {found['parameters']:,} parameters, {processes} × {batch_size}: "
                f"{step:.1f} ms a step in each process, {share:.2f} ms of it for gradients, "
                f"{found['sent'] / 1e6:.2f} MB sent"
            )
    for size, seconds in figures["exchange"].items():
        print(f"all-reduce of {int(size):,} bytes: {1000 * seconds:.3f} ms")
    FIGURES.parent.mkdir(exist_ok=True)
    FIGURES.write_text(json.dumps(figures))


def all_reduce(size: float, workers: int, rate: float, latency: float) -> float:
    """Return the seconds of an all-reduce: around a ring, or by halves where that is faster."""
    ring = 2 * (workers - 1) * (latency + size / workers / rate)
    halves = 2 * np.log2(workers) * latency + 2 * size * (workers - 1) / workers / rate
    return min(ring, halves)


def simulate() -> None:
    """Print steps a second of 2 to 1,024 workers, of those of one worker times their number."""
    figures = json.loads(FIGURES.read_text())
    random = np.random.default_rng(0)
    for name in BATCHES:
        one, _, two = (f for f in figures["training"] if f["task"] == name)
        step, size = statistics.median(one["steps"]), 4.0 * one["parameters"]
        packing = statistics.median(two["shares"])
        print(f"\n{name}: {1000 * step:.1f} ms a step, {size / 1e6:.2f} MB of gradients")
        print("| workers | " + " | ".join(NETWORKS) + " |")
        for workers in (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024):
            slowest = step * np.exp(SPREAD * random.standard_normal((200, workers))).max(1)
            row = []
            for rate, latency in NETWORKS.values():
                spent = packing + all_reduce(size, workers, rate, latency)
                spent += all_reduce(24, workers, rate, latency)
                row.append(f"{step / float((slowest + spent).mean()):.0%}")
            print(f"| {workers} | " + " | ".join(row) + " |")


if __name__ == "__main__":
    mode, *rest = sys.argv[1:] or ["measure"]
    if mode == "train":
        train(rest[0], int(rest[1]), rest[2])
    else:
        {"measure": measure, "simulate": simulate, "exchange": exchange}[mode](*rest)
