"""What the page says follows from its numbers: each answer is computed, with its verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup

from plait.comparison.results import interval

Verdict = Literal[
    "as the report says", "not as the report says", "as the paper says", "not as the paper says",
    "not settled", "measured",
]  # fmt: skip
"""How an answer stands to the report, or to the paper that the report names; else just measured."""


@dataclass(frozen=True)
class Answer:
    """One bold line of the page, and how it stands to the report."""

    text: Markup
    verdict: Verdict


def answer(verdict: Verdict, text: str, *parts: Any, **named: Any) -> Answer:
    """Make an answer; what stands in braces is a number, with its link, or text.

    >>> from plait.study.claims import answer
    >>> answer("measured", "{} of {} steps", 3, "<many>").text
    Markup('3 of &lt;many&gt; steps')
    """
    return Answer(Markup(text).format(*parts, **named), verdict)


def verdict_of(holds: bool | None, who: Literal["report", "paper"] = "report") -> Verdict:
    """Say how a claim stands: it holds, it does not, or that is not settled."""
    if holds is None:
        return "not settled"
    if who == "paper":
        return "as the paper says" if holds else "not as the paper says"
    return "as the report says" if holds else "not as the report says"


def settled(differences: Sequence[float]) -> Verdict:
    """Say of what the report claims nothing about: measured, or not settled where 0 may be it.

    >>> from plait.study.claims import settled
    >>> settled([-3.0, -4.0, -3.5]), settled([-3.0, 3.0])
    ('measured', 'not settled')
    """
    return "not settled" if below(differences) is None else "measured"


def below(differences: Sequence[float]) -> bool | None:
    """Say whether differences are below 0 by their 95 % interval; None: it holds 0, or is none.

    >>> from plait.study.claims import below
    >>> below([-3.0, -4.0, -3.5]), below([3.0, 4.0, 3.5]), below([-3.0, 3.0]), below([-3.0])
    (True, False, None, None)
    """
    if not differences:
        return None
    _, low, high = interval(differences)
    if low is None or high is None or low <= 0 <= high:
        return None
    return high < 0
