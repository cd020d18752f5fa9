"""Rows that arrive: the forecasts from each, gaps and mistakes among them, and how it ends."""

import io
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import plait
from plait.cli import run as run_command
from plait.errors import InputError
from plait.tasks.forecast.following import arriving

OPTIONS = {
    "data": "own.csv", "operator": "dense", "history": 3, "horizon": 2, "hidden_size": 4,
    "steps": 4, "batch_size": 8, "threads": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with a table and a run on it."""
    folder = tmp_path_factory.mktemp("trained")
    values = np.random.default_rng(0).standard_normal((120, 2)).round(3)
    frame = pd.DataFrame(values, columns=["a", "b"])
    frame.insert(0, "time", pd.date_range("2024-01-01", periods=120, freq="h").astype(str))
    frame.to_csv(folder / "own.csv", index=False)
    options = {**OPTIONS, "data": str(folder / "own.csv")}
    plait.train("forecast", out=folder / "run", coverage=0.8, **options)
    return folder


@pytest.fixture(autouse=True)
def frame(trained, tmp_path, monkeypatch) -> pd.DataFrame:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return pd.read_csv("own.csv")


@contextmanager
def standard_input(text: str) -> Iterator[None]:
    """Put a text on the standard input."""
    read, write = os.pipe()
    os.write(write, text.encode())
    os.close(write)
    kept = os.dup(0)
    os.dup2(read, 0)
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(read)


def followed(text: str, **options) -> pd.DataFrame:
    """What is written for a text on the standard input."""
    out = f"out-{len(list(Path().iterdir()))}.csv"
    with standard_input(text):
        plait.api.follow("run", "-", out=out, **options)
    return pd.read_csv(out)


@pytest.fixture
def stdin(monkeypatch):
    monkeypatch.setattr("sys.stdin", open(0, closefd=False))  # noqa: SIM115 pytest's has no file


def test_a_row_is_followed_by_what_a_table_predicts(frame, stdin):
    frame[100:103].to_csv("past.csv", index=False)
    found = followed(frame[:3].to_csv(index=False))
    frame[:3].to_csv("three.csv", index=False)
    table = pd.read_csv(plait.predict("run", "three.csv", out="next.csv"))
    assert list(found) == ["after", "time", "id", "forecast", "low", "high"]
    assert set(found["after"]) == {"2024-01-01 02:00:00"}
    pd.testing.assert_frame_equal(
        found.drop(columns="after"), table.drop(columns="missing"), rtol=1e-5, atol=1e-6
    )
    model, state = plait.load("run"), None
    for stamp, *row in frame[:6].itertuples(index=False):
        expected, state = model.step(row, state, stamp)
    more = followed(frame[["b", "time", "a"]][:6].to_csv(index=False))  # in any order
    assert list(more["after"].unique()) == [str(t) for t in frame["time"][2:6]]
    np.testing.assert_allclose(more["forecast"][-4:], expected.ravel(), rtol=1e-6)
    with standard_input(frame[3:4].to_csv(index=False)):
        words = ["predict", "run", "--data", "three.csv", "--follow", "-", "--out", "warm.csv"]
        assert run_command(words) == 0
    warm = pd.read_csv("warm.csv")
    same = more[more["after"] == "2024-01-01 03:00:00"].reset_index(drop=True)
    pd.testing.assert_frame_equal(warm, same, rtol=1e-5, atol=1e-6)


def test_gaps_are_read_as_missing_and_old_rows_left_out(frame, stdin, caplog):
    whole = frame[:8].copy()
    whole.loc[4:5, ["a", "b"]] = np.nan
    expected = followed(whole.to_csv(index=False))
    rows = frame.iloc[[0, 1, 2, 3, 2, 6, 7]]
    found = followed(rows.to_csv(index=False))
    assert "line 6: 2024-01-01 02:00 does not come after 2024-01-01 03:00; left out" in caplog.text
    assert "line 7: 2 steps before it have no row, read as missing" in caplog.text
    assert "rows followed: 4, " in caplog.text
    after = found["after"].unique()
    expected = expected[expected["after"].isin(after)].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,a\n", "line 1 has no column 'b'; the first line must name the time, the run's 2 no"),
        ("time,a,b,c\n", "line 1 has the unknown columns 'c'; the first line"),
        ("a,b\n", "line 1 has no column 'time'; the first line"),
        ("time,a,b\n2024-01-01 00:00,1\n", "line 2: 2 cells, and the first line names 3 columns"),
        ("time,a,b\n2024-01-01 00:00,1,x\n", "line 2, column 'b': 'x' is no number"),
        ("time,a,b\nsoon,1,2\n", "line 2: 'soon' in column 'time' is no time such as"),
        (
            "time,a,b\n2024-01-01 00:00,1,2\n2024-01-01 00:30,1,2\n",
            "line 3: 2024-01-01 00:30 is no step of h after 2024-01-01; round the times",
        ),
        ("time,a,b\n2024-01-01 00:00Z,1,2\n", "has an offset from UTC, and the run was trained"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(stdin, text, message):
    with pytest.raises(InputError) as caught:
        followed(text)
    assert "the standard input" in str(caught.value)
    assert message in str(caught.value)


def test_what_cannot_be_followed_is_refused(frame, capsys):
    assert run_command(["predict", "run", "--follow", "no.csv"]) == 2
    assert "--follow no.csv: there is no such file; - is the standard" in capsys.readouterr().err
    assert run_command(["predict", "run", "--follow", "own.csv", "--out", "own.csv"]) == 2
    assert "own.csv exists already; give another --out" in capsys.readouterr().err
    plait.train("links", data="karate", steps=1, out="links")
    assert run_command(["predict", "links", "--follow", "own.csv"]) == 2
    assert "links runs follow no rows that arrive; leave --follow out" in capsys.readouterr().err
    frame.assign(event=1.0).to_csv("known.csv", index=False)
    plait.train("forecast", out="known", known="event", **{**OPTIONS, "data": "known.csv"})
    with pytest.raises(InputError, match="a run with --known event cannot follow rows"):
        plait.api.follow("known", "own.csv")
    with pytest.raises(InputError, match=r"takes no argument follow; call plait\.api\.follow"):
        plait.predict("run", follow="own.csv", out="x.csv")


def test_lines_are_read_when_they_are_complete(tmp_path):
    path, stop = tmp_path / "grows.csv", threading.Event()
    path.write_text("\ufeffone\ntw")
    lines = arriving(str(path), "utf-8", stop)
    assert next(lines) == "one"
    with path.open("a") as file:
        file.write("o\r\nthree\n")
    assert [next(lines), next(lines)] == ["two", "three"]
    stop.set()
    assert list(lines) == []
    path.write_bytes(b"caf\xe9\n")
    with pytest.raises(InputError, match="is not in utf-8; give --encoding"):
        next(arriving(str(path), "utf-8", threading.Event()))


def test_ctrl_c_ends_it_cleanly(frame):
    frame[:5].to_csv("live.csv", index=False)
    words = ["-m", "plait", "predict", "run", "--follow", "live.csv", "--threads", "1"]
    program = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    lines = [program.stdout.readline() for _ in range(1 + 3 * 4)]
    with Path("live.csv").open("a") as file:
        file.write(frame[5:6].to_csv(index=False, header=False))
    lines += [program.stdout.readline() for _ in range(4)]
    program.send_signal(signal.SIGINT)
    rest, errors = program.communicate(timeout=300)
    assert program.returncode == 0
    assert rest == ""
    assert errors.startswith("plait: rows followed: 4, ")
    assert errors.count("\n") == 1
    table = pd.read_csv(io.StringIO("".join(lines)))
    assert list(table["after"].unique()) == [str(t) for t in frame["time"][2:6]]
