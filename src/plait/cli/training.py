"""`plait train`: a command for each task, made when it is asked for."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cyclopts import App

from plait.cli.options import recipe_option, with_flags
from plait.launch import is_first
from plait.tasks import TASKS, config_class
from plait.terminal import show

train = App(name="train")
for _task, _entry in TASKS.items():
    train.command(f"{__name__}:train {_task}", name=_task, help=_entry.help)


def __getattr__(name: str) -> Any:
    """Return the command that is registered as "train TASK"."""
    word, _, task = name.partition(" ")
    if word != "train" or task not in TASKS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _train_command(task)


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
            show(f"saved in {run.path}")

    subject = config_class(task).subject.upper()
    own = {
        "out": (Path, "out", f"The run folder, new. Default: runs/{task}-{subject}."),
        "from_run": (Path, "from", "Initialise the weights from this run."),
        **recipe_option(task),
    }
    return with_flags(command, task, own)
