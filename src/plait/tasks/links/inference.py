"""`plait predict` of a trained model: suggested connections."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from plait.errors import InputError
from plait.news import remark
from plait.nn.graph import Graph
from plait.tasks.links.baselines import adjacency_of
from plait.tasks.links.config import LinksConfig
from plait.tasks.links.model import LinksModel
from plait.tasks.links.splits import connections
from plait.tasks.links.task import LinksTask
from plait.tasks.nodes.data import AnyGraph
from plait.tasks.nodes.sampling import sampler_of


def suggest_links(
    model: LinksModel,
    config: LinksConfig,
    facts: Mapping[str, Any],
    data: str | None = None,
    *,
    node: str | None = None,
    top: int = 10,
) -> pd.DataFrame:
    """Suggest connections that are not there yet.

    The model is given all connections of the graph now, those held out in training too.

    Parameters
    ----------
    model : LinksModel
    config, facts
        Of its run folder.
    data : None
        A run knows its own graph alone.
    node : str
        The id of the node to suggest connections for. None: each of them.
    top : int
        Suggestions for a node; fewer where there are not so many nodes left.

    Returns
    -------
    DataFrame
        A row for every suggestion, the best first, of equal ones those with more neighbours in
        common: `node`, `suggestion`, `score` (from 0 to 1: the
        probability of a connection among as many connections as other pairs),
        `common_neighbours` (how many) and `through` (their ids).

    Raises
    ------
    InputError
        For an id that is not there, and where the graph is gone or is another by now.
    """
    if top < 1:
        raise InputError(f"--top must be at least 1, not {top}")
    task = LinksTask.restore(model, config, facts)
    remark("read", task.notes)
    network, device = task.network, task.device
    number = {name: k for k, name in enumerate(network.ids)}
    if node is not None and node not in number:
        raise InputError(f"there is no node {node!r} in {network.source}; {_examples(network)}")
    asked = range(len(network.ids)) if node is None else [number[node]]
    graph = Graph(*connections(network.graph), len(network.ids)).to_undirected()
    sampler = sampler_of(config, graph)
    encoder, edges = model.encoder, graph.to(device)
    z = encoder.in_slices(task.x, sampler.adjacency) if sampler else encoder(task.x, edges)
    adjacency = adjacency_of(graph)
    rows = []
    for u in asked:
        joined = adjacency[[u]].indices
        others = np.setdiff1d(np.arange(len(network.ids)), [*joined, u])
        ends = torch.from_numpy(others).to(device)
        logits = model.score(z, torch.stack([torch.full_like(ends, u), ends])).double().cpu()
        shared = (adjacency[[u]] @ adjacency).toarray()[0, others]
        best = np.lexsort((-shared, -logits.numpy()))[:top]  # by the last, equals by the one before
        for v, score in zip(others[best], logits.sigmoid().numpy()[best], strict=True):
            through = np.intersect1d(joined, adjacency[[v]].indices)
            names = " ".join(network.ids[w] for w in through)
            rows.append((network.ids[u], network.ids[v], score, len(through), names))
    names = ["node", "suggestion", "score", "common_neighbours", "through"]
    return pd.DataFrame(rows, columns=pd.Index(names))


def _examples(network: AnyGraph) -> str:
    ids = network.ids
    return f"ids are {', '.join(ids[:3])}, …, {ids[-1]}" if len(ids) > 3 else f"ids are {ids}"
