"""Files as they come from sensors: read, or refused in a line whose advice leads to a run."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from plait.cli import run as run_command

pytestmark = pytest.mark.slow
HOURS = 24 * 28


def sensors(begin: str = "2024-03-11") -> pd.DataFrame:
    """Four weeks of hours, over a change of clocks, of sensors that come late and go early."""
    random, t = np.random.default_rng(0), np.arange(HOURS)
    day = {f"s{k}": 50 + 10 * np.sin(2 * np.pi * (t - k) / 24) for k in range(6)}
    frame = pd.DataFrame(day) + random.standard_normal((HOURS, 6))
    frame.loc[:200, "s1"] = np.nan
    frame.loc[500:, "s2"] = np.nan
    frame.loc[240:263] = np.nan  # a day without any value
    for name in ("s4", "s5"):
        frame.loc[random.choice(HOURS, 60, replace=False), name] = np.nan
    frame.insert(0, "time", pd.date_range(begin, periods=HOURS, freq="h"))
    return frame


def by_clock(frame: pd.DataFrame, offsets: bool = False) -> pd.DataFrame:
    times = pd.DatetimeIndex(frame["time"], tz="UTC").tz_convert("Europe/Berlin")
    texts = times.strftime("%Y-%m-%dT%H:%M:%S%z" if offsets else "%Y-%m-%d %H:%M:%S")
    return frame.assign(time=texts)


def shaken(frame: pd.DataFrame, seconds: int) -> pd.DataFrame:
    off = pd.to_timedelta(np.random.default_rng(0).integers(-seconds, seconds, HOURS), "s")
    return frame.assign(time=frame["time"] + off)


@pytest.fixture
def train(tmp_path, monkeypatch, capsys) -> Callable[..., tuple[int, str]]:
    monkeypatch.chdir(tmp_path)
    count = iter(range(99))

    def trained(frame: pd.DataFrame, *more: str) -> tuple[int, str]:
        frame.to_csv("f.csv", index=False)
        sizes = ["--steps", "1", "--hidden-size", "4", "--history", "6", "--horizon", "3"]
        words = ["train", "forecast", "--data", "f.csv", "--operator", "dense", "--threads", "1"]
        code = run_command([*words, *sizes, *more, "--out", f"run-{next(count)}"])
        return code, capsys.readouterr().err

    return trained


FILL = ("--missing-rows", "empty")
ALONE = {
    "as it is": (sensors(), ()),
    "one sensor": (sensors()[["time", "s0"]], ()),
    "steps without a row": (sensors().drop(index=[3, 50, 51, 400]), FILL),
    "a clock put forward": (by_clock(sensors()), FILL),
    "both changes, with offsets": (by_clock(sensors("2024-10-14"), offsets=True), ()),
    "a row for each time and sensor": (
        sensors().melt("time", var_name="sensor", value_name="flow").dropna(), FILL,
    ),
    "a text that means missing": (
        sensors().astype({"s0": object}).replace({"s4": {np.nan: "offline"}}),
        ("--missing", "offline"),
    ),
    "5,000 sensors": (
        sensors().join(pd.DataFrame(
            np.random.default_rng(1).standard_normal((HOURS, 5_000)),
            columns=[f"more{k}" for k in range(5_000)],
        )), (),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ALONE)
def test_it_is_read(train, name):
    frame, more = ALONE[name]
    assert train(frame, *more) == (0, "")


REFUSED = {
    "a stamp twice": (
        lambda f: pd.concat([f.iloc[:100], f.iloc[99:]]),
        "line 102: 2024-03-15 03:00:00 occurs twice; give one row per time",
    ),
    "a clock put back": (
        lambda f: by_clock(f.assign(time=f["time"] + pd.Timedelta(days=217))),
        "occurs twice, as where a clock is put back an hour; give the times with their offsets",
    ),
    "shuffled": (lambda f: f.sample(frac=1, random_state=0), "; sort the rows by time"),
    "seconds off": (lambda f: shaken(f, 20), "round the times, as pandas' dt.round('1h') does"),
    "irregular": (lambda f: shaken(f, 1500), "must rise in equal steps, or those of a calendar"),
    "a text": (
        lambda f: f.assign(s0=f["s0"].astype(object).where(f.index != 5, "offline")),
        "'offline' is no number; if it means a missing value, give --missing offline",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_a_fix(train, name):
    change, message = REFUSED[name]
    code, errors = train(change(sensors()))
    assert (code, errors.count("\n")) == (2, 1)
    assert message in errors


def test_all_faults_in_one_file_are_led_to_a_run(train):
    """One fix after another, each by what the line before says."""
    frame = sensors().assign(s6=7.0, s7=3.0, s8=np.nan, s9=np.nan).astype({"s0": object})
    frame.loc[9, "s0"] = "offline"
    frame = shaken(frame, 20).drop(index=[60, 61])
    frame = pd.concat([frame, frame.iloc[-1:]]).sample(frac=1, random_state=0)
    more: list[str] = []
    fixes = [
        ("give --missing offline", lambda f: more.extend(["--missing", "offline"]) or f),
        ("occurs twice", lambda f: f.drop_duplicates("time")),
        ("sort the rows by time", lambda f: f.sort_values("time")),
        ("dt.round('1h')", lambda f: f.assign(time=f["time"].dt.round("1h"))),
        ("or --missing-rows empty", lambda f: more.extend(FILL) or f),
        (
            "columns 's8', 's9' have no value in the training set; take them out",
            lambda f: f.drop(columns=["s8", "s9"]),
        ),
        (
            "columns 's6', 's7' are constant in the training set; take them out",
            lambda f: f.drop(columns=["s6", "s7"]),
        ),
    ]
    for message, fix in fixes:
        code, errors = train(frame, *more)
        assert (code, errors.count("\n")) == (2, 1)
        assert message in errors
        frame = fix(frame)
    assert train(frame, *more) == (0, "")
