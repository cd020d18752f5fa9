"""The graph in a picture: its communities by the embedding and by Louvain's method, its labels."""

import math
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from plait.figures import label, name_places, picture
from plait.graph_data import LabelledGraph
from plait.graph_data.labelled_graph import UNKNOWN
from plait.tasks.nodes.figure import NAMED, Plan


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
    plan = Plan.of(network, embedding, np.empty(0, int))
    panels = {"by the embedding": community}
    if louvain is not None:
        panels["by Louvain's method"] = matched(louvain, community)
    if network.labels is not None:
        panels["as labelled"] = matched(network.labels.numpy(), community)
    with picture(path, 5 * len(panels), 5, grid=False) as figure:
        figure.suptitle(f"{label(title, 70)}; {plan.how}")
        several = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (name, found) in zip(several, panels.items(), strict=True):
            plan.draw_edges(axes)
            kinds = len(np.unique(found[found != UNKNOWN]))
            axes.set_title(f"{name}: {kinds:,}")
            plan.colour(axes, found[plan.nodes])
        if network.num_nodes <= NAMED:
            for axes in several:
                name_places(axes, network.ids, plan.xy, size=8, apart=math.sqrt(plan.size))


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
