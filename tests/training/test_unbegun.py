"""A run that was killed between its first file and its first checkpoint."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import plait
from plait.errors import InputError
from plait.tasks.memory.config import MemoryConfig
from plait.training.checkpoint import load_tensors
from plait.training.run import Run

OPTIONS = {"problem": "recall", "length": 3, "cell": "rnn", "hidden_size": 4, "batch_size": 4,
           "steps": 3, "threads": 1, "device": "cpu"}  # fmt: skip


def same(a: Run, b: Run) -> None:
    (weights, _), (others, _) = load_tensors(a.model_path), load_tensors(b.model_path)
    assert {k: v.tolist() for k, v in weights.items()} == {k: v.tolist() for k, v in others.items()}
    assert a.records("train") == b.records("train")


def killed_before(what: str, path: Path, from_run: str | None = None) -> None:
    """Train in a process that is killed where `what` begins."""
    code = (
        f"import os, signal, plait, plait.training.run as r\n"
        f"def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)\n"
        f"{what} = die\n"
        f"plait.train('memory', out={str(path)!r}, from_run={from_run!r}, **{OPTIONS!r})\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def test_it_is_killed_before_its_first_checkpoint_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "run"
    killed_before("r.Run.save_checkpoint", path)
    assert {p.name for p in path.iterdir()} >= {"config.json"}
    assert not list(path.glob("checkpoint/*"))
    message = rf"^{path} exists already; .* or resume it: plait resume {path}$"
    with pytest.raises(InputError, match=message):
        plait.train("memory", out=path, **OPTIONS)
    same(plait.resume(path), plait.train("memory", out=tmp_path / "whole", **OPTIONS))


def test_it_is_killed_before_its_first_file_and_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "run"
    killed_before("os.replace = os.rename = __import__('pathlib').Path.replace", path)
    assert [p.suffix for p in path.iterdir()] == [".part"]
    with pytest.raises(InputError, match=r"is not a run folder: it has no config\.json"):
        plait.resume(path)
    same(plait.train("memory", out=path, **OPTIONS),
         plait.train("memory", out=tmp_path / "whole", **OPTIONS))  # fmt: skip


def test_weights_to_begin_with_are_taken_again(tmp_path: Path) -> None:
    first = plait.train("memory", out=tmp_path / "first", **OPTIONS)
    whole = plait.train("memory", out=tmp_path / "whole", from_run=first, **OPTIONS)
    facts = {**whole.facts}
    Run.create(tmp_path / "run", "memory", MemoryConfig(**OPTIONS), facts)
    same(plait.resume(tmp_path / "run"), whole)


@pytest.mark.parametrize("left", ["model.safetensors", "metrics.jsonl"])
def test_what_was_learnt_is_not_learnt_over(tmp_path: Path, left: str) -> None:
    """Where the checkpoints alone are gone, nothing begins anew in silence."""
    run = plait.train("memory", out=tmp_path / "run", **OPTIONS)
    other = Run.create(tmp_path / "other", "memory", MemoryConfig(**OPTIONS), run.facts)
    content = (run.path / left).read_bytes()
    (other.path / left).write_bytes(content.replace(b'"test"', b'"valid"'))
    with pytest.raises(InputError, match=r"has no checkpoint to go on from; train anew$"):
        plait.resume(other)
    assert (other.path / left).exists()
