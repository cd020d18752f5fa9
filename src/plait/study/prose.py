"""What the networks of table 1 have learnt and write, of whichever text: sections 4 and 5."""

import re
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup

from plait.api import load_kept
from plait.comparison.results import Result
from plait.study.page import Listing, Number, Table, mean_of
from plait.study.runs import Made, config_of, run_of, source_of
from plait.tasks.text.listing import WINDOW


def accuracies(runs: Made, parts: int) -> list[Number]:
    """Mean training accuracy before the end of each part of the steps, over the seeds."""
    found = []
    for part in range(1, parts + 1):
        values = [_recent(r, max(1, len(r.values) * part // parts)) for r in runs.results]
        found.append(mean_of(values, ".3f", map(source_of, runs.results)))
    return found


def accuracy_table(
    name: str, runs: Made, published: Sequence[str], theirs: str, own: bool
) -> Table:
    """Set the training accuracy beside the report's, by equal parts of the steps."""
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


def listing(title: str, result: Result, prompts: Iterable[str], length: int, **how: Any) -> Listing:
    """Write after each prompt with the weights that the run kept of each part of its steps."""
    entries: list[tuple[Markup | str, str]] = []
    models = load_kept(run_of(result))
    for prompt in prompts:
        for step, model in models.items():
            what = Markup("{}, step {}, accuracy {}").format(
                repr(prompt), f"{step:,}", Number(_recent(result, step), ".2f", [source_of(result)])
            )
            seed = result.plan.seed
            text = model.generate(prompt, length, seed=seed, skip_unknown=True, **how)
            entries.append((what, text))
    return Listing(title, entries)


def _recent(result: Result, step: int) -> float:
    return float(result.values[max(0, step - WINDOW) : step].mean())


def licence_share(text: str) -> float:
    """Say what share of a text is Project Gutenberg's licence at its end.

    >>> from plait.study.prose import licence_share
    >>> licence_share("The end. *** END OF THE PROJECT … ")
    0.7352941176470589
    >>> licence_share("The end.")
    0.0
    """
    place = text.upper().find("*** END OF TH")
    return 0.0 if place < 0 else 1 - place / len(text)


def words_of(text: str) -> list[str]:
    """List the words, in small letters.

    >>> from plait.study.prose import words_of
    >>> words_of("The King’s son, 3 days old.")
    ['the', 'king', 's', 'son', 'days', 'old']
    """
    return re.findall(r"[^\W\d_]+", text.lower())


def known_share(text: str, known: set[str]) -> float:
    """Say what share of the words of a text are known ones; 0 of a text without words.

    >>> from plait.study.prose import known_share
    >>> known_share("The king, the knig", {"the", "king"}), known_share("%)", {"the"})
    (0.75, 0.0)
    """
    words = words_of(text)
    return statistics.fmean(word in known for word in words) if words else 0.0
