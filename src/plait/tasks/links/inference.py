"""`plait predict` of a trained model: suggested connections."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from plait.errors import InputError
from plait.news import remark
from plait.nn.graph import Graph
from plait.tasks.links.baselines import adjacency_of, measures_of
from plait.tasks.links.config import LinksConfig
from plait.tasks.links.hard import likely_ends
from plait.tasks.links.model import LinksModel
from plait.tasks.links.splits import HARD, connections
from plait.tasks.links.task import LinksTask
from plait.tasks.nodes.data import AnyGraph
from plait.training.streams import random_generator

LISTED = 1000
"""Nodes up to which each is scored as a suggestion."""


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
    network = task.network
    asked = range(len(network.ids)) if node is None else [number_of(network, node)]
    graph = Graph(*connections(network.graph), len(network.ids)).to_undirected()
    judge = Judge(task, graph)
    adjacency: Any = adjacency_of(graph)
    rows = []
    for u in asked:
        joined = adjacency[[u]].indices
        others = judge.candidates(u)
        logits = judge.logits(torch.from_numpy(np.stack([np.full_like(others, u), others])))
        shared = (adjacency[[u]] @ adjacency).toarray()[0, others]
        best = np.lexsort((-shared, -logits.numpy()))[:top]  # by the last, equals by the one before
        for v, score in zip(others[best], logits.sigmoid().numpy()[best], strict=True):
            through = np.intersect1d(joined, adjacency[[v]].indices)
            names = " ".join(network.ids[w] for w in through)
            rows.append((network.ids[u], network.ids[v], score, len(through), names))
    names = ["node", "suggestion", "score", "common_neighbours", "through"]
    return pd.DataFrame(rows, columns=pd.Index(names))


class Judge:
    """The answer of a trained run on pairs of nodes, over a graph that may be another.

    Parameters
    ----------
    task : LinksTask
        With its trained model.
    graph : Graph
        What network and heuristics know, both ways.
    """

    def __init__(self, task: LinksTask, graph: Graph) -> None:
        self.task, self.graph = task, graph
        self.z = task.embed(graph)
        self.mixture = task.mixture() if task.mixed else None
        self.measures = measures_of(graph, task.x) if task.mixed else {}

    def logits(self, pairs: Tensor) -> Tensor:
        """Return the logits of pairs `[2, n]`, float64 `[n]`; σ of them is the probability."""
        network = self.network_logits(pairs)
        if self.mixture is None:
            return network
        measured = {name: rule(pairs) for name, rule in self.measures.items()}
        return self.mixture.logits({"network": network, **measured})

    def network_logits(self, pairs: Tensor) -> Tensor:
        """Return the network's logits of pairs `[2, n]`, float64 `[n]`."""
        model = self.task.model
        shared = model.shared(self.graph, pairs)
        return model.score(self.z, pairs.to(self.z.device), shared).double().cpu()

    def candidates(self, u: int) -> np.ndarray:
        """Return nodes that u may be joined with, in order: all that it is not joined with.

        Of more than 1,000 of them, the 500 that the network takes for the likeliest, and the 250
        that heuristics do.
        """
        joined: Any = adjacency_of(self.graph)[[u]]
        others = np.setdiff1d(np.arange(self.graph.num_nodes), [*joined.indices, u])
        if self.mixture is None or len(others) <= LISTED:
            return others
        pairs = torch.from_numpy(np.stack([np.full_like(others, u), others]))
        best = others[self.network_logits(pairs).topk(LISTED // 2).indices.numpy()]
        random = random_generator(self.task.config.seed, 0, HARD)
        (likely,) = likely_ends(self.graph, self.task.x, self.graph, np.array([u]), random)
        return np.union1d(best, likely)


def number_of(network: AnyGraph, node: str) -> int:
    """Return the number of a node by its id; `InputError` where there is none."""
    if node not in network.ids:
        raise InputError(f"there is no node {node!r} in {network.source}; {_examples(network)}")
    return network.ids.index(node)


def _examples(network: AnyGraph) -> str:
    ids = network.ids
    return f"ids are {', '.join(ids[:3])}, …, {ids[-1]}" if len(ids) > 3 else f"ids are {ids}"
