"""Synthetic patients: histories by rules that are known, so the best possible score is too.

Every drug of a period is drawn by itself, with a probability that follows from what was recorded
before. So nothing can predict better than these probabilities, and `Hospital.chances` gives them.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from plait.tasks.visits.events import COLUMNS
from plait.training.streams import random_generator

PERIODS = 5, 10
"""Periods of a history: at least, at most."""

CHRONIC, COMPLAINTS = 12, (2, 4)
"""Chronic conditions that there are, and that a patient has."""

PARTNERS = 6
"""Drugs that a drug for a chronic condition interacts with, about."""

ACUTE, ONSET = 6, 0.25
"""Acute conditions that there are, and the chance of each in a period."""

RETEST = 0.12
"""Chance that the test which decides between two drugs is made again, and turns out otherwise."""

GIVEN, STRAY = 0.95, 0.006
"""Chance of a drug that is due, and of each that is not."""

MINOR = 10
"""Diagnoses that mean nothing, one in each period."""


class Hospital:
    """The rules by which histories are made. They are the same for every seed.

    - A chronic condition is written down in the first period and treated in every one, with one
      of two drugs. Of drugs that were given together and interact, each is replaced by the other
      drug for its condition. Who knows the list of interactions sees that at once, on the graph;
      who does not must learn every pair.
    - An acute condition is treated in the period after it came, with one of two drugs: the second
      if a test of the first was positive. Every test is made in the first period, some again, and
      the last one decides. Who remembers, along the sequence, which result came last knows the
      drug; the events of the last periods do not say.
    - A drug that is due is given with probability 0.95, any other with 0.006. Minor diagnoses mean
      nothing.

    Attributes
    ----------
    drugs : tuple of str
    interactions : list of pairs of str

    Example
    -------
    >>> from plait.tasks.visits.generated import Hospital
    >>> hospital = Hospital()
    >>> first = [("procedure", "test-00 positive"), ("drug", "chronic-07a")]
    >>> again = [("procedure", "test-00 negative"), ("drug", "chronic-07a")]
    >>> due = hospital.chances([first, again, [("diagnosis", "acute-00")]])
    >>> [drug for drug, p in zip(hospital.drugs, due) if p > 0.5]
    ['acute-00 line 1']
    """

    def __init__(self) -> None:
        self.either = [(f"chronic-{c:02}a", f"chronic-{c:02}b") for c in range(CHRONIC)]
        self.lines = [tuple(f"acute-{a:02} line {n}" for n in (1, 2)) for a in range(ACUTE)]
        self.drugs = tuple(drug for pair in [*self.either, *self.lines] for drug in pair)
        self.number = {drug: k for k, drug in enumerate(self.drugs)}
        random = random_generator(0, 0)
        N = 2 * CHRONIC
        drawn = np.triu(random.random((N, N)) < PARTNERS / (N - 2), 1)
        drawn[np.arange(0, N, 2), np.arange(1, N, 2)] = False  # the two for one condition
        self.interacts = drawn | drawn.T
        self.interactions = [(self.drugs[a], self.drugs[b]) for a, b in np.argwhere(drawn)]

    def chances(self, history: Sequence[Sequence[tuple[str, str]]]) -> np.ndarray:
        """Return every drug's probability in the next period, `[drugs]`.

        Parameters
        ----------
        history : sequence of periods, each a sequence of (kind, code)
            All that was recorded.
        """
        chances = np.full(len(self.drugs), STRAY)
        codes = [{code for _, code in period} for period in history]
        last = codes[-1]
        together = [self.number[d] for drugs in self.either for d in drugs if d in last]
        for c in (c for c in range(CHRONIC) if f"chronic-{c:02}" in codes[0]):
            now, other = (self.number[drug] for drug in self.either[c])
            if other in together and now not in together:
                now, other = other, now
            replaced = now in together and self.interacts[now, together].any()
            chances[other if replaced else now] = _either(GIVEN, STRAY)
        for a in (a for a in range(ACUTE) if f"acute-{a:02}" in last):
            chances[self.number[self.lines[a][_line(a, codes)]]] = _either(GIVEN, STRAY)
        return chances

    def patients(self, count: int, seed: int = 0) -> pd.DataFrame:
        """Draw histories; a table as `read_events` gives."""
        rows = []
        for number in range(count):
            history = self._history(random_generator(seed, number, stream=1))
            name = f"patient-{number:05}"
            rows += [(name, t, *event) for t, period in enumerate(history) for event in period]
        return pd.DataFrame(rows, columns=COLUMNS)

    def _history(self, random: np.random.Generator) -> list[list[tuple[str, str]]]:
        chronic = random.choice(CHRONIC, random.integers(*COMPLAINTS, endpoint=True), replace=False)
        positive = random.random(ACUTE) < 0.5
        history: list[list[tuple[str, str]]] = []
        for t in range(random.integers(*PERIODS, endpoint=True)):
            if t == 0:
                tested = np.ones(ACUTE, bool)
                period = [("diagnosis", f"chronic-{c:02}") for c in chronic]
                drugs = [self.either[c][random.integers(2)] for c in chronic]
            else:
                tested = random.random(ACUTE) < RETEST
                positive ^= tested
                drawn = random.random(len(self.drugs)) < self.chances(history)
                period, drugs = [], [self.drugs[k] for k in np.flatnonzero(drawn)]
            period += [
                ("procedure", RESULTS[int(positive[a])].format(a)) for a in np.flatnonzero(tested)
            ]
            begun = np.flatnonzero(random.random(ACUTE) < ONSET)
            period += [("diagnosis", f"acute-{a:02}") for a in begun]
            period += [("diagnosis", f"minor-{random.integers(MINOR)}")]
            history.append(period + [("drug", drug) for drug in drugs])
        return history


RESULTS = "test-{:02} negative", "test-{:02} positive"


def _line(a: int, codes: Sequence[set[str]]) -> int:
    """Return by the last test which drug an acute condition is treated with: 0 or 1."""
    negative, positive = (result.format(a) for result in RESULTS)
    last = next((period for period in reversed(codes) if period & {negative, positive}), set())
    return int(positive in last)


def _either(p: float, q: float) -> float:
    return 1 - (1 - p) * (1 - q)
