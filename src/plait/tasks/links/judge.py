"""`Judge`: what a trained run answers on any pairs, over any graph of the same nodes."""

from copy import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plait.nn.graph import Graph
from plait.tasks.links.baselines import adjacency_of, measures_of
from plait.tasks.links.hard import likely_ends
from plait.tasks.links.splits import HARD
from plait.tasks.links.task import LinksTask
from plait.training.streams import random_generator

LISTED = 1000
"""Nodes up to which each is scored as a suggestion."""


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
        self.task = task
        self.mixture = task.mixture() if task.mixed else None
        self._know(graph, task.x)

    def _know(self, graph: Graph, x: Tensor | None) -> None:
        self.graph, self.z = graph, self.task.embed(graph, x)
        self.measures = {} if self.mixture is None else measures_of(graph, x)

    def over(self, graph: Graph, x: Tensor | None = None) -> "Judge":
        """Return the same judge over another graph, and other features, None: those of the task."""
        other = copy(self)
        other._know(graph, self.task.x if x is None else x)
        return other

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
