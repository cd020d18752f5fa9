"""Training, resuming, predicting and scoring; what is reported; learning from both views."""

import os

import numpy as np
import pandas as pd
import pytest
import torch

import plait
from plait.cli import run as run_command
from plait.errors import InputError
from plait.serve import overview
from plait.tasks.visits import NOT_ADVICE
from plait.tasks.visits.baselines import targets_of
from plait.tasks.visits.config import VisitsConfig
from plait.tasks.visits.generated import Hospital
from plait.tasks.visits.scores import best_threshold, score_drugs
from plait.tasks.visits.task import VisitsTask, chances_of

TINY = {"patients": 30, "hidden_size": 8, "batch_size": 4, "threads": 1}


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("visits") / "run"
    return plait.train("visits", out=folder, **TINY, steps=6, validate_every=2, save_every=0)


def test_a_run_is_tested_next_to_all_baselines_and_the_best_possible(run):
    (test,) = run.records("test")
    for who in ("", "repeat_", "frequent_", "logistic_", "best_"):
        for score in ("jaccard", "f1", "pr_auc", "recall_at_10"):
            assert 0 <= test[who + score] <= 1
    assert test["best_jaccard"] > 0.85
    assert test["best_loss"] < 4
    assert (run.path / "scores.png").stat().st_size > 10_000
    scores = plait.score(run)
    assert scores == {name: test[name] for name in scores}


def test_a_resumed_run_ends_where_an_unbroken_one_does(run):
    logs = [{k: v for k, v in r.items() if k != "seconds"} for r in run.records()]
    (run.path / "checkpoint" / "step-00000006.safetensors").unlink()
    run.truncate_log(5)
    plait.resume(run)
    assert [{k: v for k, v in r.items() if k != "seconds"} for r in run.records()] == logs


def test_the_threshold_of_the_best_weights_is_kept(run):
    task = VisitsTask(VisitsConfig.from_dict(run.config), torch.device("cpu"))
    task.load_pretrained(plait.load(run))
    before = float(task.model.threshold)
    task.model.eval()
    best = max(run.records("valid"), key=lambda r: r["jaccard"])
    assert task.validate()["jaccard"] == best["jaccard"]
    assert float(task.model.threshold) == before


def test_the_test_set_is_scored_with_the_threshold_of_the_validation_set(run):
    (test,) = run.records("test")
    task = VisitsTask(VisitsConfig.from_dict(run.config), torch.device("cpu"))
    task.load_pretrained(plait.load(run))
    task.model.eval()
    chances = chances_of(task.model, task.views, task.splits.test)
    truth = targets_of(task.histories, task.splits.test)
    kept = score_drugs(chances, truth, float(task.model.threshold), 10)
    assert test["jaccard"] == kept["jaccard"]
    assert (
        kept["jaccard"] < score_drugs(chances, truth, best_threshold(chances, truth), 10)["jaccard"]
    )


def test_weights_begin_a_run_of_the_same_codes_alone(run, tmp_path):
    other = VisitsTask(VisitsConfig(**{**TINY, "patients": 20}), torch.device("cpu"))
    codes = plait.load(run).codes
    if other.model.codes != codes:
        with pytest.raises(InputError, match="knows other codes"):
            other.load_pretrained(plait.load(run))
    further = plait.train("visits", out=tmp_path / "b", from_run=run, patients=30, steps=1,
                          batch_size=4, lr=0.0)  # fmt: skip
    ours, theirs = plait.load(further).state_dict(), plait.load(run).state_dict()
    assert all(torch.equal(ours[k], v) for k, v in theirs.items() if k != "threshold")


def test_predictions_are_ranked_and_flagged(run, capsys):
    assert run_command(["predict", str(run.path), "--device", "cpu"]) == 0
    table = pd.read_csv(run.path / "predictions.csv", keep_default_na=False)
    model, hospital = plait.load(run), Hospital()
    assert len(table) == 30 * model.drugs
    assert set(table["note"]) == {NOT_ADVICE}
    for _, own in table.groupby("patient"):
        assert own["rank"].tolist() == list(range(1, model.drugs + 1))
        assert own["probability"].is_monotonic_decreasing
        said = own.loc[own["predicted"], "drug"].tolist()
        for drug, partners in zip(own["drug"], own["interacts_with"], strict=True):
            pairs = {b if a == drug else a for a, b in hospital.interactions if drug in (a, b)}
            assert set(filter(None, partners.split(", "))) == pairs & set(said)
    assert (table["predicted"] == (table["probability"] >= float(model.threshold))).all()


def test_other_patients_with_codes_that_are_not_known(run, tmp_path, capsys):
    path, out = tmp_path / "new.csv", tmp_path / "new-out.csv"
    path.write_text(
        "patient,visit,kind,code\nann,1,drug,chronic-00a\nann,1,diagnosis,unheard of\n"
        "ann,2,drug,chronic-00b\nbob,1,drug,chronic-01a\n"
    )
    plait.predict(run, str(path), out=out)
    table = pd.read_csv(out).drop_duplicates("patient").set_index("patient")
    assert table["after_periods"].to_dict() == {"ann": 2, "bob": 1}
    assert table["events_unknown"].to_dict() == {"ann": 1, "bob": 0}
    scores = plait.score(run, str(path))
    assert scores["tested_periods"] == scores["events_unknown"] == 1
    assert "best_jaccard" not in scores
    path.write_text("patient,visit,kind,code\nann,1,drug,unheard of\n")
    with pytest.raises(InputError, match="none of its events is one that the run knows"):
        plait.predict(run, str(path), out=tmp_path / "none.csv")
    path.write_text("patient,visit,kind,code\nann,1,drug,chronic-00a\n")
    assert run_command(["score", str(run.path), "--data", str(path), "--device", "cpu"]) == 2
    assert "nothing to score" in capsys.readouterr().err


def test_data_that_has_changed_is_not_predicted_of_unasked(tmp_path):
    rows = [f"p{k},{t},drug,{'xy'[(t + k) % 2]}" for k in range(12) for t in range(3)]
    path, out = tmp_path / "events.csv", tmp_path / "next.csv"
    path.write_text("\n".join(["patient,visit,kind,code", *rows]))
    own = plait.train("visits", data=str(path), out=tmp_path / "run", hidden_size=8, steps=1)
    for more in ("p0,3,drug,x", "p0,2,drug,new"):
        path.write_text("\n".join(["patient,visit,kind,code", *rows, more]))
        with pytest.raises(InputError, match=r"no longer what the run was trained on.*give --data"):
            plait.predict(own, out=out)
    plait.predict(own, str(path), out=out)
    assert pd.read_csv(out)["events_unknown"].max() == 1


def test_what_is_reported(run, tmp_path, capsys):
    rows = [f"p{k},{t},drug,{'xy'[t % 2]}" for k in range(14) for t in range(1 + (k > 1) * 3)]
    rows += ["q,0,drug,x", "q,1,diagnosis,z"]
    path, pairs = tmp_path / "events.csv", tmp_path / "pairs.csv"
    path.write_text("\n".join(["patient,visit,kind,code", *rows]))
    pairs.write_text("one,other\nx,y\n")
    arguments = ["--data", str(path), "--interactions", str(pairs), "--steps", "1", "--k", "1"]
    arguments += ["--hidden-size", "8", "--out", str(tmp_path / "run"), "--threads", "1"]
    assert run_command(["train", "visits", *arguments]) == 0
    reported = capsys.readouterr().out
    assert "left out: 2 patients of one period, 1 patient without drugs after the first" in reported
    assert "note: a research tool, not medical advice" in reported
    assert "Only 2 patients were tested on: a small set. A research tool" in reported
    assert "interactions: 1 pair of drugs" in reported
    # x and y take turns, so the last period again is never right, and counts always are
    assert "the last period again: 0.000" in reported
    assert "Logistic regression on counts does as well or better" in reported


def test_help_says_that_it_is_no_advice(capsys):
    assert run_command(["train", "visits", "--help"]) == 0
    assert NOT_ADVICE in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_both_views_see_what_neither_sees_alone(tmp_path):
    scores = {}
    for view in ("both", "sequence", "graph"):
        out = plait.train("visits", out=tmp_path / view, view=view, threads=1)
        (scores[view],) = out.records("test")
    others = [scores[view]["jaccard"] for view in ("sequence", "graph")]
    assert scores["both"]["jaccard"] > max(*others, scores["both"]["logistic_jaccard"]) + 0.02
    assert scores["both"]["jaccard"] < scores["both"]["best_jaccard"]
    assert np.isfinite(scores["both"]["loss"])


def test_a_page_ranks_what_predict_ranks(run):
    page, reason = overview.page(run)
    assert page is not None, reason
    values = page.read({"top": 5})
    blocks = {block["to"]: block for block in page.answer(**values)}
    table = plait.api.predictions(run)
    own = table[table["patient"] == values["patient"]].head(5)
    rows = blocks["drugs"]["rows"]
    assert [row[1] for row in rows] == own["drug"].tolist()
    assert [row[2] for row in rows] == pytest.approx(own["probability"].tolist(), rel=1e-6)
    assert [row[3] == "yes" for row in rows] == own["predicted"].tolist()
    assert [row[4] for row in rows] == own["interacts_with"].tolist()
    assert len(blocks["history"]["rows"]) == own["after_periods"].iloc[0]
    assert NOT_ADVICE in blocks["advice"]["text"]
    with pytest.raises(InputError, match="there is no patient 'nobody'; there are "):
        list(page.answer(**page.read({"patient": "nobody"})))
