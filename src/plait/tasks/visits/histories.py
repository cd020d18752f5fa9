"""Histories: for every patient the codes of each period, by number."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from plait.errors import InputError
from plait.tables import filled_rows, read_table, refuse
from plait.tasks.visits.events import KINDS, as_id

Codes = tuple[tuple[str, str], ...]
"""(kind, code) by number; drugs come first."""


@dataclass(frozen=True)
class Histories:
    """Patients and the numbers of the codes in each of their periods.

    Attributes
    ----------
    source : str
    codes : tuple of (kind, code)
        Drugs first.
    patients : tuple of str
    periods : list of lists of integer arrays
        By patient and period: the codes, each once, in order. Empty where none is known.
    left_out : Mapping from patient to int
        Events whose code is not among `codes`.
    notes : tuple of str
        What was lost where tables were joined.

    Example
    -------
    >>> import pandas as pd
    >>> from plait.tasks.visits.histories import Histories
    >>> rows = [("ann", 0, "diagnosis", "asthma"), ("ann", 3, "drug", "salbutamol")]
    >>> table = pd.DataFrame(rows, columns=["patient", "period", "kind", "code"])
    >>> histories = Histories.of(table, "a table")
    >>> histories.codes, [p.tolist() for p in histories.periods[0]]
    ((('drug', 'salbutamol'), ('diagnosis', 'asthma')), [[1], [0]])
    """

    source: str
    codes: Codes
    patients: tuple[str, ...]
    periods: list[list[np.ndarray]]
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, table: Any, source: str, codes: Codes | None = None) -> "Histories":
        """Number the events of a table as `read_events` gives; `codes` are those known already."""
        if codes is None:
            met = set(zip(table["kind"], table["code"], strict=True))
            codes = tuple(sorted(met, key=lambda c: (KINDS.index(c[0]), c[1])))
        number = pd.MultiIndex.from_tuples(codes).get_indexer(
            pd.MultiIndex.from_frame(table[["kind", "code"]])
        )
        table = table.assign(number=number).sort_values(["patient", "period", "number"])
        table = table.drop_duplicates(["patient", "period", "number", "kind", "code"])
        left_out = table.loc[table["number"] < 0, "patient"].value_counts().to_dict()
        periods: dict[str, list[np.ndarray]] = {}
        for (patient, _), numbers in table.groupby(["patient", "period"])["number"]:
            own = numbers.to_numpy()
            periods.setdefault(str(patient), []).append(own[own >= 0])
        return cls(source, codes, tuple(periods), list(periods.values()), left_out)

    @cached_property
    def drugs(self) -> int:
        """The number of codes that are drugs: the first ones."""
        return sum(kind == "drug" for kind, _ in self.codes)

    @property
    def sha256(self) -> str:
        """Return what identifies the histories."""
        digest = hashlib.sha256(repr((self.codes, self.patients)).encode())
        for periods in self.periods:
            digest.update(repr([p.tolist() for p in periods]).encode())
        return digest.hexdigest()

    def asked(self, patient: int) -> list[int]:
        """Return the periods after which to predict: those that one with drugs follows, from 0."""
        following = self.periods[patient][1:]
        return [t for t, codes in enumerate(following) if (codes < self.drugs).any()]

    def target(self, patient: int, t: int) -> np.ndarray:
        """Return the drugs of the period after t, `[drugs]`, 1 or 0."""
        codes = self.periods[patient][t + 1]
        return np.bincount(codes[codes < self.drugs], minlength=self.drugs)


def related_codes(histories: Histories, patients: Sequence[int], most: int) -> list[list[int]]:
    """Find for each code those that predict it: in the period before, more often than by chance.

    Of codes a in a period and b in the one after it, with n_a, n_b and n_ab counts of successive
    periods out of n, those a ≠ b with the largest n_ab · ln(n n_ab / (n_a n_b)), up to `most` for
    each b, where n_ab is at least 3 and the logarithm positive.

    Returns
    -------
    list of pairs [a, b]
    """
    C = len(histories.codes)
    both, before, after, n = np.zeros((C, C)), np.zeros(C), np.zeros(C), 0
    for k in patients:
        for a, b in zip(histories.periods[k][:-1], histories.periods[k][1:], strict=True):
            both[np.ix_(a, b)] += 1
            before[a] += 1
            after[b] += 1
            n += 1
    with np.errstate(divide="ignore", invalid="ignore"):
        score = both * np.log(n * both / np.outer(before, after))
    score[both < 3] = 0
    np.fill_diagonal(score, 0)
    pairs = []
    for b in range(C):
        first = np.argsort(-score[:, b], kind="stable")[:most]
        pairs += [[int(a), b] for a in first if score[a, b] > 0]
    return pairs


class Interactions(NamedTuple):
    """Pairs [a, b] of drugs by number, a < b, and what of a table they are."""

    pairs: list[list[int]]
    note: str


def read_interactions(path: Any, codes: Codes) -> list[list[int]]:
    """Read drugs that interact, as `join_interactions`, without its note."""
    return join_interactions(path, codes).pairs


def join_interactions(path: Any, codes: Codes, encoding: str = "utf-8") -> Interactions:
    """Read drugs that interact: a CSV file whose first two columns are codes of drugs.

    Pairs with a drug that is not among `codes` are passed over, and counted in the note. A drug
    that is not found as it is written is found where only upper case, spaces, or how a whole
    number is written (010, 10.0) differ, if there is one such drug.

    Raises
    ------
    InputError
        For a file without two columns or a line that names them, a pair of which one is missing,
        or where no pair is known.
    """
    table = filled_rows(path, read_table(path, encoding=encoding))
    if table.shape[1] < 2:
        raise InputError(f"{path}: the first two columns must be drugs that interact")
    number = {code: k for k, (kind, code) in enumerate(codes) if kind == "drug"}
    one, other = names = list(table)[:2]
    if number.keys() >= set(names):
        raise InputError(
            f"{path}, line 1: {one!r} and {other!r} are drugs, and no names of the columns; put a "
            "line such as drug,other above"
        )
    half = (table[one] == "") | (table[other] == "")
    refuse(path, table, half, lambda row: "a pair is of two drugs, and one is missing")
    alike: dict[str, list[str]] = {}
    for code in number:
        alike.setdefault(_alike(code), []).append(code)
    written = pd.unique(table[[one, other]].to_numpy().ravel())
    found = {drug: drug for drug in written if drug in number}
    for drug in written:
        if drug not in number and len(alike.get(_alike(drug), ())) == 1:
            found[drug] = alike[_alike(drug)][0]
    place = {drug: number[code] for drug, code in found.items()}
    pairs = [(place.get(a), place.get(b)) for a, b in zip(table[one], table[other], strict=True)]
    whole = [(a, b) for a, b in pairs if a is not None and b is not None]
    known = sorted({(min(pair), max(pair)) for pair in whole if pair[0] != pair[1]})
    lost = [drug for drug in written if drug not in found]
    if not known:
        raise InputError(
            f"{path}: no pair of it is of drugs in the events, such as {codes[0][1]}; its drugs "
            f"are such as {(lost or list(written))[0]}; write them as the events do"
        )
    note = f"{path}: {len(whole):,} of {len(pairs):,} pairs are of drugs in the events"
    if lost:
        note += f"; {len(lost):,} of its {len(written):,} drugs are not, such as {lost[0]!r}"
    other_way = [(drug, code) for drug, code in found.items() if drug != code]
    if other_way:
        drug, code = other_way[0]
        note += f"; {len(other_way):,} are written otherwise there, such as {drug!r} for {code!r}"
    return Interactions([list(pair) for pair in known], note)


def _alike(code: str) -> str:
    """Write a code without what may differ from table to table."""
    return as_id(" ".join(code.casefold().split()))
