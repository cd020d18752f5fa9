"""Tables of measurements, and everything that can be wrong with one."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from plait.errors import InputError
from plait.tasks.forecast.series import read_series
from plait.tasks.forecast.steps import following, season_of


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
def test_equal_steps_are_reported_and_gone_on_with(write, freq):
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
        ("", "speeds.csv, line 1: the header is empty; it must name the columns"),
        ("a,,b\n1,2,3\n", "line 1: a column has no name; give it the node's"),
        ("a,b\n", "speeds.csv has no measurements"),
        ("time\n2024-01-01\n", "speeds.csv has no measurements"),
        ("a,b,a\n1,2,3\n", "line 1: the column 'a' occurs twice"),
        ("a,b\n1,2\n3\n", "line 3 has 1 columns, and line 1 names 2"),
        ("a,b\n1,2\n3,4,5\n", "line 3 has 3 columns, and line 1 names 2"),
        (DAYS.replace("6", "six"), "line 4, column 'b': 'six' is no number"),
        (
            "day,a\n2024-01-01,2\n",
            "'2024-01-01' is no number; if these are times, give --time day",
        ),
        (DAYS.replace("6", "inf"), "line 4, column 'b': the value is infinite"),
        (DAYS.replace("2024-01-03", "3rd"), "line 4: '3rd' in column 'time' is no time such as"),
        (DAYS.replace("2024-01-03", ""), "line 4: '' in column 'time' is no time such as"),
        (
            DAYS.replace("2024-01-03", "2023-01-03"),
            "line 4: 2023-01-03 00:00:00 comes after 2024-01-02 00:00:00; sort the rows by time",
        ),
        (DAYS.replace("01-03", "01-02"), "line 4: 2024-01-02 00:00:00 occurs twice"),
        (
            DAYS.replace("01-04", "01-06"),
            "line 5: 2024-01-04 is missing before 2024-01-06, and 1 more after it (steps of 1 "
            "day); give a row for every step, with empty cells where nothing was measured, or "
            "--missing-rows empty",
        ),
        (b"\xff\xfe", "speeds.csv is not UTF-8 text: byte 0 is 0xff"),
    ],
)
def test_what_cannot_be_used_is_reported_by_line_and_column(write, text, message):
    with pytest.raises(InputError) as caught:
        read_series(write(text))
    assert message in str(caught.value)


def test_steps_of_another_length_than_wanted_are_refused(write):
    with pytest.raises(InputError, match="are D long, and the run was trained on steps of h"):
        read_series(write(DAYS), frequency_of="h")
    read_series(write(DAYS), frequency_of="D")
    with pytest.raises(InputError, match=r"--time when: .*speeds.csv has no such column"):
        read_series(write(DAYS), "when")


def test_the_hash_distinguishes_values_names_and_times(write):
    texts = (DAYS, DAYS.replace("8", "9"), DAYS.replace("b", "c"), DAYS.replace("2024", "2023"))
    assert len({read_series(write(text)).sha256 for text in texts}) == 4


def test_columns_that_number_the_rows_are_left_out_and_reported(write):
    for text in (
        ",a,b\n0,5,1\n1,6,7\n2,8,3\n",
        "Unnamed: 0;a;b\n1;5;1\n2;6;7\n3;8;3\n",
        "time,a,b\n0,5,1\n1,6,7\n2,8,3\n",
        "index,a,b,\n0,5,1,\n1,6,7,\n2,8,3,\n",
    ):
        series = read_series(write(text))
        assert (series.ids, series.times) == (("a", "b"), None)
        np.testing.assert_array_equal(series.values, [[5, 1], [6, 7], [8, 3]])
        assert "which numbers the rows" in series.columns
    assert read_series(write("index\n0\n1\n")).ids == ("index",)  # there is nothing else
    ramp = "a,b\n" + "".join(f"{k},{k % 3}\n" for k in range(12))
    assert read_series(write(ramp)).notes == (
        "'a' only numbers the rows; take it out if it measures nothing",
    )


def test_every_column_is_reported(write):
    text = ";ts;n1;n2\n" + "".join(f"{k};2024-01-01T{k:02}:00+09:00;{k},5;1\n" for k in range(9))
    series = read_series(write(text), "ts")
    assert series.columns == (
        "time = 'ts' (a step of 1 hour, 2024-01-01 00:00+09:00 to 2024-01-01 08:00+09:00); "
        "2 nodes: 'n1', 'n2'; left out: the column without a name, which numbers the rows"
    )
    assert series.notes == ("numbers with decimal commas",)
    assert series.values[2].tolist() == [2.5, 1]


def test_an_index_of_times_without_a_name_is_the_time(write):
    series = read_series(write(",a\n2024-01-01,1\n2024-01-02,2\n2024-01-03,4\n"))
    assert (series.ids, series.frequency) == (("a",), "D")


def test_values_far_from_all_others_are_said_and_may_be_missing(write):
    text = "a,b\n5,1\n-9999,2\n7,3\n-9999,4\n6,7\n5,9\n8,4\n"
    (note,) = read_series(write(text)).notes
    assert note == (
        "2 values are -9999 in 'a', far from all others: if they mean missing, --missing=-9999"
    )
    series = read_series(write(text), missing=["-9999"])
    assert np.isnan(series.values[:, 0]).tolist() == [False, True, False, True] + [False] * 3
    assert series.notes == ()


def test_rows_that_are_not_there_may_be_read_as_missing(write):
    text = "time,a\n2024-01-04,1\n2024-01-05,2\n2024-01-08,3\n2024-01-10,4\n2024-01-11,5\n"
    series = read_series(write(text), fill=True)
    np.testing.assert_array_equal(series.values[:, 0], [1, 2, 3, np.nan, 4, 5])
    assert (series.frequency, str(series.times[3].date())) == ("B", "2024-01-09")
    assert series.notes == ("1 steps without a row, read as missing",)
    again = read_series(write(text), frequency_of="B", fill=True)
    assert again.sha256 == series.sha256


LONG = "time,id,value\n2024-01-02,n2,4\n2024-01-01,n1,1\n2024-01-01,n2,2\n2024-01-02,n1,3\n"


def test_a_long_table_is_read_as_a_column_a_node(write, tmp_path):
    pytest.importorskip("pyarrow")
    path = write(LONG)
    series = read_series(path)
    assert series.ids == ("n2", "n1")
    assert series.values.tolist() == [[2, 1], [4, 3]]
    assert series.source == (
        f"{path} (a row for each time and 'id', read as one row per time, a column per node)"
    )
    stored = pd.read_csv(path, parse_dates=["time"]).rename(columns={"id": "x"})
    stored.set_index(["time", "x"]).to_parquet(tmp_path / "long.parquet")
    assert read_series(tmp_path / "long.parquet").sha256 == series.sha256


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LONG + "2024-01-01,n1,9\n", "line 6: 'n1' has a second value at 2024-01-01, after line 3"),
        (LONG + "2024-01-03,,9\n", "line 6: the 'id' is missing"),
        (
            LONG.replace("value", "value,more").replace("\n2", ",1\n2").replace("3\n", "3,1\n")
            .replace("more,1", "more"),
            "occurs twice, as in a table with a row for each time and 'id'; give one row per time",
        ),
        (LONG.replace("id", "to").replace("n", ""), "occurs twice; give one row per time, a col"),
    ],
    ids=["twice", "no id", "two values", "numbers only"],
)  # fmt: skip
def test_a_long_table_that_is_not_clear_is_refused(write, text, message):
    with pytest.raises(InputError) as caught:
        read_series(write(text))
    assert message in str(caught.value)


HOURLY = pd.date_range("2024-03-01", periods=5, freq="h")


@pytest.mark.parametrize(
    ("make", "time", "zone"),
    [
        (lambda a: pd.DataFrame({"a": a}, index=HOURLY.rename("ts")), "'ts'", None),
        (lambda a: pd.DataFrame({"a": a}, index=HOURLY), "what has no name", None),
        (lambda a: pd.DataFrame({"when": HOURLY, "a": a}), "'when'", None),
        (lambda a: pd.DataFrame({"a": a}, index=HOURLY.to_period("h").rename("p")), "'p'", None),
        (lambda a: pd.DataFrame({"p": HOURLY.to_period("h"), "a": a}), "'p'", None),
        (lambda a: pd.DataFrame({"time": HOURLY, "a": a}, index=HOURLY.rename("time")), "'time'",
         None),
        (lambda a: pd.DataFrame({"a": a}, index=[f"{t}+09:00" for t in HOURLY]),
         "what has no name", "UTC+09:00"),
        (lambda a: pd.DataFrame({"a": a}, index=HOURLY.tz_localize("Europe/Berlin")),
         "what has no name", "Europe/Berlin"),
    ],
)  # fmt: skip
def test_times_of_parquet_whatever_they_are_called(tmp_path, make, time, zone):
    pytest.importorskip("pyarrow")
    make([1.0, 2, 3, 4, 6]).to_parquet(tmp_path / "t.parquet")
    series = read_series(tmp_path / "t.parquet")
    assert (series.ids, series.values[:, 0].tolist()) == (("a",), [1, 2, 3, 4, 6])
    assert series.times.equals(HOURLY.tz_localize(zone))
    assert series.columns.startswith(f"time = {time} (a step of 1 hour, 2024-03-01")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            pd.DataFrame({"time": range(5), "a": 1.0}, index=HOURLY.rename("time")),
            "has an index 'time' and a column 'time', and they differ; take one out",
        ),
        (
            pd.DataFrame({"from": HOURLY, "until": HOURLY, "a": 1.0}),
            "the columns 'from' and 'until' hold times; say which are the rows', with --time from",
        ),
        (
            pd.DataFrame({"time": HOURLY, "until": HOURLY, "a": 1.0}),
            "the column 'until' holds times, no numbers; take it out",
        ),
        (
            pd.DataFrame({"time": [7, 8, 9], "a": 1.0}),
            "row 1: '7' in column 'time' is no time such as",
        ),
        (pd.DataFrame({"a": 1.0}, index=HOURLY.where(HOURLY.hour != 3)), "row 4: the time is miss"),
        (pd.DataFrame({"a": [[1]] * 5}, index=HOURLY), "row 1, column 'a': '[1]' is no number"),
    ],
    ids=["both differ", "two", "another", "numbers", "one missing", "lists"],
)
def test_parquet_that_cannot_be_used_is_reported(tmp_path, frame, message):
    pytest.importorskip("pyarrow")
    frame.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError) as caught:
        read_series(tmp_path / "t.parquet")
    assert message in str(caught.value)


def test_times_by_the_clock_of_a_run(write):
    series = read_series(write(HOURS.replace(":00,", ":00+09:00,")))
    assert series.by_clock({}).times.equals(HOURLY[:3] - pd.Timedelta(hours=9))  # of 0.1.0
    assert series.by_clock({"clock": "+09:00"}) is series
    assert str(series.by_clock({"clock": "+00:00"}).times[0]) == "2024-02-29 15:00:00+00:00"
    plain = read_series(write(HOURS))
    assert plain.by_clock({}) is plain.by_clock({"clock": None}) is plain
    for given, clock, has in ((series, None, "+09:00"), (plain, "+09:00", "none")):
        with pytest.raises(InputError, match=f"has times with .{has[1:]} as their offset from UTC"):
            given.by_clock({"clock": clock})


RAINY = """time,sensor,speed,rain,holiday,note
2024-03-01 00:00,b,1,0.5,0,9
2024-03-01 00:00,a,2,,0,9
2024-03-01 01:00,b,3,,1,9
2024-03-01 01:00,a,4,0.25,1,9
2024-03-01 02:00,b,,,1,9
2024-03-01 02:00,a,,,0,9
"""


def test_a_long_table_has_covariates_of_every_node(write):
    series = read_series(write(RAINY), value="speed", covariates=("rain", "holiday"), known=1)
    assert series.ids == ("b", "a")
    np.testing.assert_array_equal(series.values, [[1, 2], [3, 4]])
    rain = [[0.5, np.nan], [0.5, 0.25], [np.nan, np.nan]]  # the last value stands in, until it ends
    np.testing.assert_array_equal(series.covariates[..., 0], rain)
    np.testing.assert_array_equal(series.covariates[..., 1], [[0, 0], [1, 1], [1, 0]])
    assert "covariates, by node: 'rain', 'holiday'; " not in series.columns
    assert series.columns.endswith("left out: 'note'; covariates, by node: 'rain', 'holiday'")
    swapped = series.of_nodes([1, 0], ("a", "b"))
    np.testing.assert_array_equal(swapped.covariates, series.covariates[:, ::-1])
    last = series.rows(slice(1, None))
    np.testing.assert_array_equal(last.covariates, series.covariates[1:])
    assert series.sha256 != read_series(write(RAINY), value="speed", covariates=("rain",)).sha256


def test_a_wide_table_has_covariates_that_all_nodes_share(write):
    text = "time,a,rain,b\n2024-03-01,1,0.5,2\n2024-03-02,3,,4\n2024-03-03,5,1.5,6\n"
    series = read_series(write(text), covariates=("rain",))
    assert series.ids == ("a", "b")
    assert series.covariates.tolist() == [[[0.5]], [[0.5]], [[1.5]]]
    single = read_series(write(text), value="b", covariates=("rain",))
    assert (single.ids, single.values[:, 0].tolist()) == (("b",), [2, 4, 6])
    assert "left out: 'a'" in single.columns


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"covariates": ("snow",)}, "no column 'snow', which --covariates or --known names; its "
         "columns are sensor, speed, rain, holiday, note"),
        ({"value": "flow"}, "no column 'flow', which --value names"),
        ({}, "occurs twice, as in a table with a row for each time and 'sensor'; give one row"),
    ],
)  # fmt: skip
def test_columns_that_are_not_there_are_named(write, options, message):
    with pytest.raises(InputError, match=message):
        read_series(write(RAINY), **options)


def test_a_long_table_needs_times(write):
    untimed = RAINY.replace("time", "when").replace("2024-03-01 0", "").replace(":00", "")
    with pytest.raises(InputError, match="and no column of times; name it with --time"):
        read_series(write(untimed.replace("when", "step")), value="speed")
