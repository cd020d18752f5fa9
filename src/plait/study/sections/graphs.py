"""Section 6: the graph layer, what it hears, what it costs to keep, and attention."""

from collections.abc import Mapping, Sequence
from typing import Any

import networkx
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from plait.comparison.results import Result
from plait.figures import COLOURS
from plait.graph_data import named_labelled_graph
from plait.kernels.attention import SLOPE
from plait.nn.attention import neighbourhood_of
from plait.nn.convolution import GraphConv
from plait.nn.filters import GCN
from plait.nn.graph import Graph
from plait.study.claims import Answer, answer, verdict_of
from plait.study.mathml import at, formula, whole
from plait.study.page import Block, Number, Picture, Table, Words, drawing
from plait.study.runs import Made, Wanted, model_of, source_of

TITLE = "The graph layer"
SAYS = """A layer averages each node’s message with its neighbours’. The adjacency of the report’s
graph of six nodes is given, and it takes 4 updates from C to E. A dense adjacency does not scale, a
list of edges does. Attention replaces the plain average by a weighted one."""

NAMES = "ABCDEF"
EDGES = "AB AE AF BD CD DF"
REPORTED = (
    (1, 1, 0, 0, 1, 1), (1, 1, 0, 1, 0, 0), (0, 0, 1, 1, 0, 0),
    (0, 1, 1, 1, 0, 1), (1, 0, 0, 0, 1, 0), (1, 0, 0, 1, 0, 1),
)  # fmt: skip
"""Ã as the report prints it."""

FROM, TO, UPDATES = "C", "E", 4
PLACES = {"A": (0, 1), "B": (1, 1.35), "C": (3.1, 1), "D": (2.1, 1), "E": (-1, 1), "F": (1, 0.65)}
DEGREE = 6
"""Neighbours of a node in the graphs whose memory is measured, in the mean."""

ALLOCATED = 5000
"""Nodes up to which the dense adjacency is made; beyond, its N² numbers of 4 bytes are counted."""


def six_nodes() -> Graph:
    """Make the report's graph."""
    number = {name: k for k, name in enumerate(NAMES)}
    pairs = [(number[s], number[t]) for s, t in EDGES.split()]
    return Graph.from_edges(pairs, num_nodes=len(NAMES)).to_undirected()


def wanted(size: Mapping[str, Any]) -> dict[str, Wanted]:
    """A network with attention that tells the members of a club apart."""
    options = {"data": "karate", **size["options"]}
    return {"attention": Wanted("nodes", options, {"operator": ["attention"]})}


@torch.no_grad()
def tell(
    made: Mapping[str, Made], size: Mapping[str, Any]
) -> tuple[Sequence[Block], Sequence[Answer]]:
    """Tell what the layer hears and how it weighs."""
    graph = six_nodes()
    average = GCN().apply(torch.eye(6).double(), {"weight": torch.eye(6).double()}, graph)
    felt = influence(graph, NAMES.index(FROM), NAMES.index(TO), UPDATES + 1)
    memory = {nodes: kept_bytes(nodes) for nodes in size["nodes"]}
    result = made["attention"].results[0]
    source, club = source_of(result), named_labelled_graph("karate").graph
    alpha, apart = attention_of(result, club)
    to, listed = NAMES.index(TO), ["tables/6-memory.csv"]
    blocks: list[Block] = [
        _LAYER,
        Table(
            "6-average",
            "Â of the report’s six nodes: who hears whom, and how loudly.",
            ["hears", *NAMES],
            [[name, *(Number(float(v), ".3f", ["tables/6-average.csv"]) if v else "0" for v in row)]
             for name, row in zip(NAMES, average, strict=True)],
        ),
        Picture(
            "6-fields",
            f"The nodes that {TO} has heard of, update by update.",
            drawing(10, 2.1, lambda figure: _draw_fields(figure, graph)),
        ),
        Table(
            "6-updates",
            f"What {TO} has heard of, and how much the features of {FROM} change its own, in a "
            "stack of so many graph layers with random weights.",
            ["updates", "heard of", f"‖∂h({TO})/∂x({FROM})‖"],
            [[str(k), " ".join(NAMES[n] for n in graph.receptive_field(to, k)),
              Number(value, ".2g", ["tables/6-updates.csv"])] for k, value in enumerate(felt)],
        ),
        Table(
            "6-memory",
            f"Memory of the adjacency of random graphs with {DEGREE} neighbours a node, in MB: "
            "dense, and as a list of edges with weights.",
            ["nodes", "dense", "edges", "dense / edges"],
            [[f"{nodes:,}", *(Number(v / 1e6, ",.3f" if v < 1e8 else ",.0f", listed) for v in both),
              Number(both[0] / both[1], ",.1f", listed)] for nodes, both in memory.items()],
        ),
        Picture(
            "6-memory", "The same. Filled: made and measured; open: by N² numbers of 4 bytes.",
            drawing(6.5, 3.6, lambda figure: _draw_memory(figure, memory)),
        ),
        Words(
            "A network with attention learns which club each member joins, from the two leaders’ "
            "alone. Its last layer weighs whom each member hears:"
        ),
        Picture(
            "6-attention",
            "How loudly each member of the karate club hears each neighbour: in Â, and with "
            "attention after training. The squares are the leaders.",
            drawing(10, 4.6, lambda figure: _draw_attention(figure, club, alpha)),
        ),
    ]  # fmt: skip
    return blocks, answers(graph, felt, memory, float(alpha.sum()) / club.num_nodes, apart, source)


def answers(
    graph: Graph, felt: Sequence[float], memory: Mapping[int, tuple[int, int]],
    summed: float, apart: float, source: str,
) -> list[Answer]:  # fmt: skip
    """Hold the report's matrix, its updates, its memory and its attention against what is found."""
    adjacency = torch.eye(len(NAMES))
    adjacency[graph.edge_index[1], graph.edge_index[0]] = 1
    same = torch.equal(adjacency, torch.tensor(REPORTED, dtype=torch.float))
    hops = graph.hops(NAMES.index(FROM), NAMES.index(TO))
    first = next((k for k, value in enumerate(felt) if value), None)
    largest = max(memory)
    dense, edges = memory[largest]
    link = ["tables/6-memory.csv"]
    return [
        answer(
            verdict_of(same),
            "Ã is the report’s matrix, entry by entry." if same else "Ã is not the report’s "
                                                                     "matrix.",
        ),
        answer(
            verdict_of(hops == first == UPDATES),
            "From {} to {} it takes {} updates; in the layers the first trace comes with {}.",
            FROM, TO, hops, first,
        ),
        answer(
            verdict_of(edges < dense),
            "At {} nodes a dense adjacency takes {} MB, a list of edges {} MB.",
            f"{largest:,}", Number(dense / 1e6, ",.0f", link), Number(edges / 1e6, ",.1f", link),
        ),
        answer(
            "measured",
            "With attention what a node hears still sums to {}, and {} of it is shifted away "
            "from the plain average.",
            Number(summed, ".3f", [source]), Number(apart, ".1%", [source]),
        ),
    ]  # fmt: skip


def influence(graph: Graph, source: int, target: int, most: int) -> list[float]:
    """Give ‖∂h(target)/∂x(source)‖ in stacks of 0, 1, … graph layers; weights are drawn."""
    torch.manual_seed(0)
    layers = nn.ModuleList(GraphConv(GCN(), 8, 8) for _ in range(most)).double()
    with torch.enable_grad():
        x = torch.randn(graph.num_nodes, 8, dtype=torch.float64, requires_grad=True)
        h, found = x, []
        for k in range(most + 1):
            (gradient,) = torch.autograd.grad(h[target].sum(), x, retain_graph=True)
            found.append(float(gradient[source].norm()))
            if k < most:
                h = torch.tanh(layers[k](h, graph))
    return found


def kept_bytes(nodes: int) -> tuple[int, int]:
    """Give the bytes of a dense adjacency, and of a list of edges, of one random graph."""
    random = np.random.default_rng(0)
    index = random.integers(nodes, size=(2, nodes * DEGREE // 2))
    index = np.unique(index[:, index[0] != index[1]], axis=1)
    graph = Graph(index, num_nodes=nodes).to_undirected()
    edges = graph.edge_index.nbytes + graph.edge_weight.nbytes
    if nodes > ALLOCATED:
        return 4 * nodes * nodes, edges
    dense = torch.zeros(nodes, nodes)
    dense[graph.edge_index[1], graph.edge_index[0]] = graph.edge_weight
    return dense.nbytes, edges


def attention_of(result: Result, graph: Graph) -> tuple[Tensor, float]:
    """Give the last layer's coefficients, and how far they are from the plain average.

    The distance is the mean over the nodes of ½ Σ_j |α_ij − 1/|N(i)||: the share that is shifted.
    """
    model = model_of(result)
    conv = model.layers[-1]
    alpha = coefficients(conv, model.represent(None, graph), graph)
    hood = neighbourhood_of(graph)
    targets = hood.targets.long()
    plain = 1 / torch.bincount(targets, minlength=graph.num_nodes)[targets]
    return alpha, float((alpha - plain).abs().sum() / 2 / graph.num_nodes)


def coefficients(conv: GraphConv, x: Tensor, graph: Graph) -> Tensor:
    """Give α of a layer of attention (version 1, one head), by its neighbourhood's edges, `[E]`.

    α_i = softmax over j of LeakyReLU(aᵀ z_j + bᵀ z_i), z = x Wᵀ.
    """
    weights = conv.weights
    z = F.linear(x, weights["weight"])
    hood = neighbourhood_of(graph)
    sources, targets = hood.sources.long(), hood.targets.long()
    left, right = z @ weights["source"][0], z @ weights["target"][0]
    e = F.leaky_relu(left[sources] + right[targets], SLOPE).double().exp()
    total = e.new_zeros(graph.num_nodes).index_add_(0, targets, e)
    return e / total[targets]


def _draw_fields(figure: Figure, graph: Graph) -> None:
    to = NAMES.index(TO)
    lines = [[PLACES[s], PLACES[t]] for s, t in EDGES.split()]
    for updates, axes in enumerate(figure.subplots(1, UPDATES + 1)):
        heard = set(graph.receptive_field(to, updates).tolist())
        axes.add_collection(LineCollection(lines, colors="0.6", linewidths=1))
        for k, name in enumerate(NAMES):
            colour = COLOURS[1] if k == to else COLOURS[0] if k in heard else "0.85"
            axes.scatter(*PLACES[name], s=170, color=colour, zorder=2)
            axes.annotate(name, PLACES[name], ha="center", va="center", fontsize=8,
                          color="white" if k in heard else "0.4", zorder=3)  # fmt: skip
        axes.set_title(f"{updates} update{'s' * (updates != 1)}")
        axes.margins(0.15, 0.6)
        axes.set_axis_off()


def _draw_memory(figure: Figure, memory: Mapping[int, tuple[int, int]]) -> None:
    axes = figure.subplots()
    nodes = list(memory)
    for k, label in enumerate(("dense", "list of edges")):
        values = [memory[n][k] / 1e6 for n in nodes]
        axes.loglog(nodes, values, color=COLOURS[1 - k], label=label)
        made = [k == 1 or n <= ALLOCATED for n in nodes]
        for n, value, filled in zip(nodes, values, made, strict=True):
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
        ("Â, by degrees and how often they met", "attention"), strict=True,
    ):  # fmt: skip
        _draw_weights(axes, places, sources, targets, weights)
        axes.set_title(title)


def _draw_weights(
    axes: Axes, places: np.ndarray, sources: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> None:
    """Draw half of every edge, that of its hearer, as wide as it is heard."""
    other = sources != targets
    middles = (places[sources[other]] + places[targets[other]]) / 2
    lines = np.stack([places[targets[other]], middles], 1)
    axes.add_collection(
        LineCollection(list(lines), linewidths=0.3 + 6 * weights[other], colors=COLOURS[0],
                       alpha=0.7, capstyle="butt")
    )  # fmt: skip
    leaders = np.isin(np.arange(len(places)), (0, len(places) - 1))
    for of, mark, size in ((~leaders, "o", 40), (leaders, "s", 70)):
        axes.scatter(*places[of].T, s=size, marker=mark, color="0.25", zorder=2)
    axes.margins(0.08)
    axes.set_axis_off()


_LAYER = formula(
    "The layer: sigma of A hat times H times W, where A hat is D tilde to the minus one half "
    "times A tilde times D tilde to the minus one half, and A tilde is A plus the identity.",
    at("H", above="(l+1)"), "= σ (", "<mover><mi>A</mi><mo>^</mo></mover>", at("H", above="(l)"),
    at("W", above="(l)"), ") ,", "<mspace width='1.2em'></mspace>",
    "<msub><mover><mi>A</mi><mo>^</mo></mover><mrow><mi>i</mi><mi>j</mi></mrow></msub>", "=",
    "<mfrac><msub><mover><mi>A</mi><mo>~</mo></mover><mrow><mi>i</mi><mi>j</mi></mrow></msub>"
    "<msqrt><mrow><msub><mi>d</mi><mi>i</mi></msub><msub><mi>d</mi><mi>j</mi></msub></mrow></msqrt>"
    "</mfrac>", ",", at("d", "i"), "=", whole("∑", "j"),
    "<msub><mover><mi>A</mi><mo>~</mo></mover><mrow><mi>i</mi><mi>j</mi></mrow></msub>",
)  # fmt: skip
