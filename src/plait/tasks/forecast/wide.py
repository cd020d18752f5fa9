"""Tables of measurements of any format, wide or long: which column is what."""

import re
import shlex
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from plait.columns import as_numbers, read_numbers
from plait.errors import InputError
from plait.memory import require_memory
from plait.tasks.forecast.hdf5 import ENDINGS
from plait.tasks.forecast.sources import Table, read_csv, read_parquet
from plait.times import time_text

ID_NAMES = (
    "id", "node", "node_id", "sensor", "sensor_id", "station", "station_id", "unique_id",
    "item_id", "name",
)  # fmt: skip
"""What a long table calls the column that names the nodes."""


@dataclass(frozen=True)
class Wide:
    """Numbers with a column for each node, as `Table` else; `source` is where they came from.

    `covariates` are `[R, N, K]`, or `[R, 1, K]` where all nodes share them.
    """

    source: str
    names: tuple[str, ...]
    values: np.ndarray
    where: Callable[[int], str]
    times: pd.DatetimeIndex | None
    time_name: str
    ignored: tuple[str, ...]
    notes: tuple[str, ...]
    covariates: np.ndarray


def read_wide(
    path: Path,
    time: str,
    missing: Collection[str],
    encoding: str = "utf-8",
    value: str = "",
    covariates: Sequence[str] = (),
) -> Wide:
    """Read a table as `plait.tasks.forecast.series.read_series` says, its steps unchecked."""
    typed = path.suffix in (".parquet", *ENDINGS)
    table = read_parquet(path, time) if typed else read_csv(path, time, encoding)
    twice = next((name for name, n in Counter(table.names).items() if n > 1), None)
    if twice is not None:
        raise InputError(f"{path}: the column {twice!r} occurs twice")
    extra = [_column(table, name, "--covariates or --known") for name in covariates]
    own = _column(table, value, "--value") if value else None
    if (found := _long(table, own, extra)) is not None:
        return _pivoted(table, *found, extra, missing)
    others = [k for k in range(len(table.names)) if k not in extra]
    kept = others if own is None else [own]
    read, notes = _numbers(table, sorted({*kept, *extra}), missing)
    place = {k: n for n, k in enumerate(sorted({*kept, *extra}))}
    values = read[:, [place[k] for k in kept]]
    names = tuple(table.names[k] for k in kept)
    notes += [
        f"{name!r} only numbers the rows; take it out if it measures nothing"
        for name, column in zip(names, values.T, strict=True)
        if _counts(column)
    ]
    ignored = tuple(repr(table.names[k]) for k in others if k not in kept)
    return Wide(
        str(path), names, values, table.where, table.times, table.time_name,
        (*table.ignored, *ignored), (*table.notes, *notes),
        read[:, None, [place[k] for k in extra]],
    )  # fmt: skip


def _column(table: Table, name: str, option: str) -> int:
    """Return a column that an option names."""
    if name not in table.names:
        raise InputError(
            f"{table.path} has no column {name!r}, which {option} names; its columns are "
            f"{', '.join(table.names[:10])}" + ", …" * (len(table.names) > 10)
        )
    return table.names.index(name)


def _counts(column: np.ndarray) -> bool:
    """Return whether numbers are 0, 1, 2, … or 1, 2, 3, …, from a length that is no chance."""
    return len(column) > 9 and column[0] in (0, 1) and bool((np.diff(column) == 1).all())


def _numbers(
    table: Table, columns: Sequence[int], missing: Collection[str]
) -> tuple[np.ndarray, list[str]]:
    """Read columns as numbers, `[R, C]`; `InputError` names the first cell that is none."""
    names = [table.names[k] for k in columns]
    texts = table.cells if len(columns) == len(table.names) else table.cells[:, list(columns)]
    if texts.dtype != object:
        values = texts.astype(np.float64)
        values[np.isin(values, as_numbers(missing))] = np.nan
        return values, []
    found = read_numbers(texts, names, table.where, missing)
    for row, k in np.argwhere(found.bad)[:1].tolist():
        untimed = columns[k] == 0 and table.times is None
        means = f"; if it means a missing value, give --missing {texts[row, k]}"
        means *= re.fullmatch(r"[\w./-]{1,20}", str(texts[row, k])) is not None
        hint = f"; if these are times, give --time {shlex.quote(names[k])}" if untimed else means
        raise InputError(
            f"{table.where(row)}, column {names[k]!r}: {texts[row, k]!r} is no number{hint}"
        )
    return found.values, ["numbers with decimal commas"] * found.comma


def _long(table: Table, value: int | None, extra: Sequence[int]) -> tuple[int, int] | None:
    """Find the columns of ids and of values of a table with a row for each time and node."""
    times = table.times
    rest = [k for k in range(len(table.names)) if k not in (value, *extra)]
    if value is None and (times is None or times.is_unique or len(rest) < 2):
        return None
    ids = [k for k in rest if table.names[k].lower() in ID_NAMES]
    if len(ids) != 1 and table.cells.dtype == object and rest:
        names = [table.names[k] for k in rest]
        bad = read_numbers(table.cells[:, rest], names, table.where).bad
        ids = [
            rest[k] for k in np.flatnonzero(bad.mean(0) > 0.5).tolist()
        ]  # a text or two name none
    if len(ids) != 1:
        return None
    if times is None:
        raise InputError(
            f"{table.path} has a row for each time and {table.names[ids[0]]!r}, and no column of "
            "times; name it with --time"
        )
    if value is not None:
        return ids[0], value
    if len(rest) == 2:
        return ids[0], rest[1] if ids[0] == rest[0] else rest[0]
    row = int(np.flatnonzero(times.duplicated())[0])
    raise InputError(
        f"{table.where(row)}: {time_text(times[row])} occurs twice, as in a table with a row for "
        f"each time and {table.names[ids[0]]!r}; give one row per time, a column per node, or "
        "name the column of values with --value, and those of further inputs with --covariates"
    )


def _pivoted(
    table: Table, ids: int, value: int, extra: Sequence[int], missing: Collection[str]
) -> Wide:
    """Reshape a long table to a column for each node, in the order of their first rows."""
    assert table.times is not None
    of = [_plain(cell) for cell in table.cells[:, ids]]
    for row in (r for r, name in enumerate(of) if not name):
        raise InputError(f"{table.where(row)}: the {table.names[ids]!r} is missing")
    values, notes = _numbers(table, [value, *extra], missing)
    node, names = pd.factorize(np.array(of, dtype=object))
    step, times = pd.factorize(table.times, sort=True)
    place: Any = pd.Series(step * len(names) + node)
    for row in np.flatnonzero(place.duplicated())[:1].tolist():
        first = int(np.flatnonzero(place == place[row])[0])
        raise InputError(
            f"{table.where(row)}: {of[row]!r} has a second value at "
            f"{time_text(table.times[row])}, after {table.where(first).split(', ')[-1]}; keep one"
        )
    require_memory(
        16 * len(times) * len(names) * values.shape[1],
        f"{table.path}, of {len(times):,} times and {len(names):,} nodes,", "give fewer",
    )  # fmt: skip
    wide = np.full((len(times), len(names), values.shape[1]), np.nan)
    wide[step, node] = values
    unused = [k for k in range(len(table.names)) if k not in (ids, value, *extra)]
    ignored = (*table.ignored, *(repr(table.names[k]) for k in unused))
    first = np.full(len(times), len(step))
    np.minimum.at(first, step, np.arange(len(step)))
    where = table.where
    return Wide(
        f"{table.path} (a row for each time and {table.names[ids]!r}, read as one row per time, a "
        f"column per node)", tuple(map(str, names)), wide[..., 0],
        lambda row: where(int(first[row])), pd.DatetimeIndex(times), table.time_name, ignored,
        (*table.notes, *notes), wide[..., 1:],
    )  # fmt: skip


def _plain(cell: Any) -> str:
    if isinstance(cell, str):
        return cell
    return "" if cell != cell else f"{cell:.15g}"
