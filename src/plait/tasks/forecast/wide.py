"""Tables of measurements, CSV or Parquet, wide or long: which column is what."""

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
from plait.tasks.forecast.sources import Table, read_csv, read_parquet
from plait.times import tell_time

ID_NAMES = (
    "id", "node", "node_id", "sensor", "sensor_id", "station", "station_id", "unique_id",
    "item_id", "name",
)  # fmt: skip
"""What a long table calls the column that names the nodes."""


@dataclass(frozen=True)
class Wide:
    """Numbers with a column for each node, as `Table` else; `source` is where they came from."""

    source: str
    names: tuple[str, ...]
    values: np.ndarray
    where: Callable[[int], str]
    times: pd.DatetimeIndex | None
    time_name: str
    ignored: tuple[str, ...]
    notes: tuple[str, ...]


def read_wide(path: Path, time: str, missing: Collection[str], encoding: str = "utf-8") -> Wide:
    """Read a table as `plait.tasks.forecast.series.read_series` says, its steps unchecked."""
    parquet = path.suffix == ".parquet"
    table = read_parquet(path, time) if parquet else read_csv(path, time, encoding)
    twice = next((name for name, n in Counter(table.names).items() if n > 1), None)
    if twice is not None:
        raise InputError(f"{path}: the column {twice!r} stands twice")
    if (found := _long(table)) is not None:
        return _pivoted(table, *found, missing)
    values, notes = _numbers(table, range(len(table.names)), missing)
    notes += [
        f"{name!r} only numbers the rows; take it out if it measures nothing"
        for name, column in zip(table.names, values.T, strict=True)
        if _counts(column)
    ]
    return Wide(
        str(path), table.names, values, table.where, table.times, table.time_name, table.ignored,
        (*table.notes, *notes),
    )  # fmt: skip


def _counts(column: np.ndarray) -> bool:
    """Say whether numbers are 0, 1, 2, … or 1, 2, 3, …, from a length that is no chance."""
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
        hint = "; if that column holds times, say so with --time" if untimed else ""
        raise InputError(
            f"{table.where(row)}, column {names[k]!r}: {texts[row, k]!r} is no number{hint}"
        )
    return found.values, ["numbers with decimal commas"] * found.comma


def _long(table: Table) -> tuple[int, int] | None:
    """Find the columns of ids and of values of a table with a row for each time and node."""
    times = table.times
    if times is None or times.is_unique or len(table.names) < 2:
        return None
    ids = [k for k, name in enumerate(table.names) if name.lower() in ID_NAMES]
    if len(ids) != 1 and table.cells.dtype == object:
        bad = read_numbers(table.cells, table.names, table.where).bad
        ids = np.flatnonzero(bad.any(0)).tolist()
    if len(ids) != 1:
        return None
    if len(table.names) == 2:
        return ids[0], 1 - ids[0]
    row = int(np.flatnonzero(times.duplicated())[0])
    raise InputError(
        f"{table.where(row)}: {tell_time(times[row])} stands twice, as in a table with a row for "
        f"each time and {table.names[ids[0]]!r}; give one row a time, a column a node, or, beside "
        "time and id, a single column of values"
    )


def _pivoted(table: Table, ids: int, value: int, missing: Collection[str]) -> Wide:
    """Give a long table a column for each node, in the order of their first rows."""
    assert table.times is not None
    of = [_plain(cell) for cell in table.cells[:, ids]]
    for row in (r for r, name in enumerate(of) if not name):
        raise InputError(f"{table.where(row)}: the {table.names[ids]!r} is missing")
    values, notes = _numbers(table, [value], missing)
    node, names = pd.factorize(np.array(of, dtype=object))
    step, times = pd.factorize(table.times, sort=True)
    place: Any = pd.Series(step * len(names) + node)
    for row in np.flatnonzero(place.duplicated())[:1].tolist():
        first = int(np.flatnonzero(place == place[row])[0])
        raise InputError(
            f"{table.where(row)}: {of[row]!r} has a second value at "
            f"{tell_time(table.times[row])}, after {table.where(first).split(', ')[-1]}; keep one"
        )
    require_memory(
        16 * len(times) * len(names),
        f"{table.path}, of {len(times):,} times and {len(names):,} nodes,", "give fewer",
    )  # fmt: skip
    wide = np.full((len(times), len(names)), np.nan)
    wide[step, node] = values[:, 0]
    first = np.full(len(times), len(step))
    np.minimum.at(first, step, np.arange(len(step)))
    where = table.where
    return Wide(
        f"{table.path} (a row for each time and {table.names[ids]!r}, read as one row a time, a "
        f"column a node)", tuple(map(str, names)), wide, lambda row: where(int(first[row])),
        pd.DatetimeIndex(times), table.time_name, table.ignored, (*table.notes, *notes),
    )  # fmt: skip


def _plain(cell: Any) -> str:
    if isinstance(cell, str):
        return cell
    return "" if cell != cell else f"{cell:.15g}"
