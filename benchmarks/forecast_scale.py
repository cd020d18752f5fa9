"""5,000 sensors over 10,000 steps, generated: time and memory of a training step.

    python benchmarks/forecast_scale.py                    every graph, each in a process of its own
    python benchmarks/forecast_scale.py given top-20       some of them
    python benchmarks/forecast_scale.py --nodes 500        fewer sensors

The graphs: "none" (`--operator dense`), "given" (Chebyshev over the nearest four), "dense" (learnt,
edges between all), "top-20" (learnt, 20 edges into each), and "top-20 + given". Times are of one
thread: the preparation (reading aside), the median of STEPS training steps after one, and scoring
64 windows. Memory is the process's peak, with that of the preparation apart.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import numpy as np
import torch

from plait import Graph
from plait.tasks.forecast import data
from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.data import Measured
from plait.tasks.forecast.graphs import Joined
from plait.tasks.forecast.rolling import answers
from plait.tasks.forecast.series import Series
from plait.tasks.forecast.splits import TimeSplits
from plait.tasks.forecast.task import ForecastTask

STEPS = 2
GRAPHS = {
    "none": {"operator": "dense"},
    "given": {"operator": "chebyshev"},
    "dense": {"operator": "adaptive", "adaptive_edges": 0, "k": 2},
    "top-20": {"operator": "adaptive", "adaptive_edges": 20, "k": 2},
    "top-20 + given": {
        "operator": "adaptive", "adaptive_edges": 20, "k": 2, "adaptive_given": "chebyshev",
    },
}  # fmt: skip


def generated(nodes: int, steps: int) -> tuple[Series, Joined]:
    """Return flows on a graph of the nearest four places, with a day of 288 steps."""
    random = np.random.default_rng(0)
    places = random.random((nodes, 2))
    graph = Graph.from_points(places, 4)
    source, target = graph.edge_index.numpy()
    share = 0.6 / np.bincount(target, minlength=nodes)[target]
    x, values = np.zeros(nodes), np.empty((steps, nodes))
    for t in range(steps):
        flow = np.bincount(target, share * x[source], minlength=nodes)
        x = 0.3 * x + flow + random.standard_normal(nodes)
        values[t] = 20 + 5 * np.sin(2 * np.pi * t / 288) + x
    ids = tuple(f"n{k}" for k in range(nodes))
    return Series("generated", "generated", ids, values), Joined(graph, "nearest 4", places)


def peak() -> float:
    """Return the process's peak of memory, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(name: str, nodes: int, steps: int, batch: int, hidden: int) -> dict[str, float]:
    """Measure one graph in this process."""
    torch.set_num_threads(1)
    series, joined = generated(nodes, steps)
    config = ForecastConfig(
        hidden_size=hidden, batch_size=batch, season=288, device="cpu", **GRAPHS[name]
    )
    splits = TimeSplits.of(config, steps)
    data.read_data = lambda config: Measured(series, joined, splits)
    sys.modules[ForecastTask.__module__].read_data = data.read_data  # pyright: ignore[reportAttributeAccessIssue]
    made, begin = peak(), time.perf_counter()
    task = ForecastTask(config, torch.device("cpu"))
    prepared = time.perf_counter() - begin
    found = {"data": made, "prepare": prepared, "prepared": peak()}
    optimizer = torch.optim.AdamW(task.model.parameters())
    times = []
    for step in range(1, STEPS + 2):
        begin = time.perf_counter()
        optimizer.zero_grad()
        task.loss(task.model, task.batch(step), ())[0].backward()
        optimizer.step()
        times.append(time.perf_counter() - begin)
    found |= {"step": statistics.median(times[1:]), "trained": peak()}
    first, begin = np.arange(splits.test, splits.test + 64), time.perf_counter()
    with torch.no_grad():
        answers(task.model.eval(), task.windows, first, splits.end)
    return {**found, "score": time.perf_counter() - begin, "peak": peak()}


def main() -> None:
    parser = argparse.ArgumentParser(description="A training step over many sensors.")
    parser.add_argument("graphs", nargs="*", default=list(GRAPHS))
    parser.add_argument("--nodes", type=int, default=5_000)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--hidden-size", type=int, default=32)
    parser.add_argument("--here", action="store_true", help="in this process, as JSON")
    args = parser.parse_args()
    sizes = args.nodes, args.steps, args.batch_size, args.hidden_size
    if args.here:
        print(json.dumps(measure(args.graphs[0], *sizes)))
        return
    print(f"{args.nodes:,} sensors × {args.steps:,} steps, batches of {args.batch_size}, "
          f"{args.hidden_size} channels, one thread")  # fmt: skip
    print(
        "| graph | preparing, s | a step, s | 64 windows, s | GB: data | prepared | steps | all |"
    )
    print("|---|---|---|---|---|---|---|---|")
    options = [f"--{name.replace('_', '-')}={getattr(args, name)}"
               for name in ("nodes", "steps", "batch_size", "hidden_size")]  # fmt: skip
    for name in args.graphs:
        command = [sys.executable, __file__, name, "--here", *options]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1:] or [
                f"ended by signal {-done.returncode}"
            ]
            print(f"| {name} | failed: {reason[0]} |", flush=True)
            continue
        f = json.loads(done.stdout)
        print(f"| {name} | {f['prepare']:.0f} | {f['step']:.2f} | {f['score']:.1f} | "
              f"{f['data']:.2f} | {f['prepared']:.2f} | {f['trained']:.2f} | {f['peak']:.2f} |",
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
