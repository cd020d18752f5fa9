"""Times keep their clock; what is none, or of several clocks, is reported."""

import pandas as pd
import pytest

from plait.errors import InputError
from plait.times import clock_of, read_times


def read(*texts: str):
    return read_times(texts, lambda row: f"line {row + 2}", "time")


@pytest.mark.parametrize(
    ("end", "clock"),
    [("", None), ("Z", "+00:00"), ("+09:00", "+09:00"), (" -0330", "-03:30"), ("-00", "+00:00")],
)
def test_the_offset_is_kept(end, clock):
    times, note = read(f"2024-03-01T08:00{end}", f"2024-03-01 09:00:00{end}")
    assert (clock_of(times), note) == (clock, "")
    assert [time.hour for time in times] == [8, 9]


@pytest.mark.parametrize(
    ("texts", "iso"),
    [
        (("31.12.2024", "1.1.2025"), ("2024-12-31", "2025-01-01")),
        (("31.12.24 14:30", "01.01.25 8:05"), ("2024-12-31 14:30", "2025-01-01 08:05")),
        (("28.2.2024T23:59:58+01:00",), ("2024-02-28 23:59:58+01:00",)),
    ],
)
def test_days_with_dots_have_the_day_first(texts, iso):
    times, note = read(*texts)
    assert times.equals(read(*iso)[0])
    assert note == "days are read as day.month.year"


def test_a_clock_put_forward_is_read_as_utc_or_by_days():
    hours = pd.date_range("2024-03-30 22:00", periods=6, freq="h", tz="Europe/Berlin")
    times, note = read(*map(str, hours))
    assert times.equals(hours.tz_convert("UTC"))
    assert note == "times with several offsets, +01:00 and +02:00, read as UTC"
    days = pd.date_range("2024-03-30", periods=3, freq="D", tz="Europe/Berlin")
    times, note = read(*map(str, days))
    assert times.equals(days.tz_localize(None))
    assert "whose offsets, +01:00 and +02:00, are left out" in note


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            ("2024-03-01 08:00Z", "2024-03-01 09:00"),
            "line 3: '2024-03-01 09:00' has no offset from",
        ),
        (("2024-03-01 08:00", "2024-03-01 09:00Z"), "line 3: '2024-03-01 09:00Z' has an offset fr"),
        (("now",), "line 2: 'now' in column 'time' is no time such as 2024-03-01 08:05"),
        (("31.13.2024",), "line 2: '2024-13-31' in column 'time' is no time such as 2024-03-01"),
        (("31.12.2024", "2025-01-01"), "line 2: '31.12.2024' in column 'time' is no time such as"),
        (("2024-03-01 Europe/Berlin",), "Europe/Berlin' in column 'time' is no time such as 2024-"),
        (("01/02/2024",), "write the year first, as it may be day or month first"),
        (("1704067200",), "is no time such as 2024-03-01 08:05; write seconds since 1970 as such"),
    ],
)
def test_what_is_no_time_of_one_clock(texts, message):
    with pytest.raises(InputError) as caught:
        read(*texts)
    assert message in str(caught.value)
