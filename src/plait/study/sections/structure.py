"""Section 8: a graph, or a sequence of its nodes: the measured answer to question 3.5a."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from plait.data import find_data
from plait.figures import COLOURS
from plait.study.claims import Answer, answer, below, verdict_of
from plait.study.page import Block, Number, Picture, Table, Words, difference_of, drawing
from plait.study.runs import Made, Wanted
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
PROBLEMS = {"neighbours": "who is joined to whom", "order": "what comes first"}
DEEP = {"stacked": "LSTM, recall", "layered": "GCN, labels of nodes"}


def wanted(size: Mapping[str, Any]) -> dict[str, Wanted]:
    """Every network on both questions; an LSTM and a GCN at several depths."""
    seeds, networks = size["seeds"], tuple(NETWORKS)
    asked = {
        problem: Wanted(
            "structure", {"problem": problem, **size["options"], **size[problem]},
            {"network": networks}, seeds,
        )
        for problem in PROBLEMS
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
    recall = made["stacked"].grid.plans[0].config
    blocks: list[Block] = [
        Words(
            "Two questions about drawn graphs, fresh ones in every batch. Neighbours: does an "
            "edge join two of the four marked nodes? Order: which of two marks comes first along "
            "a path? Half of the answers are yes."
        ),
        Table(
            "8-who", "Right answers on fresh graphs; without looking, 50%.",
            ["network", *PROBLEMS],
            [[name, *(made[p].number("test_accuracy", ".1%", network=n) for p in PROBLEMS)]
             for n, name in NETWORKS.items()],
        ),
        Words(
            "Then depth, by itself: an LSTM that is to recall the first symbol of "
            f"{getattr(recall, 'length', 0)} and more, and a GCN that labels the nodes of "
            f"{made['layered'].grid.plans[0].config.subject_name}, the same steps for every depth."
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
        depth_answer(gains["stacked"], gains["layered"], layers),
    ]


def reader_answer(
    problem: str, made: Made, expected: Sequence[str], others: Sequence[str]
) -> Answer:
    """Say whether the expected kind answers better; validation chooses the network of either."""
    own, other = (
        max(kind, key=lambda n: fmean(made.values("valid_accuracy", network=n)))
        for kind in (expected, others)
    )
    differences = made.differences("test_accuracy", {"network": own}, {"network": other})
    less = below(differences)
    said = "{}: {} is right in {}, {} in {}; difference {}."
    what = PROBLEMS[problem].capitalize()
    return answer(
        verdict_of(None if less is None else not less), said, what,
        NETWORKS[own], _mean(made, own), NETWORKS[other], _mean(made, other),
        difference_of(differences, "+.3f", ["tables/8-who.csv"]),
    )  # fmt: skip


def depth_answer(
    stacked: Sequence[float], layered: Sequence[float], layers: Sequence[int]
) -> Answer:
    """Say whether depth helps the recurrent network; the graph network stands beside it."""
    less = below(stacked)
    said = {
        False: "Stacking helps the LSTM: from {} to {} layers {}; the GCN {}.",
        True: "Stacking harms the LSTM here: from {} to {} layers {}; the GCN {}.",
        None: "That stacking helps the LSTM is not settled: from {} to {} layers {}; the GCN {}.",
    }[less]
    return answer(
        verdict_of(None if less is None else not less), said, layers[0], layers[-1],
        *(difference_of(gains, "+.3f", ["tables/8-depth.csv"]) for gains in (stacked, layered)),
    )  # fmt: skip


def _mean(made: Made, network: str) -> Number:
    return made.number("test_accuracy", ".1%", network=network)


def _draw(figure: Figure, made: Mapping[str, Made], layers: Sequence[int]) -> None:
    left, right = figure.subplots(1, 2)
    for k, (network, name) in enumerate(NETWORKS.items()):
        numbers = [_mean(made[problem], network) for problem in PROBLEMS]
        left.bar(np.arange(2) - 0.3 + 0.2 * k, [n.value or 0 for n in numbers], 0.19,
                 yerr=[n.spread or 0 for n in numbers], color=COLOURS[k], label=name)  # fmt: skip
    left.set_xticks([0, 1], list(PROBLEMS))
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
