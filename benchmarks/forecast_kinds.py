"""Network, best baseline and combination on kinds of series that the defaults were not made on.

    python benchmarks/forecast_kinds.py                three seeds of each, the table at the end
    python benchmarks/forecast_kinds.py tiny counts    some of them

Options are the defaults but for the training steps and what belongs to the data: its horizon and
graph. Series are generated, or found through PLAIT_DATA. Runs are kept in --runs (default:
runs/kinds) and not made again where they are.
"""

import argparse
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import plait
from plait import Graph
from plait.training.run import Run

SEEDS, STEPS = 3, 300


def autoregressive(random: np.random.Generator, steps: int, nodes: int, a: float) -> np.ndarray:
    """x_t = a x_{t−1} + ε_t."""
    x = np.zeros((steps, nodes))
    for t in range(1, steps):
        x[t] = a * x[t - 1] + random.standard_normal(nodes)
    return x


def trend(random: np.random.Generator) -> pd.DataFrame:
    """20 nodes × 500 days: random walks with a drift of their own."""
    walk = (random.normal(0.1, 0.1, 20) + random.standard_normal((500, 20))).cumsum(0)
    return dated(100 + walk, "D")


def season(random: np.random.Generator) -> pd.DataFrame:
    """12 nodes × 60 days of hours: a day's and a week's rhythm, and what is left over is an AR."""
    t = np.arange(1440)[:, None]
    day = np.sin(2 * np.pi * (t / 24 + random.random(12))) * random.uniform(3, 6, 12)
    week = np.where((t // 24) % 7 >= 5, -3.0, 0.0)
    return dated(20 + day + week + 0.8 * autoregressive(random, 1440, 12, 0.8), "h")


def counts(random: np.random.Generator) -> pd.DataFrame:
    """80 stops × 31 days of hours: counts by the hour of the day, 88 % of them 0."""
    t = np.arange(744)[:, None]
    rush = np.exp(3 * np.cos(2 * np.pi * (t / 24 - random.normal(0.4, 0.1, 80))) - 4.5)
    return dated(random.poisson(random.gamma(2, 1.5, 80) * rush).astype(float), "h")


def short(random: np.random.Generator) -> pd.DataFrame:
    """60 regions × 61 days: an epidemic's wave, fewer cases on weekends."""
    t = np.arange(61)[:, None]
    wave = np.exp(-(((t - random.normal(45, 6, 60)) / random.normal(16, 2, 60)) ** 2))
    level = random.gamma(2, 30, 60) * wave * np.where(t % 7 >= 5, 0.6, 1.0)
    return dated(random.poisson(level * random.gamma(20, 1 / 20, level.shape) + 0.2) * 1.0, "D")


def tiny(random: np.random.Generator) -> pd.DataFrame:
    """15 nodes × 35 weeks."""
    return dated(10 + autoregressive(random, 35, 15, 0.6), "W-MON")


def many(random: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """300 nodes × 600 steps: what is at a node flows to its neighbours."""
    graph = Graph.from_points(random.random((300, 2)), 4)
    A = np.zeros((300, 300))
    A[graph.edge_index[1], graph.edge_index[0]] = 1
    A /= A.sum(1, keepdims=True)
    x = np.zeros((600, 300))
    for t in range(1, 600):
        x[t] = 0.3 * x[t - 1] + 0.6 * A @ np.tanh(x[t - 1]) + random.standard_normal(300)
    names = np.array([f"n{k}" for k in range(300)])
    edges = pd.DataFrame(names[graph.edge_index.numpy().T], columns=["source", "target"])
    return pd.DataFrame(x, columns=names), edges


def gaps(random: np.random.Generator) -> pd.DataFrame:
    """10 sensors × 40 days of hours, a third missing, in blocks."""
    t = np.arange(960)[:, None]
    values = 10 + 4 * np.sin(2 * np.pi * (t / 24 + random.random(10)))
    values = values + autoregressive(random, 960, 10, 0.7)
    for n in range(10):
        for begin in random.integers(0, 960, 20):
            values[begin : begin + random.integers(2, 40), n] = np.nan
    return dated(values, "h")


def noise(random: np.random.Generator) -> pd.DataFrame:
    """10 nodes × 600 steps without any structure."""
    return pd.DataFrame(random.standard_normal((600, 10)), columns=list("abcdefghij"))


def dated(values: np.ndarray, frequency: str) -> pd.DataFrame:
    frame = pd.DataFrame(values, columns=[f"n{k}" for k in range(values.shape[1])])
    frame.insert(0, "time", pd.date_range("2024-01-01", periods=len(values), freq=frequency))
    return frame


GENERATED: dict[str, tuple[Callable[[np.random.Generator], Any], dict[str, Any]]] = {
    "trend": (trend, {"horizon": 7}),
    "season": (season, {"horizon": 12}),
    "counts": (counts, {"horizon": 12}),
    "short": (short, {"horizon": 7, "history": 7, "validation": 0.2}),
    "tiny": (tiny, {"horizon": 2, "history": 4, "validation": 0.2}),
    "many": (many, {"horizon": 3}),
    "gaps": (gaps, {"horizon": 12}),
    "noise": (noise, {"horizon": 6}),
}
NAMED = {
    "waves": {"data": "waves"},
    "chickenpox": {"data": "chickenpox", "history": 4, "horizon": 4},
    "los-loop": {"data": "los-loop", "calendar": "day", "scale": "all", "batch_size": 8},
}


def options_of(kind: str, seed: int, folder: Path) -> dict[str, Any]:
    """Return the options of a kind; a generated series is drawn anew for each seed."""
    if kind in NAMED:
        return NAMED[kind]
    make, options = GENERATED[kind]
    made = make(np.random.default_rng(seed))
    frame, edges = made if isinstance(made, tuple) else (made, None)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kind}-{seed}.csv"
    frame.to_csv(path, index=False)
    if edges is None:
        return {"data": str(path), "operator": "dense", **options}
    edges.to_csv(folder / f"{kind}-{seed}-edges.csv", index=False)
    return {"data": str(path), "graph": str(folder / f"{kind}-{seed}-edges.csv"), **options}


def measured(kind: str, seed: int, folder: Path) -> dict[str, Any]:
    """Train, or take the run that is there; return its test record."""
    path = folder / f"{kind}-run-{seed}"
    if not (path.exists() and Run.open(path).records("test")):
        options = {"steps": STEPS, **options_of(kind, seed, folder)}
        plait.train("forecast", out=path, seed=seed, threads=1, **options)
    (record,) = Run.open(path).records("test")
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description="Kinds of series.")
    real = ["chickenpox", "los-loop"] if os.environ.get("PLAIT_DATA") else []
    every = [*GENERATED, "waves", *real]
    parser.add_argument("kinds", nargs="*", default=every, help=f"of {', '.join(every)}")
    parser.add_argument("--runs", type=Path, default=Path("runs/kinds"))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    args = parser.parse_args()
    rows = []
    for kind in args.kinds:
        found = []
        for seed in range(args.seeds):
            table = dict(measured(kind, seed, args.runs)["table"])
            errors = {name: record["rmse_to"][-1] for name, record in table.items()}
            errors.pop("best possible", None)
            ours = errors.pop("combination"), errors.pop("network")
            best = min(errors, key=errors.__getitem__)
            found.append((*ours, errors[best], best))
        ratios = [row[0] / row[2] - 1 for row in found]
        means = [statistics.mean(row[k] for row in found) for k in (1, 2, 0)]
        names = ", ".join(sorted({row[3] for row in found}))
        rows.append(
            f"| {kind} | {means[0]:.4g} | {means[1]:.4g} ({names}) | {means[2]:.4g} | "
            f"{statistics.mean(ratios):+.1%} | {min(ratios):+.1%} to {max(ratios):+.1%} |"
        )
        print(rows[-1], flush=True)
    print(f"\nRMSE over all steps ahead, means of {args.seeds} seeds\n")
    print("| kind | network | best baseline | combination | to the baseline | seeds |")
    print("|---|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
