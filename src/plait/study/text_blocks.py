"""Blocks of sections 4 and 5: training accuracy by step, and listings of generated text."""

from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup

from plait.api import load_kept
from plait.comparison.results import Result
from plait.study.page import Listing, Number, Table, mean_of
from plait.study.runs import FinishedRuns, config_of, run_of, source_of
from plait.tasks.text.listing import WINDOW


def accuracies(runs: FinishedRuns, parts: int) -> list[Number]:
    """Return the mean training accuracy before the end of each equal part of the steps."""
    found = []
    for part in range(1, parts + 1):
        values = [_recent(r, max(1, len(r.values) * part // parts)) for r in runs.results]
        found.append(mean_of(values, ".3f", map(source_of, runs.results)))
    return found


def accuracy_table(
    name: str, runs: FinishedRuns, published: Sequence[str], theirs: str, own: bool
) -> Table:
    """Return the training accuracy with the report's, by equal parts of the steps.

    `own`: whether the text is the report's own.
    """
    steps, parts = config_of(runs.results[0]).steps, len(published)
    return Table(
        name,
        f"Training accuracy by step, the mean of {WINDOW} batches; {theirs} of 3,000 steps"
        + ("." if own else ", of another text."),
        ["step", "here", "the report"],
        [[f"{steps * part // parts:,}", here, there]
         for part, (here, there) in enumerate(
             zip(accuracies(runs, parts), published, strict=True), 1)],
        published=[2],
    )  # fmt: skip


def listing(
    title: str, result: Result, prompts: Iterable[str], length: int, parts: int, **sampling: Any
) -> Listing:
    """Return what the weights at each equal part of the training generate after each prompt."""
    entries: list[tuple[Markup | str, str]] = []
    models = load_kept(run_of(result), parts=parts)
    for prompt in prompts:
        for step, model in models.items():
            what = Markup("{}, step {}, accuracy {}").format(
                repr(prompt), f"{step:,}", Number(_recent(result, step), ".2f", [source_of(result)])
            )
            seed = result.plan.seed
            text = model.generate(prompt, length, seed=seed, skip_unknown=True, **sampling)
            entries.append((what, text))
    return Listing(title, entries)


def _recent(result: Result, step: int) -> float:
    return float(result.values[max(0, step - WINDOW) : step].mean())
