"""The graph in a picture: its communities by the embedding and by Louvain's method, its labels."""

import math
from pathlib import Path

import numpy as np
from matplotlib.collections import LineCollection
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from plait.figures import label, name_places, picture
from plait.graph_data import LabelledGraph
from plait.graph_data.labelled_graph import UNKNOWN
from plait.tasks.nodes.figure import (
    NAMED,
    SHOWN,
    WHOLE,
    by_likeness,
    by_springs,
    edges_among,
    look_of,
)


def draw_communities(
    network: LabelledGraph,
    embedding: Tensor,
    community: np.ndarray,
    louvain: np.ndarray | None,
    path: Path,
    *,
    title: str,
) -> None:
    """Draw the graph once for the embedding's communities, for Louvain's, and for the labels.

    The colours of the other panels are those of the embedding's communities with which theirs have
    the most nodes in common. A graph of up to 300 nodes is laid out by springs, 1,000 nodes of a
    larger one lie where t-SNE puts their embeddings. Of up to 40 nodes the names are written.

    Parameters
    ----------
    network : LabelledGraph
    embedding : Tensor `[N, H]`
    community, louvain : integer array `[N]`
    path : Path
        The PNG.
    title : str
    """
    N = network.num_nodes
    whole = N <= WHOLE
    nodes = np.arange(N) if whole else np.sort(np.random.default_rng(0).permutation(N)[:SHOWN])
    xy = by_springs(network) if whole else by_likeness(embedding.numpy()[nodes])
    panels = {"by the embedding": community}
    if louvain is not None:
        panels["by Louvain's method"] = matched(louvain, community)
    if network.labels is not None:
        panels["as labelled"] = matched(network.labels.numpy(), community)
    size = float(np.clip(4000 / len(nodes), 7, 80))
    how = f"all {N:,} nodes" if whole else f"{len(nodes):,} of {N:,} nodes, where t-SNE puts them"
    with picture(path, 5 * len(panels), 5, grid=False) as figure:
        figure.suptitle(f"{label(title, 70)}; {how}")
        several = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (name, found) in zip(several, panels.items(), strict=True):
            lines = LineCollection(
                list(edges_among(network, nodes, xy)), colors="0.5", linewidths=0.4
            )
            lines.set_alpha(0.6 if whole else 0.25)
            axes.add_collection(lines)
            kinds = len(np.unique(found[found != UNKNOWN]))
            axes.set_title(f"{name}: {kinds:,}")
            for k in np.unique(found[nodes]):
                axes.scatter(*xy[found[nodes] == k].T, s=size, linewidths=0, zorder=2,
                             **look_of(int(k)))  # fmt: skip
            axes.margins(0.1 if N <= NAMED else 0.05, 0.05)
            axes.set_axis_off()
        if N <= NAMED:
            for axes in several:
                name_places(axes, network.ids, xy, size=8, apart=math.sqrt(size))


def matched(found: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Renumber groups such that they have as many nodes as can be in common with others' numbers.

    Those that match none get the numbers behind; −1, no group, stays.

    >>> import numpy as np
    >>> from plait.tasks.communities.figure import matched
    >>> matched(np.array([5, 5, 2, -1, 9]), np.array([0, 0, 1, 1, 1])).tolist()
    [0, 0, 1, -1, 2]
    """
    known = found != UNKNOWN
    kinds, place = np.unique(found[known], return_inverse=True)
    table = np.zeros((len(kinds), int(right.max()) + 1))
    np.add.at(table, (place, right[known]), 1)
    number = np.full(len(kinds), -1)
    rows, columns = linear_sum_assignment(-table)
    number[rows] = columns
    rest = number < 0
    number[rest] = np.arange(int(rest.sum())) + table.shape[1]
    result = np.full(len(found), UNKNOWN)
    result[known] = number[place]
    return result
