"""A forecast in words: what is trained, and what its scores mean next to the baselines'."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.scores import above, gain, table
from plait.tasks.forecast.steps import words
from plait.terminal import counted
from plait.training.task import count_weights

SHOWN = 0.005
"""Weights of a combination that are printed, at least."""


def in_words(scores: Mapping[str, Any], config: ForecastConfig) -> str:
    """Return the table of errors, and which method has the smaller one."""
    records = scores["table"]
    ours = ("combination", "network", "best possible")
    plain = {n: r for n, r in records.items() if n not in ours}
    name = min(plain, key=lambda n: plain[n]["rmse_to"][-1])
    ours, theirs = scores["rmse"], plain[name]["rmse_to"][-1]
    who = f"RMSE over all steps {ours:.4g}; the best without a network, {name!r}, {theirs:.4g}"
    subject = "the combination" if "combination" in records else "the network"
    text = f"{table(records, config.shown)}\n{who}: {gain(ours, theirs, subject)}"
    if "combination" in records:
        weights = records["combination"]["weights"]
        means = sorted(((float(np.mean(w)), n) for n, w in weights.items()), reverse=True)
        parts = ", ".join(f"{n} {w:.0%}" for w, n in means if w >= SHOWN)
        text += f"\nweights of the combination, fitted on validation, mean over the steps: {parts}"
    if "zeros" in scores:
        text += f"\nMAPE leaves out {scores['zeros']:,} measurements of 0"
    if "coverage" in scores:
        text += (
            f"\n{scores['coverage']:.1%} of the values lie between the outer quantiles "
            f"(nominal {scores['coverage_wanted']:.0%})"
        )
    if "band_coverage" in scores:
        text += (
            f"\n{scores['band_coverage']:.1%} of the values lie in the prediction "
            f"intervals (nominal {config.coverage:.0%}), whose mean width is "
            f"{scores['band_width']:.4g}; interval score {scores['interval_score']:.4g}"
        )
    if "best_rmse" in scores:
        text += (
            f"\nthe best possible forecast has {scores['best_rmse']:.4g} on these steps: "
            f"{subject} is {above(ours, scores['best_rmse'])} above it"
        )
    return text


def summary_of(task: Any) -> dict[str, str]:
    """Return what a user wants to know of a `ForecastTask` before training starts."""
    config, series, splits = task.config, task.data.series, task.splits
    T, N = series.values.shape
    missing = np.isnan(series.values).mean()
    step = f", {words(series.frequency)} apart" if series.frequency else ""
    gaps = f"; {missing:.2%} missing, filled with the last value, never scored" if missing else ""
    joined, start = task.data.joined, task.base and config.skip == "best"
    edges = f"{counted(joined.graph.num_edges, 'edge')}; " * (joined.graph.num_edges > 0)
    text = {
        "series": f"{series.source}: {T:,} steps × {counted(N, 'node')}{step}{gaps}",
        **({"columns": series.columns} if series.columns else {}),
        **({"read": "; ".join(series.notes)} if series.notes else {}),
        "graph": edges + joined.source if config.reads_graph or not edges else "none is used",
        **({"nodes": "; ".join(task.data.static_notes)} if config.nodes else {}),
        "split": f"{splits.valid - splits.history:,}, {splits.test - splits.valid:,}, "
        f"{splits.end - splits.test:,} steps to train, validate, test",
        "season": f"{task.season} steps" if task.season else "none known; --season",
        "model": f"{config.cell} × {task.model.recurrent.operator!r}, {config.layers} × "
        f"{config.hidden_size}, {count_weights(task.model):,} parameters",
        **({"starts from": f"{task.base}, best on validation"} if start else {}),
        "kernels": task.model.recurrent.kernel(),
    }
    if task.data.waves is not None:
        best = task.data.waves.best_errors(config.history, config.horizon)
        shown = ", ".join(f"{best[h - 1]:.4f}" for h in config.shown)
        steps = ", ".join(map(str, config.shown))
        text["best possible"] = f"RMSE {shown} at steps {steps}"
    return text
