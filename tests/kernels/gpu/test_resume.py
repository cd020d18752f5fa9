"""A training on a GPU that is stopped and resumed, bit for bit, past the first replayed call."""

import os

import numpy as np
import pandas as pd
import pytest
import torch

import plait
from plait.api import choose_device
from plait.training.checkpoint import load_tensors

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")

COMMON = {"steps": 12, "validate_every": 6, "save_every": 0.0, "batch_size": 8, "threads": 1}


def ends(run):
    logs = [{k: v for k, v in r.items() if k != "seconds"} for r in run.records()]
    return logs, load_tensors(run.model_path)[0]


@pytest.mark.parametrize(("said", "kept"), [(None, ":4096:8"), (":16:8", ":16:8")])
def test_cublas_is_asked_for_the_same_sums_at_each_call(said, kept, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", said or "")
    if said is None:
        monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    assert choose_device("cuda") == torch.device("cuda")
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == kept


@cuda
@pytest.mark.parametrize(
    ("task", "options"),
    [
        ("memory", {"cell": "lstm", "hidden_size": 32}),
        ("memory", {"cell": "lstm-peephole", "hidden_size": 32}),
        ("memory", {"cell": "gru-before", "hidden_size": 144}),
        ("forecast", {"cell": "gru-before", "operator": "chebyshev", "hidden_size": 16}),
        ("forecast", {"cell": "gru-before", "operator": "attention", "hidden_size": 16}),
        ("forecast", {"cell": "gru", "operator": "gine", "hidden_size": 16}),
        ("forecast", {"cell": "gru", "operator": "adaptive", "adaptive_edges": 2}),
    ],
    ids=str,
)
def test_on_a_gpu_a_resumed_run_ends_where_an_unbroken_one_does(
    task, options, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    if task == "forecast":
        values = 10 + np.sin(np.arange(200)[:, None] / 4 + np.arange(3))
        frame = pd.DataFrame(values, columns=["n1", "n2", "n3"])
        frame.insert(0, "time", pd.date_range("2024-03-01", periods=200, freq="h"))
        frame.to_csv("speeds.csv", index=False)
        (tmp_path / "roads.csv").write_text("source,target\nn1,n2\nn2,n3\n")
        options |= {"data": "speeds.csv", "graph": "roads.csv", "history": 4, "horizon": 3}
    run = plait.train(task, out=tmp_path / "run", device="cuda", **COMMON, **options)
    logs, weights = ends(run)
    (run.path / "checkpoint" / "step-00000012.safetensors").unlink()
    run.truncate_log(11)
    plait.resume(run)
    again, resumed = ends(run)
    assert again == logs
    assert all(torch.equal(resumed[name], value) for name, value in weights.items())
