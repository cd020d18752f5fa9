"""`plait predict` of a trained model: suggested edges."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from plait.errors import InputError
from plait.news import remark
from plait.nn.graph import Graph
from plait.tasks.links.baselines import adjacency_of
from plait.tasks.links.config import LinksConfig
from plait.tasks.links.judge import Judge
from plait.tasks.links.model import LinksModel
from plait.tasks.links.reasons import as_if_apart, draw_link_reasons, explain_link
from plait.tasks.links.splits import connections
from plait.tasks.links.task import LinksTask
from plait.tasks.nodes.data import number_of


def suggest_links(
    model: LinksModel,
    config: LinksConfig,
    facts: Mapping[str, Any],
    data: str | None = None,
    *,
    node: str | None = None,
    other: str | None = None,
    top: int = 10,
    why: bool = False,
) -> pd.DataFrame:
    """Suggest edges that are not there yet, or say why one is likely.

    The model is given all edges of the graph now, those held out in training too.

    Parameters
    ----------
    model : LinksModel
    config, facts
        Of its run folder.
    data : None
        A run knows its own graph alone.
    node : str
        The id of the node to suggest edges for. None: each of them.
    other : str
        The id of the only node to score an edge with. One that is there already is taken
        away before, as with `why`.
    top : int
        Suggestions for a node; fewer where there are not so many nodes left. With `why`, reasons.
    why : bool
        Return the reasons for the edge with `other`, None: for the best suggestion; see
        `explain_link`.

    Returns
    -------
    DataFrame
        A row for every suggestion, the best first, of equal ones those with more neighbours in
        common: `node`, `suggestion`, `score` (from 0 to 1: the
        probability of an edge among as many edges as other pairs),
        `common_neighbours` (how many) and `through` (their ids).

    Raises
    ------
    InputError
        For an id that is not there, and where the graph is gone or is another by now.
    """
    if top < 1:
        raise InputError(f"--top must be at least 1, not {top}")
    if node is None and (why or other is not None):
        raise InputError(f"{'--why' if why else '--with'} is about one node; name it with --for")
    if node is not None and node == other:
        raise InputError(f"--for and --with are the same node, {node!r}; give two")
    task = LinksTask.restore(model, config, facts)
    remark("read", task.notes)
    network = task.network
    asked = range(len(network.ids)) if node is None else [number_of(network, node)]
    graph = Graph(*connections(network.graph), len(network.ids)).to_undirected()
    only = None if other is None else number_of(network, other)
    judge = Judge(task, graph)
    if only is not None:
        judge = as_if_apart(judge, asked[0], only)
    adjacency: Any = adjacency_of(judge.graph)
    rows = []
    for u in asked:
        joined = adjacency[[u]].indices
        others = judge.candidates(u) if only is None else np.array([only])
        logits = judge.logits(torch.from_numpy(np.stack([np.full_like(others, u), others])))
        shared = (adjacency[[u]] @ adjacency).toarray()[0, others]
        best = np.lexsort((-shared, -logits.numpy()))[:top]  # by the last, equals by the one before
        if why and len(best):
            return explain_link(task, judge, u, int(others[best[0]]), top)
        for v, score in zip(others[best], logits.sigmoid().numpy()[best], strict=True):
            through = np.intersect1d(joined, adjacency[[v]].indices)
            names = " ".join(network.ids[w] for w in through)
            rows.append((network.ids[u], network.ids[v], score, len(through), names))
    names = ["node", "suggestion", "score", "common_neighbours", "through"]
    return pd.DataFrame(rows, columns=pd.Index(names))


def draw_suggestions(
    model: LinksModel,
    config: LinksConfig,
    facts: Mapping[str, Any],
    table: pd.DataFrame,
    path: Path,
) -> None:
    """Draw the reasons that `suggest_links` returned as a PNG."""
    draw_link_reasons(LinksTask.restore(model, config, facts), table, path)
