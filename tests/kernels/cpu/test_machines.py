"""Other machines: vectors of 4, 8 and 16 numbers, and no folder where code can be kept."""

import os
import subprocess
import sys

import llvmlite.binding as llvm
import pytest

LANES = """
import sys
import llvmlite.binding as llvm
import torch
torch.set_num_threads(1)
features = llvm.get_host_cpu_features()
for name in {4: ("avx512f", "avx2"), 8: ("avx512f",), 16: ()}[int(sys.argv[1])]:
    features[name] = False
llvm.get_host_cpu_features = lambda: features
from plait import GRU, Chebyshev, Graph, LayerNormLSTM
from plait.kernels.cpu.kernel import CompiledLoops
from plait.kernels.cpu.simd import LANES
from plait.testing import check_kernel
assert LANES == int(sys.argv[1])
net = Graph.from_edges([(0, 1), (1, 2), (2, 3)]).to_undirected()
assert check_kernel(CompiledLoops(), GRU("before"), hidden_size=21)
assert check_kernel(CompiledLoops(), LayerNormLSTM(), hidden_size=21)
assert check_kernel(CompiledLoops(), GRU("before"), operator=Chebyshev(3), graph=net)
print("right")
"""
HOST = llvm.get_host_cpu_features()
WIDEST = 16 if HOST.get("avx512f") else 8 if HOST.get("avx2") else 4


@pytest.mark.parametrize(
    "lanes",
    [pytest.param(n, marks=[pytest.mark.slow] if n > 4 else []) for n in (4, 8, 16)],
)
def test_vectors_of_every_width(lanes):
    """The widest that this processor has are those of all other tests."""
    if lanes > WIDEST:
        pytest.skip(f"this processor's vectors are of {WIDEST} numbers")
    done = subprocess.run(
        [sys.executable, "-c", LANES, str(lanes)], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.returncode) == ("right", 0), done.stderr


UNWRITABLE = """
import torch
torch.set_num_threads(1)
from plait import Cell, Recurrent
class Mine(Cell):
    gates = "h"
    def step(self, x, recurrent, state, vectors):
        return (torch.tanh(x + 0.8125 * recurrent(state[0])),)
layer = Recurrent(Mine(), 3, 4)
layer(torch.randn(5, 2, 3))[0].sum().backward()
assert layer.kernel().startswith("plait-cpu - "), layer.kernel()
print("right")
"""


@pytest.mark.slow
def test_source_is_compiled_in_memory_where_no_folder_can_be_written_to(tmp_path):
    (tmp_path / "a file").write_text("in the way")
    done = subprocess.run(
        [sys.executable, "-c", UNWRITABLE], capture_output=True, text=True, check=False,
        env={**os.environ, "PLAIT_KERNELS": str(tmp_path / "a file" / "kernels")},
    )  # fmt: skip
    assert (done.stdout.strip(), done.returncode) == ("right", 0), done.stderr


def test_source_is_kept_where_it_is_asked_for_and_found_again(tmp_path):
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", UNWRITABLE], capture_output=True, text=True, check=False,
            env={**os.environ, "PLAIT_KERNELS": str(tmp_path)},
        )  # fmt: skip
        assert (done.stdout.strip(), done.returncode) == ("right", 0), done.stderr
        sources = sorted(tmp_path.glob("*.py"))
        assert len(sources) == 2  # forward and backward
        assert "0.8125" in "".join(path.read_text() for path in sources)
        kept = sorted(path.name for path in (tmp_path / "__pycache__").glob("*.nbc"))
        assert len(kept) == 2
