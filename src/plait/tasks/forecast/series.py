"""`Series`: what was measured at every node, step after step; read from a table."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from plait.columns import describe_far, refuse_large
from plait.errors import InputError
from plait.tasks.forecast.steps import (
    best_calendar,
    check_steps,
    following,
    frequency,
    season_of,
    steps_from,
    words,
)
from plait.tasks.forecast.wide import Wide, read_wide
from plait.times import clock_of, time_text

__all__ = ["Series", "following", "listed", "read_series", "same_ids", "season_of"]


@dataclass(frozen=True)
class Series:
    """Measurements at N nodes over T steps of equal length.

    Attributes
    ----------
    name, source : str
        What it is called, and where it came from.
    ids : tuple of str
        What the user calls each node, in the order of the columns.
    values : float array `[T, N]`
        NaN where nothing was measured.
    times : DatetimeIndex of T, or None
        Without times the steps are numbered. In the time zone of the table's times; none where
        they name none.
    columns : str
        How each column was read, for a person.
    notes : tuple of str
        What else a person may want to know of how it was read.
    covariates : float array `[T + A, N or 1, K]`, or None
        Further inputs, of every node or shared by all, in the order in which they were named; NaN
        where nothing is known yet. The A rows after the last step hold those known ahead.
    """

    name: str
    source: str
    ids: tuple[str, ...]
    values: np.ndarray
    times: pd.DatetimeIndex | None = None
    columns: str = ""
    notes: tuple[str, ...] = ()
    covariates: np.ndarray | None = None

    @property
    def sha256(self) -> str:
        """Return a hash by which two series are the same: nodes, values, times."""
        total = hashlib.sha256("\0".join(self.ids).encode())
        total.update(np.ascontiguousarray(self.values, dtype=np.float64).data)
        if self.times is not None:
            total.update(np.ascontiguousarray(self.times.asi8).data)
        if self.covariates is not None:
            total.update(np.ascontiguousarray(self.covariates).data)
        return total.hexdigest()

    @property
    def frequency(self) -> str | None:
        """The length of a step, as pandas writes it: "5min", "W-MON", "MS"; None without times."""
        return None if self.times is None else frequency(self.times)

    def by_clock(self, facts: Mapping[str, Any]) -> "Series":
        """Bring the times to the clock of a run, whose facts these are.

        A run of version 0.1.0 knew no clock: its times were in UTC, without saying so.
        """
        if self.times is None:
            return self
        clock, own = facts.get("clock"), clock_of(self.times)
        if "clock" not in facts:
            return replace(self, times=self.times.tz_convert(None)) if own else self
        if (clock is None) != (own is None):
            has, had = ("none", clock) if own is None else (own, "none")
            raise InputError(
                f"{self.source} has times with {has} as their offset from UTC, and the run was "
                f"trained on a table with {had}; write them alike"
            )
        return self if clock == own else replace(self, times=self.times.tz_convert(clock))

    def rows(self, steps: slice) -> "Series":
        """Return the series of some of the steps; to the last, also the covariates after it."""
        times = None if self.times is None else self.times[steps]
        covariates = None if self.covariates is None else self.covariates[steps]
        return Series(
            self.name, self.source, self.ids, self.values[steps], times, covariates=covariates
        )

    def of_nodes(self, order: Sequence[int], ids: tuple[str, ...]) -> "Series":
        """Return the series with its nodes in another order."""
        covariates = self.covariates
        if covariates is not None and covariates.shape[1] > 1:
            covariates = covariates[:, order]
        return replace(self, ids=ids, values=self.values[:, order], covariates=covariates)


def read_series(
    path: Path,
    time: str = "",
    frequency_of: str | None = None,
    *,
    missing: Collection[str] = (),
    fill: bool = False,
    encoding: str = "utf-8",
    value: str = "",
    covariates: Sequence[str] = (),
    known: int = 0,
) -> Series:
    r"""Read a table with a column for each node and a row for each step, the earliest first.

    CSV (`plait.tables.read_cells`) or Parquet (`.parquet`). A column named time, timestamp, date
    or datetime, or as `time` says, holds the times, which must rise in equal steps of a calendar
    (hours, business days, months, …); of Parquet also an index or a column of times by any name.
    An empty cell is a value that is missing. A long table, with a row for each time and node and
    the columns time, id and value, is read as one with a column for each node. Columns that only
    number the rows, as programs write them, are left out.

    Covariates are columns too: of a long table each node has its own, else all nodes share them.
    Where one is missing, the last one before it is used.

    Parameters
    ----------
    path : Path
    time : str
        The name of the column of times.
    frequency_of : str
        The length of a step that the table must have; None: any.
    missing : collection of str
        What else means a value that is missing, such as "-9999".
    fill : bool
        Whether steps without a row become rows of missing values; else they are refused.
    encoding : str
        Of CSV.
    value : str
        The column of values of a long table, or of a single node; "": the only one.
    covariates : sequence of str
        Columns of further inputs.
    known : int
        How many of the last of them are known ahead: rows after the last value hold them.

    Raises
    ------
    InputError
        For what cannot be read; the message says line and column.

    Example
    -------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from plait.tasks.forecast.series import read_series
    >>> path = Path(tempfile.mkdtemp()) / "two.csv"
    >>> _ = path.write_text("time,a,b\n2024-01-01,1,2\n2024-01-02,,4\n2024-01-03,5,6\n")
    >>> series = read_series(path)
    >>> series.ids, series.frequency, series.values[1]
    (('a', 'b'), 'D', array([nan,  4.]))
    """
    wide = read_wide(path, time, missing, encoding, value, covariates)
    if not wide.names or not len(wide.values):
        raise InputError(
            f"{path} has no measurements: a column per node and a row per step are needed"
        )
    values, times, notes, extra = wide.values, wide.times, list(wide.notes), wide.covariates
    refuse_large(
        values, lambda row, k: f"{wide.where(row)}, column {wide.names[k]!r}: the value is"
    )
    for k, name in enumerate(covariates):
        refuse_large(
            extra[..., k],
            lambda row, n, name=name: f"{wide.where(row)}: a value of {name!r} is",
        )
    if times is not None:
        filled = _filled(wide, frequency_of) if fill else None
        if filled is None:
            check_steps(times, frequency_of, wide.where)
        else:
            notes.append(f"{len(filled) - len(times):,} steps without a row, read as missing")
            place = filled.get_indexer(times)
            values = np.full((len(filled), values.shape[1]), np.nan)
            extra = np.full((len(filled), *extra.shape[1:]), np.nan)
            values[place], extra[place], times = wide.values, wide.covariates, filled
    T = len(values)
    if known and (measured := np.flatnonzero(~np.isnan(values).all(1))).size:
        T = int(measured[-1]) + 1
    times = None if times is None else times[:T]
    parts = _described(wide, times)
    if covariates:
        own = extra[0].shape[0] == len(wide.names)
        shared = "by node" if own else "shared by all nodes"
        parts += f"; covariates, {shared}: {listed(covariates)}"
    return Series(
        path.stem, wide.source, wide.names, values[:T], times, parts,
        (*notes, *describe_far(values, wide.names)), _carried(extra, T) if covariates else None,
    )  # fmt: skip


def _carried(covariates: np.ndarray, steps: int) -> np.ndarray:
    """Put the last value that was there where one is missing, in so many first steps."""
    carried = covariates.copy()
    for t in range(1, steps):
        carried[t] = np.where(np.isnan(carried[t]), carried[t - 1], carried[t])
    return carried


def _filled(wide: Wide, expected: str | None) -> pd.DatetimeIndex | None:
    """Find all steps of times of which some have no row; None where none is missing, or all is."""
    times = wide.times
    assert times is not None
    if len(times) < 2 or not (times.is_monotonic_increasing and times.is_unique):
        return None
    if frequency(times) is not None:
        return None
    if expected is None:
        found = best_calendar(times) if len(times) > 2 else None
        return None if found is None else found[1]
    steps = steps_from(times[0], 3 * len(times) + 10, expected)
    steps = steps[steps <= times[-1]]
    return steps if len(steps) > len(times) and times.isin(steps).all() else None


def _described(wide: Wide, times: pd.DatetimeIndex | None) -> str:
    """Write how each column was read."""
    parts = ["no times; the steps are numbered"]
    if times is not None and len(times):
        length = frequency(times)
        step = f"a step of {words(length)}, " if length else ""
        parts = [
            f"time = {repr(wide.time_name) if wide.time_name else 'what has no name'} ({step}"
            f"{time_text(times[0])} to {time_text(times[-1])})"
        ]
    N = len(wide.names)
    parts.append(f"{N:,} node{'s' * (N != 1)}: {listed(wide.names)}")
    if wide.ignored:
        parts.append(f"left out: {', '.join(wide.ignored)}")
    return "; ".join(parts)


def same_ids(wanted: Iterable[str], found: Iterable[str]) -> tuple[list[str], list[str]]:
    """List what is missing and what is more than wanted, each in its order."""
    wanted, found = dict.fromkeys(wanted), dict.fromkeys(found)
    return [i for i in wanted if i not in found], [i for i in found if i not in wanted]


def listed(ids: Sequence[str], most: int = 5) -> str:
    """Name a few ids and how many more there are.

    >>> from plait.tasks.forecast.series import listed
    >>> listed(["a", "b", "c"], most=2)
    "'a', 'b' and 1 more"
    """
    text = ", ".join(map(repr, ids[:most]))
    return text if len(ids) <= most else f"{text} and {len(ids) - most} more"
