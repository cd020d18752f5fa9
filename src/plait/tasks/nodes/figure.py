"""The graph in a picture: the labels that are given, and those that the network predicts."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import networkx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from torch import Tensor

from plait.figures import COLOURS, NAME, label, name_places, picture
from plait.graph_data import LabelledGraph
from plait.graph_data.labelled_graph import UNKNOWN, NodeSplit

WHOLE = 300
"""Nodes up to which a graph is laid out as a whole."""

SHOWN = 1000
"""Nodes of a larger graph that are shown."""

CLASS_COLOURS = (*COLOURS, "#2a9d8f", "#b56576", "#577590", "#a3a847")
MARKS = "o^sDv"
PALE, MISTAKEN = "0.8", "#d00000"
NAMED = 40
"""Nodes up to which all ids are written next to them."""

NAMED_MISTAKES = 12
"""In larger graphs, mistakes up to which their ids are written next to them."""

LISTED = 20
"""Classes in the legend, at most."""


def draw_network(
    network: LabelledGraph,
    parts: NodeSplit,
    represented: Tensor,
    logits: Tensor,
    path: Path,
    *,
    title: str,
) -> None:
    """Draw the graph twice: every node in the colour of its given, and of its predicted label.

    To the right test nodes that are labelled wrong have a red ring, and training nodes a dot. Of
    up to 40 nodes all names are written; of larger graphs those of up to 12 mistakes.

    A graph of up to 300 nodes is laid out by springs (Fruchterman & Reingold 1991). Of a larger
    one 1,000 nodes are shown, those to test on first, where t-SNE (van der Maaten & Hinton 2008)
    puts the last layer's input, with the edges among them.

    Parameters
    ----------
    network : LabelledGraph
    parts : NodeSplit
    represented : Tensor `[N, H]`
        The input of the last layer.
    logits : Tensor `[N, classes]`
    path : Path
        The PNG.
    title : str
    """
    assert network.labels is not None
    plan = Plan.of(network, represented, parts.test.numpy())
    N, nodes, xy, size = network.num_nodes, plan.nodes, plan.xy, plan.size
    given, predicted = network.labels.numpy()[nodes], logits.argmax(1).numpy()[nodes]
    tested, trained = (np.isin(nodes, part.numpy()) for part in (parts.test, parts.train))
    mistaken = tested & (given != predicted)
    with picture(path, 11, 6.5, grid=False) as figure:
        figure.suptitle(f"{label(title, 70)}; {plan.how}")
        left, right = panels = figure.subplots(1, 2)
        for axes in panels:
            plan.draw_edges(axes)
        left.set_title("as labelled")
        plan.colour(left, given)
        right.set_title(f"as predicted: {mistaken.sum():,} of {tested.sum():,} test nodes wrong")
        plan.colour(right, predicted)
        right.scatter(*xy[trained].T, s=size / 6, c="black", linewidths=0, zorder=3)
        right.scatter(*xy[mistaken].T, s=2.2 * size, facecolors="none", edgecolors=MISTAKEN,
                      linewidths=1 + size / 80, zorder=3)  # fmt: skip
        entries = [*_classes(network, [*given, *predicted]), *_marks(trained, mistaken)]
        figure.legend(handles=entries, loc="outside lower center", ncols=4, fontsize=8)
        everyone = N <= NAMED
        named = np.full(len(nodes), everyone)
        if not everyone and mistaken.sum() <= NAMED_MISTAKES:
            named = mistaken
        for axes, shown in zip(panels, (named & everyone, named), strict=True):
            names = [network.ids[node] for node in nodes[shown]]
            name_places(axes, names, xy[shown], size=8, apart=math.sqrt(size))


class Plan(NamedTuple):
    """Which nodes of a graph are shown, where, and how large.

    Attributes
    ----------
    network : LabelledGraph
    nodes : integer array `[n]`
        All of a small graph, else some, the same ones every time.
    xy : float array `[n, 2]`
    size : float
    how : str
        Which are shown, in words.
    """

    network: LabelledGraph
    nodes: np.ndarray
    xy: np.ndarray
    size: float
    how: str

    @classmethod
    def of(cls, network: LabelledGraph, represented: Tensor, first: np.ndarray) -> "Plan":
        """Lay out a small graph by springs, some nodes of a large one by likeness, `first` first.

        `represented` has a row for every node, `[N, H]`.
        """
        N = network.num_nodes
        if N <= WHOLE:
            nodes, xy, how = np.arange(N), by_springs(network), f"all {N:,} nodes"
        else:
            nodes = some_of(N, first)
            xy = by_likeness(represented.numpy()[nodes])
            how = f"{len(nodes):,} of {N:,} nodes, where t-SNE puts them"
        return cls(network, nodes, xy, float(np.clip(4000 / len(nodes), 7, 80)), how)

    def draw_edges(self, axes: Axes) -> None:
        """Draw the edges among the nodes, and leave room for what is written next to them."""
        N = self.network.num_nodes
        lines = LineCollection(
            list(edges_among(self.network, self.nodes, self.xy)), colors="0.5", linewidths=0.4
        )
        lines.set_alpha(0.6 if N <= WHOLE else 0.25)
        axes.add_collection(lines)
        axes.margins(0.1 if N <= NAMED else 0.05, 0.05)
        axes.set_axis_off()

    def colour(self, axes: Axes, labels: np.ndarray) -> None:
        """Draw the nodes in the colours of their labels, `[n]`."""
        for k in np.unique(labels):
            places = self.xy[labels == k]
            axes.scatter(*places.T, s=self.size, linewidths=0, zorder=2, **look_of(int(k)))


def some_of(N: int, first: np.ndarray) -> np.ndarray:
    """Return some of N nodes, the same ones every time, those in `first` before others."""
    drawn = np.random.default_rng(0).permutation(N)
    return drawn[np.argsort(~np.isin(drawn, first), kind="stable")][:SHOWN]


def look_of(k: int) -> dict[str, Any]:
    """Return the colour and the mark of a class, or of a node of which none is known."""
    if k == UNKNOWN:
        return {"color": PALE, "marker": "o"}
    return {
        "color": CLASS_COLOURS[k % len(CLASS_COLOURS)],
        "marker": MARKS[k // len(CLASS_COLOURS) % len(MARKS)],
    }


def _classes(network: LabelledGraph, labels: Sequence[int]) -> list[Line2D]:
    """Return the legend's entries for the classes that are seen, the commonest of many."""
    count = Counter(int(k) for k in labels)
    listed = sorted(k for k, _ in count.most_common(LISTED))
    names = ["no label given" if k == UNKNOWN else label(network.classes[k], NAME) for k in listed]
    entries = [_entry(name, **look_of(k)) for k, name in zip(listed, names, strict=True)]
    if len(count) > LISTED:
        entries.append(_entry(f"and {len(count) - LISTED:,} more classes", marker=""))
    return entries


def _marks(trained: np.ndarray, mistaken: np.ndarray) -> list[Line2D]:
    """Return the legend's entries for what is drawn over the predicted labels."""
    entries = []
    if trained.any():
        entries.append(
            _entry(f"trained on ({trained.sum():,})", marker="o", color="black", markersize=3)
        )
    if mistaken.any():
        entries.append(
            _entry(f"test, wrong ({mistaken.sum():,})", marker="o", fillstyle="none",
                   markeredgewidth=1.5, color=MISTAKEN, markersize=9)
        )  # fmt: skip
    return entries


def _entry(name: str, **look: Any) -> Line2D:
    return Line2D([], [], linestyle="", label=name, **look)


def by_springs(network: LabelledGraph) -> np.ndarray:
    """Return places `[N, 2]` where joined nodes pull one another."""
    graph = networkx.Graph()
    graph.add_nodes_from(range(network.graph.num_nodes))
    graph.add_edges_from(network.graph.edge_index.T.tolist())
    places = networkx.spring_layout(graph, seed=0, iterations=200)
    return np.array([places[node] for node in graph])


def by_likeness(represented: np.ndarray) -> np.ndarray:
    """Return places `[n, 2]` where alike nodes are near."""
    from sklearn.manifold import TSNE

    return TSNE(init="random", max_iter=500, random_state=0).fit_transform(represented)


def edges_among(network: LabelledGraph, nodes: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Return the edges whose two ends are shown, as lines `[E, 2, 2]`."""
    place = np.full(network.graph.num_nodes, -1)
    place[nodes] = np.arange(len(nodes))
    ends = place[network.graph.edge_index.numpy()]  # [2, E]
    return xy[ends[:, (ends >= 0).all(0)].T]
