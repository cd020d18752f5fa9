"""`Series`: what was measured at every node, step after step; read from a table."""

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from plait.errors import InputError
from plait.tables import read_table

TIME_NAMES = ("time", "timestamp", "date", "datetime")

DAY = 24 * 60 * 60
SEASONS = ((1, 1, 7), (7, 7, 52), (28, 31, 12), (89, 92, 4))
"""Least and most days of a step, and the steps of its season."""


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
        Without times the steps are numbered.
    """

    name: str
    source: str
    ids: tuple[str, ...]
    values: np.ndarray
    times: pd.DatetimeIndex | None = None

    @property
    def sha256(self) -> str:
        """Tell whether two series are the same: nodes, values, times."""
        total = hashlib.sha256("\0".join(self.ids).encode())
        total.update(np.ascontiguousarray(self.values, dtype=np.float64).data)
        if self.times is not None:
            total.update(np.ascontiguousarray(self.times.asi8).data)
        return total.hexdigest()

    @property
    def frequency(self) -> str | None:
        """The length of a step, as pandas writes it: "5min", "W-MON", "MS"; None without times."""
        return None if self.times is None else frequency(self.times)

    def rows(self, steps: slice) -> "Series":
        """Give the series of some of the steps."""
        times = None if self.times is None else self.times[steps]
        return Series(self.name, self.source, self.ids, self.values[steps], times)


def read_series(path: Path, time: str = "", frequency_of: str | None = None) -> Series:
    r"""Read a table with a column for each node and a row for each step, the earliest first.

    CSV (`plait.tables.read_table`) or Parquet (`.parquet`). A column named time, timestamp, date
    or datetime, or as `time` says, holds the times, which must rise in equal steps (or months,
    business days, …). An empty cell is a value that is missing.

    Parameters
    ----------
    path : Path
    time : str
        The name of the column of times.
    frequency_of : str
        The length of a step that the table must have; None: any.

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
    frame = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path, time)
    where = _Where(str(path), frame.index, "row" if path.suffix == ".parquet" else "line")
    names = list(frame)
    column = _time_column(names, time, where)
    times = None if column is None else _times(frame.pop(column), column, where)
    if times is not None:
        check_steps(times, frequency_of, where)
    ids = tuple(str(name).strip() for name in frame)
    if not ids or frame.empty:
        raise InputError(f"{path} has no measurements: a column a node, a row a step are needed")
    return Series(path.stem, str(path), ids, _numbers(frame, ids, where), times)


@dataclass(frozen=True)
class _Where:
    """How a table's rows are named in a message: by their line, or their number."""

    path: str
    numbers: pd.Index
    unit: str

    def __call__(self, row: int) -> str:
        return f"{self.path}, {self.unit} {self.numbers[row]}"


def _read_csv(path: Path, time: str) -> pd.DataFrame:
    frame = read_table(path, lambda names: {time, *(n for n in names if n.lower() in TIME_NAMES)})
    if not all(frame):
        raise InputError(f"{path}, line 1: a column has no name; give it the node's")
    return frame


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path)
    except ImportError:
        raise InputError(
            f"{path}: reading Parquet takes pyarrow, which is missing; pip install pyarrow, or "
            "give CSV"
        ) from None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no Parquet file: {' '.join(str(error).split())}") from None
    if isinstance(frame.index, pd.DatetimeIndex):
        frame = frame.rename_axis(frame.index.name or TIME_NAMES[0]).reset_index()
    return frame.set_axis(range(1, len(frame) + 1))


def _time_column(names: Sequence[Any], time: str, where: _Where) -> Any:
    """Find the column of times, or none."""
    if time and time not in names:
        raise InputError(f"--time {time}: {where.path} has no such column")
    return time or next((n for n in names if str(n).lower() in TIME_NAMES), None)


def _times(column: Any, name: Any, where: _Where) -> pd.DatetimeIndex:
    found = pd.to_datetime(column, format="ISO8601", errors="coerce", utc=True)
    for row in np.flatnonzero(found.isna()).tolist():
        raise InputError(
            f"{where(row)}: {column.iloc[row]!r} in column {name!r} is no time such as "
            "2024-03-01 08:05"
        )
    return pd.DatetimeIndex(found).tz_localize(None)


def check_steps(times: pd.DatetimeIndex, expected: str | None, where: Any) -> None:
    """Refuse times that go back, stand twice, or do not rise in equal steps.

    `where(row)` names a row in the message; `expected` is the step's length if it must be that.
    """
    steps = seconds_between(times)
    for row in np.flatnonzero(steps <= 0).tolist():
        what = "stands twice" if steps[row] == 0 else f"comes after {times[row]}"
        raise InputError(f"{where(row + 1)}: {times[row + 1]} {what}; sort the rows by time")
    length = frequency(times)
    if length is None and len(times) > 2:
        lengths, counts = np.unique(steps, return_counts=True)
        usual = float(lengths[counts.argmax()])
        row = int(np.flatnonzero(steps != usual)[0])
        raise InputError(
            f"{where(row + 1)}: {times[row + 1]} comes {_plain(float(steps[row]))} after the row "
            f"before, others {_plain(usual)}; give a row for every step, with empty cells where "
            "nothing was measured"
        )
    if expected is not None and len(times) > 1:
        right = pd.date_range(times[0], periods=len(times), freq=expected)
        if not right.equals(times):
            raise InputError(
                f"{where(1)}: the steps are {length or times[1] - times[0]} long, and those that "
                f"the run was trained on {expected}"
            )


def frequency(times: pd.DatetimeIndex) -> str | None:
    """Give the length of equal steps as pandas writes it, or None where they are not equal."""
    if len(times) < 3:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it will give an object some day
        found: Any = pd.infer_freq(times)
    return getattr(found, "freqstr", found)


def following(times: pd.DatetimeIndex, length: str, steps: int) -> pd.DatetimeIndex:
    """Give the times of the steps after the last.

    >>> import pandas as pd
    >>> from plait.tasks.forecast.series import following
    >>> following(pd.DatetimeIndex(["2024-01-31 23:55"]), "5min", 2)[1]
    Timestamp('2024-02-01 00:05:00')
    """
    return pd.date_range(times[-1], periods=steps + 1, freq=length)[1:]


def season_of(times: pd.DatetimeIndex | None) -> int:
    """Give the steps of a day; for steps of days, those of a week; for longer ones, a year's.

    0 where there is none to tell.

    >>> import pandas as pd
    >>> from plait.tasks.forecast.series import season_of
    >>> [season_of(pd.date_range("2024-01-01", periods=9, freq=f)) for f in ("5min", "D", "MS")]
    [288, 7, 12]
    """
    length = None if times is None else frequency(times)
    if times is None or length is None:
        return 0
    step = float(np.median(seconds_between(times)))
    if step < DAY:
        return int(DAY / step) if DAY % step == 0 else 0
    if length == "B":
        return 5
    return next((steps for least, most, steps in SEASONS if least <= step / DAY <= most), 0)


def seconds_between(times: pd.DatetimeIndex) -> np.ndarray:
    """Give the lengths of the steps, in seconds."""
    return np.diff(times.to_numpy()) / np.timedelta64(1, "s")


def _numbers(frame: pd.DataFrame, ids: Sequence[str], where: _Where) -> np.ndarray:
    """Give the cells as numbers, `[T, N]`; `InputError` names the first that is none."""
    values = np.empty(frame.shape)
    for n in range(frame.shape[1]):
        column: Any = frame.iloc[:, n]
        read: Any = pd.to_numeric(column, errors="coerce")
        numbers = read.to_numpy(np.float64, na_value=np.nan)
        for row in np.flatnonzero(np.isnan(numbers) & column.notna().to_numpy()).tolist():
            hint = "; if that column holds times, say so with --time" if n == 0 else ""
            raise InputError(
                f"{where(row)}, column {ids[n]!r}: {column.iloc[row]!r} is no number{hint}"
            )
        for row in np.flatnonzero(np.isinf(numbers)).tolist():
            raise InputError(f"{where(row)}, column {ids[n]!r}: the value is infinite")
        values[:, n] = numbers
    return values


def _plain(length: float) -> str:
    """Write a length of time, given in seconds.

    >>> from plait.tasks.forecast.series import _plain
    >>> _plain(600), _plain(36 * 3600), _plain(86400)
    ('10 minutes', '36 hours', '1 day')
    """
    for unit, seconds in (("day", DAY), ("hour", 3600), ("minute", 60)):
        count = length / seconds
        if count >= 1 and count == int(count):
            return f"{int(count)} {unit}{'s' * (count != 1)}"
    return f"{length:g} seconds"


def same_ids(wanted: Iterable[str], found: Iterable[str]) -> tuple[list[str], list[str]]:
    """List what is missing and what is more than wanted, each in its order."""
    wanted, found = list(wanted), list(found)
    return [i for i in wanted if i not in set(found)], [i for i in found if i not in set(wanted)]


def listed(ids: Sequence[str], most: int = 5) -> str:
    """Name a few ids and how many more there are.

    >>> from plait.tasks.forecast.series import listed
    >>> listed(["a", "b", "c"], most=2)
    "'a', 'b' and 1 more"
    """
    text = ", ".join(map(repr, ids[:most]))
    return text if len(ids) <= most else f"{text} and {len(ids) - most} more"
