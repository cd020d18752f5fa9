"""Calendars that steps follow, and which step is missing."""

import numpy as np
import pandas as pd
import pytest

from plait.errors import InputError
from plait.tasks.forecast.steps import best_calendar, check_steps, following, frequency


def text(times, expected=None) -> str:
    with pytest.raises(InputError) as caught:
        check_steps(pd.DatetimeIndex(times), expected, lambda row: f"line {row + 2}")
    return str(caught.value)


@pytest.mark.parametrize(
    ("freq", "gone", "message"),
    [
        (
            "h",
            [5],
            "line 7: 2024-01-01 05:00 is missing before 2024-01-01 06:00 (steps of 1 hour);",
        ),
        (
            "15min",
            [5, 6],
            "line 7: 2024-01-01 01:15 is missing before 2024-01-01 01:45, and 1 more ",
        ),
        ("D", [3], "line 5: 2024-01-04 is missing before 2024-01-05 (steps of 1 day); "),
        ("B", [7], "line 9: 2024-01-10 is missing before 2024-01-11 (steps of 1 business day); "),
        ("W-SUN", [2], "line 4: 2024-01-21 is missing before 2024-01-28 (steps of 1 week); "),
        ("MS", [3], "line 5: 2024-04-01 is missing before 2024-05-01 (steps of 1 month); "),
        ("ME", [3], "line 5: 2024-04-30 is missing before 2024-05-31 (steps of 1 month); "),
        ("QS", [2], "line 4: 2024-07-01 is missing before 2024-10-01 (steps of 1 quarter); "),
        ("YS", [2], "line 4: 2026-01-01 is missing before 2027-01-01 (steps of 1 year); "),
    ],
)
def test_the_missing_step_is_named_at_the_row_behind_it(freq, gone, message):
    times = pd.date_range("2024-01-01", periods=12, freq=freq).delete(gone)
    assert text(times).startswith(message)
    assert text(times).endswith("or --missing-rows empty")
    length, steps = best_calendar(times)
    assert (length.split("-")[0], len(steps)) == (freq.split("-")[0], 12)


def test_months_from_any_day():
    times = pd.DatetimeIndex(["2024-01-15", "2024-02-15", "2024-03-15"])
    assert frequency(times) == "1 month"
    assert following(times, "1 month", 2).day.tolist() == [15, 15]
    last = pd.DatetimeIndex(["2023-12-30", "2024-01-30", "2024-02-29"])
    assert following(last, "1 month", 1)[0] == pd.Timestamp("2024-03-30")


def test_a_clock_put_back_or_forward_an_hour():
    for begin, message in (
        (
            "2024-10-26",
            "line 29: 2024-10-27 02:00:00 occurs twice, as where a clock is put back an ",
        ),
        (
            "2024-03-30",
            "line 28: 2024-03-31 02:00 is missing before 2024-03-31 03:00 (steps of 1 h",
        ),
    ):
        hours = pd.date_range(begin, periods=60, freq="h", tz="Europe/Berlin")
        assert text(hours.tz_localize(None)).startswith(message)
        assert "give the times with their offsets, such as +02:00" in text(hours.tz_localize(None))
        check_steps(hours, None, str)
        assert frequency(hours) == "h"
    quarters = pd.date_range("2024-10-27", periods=60, freq="15min", tz="Europe/Berlin")
    assert "comes after 2024-10-27 02:45:00, as where a clock" in text(quarters.tz_localize(None))


def test_days_of_a_time_zone_go_on_over_the_change_of_its_clock():
    days = pd.date_range("2024-03-28", periods=3, freq="D", tz="Europe/Berlin")
    assert [t.hour for t in following(days, "D", 3)] == [0, 0, 0]


def test_jitter_is_reported_with_the_fix():
    off = np.array([0, 3, -2, 0, 5, 0, -1, 0])
    times = pd.date_range("2024-01-01", periods=8, freq="h") + pd.to_timedelta(off, unit="s")
    assert text(times) == (
        "line 6: 2024-01-01 04:00:05 is 5 seconds off steps of 1 hour; round the times, as pandas' "
        "dt.round('1h') does"
    )


def test_times_on_no_calendar():
    message = text(["2024-01-01", "2024-01-02", "2024-01-07", "2024-01-20", "2024-03-01"])
    assert message.startswith("line 4: 2024-01-07 comes 5 days after the row before, others 1 day;")


def test_a_gap_in_what_a_run_is_to_go_on_from():
    times = pd.date_range("2024-01-01", periods=9, freq="h")
    assert text(times.delete(4), "h").startswith("line 6: 2024-01-01 04:00 is missing before ")
    assert "the steps are 2h long, and the run was trained on steps of h" in text(times[::2], "h")
