"""`compare`: train a grid of runs, and summarise it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from plait.api import make_task
from plait.comparison.cluster import require_cluster
from plait.comparison.figure import draw_grid
from plait.comparison.grid import Grid, PlannedRun
from plait.comparison.results import (
    Measure,
    Result,
    differences,
    read_result,
    summarise,
    write_csv,
)
from plait.comparison.running import finished, make_runs
from plait.errors import InputError
from plait.tasks import published_steps, task_class
from plait.training.ablation import scores_with_ablation
from plait.training.progress import Progress
from plait.training.run import Run


@dataclass(frozen=True)
class Comparison:
    """The results of a grid; as text, tables.

    Attributes
    ----------
    path : Path
        The grid's folder.
    results : list of Result
        The finished runs; `result.row` is a line of results.csv.
    summary : list of dict
        A row for every point of the grid: means and standard deviations over the seeds.
    differences : list of dict
        Paired over the seeds: difference and 95 % interval, against the first value.
    published : list of dict
        For every point of the grid, published steps until convergence, by source.
    failures : dict
        Why runs failed, by folder.
    """

    path: Path
    results: Sequence[Result]
    summary: Sequence[Mapping[str, Any]]
    differences: Sequence[Mapping[str, Any]]
    published: Sequence[Mapping[str, int]]
    failures: Mapping[Path, str]
    measure: Measure

    def __str__(self) -> str:
        text = self._summary()
        if any(self.published):
            text += "\n\n" + self._published()
        if self.differences:
            text += "\n\n" + self._differences()
        return text + "".join(f"\nfailed: {p.name}: {why}" for p, why in self.failures.items())

    def _summary(self) -> str:
        score, reach = self.measure.score, self.measure.reach
        varied = list(self.results[0].plan.values) if self.results else []
        sign = "≤" if self.measure.lower_is_better else "≥"
        titles = [*varied, "runs", f"test {score}", "converged", "at step",
                  *([f"mean {sign} {reach:g} at step"] if reach is not None else []),
                  "seconds", "parameters"]  # fmt: skip
        rows = [titles]
        for row in self.summary:
            shown = [str(row[name]) for name in varied]
            shown += [str(row["runs"]), _spread(row, f"test_{score}", ".4f")]
            shown += [f"{row['converged']} of {row['runs']}", _spread(row, "converged_step", ".0f")]
            if reach is not None:
                shown.append("–" if row["reached_step"] is None else str(row["reached_step"]))
            shown += [_spread(row, "seconds", ".1f")]
            shown += ["–" if row["parameters"] is None else f"{row['parameters']:,}"]
            rows.append(shown)
        return _aligned(rows)

    def _published(self) -> str:
        """Return the measured steps with the published ones, as a table."""
        sources = list(dict.fromkeys(source for steps in self.published for source in steps))
        varied = list(self.results[0].plan.values) if self.results else []
        rows = [[*varied, "here", *sources]]
        for row, steps in zip(self.summary, self.published, strict=True):
            here = row["reached_step"]
            shown = [str(row[name]) for name in varied] + ["–" if here is None else str(here)]
            rows.append(shown + [str(steps.get(source, "–")) for source in sources])
        return "published steps\n" + _aligned(rows)

    def _differences(self) -> str:
        rows = [[*self._places(), "", "measure", "difference", "95 % interval", "pairs"]]
        for row in self.differences:
            digits = ".4f" if row["measure"].startswith("test_") else ".1f"
            low, high = row["low"], row["high"]
            ends = "–" if low is None else f"{low:+{digits}} … {high:+{digits}}"
            rows.append(
                [*(str(row[p]) for p in self._places()), row["of"],
                 row["measure"].replace("_", " "), f"{row['difference']:+{digits}}", ends,
                 str(row["pairs"])]
            )  # fmt: skip
        return _aligned(rows)

    def _places(self) -> list[str]:
        known = ("of", "measure", "pairs", "difference", "low", "high")
        return [name for name in self.differences[0] if name not in known]


def compare(
    task: str,
    vary: Mapping[str, Sequence[Any]],
    *,
    out: str | os.PathLike[str],
    seeds: int | Sequence[int] = 3,
    jobs: int = 1,
    ray: str | None = None,
    recipe: str | None = None,
    score: str | None = None,
    reach: float | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Comparison:
    """Train with every combination of values and seeds, and compare the results.

    The runs are ordinary run folders under `out`. An interrupted grid continues when called again
    with the same settings: finished runs are kept, others resumed. The folder also holds
    `grid.json`, the settings; `results.csv`, a line per run; `summary.csv`, means and standard
    deviations over the seeds; `differences.csv`, paired over the seeds; and `compare.png`.

    Parameters
    ----------
    task : str
    vary : mapping of sequences
        Fields of the task's configuration and their values. The values of `cell`, or else of the
        last field, are compared with each other, for each combination of the others.
    out : path
        The grid's folder.
    seeds : int or sequence of int
        How many, counted from the configuration's seed, or which.
    jobs : int
        Runs at a time, in spawned processes that divide the threads among them. A script that
        asks for more than one guards itself with `if __name__ == "__main__":`.
    ray : str
        The address of a Ray cluster, whose machines train the runs; "auto": a cluster that runs
        already, or else one on this machine. Each run takes the CPUs of its `threads`, at least
        one, and a GPU where `device` is "cuda", or "auto" and the cluster has one. The folders
        are written where they are if the machines see them, and fetched otherwise.
    recipe : str
        A named set of options of the task.
    score : str
        What is compared: the score that the task validates by; its accuracy, where that is "loss".
    reach : float
        A value of the score; the first step with it is reported. Default for accuracy: 0.99.
    progress : Progress
        Its `notice` is called for every run that ends.
    **options
        Fields that are the same in all runs.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        Before anything is written: for invalid fields, values and seeds, for a score that the runs
        do not have, for data that cannot be used, and for a folder that holds something else.

    Example
    -------
    >>> import plait, tempfile
    >>> grid = plait.compare(
    ...     "memory", {"cell": ["rnn", "gru"]}, seeds=2, out=tempfile.mkdtemp() + "/grid",
    ...     problem="recall", length=3, hidden_size=8, batch_size=8, steps=2)
    >>> len(grid.results), grid.differences[0]["of"], grid.differences[0]["pairs"]
    (4, 'gru − rnn', 2)
    """
    if jobs < 1:
        raise InputError(f"--jobs must be at least 1, not {jobs}")
    if ray is not None and jobs > 1:
        raise InputError("--jobs is for this machine; with --ray the cluster decides: leave it out")
    if ray is not None:
        require_cluster(ray)
    grid = Grid.of(task, Path(out), vary, seeds, recipe, options)
    for plan in grid.plans[: len(grid.plans) // len(grid.seeds)]:  # the first seed's
        make_task(task, plan.config)  # invalid settings are refused before anything is written
    if score is not None:
        _require_score(task, grid.plans[0], score)
    grid.claim()
    progress = Progress() if progress is None else progress
    failures = make_runs(grid, jobs, progress.notice, ray)
    measure = _measure(task, grid, score, reach)
    results = [read_result(plan, measure) for plan in grid.plans if finished(plan)]
    published = [
        (plan.values, published_steps(task, plan.config))
        for plan in grid.plans
        if plan.seed == grid.seeds[0]
    ]
    comparison = Comparison(
        grid.path,
        results,
        summarise(grid, results, measure),
        differences(grid, results, measure),
        [steps for _, steps in published],
        failures,
        measure,
    )
    write_csv(grid.path / "results.csv", [
        {**r.row, "run": r.plan.path.name, "failed": None} for r in results
    ] + [
        {**p.values, "seed": p.seed, "run": p.path.name, "failed": failures[p.path]}
        for p in grid.plans if p.path in failures
    ])  # fmt: skip
    write_csv(grid.path / "summary.csv", [
        {**row, **{f"published: {source}": step for source, step in steps.items()}}
        for row, steps in zip(comparison.summary, comparison.published, strict=True)
    ])  # fmt: skip
    write_csv(grid.path / "differences.csv", comparison.differences)
    draw_grid(grid, results, measure, published, grid.path / "compare.png")
    return comparison


@torch.no_grad()
def _require_score(task: str, plan: PlannedRun, score: str) -> None:
    """Refuse a score that no test has; an untrained network is tested to know them."""
    problem = make_task(task, replace(plan.config, steps=1))  # of the baselines too
    problem.model.eval()
    if score in problem.validate():
        return
    known = [
        name
        for name, value in scores_with_ablation(problem).items()
        if isinstance(value, int | float)
    ]
    if score not in known:
        raise InputError(
            f"--score {score}: the runs have no such score; they have {', '.join(known)}"
        )


def _measure(task: str, grid: Grid, score: str | None, reach: float | None) -> Measure:
    """Choose the score that is compared, from those of the finished runs."""
    kind = task_class(task)
    done = [plan for plan in grid.plans if finished(plan)]
    scores = list(Run.open(done[0].path).records("test")[0]) if done else []
    criterion = grid.plans[0].config.monitor or kind.monitor
    by_loss = criterion == "loss" and "accuracy" in scores  # an accuracy is easier to read
    name = score or ("accuracy" if by_loss else criterion)
    lower = kind.lower_is_better if name == criterion else "accuracy" not in name
    return Measure(name, lower, 0.99 if reach is None and name == "accuracy" else reach)


def _spread(row: Mapping[str, Any], name: str, digits: str) -> str:
    if row[name] is None:
        return "–"
    spread = row[f"{name}_sd"]
    return f"{row[name]:{digits}}" + ("" if spread is None else f" ± {spread:{digits}}")


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
