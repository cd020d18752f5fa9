"""The graph in a picture: what is known of its nodes, and where the network is mistaken."""

from pathlib import Path

import networkx
import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from torch import Tensor

from plait.figures import COLOURS, STYLE, save_figure
from plait.networks import Network
from plait.networks.network import UNKNOWN, Parts

WHOLE = 300
"""Nodes up to which a graph is laid out as a whole."""

SHOWN = 1000
"""Nodes of a larger graph that are shown."""

CLASS_COLOURS = (*COLOURS, "#2a9d8f", "#b56576", "#577590", "#a3a847")
MARKS = "o^sDv"
PALE, MISTAKEN = "0.8", "#d00000"
NAMED = 12
"""Mistakes up to which their ids are written beside them."""


def draw_network(
    network: Network, parts: Parts, heard: Tensor, logits: Tensor, path: Path, *, title: str
) -> None:
    """Draw the graph twice: coloured by label, and by mistake.

    A graph of up to 300 nodes is laid out by springs (Fruchterman & Reingold 1991). Of a larger
    one 1,000 nodes are shown, those to test on first, where t-SNE (van der Maaten & Hinton 2008)
    puts what the last layer hears of them, with the edges among them.

    Parameters
    ----------
    network : Network
    parts : Parts
    heard : Tensor `[N, H]`
        What the last layer hears.
    logits : Tensor `[N, classes]`
    path : Path
        The PNG.
    title : str
    """
    N = network.graph.num_nodes
    whole = N <= WHOLE
    nodes = np.arange(N) if whole else _sample(parts, N)
    xy = _by_springs(network) if whole else _by_likeness(heard.numpy()[nodes])
    how = f"all {N:,} nodes" if whole else f"{len(nodes):,} of {N:,} nodes, where t-SNE puts them"
    with rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(11, 6))
        FigureCanvasAgg(figure)
        figure.suptitle(f"{title}; {how}")
        panels = figure.subplots(1, 2)
        for axes in panels:
            ends = list(_edges_among(network, nodes, xy))
            lines = LineCollection(ends, colors="0.5", linewidths=0.4)
            lines.set_alpha(0.6 if whole else 0.25)
            axes.add_collection(lines)
            axes.set_axis_off()
        size = float(np.clip(4000 / len(nodes), 7, 80))
        _by_label(panels[0], network, nodes, xy, size)
        _by_mistake(panels[1], network, parts, logits, nodes, xy, size)
        for axes in panels:
            legend = axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=4, fontsize=8)
            for mark in legend.legend_handles:  # of one size, however small the nodes are
                if isinstance(mark, PathCollection):
                    mark.set_sizes([40])
        save_figure(figure, path)


def _by_label(axes: Axes, network: Network, nodes: np.ndarray, xy: np.ndarray, size: float) -> None:
    """Colour nodes by what is known of them."""
    assert network.labels is not None
    labels = network.labels.numpy()[nodes]
    axes.set_title("by label")
    for k in (UNKNOWN, *range(len(network.classes))):
        of = labels == k
        if not of.any():
            continue
        name = "unknown" if k == UNKNOWN else network.classes[k]
        colour = PALE if k == UNKNOWN else CLASS_COLOURS[k % len(CLASS_COLOURS)]
        mark = MARKS[max(k, 0) // len(CLASS_COLOURS) % len(MARKS)]
        axes.scatter(
            *xy[of].T, s=size, c=colour, marker=mark, linewidths=0, zorder=2, label=name[:24]
        )


def _by_mistake(
    axes: Axes,
    network: Network,
    parts: Parts,
    logits: Tensor,
    nodes: np.ndarray,
    xy: np.ndarray,
    size: float,
) -> None:
    """Colour the nodes to test on by whether they are labelled right."""
    assert network.labels is not None
    wrong = (logits.argmax(1) != network.labels).numpy()[nodes]
    tested, trained = (np.isin(nodes, part.numpy()) for part in (parts.test, parts.train))
    mistaken = tested & wrong
    axes.set_title(f"by mistake: {mistaken.sum():,} of {tested.sum():,} test nodes wrong")
    for of, colour, mark, grown, name in (
        (~tested & ~trained, PALE, "o", 1, "validated on, or unknown"),
        (tested & ~wrong, COLOURS[2], "o", 1, "test, right"),
        (trained, "black", "s", 1.5, "trained on"),
        (mistaken, MISTAKEN, "X", 2, "test, wrong"),
    ):
        if of.any():
            axes.scatter(*xy[of].T, s=grown * size, c=colour, marker=mark, linewidths=0, zorder=2,
                         label=f"{name} ({of.sum():,})")  # fmt: skip
    if mistaken.sum() <= NAMED:
        for node, place in zip(nodes[mistaken], xy[mistaken], strict=True):
            axes.annotate(network.ids[node][:24], place, (5, 5), textcoords="offset points")


def _sample(parts: Parts, N: int) -> np.ndarray:
    """Choose nodes, the same ones every time, those to test on first."""
    drawn = np.random.default_rng(0).permutation(N)
    return drawn[np.argsort(~np.isin(drawn, parts.test.numpy()), kind="stable")][:SHOWN]


def _by_springs(network: Network) -> np.ndarray:
    """Give places `[N, 2]` where joined nodes pull one another."""
    graph = networkx.Graph()
    graph.add_nodes_from(range(network.graph.num_nodes))
    graph.add_edges_from(network.graph.edge_index.T.tolist())
    places = networkx.spring_layout(graph, seed=0, iterations=200)
    return np.array([places[node] for node in graph])


def _by_likeness(heard: np.ndarray) -> np.ndarray:
    """Give places `[n, 2]` where alike nodes are near."""
    from sklearn.manifold import TSNE

    return TSNE(init="random", max_iter=500, random_state=0).fit_transform(heard)


def _edges_among(network: Network, nodes: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Give the edges whose two ends are shown, as lines `[E, 2, 2]`."""
    place = np.full(network.graph.num_nodes, -1)
    place[nodes] = np.arange(len(nodes))
    ends = place[network.graph.edge_index.numpy()]  # [2, E]
    return xy[ends[:, (ends >= 0).all(0)].T]
