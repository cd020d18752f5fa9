"""Training in several processes that torchrun starts: the commands, signals, and kills."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import plait
from plait.training.checkpoint import load_tensors
from plait.training.run import Run

SMALL = {"hidden_size": 6, "batch_size": 3, "steps": 4, "validate_every": 2, "threads": 1}
CASES = {
    "text": {**SMALL, "data": "book.txt", "length": 7, "layers": 1},
    "nodes": {**SMALL, "data": "karate"},
    "visits": {**SMALL, "patients": 30, "dropout": 0.0},
    "forecast": {**SMALL, "history": 4, "horizon": 3},
}
SAMPLED = {**CASES["nodes"], "split": "most", "sample": "3,2", "dropout": 0.0}
LIMIT = 15
"""Seconds in which a group ends when one of its processes does."""


def command(*words: str) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    return [*launcher, "-m", "plait", *words]


def flags(options: dict) -> list[str]:
    return [w for k, v in options.items() for w in (f"--{k.replace('_', '-')}", str(v))]


def launched(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), capture_output=True, text=True, timeout=120)


def said(errors: str) -> list[str]:
    """What Plait writes to the standard error, without the report of torchrun."""
    return [line for line in errors.splitlines() if line.startswith("plait: ")]


@pytest.fixture(autouse=True)
def book(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("book.txt").write_text("It was the best of times, it was the worst of times. " * 20)


def compared(task: str, options: dict) -> None:
    """Train in two processes, and in one with the batch of both; scores and weights agree."""
    done = launched("train", task, *flags(options), "--out", "two")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("saved in two\n") == 1
    assert done.stdout.count(f"plait {task}\n") == 1
    size = options["batch_size"]
    one = plait.train(task, out="one", **{**options, "batch_size": 2 * size})
    two = Run.open(Path("two"))
    assert (two.facts["processes"], two.config["batch_size"]) == (2, size)
    for kind in ("valid", "test"):
        for ours, theirs in zip(one.records(kind), two.records(kind), strict=True):
            numbers = {k: v for k, v in ours.items() if isinstance(v, float) and k != "seconds"}
            assert {k: theirs[k] for k in numbers} == pytest.approx(numbers, rel=1e-5)
    for ours, theirs in zip(one.records("train"), two.records("train"), strict=True):
        assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-5)
        assert theirs["gradient_norm"] == pytest.approx(ours["gradient_norm"], rel=1e-5)
    for name, weight in load_tensors(one.model_path)[0].items():
        torch.testing.assert_close(load_tensors(two.model_path)[0][name], weight, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["text", "nodes", "nodes, samples", "visits", "forecast"])
def test_two_processes_train_as_one_with_the_batch_of_both(case) -> None:
    compared(case.split(",")[0], SAMPLED if "samples" in case else CASES[case])


def children(process: int) -> list[int]:
    """The processes that one has started."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parent = (folder / "stat").read_text().rsplit(")", 1)[1].split()[1]
            if int(parent) == process:
                found.append(int(folder.name))
    return sorted(found)


def last_step() -> int:
    with contextlib.suppress(ValueError):
        return Run.open(Path("run")).load_checkpoint()[1]["step"]
    return -1


def stop_on_the_way(words: list[str], stop: str) -> list[str]:
    """Start a group, stop it after some steps by a signal to one process; return what it says."""
    before = last_step()
    errors = Path("errors.txt")
    with errors.open("w") as file, subprocess.Popen(
        command(*words), stdout=subprocess.DEVNULL, stderr=file
    ) as group:  # fmt: skip
        try:
            while last_step() < before + 3:
                time.sleep(0.05)
                assert group.poll() is None, errors.read_text()
            ranks = children(group.pid)
            target = {"first": ranks[0], "second": ranks[1]}.get(stop.split()[0], group.pid)
            os.kill(target, getattr(signal, stop.split()[-1]))
            group.wait(LIMIT)
            time.sleep(0.2)
            assert not any(Path(f"/proc/{rank}").exists() for rank in ranks)
        finally:
            group.kill()
    assert last_step() >= before + 3
    return said(errors.read_text())


@pytest.mark.slow
def test_a_group_that_is_stopped_or_loses_a_process_ends_in_seconds_and_goes_on() -> None:
    options = {**CASES["text"], "steps": 800, "validate_every": 50, "save_every": 0.05}
    train = ["train", "text", *flags(options), "--out", "run"]
    lost = (
        "plait: another process of this training has ended; start all of them again with plait "
        "resume, which goes on from the last checkpoint"
    )
    assert stop_on_the_way(train, "first SIGKILL") == [lost]
    resume = ["resume", "run"]
    assert stop_on_the_way(resume, "second SIGKILL") == [lost]
    for stop in ("group SIGINT", "group SIGTERM", "second SIGTERM"):
        [line] = stop_on_the_way(resume, stop)
        assert re.fullmatch(
            r"plait: stopped at step \d+, saved in run; to go on: plait resume run "
            r"\(again in 2 processes\)",
            line,
        )
    alone = subprocess.run(
        [sys.executable, "-m", "plait", *resume], capture_output=True, text=True, timeout=60
    )
    assert alone.returncode == 2
    assert "goes on with as many, not with 1" in said(alone.stderr)[0]
    assert launched(*resume).returncode == 0
    assert launched("train", "text", *flags(options), "--out", "whole").returncode == 0
    stopped, whole = (Run.open(Path(name)) for name in ("run", "whole"))
    for name, weight in load_tensors(whole.model_path)[0].items():
        assert torch.equal(load_tensors(stopped.model_path)[0][name], weight)
    records = [
        [{k: v for k, v in r.items() if k != "seconds"} for r in run.records()]
        for run in (stopped, whole)
    ]
    assert records[0] == records[1]


@pytest.mark.slow
def test_mistakes_are_one_line_and_nothing_is_written() -> None:
    options = flags(CASES["text"])
    nowhere = flags({**CASES["text"], "data": "nowhere.txt"})
    done = launched("train", "text", *nowhere, "--out", "run")
    assert len(said(done.stderr)) == 1
    assert "nowhere.txt" in said(done.stderr)[0]
    Path("start.py").write_text(
        "import os, sys\nfrom plait.cli import main\n"
        "main([w.replace('RANK', os.environ['RANK']) for w in sys.argv[1:]])\n"
    )
    launcher = command()[:-2]
    words = ["start.py", "train", "text", *options, "--out", "run", "--seed", "1RANK"]
    done = subprocess.run([*launcher, *words], capture_output=True, text=True, timeout=60)
    assert said(done.stderr) == [
        "plait: process 1 of 2 has other options than process 0 (--seed); give all processes the "
        "same"
    ]
    text = Path("book.txt").read_text()
    Path("book0.txt").write_text(text)
    words = ["start.py", "train", "text", *flags({**CASES["text"], "data": "bookRANK.txt"})]
    for other, message in (
        (
            None,
            r"process 1 of 2, on \S+ \(process id \d+\): no text 'book1\.txt': there is .+",
        ),
        (
            text[:-1] + "?",
            r"process 1 of 2 has other data than process 0 \(.*sha256\); give .+",
        ),
    ):
        if other is not None:
            Path("book1.txt").write_text(other)
        done = subprocess.run(
            [*launcher, *words, "--out", "run"], capture_output=True, text=True, timeout=60
        )
        [line] = said(done.stderr)
        assert re.fullmatch(f"plait: {message}", line), line
    done = launched("score", "run")
    assert said(done.stderr) == [
        "plait: torchrun is for plait train and plait resume; start other commands without it"
    ]
    assert not Path("run").exists()


@pytest.mark.slow
def test_a_script_trains_on_data_in_memory() -> None:
    Path("script.py").write_text(
        "from pathlib import Path\nimport plait\n"
        "text = Path('book.txt').read_text() + chr(10)\n"
        f"run = plait.train('text', out='run', **{ ({**CASES['text'], 'data': None})!r} "
        "| {'data': text})\n"
        "print(len(run.records('test')), 'tests in', run.path)\n"
    )
    done = subprocess.run([*command()[:5], "script.py"], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["0 tests in run", "1 tests in run"]
    assert [p.name for p in Path("run/given").iterdir()] == ["data.txt"]
    assert launched("resume", "run").returncode == 0


@pytest.mark.slow
def test_one_process_of_torchrun_is_as_without_it() -> None:
    words = ["train", "text", *flags(CASES["text"])]
    one = [w if w != "2" else "1" for w in command()[:5]]
    subprocess.run([*one, "-m", "plait", *words, "--out", "torchrun"], check=True, timeout=60)
    subprocess.run([sys.executable, "-m", "plait", *words, "--out", "plain"], check=True)
    ours, theirs = (Run.open(Path(name)) for name in ("torchrun", "plain"))
    assert ours.facts == theirs.facts
    for name, weight in load_tensors(theirs.model_path)[0].items():
        assert torch.equal(load_tensors(ours.model_path)[0][name], weight)
