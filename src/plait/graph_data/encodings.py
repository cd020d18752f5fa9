"""Columns of a table of nodes as features: numbers, categories, times and words.

Each encoder returns the features `[N, k]` and, as JSON values, what was learnt from the column.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from plait.columns import is_category
from plait.errors import InputError
from plait.tables import Cells
from plait.times import read_times, with_dots

Encoded = tuple[np.ndarray, Mapping[str, Any]]

MOST_TEXTS = 1000
"""Most distinct texts of a column that become one feature each, and most words."""

FEW = 10
"""Times of so few kinds are categories."""

WORDS = 3
"""Words of a text, in the mean, from which a column is of texts in words."""

DAY = 24 * 3600 * 1e9  # nanoseconds


def names_of(learnt: Mapping[str, Any]) -> list[str]:
    """Return the names of the features that a column became.

    >>> from plait.graph_data.encodings import names_of
    >>> names_of({"column": "town", "kind": "category", "values": ["Bern", "Ghent"]})
    ['town = Bern', 'town = Ghent']
    """
    column = learnt["column"]
    if learnt["kind"] == "category":
        return [f"{column} = {value}" for value in learnt["values"]]
    if learnt["kind"] == "words":
        return [f"{column}: {word}" for word in learnt["words"]]
    of_year = ["sine of the day of the year", "cosine of it"] if learnt["kind"] == "time" else []
    return [column, *(f"{column}, {what}" for what in of_year)]


def encode_numbers(name: str, numbers: np.ndarray) -> Encoded:
    """Standardise numbers to mean 0 and variance 1; missing or constant ones become 0."""
    known = numbers[~np.isnan(numbers)]
    mean, spread = known.mean(), known.std()
    learnt = {"column": name, "kind": "number", "mean": float(mean), "spread": float(spread)}
    if known.min() == known.max():
        return np.zeros((len(numbers), 1)), learnt | {"spread": 0.0}
    scaled = (numbers - mean) / (spread if spread > 0 else 1)
    return np.where(np.isnan(numbers), 0.0, scaled)[:, None], learnt


def encode_texts(
    cells: Cells, of: Callable[[int], str], k: int, numbers: np.ndarray, none: Collection[str]
) -> Encoded:
    """Encode a column of texts as times, categories or words, whichever they are.

    `numbers` are the column's entries that are numbers, `none` the texts that mean none; messages
    call row r `of(r)`. Raises `InputError` for what is neither.
    """
    name, column = cells.names[k], cells.texts[:, k]
    known = np.array([text not in none for text in column])
    mixed = known & np.isnan(numbers) & np.isfinite(numbers).any()
    for row in np.flatnonzero(mixed).tolist():
        raise InputError(
            f"{cells.at(row)}: the {name!r} of {of(row)} is {column[row]!r}, and that "
            "of others is a number; write numbers everywhere, or nowhere, or say with --missing "
            "what stands for no number"
        )
    kinds = sorted(set(column[known]))
    if len(kinds) > FEW and all(map(_is_time, kinds)):
        return _encode_times(cells, k, known)
    if is_category(column[known].tolist()) and len(kinds) <= MOST_TEXTS:
        learnt = {"column": name, "kind": "category", "values": kinds}
        return column[:, None] == np.array(kinds, dtype=object), learnt
    if np.mean([len(text.split()) for text in column[known]]) >= WORDS:
        return _encode_words(name, np.where(known, column, ""))
    if len(kinds) > MOST_TEXTS:
        raise InputError(
            f"{cells.path}: the column {name!r} has {len(kinds):,} different texts, more "
            f"than the {MOST_TEXTS:,} that can become features; remove it"
        )
    raise InputError(
        f"{cells.path}: the column {name!r} has {len(kinds):,} different texts in "
        f"{known.sum():,} rows, such as {kinds[0]!r}: neither numbers nor a category; "
        "write numbers, or dates as 2024-03-01, or remove it"
    )


def _is_time(text: str) -> bool:
    """Return whether a text begins as 2024-03 or is a day such as 31.12.2024."""
    return (text[:4].isdecimal() and text[4:5] == "-" and text[5:7].isdecimal()) or with_dots(
        [text]
    )


def _encode_times(cells: Cells, k: int, known: np.ndarray) -> Encoded:
    """Encode times as days, standardised, and as the sine and cosine of the time of the year."""
    name, rows = cells.names[k], np.flatnonzero(known)
    times, _ = read_times(cells.texts[rows, k].tolist(), lambda row: cells.at(int(rows[row])), name)
    nanoseconds: Any = pd.DatetimeIndex(times).as_unit("ns").asi8
    days = np.full(len(known), np.nan)
    days[rows] = nanoseconds / DAY
    since, learnt = encode_numbers(name, days)
    of_year = np.zeros((len(known), 2))
    angle = 2 * np.pi * np.asarray(times.day_of_year) / 365.25
    of_year[rows] = np.stack([np.sin(angle), np.cos(angle)], 1)
    unit = "days since 1970, with the sine and cosine of the day of the year"
    return np.concatenate([since, of_year], 1), {**learnt, "kind": "time", "unit": unit}


def _encode_words(name: str, texts: np.ndarray) -> Encoded:
    """Weigh the words of texts by how rare they are, each row of length 1 (tf-idf)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    single: Any = np.float32
    counter = TfidfVectorizer(max_features=MOST_TEXTS, min_df=2, dtype=single)
    try:
        weights: Any = counter.fit_transform(texts)
    except ValueError:  # of scikit-learn, where no word is in two texts
        raise InputError(f"the column {name!r} has texts that share no words; remove it") from None
    words = counter.get_feature_names_out().tolist()
    rarity = [round(float(weight), 6) for weight in counter.idf_]
    return weights.toarray(), {"column": name, "kind": "words", "words": words, "idf": rarity}
