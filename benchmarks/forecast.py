"""Forecasts: published figures, the best possible, every pair of cell and operator, and speed.

    python benchmarks/forecast.py los-loop      three seeds beside T-GCN's figures, on its windows
    python benchmarks/forecast.py chickenpox    one week ahead, with neighbours and without
    python benchmarks/forecast.py waves         beside the best possible forecast, two seeds
    python benchmarks/forecast.py grid          5 cells × 5 operators on waves, 300 steps each
    python benchmarks/forecast.py speed         a training step beside PyTorch Geometric Temporal

Runs are kept in --runs (default: runs/forecast) and not made again where they are. Data of others
is found through PLAIT_DATA.
"""

import argparse
import statistics
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from measure import beside, memory

import plait
from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.scores import Errors
from plait.tasks.forecast.task import ForecastTask
from plait.training.run import Run

TGCN = {"rmse": (5.13, 6.06, 6.71, 7.27), "mae": (3.18, 3.75, 4.12, 4.60)}
"""Zhao et al. (2019), averaged over steps 1 … 3, 6, 9, 12; chosen on the test part."""

CELLS = ("rnn", "lstm", "lstm-peephole", "gru", "gru-before")
OPERATORS = ("dense", "gcn", "chebyshev", "diffusion", "attention")


def trained(folder: Path, name: str, recipe: str, **options: Any) -> Run:
    """Train, or take the run that is there."""
    path = folder / name
    if path.exists() and Run.open(path).records("test"):
        return Run.open(path)
    return plait.train("forecast", out=path, recipe=recipe, **options)


def test_of(run: Run) -> dict[str, Any]:
    (record,) = run.records("test")
    return record


def said(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def los_loop(folder: Path) -> None:
    """Scores on the windows of T-GCN's code, whose inputs lie in the test part too.

    Its networks are made for one horizon each, so each horizon has all windows that it fits in.
    """
    shown, table = (3, 6, 9, 12), {}
    for seed in range(3):
        run = trained(folder, f"los-loop-{seed}", "los-loop", seed=seed)
        config = ForecastConfig.from_dict(run.config)
        task = ForecastTask(config, torch.device("cpu"))
        task.model = plait.load(run)
        values, begin = task.data.series.values, int(0.8 * len(task.data.series.values)) + 12
        forecasts = task.forecasts(task.windows, begin, len(values))
        last = np.broadcast_to(values[forecasts.first - 1], forecasts.values.shape)
        for name, found in (("plait", forecasts.values), ("last value", last)):
            for h in shown:
                whole = slice(0, len(forecasts.first) - h + 1)
                errors = Errors.of(found[:h, whole], forecasts.truth[:h, whole])
                for metric in ("rmse", "mae"):
                    table.setdefault((metric, "up to", name), {}).setdefault(h, []).append(
                        float(errors.upto[metric][-1])
                    )
                    table.setdefault((metric, "at", name), {}).setdefault(h, []).append(
                        float(errors.at[metric][-1])
                    )
    for (metric, kind, name), by_step in sorted(table.items()):
        values = "  ".join(f"{h}: {said(v)}" for h, v in by_step.items())
        print(f"{metric.upper()} {kind} step, {name:>10}  {values}")
    for metric, values in TGCN.items():
        cells = "  ".join(f"{h}: {v:.2f}" for h, v in zip(shown, values, strict=True))
        print(f"{metric.upper()} up to step, T-GCN (chosen on test)  {cells}")


def chickenpox(folder: Path) -> None:
    for operator in ("dense", "gcn", "chebyshev"):
        errors = []
        for seed in range(5):
            name = f"chickenpox-{operator}-{seed}"
            run = trained(folder, name, "chickenpox", operator=operator, seed=seed)
            errors.append(test_of(run)["rmse"] ** 2)
        table = test_of(run)["table"]
        plain = {n: r["rmse_to"][-1] ** 2 for n, r in table.items() if n != "network"}
        print(f"squared error, {operator}: {said(errors)}")
    print("without a network: " + ", ".join(f"{n} {v:.3f}" for n, v in plain.items()))


def waves(folder: Path) -> None:
    for seed in range(2):
        test = test_of(trained(folder, f"waves-{seed}", "waves", seed=seed))
        network, best = (test["table"][n] for n in ("network", "best possible"))
        above = test["rmse"] / test["best_rmse"] - 1
        print(f"seed {seed}: RMSE {test['rmse']:.4f}, best possible {test['best_rmse']:.4f}, "
              f"{above:.2%} above; baselines from {test['baseline_rmse']:.4f}")  # fmt: skip
        for h in (1, 3, 6, 9, 12):
            ours, theirs = network["rmse_at"][h - 1], best["rmse_at"][h - 1]
            print(
                f"  at step {h:2}: {ours:.4f}, best possible {theirs:.4f}, {ours / theirs - 1:.2%}"
            )


def grid(folder: Path) -> None:
    """RMSE over all steps, each pair trained alike and shortly."""
    print(f"{'RMSE':14}" + "".join(f"{operator:>12}" for operator in OPERATORS))
    for cell in CELLS:
        cells = []
        for operator in OPERATORS:
            k = 2 if operator == "diffusion" else 3
            run = trained(
                folder, f"grid-{cell}-{operator}", "waves", cell=cell, operator=operator, k=k,
                steps=300, hidden_size=32, lr=0.005,
            )  # fmt: skip
            cells.append(test_of(run))
        print(f"{cell:14}" + "".join(f"{c['rmse']:12.4f}" for c in cells), flush=True)
    print(f"best possible {cells[0]['best_rmse']:.4f}, best without a network "
          f"{cells[0]['baseline_rmse']:.4f}")  # fmt: skip


N, H, K, T, NEIGHBOURS = 207, 64, 3, 12, 8


def temporal() -> Any:
    """PyTorch Geometric Temporal's GConvLSTM; empty modules stand in for what it does not use."""
    for name in ("torch_sparse", "torch_scatter"):
        empty = ModuleType(name)
        empty.__dict__.update(SparseTensor=None, scatter=None)
        sys.modules.setdefault(name, empty)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch_geometric_temporal.nn.recurrent import GConvLSTM
    return GConvLSTM


def step(whose: str, batch: int) -> Callable[[], None]:
    """Make one training step, forward and backward, from 12 steps of 2 features."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(N, 2, generator=generator)
    graph = plait.Graph.from_points(points, NEIGHBOURS)
    x = torch.randn(T, batch, N, 2, generator=generator)
    if whose == "plait":
        from plait.zoo import gcrn

        layer = gcrn(2, H, K)

        def run() -> None:
            layer.zero_grad()
            y, _ = layer(x, graph=graph)
            y[-1].square().mean().backward()
    else:
        layer = temporal()(2, H, K)
        joined = plait.Graph.join([graph] * batch)
        index, weight = joined.edge_index, joined.edge_weight

        def run() -> None:
            layer.zero_grad()
            h = c = None
            for x_t in x.flatten(1, 2):  # [B·N, 2]: block-diagonal, it knows no batch
                h, c = layer(x_t, index, weight, h, c)
            assert h is not None
            h.square().mean().backward()

    return run


def speed(threads: int, rounds: int) -> None:
    """A step of both in turn in one process; memory, each in a process of its own."""
    print(f"torch {torch.__version__}, {threads} threads, N={N}, H={H}, K={K}, T={T}, float32")
    for batch in (1, 64):
        sides = ("plait", "temporal")
        asked = [["speed", "--threads", str(threads), "--memory", of, str(batch)] for of in sides]
        beside(f"batch {batch:2}", {whose: step(whose, batch) for whose in sides}, rounds, asked)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["los-loop", "chickenpox", "waves", "grid", "speed"])
    parser.add_argument("--runs", type=Path, default=Path("runs/forecast"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--memory", nargs=2, metavar=("WHOSE", "BATCH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory:
        print(memory(step(options.memory[0], int(options.memory[1]))))
    elif options.what == "speed":
        speed(options.threads, options.rounds)
    else:
        {"los-loop": los_loop, "chickenpox": chickenpox, "waves": waves, "grid": grid}[
            options.what
        ](options.runs)


if __name__ == "__main__":
    main()
