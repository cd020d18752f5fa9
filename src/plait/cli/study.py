"""The command that measures the report again: `study`."""

import sys
from pathlib import Path

from plait.cli.entry import app
from plait.cli.flags import On, Several, Threads
from plait.terminal import show


@app.command
def study(
    sections: Several = None,
    *,
    quick: On = False,
    out: Path | None = None,
    threads: Threads = 0,
    ray: str | None = None,
) -> None:
    """Measure again what the report "Deep Learning 2020, Assignment 2" says, on one page.

    Example: plait study --quick --out runs/study

    Parameters
    ----------
    sections : list
        Names or numbers: 1 gradients, 2 gates, 3 memory, 4 text, 5 fairy-tales,
        6 graphs, 7 applications, 8 structure, 9 sequences-over-graphs. Default: all.
    quick : bool
        Reduced sizes: under ten minutes on two cores.
    out : Path
        The folder; a stopped study resumes in it. Default: study, or study-quick.
    ray : str
        Train on the Ray cluster at this address, as compare does; --threads are those of each run.
    """
    from plait.study import make_study
    from plait.training.progress import progress_for

    progress = progress_for(sys.stdout)
    page = make_study(
        sections or (), quick=quick, out=out, threads=threads, ray=ray, progress=progress
    )
    show(f"saved in {page}")
