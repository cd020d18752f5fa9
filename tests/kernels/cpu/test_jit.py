"""What was compiled is kept on the disk, and is given for what it was made from alone."""

import shutil
import subprocess
import sys
import threading

import pytest
import torch

from plait.kernels.cpu import jit as module
from plait.kernels.cpu.jit import _Files, parallel_for


@pytest.fixture
def files(tmp_path):
    return lambda: _Files(str(tmp_path), "f-1.py3", "")


def test_two_processes_that_compile_at_once_do_not_mix_signatures(files):
    one, other = files(), files()
    assert one.load("int") is other.load("float") is None
    one.save("int", "code for int")
    other.save("float", "code for float")
    for third in (one, other, files()):
        assert third.load("int") == "code for int"
        assert third.load("float") == "code for float"


def test_code_of_other_sources_is_neither_given_nor_kept(files, tmp_path, monkeypatch):
    files().save("int", "old")
    (tmp_path / "f-10.py3.other.nbc").write_bytes(b"of another function")
    monkeypatch.setattr(module, "_SOURCES", "0123456789abcdef" * 4)
    assert files().load("int") is None
    files().save("int", "new")
    assert files().load("int") == "new"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("cut", [0, 1, 20])
def test_a_damaged_file_is_none(files, tmp_path, cut):
    files().save("int", "code" * 9)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:cut])
    assert files().load("int") is None


def test_without_room_on_the_disk_nothing_is_kept_and_nothing_breaks(files, tmp_path):
    shutil.rmtree(tmp_path)
    files().save("int", "code")
    assert files().load("int") is None


SCRIPT = """
import sys
import threading
import numpy as np
from plait.kernels.cpu.jit import _Files, compiled

def add_one(x):
    return x + 1

kernel = compiled(add_one)
kernel._cache._cache_file = _Files(sys.argv[1], "f-1.py3", "")
numbers = [1, 2.5, np.float32(0.5)][:: int(sys.argv[2])]
print(*map(kernel, numbers), sum(kernel.stats.cache_hits.values()))
"""


def test_a_later_process_finds_what_two_at_once_have_compiled(tmp_path):
    script, folder = tmp_path / "add.py", tmp_path / "kept"
    script.write_text(SCRIPT)
    folder.mkdir()

    def start(order):
        command = [sys.executable, script, folder, order]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    first, second = start("1"), start("-1")
    assert first.communicate()[0].split()[:3] == ["2", "3.5", "1.5"]
    assert second.communicate()[0].split()[:3] == ["1.5", "3.5", "2"]
    assert start("1").communicate()[0].split() == ["2", "3.5", "1.5", "3"]


PHASES = """
from numba import njit
from plait.kernels.cpu.jit import phases

@njit
def inner(which, at):
    return which + at

@phases
def entry(which, live, at, count):
    inner(which, at)
"""


def test_a_later_process_does_not_compile_source_that_was_compiled(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAIT_KERNELS", str(tmp_path))
    monkeypatch.setattr(module, "_modules", {})
    first = module.module_of(PHASES)
    monkeypatch.setattr(module, "_modules", {})
    monkeypatch.delitem(sys.modules, first.__name__)  # as a new process has none of it

    def compile_(cfunc):
        raise AssertionError("compiled again")

    monkeypatch.setattr(module.CFunc, "_compile_uncached", compile_)
    assert module.module_of(PHASES).entry


@pytest.fixture(params=["torch's threads", "a pool"])
def two_threads(request, monkeypatch):
    if request.param == "a pool":
        monkeypatch.setattr(module, "_openmp", None)
    elif module._openmp is None:
        pytest.skip("this torch brings no OpenMP of GNU's")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_every_block_is_called_once_and_by_two_threads(two_threads):
    called, meet = [], threading.Barrier(2)

    def call(block):
        if block < 2:
            meet.wait(60)  # the first two blocks wait for each other
        called.append((block, threading.get_ident()))

    parallel_for(call, range(7))
    assert sorted(block for block, _ in called) == list(range(7))
    assert len({thread for _, thread in called}) == 2


@pytest.mark.parametrize("error", [ValueError, IndexError, KeyboardInterrupt])
def test_what_a_block_raises_reaches_who_called(two_threads, error):
    def call(block):
        if block == 3:
            raise error("of block 3")

    with pytest.raises(error, match="of block 3"):
        parallel_for(call, range(6))
    parallel_for(lambda block: None, range(6))  # and the threads are as good as before
