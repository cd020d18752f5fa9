"""Tables of measurements, and everything that can be wrong with one."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from plait.errors import InputError
from plait.tasks.forecast.series import following, read_series, season_of


@pytest.fixture
def write(tmp_path):
    def make(text: str | bytes, name: str = "speeds.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return make


HOURS = "time,a,b\n2024-03-01 00:00,1,2\n2024-03-01 01:00,,4.5\n2024-03-01 02:00,-5,6e1\n"


@pytest.mark.parametrize(
    "text",
    [
        HOURS,
        HOURS.replace(",", ";"),
        HOURS.replace(",", "\t"),
        "\ufeff" + HOURS.replace("\n", "\r\n"),
        HOURS.replace("time", "DateTime").replace(",,", ",NA,"),
        HOURS.replace("2024-03-01 0", "2024-03-01T0"),
        HOURS + "\n\n",
    ],
)
def test_a_table_is_read_whatever_its_dress(write, text):
    series = read_series(write(text))
    assert series.ids == ("a", "b")
    np.testing.assert_array_equal(series.values, [[1, 2], [np.nan, 4.5], [-5, 60]])
    assert series.frequency == "h"
    assert list(series.times) == list(pd.date_range("2024-03-01", periods=3, freq="h"))


def test_without_times_steps_are_numbered(write):
    series = read_series(write("773869,767541\n1,2\n3,4\n"))
    assert (series.ids, series.times, series.frequency) == (("773869", "767541"), None, None)


def test_times_may_stand_anywhere_under_any_name(write):
    series = read_series(write("a,when\n1,2024-01-01\n2,2024-01-02\n3,2024-01-03\n"), "when")
    assert (series.ids, series.frequency) == (("a",), "D")


def test_parquet_is_the_same_table(write, tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.read_csv(write(HOURS), parse_dates=["time"])
    expected = read_series(write(HOURS))
    for name, stored in (("column", frame), ("index", frame.set_index("time"))):
        stored.to_parquet(tmp_path / f"{name}.parquet")
        series = read_series(tmp_path / f"{name}.parquet")
        assert series.sha256 == expected.sha256
    (tmp_path / "no.parquet").write_bytes(b"PAR0")
    with pytest.raises(InputError, match=r"no.parquet is no Parquet file"):
        read_series(tmp_path / "no.parquet")


@pytest.mark.parametrize("freq", ["5min", "h", "D", "B", "7D", "W-MON", "MS", "ME", "2h", "QS"])
def test_equal_steps_are_told_and_gone_on_with(write, freq):
    times = pd.date_range("2024-01-01", periods=30, freq=freq)
    rows = "\n".join(f"{t},1" for t in times[:20])
    series = read_series(write(f"time,a\n{rows}\n"))
    assert list(following(series.times, series.frequency, 10)) == list(times[20:])


def test_seasons():
    found = {
        f: season_of(pd.date_range("2024-01-01", periods=30, freq=f))
        for f in ("5min", "h", "7h", "D", "B", "W-MON", "MS", "QS", "YS")
    }
    assert found == {
        "5min": 288, "h": 24, "7h": 0, "D": 7, "B": 5, "W-MON": 52, "MS": 12, "QS": 4, "YS": 0
    }  # fmt: skip
    assert season_of(None) == 0


DAYS = "time,a,b\n2024-01-01,1,2\n2024-01-02,3,4\n2024-01-03,5,6\n2024-01-04,7,8\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "speeds.csv, line 1: there must be the names of the columns"),
        ("a,,b\n1,2,3\n", "line 1: a column has no name; give it the node's"),
        ("a,b\n", "speeds.csv has no measurements"),
        ("time\n2024-01-01\n", "speeds.csv has no measurements"),
        ("a,b,a\n1,2,3\n", "line 1: the column 'a' stands twice"),
        ("a,b\n1,2\n3\n", "line 3 has 1 columns, and line 1 names 2"),
        ("a,b\n1,2\n3,4,5\n", "line 3 has 3 columns, and line 1 names 2"),
        (DAYS.replace("6", "six"), "line 4, column 'b': 'six' is no number"),
        ("day,a\n2024-01-01,2\n", "column 'day': '2024-01-01' is no number; if that column holds "),
        (DAYS.replace("6", "inf"), "line 4, column 'b': the value is infinite"),
        (DAYS.replace("2024-01-03", "3rd"), "line 4: '3rd' in column 'time' is no time such as"),
        (DAYS.replace("2024-01-03", ""), "line 4: '' in column 'time' is no time such as"),
        (
            DAYS.replace("2024-01-03", "2023-01-03"),
            "line 4: 2023-01-03 00:00:00 comes after 2024-01-02 00:00:00; sort the rows by time",
        ),
        (DAYS.replace("01-03", "01-02"), "line 4: 2024-01-02 00:00:00 stands twice"),
        (
            DAYS.replace("01-04", "01-06"),
            "line 5: 2024-01-04 is missing before 2024-01-06, and 1 more after it (steps of 1 "
            "day); give a row for every step, with empty cells where nothing was measured, or "
            "--missing-rows empty",
        ),
        (b"\xff\xfe", "speeds.csv is not UTF-8 text: byte 0 is 0xff"),
    ],
)
def test_what_cannot_be_used_is_told_by_line_and_column(write, text, message):
    with pytest.raises(InputError) as caught:
        read_series(write(text))
    assert message in str(caught.value)


def test_steps_of_another_length_than_wanted_are_refused(write):
    with pytest.raises(InputError, match=r"the steps are D long, and those that the run was .* h"):
        read_series(write(DAYS), frequency_of="h")
    read_series(write(DAYS), frequency_of="D")
    with pytest.raises(InputError, match=r"--time when: .*speeds.csv has no such column"):
        read_series(write(DAYS), "when")


def test_the_hash_tells_values_names_and_times_apart(write):
    texts = (DAYS, DAYS.replace("8", "9"), DAYS.replace("b", "c"), DAYS.replace("2024", "2023"))
    assert len({read_series(write(text)).sha256 for text in texts}) == 4
