"""The runs that the study stands on: ordinary run folders, made once for every configuration."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from plait.api import load
from plait.comparison.grid import Grid, Plan
from plait.comparison.results import Measure, Result, read_result
from plait.comparison.running import finished, make_runs
from plait.errors import InputError
from plait.study.page import Number, mean_of
from plait.training.run import Run

AT_ONCE = 4
"""Runs at a time, at most; more threads are divided among them."""


@dataclass(frozen=True)
class Wanted:
    """What a section wants made: a task with every combination of values and seeds.

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
        The test score that the section looks at.
    reach : float
        The value of the score whose first step is told, over training.
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
        """Plan the runs, each in a folder that its configuration alone decides."""
        grid = Grid.of(self.task, folder, self.vary, self.seeds, self.recipe, self.options)
        plans = (replace(p, path=folder / folder_name(self.task, p)) for p in grid.plans)
        return replace(grid, plans=tuple(plans))


def folder_name(task: str, plan: Plan) -> str:
    """Name a run by what it is and by a hash of its configuration, threads left out.

    >>> from pathlib import Path
    >>> from plait.comparison.grid import Plan
    >>> from plait.study.runs import folder_name
    >>> from plait.tasks import config_class
    >>> plan = Plan({}, config_class("memory").of({"problem": "recall", "cell": "gru"}), Path())
    >>> folder_name("memory", plan).rsplit("-", 1)[0]
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
class Made:
    """The finished runs of a `Wanted`."""

    wanted: Wanted
    grid: Grid
    results: Sequence[Result]
    measure: Measure = field(repr=False)

    def of(self, **values: Any) -> list[Result]:
        """Give the runs with these values, seed by seed."""
        wanted = values.items()
        return [r for r in self.results if all(getattr(r.plan.config, k) == v for k, v in wanted)]

    def chosen(self, **values: Any) -> Result:
        """Give that of these runs which did best on the validation part."""
        choose, score = min if self.measure.lower_is_better else max, f"valid_{self.measure.score}"
        return choose(self.of(**values), key=lambda r: r.row[score])

    def values(self, score: str, **values: Any) -> list[float]:
        """Give a score of these runs, seed by seed; those that have none are left out."""
        found = (r.row.get(score) for r in self.of(**values))
        return [float(v) for v in found if v is not None]

    def number(self, score: str, form: str = ".3f", **values: Any) -> Number:
        """Give the mean of a score over the seeds, with links to the runs."""
        return mean_of(self.values(score, **values), form, map(source_of, self.of(**values)))

    def differences(self, score: str, one: Mapping[str, Any], other: Mapping[str, Any],
                    **place: Any) -> list[float]:  # fmt: skip
        """Give score(one) − score(other) for every seed that both have."""
        theirs = {r.plan.seed: r.row.get(score) for r in self.of(**place, **other)}
        pairs = [(r.row.get(score), theirs.get(r.plan.seed)) for r in self.of(**place, **one)]
        return [a - b for a, b in pairs if a is not None and b is not None]


def source_of(result: Result | Run) -> str:
    """Give the link to a run's log, from the page."""
    path = result.path if isinstance(result, Run) else result.plan.path
    return f"runs/{path.name}/metrics.jsonl"


def run_of(result: Result) -> Run:
    """Open the folder of a result."""
    return Run.open(result.plan.path)


def config_of(result: Result) -> Any:
    """Give the configuration of a result's run, with the fields of its own task."""
    return result.plan.config


def model_of(result: Result) -> Any:
    """Load what a result's run has learnt."""
    return load(result.plan.path)


def test_of(result: Result) -> Mapping[str, Any]:
    """Read all that a run's test gave."""
    (test,) = run_of(result).records("test")
    return test


def at_once(plans: Sequence[Plan], threads: int) -> int:
    """Say how many of these runs are made at a time."""
    return max(1, min(threads, len(plans), AT_ONCE))


class Runs:
    """The folder of runs, and how they are made."""

    def __init__(self, folder: Path, threads: int, say: Callable[[str], None]) -> None:
        self.folder, self.say = folder, say
        self.threads = threads or torch.get_num_threads()

    def planned(self, wanted: Iterable[Wanted]) -> dict[str, list[Plan]]:
        """List the runs, each once, by task."""
        found: dict[str, dict[Path, Plan]] = {}
        for one in wanted:
            plans = {p.path: p for p in one.grid(self.folder).plans}
            found.setdefault(one.task, {}).update(plans)
        return {task: list(plans.values()) for task, plans in found.items()}

    def plans(self, wanted: Iterable[Wanted]) -> dict[str, list[Plan]]:
        """List the runs that are not finished yet, each once, by task."""
        planned = self.planned(wanted).items()
        left = {task: [p for p in plans if not finished(p)] for task, plans in planned}
        return {task: plans for task, plans in left.items() if plans}

    def make(self, task: str, wanted: Iterable[Wanted], left: Callable[[], str] = str) -> None:
        """Make a task's runs that are not finished, and go on with those that were begun.

        `left` gives what is said behind every run that ends. Raises `InputError` where one fails;
        `Interrupted` on Ctrl-C, all being saved.
        """
        plans = self.plans(wanted).get(task, [])
        threaded = (replace(p, config=replace(p.config, threads=self.threads)) for p in plans)
        grid = Grid(task, self.folder, {}, (), tuple(threaded))
        failures = make_runs(
            grid, at_once(plans, self.threads), lambda line: self.say(line + left())
        )
        for path, why in failures.items():
            raise InputError(f"the run {path} failed: {why}; the same command tries it again")

    def made(self, wanted: Wanted) -> Made:
        """Read runs that are finished."""
        grid = wanted.grid(self.folder)
        measure = Measure(wanted.score, wanted.lower_is_better, wanted.reach)
        return Made(wanted, grid, [read_result(p, measure) for p in grid.plans], measure)
