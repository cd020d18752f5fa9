"""The formats of a table of measurements (CSV, Parquet, HDF5), and its column of times."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from plait.columns import counts_rows
from plait.errors import InputError
from plait.memory import require_memory
from plait.tables import read_cells
from plait.tasks.forecast.hdf5 import ENDINGS, read_hdf5
from plait.tasks.forecast.plain import PlainTable, read_plain
from plait.times import read_times

TIME_NAMES = ("time", "timestamp", "date", "datetime")


@dataclass(frozen=True)
class Table:
    """A table whose column of times is known.

    Attributes
    ----------
    path : Path
    names : tuple of str
        Of the columns but that of times.
    cells : array `[R, C]`
        Texts, "" where there is none; or float64, NaN where there is none.
    where : callable
        Names a row in a message.
    times : DatetimeIndex of R, or None
    time_name : str
    ignored : tuple of str
        What columns were left out.
    notes : tuple of str
    """

    path: Path
    names: tuple[str, ...]
    cells: np.ndarray
    where: Callable[[int], str]
    times: pd.DatetimeIndex | None = None
    time_name: str = ""
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_csv(path: Path, time: str, encoding: str = "utf-8") -> Table:
    """Read CSV; the times are in the column `time`, or in one of `TIME_NAMES`, or in the index."""
    plain = read_plain(path, time, TIME_NAMES, encoding)
    if plain is not None and not counts_rows(np.array(plain.times, dtype=object)):
        return _of_plain(path, plain)
    cells = read_cells(path, encoding)
    names = list(cells.names)
    k = next((k for k, n in enumerate(names) if n.lower() in TIME_NAMES), None)
    if time:
        k = cells.column(time)
        if k is None:
            raise InputError(f"--time {time}: {path} has no such column")
    elif k is not None and counts_rows(cells.texts[:, k]):
        k = None  # the steps' numbers
    counters = [n for n in cells.counters(TIME_NAMES) if n != k]
    if "" in names and names.index("") not in counters:
        nameless = names.index("")
        if k is not None or not _are_times(cells.texts[:, nameless]):
            raise InputError(f"{path}, line 1: a column has no name; give it the node's")
        k = nameless
    if len(counters) + (k is not None) == len(names):
        counters = []
    times, note = None, ""
    if k is not None:
        times, note = read_times(cells.texts[:, k].tolist(), cells.at, names[k])
    kept = [n for n in range(len(names)) if n != k and n not in counters]
    ignored = tuple(
        f"{repr(names[n]) if names[n] else 'the column without a name'}, which numbers the rows"
        for n in counters
    )
    texts = cells.texts if len(kept) == len(names) else cells.texts[:, kept]
    return Table(
        path, tuple(names[n] for n in kept), texts, cells.at, times, "" if k is None else names[k],
        ignored, (note,) * bool(note),
    )  # fmt: skip


def _of_plain(path: Path, plain: PlainTable) -> Table:
    """Return a table whose lines are its rows."""

    def at(row: int) -> str:
        return f"{path}, line {row + 2}"

    times, note = None, ""
    if plain.time_name:
        times, note = read_times(plain.times, at, plain.time_name)
    return Table(
        path, plain.names, plain.values, at, times, plain.time_name, (), (note,) * bool(note)
    )


def _are_times(texts: Iterable[str]) -> bool:
    try:
        return len(read_times(list(texts), str, "")[0]) > 0
    except InputError:
        return False


def read_parquet(path: Path, time: str) -> Table:
    """Read Parquet; the times are the index, or the one column of times, by whatever name."""
    frame, ignored = _frame(path), []
    index = _index_of_times(frame.index)
    if time and time not in frame:
        if frame.index.name != time or index is None:
            raise InputError(f"--time {time}: {path} has no such column")
    elif time:
        index = None
    name = time
    if index is not None:
        name = "" if frame.index.name is None else str(frame.index.name)
        if name in frame:
            if not _same(frame[name], index):
                raise InputError(
                    f"{path} has an index {name!r} and a column {name!r}, and they differ; take "
                    f"one out, or name the column with --time {name}"
                )
            frame = frame.drop(columns=name)
    elif not isinstance(frame.index, pd.RangeIndex):
        ignored.append(
            f"the index {'' if frame.index.name is None else repr(frame.index.name)}".strip()
        )
    if index is None:
        typed = [n for n in frame if _has_times(frame[n].dtype)]
        named = [n for n in frame if str(n).lower() in TIME_NAMES]
        if not time and len(named) == 1 and counts_rows(frame[named[0]].astype(str).to_numpy()):
            ignored.append(f"{named[0]!r}, which numbers the rows")
            frame = frame.drop(columns=named.pop())
        if not time and len(typed) > 1 and not any(n in named for n in typed):
            raise InputError(
                f"{path}: the columns {' and '.join(repr(str(n)) for n in typed)} hold times; say "
                f"which are the rows', with --time {typed[0]}"
            )
        found = [time] if time else [n for n in named if n in typed] or typed or named
        name, index = ("", None) if not found else (found[0], frame[found[0]])
        frame = frame if not found else frame.drop(columns=found[0])

    def where(row: int) -> str:
        return f"{path}, row {row + 1}"

    times, note = (None, "") if index is None else _times(index, where, str(name))
    for n in frame:
        if _has_times(frame[n].dtype):
            raise InputError(f"{path}: the column {str(n)!r} holds times, no numbers; take it out")
    names = tuple(str(n).strip() for n in frame)
    if not all(names):
        raise InputError(f"{path}: a column has no name; give it the node's")
    return Table(
        path, names, _cells(frame), where, times, str(name), tuple(ignored), (note,) * bool(note)
    )


def _frame(path: Path) -> Any:
    if path.suffix in ENDINGS:
        return read_hdf5(path)
    try:
        from pyarrow.parquet import read_metadata

        about = read_metadata(path)
        cells = about.num_rows * about.num_columns
        require_memory(32 * cells, f"{path}, of {cells:,} cells,", "give a part of it")
        frame: Any = pd.read_parquet(path)
        if isinstance(frame.index, pd.MultiIndex) or _is_text(frame.index.dtype):
            frame.index = frame.index.astype(object)
        frame = frame.astype({n: object for n in frame if _is_text(frame[n].dtype)})
    except ImportError:
        raise InputError(
            f"{path}: reading Parquet takes pyarrow, which is missing; pip install pyarrow, or "
            "give CSV"
        ) from None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except InputError:
        raise
    except Exception as error:  # of a damaged file pandas and pyarrow raise whatever comes
        raise InputError(
            f"{path} is no Parquet file, or damaged: {' '.join(str(error).split()) or error!r}"
        ) from None
    if isinstance(frame.index, pd.MultiIndex):
        twice = [n for n in frame.index.names if n in frame]
        if twice:
            raise InputError(f"{path} has an index {twice[0]!r} and a column; take one out")
        frame = frame.reset_index()
    return frame


def _index_of_times(index: pd.Index) -> Any:
    """Return an index of times, of whatever type; None for another."""
    if isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex)):
        return index
    return index if index.dtype == object and _are_times(map(str, index)) else None


def _is_text(dtype: Any) -> bool:
    return isinstance(dtype, pd.StringDtype)


def _same(column: Any, index: Any) -> bool:
    return bool((column.astype(str).to_numpy() == index.astype(str).to_numpy()).all())


def _has_times(dtype: Any) -> bool:
    return pd.api.types.is_datetime64_any_dtype(dtype) or isinstance(dtype, pd.PeriodDtype)


def _times(values: Any, where: Callable[[int], str], name: str) -> tuple[pd.DatetimeIndex, str]:
    """Bring a column or index of times, periods or texts to times."""
    if isinstance(values.dtype, pd.PeriodDtype):
        values = pd.PeriodIndex(values).to_timestamp()
    if not _has_times(values.dtype):
        return read_times([str(value).strip() for value in values], where, name)
    times = pd.DatetimeIndex(values)
    for row in np.flatnonzero(times.isna()).tolist():
        raise InputError(f"{where(row)}: the time is missing")
    return times, ""


def _cells(frame: Any) -> np.ndarray:
    """Return numbers as they are where all columns hold numbers; else all as texts."""
    if all(
        pd.api.types.is_numeric_dtype(frame[n].dtype)
        and not pd.api.types.is_complex_dtype(frame[n].dtype)
        for n in frame
    ):
        return frame.to_numpy(np.float64, na_value=np.nan)
    texts = np.empty(frame.shape, dtype=object)
    for k, n in enumerate(frame):
        column = frame[n].astype(object)
        texts[:, k] = [
            "" if gone else str(v).strip() for v, gone in zip(column, column.isna(), strict=True)
        ]
    return texts
