"""Every command as one call; and a run that nothing can destroy."""

import json
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import DEVNULL, PIPE

import pytest
import torch

import plait
from plait.api import load_kept
from plait.errors import InputError
from plait.tasks.text import task
from plait.tasks.text.config import TextConfig
from plait.tasks.text.task import SAMPLE_LENGTH
from plait.training.checkpoint import load_tensors
from plait.training.progress import Progress
from plait.training.run import Run

SMALL = {
    "hidden_size": 8, "embedding_size": 8, "layers": 1, "length": 10, "batch_size": 4,
    "threads": 1, "device": "cpu",
}  # fmt: skip
PROSE = "Call me Ishmael. Some years ago, never mind how long precisely. " * 40


@pytest.fixture(autouse=True)
def in_a_folder_with_a_text(tmp_path, monkeypatch):
    (tmp_path / "prose.txt").write_text(PROSE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(task, "SAMPLE_LENGTH", 30)


def train(out: str | None = "run", **options) -> Run:
    return plait.train("text", out=out, **{"data": "prose.txt", "steps": 6, **SMALL, **options})


def content(folder: str) -> dict[str, bytes]:
    files = (p for p in Path(folder).rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def same(path: str, other: str) -> None:
    ours, theirs = Run.open(Path(path)), Run.open(Path(other))
    for a, b in (
        (load_tensors(ours.model_path)[0], load_tensors(theirs.model_path)[0]),
        (ours.load_checkpoint()[0], theirs.load_checkpoint()[0]),
    ):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a)
    without = [[{k: v for k, v in r.items() if k != "seconds"} for r in run.records()]
               for run in (ours, theirs)]  # fmt: skip
    assert without[0] == without[1]


def test_what_a_run_leaves():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    run = train(lr=0.01)
    assert torch.equal(torch.rand(2), expected)  # nobody's random numbers are used up
    assert set(content("run")) == {
        ".lock", "config.json", "model.safetensors", "metrics.jsonl", "samples.txt", "curves.png",
        "checkpoint/step-00000000.safetensors", "checkpoint/step-00000006.safetensors",
        *(f"kept/step-{step:08d}.safetensors" for step in range(1, 7)),  # a text: every sixth
    }  # fmt: skip
    config = json.loads(Path("run/config.json").read_text())
    assert config["task"] == "text"
    assert TextConfig.from_dict(config["config"]) == TextConfig(
        data=str(Path("prose.txt").absolute()), steps=6, lr=0.01, **SMALL
    )
    assert config["facts"]["vocabulary"] == "".join(sorted(set(PROSE)))
    assert config["facts"]["characters"] == len(PROSE)
    assert Path("run/curves.png").read_bytes().startswith(b"\x89PNG")
    samples = Path("run/samples.txt").read_text()
    assert re.findall(r"^--- step (\d+)$", samples, re.M) == ["2", "4", "6"]
    assert len(run.records("train")) == 6
    (scores,) = run.records("test")
    best = min(run.records("valid"), key=lambda r: r["bits_per_character"])
    assert scores["best_step"] == best["step"]
    model = plait.load(run)
    assert not model.training
    weights = load_kept(run)[scores["best_step"]].state_dict()
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())
    assert plait.load("run").generate("me", 40) == model.generate("me", 40)


def test_nothing_is_pickled(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a pickle")

    train("first")  # torch imports parts of itself late, and they derive from pickle's classes
    for module in (torch, pickle):
        for name in ("load", "save", "loads", "dump", "dumps", "Unpickler", "Pickler"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, refuse)
    with pytest.raises(KeyboardInterrupt):
        train(progress=Stop(3), save_every=0)
    plait.resume("run")
    plait.load("run").generate("me", 5)
    for name, data in content("run").items():
        assert data[:1] not in (b"\x80", b"P"), name  # of a pickle, of a zip archive
    source = Path(plait.__file__).parent
    pattern = r"\bimport (pickle|joblib|shelve|marshal)|torch\.(load|save)\("
    found = {f.name for f in source.rglob("*.py") if re.search(pattern, f.read_text())}
    # others' files, by an unpickler that looks up no name; and compiled code, as numba keeps it
    assert found == {"planetoid.py", "disk.py"}


def test_a_folder_of_its_own_by_default():
    assert [train(out=None).path for _ in range(3)] == [
        Path("runs/text-prose"), Path("runs/text-prose-2"), Path("runs/text-prose-3"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "absent.txt"}, "no text 'absent.txt'"),
        ({"cell": "lstn"}, "no cell named 'lstn'; there are rnn, rnn-relu, lstm, lstm-peephole, "),
        ({"hiden_size": 3}, "no option named 'hiden_size'; there are "),
        ({"steps": 0}, "--steps must be at least 1, not 0"),
        ({"length": 5000}, "the training set has 2304 characters, too few for 4 streams of 5000"),
        ({"out": "prose.txt"}, "prose.txt exists already and is no run folder; give another --out"),
        ({"lr": float("inf")}, "--lr must be a finite number, not inf"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(options, message):
    before = content(".")
    with pytest.raises(InputError, match=f"^{message}"):
        train(**{"out": None, **options})
    assert content(".") == before
    assert os.listdir() == ["prose.txt"]  # noqa: PTH208 - no empty folder either


def test_an_unknown_task_is_named():
    with pytest.raises(InputError, match=r"^no task named 'txt'; there are text"):
        plait.train("txt")


class Stop(Progress):
    """Interrupt a run before the log has the step."""

    def __init__(self, step: int) -> None:
        self.at = step

    def step(self, step: int, record) -> None:
        super().step(step, record)
        if step == self.at:
            raise KeyboardInterrupt


def test_resuming_a_finished_run_changes_nothing():
    train()
    before = content("run")
    plait.resume("run")
    assert content("run") == before
    Path("run/curves.png").unlink()  # as when it was stopped between the test and the picture
    plait.resume("run")
    assert content("run") == before


@pytest.mark.parametrize("step", [1, 4])
def test_a_run_goes_on_with_the_text_that_it_began_with_or_not_at_all(step):
    train("whole", save_every=0)
    with pytest.raises(KeyboardInterrupt):
        train(save_every=0, progress=Stop(step))
    before = content("run")
    for other, named in (
        (PROSE.replace("Ishmael", "Ishmeal", 1), "sha256"),
        (PROSE + "?", "vocabulary, characters, sha256"),
    ):
        Path("prose.txt").write_text(other)
        with pytest.raises(InputError, match=rf"prose.txt is no longer .* \({named} differ\)"):
            plait.resume("run")
        assert content("run") == before
    Path("prose.txt").unlink()
    with pytest.raises(InputError, match=r"^no text '/.*/prose\.txt'"):
        plait.resume("run")
    Path("prose.txt").write_text(PROSE)
    plait.resume("run")
    same("run", "whole")


def test_a_run_finds_its_text_from_any_folder(tmp_path, monkeypatch):
    train("whole", save_every=0)
    with pytest.raises(KeyboardInterrupt):
        train(save_every=0, progress=Stop(4))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "prose.txt").write_text("another text of that name")
    plait.resume("../run")
    same("../run", "../whole")
    scores = plait.score("../run")
    assert scores["bits_per_character"] == plait.score("../whole")["bits_per_character"]
    further = plait.train("text", data="../prose.txt", out="further", from_run="../run", steps=3,
                          save_every=0, length=10, batch_size=4, threads=1)  # fmt: skip
    assert further.facts["began_with"] == str(tmp_path / "elsewhere" / ".." / "run")
    monkeypatch.chdir(tmp_path)
    assert plait.score("elsewhere/further")["characters"] == scores["characters"]


def test_a_named_text_keeps_its_name():
    run = plait.train("text", data="python-docs", out="run", **{**SMALL, "steps": 1})
    assert run.config["data"] == "python-docs"


def test_a_damaged_model_is_named():
    run = train()
    good = run.model_path.read_bytes()
    for bad, message in (
        (good[:-1] + b"?", "damaged"),
        (good[:100], "damaged"),
        (pickle.dumps({"w": 1}), "damaged"),
        (b"", "damaged"),
        (None, "is not there, as the run has not reached its first validation"),
    ):
        run.model_path.unlink() if bad is None else run.model_path.write_bytes(bad)
        with pytest.raises(InputError, match=rf"^run/model\.safetensors(: | ){message}"):
            plait.load("run")
    run.model_path.write_bytes(good)
    config = json.loads(Path("run/config.json").read_text())
    config["config"]["hidden_size"] = 9
    Path("run/config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"^run/model\.safetensors: does not fit .* config\.json"):
        plait.load("run")


def test_the_weights_of_another_run_are_where_to_begin():
    first = train("first", lr=0.01)
    Path("new.txt").write_text("Zany new text. " * 200)
    run = plait.train("text", data="new.txt", out="run", from_run=first, steps=4, lr=0,
                      **{k: v for k, v in SMALL.items() if "size" not in k and k != "layers"},
                      batch_size=4)  # fmt: skip
    model, earlier = plait.load(run), plait.load(first)
    assert set(model.vocabulary.characters) == set(PROSE + "Zany new text. ")
    rows = torch.from_numpy(model.vocabulary.encode(earlier.vocabulary.characters))
    ours, theirs = model.state_dict(), earlier.state_dict()
    for name, value in theirs.items():
        mine = ours[name] if name.startswith("recurrent.") else ours[name][rows]
        assert torch.equal(mine, value)
    with pytest.raises(KeyboardInterrupt):
        plait.train("text", data="new.txt", out="cut", from_run=first, steps=4, lr=0.01,
                    length=10, batch_size=4, threads=1, progress=Stop(1))  # fmt: skip
    plait.train("text", data="new.txt", out="all", from_run=first, steps=4, lr=0.01, length=10,
                batch_size=4, threads=1)  # fmt: skip
    plait.resume("cut")
    same("cut", "all")
    with pytest.raises(InputError, match=r"^--hidden-size 9 does not fit first, which has 8"):
        plait.train("text", data="new.txt", from_run=first, hidden_size=9)


LONG = {
    **SMALL, "steps": 90, "save_every": 0, "dropout": 0.1, "recurrent_dropout": 0.1,
    "average": 0.9, "validate_every": 7, "lr": 0.01,
}  # fmt: skip


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_a_run_survives_kill_9_at_any_moment(monkeypatch, kills):
    """The moments are drawn: as a checkpoint appears, and up to 15 ms later.

    Where the machine is so busy that it sees them late, they lie later, even after the test.
    """
    monkeypatch.setattr(task, "SAMPLE_LENGTH", SAMPLE_LENGTH)  # as in the other processes
    train("whole", **{**LONG, "save_every": 1000})
    random.seed(kills)
    options = [f"--{k.replace('_', '-')}={v}" for k, v in LONG.items()]
    command = ["train", "text", "--data", "prose.txt", "--out", "run", *options]
    for step in sorted(random.sample(range(70), kills)):
        whole = [sys.executable, "-m", "plait", *command]
        with subprocess.Popen(whole, stdout=DEVNULL, stderr=PIPE) as process:
            while process.poll() is None and newest() < step:
                time.sleep(0.001)
            time.sleep(random.uniform(0, 0.015))
            process.kill()
            _, errors = process.communicate()
        assert errors == b""
        if process.returncode == 0:  # it was faster than a busy machine could stop it
            break
        assert process.returncode == -signal.SIGKILL
        command = ["resume", "run"]
    plait.resume("run")
    same("run", "whole")


def newest() -> int:
    return max((int(p.stem[5:]) for p in Path("run/checkpoint").glob("step-*")), default=-1)


def test_threads_bound_torch_and_numpys_linear_algebra():
    script = (
        "import torch, plait.api; from threadpoolctl import threadpool_info;"
        "plait.api.set_threads(1); print(torch.get_num_threads(),"
        "*[pool['num_threads'] for pool in threadpool_info() if pool['user_api'] == 'blas'])"
    )
    said = subprocess.run([sys.executable, "-c", script], stdout=PIPE, text=True, check=True).stdout
    assert set(said.split()) == {"1"}


def test_torch_waits_until_it_is_needed():
    code = (
        "import sys, plait; assert 'torch' not in sys.modules; names = dir(plait);"
        "assert set(plait.__all__) <= set(names); plait.InputError; assert 'torch' not in "
        "sys.modules; print(plait.LSTM())"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (shown.stdout, shown.stderr) == ("LSTM(peephole=False)\n", "")


def test_every_name_is_there():
    for name in plait.__all__:
        assert getattr(plait, name) is not None
    with pytest.raises(AttributeError, match="module 'plait' has no attribute 'LSTN'"):
        _ = plait.LSTN
