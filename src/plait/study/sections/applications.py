"""Section 7: communities, new connections, relations between objects."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import networkx
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from plait.api import predictions
from plait.comparison.results import Result
from plait.data import find_data
from plait.figures import COLOURS, name_places
from plait.graph_data import named_labelled_graph
from plait.study.page import (
    Block,
    Paragraph,
    Picture,
    Table,
    copied,
    difference_of,
    drawing,
    mean_of,
)
from plait.study.runs import FinishedRuns, RunRequest, run_of, source_of
from plait.study.verdicts import Finding, below_zero, finding, measured_difference
from plait.tasks.links import task as links
from plait.tasks.nodes import task as nodes

TITLE = "Applications of graph networks"
REPORT_CLAIM = """Graph networks classify communities of people, recommend new connections between
them, and predict how the objects that a detector found in an image are related."""

CORA = "graphs/planetoid/ind.cora.graph"

BASELINES = {
    "communities": {
        **{f"{name}_accuracy": text for name, text in nodes.BASELINES.items()},
        "prior": "the most frequent class",
    },
    "connections": {f"{name}_auc": text for name, text in links.BASELINES.items()},
    "hard": {f"{name}_mrr": text for name, text in links.BASELINES.items()},
    "relations": {
        "dense_recall_at_20": "the same network without messages",
        "frequency_recall_at_20": "frequency of each pair of classes",
    },
}
"""The baselines of each task, by the names of their scores; a run has those that its data allow."""

SCORES = {
    "communities": "accuracy", "connections": "auc", "hard": "mrr", "relations": "recall_at_20",
}  # fmt: skip
HEADS = {
    "communities": "accuracy", "connections": "AUC", "hard": "mean reciprocal rank",
    "relations": "recall@20",
}  # fmt: skip
SUBJECTS = {
    "karate": "Karate club", "les-miserables": "Les Misérables", "cora": "Cora",
    "scenes": "Generated scenes",
}  # fmt: skip
CAPTIONS = {
    "communities": "Accuracy on the unlabelled nodes.",
    "connections": "AUC: the probability that a held-out edge scores higher than a pair of nodes "
    "without an edge.",
    "hard": "Mean of 1 / rank of a held-out edge among up to 500 pairs of nodes without an edge "
    "that heuristics take for edges (Li et al. 2023).",
    "relations": "Recall@20: the share of a scene’s relations among the 20 most likely "
    "predictions, one per pair of objects.",
}
SUGGESTED = 8
"""Recommended connections that are drawn."""


def required_runs(size: Mapping[str, Any]) -> dict[str, RunRequest]:
    """Request one task per application; the full study adds Cora where its files are found."""
    large = size["large"] and find_data(CORA) is not None
    seeds = size["seeds"]
    asked = {
        "communities": RunRequest(
            "nodes", size["communities"],
            {"data": ("karate", "cora") if large else ("karate",),
             "operator": ("gcn", "attention")},
            seeds,
        ),
        "connections": RunRequest(
            "links", size["connections"],
            {"data": ("les-miserables", "cora") if large else ("les-miserables",),
             "operator": ("gcn",)},
            seeds, score="auc",
        ),
        "relations": RunRequest(
            "scenes", size["relations"], {"operator": ("gcn", "attention")}, seeds,
            score="recall_at_20",
        ),
    }  # fmt: skip
    return asked


def render(
    runs: Mapping[str, FinishedRuns], size: Mapping[str, Any]
) -> tuple[Sequence[Block], Sequence[Finding]]:
    """Show each application in a table and a picture."""
    large = any(p.values.get("data") == "cora" for p in runs["communities"].grid.plans)
    cora = "; and Cora, papers linked by citations" if large else ""
    what = {
        "communities": f"Communities: Zachary’s karate club, two members labelled{cora}.",
        "connections": f"New connections: the characters of Les Misérables, some of whose "
        f"co-occurrences are held out{cora}.",
        "relations": "Relations: objects in generated scenes, whose rules are known.",
    }
    blocks: list[Block] = []
    for use, one in runs.items():
        table = Table(f"7-{use}", CAPTIONS[use], ["model", HEADS[use]], _rows(use, one))
        blocks += [Paragraph(what[use]), table]
        if use == "connections":
            blocks.append(Table("7-hard", CAPTIONS["hard"], ["model", HEADS["hard"]],
                                _rows("hard", one)))  # fmt: skip
        blocks.append(_picture(use, one))
    scored = {**runs, "hard": runs["connections"]}
    return blocks, [_finding(use, one, at) for use, one in scored.items() for at in _places(one)]


def _rows(use: str, one: FinishedRuns) -> list[list[Any]]:
    """Return the networks' scores, after the last operator on each graph the baselines'."""
    rows: list[list[Any]] = []
    for values in _places(one):
        rows.append([_named(values), one.number(f"test_{SCORES[use]}", **values)])
        graph = {k: v for k, v in values.items() if k != "operator"}
        if values["operator"] == one.request.vary["operator"][-1]:
            rows += [[_named(graph, name), one.number(f"test_{score}", **values)]
                     for score, name in _baselines(use, one, values).items()]  # fmt: skip
    if use == "relations":
        at = {"operator": one.request.vary["operator"][0]}
        best = one.number("test_best_recall_at_20", **at)
        rows.append(["best possible, knowing the rules", best])
    return rows


def _picture(use: str, one: FinishedRuns) -> Picture:
    if use == "communities":
        path = one.select(data="karate", operator="gcn")[0].plan.path / "graph.png"
        return Picture("7-communities", "Zachary’s karate club: labels and predictions.",
                       copied(path))  # fmt: skip
    if use == "connections":
        return Picture("7-connections", "Dashed: the most likely connections that the novel does "
                       "not have. Solid: those that it has.", _suggestions(one))  # fmt: skip
    path = one.select(operator="gcn")[0].plan.path / "scenes.png"
    return Picture("7-relations", "Predicted relations in scenes of the test set.",
                   copied(path), as_seen=True)  # fmt: skip


def _finding(use: str, one: FinishedRuns, at: Mapping[str, Any]) -> Finding:
    return gain_finding(
        f"{SUBJECTS[at.get('data', 'scenes')]}, {_operator(at)}{', hard pairs' * (use == 'hard')}",
        one.values(f"test_{SCORES[use]}", **at),
        {name: one.values(f"test_{score}", **at)
         for score, name in _baselines(use, one, at).items()},
        [source_of(r) for r in one.select(**at)],
    )  # fmt: skip


def _baselines(use: str, one: FinishedRuns, at: Mapping[str, Any]) -> dict[str, str]:
    """Return the baselines that all of these runs have a score of."""
    return {
        score: name
        for score, name in BASELINES[use].items()
        if len(one.values(f"test_{score}", **at)) == len(one.select(**at))
    }


def gain_finding(
    what: str, own: Sequence[float], others: Mapping[str, Sequence[float]], sources: Sequence[str]
) -> Finding:
    """Return whether a network beats the best of its baselines, paired by seed.

    The report states the applications, and not that graph networks are better at them.
    """
    best = max(others, key=lambda name: statistics.fmean(others[name]))
    differences = [a - b for a, b in zip(own, others[best], strict=True)]
    text = {
        False: "{}: {}, better than the best baseline, {}; difference {}.",
        True: "{}: {}, worse than the best baseline, {}; difference {}.",
        None: "{}: {}; the difference from the best baseline, {}, is inconclusive: {}.",
    }[below_zero(differences)]
    verdict = measured_difference(differences)
    if not any(differences):
        verdict, text = "measured", "{}: {}, in every run the same as the best baseline, {}."
    difference = difference_of(differences, "+.3f", sources)
    return finding(verdict, text, what, mean_of(own, ".3f", sources), best, difference)


def _places(one: FinishedRuns) -> list[dict[str, Any]]:
    return list({repr(p.values): dict(p.values) for p in one.grid.plans}.values())


def _operator(values: Mapping[str, Any]) -> str:
    return {"gcn": "GCN", "attention": "attention"}[values["operator"]]


def _named(values: Mapping[str, Any], name: str = "") -> str:
    return f"{name or _operator(values)}{', ' + values['data'] if 'data' in values else ''}"


def _suggestions(one: FinishedRuns) -> Any:
    result = one.select(data="les-miserables")[0]
    return drawing(8.5, 5.6, lambda figure: _draw(figure, result))


def _draw(figure: Figure, result: Result) -> None:
    """Draw the graph, and over it the suggestions that score highest, each pair once."""
    network = named_labelled_graph("les-miserables")
    table = predictions(run_of(result), top=3).sort_values("score", ascending=False)
    pairs = list(dict.fromkeys(
        tuple(sorted(pair)) for pair in zip(table["node"], table["suggestion"], strict=True)
    ))[:SUGGESTED]  # fmt: skip
    graph = networkx.Graph(network.graph.edge_index.T.tolist())
    layout = networkx.spring_layout(graph, seed=1, iterations=300, k=0.35)
    place = {network.ids[n]: np.asarray(xy) for n, xy in layout.items()}
    axes = figure.subplots()
    lines = [[layout[s], layout[t]] for s, t in graph.edges]
    axes.add_collection(LineCollection(lines, colors="0.7", linewidths=0.6))
    axes.scatter(*np.array(list(place.values())).T, s=18, color="0.4", zorder=2)
    for one, other in pairs:
        axes.plot(*np.stack([place[one], place[other]]).T, "--", color=COLOURS[1], linewidth=1.6)
    named = {name: place[name] for pair in pairs for name in pair}
    axes.scatter(*np.array(list(named.values())).T, s=36, color=COLOURS[1], zorder=3)
    axes.margins(0.06)
    axes.set_axis_off()
    name_places(axes, list(named), np.array(list(named.values())))
