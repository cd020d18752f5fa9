"""The links task: that it learns, that nothing held out is seen, and what it refuses."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

import plait
from plait.cli import run as run_command
from plait.data import find_data
from plait.graph_data import named_labelled_graph
from plait.tasks.links import task as links_task
from plait.tasks.links.config import LinksConfig
from plait.tasks.links.scores import score_hard, score_pairs
from plait.tasks.links.splits import TRAINING, non_edges, split_edges
from plait.tasks.links.task import LinksTask
from plait.tasks.nodes.sampling import outputs
from plait.training.checkpoint import load_tensors
from plait.training.progress import Progress
from plait.training.random import seed_all
from plait.training.streams import random_generator

TINY = {"hidden_size": 8, "embedding_size": 8, "heads": 2, "steps": 6, "threads": 1,
        "device": "cpu", "validate_every": 2}  # fmt: skip


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


def made(**options) -> LinksTask:
    config = LinksConfig(**TINY | options)
    seed_all(config.seed, 0)
    return LinksTask(config, torch.device("cpu"))


def train(out, **options):
    return plait.train("links", out=out, **TINY | options)


@pytest.mark.parametrize("operator", ["gcn", "attention", "dense"])
def test_what_is_held_out_leaves_no_trace_in_training(tmp_path, monkeypatch, operator):
    """With other pairs held out, not a bit of a step, a gradient or a weight is another."""
    first = train(tmp_path / "a", operator=operator, patience=0)

    def other_cut(network, *shares):
        links = split_edges(network, *shares)
        swapped = replace(links, valid=links.test_non[:, :8], test=links.valid_non,
                          valid_non=links.test[:, :8], test_non=links.valid)  # fmt: skip
        assert not torch.equal(swapped.test, links.test)
        return swapped

    monkeypatch.setattr(links_task, "split_edges", other_cut)
    second = train(tmp_path / "b", operator=operator, patience=0)
    assert first.records("train") == second.records("train")
    assert first.records("test") != second.records("test")
    a, b = (load_tensors(run.kept_path(6))[0] for run in (first, second))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_held_out_edges_are_drawn_as_often_as_any_other_pair():
    """Leaving them out of what is drawn would show the network where they are."""
    task = made()
    drawn = np.concatenate(
        [non_edges(random_generator(0, step, TRAINING), 54, 34, task.taken) for step in range(900)],
        axis=1,
    )
    pairs, counts = np.unique(drawn, axis=1, return_counts=True)
    often = dict(zip(map(tuple, pairs.T.tolist()), counts.tolist(), strict=True))
    held_out = [often[u, v] for u, v in task.splits.test.T.tolist()]
    assert pairs.shape[1] == 34 * 33 // 2 - 54
    assert np.mean(held_out) == pytest.approx(np.mean(counts), rel=0.1)


def test_the_loss_is_the_mean_of_minus_the_logarithms():
    task = made(dropout=0.0, hide=0.0)
    loss, scores, _ = task.loss(task.model, task.batch(3), ())
    others = non_edges(random_generator(0, 3, TRAINING), 54, 34, task.taken)
    logits = [
        task.model(None, task.graph, torch.as_tensor(pairs)).detach()
        for pairs in (task.pairs, others)
    ]
    p, q = (torch.sigmoid(part.double()) for part in logits)
    expected = -(p.log().sum() + (1 - q).log().sum()) / 108
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert scores["auc"].item() == pytest.approx(score_pairs(*logits, 5)["auc"], rel=1e-6)


@pytest.mark.parametrize("scorer", ["mlp", "ncn"])
def test_a_step_learns_what_it_hides_from_the_layers(scorer):
    task = made(dropout=0.0, scorer=scorer)
    assert (task.hidden, task.units_per_step) == (16, 16)  # 30 % of 54
    pairs, _, graph, shared = task.batch(1)
    own = {tuple(pair) for pair in task.pairs.T.tolist()}
    hidden = {tuple(pair) for pair in pairs[:, :16].T.tolist()}
    seen = {(u, v) for u, v in graph.edge_index.T.tolist() if u < v}
    assert len(hidden) == 16
    assert hidden | seen == own
    assert not hidden & seen
    whole, part = (one.to_networkx().edges(data="weight") for one in (task.graph, graph))
    assert set(part) < set(whole)
    loss, _, _ = task.loss(task.model, task.batch(1), ())
    logits = task.model(None, graph, pairs)
    expected = torch.nn.functional.softplus(torch.cat([-logits[:16], logits[16:]])).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert (shared is None) == (scorer == "mlp")


def test_it_learns_which_nodes_belong_together(tmp_path):
    edges = [(u, v) for b in (0, 12) for u in range(b, b + 12) for v in range(u + 1, b + 12)]
    (tmp_path / "edges.csv").write_text(
        "source,target\n" + "".join(f"n{u},n{v}\n" for u, v in edges)
    )
    run = train(tmp_path / "run", edges=str(tmp_path / "edges.csv"), steps=60, hidden_size=16)
    (test,) = run.records("test")
    assert test["auc"] > 0.95
    assert run.config["edges"] == str(tmp_path / "edges.csv")
    (found,) = plait.inspect(run)
    assert "encoder" in str(found.parameters)


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path):
    class Stop(Progress):
        def step(self, step, record):
            super().step(step, record)
            if step == 4:
                raise KeyboardInterrupt

    whole = train(tmp_path / "whole", save_every=0)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "split_edges", save_every=0, progress=Stop())
    cut_off = plait.resume(tmp_path / "split_edges")
    assert whole.records("train") == cut_off.records("train")
    assert whole.records("test") == cut_off.records("test")


def test_the_scores_of_the_baselines(tmp_path):
    run = train(tmp_path / "run", scorer="mlp")
    (test,) = run.records("test")
    dense = train(tmp_path / "dense", scorer="mlp", operator="dense")
    (alone,) = dense.records("test")
    for name in ("loss", "auc", "average_precision", "hits_at_20", "mrr", "hard_hits_at_20"):
        assert test[f"dense_{name}"] == alone[name]
    assert "dense_auc" not in alone
    again = plait.score(run)
    assert again == {k: v for k, v in test.items() if k not in ("step", "kind", "best_step")}
    config = LinksConfig.from_dict(run.config)
    links = split_edges(
        named_labelled_graph("karate"), config.valid_share, config.test_share, config.seed
    )
    model = plait.load(run)
    with torch.no_grad():
        logits = [model(None, links.graph, part) for part in (links.test, links.test_non)]
    for name, value in score_pairs(*logits, 20).items():
        assert test[f"network_{name}"] == pytest.approx(value, abs=1e-12)


def test_the_answer_is_the_mixture_of_network_and_heuristics(tmp_path):
    run = train(tmp_path / "run", steps=20)
    task = LinksTask.restore(plait.load(run), LinksConfig.from_dict(run.config), run.facts)
    (test,) = run.records("test")
    with torch.no_grad():
        trial, mixture = task.tested, task.mixture()
        scores = {"network": task.network_logits(trial.pairs)}
    scores |= {name: measure(trial.pairs) for name, measure in task.measures.items()}
    there, others, hard, hard_others = trial.split(mixture.logits(scores))
    right = score_pairs(there, others, 20) | score_hard(hard, hard_others, trial.hard.of, 20)
    assert {name: test[name] for name in right} == pytest.approx(right, abs=1e-12)
    for name, found in scores.items():
        there, others, hard, hard_others = trial.split(found)
        right = score_pairs(there, others, 20) | score_hard(hard, hard_others, trial.hard.of, 20)
        assert {k: test[f"{name}_{k}"] for k in right} == pytest.approx(right, abs=1e-12)


def test_the_weights_of_the_mixture_do_not_depend_on_the_part_to_test_on():
    task = made()
    task.model.eval()
    with torch.no_grad():
        before = task.mixture().weights
        task.splits.test[:] = 0
        task.splits.test_non[:] = 1
        assert (task.mixture().weights == before).all()


def test_where_features_are_informative_the_mixture_is_no_worse(tmp_path):
    """Neighbours by chance, features by group: the network over the graph alone would fail."""
    generator = np.random.default_rng(0)
    group = np.arange(60) % 3
    pairs = [(u, v) for u in range(60) for v in range(u) if group[u] == group[v]]
    chosen = generator.choice(len(pairs), 90, replace=False)
    lines = [f"n{pairs[k][0]},n{pairs[k][1]}" for k in chosen]
    (tmp_path / "edges.csv").write_text("\n".join(["source,target", *lines]))
    x = np.eye(3)[group] + generator.normal(size=(60, 3)) / 5
    rows = [f"n{k},{a:.3f},{b:.3f},{c:.3f}" for k, (a, b, c) in enumerate(x)]
    (tmp_path / "nodes.csv").write_text("\n".join(["id,a,b,c", *rows]))
    run = train(
        tmp_path / "run", edges=str(tmp_path / "edges.csv"), nodes=str(tmp_path / "nodes.csv"),
        steps=20,
    )  # fmt: skip
    (test,) = run.records("test")
    assert test["auc"] > test["network_auc"]
    assert test["auc"] > max(test["katz_auc"], test["pagerank_auc"]) + 0.05
    assert test["auc"] > test["features_auc"] - 0.05


def test_interpret_names_the_winner(tmp_path):
    task = made()
    scores = {"auc": 0.9, "dense_auc": 0.8, "common_neighbours_auc": 0.7, "adamic_adar_auc": 0.85,
              "degree_auc": 0.6}  # fmt: skip
    assert "does not beat" not in task.interpret(scores)
    worse = task.interpret(scores | {"auc": 0.84})
    assert worse.endswith(
        "Adamic–Adar does as well or better: the model does not beat this baseline"
    )
    assert "84.0%" in worse
    both = task.interpret(scores | {"mrr": 0.2, "katz_mrr": 0.25, "network_mrr": 0.1})
    assert both.splitlines()[1] == (
        "Among hard pairs, mean reciprocal rank: 0.200; the network alone: 0.100; Katz index: "
        "0.250. Katz index does as well or better: the model does not beat this baseline"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "kora"], "no graph named 'kora'; there are karate, "),
        (["--data", "cora", "--edges", "e.csv"], "give --data or --edges, not both"),
        (["--nodes", "n.csv"], "--nodes goes with --edges"),
        (["--edges", "absent.csv"], "cannot read absent.csv: No such file"),
        (["--edges", "two.csv"], "two.csv has 2 edges, too few to train on some"),
        (["--edges", "full.csv"], "full.csv joins almost all of its 5 nodes"),
        (["--edges", "minus.csv"], "minus.csv: --operator gcn needs weights of at least 0, and th"),
        (
            ["--edges", "two.csv", "--nodes", "n.csv"],
            "two.csv, line 3: there is no node 'c' in n.c",
        ),
        (["--test-share", "0"], "--valid-share and --test-share must be more than 0"),
        (["--test-share", "0.95"], "--valid-share and --test-share must be more than 0, and leave"),
        (["--test-share", "1"], "--test-share must be less than 1, not 1.0"),
        (["--hits", "0"], "--hits must be at least 1, not 0"),
        (["--operator", "attention", "--heads", "7"], "--heads 7 must divide --hidden-size 64"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    files = {
        "two.csv": "a,b\nb,c\n",
        "full.csv": "".join(f"{u},{v}\n" for u in range(5) for v in range(u)),
        "minus.csv": "a,b,1\nb,c,-1\nc,d,1\nd,e,1\n",
    }
    for name, rows in files.items():
        head = "source,target,weight\n" if name == "minus.csv" else "source,target\n"
        (tmp_path / name).write_text(head + rows)
    (tmp_path / "n.csv").write_text("id,age\na,3\nb,4\n")
    assert run_command(["train", "links", "--out", "run", "--device", "cpu", *words]) == 2
    out, errors = capsys.readouterr()
    assert out == ""
    assert errors.count("\n") == 1
    assert errors.replace(f"{tmp_path}/", "").startswith(f"plait: {message}")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_published_figures_on_cora(tmp_path):
    if find_data("graphs/planetoid/ind.cora.graph") is None:
        pytest.skip("Cora is not under PLAIT_DATA")
    run = plait.train("links", data="cora", recipe="kipf2016", out=tmp_path / "run", threads=1)
    (test,) = run.records("test")
    assert test["auc"] > 0.89  # Kipf & Welling (2016) have 91.0 and 92.0
    assert test["average_precision"] > 0.90
    assert test["auc"] > test["adamic_adar_auc"] + 0.15


@pytest.mark.parametrize("operator", ["gcn", "attention"])
def test_samples_of_all_neighbours_are_the_whole_graph(operator):
    options = {**TINY, "data": "les-miserables", "operator": operator, "dropout": 0.0}
    config = LinksConfig(**options, sample="all,all", batch_size=20)
    ours = LinksTask(config, torch.device("cpu"))
    batch = ours.batch(1)
    numbers, nodes = batch.pairs, batch.nodes
    assert numbers.shape == (2, 40)
    connected = nodes.seeds[numbers[:, :20]].T.tolist()
    assert all(pair in ours.pairs.T.tolist() for pair in connected)
    with torch.no_grad():
        whole = ours.model.encoder(ours.x, ours.graph)
        found = outputs(ours.model.encoder, ours, nodes)
        torch.testing.assert_close(found, whole[nodes.seeds], rtol=0, atol=1e-5)
        whole_scores = LinksTask(replace(config, sample=""), ours.device, None, ours.model)
        assert ours.validate() == pytest.approx(whole_scores.validate(), rel=1e-5)


def test_a_run_on_samples(tmp_path):
    options = {**TINY, "steps": 40, "sample": "5,5", "batch_size": 64, "validate_every": 10}
    run = plait.train("links", data="les-miserables", **options, out=tmp_path / "run")
    (test,) = run.records("test")
    assert test["auc"] > 0.6
    assert plait.score(run)["auc"] == pytest.approx(test["auc"], abs=1e-12)
    assert len(plait.predict(run, node="Valjean", out=tmp_path / "some.csv").read_text()) > 100
