"""Forecasts: published figures, the best possible, every pair of cell and operator, and speed.

    python benchmarks/forecast.py los-loop      with T-GCN's figures, on its windows
    python benchmarks/forecast.py ablations     the same without graph, with a learnt one, …
    python benchmarks/forecast.py chickenpox    one week ahead, with neighbours and without
    python benchmarks/forecast.py waves         with the best possible forecast
    python benchmarks/forecast.py grid          5 cells × 5 operators on waves, 300 steps, one seed

Training against PyTorch Geometric Temporal: `python benchmarks/bench.py --only los-loop`.

Runs are kept in --runs (default: runs/forecast) and not made again where they are. Data of others
is found through PLAIT_DATA.
"""

import argparse
import statistics
import sys
import tempfile
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from measure import Row, Sides
from torch import nn

import plait
from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.scores import Errors
from plait.tasks.forecast.task import ForecastTask
from plait.training.loop import Loop
from plait.training.progress import Progress
from plait.training.run import Run

TGCN = {"rmse": (5.13, 6.06, 6.71, 7.27), "mae": (3.18, 3.75, 4.12, 4.60)}
"""Zhao et al. (2019), averaged over steps 1 … 3, 6, 9, 12; chosen on the test set."""

SHOWN = (3, 6, 9, 12)
"""Steps ahead that Los-loop's tables show: 15, 30, 45 and 60 minutes."""

ABLATIONS: dict[str, dict[str, Any]] = {
    "no graph": {"operator": "dense", "node_embedding": 0},
    "learnt vectors alone": {"operator": "dense"},
    "given graph": {"node_embedding": 0},
    "given graph, learnt vectors": {},
    "learnt graph": {"operator": "adaptive", "node_embedding": 0},
    "both graphs, learnt vectors": {"operator": "adaptive", "adaptive_given": "chebyshev"},
}

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


def mean_and_spread(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def los_loop(folder: Path, seeds: int) -> None:
    """Scores of the recipe, with T-GCN's."""
    runs = [trained(folder, f"los-loop-{seed}", "los-loop", seed=seed) for seed in range(seeds)]
    table = on_windows(runs)
    for (metric, kind, name), by_step in sorted(table.items()):
        values = "  ".join(f"{h}: {mean_and_spread(v)}" for h, v in by_step.items())
        print(f"{metric.upper()} {kind} step, {name:>10}  {values}")
    for metric, values in TGCN.items():
        cells = "  ".join(f"{h}: {v:.2f}" for h, v in zip(SHOWN, values, strict=True))
        print(f"{metric.upper()} up to step, T-GCN (chosen on test)  {cells}")


def ablations(folder: Path, seeds: int) -> None:
    """What graphs and learnt vectors give on Los-loop, all else as in its recipe.

    The last columns are the largest spread of a cell over the seeds, and minutes on the clock.
    """
    for name, options in ABLATIONS.items():
        slug = "-".join(["los-loop", *(name.replace(",", "").split() if options else [])])
        runs = [
            trained(folder, f"{slug}-{seed}", "los-loop", seed=seed, **options)
            for seed in range(seeds)
        ]
        table = on_windows(runs)
        found = [
            values
            for metric in ("rmse", "mae")
            for values in table[metric, "up to", "combination"].values()
        ]
        cells = [f"{statistics.mean(values):.2f}" for values in found]
        spread = max(map(statistics.stdev, found)) if seeds > 1 else 0.0
        minutes = statistics.mean(run.records("valid")[-1]["seconds"] / 60 for run in runs)
        print(f"| {name} | {' | '.join(cells)} | ± {spread:.3f} | {minutes:.1f} |", flush=True)


def on_windows(runs: list[Run]) -> dict[tuple[str, str, str], dict[int, list[float]]]:
    """Score runs on the windows of T-GCN's code, whose inputs lie in the test set too.

    Its networks are made for one horizon each, so each horizon has all windows that it fits in.
    Returns by metric, "at" or "up to" a step, and method the scores of all runs at every step.
    """
    table: dict[tuple[str, str, str], dict[int, list[float]]] = {}
    for run in runs:
        config = ForecastConfig.from_dict(run.config)
        task = ForecastTask.restore(plait.load(run), config, run.facts)
        values, begin = task.data.series.values, int(0.8 * len(task.data.series.values)) + 12
        forecasts = task.forecasts(task.windows, task.data.series, begin, len(values))
        last = np.broadcast_to(values[forecasts.first - 1], forecasts.values.shape)
        own = ("combination", forecasts.values), ("network", forecasts.own.values)
        for name, found in (*own, ("last value", last)):
            for h in SHOWN:
                whole = slice(0, len(forecasts.first) - h + 1)
                errors = Errors.of(found[:h, whole], forecasts.truth[:h, whole])
                for metric in ("rmse", "mae"):
                    for kind, error in (("up to", errors.upto), ("at", errors.at)):
                        scores = table.setdefault((metric, kind, name), {}).setdefault(h, [])
                        scores.append(float(error[metric][-1]))
    return table


def chickenpox(folder: Path, seeds: int) -> None:
    for operator in ("dense", "gcn", "chebyshev"):
        errors = []
        for seed in range(seeds):
            name = f"chickenpox-{operator}-{seed}"
            run = trained(folder, name, "chickenpox", operator=operator, seed=seed)
            errors.append(test_of(run)["rmse"] ** 2)
        table = test_of(run)["table"]
        plain = {n: r["rmse_to"][-1] ** 2 for n, r in table.items()}
        print(f"squared error, {operator}: {mean_and_spread(errors)}")
    print("without a network: " + ", ".join(f"{n} {v:.3f}" for n, v in plain.items()))


def waves(folder: Path, seeds: int) -> None:
    for seed in range(seeds):
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


def grid(folder: Path, seeds: int) -> None:
    """RMSE of the networks alone, from the last value on, each pair trained alike and shortly."""
    print(f"{'RMSE':14}" + "".join(f"{operator:>12}" for operator in OPERATORS))
    for cell in CELLS:
        cells = []
        for operator in OPERATORS:
            k = 2 if operator == "diffusion" else 3
            run = trained(
                folder, f"grid-{cell}-{operator}", "waves", cell=cell, operator=operator, k=k,
                steps=300, hidden_size=32, lr=0.005,
                skip="last",
            )  # fmt: skip
            cells.append(test_of(run))
        errors = [c["table"]["network"]["rmse_to"][-1] for c in cells]
        print(f"{cell:14}" + "".join(f"{error:12.4f}" for error in errors), flush=True)
    print(f"best possible {cells[0]['best_rmse']:.4f}, best without a network "
          f"{cells[0]['baseline_rmse']:.4f}")  # fmt: skip


def temporal() -> Any:
    """PyTorch Geometric Temporal's layers; empty modules stand in for what they do not use."""
    for name in ("torch_sparse", "torch_scatter"):
        empty = ModuleType(name)
        empty.__dict__.update(SparseTensor=None, scatter=None)
        sys.modules.setdefault(name, empty)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch_geometric_temporal.nn import recurrent
    return recurrent


class Theirs(nn.Module):
    """Their `GConvGRU` with the weights of our layer, to stand in its place."""

    def __init__(self, ours: plait.Recurrent, k: int) -> None:
        super().__init__()
        self.cell = temporal().GConvGRU(ours.input_size, ours.hidden_size, k)
        self.joined: plait.Graph | None = None
        (layer,) = ours.directions
        with torch.no_grad():
            for side, weights in (("x", layer.inputs), ("h", layer.recurrent)):
                for gate, weight in zip("rzh", weights["weight"].chunk(3), strict=True):
                    for m, lin in enumerate(getattr(self.cell, f"conv_{side}_{gate}").lins):
                        lin.weight.copy_(weight[:, m])
            for gate, bias in zip("rzh", layer.bias.chunk(3), strict=True):
                getattr(self.cell, f"conv_x_{gate}").bias.copy_(bias)

    def forward(self, x: torch.Tensor, *, graph: plait.Graph) -> tuple[None, torch.Tensor]:
        if self.joined is None or self.joined.num_nodes != x[0, ..., 0].numel():
            self.joined = plait.Graph.join([graph] * x.shape[1])  # faster than a batch of features
        h = None
        for x_t in x.flatten(1, 2):  # [B·N, F]
            h = self.cell(x_t, self.joined.edge_index, self.joined.edge_weight, h)
        assert h is not None
        return None, h.view(1, *x.shape[1:-1], -1)


STEPS = 5
"""Weight updates of a turn."""


def epoch() -> Sides:
    """Train on Los-loop by Plait's loop, and the same in a bare one, the recurrence theirs."""
    options = {"cell": "gru-before", "steps": 10_000, "validate_every": 10_000}
    config = ForecastConfig.of(options, "los-loop")
    torch.manual_seed(0)
    ours, theirs = (ForecastTask(config, torch.device("cpu")) for _ in range(2))
    theirs.model.load_state_dict(ours.model.state_dict())
    theirs.model.recurrent = Theirs(theirs.model.recurrent, config.k)  # pyright: ignore[reportAttributeAccessIssue]
    losses = [
        float(task.loss(task.model, task.batch(1), ())[0].detach()) for task in (ours, theirs)
    ]
    assert abs(losses[0] - losses[1]) < 1e-5, "the two are not the same model"
    loop = Loop(
        ours, Run.create(Path(tempfile.mkdtemp()) / "run", "forecast", config, {}), Progress()
    )
    loop.progress.announce("", {}, steps=config.steps, rate=1, unit="steps")
    loop.progress.start(0, 0, [])
    parameters = list(theirs.model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=config.lr, fused=True)
    step = 0

    def bare() -> None:
        nonlocal step
        for _ in range(STEPS):
            step += 1
            optimizer.zero_grad()
            loss, _, _ = theirs.loss(theirs.model, theirs.batch(step), ())
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, config.max_norm)
            optimizer.step()

    def by_plait() -> None:
        for _ in range(STEPS):
            loop.step()

    return by_plait, bare


ROWS = [
    Row(f"Los-loop, {STEPS} of an epoch's 180 training steps", "GConvGRU of PyG-Temporal", 4, epoch)
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    everything = {
        "los-loop": los_loop, "ablations": ablations, "chickenpox": chickenpox, "waves": waves,
        "grid": grid,
    }  # fmt: skip
    parser.add_argument("what", choices=list(everything))
    parser.add_argument("--runs", type=Path, default=Path("runs/forecast"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    everything[options.what](options.runs, options.seeds)


if __name__ == "__main__":
    main()
