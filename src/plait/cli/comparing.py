"""`plait compare`: a command for each task, whose options may vary."""

import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from cyclopts import App

from plait.cli.options import recipe_option, with_flags
from plait.errors import InputError
from plait.tasks import TASKS, config_class
from plait.terminal import show

compare = App(name="compare")


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
        show(f"saved in {grid.path}: results.csv, summary.csv, differences.csv, compare.png")
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
        **recipe_option(task),
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


for _task in TASKS:
    compare.command(_compare_command(_task), name=_task)
