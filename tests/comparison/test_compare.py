"""Grids on real tiny runs: going on, failing, side by side; and the command line."""

import csv
import os
from pathlib import Path

import pytest

import plait
from plait.cli import run as run_command
from plait.comparison import running
from plait.tasks.memory.task import MemoryTask
from plait.training.checkpoint import load_tensors
from plait.training.loop import Interrupted
from plait.training.progress import Progress
from plait.training.run import Run

TINY = {
    "problem": "recall", "length": 2, "hidden_size": 4, "embedding_size": 4, "batch_size": 4,
    "steps": 3, "validate_every": 2, "threads": 1,
}  # fmt: skip
CELLS = {"cell": ["rnn", "gru"]}


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


class Notices(Progress):
    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)


def weights(run: Path) -> dict[str, list]:
    return {k: v.tolist() for k, v in load_tensors(run / "model.safetensors")[0].items()}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_grid_goes_on_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("to be or not to be " * 60)
    (tmp_path / "elsewhere").mkdir()
    options = {k: v for k, v in TINY.items() if k != "problem"}
    monkeypatch.chdir(tmp_path)
    plait.compare("text", CELLS, seeds=1, out="g", data="a.txt", **options)
    assert Run.open(tmp_path / "g" / "cell=rnn,seed=0").config["data"] == str(tmp_path / "a.txt")
    monkeypatch.chdir(tmp_path / "elsewhere")
    said = Notices()
    for data in ("../a.txt", str(tmp_path / "a.txt")):
        plait.compare("text", CELLS, seeds=1, out="../g", data=data, progress=said, **options)
    assert said.notices == ["2 of 2 runs are finished already"] * 2


def test_a_grid_leaves_run_folders_tables_and_a_picture(tmp_path):
    grid = plait.compare("memory", CELLS, seeds=2, out=tmp_path / "g", **TINY)
    names = [f"cell={cell},seed={seed}" for seed in (0, 1) for cell in ("rnn", "gru")]
    assert [row["run"] for row in rows(tmp_path / "g" / "results.csv")] == names
    for name in names:
        (test,) = Run.open(tmp_path / "g" / name).records("test")
        (row,) = [r for r in rows(tmp_path / "g" / "results.csv") if r["run"] == name]
        assert float(row["test_accuracy"]) == test["accuracy"]
        validations = Run.open(tmp_path / "g" / name).records("valid")
        (tested,) = [v for v in validations if v["step"] == test["best_step"]]
        assert float(row["valid_accuracy"]) == tested["accuracy"]
        assert tested["loss"] == min(v["loss"] for v in validations)
        model = plait.load(tmp_path / "g" / name)
        assert int(row["parameters"]) == sum(p.numel() for p in model.parameters())
    assert [row["cell"] for row in rows(tmp_path / "g" / "summary.csv")] == ["rnn", "gru"]
    assert {row["pairs"] for row in rows(tmp_path / "g" / "differences.csv")} == {"2"}
    assert (tmp_path / "g" / "compare.png").stat().st_size > 10_000
    assert "gru − rnn" in str(grid)
    assert not grid.failures


def test_a_run_of_a_grid_is_the_run_that_train_makes(tmp_path):
    plait.compare("memory", CELLS, seeds=1, out=tmp_path / "g", **TINY)
    alone = plait.train("memory", out=tmp_path / "alone", cell="gru", **TINY)
    assert weights(alone.path) == weights(tmp_path / "g" / "cell=gru,seed=0")


def test_a_stopped_grid_goes_on_and_ends_as_an_unbroken_one(tmp_path, monkeypatch):
    options = {**TINY, "steps": 6, "save_every": 0}
    plait.compare("memory", CELLS, seeds=2, out=tmp_path / "whole", **options)
    original = MemoryTask.batch

    def stopped(self, step):
        if self.config.seed == 1 and step == 4:
            os.kill(os.getpid(), 15)
        return original(self, step)

    monkeypatch.setattr(MemoryTask, "batch", stopped)
    with pytest.raises(Interrupted):
        plait.compare("memory", CELLS, seeds=2, out=tmp_path / "g", **options)
    assert len(list((tmp_path / "g").glob("cell=*"))) == 3
    monkeypatch.setattr(MemoryTask, "batch", original)
    progress = Notices()
    began = []

    def train(task, *, out, **options):
        began.append(out.name)
        return plait.train(task, out=out, **options)

    monkeypatch.setattr(running, "train", train)
    plait.compare("memory", CELLS, seeds=2, out=tmp_path / "g", progress=progress, **options)
    assert progress.notices[0] == "2 of 4 runs are finished already"
    assert began == ["cell=gru,seed=1"]  # the third was resumed
    for run in (tmp_path / "whole").glob("cell=*"):
        other = tmp_path / "g" / run.name
        assert weights(run) == weights(other)
    again = Notices()
    plait.compare("memory", CELLS, seeds=2, out=tmp_path / "g", progress=again, **options)
    assert again.notices == ["4 of 4 runs are finished already"]


def test_a_grid_that_is_stopped_while_a_run_is_tested_makes_no_other(tmp_path, monkeypatch):
    original = MemoryTask.test

    def stopped(self):
        os.kill(os.getpid(), 15)
        return original(self)

    monkeypatch.setattr(MemoryTask, "test", stopped)
    with pytest.raises(Interrupted, match="every run saved; the same command continues"):
        plait.compare("memory", CELLS, seeds=1, out=tmp_path / "g", **TINY)
    (run,) = (tmp_path / "g").glob("cell=*")
    assert Run.open(run).records("test")


def test_a_run_cut_off_before_its_first_save_is_begun_again(tmp_path):
    plait.compare("memory", CELLS, seeds=1, out=tmp_path / "g", **TINY)
    run = tmp_path / "g" / "cell=gru,seed=0"
    expected = weights(run)
    for path in (*run.glob("checkpoint/*"), *run.glob("kept/*")):
        path.unlink()
    for name in ("model.safetensors", "curves.png", "metrics.jsonl"):
        (run / name).unlink()
    (run / "checkpoint").rmdir()
    (run / "kept").rmdir()
    grid = plait.compare("memory", CELLS, seeds=1, out=tmp_path / "g", **TINY)
    assert not grid.failures
    assert weights(run) == expected


def test_a_failed_run_is_reported_and_the_others_are_there(tmp_path, monkeypatch, capsys):
    original = MemoryTask.loss

    def fails(self, model, batch, carry):
        if (self.config.cell, self.config.seed) == ("gru", 0):
            raise RuntimeError("a cable\ncame off")
        return original(self, model, batch, carry)

    monkeypatch.setattr(MemoryTask, "loss", fails)
    arguments = ["compare", "memory", "--vary", "cell=rnn,gru", "--seeds", "2"]
    arguments += [w for k, v in TINY.items() for w in (f"--{k.replace('_', '-')}", str(v))]
    arguments += ["--out", str(tmp_path / "g")]
    assert run_command(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"plait: 1 of the runs in {tmp_path / 'g'} failed")
    assert printed.err.count("\n") == 1
    assert "failed: cell=gru,seed=0: RuntimeError: a cable came off" in printed.out
    table = rows(tmp_path / "g" / "results.csv")
    assert [r["run"] for r in table if r["failed"]] == ["cell=gru,seed=0"]
    assert len(table) == 4
    assert "came off" in (tmp_path / "g" / "cell=gru,seed=0" / "error.txt").read_text()
    monkeypatch.setattr(MemoryTask, "loss", original)
    assert run_command(arguments) == 0
    assert "2 of 2" not in capsys.readouterr().err
    assert not [r for r in rows(tmp_path / "g" / "results.csv") if r["failed"]]


def test_two_at_a_time_give_the_same_and_lose_nothing_to_one_that_fails(tmp_path):
    vary = {"lr": [0.01, 1e38]}
    options = {**TINY, "steps": 4}
    progress = Notices()
    grid = plait.compare(
        "memory", vary, seeds=1, out=tmp_path / "g", jobs=2, progress=progress, **options
    )
    (failure,) = grid.failures.values()
    assert "training diverged" in failure
    assert len(progress.notices) == 2
    alone = plait.train("memory", out=tmp_path / "alone", lr=0.01, **options)
    assert weights(alone.path) == weights(tmp_path / "g" / "lr=0.01,seed=0")


def test_a_process_that_ends_is_a_failure_of_its_run(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "_work", print)  # prints what it is to do, and ends
    grid = plait.compare("memory", CELLS, seeds=1, out=tmp_path / "g", jobs=2, **TINY)
    assert list(grid.failures.values()) == ["its process ended with exit code 0"] * 2
    assert "failed: cell=rnn,seed=0" in str(grid)
    assert (tmp_path / "g" / "results.csv").exists()


def test_published_steps_are_next_to_ours(tmp_path):
    options = {**TINY, "problem": "random-combinations", "length": 5}
    vary = {"bidirectional": [False, True]}
    grid = plait.compare("memory", vary, seeds=1, out=tmp_path / "g", **options)
    assert [list(steps.values()) for steps in grid.published] == [[25], [18]]
    lines = str(grid).split("published steps\n")[1].splitlines()
    assert [line.split() for line in lines[1:3]] == [["False", "–", "25"], ["True", "–", "18"]]
    source = "published: another solution, three perfect batches"
    assert [row[source] for row in rows(tmp_path / "g" / "summary.csv")] == ["25", "18"]


def test_other_tasks_compare_by_what_they_validate_by(tmp_path):
    text = tmp_path / "a.txt"
    text.write_text("to be or not to be, that is the question. " * 40)
    grid = plait.compare(
        "text", {"hidden_size": [4, 8]}, seeds=1, out=tmp_path / "g", data=str(text), layers=1,
        embedding_size=4, length=5, batch_size=4, steps=3, reach=9.0,
        threads=1,
    )  # fmt: skip
    assert (grid.measure.score, grid.measure.lower_is_better) == ("bits_per_character", True)
    assert [r["reached_step"] for r in grid.summary] == [1, 1]


def test_a_score_that_only_the_test_gives_can_be_compared(tmp_path):
    options = {**TINY, "eval_lengths": "3"}
    grid = plait.compare(
        "memory", CELLS, seeds=1, out=tmp_path / "g", score="accuracy_at_3", **options
    )
    assert [row["test_accuracy_at_3"] for row in grid.summary] == [
        result.row["test_accuracy_at_3"] for result in grid.results
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--vary", "lenght=4,5"], "no option named 'lenght' to vary"),
        (["--vary", "length=4,0"], "recall has lengths from 1 to 1,000,000, not 0"),
        (["--vary", "cell=rnn,lstn"], "no cell named 'lstn'"),
        (["--vary", "cell=rnn,gru", "--jobs", "0"], "--jobs must be at least 1, not 0"),
        (
            ["--vary", "cell=rnn,gru", "--jobs", "two"],
            "Invalid value for --jobs: two is not a whole",
        ),
        (["--vary", "cell=rnn,gru", "--seeds", "0"], "--seeds must be at least 1, not 0"),
        (["--vary", "cell=rnn,gru", "--seeds", "3,3"], "--seeds must be numbers, each once"),
        (["--vary", "length=4,"], "--vary length=4,: a value is missing at a comma"),
        (["--vary", "length=4,4"], "--vary length has 4 twice"),
        (["--vary", "cell=rnn,gru", "--cell", "rnn"], "cell is varied; leave --cell out"),
        (["--vary", "cell=rnn,gru", "--recipe", "rapport"], "no recipe 'rapport'; there are rep"),
        (["--vary", "cell=rnn,gru", "--eval-lengths", "0"], "recall has lengths from 1 to"),
        (["--vary", "hidden_size=4,1000000"], "--hidden-size 1000000 needs about 64,"),
        (["--vary", "cell=rnn,gru", "--seeds", "none"], "--seeds none: give how many"),
        (
            ["--vary", "cell=rnn,gru", "--score", "nonsense"],
            "--score nonsense: the runs have no such score; they have loss",
        ),
        ([], "nothing varies; give --vary FIELD=VALUE,VALUE"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(tmp_path, capsys, arguments, message):
    out = tmp_path / "g"
    command = ["compare", "memory", "--problem", "recall", *arguments, "--out", str(out)]
    assert run_command(command) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"plait: {message}")
    assert printed.count("\n") == 1
    assert not out.exists()


def test_the_same_folder_with_other_settings_is_refused(tmp_path, capsys):
    plait.compare("memory", CELLS, seeds=1, out=tmp_path / "g", **TINY)
    before = {p: p.read_bytes() for p in (tmp_path / "g").rglob("*") if p.is_file()}
    command = ["compare", "memory", "--vary", "cell=rnn,gru", "--out", str(tmp_path / "g")]
    for other, differs in (
        ([], "seeds is 0 there, 0,1,2 here"),
        (["--seeds", "1"], "steps is 3 there, "),
        (["--vary", "length=2,3"], "vary is cell=rnn,gru there, cell=rnn,gru length=2,3 here"),
    ):
        assert run_command([*command[:4], *other, *command[4:]]) == 2
        errors = capsys.readouterr().err
        assert f"holds another grid: {differs}" in errors
        assert errors.count("\n") == 1
    for place in ("g/cell=rnn,seed=0", "g/results.csv"):
        assert run_command([*command[:-1], str(tmp_path / place)]) == 2
        assert "exists already and is no grid; give another --out" in capsys.readouterr().err
    assert run_command(command[:-2]) == 2
    assert capsys.readouterr().err == "plait: give the grid's folder: --out GRID\n"
    assert {p: p.read_bytes() for p in (tmp_path / "g").rglob("*") if p.is_file()} == before
