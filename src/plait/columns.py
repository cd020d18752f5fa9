"""What a column of texts is: numbers, written in which way, or none; and what it may hide."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from plait.errors import InputError

MISSING = ("", "nan", "NaN", "NA", "N/A", "n/a", "<NA>", "#N/A", "null", "NULL", "None")
"""What means no number in a column of numbers."""

NO_TEXT = ("", "nan", "NaN", "NA", "N/A", "n/a", "<NA>", "#N/A", "NULL")
"""What means no text in a column of categories."""

TRUTH = {"True": 1.0, "TRUE": 1.0, "true": 1.0, "False": 0.0, "FALSE": 0.0, "false": 0.0}

LARGEST = 1e30
"""Numbers beyond are refused: their squares are infinite in float32."""

CODES = {float(sign * int("9" * k)) for k in range(2, 7) for sign in (1, -1)} | {
    -32768.0, 32767.0, -2147483648.0, 2147483647.0, 65535.0, 1e20, -1e20,
}  # fmt: skip
"""Numbers that often mean a value that is missing; one of them is enough to ask."""

_THOUSANDS = " '’\u00a0\u202f"
_COMMA = re.compile(
    rf"[+-]?(?=,?\d)(?:[1-9]\d{{0,2}}(?:[.{_THOUSANDS}]\d{{3}})+|\d*)(?:,\d*)?(?:[eE][+-]?\d+)?",
    re.ASCII,
)
_POINT = re.compile(
    rf"[+-]?(?=\.?\d)(?:[1-9]\d{{0,2}}(?:[,{_THOUSANDS}]\d{{3}})+|\d*)(?:\.\d*)?(?:[eE][+-]?\d+)?",
    re.ASCII,
)


@dataclass(frozen=True)
class Numbers:
    """Columns of texts read as numbers.

    Attributes
    ----------
    values : float array `[R, C]`
        NaN where there is none.
    bad : bool array `[R, C]`
        Where there is a text that is no number.
    comma : bool
        Whether some have a decimal comma.
    """

    values: np.ndarray
    bad: np.ndarray
    comma: bool = False


def read_numbers(
    texts: np.ndarray,
    names: Sequence[str],
    at: Callable[[int], str],
    missing: Collection[str] = (),
) -> Numbers:
    """Read columns of texts as numbers, with decimal points or commas and thousands marked or not.

    One mark is the decimal one in the whole table: where any column can only be read with a
    decimal comma, such as 1,75, all are.

    Parameters
    ----------
    texts : object array `[R, C]` of str
    names : sequence of str
        Of the columns, for the message.
    at : callable
        Names the line of a row.
    missing : collection of str
        Texts for a missing number, in addition to `MISSING`; numbers may be written in any way.

    Raises
    ------
    InputError
        Where it is unclear which mark is the decimal one.

    Example
    -------
    >>> import numpy as np
    >>> from plait.columns import read_numbers
    >>> texts = np.array([["1,75", "1.200"], ["50,0", "-9"]], dtype=object)
    >>> read_numbers(texts, ["height", "weight"], at=str, missing=["-9"]).values.tolist()
    [[1.75, 1200.0], [50.0, nan]]
    """
    values = np.array(pd.to_numeric(texts.ravel(), errors="coerce"), dtype=np.float64)
    values = values.reshape(texts.shape)
    bad = np.isnan(values)
    none = {*MISSING, *missing}
    for row, k in zip(*np.nonzero(bad), strict=True):
        bad[row, k] = texts[row, k] not in none
    comma = False
    if bad.any():
        comma = _read_marks(texts, values, bad, names, at)
    values[np.isin(values, as_numbers(missing))] = np.nan
    return Numbers(values, bad, comma)


def as_numbers(texts: Collection[str]) -> list[float]:
    """Return those of some texts that are numbers.

    >>> from plait.columns import as_numbers
    >>> as_numbers(["-9999", "unknown"])
    [-9999.0]
    """
    read: Any = pd.to_numeric(np.array([*texts, ""], dtype=object), errors="coerce")
    return [float(number) for number in read if number == number]


def missing_texts(option: str) -> tuple[str, ...]:
    """Return the values that an option lists, with commas or spaces between them.

    >>> from plait.columns import missing_texts
    >>> missing_texts("-9999, 999")
    ('-9999', '999')
    """
    return tuple(option.replace(",", " ").split())


def _read_marks(
    texts: np.ndarray,
    values: np.ndarray,
    bad: np.ndarray,
    names: Sequence[str],
    at: Callable[[int], str],
) -> bool:
    """Read truth values, decimal commas and marked thousands in place; say if there are commas."""
    forms: dict[int, tuple[bool, bool]] = {}  # column: all with a decimal comma, or with a point
    for k in map(int, np.flatnonzero(bad.any(0))):
        rows = np.flatnonzero(bad[:, k] | ~np.isnan(values[:, k]))
        own = texts[rows, k]
        if all(text in TRUTH for text in own):
            values[rows, k], bad[:, k] = [TRUTH[text] for text in own], False
            continue
        form = _fits(_COMMA, own), _fits(_POINT, own)
        if any(form):
            forms[k] = form
        elif all(_COMMA.fullmatch(text) or _POINT.fullmatch(text) for text in own):
            row = rows[[_COMMA.fullmatch(text) is None for text in own].index(True)]
            raise InputError(
                f"{at(row)}, column {names[k]!r}: {texts[row, k]!r} has another decimal mark than "
                "others of the column; write all with a decimal point"
            )
    plain = [k for k in range(texts.shape[1]) if k not in forms and not bad[:, k].any()]
    commas = [k for k, form in forms.items() if form == (True, False)]
    if commas:
        forms |= {k: (_fits(_COMMA, texts[:, k], "."), True) for k in plain}
        for k, form in forms.items():
            if not form[0]:
                row = next(r for r, text in enumerate(texts[:, k]) if not _COMMA.fullmatch(text))
                other = next(text for text in texts[:, commas[0]] if "," in text)
                raise InputError(
                    f"{at(row)}, column {names[k]!r}: {texts[row, k]!r} has a decimal point, and "
                    f"{other!r} in column {names[commas[0]]!r} a decimal comma; write all with a "
                    "decimal point"
                )
    elif all(all(form) for form in forms.values()) and all(
        _fits(_COMMA, texts[:, k], ".") for k in plain
    ):
        for k in forms:
            for row in (r for r, text in enumerate(texts[:, k]) if "," in text):
                raise InputError(
                    f"{at(row)}, column {names[k]!r}: {texts[row, k]!r} may have a decimal comma "
                    "or a mark of thousands; write it with a decimal point and no mark of thousands"
                )
    marks = f"[.{_THOUSANDS}]" if commas else f"[,{_THOUSANDS}]"
    for k in forms:
        rows = np.flatnonzero(bad[:, k] | ~np.isnan(values[:, k]))
        for row in (r for r in rows if texts[r, k] not in TRUTH):
            values[row, k] = float(re.sub(marks, "", texts[row, k]).replace(",", "."))
        bad[:, k] = False
    return bool(commas)


def refuse_large(values: np.ndarray, cell: Callable[[int, int], str]) -> None:
    """Raise `InputError` for the first number that cannot be computed with; `cell` names it.

    >>> import numpy as np
    >>> from plait.columns import refuse_large
    >>> refuse_large(np.array([[1e200]]), lambda row, column: "the weight is")
    Traceback (most recent call last):
    plait.errors.InputError: the weight is beyond ±1e+30; give it in a larger unit
    """
    with np.errstate(invalid="ignore"):
        large = np.argwhere(np.abs(values) > LARGEST)
    for row, k in large[:1].tolist():
        infinite = np.isinf(values[row, k])
        what = "infinite; give a number" if infinite else "beyond ±1e+30; give it in a larger unit"
        raise InputError(f"{cell(row, k)} {what}")


def _fits(form: re.Pattern[str], texts: np.ndarray, having: str = "") -> bool:
    """Return whether all texts have a form, of those that have some mark in them."""
    return all(form.fullmatch(text) for text in texts if having in text)


def counts_rows(texts: np.ndarray) -> bool:
    """Return whether a column only numbers its rows, from 0 or from 1.

    >>> import numpy as np
    >>> from plait.columns import counts_rows
    >>> counts_rows(np.array(["1", "2", "3"], object)), counts_rows(np.array(["1", "3"], object))
    (True, False)
    """
    first = texts[0] if len(texts) else ""
    if first not in ("0", "1"):
        return False
    return all(text == str(n) for n, text in enumerate(texts, int(first)))


def is_category(texts: Collection[str]) -> bool:
    """Return whether texts are of few kinds: at most ten, or each twice in the mean.

    >>> from plait.columns import is_category
    >>> is_category(["a", "b", "a"]), is_category([f"person {k}" for k in range(30)])
    (True, False)
    """
    return len(set(texts)) <= max(10, len(texts) // 2)


def far_values(values: np.ndarray) -> dict[float, tuple[int, list[int]]]:
    """Find numbers that may mean a value that is missing: the same, far from all others.

    Such is the smallest or largest number of a column, if it occurs there twice at least (one of
    `CODES`, or −1 where none else is below 0: once) and is farther from the next than all others
    lie apart.

    Parameters
    ----------
    values : float array `[R, C]`
        NaN where there is none.

    Returns
    -------
    dict
        For each such number: how often it occurs there, and in which columns.

    Example
    -------
    >>> import numpy as np
    >>> from plait.columns import far_values
    >>> far_values(np.array([[12.0], [-9999.0], [15.0], [14.0], [-9999.0]]))
    {-9999.0: (2, [0])}
    """
    found: dict[float, tuple[int, list[int]]] = {}
    if not len(values):
        return found
    lowest, highest = np.fmin.reduce(values), np.fmax.reduce(values)
    odd = np.zeros(values.shape[1], dtype=bool)
    for extreme in (lowest, highest):
        odd |= ((values == extreme).sum(0) > 1) | np.isin(extreme, [*CODES, -1.0])
    for k in np.flatnonzero(odd).tolist():
        column = values[:, k]
        own = np.unique(column[~np.isnan(column)])
        if len(own) < 4:
            continue
        for value, near, rest in ((own[0], own[1], own[1:]), (own[-1], own[-2], own[:-1])):
            count, apart = int((column == value).sum()), rest[-1] - rest[0]
            below = value == -1 and near >= 0 and np.median(rest) >= 10
            far = abs(value - near) > apart and (count > 1 or value in CODES)
            if far or below:
                n, columns = found.get(float(value), (0, []))
                found[float(value)] = n + count, [*columns, k]
    return found


def describe_far(values: np.ndarray, names: Sequence[str]) -> list[str]:
    """Write what `far_values` finds, for a person, with what to do.

    >>> import numpy as np
    >>> from plait.columns import describe_far
    >>> describe_far(np.array([[12.0], [-9999.0], [15.0], [14.0], [-9999.0]]), ["heat"])
    ["2 values are -9999 in 'heat', far from all others: if they mean missing, --missing=-9999"]
    """
    notes = []
    for value, (count, columns) in far_values(values).items():
        are = "values are" if count > 1 else "value is"
        where = repr(names[columns[0]]) if len(columns) == 1 else f"{len(columns)} columns"
        they = "they mean" if count > 1 else "it means"
        notes.append(
            f"{count:,} {are} {value:.12g} in {where}, far from all others: if {they} missing, "
            f"--missing={value:.12g}"
        )
    return notes
