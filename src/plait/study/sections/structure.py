"""Section 8: the same questions for a graph network and a recurrent one (question 3.5a)."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from plait.data import find_data
from plait.figures import COLOURS
from plait.study.page import Block, Number, Paragraph, Picture, Table, difference_of, drawing
from plait.study.runs import FinishedRuns, RunRequest, config_of
from plait.study.sections.applications import CORA
from plait.study.verdicts import Finding, below_zero, finding, verdict_of

TITLE = "A graph, or a sequence?"
REPORT_CLAIM = """Recurrent networks are expected to do better on sequential data, also because they
can be stacked deeper than graph networks for long memory; graph networks on data that is a graph,
since flattening it to a sequence (breadth or depth first) loses structural information."""

NETWORKS = {
    "gcn": "GCN", "diffusion": "diffusion", "lstm-bfs": "LSTM, breadth first",
    "lstm-dfs": "LSTM, depth first",
}  # fmt: skip
OVER_GRAPH, OVER_SEQUENCE = ("gcn", "diffusion"), ("lstm-bfs", "lstm-dfs")
PROBLEMS = {
    "neighbours": "which nodes are adjacent", "order": "which mark comes first on a long path",
    "near": "which mark comes first on a short path",
}  # fmt: skip
DEEP = {"stacked": "LSTM, recall", "layered": "GCN, node classification"}


def required_runs(size: Mapping[str, Any]) -> dict[str, RunRequest]:
    """Request every network on each problem; an LSTM and a GCN at several depths."""
    seeds, networks = size["seeds"], tuple(NETWORKS)
    asked = {
        name: RunRequest(
            "structure",
            {"problem": "order" if name == "near" else name, **size["options"], **size[name]},
            {"network": networks}, seeds,
        )
        for name in PROBLEMS
    }  # fmt: skip
    large = size["large"] and find_data(CORA) is not None
    return {
        **asked,
        "stacked": RunRequest(
            "memory", {"problem": "recall", "cell": "lstm", **size["stacked"]},
            {"layers": size["layers"]}, seeds,
        ),
        "layered": RunRequest(
            "nodes", {"data": "cora" if large else "karate", "operator": "gcn", **size["layered"]},
            {"layers": size["layers"]}, seeds,
        ),
    }  # fmt: skip


def render(
    runs: Mapping[str, FinishedRuns], size: Mapping[str, Any]
) -> tuple[Sequence[Block], Sequence[Finding]]:
    """Show which network solves which problem, and what depth adds to either kind."""
    layers = size["layers"]
    recall = config_of(runs["stacked"].results[0])
    layer = config_of(runs["order"].results[0])
    nodes = {name: config_of(runs[name].results[0]).nodes for name in PROBLEMS}
    reach = layer.layers * layer.k
    blocks: list[Block] = [
        Paragraph(
            "Two yes-or-no questions about random graphs, new ones in every batch. Neighbours: is "
            f"there an edge between two of the four marked nodes, of {nodes['neighbours']} nodes? "
            "Order: which of two marks comes first along a path? The path has "
            f"{nodes['order']} nodes, or {nodes['near']}. Half of the answers are yes. The graph "
            f"networks have {layer.layers} layers: diffusion reaches nodes {reach} edges away in "
            f"each direction, GCN {layer.layers}. The LSTMs read all nodes one after another."
        ),
        Table(
            "8-who", "Accuracy on new graphs; guessing gives 50 %.",
            ["network", "neighbours", f"order, {nodes['order']} nodes",
             f"order, {nodes['near']} nodes"],
            [[name, *(runs[p].number("test_accuracy", ".1%", network=n) for p in PROBLEMS)]
             for n, name in NETWORKS.items()],
        ),
        Paragraph(
            "Then depth alone: an LSTM that recalls the first symbol of a sequence of "
            f"{recall.length} or more, and a GCN that classifies the nodes of "
            f"{config_of(runs['layered'].results[0]).subject_name}, with the same number of "
            "training steps at every depth."
        ),
        Table(
            "8-depth", "Accuracy by the number of layers.",
            ["network", *(f"{n} layer{'s' * (n > 1)}" for n in layers)],
            [[name, *(runs[k].number("test_accuracy", ".1%", layers=n) for n in layers)]
             for k, name in DEEP.items()],
        ),
        Picture(
            "8-structure", "The same; error bars and bands: standard deviation over the seeds.",
            drawing(9.5, 4.0, lambda figure: _draw(figure, runs, layers)),
        ),
    ]  # fmt: skip
    gains = {
        key: runs[key].differences("test_accuracy", {"layers": layers[-1]}, {"layers": layers[0]})
        for key in DEEP
    }
    return blocks, [
        kind_finding("neighbours", runs["neighbours"], OVER_GRAPH, OVER_SEQUENCE),
        kind_finding("order", runs["order"], OVER_SEQUENCE, OVER_GRAPH),
        near_finding(runs["near"], nodes["near"]),
        depth_finding(gains["stacked"], gains["layered"], layers),
    ]


def kind_finding(
    problem: str, runs: FinishedRuns, expected: Sequence[str], others: Sequence[str]
) -> Finding:
    """Return whether the expected kind is more accurate; validation chooses a network of each."""
    less, text = _compared(runs, expected, others)
    verdict = verdict_of(None if less is None else not less)
    return finding(verdict, f"{PROBLEMS[problem].capitalize()}: {{}}.", text)


def near_finding(runs: FinishedRuns, nodes: int) -> Finding:
    """Return what a short path changes: a graph network sees all of it, or nearly."""
    _, text = _compared(runs, OVER_SEQUENCE, OVER_GRAPH)
    return finding("measured", "On a path of {} nodes: {}.", nodes, text)


def _compared(
    runs: FinishedRuns, one: Sequence[str], other: Sequence[str]
) -> tuple[bool | None, Markup]:
    """Return whether the network of one kind that validation chooses is worse, and the text.

    None where that is inconclusive.
    """
    own, theirs = (
        max(kind, key=lambda n: fmean(runs.values("valid_accuracy", network=n)))
        for kind in (one, other)
    )
    differences = runs.differences("test_accuracy", {"network": own}, {"network": theirs})
    text = Markup("{} has accuracy {}, {} {}; difference in percentage points {}").format(
        NETWORKS[own],
        _mean(runs, own),
        NETWORKS[theirs],
        _mean(runs, theirs),
        points(differences, "8-who"),
    )
    return below_zero(differences), text


def points(differences: Sequence[float], table: str) -> Number:
    """Return the mean difference of shares in percentage points, with a link to the table.

    >>> from plait.study.sections.structure import points
    >>> str(points([0.1, 0.2], "8-who"))
    '+15.0 (95 % interval −48.5 … +78.5)'
    """
    return difference_of([100 * d for d in differences], "+.1f", [f"#{table}"])


def depth_finding(
    stacked: Sequence[float], layered: Sequence[float], layers: Sequence[int]
) -> Finding:
    """Return whether depth adds more to the recurrent network, paired by seed."""
    less = below_zero([a - b for a, b in zip(stacked, layered, strict=True)])
    text = {
        False: "Depth adds more to the LSTM (recall) than to the GCN (node classification): from "
        "{} to {} layers, {} percentage points and {}.",
        True: "Depth adds less to the LSTM (recall) than to the GCN (node classification): from "
        "{} to {} layers, {} percentage points and {}.",
        None: "Whether depth adds more to the LSTM (recall) than to the GCN (node classification) "
        "is inconclusive: from {} to {} layers, {} percentage points and {}.",
    }[less]
    return finding(
        verdict_of(None if less is None else not less), text, layers[0], layers[-1],
        points(stacked, "8-depth"), points(layered, "8-depth"),
    )  # fmt: skip


def _mean(runs: FinishedRuns, network: str) -> Number:
    return runs.number("test_accuracy", ".1%", network=network)


def _draw(figure: Figure, runs: Mapping[str, FinishedRuns], layers: Sequence[int]) -> None:
    left, right = figure.subplots(1, 2)
    for k, (network, name) in enumerate(NETWORKS.items()):
        numbers = [_mean(runs[problem], network) for problem in PROBLEMS]
        left.bar(np.arange(3) - 0.3 + 0.2 * k, [n.value or 0 for n in numbers], 0.19,
                 yerr=[n.spread or 0 for n in numbers], color=COLOURS[k], label=name)  # fmt: skip
    left.set_xticks([0, 1, 2], ["neighbours", "order, long", "order, short"])
    left.axhline(0.5, color="0.3", linestyle="--", linewidth=1)
    for k, (key, name) in enumerate(DEEP.items()):
        found = [runs[key].number("test_accuracy", layers=n) for n in layers]
        mean = np.array([n.value or 0 for n in found])
        spread = np.array([n.spread or 0 for n in found])
        right.plot(layers, mean, "o-", color=COLOURS[4 + k], label=name)
        right.fill_between(layers, mean - spread, mean + spread, color=COLOURS[4 + k], alpha=0.2,
                           linewidth=0)  # fmt: skip
    right.set_xticks(layers)
    right.set_xlabel("layers")
    for axes in (left, right):
        axes.set_ylim(0, 1.03)
        axes.set_ylabel("accuracy")
    entries = [*left.get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0]]
    figure.legend(handles=entries, loc="outside lower center", ncols=3)
