"""Commands on a run folder that are the same for every task: `resume`, `inspect`."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from plait.cli.entry import app
from plait.cli.flags import On, Threads
from plait.terminal import show


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


@app.command(name="inspect")
def inspect_runs(
    runs: Annotated[list[Path], Parameter(negative="")],
    *,
    out: Path | None = None,
    repetition: On = False,
    units: On = False,
    equations: Annotated[
        Literal["text", "latex"] | bool,
        Parameter(negative="", metavar="text|latex", show_choices=False),
    ] = False,
    threads: Threads = 0,
) -> None:
    """Show what networks are made of, and how the gradient flows back through time in them.

    Example: plait inspect runs/recall-rnn runs/recall-lstm --out flow.png

    Parameters
    ----------
    runs : list
        Run folders; the picture has a column for each.
    out : Path
        The picture. Default: inspect.png in the first run folder.
    repetition : bool
        For text: generate texts at several β, and measure how much of each repeats itself.
    units : bool
        For text: find the channels of the states that keep track of quotes, lines, brackets, …,
        draw them over a passage to units.png in the run folder, and measure the structure of
        generated text.
    equations : str
        Print their cells' equations too, and the gradient derived from
        them. `--equations latex`: as LaTeX.
    """
    from plait.api import set_threads
    from plait.inspection import inspect as inspect_them

    set_threads(threads)
    several = inspect_them(runs, out=out, repetition=repetition, units=units, equations=equations)
    for number, found in enumerate(several):
        show("\n" * (number > 0) + str(found))
