"""Grids on a Ray cluster: the runs are those made here, wherever they are made."""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import plait
from plait.cli.entry import run as command
from plait.comparison import cluster
from plait.comparison.grid import Grid
from plait.errors import InputError
from plait.training.run import Run

GRID = {
    "problem": "recall", "length": 3, "hidden_size": 8, "batch_size": 8, "steps": 3, "threads": 1,
}  # fmt: skip
VARY = {"cell": ["rnn", "gru"]}


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


def results(path: Path) -> pd.DataFrame:
    """What a grid found, without its times."""
    table = pd.read_csv(path / "results.csv").sort_values("run", ignore_index=True)
    return table.drop(columns="seconds")


def train_one(task: str, options: dict, path: Path) -> None:
    plait.train(task, out=path, **options)


def test_a_machine_that_sees_the_folder_writes_there_and_another_returns_the_files(tmp_path):
    [plan, *_] = Grid.of("memory", tmp_path / "grid", VARY, 1, None, GRID).plans
    options = {**GRID, "cell": "rnn"}
    plan.path.parent.mkdir()
    (plan.path.parent / "token").touch()
    assert cluster.train_there(train_one, "memory", options, plan.path, "token") == (None, {})
    seen = Run.open(plan.path)
    failure, files = cluster.train_there(train_one, "memory", options, plan.path, "another")
    assert failure is None
    cluster.take_over(files, tmp_path / "fetched")
    fetched = Run.open(tmp_path / "fetched")
    assert fetched.config == seen.config
    assert fetched.records("test") == seen.records("test")
    names = [
        sorted(p.relative_to(run.path).as_posix() for p in run.path.rglob("*") if p.is_file())
        for run in (seen, fetched)
    ]
    assert [n for n in names[0] if n != ".lock"] == names[1]


def test_without_ray_the_extra_is_named(capsys, monkeypatch, tmp_path) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ray" else find(name)
    )
    words = ["compare", "memory", "--ray", "--out", str(tmp_path / "grid")]
    assert command(words) == 2
    expected = "plait: --ray needs the package ray; install plait[cluster]\n"
    assert capsys.readouterr().err == expected
    assert not (tmp_path / "grid").exists()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:9", r"--ray 127.0.0.1:9: there is no Ray cluster \(.+\); start one with ray"),
        ("here", "--ray here: give HOST:PORT, such as 10.0.0.1:6379, or no address"),
        ("ray://here", "--ray ray://here: give HOST:PORT"),
    ],
)
def test_an_address_where_nobody_is_is_refused_and_nothing_written(address, message, tmp_path):
    pytest.importorskip("ray")
    with pytest.raises(InputError, match=f"^{message}"):
        plait.compare("memory", VARY, out=tmp_path / "grid", ray=address, **GRID)
    assert not (tmp_path / "grid").exists()
    with pytest.raises(InputError, match=r"^--jobs is for this machine; with --ray the cluster"):
        plait.compare("memory", VARY, out=tmp_path / "grid", ray="auto", jobs=2, **GRID)


def compare(**options: object) -> list[str]:
    """The command for a grid of two cells."""
    values = {**GRID, "vary": "cell=rnn,gru", **options}
    flags = [w for k, v in values.items() for w in (f"--{k.replace('_', '-')}", str(v))]
    return [sys.executable, "-m", "plait", "compare", "memory", *flags]


@pytest.mark.slow
def test_a_cluster_makes_the_runs_that_jobs_make(tmp_path) -> None:
    pytest.importorskip("ray")
    words = compare(seeds=20, steps=20)
    here, there = tmp_path / "here", tmp_path / "there"
    for path, how in ((there, ["--ray"]), (here, ["--jobs", "2"])):
        done = subprocess.run([*words, *how, "--out", str(path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
    assert len(results(here)) == 40
    pd.testing.assert_frame_equal(results(here), results(there), check_exact=True)


def begun(path: Path, process: subprocess.Popen) -> dict:
    """Wait until a run of a grid is in training; return who trains it, and the run."""
    while True:
        assert process.poll() is None, process.stderr and process.stderr.read()
        for owner in path.glob("*/.owner.json"):
            with contextlib.suppress(OSError, ValueError):
                run = Run.open(owner.parent)
                if run.load_checkpoint()[1]["step"] > 0:
                    return {**json.loads(owner.read_text()), "run": owner.parent}
        time.sleep(0.05)


@pytest.mark.slow
def test_a_run_whose_process_is_killed_is_made_again_and_a_stopped_grid_goes_on(tmp_path) -> None:
    pytest.importorskip("ray")
    words = compare(steps=1500, save_every=0.1, seeds=2)
    here, there = tmp_path / "here", tmp_path / "there"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*words, "--ray", "--out", str(there)], **pipes) as grid:
        killed = begun(there, grid)
        os.kill(killed["process"], signal.SIGKILL)
        time.sleep(1)
        while (again := begun(there, grid))["process"] == killed["process"]:
            time.sleep(0.05)
        grid.send_signal(signal.SIGINT)
        _, errors = grid.communicate(timeout=90)
    assert again["run"].exists()
    assert grid.returncode == 130
    assert errors == "plait: stopped, every run saved; the same command continues\n"
    for how, path in (("--ray", there), ("--jobs=1", here)):
        done = subprocess.run([*words, how, "--out", str(path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(results(here), results(there), check_exact=True)
