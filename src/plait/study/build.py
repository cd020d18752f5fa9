"""Train one task's runs after another; render every section as soon as all its runs are there."""

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from markupsafe import Markup

from plait.api import set_threads
from plait.comparison.cluster import connected
from plait.study import sizes
from plait.study.corpora import corpus_note
from plait.study.duration import DurationEstimate, in_words
from plait.study.page import Block, Page, Section
from plait.study.runs import FinishedRuns, RunRequest, RunStore
from plait.study.sections import SECTIONS
from plait.study.verdicts import Finding


class SectionModule(Protocol):
    """What the module of a section has."""

    TITLE: str
    REPORT_CLAIM: str

    def required_runs(self, size: Mapping[str, Any]) -> dict[str, RunRequest]:
        """Return the runs that the section needs, in the sizes of `sizes.py`."""
        ...

    def render(
        self, runs: Mapping[str, FinishedRuns], size: Mapping[str, Any]
    ) -> tuple[Sequence[Block], Sequence[Finding]]:
        """Return the section's blocks, and the findings that follow from the runs."""
        ...


def section_module(name: str) -> SectionModule:
    """Import a section's module."""
    return import_module(f"plait.study.sections.{name}")  # pyright: ignore[reportReturnType]


def build_page(
    names: Sequence[str],
    folder: Path,
    record: Callable[..., None],
    *,
    quick: bool,
    threads: int,
    notice: Callable[[str], None],
    ray: str | None = None,
) -> Path:
    """Train the runs of these sections; write the page whenever one has all its runs.

    `record` is called before the first run, and with the name of each section put on the page.
    """
    set_threads(threads)
    size = sizes.QUICK if quick else sizes.FULL
    requests = {name: section_module(name).required_runs(size[name]) for name in names}
    store = RunStore(folder / "runs", threads, notice, ray)
    every = [r for of_section in requests.values() for r in of_section.values()]
    record()
    remaining = _announce(store, every, quick, notice)
    page = Page(folder, quick, corpus_note(r.options.get("data") for r in every))
    waiting = list(names)
    tasks = list(dict.fromkeys(r.task for r in every))
    with contextlib.nullcontext() if ray is None else connected(ray):
        for k, task in enumerate(tasks):
            store.train([r for r in every if r.task == task], remaining)
            missing = set(tasks[k + 1 :])
            tasks_of = {n: {r.task for r in requests[n].values()} for n in waiting}
            for name in [n for n in waiting if not missing & tasks_of[n]]:
                waiting.remove(name)
                notice(f"{SECTIONS.index(name) + 1} {section_module(name).TITLE}")
                page.add(_rendered(name, requests[name], size[name], store))
                record(name)
    return folder / "index.html"


def _rendered(
    name: str, requests: Mapping[str, RunRequest], size: Mapping[str, Any], store: RunStore
) -> Section:
    runs = {key: store.read(request) for key, request in requests.items()}
    module = section_module(name)
    blocks, findings = module.render(runs, size)
    seconds = {r.plan.path: r.row["seconds"] for one in runs.values() for r in one.results}
    return Section(
        number=SECTIONS.index(name) + 1, name=name, title=module.TITLE,
        report_claim=Markup(module.REPORT_CLAIM), blocks=blocks, findings=findings,
        seeds_note=seeds_note(runs.values()), seconds=seconds,
    )  # fmt: skip


def seeds_note(runs: Collection[FinishedRuns]) -> str:
    """State how many seeds are behind a section's numbers, and where it is only one."""
    counts: dict[str, int] = {}
    for one in runs:
        subject = one.results[0].plan.config.subject_name
        counts.setdefault(f"{one.request.task}: {subject}" if subject else one.request.task,
                          len(one.request.seeds))  # fmt: skip
    single = [name for name, count in counts.items() if count == 1]
    if not single:
        few, many = min(counts.values()), max(counts.values())
        return f"Every network was trained with {few if few == many else f'{few} to {many}'} seeds."
    which = "" if len(single) == len(counts) else f" ({'; '.join(single)})"
    return (
        f"Trained with one seed only{which}: another seed may give other numbers, and findings "
        "from it are those of a single run."
    )


def _announce(
    store: RunStore, requests: Sequence[RunRequest], quick: bool, notice: Callable[[str], None]
) -> Callable[[], str]:
    """Announce how many runs are to train, and how long that will take.

    Returns a function whose text follows the notice of every run that ends.
    """
    left = {task: len(runs) for task, runs in store.unfinished(requests).items()}
    count = sum(left.values())
    if store.ray is not None:
        notice(f"{count} runs to train on the cluster")
        return str
    if not count:
        notice("0 runs to train")
        return str
    if quick:
        seconds = sum(sizes.QUICK_SECONDS[task] * runs for task, runs in left.items())
        notice(f"{count} runs to train; about {in_words(seconds)} on two cores")
        return str
    notice(f"{count} runs to train; a few steps of each kind are timed first")
    estimate = DurationEstimate(store.planned(requests), store.threads)
    notice(f"{estimate} on this machine: time per step × planned steps")
    return lambda: f"; {time} left" if (time := str(estimate)) else ""
