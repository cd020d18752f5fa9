"""Section 6: the graph layer, its receptive field, the memory of an adjacency, attention."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import networkx
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor

from plait.figures import COLOURS
from plait.graph_data import named_labelled_graph
from plait.nn.attention import neighbourhood_of
from plait.nn.filters import GCN
from plait.nn.graph import Graph
from plait.study.graph_measures import (
    ALLOCATED,
    DEGREE,
    adjacency_bytes,
    attention_of,
    influence,
)
from plait.study.mathml import bounded, formula, indexed
from plait.study.page import Block, Number, Paragraph, Picture, Table, drawing, mean_of
from plait.study.runs import FinishedRuns, RunRequest, source_of
from plait.study.verdicts import Finding, finding, verdict_of

TITLE = "The graph layer"
REPORT_CLAIM = """A graph layer averages each node’s message with those of its neighbours. The
report gives the adjacency matrix of a graph of six nodes; information needs 4 updates from C to E.
A dense adjacency matrix does not scale, a list of edges does. Attention replaces the simple average
by a weighted one."""

NAMES = "ABCDEF"
EDGES = "AB AE AF BD CD DF"
REPORTED = (
    (1, 1, 0, 0, 1, 1), (1, 1, 0, 1, 0, 0), (0, 0, 1, 1, 0, 0),
    (0, 1, 1, 1, 0, 1), (1, 0, 0, 0, 1, 0), (1, 0, 0, 1, 0, 1),
)  # fmt: skip
"""Ã as the report prints it."""

FROM, TO, UPDATES = "C", "E", 4
PLACES = {"A": (0, 1), "B": (1, 1.35), "C": (3.1, 1), "D": (2.1, 1), "E": (-1, 1), "F": (1, 0.65)}


@dataclass(frozen=True)
class Measured:
    """What this section measures.

    Attributes
    ----------
    influence : sequence of float
        ‖∂h(E)/∂x(C)‖ by the number of layers.
    memory : mapping of (int, int)
        By the number of nodes, bytes of a dense adjacency and of a list of edges.
    coefficients : Tensor
        Attention of the first seed's network, by edges of the club.
    sums, shifts : sequence of float
        By seed: the mean sum of a node's coefficients, and their distance from the average.
    sources : sequence of str
        The links to the runs.
    """

    influence: Sequence[float]
    memory: Mapping[int, tuple[int, int]]
    coefficients: Tensor
    sums: Sequence[float]
    shifts: Sequence[float]
    sources: Sequence[str]


def six_nodes() -> Graph:
    """Return the report's graph."""
    number = {name: k for k, name in enumerate(NAMES)}
    pairs = [(number[s], number[t]) for s, t in EDGES.split()]
    return Graph.from_edges(pairs, num_nodes=len(NAMES)).to_undirected()


def required_runs(size: Mapping[str, Any]) -> dict[str, RunRequest]:
    """Request a network with attention that predicts which side each member of a club takes."""
    options = {"data": "karate", **size["options"]}
    request = RunRequest("nodes", options, {"operator": ["attention"]}, size["seeds"])
    return {"attention": request}


def render(
    runs: Mapping[str, FinishedRuns], size: Mapping[str, Any]
) -> tuple[Sequence[Block], Sequence[Finding]]:
    """Show which nodes a layer aggregates, and with which weights."""
    graph, club = six_nodes(), named_labelled_graph("karate").graph
    measured = measure(runs["attention"], graph, club, size["nodes"])
    return blocks(graph, club, measured), findings(graph, measured)


def measure(attention: FinishedRuns, graph: Graph, club: Graph, nodes: Sequence[int]) -> Measured:
    """Measure influence, memory and attention."""
    found = [attention_of(result, club) for result in attention.results]
    return Measured(
        influence(graph, NAMES.index(FROM), NAMES.index(TO), UPDATES + 1),
        {n: adjacency_bytes(n) for n in nodes},
        found[0][0],
        [float(alpha.sum()) / club.num_nodes for alpha, _ in found],
        [shift for _, shift in found],
        [source_of(result) for result in attention.results],
    )


def blocks(graph: Graph, club: Graph, measured: Measured) -> Sequence[Block]:
    """Return the equation, the tables and the pictures."""
    average = GCN().apply(torch.eye(6).double(), {"weight": torch.eye(6).double()}, graph)
    to, listed = NAMES.index(TO), ["tables/6-memory.csv"]
    return [
        _LAYER,
        Table(
            "6-average",
            "Â of the report’s six nodes: row i holds the weights with which node i aggregates "
            "the nodes of the columns.",
            ["node", *NAMES],
            [[name, *(Number(float(v), ".3f", ["tables/6-average.csv"]) if v else "0" for v in row)]
             for name, row in zip(NAMES, average, strict=True)],
        ),
        Picture(
            "6-fields",
            f"The receptive field of {TO} after 0 to {UPDATES} updates.",
            drawing(10, 2.1, lambda figure: _draw_fields(figure, graph)),
        ),
        Table(
            "6-updates",
            f"The receptive field of {TO}, and how strongly its output depends on the features of "
            f"{FROM}, by the number of graph layers (random weights).",
            ["layers", "receptive field", f"‖∂h({TO})/∂x({FROM})‖"],
            [[str(k), " ".join(NAMES[n] for n in graph.receptive_field(to, k)),
              Number(value, ".2g", ["tables/6-updates.csv"])]
             for k, value in enumerate(measured.influence)],
        ),
        Table(
            "6-memory",
            f"Memory of the adjacency of random graphs with {DEGREE} neighbours per node, in MB: "
            "dense, and as a list of weighted edges.",
            ["nodes", "dense", "list of edges", "ratio"],
            [[f"{nodes:,}", *(Number(v / 1e6, ",.3f" if v < 1e8 else ",.0f", listed) for v in both),
              Number(both[0] / both[1], ",.1f", listed)]
             for nodes, both in measured.memory.items()],
        ),
        Picture(
            "6-memory", "The same. Filled: allocated and measured; open: computed as 4 N² bytes.",
            drawing(6.5, 3.6, lambda figure: _draw_memory(figure, measured.memory)),
        ),
        Paragraph(
            "A network with attention learns which side each member of the karate club takes; only "
            "the two leaders are labelled. The weights of its last layer:"
        ),
        Picture(
            "6-attention",
            "The weight of each neighbour in Zachary’s karate club: in Â, and with attention after "
            "training. Each half of an edge is as wide as its end node weighs the other. Squares: "
            "the leaders.",
            drawing(10, 4.6, lambda figure: _draw_attention(figure, club, measured.coefficients)),
        ),
    ]  # fmt: skip


def findings(graph: Graph, measured: Measured) -> list[Finding]:
    """Compare the report's matrix, updates, memory and attention with what is measured."""
    adjacency = torch.eye(len(NAMES))
    adjacency[graph.edge_index[1], graph.edge_index[0]] = 1
    same = torch.equal(adjacency, torch.tensor(REPORTED, dtype=torch.float))
    hops = graph.hops(NAMES.index(FROM), NAMES.index(TO))
    first = next((k for k, value in enumerate(measured.influence) if value), None)
    largest = max(measured.memory)
    dense, edges = measured.memory[largest]
    link = ["tables/6-memory.csv"]
    return [
        finding(
            verdict_of(same),
            "Ã is the report’s matrix, entry by entry." if same
            else "Ã is not the report’s matrix.",
        ),
        finding(
            verdict_of(hops == first == UPDATES),
            "The shortest path from {} to {} has {} edges; the output first depends on the input "
            "in layer {}.",
            FROM, TO, hops, first,
        ),
        finding(
            verdict_of(edges < dense),
            "At {} nodes, a dense adjacency takes {} MB, a list of edges {} MB.",
            f"{largest:,}", Number(dense / 1e6, ",.0f", link), Number(edges / 1e6, ",.1f", link),
        ),
        finding(
            "measured",
            "A node’s attention weights sum to {}; {} of the weight differs from the simple "
            "average.",
            mean_of(measured.sums, ".3f", measured.sources),
            mean_of(measured.shifts, ".1%", measured.sources),
        ),
    ]  # fmt: skip


def _draw_fields(figure: Figure, graph: Graph) -> None:
    to = NAMES.index(TO)
    lines = [[PLACES[s], PLACES[t]] for s, t in EDGES.split()]
    for updates, axes in enumerate(figure.subplots(1, UPDATES + 1)):
        field = set(graph.receptive_field(to, updates).tolist())
        axes.add_collection(LineCollection(lines, colors="0.6", linewidths=1))
        for k, name in enumerate(NAMES):
            colour = COLOURS[1] if k == to else COLOURS[0] if k in field else "0.85"
            axes.scatter(*PLACES[name], s=170, color=colour, zorder=2)
            axes.annotate(name, PLACES[name], ha="center", va="center", fontsize=8,
                          color="white" if k in field else "0.4", zorder=3)  # fmt: skip
        axes.set_title(f"{updates} update{'s' * (updates != 1)}")
        axes.margins(0.15, 0.6)
        axes.set_axis_off()


def _draw_memory(figure: Figure, memory: Mapping[int, tuple[int, int]]) -> None:
    axes = figure.subplots()
    nodes = list(memory)
    for k, label in enumerate(("dense", "list of edges")):
        values = [memory[n][k] / 1e6 for n in nodes]
        axes.loglog(nodes, values, color=COLOURS[1 - k], label=label)
        allocated = [k == 1 or n <= ALLOCATED for n in nodes]
        for n, value, filled in zip(nodes, values, allocated, strict=True):
            axes.plot(n, value, "o", color=COLOURS[1 - k], fillstyle="full" if filled else "none")
    axes.set_xlabel("nodes")
    axes.set_ylabel("adjacency, MB")
    axes.legend()


def _draw_attention(figure: Figure, graph: Graph, alpha: Tensor) -> None:
    layout = networkx.spring_layout(networkx.karate_club_graph(), seed=0, iterations=200)
    places = np.array([layout[n] for n in range(graph.num_nodes)])
    hood = neighbourhood_of(graph)
    sources, targets = hood.sources.numpy(), hood.targets.numpy()
    eye = torch.eye(graph.num_nodes)
    average = GCN().apply(eye, {"weight": eye}, graph).numpy()
    for axes, weights, title in zip(
        figure.subplots(1, 2), (average[targets, sources], alpha.numpy()),
        ("Â, from degrees and edge weights", "attention"), strict=True,
    ):  # fmt: skip
        _draw_weights(axes, places, sources, targets, weights)
        axes.set_title(title)


def _draw_weights(
    axes: Axes, places: np.ndarray, sources: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> None:
    """Draw the half of every edge next to its target, as wide as its weight."""
    other = sources != targets
    middles = (places[sources[other]] + places[targets[other]]) / 2
    lines = np.stack([places[targets[other]], middles], 1)
    axes.add_collection(
        LineCollection(list(lines), linewidths=0.3 + 6 * weights[other], colors=COLOURS[0],
                       alpha=0.7, capstyle="butt")
    )  # fmt: skip
    leaders = np.isin(np.arange(len(places)), (0, len(places) - 1))
    for which, mark, size in ((~leaders, "o", 40), (leaders, "s", 70)):
        axes.scatter(*places[which].T, s=size, marker=mark, color="0.25", zorder=2)
    axes.margins(0.08)
    axes.set_axis_off()


_LAYER = formula(
    "The layer: sigma of A hat times H times W, where A hat is D tilde to the minus one half "
    "times A tilde times D tilde to the minus one half, and A tilde is A plus the identity.",
    indexed("H", above="(l+1)"), "= σ (", "<mover><mi>A</mi><mo>^</mo></mover>",
    indexed("H", above="(l)"), indexed("W", above="(l)"), ") ,",
    "<mspace width='1.2em'></mspace>",
    "<msub><mover><mi>A</mi><mo>^</mo></mover><mrow><mi>i</mi><mi>j</mi></mrow></msub>", "=",
    "<mfrac><msub><mover><mi>A</mi><mo>~</mo></mover><mrow><mi>i</mi><mi>j</mi></mrow></msub>"
    "<msqrt><mrow><msub><mi>d</mi><mi>i</mi></msub><msub><mi>d</mi><mi>j</mi></msub></mrow></msqrt>"
    "</mfrac>", ",", indexed("d", "i"), "=", bounded("∑", "j"),
    "<msub><mover><mi>A</mi><mo>~</mo></mover><mrow><mi>i</mi><mi>j</mi></mrow></msub>",
)  # fmt: skip
