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
from plait.study.claims import Answer, answer, below, settled
from plait.study.page import Block, Picture, Table, Words, copied, difference_of, drawing, mean_of
from plait.study.runs import Made, Wanted, run_of, source_of

TITLE = "What graph networks are used for"
SAYS = """Graph networks classify communities of people, recommend new connections between them, and
say how the objects that a detector found in a picture are related."""

CORA = "graphs/planetoid/ind.cora.graph"

BESIDE = {
    "communities": {
        "dense_accuracy": "the same without the graph", "spread_accuracy": "labels spread along "
                                                                           "edges",
        "prior": "always the commonest class",
    },
    "connections": {
        "dense_auc": "the same without the graph", "adamic_adar_auc": "Adamic–Adar",
        "common_neighbours_auc": "common neighbours", "degree_auc": "product of degrees",
    },
    "relations": {
        "dense_recall_at_20": "the same without messages",
        "frequency_recall_at_20": "counting the classes of both",
    },
}  # fmt: skip
"""What stands beside each score, by the score's name."""

SCORES = {"communities": "accuracy", "connections": "auc", "relations": "recall_at_20"}
WHOM = {
    "karate": "Members of a club that split", "les-miserables": "Figures of a novel",
    "cora": "Papers that cite each other", "scenes": "Objects in drawn scenes",
}  # fmt: skip
SUGGESTED = 8


def wanted(size: Mapping[str, Any]) -> dict[str, Wanted]:
    """One task for each use; larger networks too where their files are here and time is."""
    large = size["large"] and find_data(CORA) is not None
    seeds = size["seeds"]
    asked = {
        "communities": Wanted(
            "nodes", size["communities"],
            {"data": ("karate", "cora") if large else ("karate",),
             "operator": ("gcn", "attention")},
            seeds,
        ),
        "connections": Wanted(
            "links", size["connections"],
            {"data": ("les-miserables", "cora") if large else ("les-miserables",),
             "operator": ("gcn",)},
            seeds, score="auc",
        ),
        "relations": Wanted(
            "scenes", size["relations"], {"operator": ("gcn", "attention")}, seeds,
            score="recall_at_20",
        ),
    }  # fmt: skip
    return asked


def tell(
    made: Mapping[str, Made], size: Mapping[str, Any]
) -> tuple[Sequence[Block], Sequence[Answer]]:
    """Tell each use in a table and a picture."""
    large = any(p.values.get("data") == "cora" for p in made["communities"].grid.plans)
    papers = "; and cora, papers that cite each other" if large else ""
    what = {
        "communities": f"Members of a club that split, two of them labelled{papers}",
        "connections": f"Figures of a novel, some of their meetings held out{papers}",
        "relations": "Objects in drawn scenes, whose rules are known",
    }
    captions = {
        "communities": "Share of unlabelled nodes that are labelled right.",
        "connections": "How often a held-out connection scores above a pair without one (AUC).",
        "relations": "Share of a scene’s relations among the 20 likeliest, one a pair.",
    }
    pictures = {
        "communities": ("7-communities", "The club, as it is labelled and as it is predicted.",
                        copied(made["communities"].of(data="karate", operator="gcn")[0].plan.path
                               / "graph.png")),
        "connections": ("7-connections", "Dashed: the likeliest connections that the novel does "
                                         "not "
                        "have. Solid: those that it has.", _suggestions(made["connections"])),
        "relations": ("7-relations", "Relations that the network sees in scenes of the test part.",
                      copied(made["relations"].of(operator="gcn")[0].plan.path / "scenes.png"),
                      True),
    }  # fmt: skip
    blocks: list[Block] = []
    told: list[Answer] = []
    for use, one in made.items():
        rows: list[list[Any]] = []
        for values in _places(one):
            rows.append([_named(values), one.number(f"test_{SCORES[use]}", **values)])
            base = {k: v for k, v in values.items() if k != "operator"}
            if values["operator"] == one.wanted.vary["operator"][-1]:
                rows += [[_named(base, name), one.number(f"test_{score}", **values)]
                         for score, name in BESIDE[use].items()]  # fmt: skip
            told.append(
                gain_answer(
                    f"{WHOM[values.get('data', 'scenes')]}, {_operator(values)}",
                    one.values(f"test_{SCORES[use]}", **values),
                    {name: one.values(f"test_{score}", **values)
                     for score, name in BESIDE[use].items()},
                    [source_of(r) for r in one.of(**values)],
                )
            )  # fmt: skip
        if use == "relations":
            values = {"operator": one.wanted.vary["operator"][0]}
            rows.append(["who knows the rules", one.number("test_best_recall_at_20", **values)])
        picture = pictures[use]
        blocks += [
            Words(f"{what[use]}:"),
            Table(f"7-{use}", captions[use], ["who says it", SCORES[use].replace("_", " ")], rows),
            Picture(*picture),
        ]
    return blocks, told


def gain_answer(
    what: str, own: Sequence[float], others: Mapping[str, Sequence[float]], sources: Sequence[str]
) -> Answer:
    """Say whether a network does better than the best of those beside it, seed by seed.

    The report says what graph networks are used for, and not that they do better.
    """
    best = max(others, key=lambda name: statistics.fmean(others[name]))
    differences = [a - b for a, b in zip(own, others[best], strict=True)]
    less = below(differences)
    said = {
        False: "{}: {}, better than {} by {}.",
        True: "{}: {}, worse than {} by {}.",
        None: "{}: {}; beside {} the difference is not settled, {}.",
    }[less]
    verdict = settled(differences)
    if not any(differences):
        verdict, said = "measured", "{}: {}, in every run the same as {}."
    difference = difference_of(differences, "+.3f", sources)
    return answer(verdict, said, what, mean_of(own, ".3f", sources), best, difference)


def _places(one: Made) -> list[dict[str, Any]]:
    return list({repr(p.values): dict(p.values) for p in one.grid.plans}.values())


def _operator(values: Mapping[str, Any]) -> str:
    return {"gcn": "GCN", "attention": "attention"}[values["operator"]]


def _named(values: Mapping[str, Any], who: str = "") -> str:
    return f"{who or _operator(values)}{', ' + values['data'] if 'data' in values else ''}"


def _suggestions(one: Made) -> Any:
    result = one.of(data="les-miserables")[0]
    return drawing(8.5, 5.6, lambda figure: _draw(figure, result))


def _draw(figure: Figure, result: Result) -> None:
    """Draw the network, and over it the suggestions that score highest, each pair once."""
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
