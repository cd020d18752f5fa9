"""Times as texts: read with the offset of their clock, which they keep."""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from plait.errors import InputError

OFFSET = re.compile(r"(?<=\d)[T ]\d.*?(?P<offset> ?Z| ?[+-]\d\d(?::?\d\d)?)$", re.IGNORECASE)
"""A time that says how far its clock is from UTC."""

DOTS = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4}|\d\d)(?:[T ]+(\d)?(\d:.*))?", re.ASCII | re.DOTALL)
"""A day as in 31.12.2024 or 31.12.24 14:30, the day before the month."""

DAY_FIRST = "days are read as day.month.year"

DAY = np.timedelta64(1, "D")


def read_times(
    texts: Sequence[str], at: Callable[[int], str], name: str
) -> tuple[pd.DatetimeIndex, str]:
    """Read times as ISO 8601 writes them: 2024-03-01, 2024-03-01 08:05, 2024-03-01T08:05+09:00.

    Where all have dots, as 31.12.2024, 31.12.24 or 31.12.2024 14:30, the day is before the month.

    Parameters
    ----------
    texts : sequence of str
    at : callable
        Names the line of a row.
    name : str
        Of the column, for the message.

    Returns
    -------
    DatetimeIndex
        Without a time zone where the texts name no offset, with it where all name the same. Where
        they name several, as a clock does that is put forward in summer: whole days and longer
        steps by that clock, without a zone; all else in UTC.
    str
        That the day was read before the month, and what was done about several offsets, for a
        person.

    Raises
    ------
    InputError
        For what is no time, and where some have an offset and others none.

    Example
    -------
    >>> from plait.times import read_times
    >>> read_times(["2024-01-01T00:00+0900", "2024-01-01T01:00+0900"], str, "time")[0][1]
    Timestamp('2024-01-01 01:00:00+0900', tz='UTC+09:00')
    """
    note = ""
    if with_dots(texts):
        texts, note = year_first(texts), DAY_FIRST
    utc = pd.DatetimeIndex(pd.to_datetime(list(texts), format="ISO8601", errors="coerce", utc=True))
    written = np.array([text[:4].isdecimal() for text in texts], dtype=bool)
    for row in np.flatnonzero(utc.isna() | ~written).tolist():
        slashes = re.match(r"\d{1,2}/\d", texts[row]) is not None
        seconds = texts[row].isdecimal() and len(texts[row]) > 8
        raise InputError(
            f"{at(row)}: {texts[row]!r} in column {name!r} is no time such as 2024-03-01 08:05"
            + "; write seconds since 1970 as such a time" * seconds
            + "; write the year first, as it may be day or month first" * slashes
        )
    offsets = [offset_of(text) for text in texts]
    several = list(dict.fromkeys(offsets))
    if "" in several and len(several) > 1:
        row = next(k for k, offset in enumerate(offsets) if bool(offset) != bool(offsets[0]))
        has, first = ("an", "has none") if offsets[row] else ("no", "has one")
        raise InputError(
            f"{at(row)}: {texts[row]!r} has {has} offset from UTC, and {texts[0]!r} {first}; give "
            "all times with one, or none"
        )
    if several in ([], [""]):
        return utc.tz_localize(None), note
    if len(several) == 1:
        return utc if several == ["+00:00"] else utc.tz_convert(several[0]), note
    remark = f"{note}; " if note else ""
    names = " and ".join(several) if len(several) == 2 else f"{len(several)} of them"
    wall = utc.tz_localize(None) + pd.TimedeltaIndex([_length(offset) for offset in offsets])
    steps = np.diff(wall.to_numpy())
    if len(steps) and (steps > 0 * DAY).all() and (steps % DAY == 0 * DAY).all():
        return (
            wall,
            remark + f"days by the clock of the times, whose offsets, {names}, are left out",
        )
    return utc, remark + f"times with several offsets, {names}, read as UTC"


def with_dots(texts: Iterable[str]) -> bool:
    """Return whether texts, those without anything passed over, are all days such as 31.12.2024.

    >>> from plait.times import with_dots
    >>> with_dots(["31.12.2024", "", "1.1.25 08:00"]), with_dots(["31.12.2024", "2025-01-01"])
    (True, False)
    """
    filled = [text for text in texts if text]
    return bool(filled) and all(map(DOTS.fullmatch, filled))


def year_first(texts: Iterable[str]) -> list[str]:
    """Write days such as 31.12.2024 with the year first; years 69 to 99 are of 1900.

    >>> from plait.times import year_first
    >>> year_first(["31.12.2024", "", "1.2.99 8:05+01:00"])
    ['2024-12-31', '', '1999-02-01 08:05+01:00']
    """
    return [DOTS.sub(_year_first, text) for text in texts]


def offset_of(text: str) -> str:
    """Find a time's offset from UTC; "" where it names none.

    >>> from plait.times import offset_of
    >>> [offset_of(f"2024-01-01 08:00{end}") for end in ("Z", "+0900", " -03", "")]
    ['+00:00', '+09:00', '-03:00', '']
    """
    found = OFFSET.search(text)
    if found is None:
        return ""
    digits = re.sub("[ :]", "", found["offset"]).upper().replace("Z", "+00").ljust(5, "0")
    return f"{digits[:3]}:{digits[3:]}".replace("-00:00", "+00:00")


def clock_of(times: pd.DatetimeIndex) -> str | None:
    """Name the clock of times: an offset from UTC, a time zone, or None where it is not known.

    >>> import pandas as pd
    >>> from plait.times import clock_of
    >>> day = pd.DatetimeIndex(["2024-01-01"])
    >>> [clock_of(day.tz_localize(zone)) for zone in (None, "UTC", "+09:00", "Europe/Berlin")]
    [None, '+00:00', '+09:00', 'Europe/Berlin']
    """
    if times.tz is None:
        return None
    name = str(times.tz)
    if name == "UTC" or name.startswith(("UTC+", "UTC-")):
        return name[3:] or "+00:00"
    if name.startswith(("+", "-", "pytz", "tz")):  # kinds of fixed offsets
        offset = times.tz.utcoffset(datetime(2000, 1, 1))
        minutes = int((offset or timedelta()).total_seconds()) // 60
        return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    return name


def time_text(time: Any) -> str:
    """Write a time: at midnight the day alone, seconds only where there are any.

    >>> import pandas as pd
    >>> from plait.times import time_text
    >>> [time_text(pd.Timestamp(t)) for t in ("2024-01-10", "2024-01-10 08:00", "2024-01-10T08Z")]
    ['2024-01-10', '2024-01-10 08:00', '2024-01-10 08:00+00:00']
    """
    if time.tz is None and time == time.normalize():
        return time.strftime("%Y-%m-%d")
    text = str(time)
    return re.sub(r"( \d\d:\d\d):00(?!\.)", r"\1", text)


def _year_first(found: re.Match[str]) -> str:
    day, month, year, tens, rest = found.groups()
    if len(year) == 2:
        year = f"{19 if int(year) >= 69 else 20}{year}"
    clock = "" if rest is None else f" {tens or 0}{rest}"
    return f"{year}-{int(month):02}-{int(day):02}{clock}"


def _length(offset: str) -> timedelta:
    hours, minutes = offset[1:].split(":")
    length = timedelta(hours=int(hours), minutes=int(minutes))
    return -length if offset[0] == "-" else length
