"""Training, baselines, resuming, and the commands on own data."""

import json
import os

import numpy as np
import pandas as pd
import pytest
import torch

import plait
from plait.cli import run as run_command
from plait.errors import InputError
from plait.serve import overview
from plait.tasks.scenes.config import ScenesConfig
from plait.tasks.scenes.data import split_scenes
from plait.tasks.scenes.files import read_scenes, write_scenes
from plait.tasks.scenes.generator import generate_scenes
from plait.tasks.scenes.scores import score_relations
from plait.tasks.scenes.task import ScenesTask
from plait.training.run import Run

TINY = {"scenes": 30, "hidden_size": 8, "batch_size": 4, "threads": 1}


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def no_picture(monkeypatch):
    monkeypatch.setattr(ScenesTask, "draw", lambda *_: None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Run:
    return plait.train("scenes", out=tmp_path_factory.mktemp("scenes") / "run", **TINY, steps=4)


def test_a_short_training_finds_more_than_the_classes_alone(tmp_path, no_picture):
    run = plait.train(
        "scenes", out=tmp_path / "run", scenes=100, hidden_size=32, batch_size=8, steps=60,
        lr=0.01, operator="dense", threads=1,
    )  # fmt: skip
    (test,) = run.records("test")
    assert test["recall_at_20"] > test["frequency_recall_at_20"] + 0.1
    assert test["loss"] < 0.75 * test["frequency_loss"]
    assert test["best_recall_at_20"] > test["recall_at_20"]
    assert "dense_loss" not in test


def test_the_network_without_messages_is_reported_too(trained, no_picture):
    """It is what a run of its own with --operator dense comes to."""
    (test,) = trained.records("test")
    alone = plait.train(
        "scenes", out=trained.path.parent / "dense", **TINY, steps=4, operator="dense"
    )
    (dense,) = alone.records("test")
    own = [name for name in dense if f"frequency_{name}" in dense]
    assert len(own) >= 5
    assert {name: test[f"dense_{name}"] for name in own} == {name: dense[name] for name in own}
    for name in ("curves.png", "scenes.png"):
        assert (trained.path / name).stat().st_size > 10_000


def test_the_best_possible_score_is_that_of_the_test_set(trained):
    (test,) = trained.records("test")
    testing = split_scenes(generate_scenes(0, 30), 0)[2]
    best = score_relations([scene.truth for scene in testing.scenes], testing)
    assert {name: test[f"best_{name}"] for name in best} == best


def test_a_resumed_run_ends_where_an_unbroken_one_does(trained, no_picture):
    logs = [{k: v for k, v in r.items() if k != "seconds"} for r in trained.records()]
    (trained.path / "checkpoint" / "step-00000004.safetensors").unlink()
    trained.truncate_log(3)
    plait.resume(trained)
    assert [{k: v for k, v in r.items() if k != "seconds"} for r in trained.records()] == logs


def test_scores_again_and_on_other_scenes(trained, tmp_path, capsys):
    (test,) = trained.records("test")
    assert all(test[name] == value for name, value in plait.score(trained).items())
    write_scenes(tmp_path / "other.json", generate_scenes(9, 5))
    assert run_command(["score", str(trained.path), "--data", str(tmp_path / "other.json")]) == 0
    printed = capsys.readouterr().out
    assert "frequency recall at 20" in printed
    assert "best" not in printed  # of read scenes it is not known


def test_relations_as_a_table_and_as_json(trained, tmp_path):
    """Of every scene the 20 likeliest, as the model says, with ids and names of the file."""
    file = tmp_path / "new.json"
    write_scenes(file, generate_scenes(9, 3))
    table, listed = tmp_path / "relations.csv", tmp_path / "relations.json"
    for out in (table, listed):
        command = ["predict", str(trained.path), "--data", str(file), "--out", str(out)]
        assert run_command(command) == 0
        assert run_command(command) == 2  # it is there already
    found = pd.read_csv(table)
    assert found.groupby("image").size().tolist() == [20, 20, 20]
    assert all(group.is_monotonic_decreasing for _, group in found.groupby("image").probability)
    scenes = read_scenes(file)
    of_object = {
        n: (scene.image, scenes.classes[kind])
        for scene in scenes.scenes
        for n, kind in zip(scene.ids, scene.classes, strict=True)
    }
    for row in found.itertuples():
        assert of_object[row.subject] == (row.image, row.subject_class)
        assert of_object[row.object] == (row.image, row.object_class)
        assert row.predicate in scenes.predicates
    again = json.loads(listed.read_text())
    assert [r["predicate"] for r in again] == found.predicate.tolist()
    assert np.allclose([r["probability"] for r in again], found.probability, rtol=0, atol=1e-9)
    assert len(plait.predict(trained).read_text().splitlines()) > 20  # its own test set


def test_own_scenes_without_features_are_learnt_and_drawn(tmp_path):
    """One picture has a file; classes the generator does not know are drawn as boxes."""
    scenes = generate_scenes(0, 8)
    write_scenes(tmp_path / "made.json", scenes)
    document = json.loads((tmp_path / "made.json").read_text())
    for item in document["annotations"]:
        del item["features"]
    for kind in document["categories"]:
        kind["name"] = f"my {kind['name']}"
    (tmp_path / "own.json").write_text(json.dumps(document))
    run = plait.train(
        "scenes", data=str(tmp_path / "own.json"), out=tmp_path / "run", hidden_size=8, steps=2,
        operator="attention", threads=1,
    )  # fmt: skip
    (test,) = run.records("test")
    assert "best_loss" not in test
    assert run.facts["features"] == 0
    (tmp_path / "own.json").write_text(json.dumps({**document, "relations": []}))
    with pytest.raises(InputError, match="has no relations"):
        plait.score(run)
    document["relations"] = document["relations"][:-1]
    (tmp_path / "own.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"no longer what the run was trained on.*give --data"):
        plait.score(run)


def test_weights_begin_other_scenes(trained, tmp_path, no_picture):
    run = plait.train("scenes", out=tmp_path / "b", **{**TINY, "scenes": 20}, steps=1,
                      from_run=trained)  # fmt: skip
    assert run.facts["began_with"] == str(trained.path)


def test_every_batch_is_found_again_by_its_number():
    ours = ScenesTask(ScenesConfig(**TINY), torch.device("cpu"))
    losses = [ours.loss(ours.model, ours.batch(step), ())[0].item() for step in (1, 2, 1)]
    assert losses[0] == losses[2] != losses[1]


@pytest.mark.parametrize(
    ("own", "dense", "expected"),
    [
        (0.5, 0.4, "50.0% of the relations"),
        (0.4, 0.5, "does as well or better: the model does not beat"),
    ],
)
def test_interpret_names_the_winner(own, dense, expected):
    ours = ScenesTask(ScenesConfig(**TINY), torch.device("cpu"))
    scores = {"recall_at_20": own, "dense_recall_at_20": dense, "frequency_recall_at_20": 0.1}
    text = ours.interpret(scores)
    assert expected in text
    assert "recall at 20" in text.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--operator", "gnc"], "plait: Invalid value"),
        (["--scenes", "2"], "plait: --scenes must be at least 3, not 2"),
        (["--data", ""], "plait: --data is empty; give a JSON file, or generated"),
        (["--operator", "attention", "--heads", "5"], "plait: --heads 5 must divide"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, arguments, message):
    out = tmp_path / "run"
    assert run_command(["train", "scenes", "--out", str(out), *arguments]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(message)
    assert printed.count("\n") == 1
    assert not out.exists()


def test_a_page_lists_what_predict_lists(trained):
    page, reason = overview.page(trained)
    assert page is not None, reason
    blocks = {block["to"]: block for block in page.answer(**page.read({"scene": 2, "top": 20}))}
    table = plait.api.predictions(trained)
    own = table[table["image"] == table["image"].unique()[1]]
    listed = blocks["relations"]["rows"]
    assert [row[3] for row in listed] == pytest.approx(own["probability"].tolist(), rel=1e-6)
    assert [row[1] for row in listed] == own["predicate"].tolist()
    assert [row[0].split()[0] for row in listed] == own["subject_class"].tolist()
    hits = sum(row[4] == "yes" for row in listed)
    assert blocks["hits"]["text"].startswith(f"{hits} of the ")
    for left, top, right, bottom in blocks["graph"]["boxes"]:
        assert left < right
        assert top > bottom  # upwards
