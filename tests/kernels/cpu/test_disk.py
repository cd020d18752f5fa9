"""What was compiled is kept on the disk, and is given for what it was made from alone."""

import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
from numba.core.ccallback import CFunc

from plait import GRU, Recurrent
from plait.kernels.cpu import disk as module
from plait.kernels.cpu import jit
from plait.kernels.cpu.disk import _Files


@pytest.fixture
def files(tmp_path):
    return lambda: _Files(tmp_path, "f-1.py3", pickle.dumps)


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
import numpy as np
from pathlib import Path
from numba.core.serialize import dumps
from plait.kernels.cpu.disk import _Files
from plait.kernels.cpu.jit import compiled

def add_one(x):
    return x + 1

kernel = compiled(add_one)
kernel._cache._cache_file = _Files(Path(sys.argv[1]), "f-1.py3", dumps)
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
    monkeypatch.setattr(jit, "_modules", {})
    first = jit.module_of(PHASES)
    monkeypatch.setattr(jit, "_modules", {})
    monkeypatch.delitem(sys.modules, first.__name__)  # as a new process has none of it

    def compile_(cfunc):
        raise AssertionError("compiled again")

    monkeypatch.setattr(CFunc, "_compile_uncached", compile_)
    assert jit.module_of(PHASES).entry


@pytest.fixture
def moved(monkeypatch):
    """A numba whose cache has another name."""
    monkeypatch.delattr("numba.core.caching.FunctionCache")
    module._internals.cache_clear()
    yield
    module._internals.cache_clear()


def test_where_numba_has_no_such_cache_explain_says_so(moved):
    (line,) = (line for line in Recurrent(GRU(), 3, 4).explain().splitlines() if "layer 0" in line)
    assert "plait-cpu - compiled loops" in line
    assert "compiled anew in every process: numba" in line
    assert line.endswith("cannot import name 'FunctionCache' from 'numba.core.caching'")


def test_where_numba_has_no_such_cache_compiled_code_computes_the_same(
    moved, tmp_path, monkeypatch
):
    kernel = jit.compiled(lambda x: x * x + 1)
    assert kernel(3.0) == 10.0
    monkeypatch.setenv("PLAIT_KERNELS", str(tmp_path))
    made = jit.module_of(SQUARE)
    numbers = np.array([3, 4])
    jit.native(made.entry)(numbers.ctypes.data)
    assert numbers.tolist() == [9, 4]
    assert not [*tmp_path.rglob("*.nbc")]


SQUARE = """
from plait.kernels.cpu.jit import address_compiled
from plait.kernels.cpu.simd import load_i64, store_i64

def square(address):
    store_i64(address, 0, load_i64(address, 0) ** 2)

entry = address_compiled(square, 1)
"""

WITHOUT = """
import sys
from importlib import import_module
import numba.core.ccallback  # which takes the names for itself
import torch
delattr(import_module(sys.argv[1]), sys.argv[2])
torch.set_num_threads(1)
from plait import GRU, Attention, Graph, LSTM, Recurrent
from plait.kernels.cpu.kernel import CompiledLoops
from plait.kernels.cpu.phases import CompiledPhases
from plait.testing import check_kernel
net = Graph.from_edges([(0, 1), (1, 2), (2, 3)]).to_undirected()
assert check_kernel(CompiledLoops(), GRU("before"), hidden_size=5)
assert check_kernel(CompiledPhases(), LSTM(), operator=Attention(1), graph=net, hidden_size=5)
assert "compiled anew in every process" in Recurrent(GRU(), 3, 4).explain()
print("right")
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["numba.core.caching FunctionCache", "numba.core.serialize dumps"])
def test_kernels_equal_the_reference_without_what_numba_may_lack(name):
    command = [sys.executable, "-c", WITHOUT, *name.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("right", 0), done.stderr
