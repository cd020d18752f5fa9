"""Commands that train: `train`, `compare`, `resume`."""

import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from cyclopts import App

from plait.cli.entry import app
from plait.cli.flags import with_flags
from plait.errors import InputError
from plait.launch import is_first
from plait.tasks import TASKS, config_class
from plait.terminal import show

train = App(name="train", help="Train a model on a task and save everything in a run folder.")
app.command(train)
compare = App(name="compare", help="Train with several options and seeds, and compare the scores.")
app.command(compare)


def _train_command(task: str) -> Callable[..., None]:
    """Make `plait train TASK`, whose flags are the fields of the task's configuration."""

    def command(
        *,
        out: Path | None = None,
        from_run: Path | None = None,
        recipe: str | None = None,
        **given: Any,
    ) -> None:
        from plait.api import train as train_task
        from plait.training.progress import progress_for

        options = {name: value for name, value in given.items() if value is not None}
        progress = progress_for(sys.stdout)
        run = train_task(
            task, out=out, from_run=from_run, recipe=recipe, progress=progress, **options
        )
        if is_first():
            show(f"kept in {run.path}")

    subject = config_class(task).subject.upper()
    own = {
        "out": (Path, "out", f"The run folder, new. Default: runs/{task}-{subject}."),
        "from_run": (Path, "from", "Initialise the weights from this run."),
        **_recipe(task),
    }
    return with_flags(command, task, own, TASKS[task].help)


def _compare_command(task: str) -> Callable[..., None]:
    """Make `plait compare TASK`, whose flags say what varies and what does not."""

    def command(
        *,
        vary: list[str] | None = None,
        seeds: str | None = None,
        out: Path | None = None,
        jobs: int | None = None,
        ray: str | None = None,
        recipe: str | None = None,
        score: str | None = None,
        reach: float | None = None,
        **given: Any,
    ) -> None:
        from plait.comparison import compare as compare_grid
        from plait.comparison.grid import read_seeds, read_vary
        from plait.training.progress import progress_for

        if out is None:
            raise InputError("give the grid's folder: --out GRID")
        options = {name: value for name, value in given.items() if value is not None}
        grid = compare_grid(
            task, read_vary(vary or (), task), out=out, seeds=read_seeds(seeds or "3"),
            jobs=1 if jobs is None else jobs, ray=ray, recipe=recipe, score=score, reach=reach,
            progress=progress_for(sys.stdout), **options,
        )  # fmt: skip
        show(str(grid))
        show(f"kept in {grid.path}: results.csv, summary.csv, differences.csv, compare.png")
        if grid.failures:
            raise InputError(
                f"{len(grid.failures)} of the runs in {grid.path} failed, as results.csv says; "
                "run the same command to try them again"
            )

    own = {
        "vary": (list[str], "vary", "FIELD=VALUE,VALUE; may be given more than once."),
        "seeds": (str, "seeds", "How many, from --seed on, or a list: 2019,2020. Default: 3."),
        "out": (Path, "out", "The grid's folder; a stopped grid resumes in it."),
        "jobs": (int, "jobs", "Parallel runs; they share the threads. Default: 1."),
        "ray": (
            str,
            "ray",
            "Train on the Ray cluster at this address; without one: on a cluster that runs "
            "already, or else on this machine.",
        ),
        **_recipe(task),
        "score": (
            str,
            "score",
            "The score to compare. Default: the one that validation uses.",
        ),
        "reach": (
            float,
            "reach",
            "Report the step at which the score reaches this. Default: accuracy 0.99.",
        ),
    }
    names = {f.name for f in fields(config_class(task))}
    examples = {"cell": "lstm,gru", "operator": "gcn,attention", "network": "gcn,lstm-bfs"}
    varied = next(
        (f"{name}={examples[name]}" for name in examples if name in names), "lr=0.01,0.001"
    )
    size = "--vary hidden_size=64,128 " if "hidden_size" in names else ""
    text = (
        f"Train on {task} with all combinations of values and seeds; write tables and a figure.\n\n"
        f"Example: plait compare {task} --vary {varied} {size}--seeds 3 --jobs 2 --out runs/grid"
    )
    return with_flags(command, task, own, text)


def _recipe(task: str) -> dict[str, tuple[Any, str, str]]:
    """Return the flag for named sets of options, if the task has any."""
    recipes = ", ".join(config_class(task).recipes)
    text = f"A named set of options, overridden by those given: {recipes}."
    return {"recipe": (str, "recipe", text)} if recipes else {}


for _task in TASKS:
    train.command(_train_command(_task), name=_task)
    compare.command(_compare_command(_task), name=_task)


@app.command
def resume(run: Path) -> None:
    """Resume a stopped run from its last checkpoint, bit for bit.

    Example: plait resume runs/text-presidents

    Parameters
    ----------
    run : Path
        The run folder.
    """
    from plait.api import resume as resume_run
    from plait.training.progress import progress_for

    resume_run(run, progress_for(sys.stdout))
