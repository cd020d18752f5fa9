"""The run folder: who may have it, what is in it, and what is left of it after a crash."""

import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import asdict

import pytest
import torch

from plait.errors import InputError
from plait.training.config import TrainingConfig
from plait.training.run import FORMAT, Run, next_free

CONFIG = TrainingConfig(steps=5, lr=0.25)


@pytest.fixture
def run(tmp_path) -> Run:
    return Run.create(tmp_path / "a" / "run", "text", CONFIG, {"sizes": [1, 2], "name": "é"})


def test_config_json_says_everything_that_rebuilds_the_run(run):
    content = json.loads((run.path / "config.json").read_text(encoding="utf-8"))
    assert content == {
        "format": FORMAT,
        "task": "text",
        "config": asdict(CONFIG),
        "facts": {"sizes": [1, 2], "name": "é"},
    }
    again = Run.open(run.path)
    assert (again.task, again.config, again.facts) == (run.task, run.config, run.facts)
    assert TrainingConfig.from_dict(again.config) == CONFIG


def test_an_empty_folder_is_taken_and_a_full_one_left_alone(tmp_path):
    (tmp_path / "empty").mkdir()
    assert Run.create(tmp_path / "empty", "text", CONFIG, {}).path == tmp_path / "empty"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for name, what in (("full", " and is no run folder"), ("file", " and is no"), ("empty", ";")):
        with pytest.raises(InputError, match=rf"{name} exists already{what}.* give another --out"):
            Run.create(tmp_path / name, "text", CONFIG, {})
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["thesis.txt"]
    assert (tmp_path / "file").read_text() == "precious"


def good(**changes: object) -> str:
    content = {"format": 1, "task": "text", "config": {"steps": 1}, "facts": {}, **changes}
    return json.dumps({k: v for k, v in content.items() if v != "absent"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "config.json is damaged: Expecting value"),
        (good()[:-9], "config.json is damaged: "),
        (b"\xff\xfe\x00", "config.json is damaged: "),
        ("[]", "config.json is not a configuration that Plait wrote"),
        ("null", "config.json is not a configuration that Plait wrote"),
        (good(format="1"), "config.json is not a configuration that Plait wrote"),
        (good(format="absent"), "config.json is not a configuration that Plait wrote"),
        (good(format=2), "config.json has format 2, of a newer Plait; this one reads 1: upgrade"),
        (good(task="absent"), "config.json is damaged: it has no usable 'task'"),
        (good(config="absent"), "config.json is damaged: it has no usable 'config'"),
        (good(facts="absent"), "config.json is damaged: it has no usable 'facts'"),
        (good(config=None), "config.json is damaged: it has no usable 'config'"),
        (good(config=[1]), "config.json is damaged: it has no usable 'config'"),
        (good(facts=3), "config.json is damaged: it has no usable 'facts'"),
        (good(task=["text"]), "config.json is damaged: it has no usable 'task'"),
    ],
)
def test_a_damaged_config_is_named(run, content, message):
    file = run.path / "config.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        Run.open(run.path)
    assert str(caught.value).startswith(f"{run.path}/{message}")


def test_what_is_no_run_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"absent is not a run folder: it has no config\.json"):
        Run.open(tmp_path / "absent")
    with pytest.raises(InputError, match=r"is not a run folder: it has no config\.json"):
        Run.open(tmp_path)
    with pytest.raises(InputError, match=r"file is a file, not a run folder"):
        Run.open(tmp_path / "file")


HOLD = """
import sys
from pathlib import Path
from plait.training.run import Run
with Run.open(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_named_who_has_the_run(run):
    command = [sys.executable, "-c", HOLD, str(run.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout.readline() == b"held\n"
            with pytest.raises(InputError) as caught, run.locked():
                pass
            who = f"process {other.pid} on {socket.gethostname()}"
            assert str(caught.value) == f"{run.path} is in use by {who}"
            (run.path / ".owner.json").write_text("{cut sho")
            with pytest.raises(InputError, match=r"is in use by another process$"), run.locked():
                pass
        finally:
            other.kill()  # as a crash: nothing is tidied up
            other.wait()
    with run.locked():
        owner = json.loads((run.path / ".owner.json").read_text())
        assert owner == {"process": os.getpid(), "host": socket.gethostname()}
        with pytest.raises(InputError, match=f"is in use by process {os.getpid()} on "):
            Run.open(run.path).locked().__enter__()
    assert not (run.path / ".owner.json").exists()


def test_the_lock_is_given_back_after_an_error(run):
    with pytest.raises(RuntimeError, match="inside"), run.locked():
        raise RuntimeError("inside")
    with run.locked():
        pass


def test_the_log_gives_back_what_was_logged(run):
    text = 'line\nbreak "quoted" \u2028 – é\x85'  # and what str.splitlines would cut at
    run.log("train", 1, {"loss": 0.1 + 0.2})
    run.log("sample", 1, {"text": text})
    run.log("train", 2, {"loss": 1e-300})
    assert not run.metrics_path.exists()  # lines wait for a flush, or a reader
    expected = [
        {"step": 1, "kind": "train", "loss": 0.1 + 0.2},
        {"step": 1, "kind": "sample", "text": text},
        {"step": 2, "kind": "train", "loss": 1e-300},
    ]
    assert run.records() == expected
    assert run.records("train") == [expected[0], expected[2]]
    assert Run.open(run.path).records("test") == []
    run.flush(to_disk=True)
    assert Run.open(run.path).records() == expected
    assert len(run.metrics_path.read_bytes().splitlines()) == 3


def test_a_last_line_cut_short_is_passed_over_at_any_length(run):
    for step in (1, 2, 3):
        run.log("train", step, {"loss": step / 3})
    whole = run.records()
    content = run.metrics_path.read_bytes()
    begin = content.rindex(b"\n", 0, -1) + 1
    for end in range(begin, len(content) - 1):
        run.metrics_path.write_bytes(content[:end])
        assert run.records() == whole[:2]
    run.metrics_path.write_bytes(content[: begin + 5])
    run.truncate_log(2)  # and the next line does not continue the broken one
    run.log("train", 3, {"loss": 1.0})
    assert run.records() == [*whole[:2], {"step": 3, "kind": "train", "loss": 1.0}]


@pytest.mark.parametrize("damage", [b"{cut", b"", b"3", b"{}"])
def test_a_damaged_line_inside_the_log_is_named(run, damage):
    for step in (1, 2, 3):
        run.log("train", step, {"loss": 0.5})
    run.flush()
    lines = run.metrics_path.read_bytes().splitlines()
    run.metrics_path.write_bytes(b"\n".join([lines[0], damage, lines[2]]) + b"\n")
    for kind in ("train", None):
        with pytest.raises(InputError, match=re.escape(f"{run.metrics_path}, line 2: damaged")):
            run.records(kind)


def test_truncate_log_drops_what_came_after_a_step(run):
    for step in (1, 2, 3):
        run.log("train", step, {"loss": 1 / step})
        run.log("valid", step, {"loss": 2 / step})
    whole = run.records()
    before = run.metrics_path.read_bytes()
    run.truncate_log(3)
    assert run.metrics_path.read_bytes() == before
    run.truncate_log(2)
    assert run.records() == whole[:4]
    run.truncate_log(0)
    assert run.records() == []


def test_the_last_two_checkpoints_are_kept(run):
    folder = run.path / "checkpoint"
    for step in (1, 9, 10, 100, 12345678):  # by number, not by the alphabet
        run.save_checkpoint({"w": torch.full((2,), float(step))}, {"step": step})
        kept = sorted(int(p.stem[5:]) for p in folder.iterdir())
        assert kept == [s for s in (1, 9, 10, 100, 12345678) if s <= step][-2:]
        tensors, facts, damaged = run.load_checkpoint()
        assert (tensors["w"].tolist(), facts, damaged) == ([step, step], {"step": step}, [])


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(run):
    with pytest.raises(InputError, match="has no checkpoint to go on from"):
        run.load_checkpoint()
    for step in (1, 2):
        run.save_checkpoint({"w": torch.full((2,), float(step))}, {"step": step})
    first, second = sorted((run.path / "checkpoint").iterdir())
    (run.path / "checkpoint" / ".step-00000003.safetensors.1.part").write_bytes(b"half")
    content = second.read_bytes()
    second.write_bytes(content[:-1] + b"?")
    tensors, facts, damaged = run.load_checkpoint()
    assert (tensors["w"].tolist(), facts) == ([1.0, 1.0], {"step": 1})
    assert len(damaged) == 1
    assert damaged[0].startswith(f"{second}: damaged")
    first.write_bytes(b"")
    with pytest.raises(InputError) as caught:
        run.load_checkpoint()
    assert str(caught.value).startswith(f"no whole checkpoint in {run.path}: {second}: damaged")
    assert str(first) in str(caught.value)


def test_samples_and_kept_weights_are_found_again(run):
    run.log("sample", 2, {"text": "ab"})
    run.log("sample", 4, {"text": "cd\nef"})
    run.write_samples()
    assert (run.path / "samples.txt").read_text() == "--- step 2\nab\n--- step 4\ncd\nef\n"
    run.truncate_log(3)
    assert (run.path / "samples.txt").read_text() == "--- step 2\nab\n"
    assert run.kept_steps() == []
    for step in (100, 20, 3):
        run.save_model(run.kept_path(step), {"w": torch.ones(1)}, step)
    assert run.kept_steps() == [3, 20, 100]


def test_the_next_free_name(tmp_path):
    assert next_free(tmp_path, "a") == tmp_path / "a"
    for expected in ("a", "a-2", "a-3"):
        assert next_free(tmp_path, "a").name == expected
        next_free(tmp_path, "a").mkdir()


def test_a_fact_that_is_missing_names_the_file(run):
    facts = Run.open(run.path).facts
    assert facts == run.facts
    with pytest.raises(InputError, match=r"config\.json is damaged: its facts have no 'sha512'$"):
        facts["sha512"]
    assert facts.get("sha512") is None


def test_scores_and_learning_curves_as_tables(tmp_path):
    run = Run.create(tmp_path / "run", "text", TrainingConfig(), {})
    assert run.scores.empty
    assert run.history.empty
    run.log("train", 1, {"loss": 3.0, "gradient_norm": 0.5})
    run.log("train", 2, {"loss": 2.0, "gradient_norm": 0.25})
    run.log("valid", 2, {"seconds": 1.5, "loss": 2.5})
    run.log("sample", 2, {"text": "x"})
    run.log("test", 2, {"best_step": 2, "loss": 2.75, "table": {"a": [1]}, "sharp": True})
    assert run.scores["value"].to_dict() == {"best_step": 2.0, "loss": 2.75}
    history = run.history
    assert history.index.tolist() == [1, 2]
    assert history.index.name == "step"
    assert history.loc[2].to_dict() == {
        "train_loss": 2.0, "train_gradient_norm": 0.25, "valid_loss": 2.5,
    }  # fmt: skip
    assert history["valid_loss"].isna().tolist() == [True, False]
