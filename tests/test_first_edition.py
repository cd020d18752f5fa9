"""Run folders of version 0.1.0: they load, score, predict, write and resume.

`fixtures/runs-0.1.0` holds one tiny run of every task, made by version 0.1.0 itself.
"""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import plait
from plait import GRU, LSTM, Chebyshev, Recurrent
from plait.cli import run as run_command
from plait.tasks import TASKS
from plait.training.loop import Loop
from plait.training.run import Run

FIRST = Path(__file__).parent / "fixtures" / "runs-0.1.0"

RESUMED = {
    "text": (3.3475441932678223, 3.345327377319336, 3.3540208126181987, 3.3540208126181987),
    "memory": (2.044541358947754, 2.08133602142334, 2.1624558568000793, 2.2127542734146117),
    "nodes": (0.6654314398765564, 0.5053399801254272, 0.5522592849242195, 0.5970576464895743),
    "links": (0.6797405481338501, 0.6505168676376343, 0.6664599355414152, 0.6763034286528389),
    "forecast": (1.2908828258514404, 0.9602697491645813, 1.1776618755201824, 1.2199188046909515),
    "scenes": (0.21546314656734467, 0.25813013315200806, 0.2255915327489011, 0.22681354455858843),
    "digits": (0.6151754260063171, 0.6220420598983765, 0.6171217823028564, 0.6167216911315918),
    "visits": (19.383142471313477, 34.761409759521484, 20.815009809555193, 20.820675738012746),
    "structure": (0.7311385869979858, 0.6662302017211914, 0.6974203343945614, 0.6961106458818599),
}
"""Losses when version 0.1.0 itself goes on with its runs of 6 steps, the configuration's steps set
to 8: of steps 7 and 8, of the validation at 8, and of the test."""


@pytest.fixture(autouse=True)
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of the runs, and of the text that one names, in the working directory."""
    shutil.copytree(FIRST, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


def test_there_is_a_run_of_every_task_that_version_0_1_0_had() -> None:
    found = {path.parent.name for path in FIRST.glob("*/config.json")}
    assert found == set(RESUMED) == set(TASKS) - {"communities"}


def test_the_files_have_the_names_of_version_0_1_0() -> None:
    assert "recurrent.strands.1.vectors.p_f" in load_file("text/model.safetensors")


@pytest.mark.parametrize("task", RESUMED)
def test_scores_are_those_that_were_logged(task: str) -> None:
    logged = Run.open(Path(task)).records("test")[0]
    scores = plait.score(task)
    shared = logged.keys() & scores.keys()
    assert "loss" in shared
    for name in shared:
        assert scores[name] == pytest.approx(logged[name], rel=1e-5), name


def test_the_same_text_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["generate", "text", "--prompt", "The ", "--length", "60", "--seed", "1"]
    assert run_command([*words, "--threads", "1"]) == 0
    assert capsys.readouterr().out == Path("text/generated.txt").read_text("utf-8")


@pytest.mark.parametrize("task", ["nodes", "links", "forecast"])
def test_the_same_is_predicted(task: str) -> None:
    found = pd.read_csv(plait.predict(task, out="again.csv"))
    right = pd.read_csv(Path(task) / "predicted.csv")
    numbers = right.select_dtypes("float").columns
    assert len(numbers) == 1
    pd.testing.assert_frame_equal(found.drop(columns=numbers), right.drop(columns=numbers))
    np.testing.assert_allclose(found[numbers], right[numbers], rtol=1e-5)


def go_on(task: str, steps: int) -> list[dict[str, Any]]:
    """Resume a run that was stopped after its last checkpoint, up to more steps."""
    folder = Path(task)
    content = json.loads((folder / "config.json").read_text("utf-8"))
    content["config"]["steps"] = steps
    (folder / "config.json").write_text(json.dumps(content), "utf-8")
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    kept = [line for line in lines if json.loads(line)["kind"] != "test"]
    (folder / "metrics.jsonl").write_text("\n".join(kept) + "\n", "utf-8")
    return plait.resume(folder).records()


@pytest.mark.parametrize("task", RESUMED)
def test_training_goes_on_as_version_0_1_0_goes_on(
    task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Loop, "_draw", lambda _: None)  # pictures are tested elsewhere
    records = go_on(task, steps=8)
    losses = {(r["kind"], r["step"]): r["loss"] for r in records if "loss" in r}
    found = [losses["train", 7], losses["train", 8], losses["valid", 8], losses["test", 8]]
    assert found == pytest.approx(RESUMED[task], rel=1e-5)


def test_a_finished_run_is_reported_as_finished(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["resume", "memory"]) == 0
    assert "memory is finished: all 6 steps are done" in capsys.readouterr().out


def renamed(layer: torch.nn.Module, prefix: str = "") -> dict[str, torch.Tensor]:
    """The weights by the names of version 0.1.0."""
    weights = layer.state_dict(prefix=prefix)
    return {name.replace("directions.", "strands."): w.clone() for name, w in weights.items()}


def test_weights_by_their_former_names_are_taken() -> None:
    options: dict[str, Any] = {"layers": 2, "bidirectional": True}
    old, new = (Recurrent(GRU(), 3, 4, **options) for _ in range(2))
    assert any(name.startswith("strands.3.") for name in renamed(old))
    new.load_state_dict(renamed(old))
    x = torch.randn(5, 2, 3)
    assert torch.equal(new(x)[0], old(x)[0])


def test_weights_by_their_former_names_are_taken_within_another_module() -> None:
    def make() -> torch.nn.ModuleDict:
        layer = Recurrent(LSTM(peephole=True), 3, 4, operator=Chebyshev(3))
        return torch.nn.ModuleDict({"a": layer, "b": torch.nn.Linear(4, 1)})

    old, new = make(), make()
    names = renamed(old)
    assert "a.strands.0.vectors.p_o" in names
    new.load_state_dict(names)
    for name, weight in old.state_dict().items():
        assert torch.equal(new.state_dict()[name], weight), name


def test_a_former_name_that_does_not_fit_is_refused() -> None:
    names = renamed(Recurrent(GRU(), 3, 4))
    names["strands.1.bias"] = torch.zeros(math.prod((3, 4)))
    with pytest.raises(RuntimeError, match=r"Unexpected key\(s\) in state_dict: .directions\.1"):
        Recurrent(GRU(), 3, 4).load_state_dict(names)
