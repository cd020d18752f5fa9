"""One task after another: its runs are made, and every section that has all of its runs is told."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from markupsafe import Markup

from plait.api import set_threads
from plait.study import sizes
from plait.study.claims import Answer
from plait.study.corpora import told_corpora
from plait.study.forecasting import Forecast
from plait.study.making import SECTIONS
from plait.study.page import Block, Page, Section
from plait.study.runs import Made, Runs, Wanted


class Chapter(Protocol):
    """What the module of a section has."""

    TITLE: str
    SAYS: str

    def wanted(self, size: Mapping[str, Any]) -> dict[str, Wanted]:
        """Name the runs that it stands on, in the sizes of `sizes.py`."""
        ...

    def tell(
        self, made: Mapping[str, Made], size: Mapping[str, Any]
    ) -> tuple[Sequence[Block], Sequence[Answer]]:
        """Tell what these runs show, and what follows from it."""
        ...


def chapter(name: str) -> Chapter:
    """Find a section's module."""
    return import_module(f"plait.study.sections.{name}")  # pyright: ignore[reportReturnType]


def tell(
    names: Sequence[str],
    folder: Path,
    keep: Callable[..., None],
    *,
    quick: bool,
    threads: int,
    say: Callable[[str], None],
) -> Path:
    """Make the runs of these sections; write the page whenever one of them has all of its runs.

    `keep` hears, before the first run, that it begins, and the name of each section that is told.
    """
    set_threads(threads)
    size = sizes.QUICK if quick else sizes.FULL
    wants = {name: chapter(name).wanted(size[name]) for name in names}
    runs = Runs(folder / "runs", threads, say)
    everything = [w for of in wants.values() for w in of.values()]
    keep()
    left = _announce(runs, everything, quick, say)
    page = Page(folder, quick, told_corpora(w.options.get("data") for w in everything))
    waiting = list(names)
    tasks = list(dict.fromkeys(w.task for w in everything))
    for k, task in enumerate(tasks):
        runs.make(task, [w for w in everything if w.task == task], left)
        missing = set(tasks[k + 1 :])
        for name in [n for n in waiting if not missing & {w.task for w in wants[n].values()}]:
            waiting.remove(name)
            say(f"{SECTIONS.index(name) + 1} {chapter(name).TITLE}")
            page.add(_told(name, wants[name], size[name], runs))
            keep(name)
    return folder / "index.html"


def _told(name: str, wants: Mapping[str, Wanted], size: Mapping[str, Any], runs: Runs) -> Section:
    made = {key: runs.made(wanted) for key, wanted in wants.items()}
    of = chapter(name)
    blocks, answers = of.tell(made, size)
    seconds = {r.plan.path: r.row["seconds"] for one in made.values() for r in one.results}
    return Section(
        SECTIONS.index(name) + 1, name, of.TITLE, Markup(of.SAYS), blocks, answers, seconds
    )


def _announce(
    runs: Runs, everything: Sequence[Wanted], quick: bool, say: Callable[[str], None]
) -> Callable[[], str]:
    """Say how many runs are to be made and, of the full study, how long it will take.

    Gives what is said behind every run that ends.
    """
    count = sum(map(len, runs.plans(everything).values()))
    if quick or not count:
        say(f"{count} runs to make" + ("; under ten minutes on two cores" if count else ""))
        return str
    say(f"{count} runs to make; measuring a few steps of each kind, to say how long it will take")
    forecast = Forecast(runs.planned(everything), runs.threads)
    say(f"{forecast} here: measured speed × planned steps")
    return lambda: f"; {of} left" if (of := str(forecast)) else ""
