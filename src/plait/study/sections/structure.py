"""Section 8: a graph, or a sequence of its nodes: the measured answer to question 3.5a."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from plait.data import find_data
from plait.figures import COLOURS
from plait.study.claims import Answer, answer, below, verdict_of
from plait.study.page import Block, Number, Picture, Table, Words, difference_of, drawing
from plait.study.runs import Made, Wanted, config_of
from plait.study.sections.applications import CORA

TITLE = "A graph, or a sequence?"
SAYS = """Recurrent networks are expected to do better where data is sequential, also because they
can be stacked deeper than graph networks for long memory; graph networks where it is a graph, since
flattening it (breadth or depth first) loses structure."""

NETWORKS = {
    "gcn": "GCN", "diffusion": "diffusion", "lstm-bfs": "LSTM, breadth first",
    "lstm-dfs": "LSTM, depth first",
}  # fmt: skip
OVER_GRAPH, OVER_SEQUENCE = ("gcn", "diffusion"), ("lstm-bfs", "lstm-dfs")
PROBLEMS = {
    "neighbours": "who is joined to whom", "order": "what comes first on a long path",
    "near": "what comes first on a short path",
}  # fmt: skip
DEEP = {"stacked": "LSTM, recall", "layered": "GCN, labels of nodes"}


def wanted(size: Mapping[str, Any]) -> dict[str, Wanted]:
    """Every network on both questions; an LSTM and a GCN at several depths."""
    seeds, networks = size["seeds"], tuple(NETWORKS)
    asked = {
        name: Wanted(
            "structure",
            {"problem": "order" if name == "near" else name, **size["options"], **size[name]},
            {"network": networks}, seeds,
        )
        for name in PROBLEMS
    }  # fmt: skip
    large = size["large"] and find_data(CORA) is not None
    return {
        **asked,
        "stacked": Wanted(
            "memory", {"problem": "recall", "cell": "lstm", **size["stacked"]},
            {"layers": size["layers"]}, seeds,
        ),
        "layered": Wanted(
            "nodes", {"data": "cora" if large else "karate", "operator": "gcn", **size["layered"]},
            {"layers": size["layers"]}, seeds,
        ),
    }  # fmt: skip


def tell(
    made: Mapping[str, Made], size: Mapping[str, Any]
) -> tuple[Sequence[Block], Sequence[Answer]]:
    """Tell who answers which question, and what depth brings to either kind."""
    layers = size["layers"]
    recall = config_of(made["stacked"].results[0])
    layer = config_of(made["order"].results[0])
    nodes = {name: config_of(made[name].results[0]).nodes for name in PROBLEMS}
    reach = layer.layers * layer.k
    blocks: list[Block] = [
        Words(
            "Two questions about drawn graphs, fresh ones in every batch. Neighbours: does an "
            f"edge join two of the four marked nodes, of {nodes['neighbours']}? Order: which of "
            f"two marks comes first along a path, of {nodes['order']} nodes, and of "
            f"{nodes['near']}? Half of the answers are yes. The graph networks have "
            f"{layer.layers} layers, through which diffusion hears {reach} edges away each way and "
            f"GCN {layer.layers}; the LSTMs read all nodes one by one."
        ),
        Table(
            "8-who", "Right answers on fresh graphs; without looking, 50%.",
            ["network", "neighbours", f"order, {nodes['order']} nodes",
             f"order, {nodes['near']} nodes"],
            [[name, *(made[p].number("test_accuracy", ".1%", network=n) for p in PROBLEMS)]
             for n, name in NETWORKS.items()],
        ),
        Words(
            "Then depth, by itself: an LSTM that is to recall the first symbol of "
            f"{recall.length} and more, and a GCN that labels the nodes of "
            f"{config_of(made['layered'].results[0]).subject_name}, the same steps for every depth."
        ),
        Table(
            "8-depth", "Right answers by the number of layers.",
            ["network", *(f"{n} layer{'s' * (n > 1)}" for n in layers)],
            [[name, *(made[k].number("test_accuracy", ".1%", layers=n) for n in layers)]
             for k, name in DEEP.items()],
        ),
        Picture(
            "8-structure", "The same; bars and bands are the standard deviation over the seeds.",
            drawing(9.5, 4.0, lambda figure: _draw(figure, made, layers)),
        ),
    ]  # fmt: skip
    gains = {
        key: made[key].differences("test_accuracy", {"layers": layers[-1]}, {"layers": layers[0]})
        for key in DEEP
    }
    return blocks, [
        reader_answer("neighbours", made["neighbours"], OVER_GRAPH, OVER_SEQUENCE),
        reader_answer("order", made["order"], OVER_SEQUENCE, OVER_GRAPH),
        near_answer(made["near"], nodes["near"]),
        depth_answer(gains["stacked"], gains["layered"], layers),
    ]


def reader_answer(
    problem: str, made: Made, expected: Sequence[str], others: Sequence[str]
) -> Answer:
    """Say whether the expected kind answers better; validation chooses the network of either."""
    less, told = _beside(made, expected, others)
    verdict = verdict_of(None if less is None else not less)
    return answer(verdict, f"{PROBLEMS[problem].capitalize()}: {{}}.", told)


def near_answer(made: Made, nodes: int) -> Answer:
    """Say what a short path changes: there a graph network hears from end to end, or nearly."""
    _, told = _beside(made, OVER_SEQUENCE, OVER_GRAPH)
    return answer("measured", "On a path of {} nodes: {}.", nodes, told)


def _beside(made: Made, one: Sequence[str], other: Sequence[str]) -> tuple[bool | None, Markup]:
    """Set the network of either kind that validation chooses beside the other: whether it is worse.

    None where that is not settled; and how it is told.
    """
    own, theirs = (
        max(kind, key=lambda n: fmean(made.values("valid_accuracy", network=n)))
        for kind in (one, other)
    )
    differences = made.differences("test_accuracy", {"network": own}, {"network": theirs})
    told = Markup("{} is right in {}, {} in {}; difference in points {}").format(
        NETWORKS[own],
        _mean(made, own),
        NETWORKS[theirs],
        _mean(made, theirs),
        points(differences, "8-who"),
    )
    return below(differences), told


def points(differences: Sequence[float], table: str) -> Number:
    """Give the mean of differences of shares, in percentage points, with a link to the table.

    >>> from plait.study.sections.structure import points
    >>> str(points([0.1, 0.2], "8-who"))
    '+15.0 (95 % interval −48.5 … +78.5)'
    """
    return difference_of([100 * d for d in differences], "+.1f", [f"#{table}"])


def depth_answer(
    stacked: Sequence[float], layered: Sequence[float], layers: Sequence[int]
) -> Answer:
    """Say whether depth brings the recurrent network more than the graph network, seed by seed."""
    less = below([a - b for a, b in zip(stacked, layered, strict=True)])
    said = {
        False: "Depth brings more to the LSTM, which recalls, than to the GCN, which labels nodes: "
        "from {} to {} layers {} points and {}.",
        True: "Depth brings less to the LSTM, which recalls, than to the GCN, which labels nodes: "
        "from {} to {} layers {} points and {}.",
        None: "That depth brings more to the LSTM, which recalls, than to the GCN, which labels "
        "nodes, is not settled: from {} to {} layers {} points and {}.",
    }[less]
    return answer(
        verdict_of(None if less is None else not less), said, layers[0], layers[-1],
        points(stacked, "8-depth"), points(layered, "8-depth"),
    )  # fmt: skip


def _mean(made: Made, network: str) -> Number:
    return made.number("test_accuracy", ".1%", network=network)


def _draw(figure: Figure, made: Mapping[str, Made], layers: Sequence[int]) -> None:
    left, right = figure.subplots(1, 2)
    for k, (network, name) in enumerate(NETWORKS.items()):
        numbers = [_mean(made[problem], network) for problem in PROBLEMS]
        left.bar(np.arange(3) - 0.3 + 0.2 * k, [n.value or 0 for n in numbers], 0.19,
                 yerr=[n.spread or 0 for n in numbers], color=COLOURS[k], label=name)  # fmt: skip
    left.set_xticks([0, 1, 2], ["neighbours", "order, long", "order, short"])
    left.axhline(0.5, color="0.3", linestyle="--", linewidth=1)
    for k, (key, name) in enumerate(DEEP.items()):
        found = [made[key].number("test_accuracy", layers=n) for n in layers]
        mean = np.array([n.value or 0 for n in found])
        spread = np.array([n.spread or 0 for n in found])
        right.plot(layers, mean, "o-", color=COLOURS[4 + k], label=name)
        right.fill_between(layers, mean - spread, mean + spread, color=COLOURS[4 + k], alpha=0.2,
                           linewidth=0)  # fmt: skip
    right.set_xticks(layers)
    right.set_xlabel("layers")
    for axes in (left, right):
        axes.set_ylim(0, 1.03)
        axes.set_ylabel("accuracy, share right")
    entries = [*left.get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0]]
    figure.legend(handles=entries, loc="outside lower center", ncols=3)
