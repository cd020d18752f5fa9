"""Findings: what the page concludes from its numbers, each computed, with its verdict."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup

from plait.comparison.results import interval

Verdict = Literal[
    "agrees with the report", "differs from the report", "agrees with the paper",
    "differs from the paper", "inconclusive", "measured",
]  # fmt: skip
"""How a finding compares with the report, or with the paper that the report cites."""


@dataclass(frozen=True)
class Finding:
    """One bold line of the page, and its verdict."""

    text: Markup
    verdict: Verdict


def finding(verdict: Verdict, text: str, *parts: Any, **named: Any) -> Finding:
    """Return a finding; each brace of the text is filled with a number and its link, or text.

    >>> from plait.study.verdicts import finding
    >>> finding("measured", "{} of {} steps", 3, "<many>").text
    Markup('3 of &lt;many&gt; steps')
    """
    return Finding(Markup(text).format(*parts, **named), verdict)


def verdict_of(holds: bool | None, source: Literal["report", "paper"] = "report") -> Verdict:
    """Return the verdict of a claim that holds, does not hold, or (None) is undecided."""
    if holds is None:
        return "inconclusive"
    if source == "paper":
        return "agrees with the paper" if holds else "differs from the paper"
    return "agrees with the report" if holds else "differs from the report"


def unanimous(outcomes: Iterable[bool]) -> bool | None:
    """Return the outcome that all runs share, or None where they differ.

    >>> from plait.study.verdicts import unanimous
    >>> unanimous([True, True]), unanimous([False, False]), unanimous([True, False])
    (True, False, None)
    """
    found = set(outcomes)
    return found.pop() if len(found) == 1 else None


def measured_difference(differences: Sequence[float]) -> Verdict:
    """Return the verdict where nothing is claimed: "inconclusive" if the 95 % interval holds 0.

    >>> from plait.study.verdicts import measured_difference
    >>> measured_difference([-3.0, -4.0, -3.5]), measured_difference([-3.0, 3.0])
    ('measured', 'inconclusive')
    """
    return "inconclusive" if below_zero(differences) is None else "measured"


def below_zero(differences: Sequence[float]) -> bool | None:
    """Return whether the 95 % interval of the mean lies below 0; None: it holds 0, or is none.

    >>> from plait.study.verdicts import below_zero
    >>> below_zero([-3.0, -4.0, -3.5]), below_zero([3.0, 4.0, 3.5])
    (True, False)
    >>> below_zero([-3.0, 3.0]), below_zero([-3.0])
    (None, None)
    """
    if not differences:
        return None
    _, low, high = interval(differences)
    if low is None or high is None or low <= 0 <= high:
        return None
    return high < 0
