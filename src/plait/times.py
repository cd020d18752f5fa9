"""Times as texts: read with the offset of their clock, which they keep."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from plait.errors import InputError

OFFSET = re.compile(r"(?<=\d)[T ]\d.*?(?P<offset> ?Z| ?[+-]\d\d(?::?\d\d)?)$", re.IGNORECASE)
"""A time that says how far its clock is from UTC."""

DAY = np.timedelta64(1, "D")


def read_times(
    texts: Sequence[str], at: Callable[[int], str], name: str
) -> tuple[pd.DatetimeIndex, str]:
    """Read times as ISO 8601 writes them: 2024-03-01, 2024-03-01 08:05, 2024-03-01T08:05+09:00.

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
        What was done about several offsets, for a person.

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
    utc = pd.DatetimeIndex(pd.to_datetime(list(texts), format="ISO8601", errors="coerce", utc=True))
    written = np.array([text[:4].isdecimal() for text in texts], dtype=bool)
    for row in np.flatnonzero(utc.isna() | ~written).tolist():
        seconds = texts[row].isdecimal() and len(texts[row]) > 8
        raise InputError(
            f"{at(row)}: {texts[row]!r} in column {name!r} is no time such as 2024-03-01 08:05"
            + "; write seconds since 1970 as such a time" * seconds
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
        return utc.tz_localize(None), ""
    if len(several) == 1:
        return utc if several == ["+00:00"] else utc.tz_convert(several[0]), ""
    names = " and ".join(several) if len(several) == 2 else f"{len(several)} of them"
    wall = utc.tz_localize(None) + pd.TimedeltaIndex([_length(offset) for offset in offsets])
    steps = np.diff(wall.to_numpy())
    if len(steps) and (steps > 0 * DAY).all() and (steps % DAY == 0 * DAY).all():
        return wall, f"days by the clock of the times, whose offsets, {names}, are left out"
    return utc, f"times with several offsets, {names}, read as UTC"


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


def tell_time(time: Any) -> str:
    """Write a time: at midnight the day alone, seconds only where there are any.

    >>> import pandas as pd
    >>> from plait.times import tell_time
    >>> [tell_time(pd.Timestamp(t)) for t in ("2024-01-10", "2024-01-10 08:00", "2024-01-10T08Z")]
    ['2024-01-10', '2024-01-10 08:00', '2024-01-10 08:00+00:00']
    """
    if time.tz is None and time == time.normalize():
        return time.strftime("%Y-%m-%d")
    text = str(time)
    return re.sub(r"( \d\d:\d\d):00(?!\.)", r"\1", text)


def _length(offset: str) -> timedelta:
    hours, minutes = offset[1:].split(":")
    length = timedelta(hours=int(hours), minutes=int(minutes))
    return -length if offset[0] == "-" else length
