"""Large tables of measurements in CSV that are plain, read in pieces.

A table in memory takes 150 bytes per cell while it is read, a plain one 16. Whatever is not plain
is left to `plait.tasks.forecast.sources.read_csv`.
"""

import io
import itertools
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from plait.columns import MISSING, TRUTH
from plait.errors import InputError
from plait.tables import COUNTERS
from plait.text_pieces import text_pieces

LARGE = 2**26
"""Bytes of a table from which on it is read in pieces."""


class PlainTable(NamedTuple):
    """The numbers of a table `[R, C]`, and its column of times, where there is one."""

    names: tuple[str, ...]
    values: np.ndarray
    times: list[str]
    time_name: str


def read_plain(path: Path, time: str, time_names: tuple[str, ...], encoding: str) -> Any:
    """Read a large table; None where it is small, or not plain.

    It is plain if every cell but those of a column of times is a number with a decimal point, or
    nothing, every row has as many cells as names, no cell is in quotes, and no column only numbers
    the rows.

    Parameters
    ----------
    path : Path
    time : str
        The name of the column of times.
    time_names : tuple of str
        Its name in lower case, where `time` is "".
    encoding : str
    """
    if not path.is_file() or path.stat().st_size < LARGE or path.suffix == ".gz":
        return None
    try:
        return _read(path, time, time_names, encoding)
    except (ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        return None


def _read(path: Path, time: str, time_names: tuple[str, ...], encoding: str) -> PlainTable | None:
    lines = _whole_lines(text_pieces(path, encoding, "--encoding"))
    first, _, rest = next(lines).partition("\n")
    first = unicodedata.normalize("NFC", first.removeprefix("\ufeff"))
    separator = max(",;\t", key=first.count)
    names = [name.strip() for name in first.split(separator)]
    small = [name.lower() for name in names]
    odd = any(name in COUNTERS or name.startswith("unnamed: ") for name in small)
    if odd or '"' in first or "" in names or len(set(small)) < len(names):
        return None
    wanted = (time,) if time else time_names
    found = [k for k, name in enumerate(names if time else small) if name in wanted]
    if (time and not found) or len(found) > 1 or len(names) == len(found):
        return None
    columns = [k for k in range(len(names)) if k not in found]
    kinds: Any = {k: np.float64 if k in columns else str for k in range(len(names))}
    times, parts = list[str](), list[np.ndarray]()
    for piece in filter(None, itertools.chain((rest,), lines)):
        text = piece if piece.endswith("\n") else piece + "\n"
        marks = text.count("\n") * (len(names) - 1)
        odd = any(word in text for word in ('"', "\n\n", *TRUTH))  # which pandas takes for numbers
        if odd or text.count(separator) != marks:
            return None
        table = pd.read_csv(
            io.StringIO(text), sep=separator, header=None, dtype=kinds, keep_default_na=False,
            na_values=dict.fromkeys(columns, MISSING),
            skipinitialspace=True, skip_blank_lines=False,
        )  # fmt: skip
        if len(table) != text.count("\n"):
            return None
        times += [text.strip() for k in found for text in table[k]]
        parts.append(table[columns].to_numpy(np.float64))
    values = np.concatenate(parts)
    return PlainTable(
        tuple(names[k] for k in columns), values, times, names[found[0]] if found else ""
    )


def _whole_lines(pieces: Iterator[str]) -> Iterator[str]:
    """Cut a text at the ends of lines."""
    rest = ""
    for piece in pieces:
        head, end, tail = piece.rpartition("\n")
        if end:
            yield rest + head + end
            rest = tail
        else:
            rest += piece
    yield rest
