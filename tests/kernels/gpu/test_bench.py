"""`make bench-gpu` makes every row of its tables, tried in small and without a GPU or its times."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from plait.kernels.gpu import sparse

PATH = Path(__file__).parents[3] / "benchmarks" / "bench_gpu.py"


@pytest.fixture
def bench(monkeypatch):
    """Load the script, for a CPU: each call is made once, and takes a millisecond."""
    spec = importlib.util.spec_from_file_location("bench_gpu", PATH)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)

    def once(call, times=15, warm=4):
        call()
        return 1.0

    monkeypatch.setattr(found, "DEVICE", "cpu")
    monkeypatch.setattr(found, "milliseconds", once)
    monkeypatch.setattr(found, "captured", lambda call: call)
    monkeypatch.setattr(found, "memory", lambda call: found.timed(call))
    # what fails on a card is said in the table; here it is an error
    monkeypatch.setattr(found, "tried", lambda measure: measure())
    return found


def checked(rows, columns):
    rows = [json.loads(json.dumps(row)) for row in rows]
    assert all(isinstance(value, str) for row in rows for value in row.values())
    assert columns <= {name for row in rows for name in row}
    return rows


@pytest.mark.slow
def test_every_row_is_made(bench, monkeypatch):
    small = [(kind, (2, 2, min(n[2], 128), n[3]), names) for kind, n, names in bench.DENSE]
    rows = checked(bench.sequences(small), {"ordinary", "torch.nn captured", "loop captured"})
    assert len(rows) == sum(len(names) for _, _, names in bench.DENSE)
    graphs = bench.sequences_over_graphs(2, 8, ((6, 2, ("float32", "TF32")), (9, 1, ("float32",))))
    assert len(checked(graphs, {"captured", "loop", "PyG"})) == 2 * len(bench.WORKS) + 4
    monkeypatch.setattr(bench, "installed", lambda name: False)
    rows = checked(bench.convolutions(((40, 9, 3),)), {"ordinary", "PyG"})
    assert {row["PyG"] for row in rows} == {"not installed"}
    checked(bench.texts(H=8), {"Plait", "torch.nn", "step by step"})
    monkeypatch.setattr(sparse, "missing", lambda: None)
    pytest.importorskip("triton")
    checked(bench.shifts(((9, 20, 8),)), {"ours", "cuSPARSE"})


def test_what_fails_or_takes_too_long_is_said(monkeypatch, bench):
    monkeypatch.undo()
    said = bench.tried(lambda: torch.ones(1).foo)
    assert said.startswith("AttributeError: 'Tensor' object has no attribute 'foo'")
    text = bench.table([{"work": "a|b", "x": "1"}, {"work": "c", "y": "2"}])
    assert text.splitlines()[2:] == ["| a/b | 1 | – |", "| c | – | 2 |"]
