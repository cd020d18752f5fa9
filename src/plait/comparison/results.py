"""Results of a grid's runs: scores, curves, means over seeds, paired differences."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from plait.api import load
from plait.comparison.grid import Grid, PlannedRun
from plait.training.files import write_aside
from plait.training.run import Run

WINDOW = 10
"""Steps over which a curve is averaged."""

LEVEL = 0.95
"""Confidence level of the intervals."""


@dataclass(frozen=True)
class Measure:
    """The score that is compared, and a value whose first step is reported."""

    score: str
    lower_is_better: bool
    reach: float | None

    def reached(self, curve: np.ndarray) -> int | None:
        """Return the first step, counted from 1, at which a curve has the value."""
        if self.reach is None or not len(curve):
            return None
        there = curve <= self.reach if self.lower_is_better else curve >= self.reach
        return int(there.argmax()) + 1 if there.any() else None


@dataclass(frozen=True)
class Result:
    """The scores and training curve of one run.

    `values` is the score of the training batches, step by step; empty where the log has none.
    `row` is the run's line in results.csv. Its `valid_` scores are those of the tested weights;
    runs are selected by them.
    """

    plan: PlannedRun
    row: Mapping[str, Any]
    values: np.ndarray
    converged: bool


def read_result(plan: PlannedRun, measure: Measure) -> Result:
    """Read a finished run."""
    run = Run.open(plan.path)
    (test,) = run.records("test")
    validations = run.records("valid")
    (chosen,) = (record for record in validations if record["step"] == test["best_step"])
    scores = _scores(test)
    converged = scores.pop("converged_step", None)
    logged = [r[measure.score] for r in run.records("train") if measure.score in r]
    values = np.array(logged, dtype=float)
    # after convergence, extended until the trailing mean has reached the last value
    steps = len(values) + (WINDOW if converged is not None else 0)
    row = {
        **plan.values,
        "seed": plan.seed,
        "steps": test["step"],
        "best_step": test["best_step"],
        "converged_step": converged,
        "reached_step": measure.reached(trailing_mean(held(values, steps), WINDOW)),
        "seconds": round(validations[-1]["seconds"], 3),
        "parameters": sum(p.numel() for p in load(run).parameters()),
        **{f"valid_{name}": value for name, value in _scores(chosen).items()},
        **{f"test_{name}": value for name, value in scores.items()},
    }
    return Result(plan, row, values, converged is not None)


def _scores(record: Mapping[str, Any]) -> dict[str, float]:
    """Return a record's numbers that are scores."""
    numbers = {k: v for k, v in record.items() if isinstance(v, int | float)}
    return {k: v for k, v in numbers.items() if k not in ("step", "best_step", "seconds")}


def held(values: np.ndarray, steps: int) -> np.ndarray:
    """Return so many values: cut, or extended by repeating the last one.

    >>> import numpy as np
    >>> from plait.comparison.results import held
    >>> held(np.array([1.0, 2.0]), 4)
    array([1., 2., 2., 2.])
    """
    if len(values) == 0:
        return values
    return np.pad(values, (0, max(0, steps - len(values))), "edge")[:steps]


def trailing_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Return the mean of the last `window` values, or of all so far where there are fewer.

    >>> import numpy as np
    >>> from plait.comparison.results import trailing_mean
    >>> trailing_mean(np.array([1.0, 2.0, 3.0, 4.0]), 2)
    array([1. , 1.5, 2.5, 3.5])
    """
    if not len(values):
        return values
    sums = np.concatenate([[0.0], values.cumsum()])
    last = np.arange(1, len(values) + 1)
    first = np.maximum(last - window, 0)
    return (sums[last] - sums[first]) / (last - first)


def mean_curve(results: Sequence[Result]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and standard deviation (n − 1) over runs of the ten-step mean, step by step.

    A run that stopped because it converged keeps its last value; one that ended for another
    reason ends the mean.
    """
    with_values = [r for r in results if len(r.values)]
    if not with_values:
        return np.empty(0), np.empty(0)
    ends = [len(r.values) for r in with_values if not r.converged]
    steps = min(ends, default=max(len(r.values) for r in with_values) + WINDOW)
    curves = np.array([trailing_mean(held(r.values, steps), WINDOW) for r in with_values])
    spread = curves.std(0, ddof=1) if len(curves) > 1 else np.zeros(steps)
    return curves.mean(0), spread


def group(grid: Grid, results: Sequence[Result]) -> list[tuple[Mapping[str, Any], list[Result]]]:
    """Group the runs that differ only in their seed, in the grid's order."""
    points: list[tuple[Mapping[str, Any], list[Result]]] = []
    for plan in grid.plans:
        if all(plan.values != values for values, _ in points):
            points.append((plan.values, [r for r in results if r.plan.values == plan.values]))
    return points


def summarise(grid: Grid, results: Sequence[Result], measure: Measure) -> list[dict[str, Any]]:
    """Return a row for every point of the grid: means and standard deviations over the seeds.

    `reached_step` is the first step at which the *mean* curve has the value.
    """
    rows = []
    for values, of_point in group(grid, results):
        row: dict[str, Any] = {**values, "runs": len(of_point)}
        scores = (f"valid_{measure.score}", f"test_{measure.score}")
        for name in (*scores, "converged_step", "seconds"):
            found = [r.row[name] for r in of_point if r.row.get(name) is not None]
            row[name] = float(np.mean(found)) if found else None
            row[f"{name}_sd"] = float(np.std(found, ddof=1)) if len(found) > 1 else None
        row["converged"] = sum(r.converged for r in of_point)
        row["reached_step"] = measure.reached(mean_curve(of_point)[0])
        row["parameters"] = of_point[0].row["parameters"] if of_point else None
        rows.append(row)
    return rows


def line_field(grid: Grid) -> str:
    """Return the field whose values are compared with each other: the cell, or the last varied."""
    return "cell" if "cell" in grid.vary else list(grid.vary)[-1]


def differences(grid: Grid, results: Sequence[Result], measure: Measure) -> list[dict[str, Any]]:
    """Compare each value of the line field with its first, run by run of the same seed.

    With d_1 … d_n the differences of the n seeds that both have, the row gives their mean and
    mean ± t s / √n, the 95 % interval of Student's t distribution with n − 1 degrees of freedom,
    s their standard deviation. For one pair there is no interval.
    """
    line = line_field(grid)
    first, *others = grid.vary[line]
    measures = (f"test_{measure.score}", "reached_step", "converged_step", "seconds")
    rows = []
    for values, base in group(grid, results):
        if values[line] != first:
            continue
        for other in others:
            changed = {**values, line: other}
            mates = {r.plan.seed: r for r in results if r.plan.values == changed}
            pairs = [(r.row, mates[r.plan.seed].row) for r in base if r.plan.seed in mates]
            for name in measures:
                found = [b[name] - a[name] for a, b in pairs
                         if a.get(name) is not None and b.get(name) is not None]  # fmt: skip
                if not found:
                    continue
                mean, low, high = interval(found)
                place = {k: v for k, v in values.items() if k != line}
                rows.append(
                    {**place, "of": f"{other} − {first}", "measure": name, "pairs": len(found),
                     "difference": mean, "low": low, "high": high}
                )  # fmt: skip
    return rows


def interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Return the mean of a sample, and the ends of its 95 % interval by Student's t.

    >>> from plait.comparison.results import interval
    >>> [round(v, 3) for v in interval([1.0, 2.0, 3.0])]        # t with 2 degrees: 4.303
    [2.0, -0.484, 4.484]
    """
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return mean, None, None
    reach = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return mean, mean - reach, mean + reach


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV, with the columns of all rows, empty where a row has no value."""
    names = list({name: None for row in rows for name in row})
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_aside(path, text.getvalue().encode())
