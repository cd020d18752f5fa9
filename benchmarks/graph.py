"""One layer over a large graph beside PyTorch Geometric: time and memory of a training step.

    python benchmarks/graph.py            all of it, about three minutes
    python benchmarks/graph.py --threads 1

100,000 nodes, 1,000,000 edges drawn at random, float32; a step is forward and backward, the
features' gradient too. Times: both layers in one process, in turn. Memory: each in a process of
its own, the highest resident size of two steps (the first normalises) above that before them.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

NODES, EDGES = 100_000, 1_000_000
CASES = {
    "gcn": ("GCN 128 → 64", 128),
    "attention": ("attention 8 × 8, 128 → 64", 128),
    "attention 2": ("attention version 2, 8 × 8, 128 → 64", 128),
}


def step(case: str, whose: str) -> Callable[[], None]:
    """Make one training step of a layer."""
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(NODES, (2, EDGES), generator=generator)
    index = torch.unique(index, dim=1)
    _, inputs = CASES[case]
    x = torch.randn(NODES, inputs, generator=generator).requires_grad_()
    weighting = torch.randn(NODES, 64, generator=generator)
    if whose == "plait":
        import plait

        operators = {
            "gcn": plait.GCN(),
            "attention": plait.Attention(8),
            "attention 2": plait.Attention(8, version=2),
        }
        layer, graph = plait.GraphConv(operators[case], inputs, 64), plait.Graph(index)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torch_geometric import nn
        graph = index
        if case == "gcn":
            layer = nn.GCNConv(inputs, 64, cached=True)
        else:
            layer = (nn.GATConv if case == "attention" else nn.GATv2Conv)(inputs, 8, heads=8)

    def run() -> None:
        x.grad = None
        layer.zero_grad()
        (layer(x, graph) * weighting).sum().backward()

    return run


def seconds(run: Callable[[], None]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def resident() -> float:
    """Resident memory now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def memory(case: str, whose: str) -> float:
    """Highest resident memory of two steps above that before them, in MB."""
    run = step(case, whose)
    before = highest = resident()
    done = threading.Event()

    def watch() -> None:  # not every system keeps the highest; torch lets this thread run
        nonlocal highest
        while not done.wait(0.001):
            highest = max(highest, resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    run()
    run()
    done.set()
    watcher.join()
    return highest - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory", nargs=2, metavar=("CASE", "WHOSE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory:
        print(memory(*options.memory))
        return
    print(f"torch {torch.__version__}, {options.threads} threads, median (fastest … slowest)")
    for case, (name, _) in CASES.items():
        runs = {whose: step(case, whose) for whose in ("plait", "PyG")}
        for run in runs.values():
            run()
        rounds = [[seconds(run) for run in runs.values()] for _ in range(options.rounds)]
        del runs, run
        used = []
        for whose, times in zip(("plait", "PyG"), zip(*rounds, strict=True), strict=True):
            command = [sys.executable, __file__, "--threads", str(options.threads)]
            found = subprocess.run(
                [*command, "--memory", case, whose], check=True, capture_output=True, text=True
            )
            used.append(float(found.stdout))
            print(
                f"{name}, {whose:>5}: {statistics.median(times) * 1e3:6.0f} ms "
                f"({min(times) * 1e3:.0f} … {max(times) * 1e3:.0f}), {used[-1]:6.0f} MB"
            )
        ratios = sorted(theirs / ours for ours, theirs in rounds)
        print(
            f"{name}: {statistics.median(ratios):.2f}× as fast "
            f"({ratios[0]:.2f} … {ratios[-1]:.2f}), {used[0] / used[1]:.3f} of the memory",
            flush=True,
        )


if __name__ == "__main__":
    main()
