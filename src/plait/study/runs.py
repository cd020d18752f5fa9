"""The runs of the study: ordinary run folders, one for each configuration."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from plait.api import load
from plait.comparison.grid import Grid, PlannedRun
from plait.comparison.results import Measure, Result, read_result
from plait.comparison.running import finished, make_runs
from plait.errors import InputError
from plait.study.page import Number, mean_of
from plait.training.run import Run

PARALLEL_RUNS = 4
"""Runs that train at the same time, at most; more threads are divided among them."""


@dataclass(frozen=True)
class RunRequest:
    """Runs that a section needs: a task with every combination of values and seeds.

    Attributes
    ----------
    task : str
    options : mapping
        Fields of the task's configuration.
    vary : mapping of sequences
        Fields and the values that they take; at least one.
    seeds : sequence of int
    recipe : str
    score : str
        The test score that the section reports.
    reach : float
        A value of the training score; the first step with it is recorded.
    lower_is_better : bool
    """

    task: str
    options: Mapping[str, Any]
    vary: Mapping[str, Sequence[Any]]
    seeds: Sequence[int] = (0,)
    recipe: str | None = None
    score: str = "accuracy"
    reach: float | None = None
    lower_is_better: bool = False

    def grid(self, folder: Path) -> Grid:
        """Plan the runs, each in the folder of its configuration."""
        grid = Grid.of(self.task, folder, self.vary, self.seeds, self.recipe, self.options)
        plans = (replace(p, path=run_path(folder, self.task, p)) for p in grid.plans)
        return replace(grid, plans=tuple(plans))


def run_path(folder: Path, task: str, plan: PlannedRun) -> Path:
    """Return the folder of a run: one that has its configuration already, or else its own.

    The hash in a name is that of the version which made the folder. Another version's
    configuration may have other fields, so a folder of another hash is recognised by its content.
    """
    name = folder_name(task, plan)
    if not (folder / name).exists():
        for other in sorted(folder.glob(f"{name.rpartition('-')[0]}-????????")):
            if _has_config(other, plan):
                return other
    return folder / name


def _has_config(path: Path, plan: PlannedRun) -> bool:
    """Return whether a run folder has this configuration, fields it lacks at their defaults."""
    try:
        there = type(plan.config).of(Run.open(path).config)
    except InputError:  # damaged, or with fields that no longer exist
        return False
    return replace(there, threads=0) == replace(plan.config, threads=0)


def folder_name(task: str, plan: PlannedRun) -> str:
    """Name a run by what it is and by a hash of its configuration, threads left out.

    >>> from pathlib import Path
    >>> from plait.comparison.grid import PlannedRun
    >>> from plait.study.runs import folder_name
    >>> from plait.tasks import config_class
    >>> config = config_class("memory").of({"problem": "recall", "cell": "gru"})
    >>> folder_name("memory", PlannedRun({}, config, Path())).rsplit("-", 1)[0]
    'memory-recall-gru-seed-0'
    """
    config = asdict(plan.config)
    del config["threads"]
    kinds = ("cell", "operator", "network", "view")
    words = [task, plan.config.subject_name, *(str(config[k]) for k in kinds if k in config)]
    words += ["seed", str(plan.seed)]
    text = json.dumps([task, config], sort_keys=True)
    words.append(hashlib.sha256(text.encode()).hexdigest()[:8])
    return re.sub(r"[^\w.]+", "-", "-".join(w for w in words if w))


@dataclass(frozen=True)
class FinishedRuns:
    """The finished runs of a `RunRequest`."""

    request: RunRequest
    grid: Grid
    results: Sequence[Result]
    measure: Measure = field(repr=False)

    def select(self, **values: Any) -> list[Result]:
        """Return the runs with these values, seed by seed."""
        given = values.items()
        return [r for r in self.results if all(getattr(r.plan.config, k) == v for k, v in given)]

    def best_on_validation(self, **values: Any) -> Result:
        """Return that of these runs which did best on the validation set."""
        choose, score = min if self.measure.lower_is_better else max, f"valid_{self.measure.score}"
        return choose(self.select(**values), key=lambda r: r.row[score])

    def values(self, score: str, **values: Any) -> list[float]:
        """Return a score of these runs, seed by seed; runs without it are left out."""
        found = (r.row.get(score) for r in self.select(**values))
        return [float(v) for v in found if v is not None]

    def number(self, score: str, form: str = ".3f", **values: Any) -> Number:
        """Return the mean of a score over the seeds, with links to the runs."""
        return mean_of(self.values(score, **values), form, map(source_of, self.select(**values)))

    def differences(self, score: str, one: Mapping[str, Any], other: Mapping[str, Any],
                    **fixed: Any) -> list[float]:  # fmt: skip
        """Return score(one) − score(other) for every seed that both have."""
        theirs = {r.plan.seed: r.row.get(score) for r in self.select(**fixed, **other)}
        pairs = [(r.row.get(score), theirs.get(r.plan.seed)) for r in self.select(**fixed, **one)]
        return [a - b for a, b in pairs if a is not None and b is not None]


def source_of(result: Result | Run) -> str:
    """Return the link to a run's log, from the page."""
    path = result.path if isinstance(result, Run) else result.plan.path
    return f"runs/{path.name}/metrics.jsonl"


def run_of(result: Result) -> Run:
    """Open the run folder of a result."""
    return Run.open(result.plan.path)


def config_of(result: Result) -> Any:
    """Return the configuration of a result's run, with the fields of its task."""
    return result.plan.config


def model_of(result: Result) -> Any:
    """Load the trained model of a result's run."""
    return load(result.plan.path)


def test_of(result: Result) -> Mapping[str, Any]:
    """Read all scores of a run's test."""
    (test,) = run_of(result).records("test")
    return test


def parallel_runs(plans: Sequence[PlannedRun], threads: int) -> int:
    """Return how many of these runs train at the same time."""
    return max(1, min(threads, len(plans), PARALLEL_RUNS))


class RunStore:
    """The folder of the study's runs: plans, trains and reads them."""

    def __init__(
        self, folder: Path, threads: int, notice: Callable[[str], None], ray: str | None = None
    ) -> None:
        """Take the folder; on a Ray cluster `threads` are those of each run, one if it is 0."""
        self.folder, self.notice, self.ray = folder, notice, ray
        self.threads = threads or (torch.get_num_threads() if ray is None else 1)

    def planned(self, requests: Iterable[RunRequest]) -> dict[str, list[PlannedRun]]:
        """List the runs, each once, by task."""
        found: dict[str, dict[Path, PlannedRun]] = {}
        for request in requests:
            plans = {p.path: p for p in request.grid(self.folder).plans}
            found.setdefault(request.task, {}).update(plans)
        return {task: list(plans.values()) for task, plans in found.items()}

    def unfinished(self, requests: Iterable[RunRequest]) -> dict[str, list[PlannedRun]]:
        """List the runs that are not finished yet, each once, by task."""
        planned = self.planned(requests).items()
        left = {task: [p for p in plans if not finished(p)] for task, plans in planned}
        return {task: plans for task, plans in left.items() if plans}

    def train(self, requests: Iterable[RunRequest], remaining: Callable[[], str] = str) -> None:
        """Train the runs that are not finished; resume those that were interrupted.

        The text of `remaining` follows the notice of every run that ends. Raises `InputError`
        where a run fails; `Interrupted` on Ctrl-C, with everything saved.
        """
        for task, plans in self.unfinished(requests).items():
            threaded = (replace(p, config=replace(p.config, threads=self.threads)) for p in plans)
            grid = Grid(task, self.folder, {}, (), tuple(threaded))
            self.folder.mkdir(parents=True, exist_ok=True)
            failures = make_runs(
                grid,
                parallel_runs(plans, self.threads),
                lambda line: self.notice(line + remaining()),
                self.ray,
            )
            for path, why in failures.items():
                raise InputError(f"the run {path} failed: {why}; the same command tries it again")

    def read(self, request: RunRequest) -> FinishedRuns:
        """Read runs that are finished."""
        grid = request.grid(self.folder)
        measure = Measure(request.score, request.lower_is_better, request.reach)
        return FinishedRuns(request, grid, [read_result(p, measure) for p in grid.plans], measure)
