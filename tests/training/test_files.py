"""The old file or the new one, whole, whatever happens."""

import errno
import os
from pathlib import Path

import pytest

from plait.errors import InputError
from plait.training.files import write_aside, write_json


def test_the_content_is_on_the_disk_before_the_rename_and_the_rename_after(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    events = []
    fsync, replace = os.fsync, Path.replace

    def noting_fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        events.append("folder" if status.st_ino == tmp_path.stat().st_ino else status.st_size)
        fsync(descriptor)

    def noting_replace(self: Path, target: Path) -> Path:
        events.append("rename")
        assert self.parent == target.parent  # a rename across file systems is a copy
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(Path, "replace", noting_replace)
    write_aside(path, b"12345")
    assert events == [5, "rename", "folder"]
    assert path.read_bytes() == b"12345"


@pytest.mark.parametrize("where", ["fsync", "replace"])
@pytest.mark.parametrize("old", [b"old", None], ids=["a file before", "none before"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path, monkeypatch, where, old, error
):
    path = tmp_path / "a.bin"
    if old is not None:
        path.write_bytes(old)

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(os if where == "fsync" else Path, where, fail)
    with pytest.raises(type(error)):
        write_aside(path, b"new content")
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ([] if old is None else ["a.bin"])
    if old is not None:
        assert path.read_bytes() == old


def test_json_is_readable_and_ends_in_a_newline(tmp_path):
    write_json(tmp_path / "a.json", {"é": [1, 2.5, None], "b": True})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == '{\n  "é": [\n    1,\n    2.5,\n    null\n  ],\n  "b": true\n}\n'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_has_no_numbers_that_other_readers_refuse(tmp_path, value):
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"new": value})
    assert (tmp_path / "a.json").read_text() == '{\n  "old": 1\n}\n'


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_not_written_over(tmp_path, kind):
    path = tmp_path / kind
    if kind == "folder":
        path.mkdir()
    if kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(InputError, match=f"^{path} is no regular file, so it cannot be"):
        write_aside(path, b"content")
    assert not path.is_file()
