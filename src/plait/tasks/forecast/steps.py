"""Steps of a calendar: hours, business days, months; which one is missing, and what comes next."""

import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from plait.errors import InputError
from plait.times import time_text

DAY = 24 * 60 * 60
SEASONS = ((1, 1, 7), (7, 7, 52), (28, 31, 12), (89, 92, 4))
"""Least and most days of a step, and the steps of its season."""

ROUND = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 14400,
         21600, 28800, 43200, DAY, 7 * DAY)  # fmt: skip
"""Seconds that steps may be meant to have."""

MONTHS = re.compile(r"(\d+) months?")
"""Steps of months from any day, which pandas has no name for."""

UNITS = (("D", DAY), ("h", 3600), ("min", 60), ("s", 1))

NAMES = {
    "ns": "nanosecond", "us": "microsecond", "ms": "millisecond", "s": "second", "min": "minute",
    "h": "hour", "D": "day", "B": "business day", "C": "business day", "W": "week", "MS": "month",
    "ME": "month", "BMS": "month", "BME": "month", "QS": "quarter", "QE": "quarter",
    "BQS": "quarter", "BQE": "quarter", "YS": "year", "YE": "year", "BYS": "year", "BYE": "year",
}  # fmt: skip

FILL = (
    "give a row for every step, with empty cells where nothing was measured, or "
    "--missing-rows empty"
)


def frequency(times: pd.DatetimeIndex) -> str | None:
    """Return the length of equal steps, or None where they are not equal.

    As pandas writes it ("5min", "W-MON", "MS"), or "1 month" from any day of the month.

    >>> import pandas as pd
    >>> from plait.tasks.forecast.steps import frequency
    >>> [frequency(pd.DatetimeIndex([f"2024-0{m}-{d}" for m in (1, 2, 3)])) for d in ("01", "15")]
    ['MS', '1 month']
    """
    if len(times) < 3:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it will give an object some day
        found: object = pd.infer_freq(times)
    if found is not None:
        return getattr(found, "freqstr", str(found))
    length = _months(times)
    return length if length and steps_from(times[0], len(times), length).equals(times) else None


def steps_from(first: Any, count: int, length: str) -> pd.DatetimeIndex:
    """Return the times of so many steps, from the first on the calendar of steps.

    >>> import pandas as pd
    >>> from plait.tasks.forecast.steps import steps_from
    >>> [f"{t:%d.%m.}" for t in steps_from(pd.Timestamp("2024-01-31"), 3, "1 month")]
    ['31.01.', '29.02.', '31.03.']
    """
    months = MONTHS.fullmatch(length)
    try:
        if months is None:
            return pd.date_range(first, periods=count, freq=length)
        n = int(months[1])
        return pd.DatetimeIndex([first + pd.DateOffset(months=n * k) for k in range(count)])
    except (pd.errors.OutOfBoundsDatetime, OverflowError, ValueError):
        raise InputError(
            f"{count} steps of {words(length)} from {time_text(first)} leave the calendar; correct "
            "the times"
        ) from None


def following(times: pd.DatetimeIndex, length: str, steps: int) -> pd.DatetimeIndex:
    """Return the times of the steps after the last.

    >>> import pandas as pd
    >>> from plait.tasks.forecast.steps import following
    >>> following(pd.DatetimeIndex(["2024-01-31 23:55"]), "5min", 2)[1]
    Timestamp('2024-02-01 00:05:00')
    """
    begin = times[0] if MONTHS.fullmatch(length) else times[-1]  # the 31st is lost in February
    before = len(times) - 1 if MONTHS.fullmatch(length) else 0
    return steps_from(begin, before + steps + 1, length)[before + 1 :]


def check_steps(times: pd.DatetimeIndex, expected: str | None, where: Callable[[int], str]) -> None:
    """Refuse times that go back, occur twice, or do not rise in equal steps.

    Parameters
    ----------
    times : DatetimeIndex
    expected : str
        The length of a step that they must have; None: any.
    where : callable
        Names a row in the message.
    """
    steps = seconds_between(times)
    for row in np.flatnonzero(steps <= 0).tolist():
        put_back = _clock_put(times, row) < 0
        if not put_back and not times.is_unique:
            row = int(np.flatnonzero(times.duplicated())[0]) - 1
        what, fix = f"comes after {times[row]}", "sort the rows by time"
        if not times.is_unique and (not put_back or steps[row] == 0):
            what, fix = "occurs twice", "give one row per time, a column per node"
        if put_back:
            what += ", as where a clock is put back an hour"
            fix = "give the times with their offsets, such as +02:00, or in UTC"
        raise InputError(f"{where(row + 1)}: {times[row + 1]} {what}; {fix}")
    length = frequency(times)
    if expected is not None and len(times) > 1:
        _require(times, expected, length, where)
    elif length is None and len(times) > 2:
        found = best_calendar(times)
        if found is None:
            raise InputError(_irregular(times, where))
        raise InputError(_missing(times, *found, where))


def best_calendar(times: pd.DatetimeIndex) -> tuple[str, pd.DatetimeIndex] | None:
    """Find the calendar on which rising times lie, with the fewest steps missing.

    Returns
    -------
    str, DatetimeIndex
        The length of a step, and all steps from the first time to the last; None where the times
        lie on no calendar, or two steps in three would be missing.

    Example
    -------
    >>> import pandas as pd
    >>> from plait.tasks.forecast.steps import best_calendar
    >>> days = pd.bdate_range("2024-01-01", "2024-01-31").delete(7)
    >>> length, steps = best_calendar(days)
    >>> length, list(steps.difference(days))
    ('B', [Timestamp('2024-01-10 00:00:00')])
    """
    best = None
    for length in _candidates(times):
        most = 3 * len(times) + 10
        try:
            steps = steps_from(times[0], most, length)
        except InputError:
            continue
        steps = steps[steps <= times[-1]]
        fits = len(steps) < most and steps.isin(times).sum() == len(times)
        if fits and (best is None or len(steps) < len(best[1])):
            best = length, steps
    return best and (frequency(best[1]) or best[0], best[1])


def season_of(times: pd.DatetimeIndex | None) -> int:
    """Return the steps of a day; for steps of days, those of a week; for longer ones, a year's.

    0 where none is known.

    >>> import pandas as pd
    >>> from plait.tasks.forecast.steps import season_of
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
    """Return the lengths of the steps, in seconds."""
    return np.diff(times.as_unit("us").asi8) / 1e6


def words(length: str) -> str:
    """Write the length of a step in words.

    >>> from plait.tasks.forecast.steps import words
    >>> [words(length) for length in ("h", "15min", "B", "W-MON", "MS", "3 months")]
    ['1 hour', '15 minutes', '1 business day', '1 week', '1 month', '3 months']
    """
    if MONTHS.fullmatch(length):
        return length
    offset = pd.tseries.frequencies.to_offset(length)
    name = NAMES.get(offset.rule_code.split("-")[0], length)
    return f"{offset.n} {name}{'s' * (offset.n != 1)}"


def plain(length: float) -> str:
    """Write a length of time, given in seconds.

    >>> from plait.tasks.forecast.steps import plain
    >>> plain(600), plain(36 * 3600), plain(86400)
    ('10 minutes', '36 hours', '1 day')
    """
    for unit, seconds in (("day", DAY), ("hour", 3600), ("minute", 60), ("second", 1)):
        count = length / seconds
        if count >= 1 and count == int(count):
            return f"{int(count)} {unit}{'s' * (count != 1)}"
    return f"{length:g} seconds"


def _candidates(times: pd.DatetimeIndex) -> Iterator[str]:
    """Name the calendars that times may lie on."""
    lengths, counts = np.unique(seconds_between(times), return_counts=True)
    usual = float(lengths[counts.argmax()])
    wall = times.tz_localize(None)
    same_clock = (wall - wall.normalize()).nunique() == 1
    if same_clock and (wall.day_of_week < 5).all():
        yield "B"
    if same_clock and usual % DAY == 0:
        yield f"{int(usual) // DAY}D"
    if same_clock and usual >= 28 * DAY:
        yield from ("ME", "BMS", "BME", "QE", "YE")
        if (length := _months(times)) is not None:
            yield length
    yield f"{round(usual * 1e6)}us"


def _months(times: pd.DatetimeIndex) -> str | None:
    """Name the step in months that times would have from one day of the month to the next."""
    wall = times.tz_localize(None)
    month = 12 * wall.year.to_numpy() + wall.month.to_numpy()
    apart, counts = np.unique(np.diff(month), return_counts=True)
    usual = int(apart[counts.argmax()])
    return f"{usual} month{'s' * (usual > 1)}" if 0 < usual <= 120 else None


def _require(
    times: pd.DatetimeIndex, expected: str, length: str | None, where: Callable[[int], str]
) -> None:
    """Refuse times whose steps are not as long as those that a run was trained on."""
    if steps_from(times[0], len(times), expected).equals(times):
        return
    steps = steps_from(times[0], 3 * len(times) + 10, expected)
    if length is None and steps.isin(times).sum() == len(times):
        raise InputError(_missing(times, expected, steps[steps <= times[-1]], where))
    raise InputError(
        f"{where(1)}: the steps are {length or times[1] - times[0]} long, and the run was trained "
        f"on steps of {expected}; resample the table"
    )


def _missing(
    times: pd.DatetimeIndex, length: str, steps: pd.DatetimeIndex, where: Callable[[int], str]
) -> str:
    """Describe which step is missing first, at the row behind it."""
    missing = steps[~steps.isin(times)]
    row = int(times.searchsorted(missing[0]))
    more = f", and {len(missing) - 1:,} more after it" if len(missing) > 1 else ""
    put = "give the times with their offsets, such as +02:00, or in UTC, if a clock was put forward"
    fix = f"{put}; else {FILL}" if _clock_put(times, row - 1) > 0 else FILL
    return (
        f"{where(row)}: {time_text(missing[0])} is missing before {time_text(times[row])}{more} "
        f"(steps of {words(length)}); {fix}"
    )


def _clock_put(times: pd.DatetimeIndex, row: int) -> int:
    """Return whether a clock may have been put forward (1) or back (−1) an hour after a row.

    That happens on Sundays before dawn, in spring and in autumn.
    """
    steps = seconds_between(times)
    lengths, counts = np.unique(steps, return_counts=True)
    off = steps[row] - float(lengths[counts.argmax()])
    time: Any = times[row]
    dawn = time.day_of_week == 6 and time.hour < 5 and time.month in (3, 4, 9, 10, 11)
    if times.tz is not None or not dawn:
        return 0
    return int(np.sign(off)) if abs(off) == 3600 else 0


def _irregular(times: pd.DatetimeIndex, where: Callable[[int], str]) -> str:
    """Describe what is wrong with times that rise on no calendar."""
    steps = seconds_between(times)
    usual = float(np.median(steps))
    meant = min(ROUND, key=lambda length: abs(length - usual) / length)
    seconds = np.concatenate([[0.0], steps.cumsum()])
    off = seconds - np.round(seconds / meant) * meant
    off -= np.median(off)
    if abs(meant - usual) < 0.05 * meant and np.abs(off).max() < 0.25 * meant:
        row = int(np.abs(off).argmax())
        unit = next(f"{meant // s}{u}" for u, s in UNITS if meant % s == 0)
        return (
            f"{where(row)}: {time_text(times[row])} is {abs(off[row]):g} seconds off steps of "
            f"{plain(meant)}; round the times, as pandas' dt.round('{unit}') does"
        )
    lengths, counts = np.unique(steps, return_counts=True)
    usual = float(lengths[counts.argmax()])
    row = int(np.flatnonzero(steps != usual)[0])
    return (
        f"{where(row + 1)}: {time_text(times[row + 1])} comes {plain(float(steps[row]))} after the "
        f"row before, others {plain(usual)}; the times must rise in equal steps, or those of a "
        "calendar (business days, months): resample them"
    )
