"""Reasons in a picture: the part of the graph that they are about, and their effects as bars."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import networkx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from plait.figures import COLOURS, NAME, label, name_places, picture

BARS = 15
"""Reasons that are drawn."""

LARGE, SMALL = 160, 50
"""Sizes of the nodes that are asked about, and of the others."""

FOR, AGAINST = COLOURS[2], COLOURS[4]


def draw_reasons(
    path: Path,
    *,
    title: str,
    edges: Sequence[tuple[str, str]],
    asked: Sequence[str],
    colours: Mapping[str, str],
    legend: Mapping[str, str],
    bars: Sequence[tuple[str, float]],
    effect: str,
) -> None:
    """Draw some nodes with the edges among them, and by how much each reason changes the answer.

    Parameters
    ----------
    path : Path
        The PNG.
    title : str
    edges : sequence of pairs of ids
    asked : sequence of str
        The ids of the nodes that are asked about, which are drawn large.
    colours : mapping
        The colour of each node by its id.
    legend : mapping
        What each colour means.
    bars : sequence of (reason, change)
    effect : str
        What a change is of.
    """
    graph = networkx.Graph()
    graph.add_nodes_from([*asked, *colours])
    graph.add_edges_from(edges)
    ids = list(graph)
    layout = networkx.spring_layout(graph, seed=0, iterations=200)
    xy = np.array([layout[name] for name in ids])
    with picture(path, 11, max(3.5, 1.2 + 0.3 * len(bars)), grid=False) as figure:
        figure.suptitle(label(title, 90))
        left, right = figure.subplots(1, 2, width_ratios=[1.1, 1])
        for a, b in graph.edges:
            left.plot(*np.stack([layout[a], layout[b]]).T, color="0.7", linewidth=1, zorder=1)
        size = [LARGE if name in asked else SMALL for name in ids]
        left.scatter(*xy.T, s=size, c=[colours.get(name, "0.6") for name in ids], zorder=2)
        left.margins(0.15)
        left.set_axis_off()
        marks = [
            Line2D([], [], linestyle="", marker="o", color=colour, label=label(text, NAME))
            for text, colour in legend.items()
        ]
        if marks:
            left.legend(handles=marks, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3)
        _draw_bars(right, bars, effect)
        name_places(left, ids, xy, size=8, apart=math.sqrt(LARGE))  # last: it needs the layout


def _draw_bars(axes: Axes, bars: Sequence[tuple[str, float]], effect: str) -> None:
    """Draw changes as bars, the first on top; what supports the answer to the left."""
    places = np.arange(len(bars))[::-1]
    changes = np.array([change for _, change in bars])
    colours = [FOR if change < 0 else AGAINST for change in changes]
    axes.barh(places, changes, color=colours, height=0.7)
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.set_yticks(places, [label(name) for name, _ in bars], fontsize=8)
    axes.set_title("below 0: it supports the answer")
    axes.set_xlabel(label(f"change of {effect} without it", 60))
    axes.grid(axis="x", alpha=0.25)
