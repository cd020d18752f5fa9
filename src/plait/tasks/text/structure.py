"""What a text is like over long distances: what it opens and closes, and what comes back."""

import math
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

BRACKETS = {"(": ")", "[": "]", "{": "}"}
QUOTES = {"“": "”", "«": "»", "„": "“"}
STRAIGHT = '"'
"""A quotation mark that opens and closes alike."""

NAME = re.compile(r"(?<=[\w,;] )[A-Z][a-z]{2,}")
"""A capitalised word within a sentence."""


@dataclass(frozen=True)
class Closing:
    """How often something was opened, how often closed again, and over which distance.

    Attributes
    ----------
    opened, closed : int
    distances : sequence of int
        Characters from each opening to its closing.
    """

    opened: int
    distances: Sequence[int]

    @property
    def closed(self) -> int:
        """How many were closed."""
        return len(self.distances)

    def __str__(self) -> str:
        if not self.opened:
            return "none"
        text = f"{self.closed / self.opened:.0%} of {self.opened}"
        return text + (f", {statistics.median(self.distances):.0f}" if self.distances else "")


@dataclass(frozen=True)
class Structure:
    """Long-range structure of some texts of one kind.

    Attributes
    ----------
    brackets, quotes : Closing
    names : float
        Share of capitalised words within sentences that the same text had before; NaN: it has none.
    indentation : float
        Share of changes of indentation to fewer spaces that go back to a level which is still
        open, as Python demands; NaN: there are none.
    """

    brackets: Closing
    quotes: Closing
    names: float
    indentation: float


def structure_of(texts: Sequence[str]) -> Structure:
    """Measure the structure of texts; counts are of all of them together.

    >>> from plait.tasks.text.structure import structure_of
    >>> found = structure_of(['He (the "old" man) met Ann, and Ann went [home.'])
    >>> str(found.brackets), str(found.quotes), found.names
    ('50% of 2, 14', '100% of 1, 4', 0.5)
    """
    again = [seen for text in texts for seen in _names_seen(text)]
    back = [good for text in texts for good in _dedents(text)]
    return Structure(
        _joined(close_brackets(text) for text in texts),
        _joined(close_quotes(text) for text in texts),
        statistics.fmean(again) if again else math.nan,
        statistics.fmean(back) if back else math.nan,
    )


def _joined(found: Iterator[Closing]) -> Closing:
    every = list(found)
    distances = [d for one in every for d in one.distances]
    return Closing(sum(one.opened for one in every), distances)


def close_brackets(text: str) -> Closing:
    """Match brackets; a closing one closes the innermost of its kind, and what is open within."""
    opened, distances, stack = 0, list[int](), list[tuple[str, int]]()
    for place, c in enumerate(text):
        if c in BRACKETS:
            opened += 1
            stack.append((BRACKETS[c], place))
        elif any(c == closing for closing, _ in stack):
            while stack[-1][0] != c:
                stack.pop()
            distances.append(place - stack.pop()[1])
    return Closing(opened, distances)


def close_quotes(text: str) -> Closing:
    """Match quotation marks; one that is open at the end of a paragraph is not closed."""
    opened, distances = 0, list[int]()
    for found in re.finditer(r"(?:(?!\n\s*\n).)+", text, re.DOTALL):  # paragraph by paragraph
        begin: tuple[str, int] | None = None
        for place, c in enumerate(found[0]):
            if begin is not None and c == begin[0]:
                distances.append(place - begin[1])
                begin = None
            elif begin is None and (c in QUOTES or c == STRAIGHT):
                begin = (QUOTES.get(c, STRAIGHT), place)
                opened += 1
    return Closing(opened, distances)


def _names_seen(text: str) -> Iterator[bool]:
    """Yield for each name whether the text had it before."""
    seen = set[str]()
    for found in NAME.finditer(text):
        yield found[0] in seen
        seen.add(found[0])


def _dedents(text: str) -> Iterator[bool]:
    """Yield for each line with less indentation than the one before whether its level is open."""
    levels = [0]
    for line in text.split("\n"):
        if not line.strip():
            continue
        spaces = len(line) - len(line.lstrip(" "))
        if spaces < levels[-1]:
            yield spaces in levels
        levels = [level for level in levels if level < spaces] + [spaces]


def positions(text: str) -> dict[str, np.ndarray]:
    """Return what a state may keep track of after each character, `[n]` each.

    In quotes and in brackets: 0 or 1. Positions: characters since the line's, the sentence's and
    the word's beginning. Indentation: spaces at the line's beginning.

    >>> from plait.tasks.text.structure import positions
    >>> positions("a (b) c")["in brackets"].astype(int).tolist()
    [0, 0, 1, 1, 0, 0, 0]
    """
    found = {name: np.zeros(len(text)) for name in NAMES}
    depth, quote, line, sentence, word, indent, leading = 0, "", 0, 0, 0, 0, True
    for place, c in enumerate(text):
        depth = max(0, depth + (c in BRACKETS) - (c in BRACKETS.values()))
        if quote:
            quote = "" if c == quote or text[place - 1 : place + 1] == "\n\n" else quote
        elif c in QUOTES or c == STRAIGHT:
            quote = QUOTES.get(c, STRAIGHT)
        line = 0 if c == "\n" else line + 1
        leading = c == "\n" or (leading and c == " ")
        indent = 0 if c == "\n" else indent + (c == " " and leading)
        sentence = 0 if c in ".!?" else sentence + 1
        word = word + 1 if c.isalnum() else 0
        values = (bool(quote), depth > 0, line, sentence, word, indent)
        for name, value in zip(NAMES, values, strict=True):
            found[name][place] = value
    return found


NAMES = (
    "in quotes", "in brackets", "position in line", "position in sentence", "position in word",
    "indentation",
)  # fmt: skip
