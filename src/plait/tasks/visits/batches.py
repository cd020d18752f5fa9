"""Histories as tensors: states in order, and temporal event graphs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from plait.nn.graph import Graph
from plait.tasks.visits.histories import Histories


class Relations(NamedTuple):
    """Which codes are joined when they meet, `[codes, codes]`, true or false."""

    related: np.ndarray
    """A code and one of the period after it."""

    interacting: np.ndarray
    """Two of the same period."""

    @property
    def count(self) -> int:
        """Graphs for each history: three, or two where no interactions are known."""
        return 3 if self.interacting.any() else 2

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "Relations":
        """Make them from the pairs that a run folder holds."""
        C = len(facts["codes"])
        return cls(
            _matrix(facts["related"], C) | np.eye(C, dtype=bool),
            _matrix(facts["interactions"], C) | _matrix(facts["interactions"], C).T,
        )


def event_graph(window: Sequence[np.ndarray], relations: Relations) -> tuple[np.ndarray, ...]:
    """Make the temporal event graph of successive periods, one graph for each relation.

    Every period has a node of its own, then one for each code in it. Joined, both ways, are: a
    period's node and its codes; the nodes of successive periods, and codes of theirs that are the
    same or related; codes of a period that interact.

    Returns
    -------
    nodes `[N]`, lags `[N]`, and for each relation edges `[2, E]`

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.visits.batches import Relations, event_graph
    >>> relations = Relations(np.eye(3, dtype=bool), np.zeros((3, 3), bool))
    >>> nodes, lags, within, later, _ = event_graph([np.array([2]), np.array([0, 2])], relations)
    >>> nodes.tolist(), lags.tolist()
    ([3, 2, 3, 0, 2], [1, 1, 0, 0, 0])
    >>> within[:, :3].tolist(), later[:, :2].tolist()
    ([[0, 2, 2], [1, 3, 4]], [[0, 1], [2, 4]])
    """
    C = len(relations.related)
    sizes = [1 + len(codes) for codes in window]
    hubs = np.cumsum([0, *sizes[:-1]])
    nodes = np.concatenate([np.append(C, codes) for codes in window])
    lags = np.repeat(np.arange(len(window))[::-1], sizes)
    within = [_pairs(hub, hub + 1 + np.arange(len(c))) for hub, c in zip(hubs, window, strict=True)]
    later = [np.stack([hubs[:-1], hubs[1:]])]
    for k in range(len(window) - 1):
        met = np.nonzero(relations.related[np.ix_(window[k], window[k + 1])])
        later.append(np.stack([hubs[k] + 1 + met[0], hubs[k + 1] + 1 + met[1]]))
    together = []
    for hub, codes in zip(hubs, window, strict=True):
        met = np.nonzero(np.triu(relations.interacting[np.ix_(codes, codes)]))
        together.append(hub + 1 + np.stack(met))
    edges = [np.concatenate(parts, 1) for parts in (within, later, together)]
    return nodes, lags, *(np.concatenate([e, e[::-1]], 1) for e in edges)


class Batch(NamedTuple):
    """What `RGNN` takes, and the drugs of the periods that follow, `[Q, drugs]`."""

    x: Tensor
    asked: Tensor
    nodes: Tensor
    lags: Tensor
    graphs: list[Graph]
    targets: Tensor

    @property
    def inputs(self) -> tuple[Any, ...]:
        """All but the targets."""
        return self[:-1]


class Views:
    """Both views of every history; a patient's graphs are made when they are first wanted.

    With `periods` 0 there are no graphs.
    """

    def __init__(
        self, histories: Histories, relations: Relations, periods: int, device: torch.device
    ) -> None:
        self.histories, self.relations, self.periods, self.device = (
            histories,
            relations,
            periods,
            device,
        )
        self._kept: dict[int, tuple[Tensor, Tensor, list[Graph]]] = {}

    def batch(self, patients: Iterable[int]) -> Batch:
        """Put patients side by side, asked about every period that one with drugs follows."""
        patients = list(map(int, patients))
        asked = [(t, b) for b, k in enumerate(patients) for t in self.histories.asked(k)]
        targets = [self.histories.target(k, t) for k in patients for t in self.histories.asked(k)]
        parts = []
        for k in patients:
            if k not in self._kept:
                self._kept[k] = self._graphs(k, self.histories.asked(k))
            parts.append(self._kept[k])
        return self._joined(patients, asked, parts, np.stack(targets))

    def last(self, patients: Iterable[int]) -> Batch:
        """Put patients side by side, asked about their last periods; the targets are zeros."""
        patients = list(map(int, patients))
        ends = [len(self.histories.periods[k]) - 1 for k in patients]
        parts = [self._graphs(k, [end]) for k, end in zip(patients, ends, strict=True)]
        asked = [(end, b) for b, end in enumerate(ends)]
        return self._joined(patients, asked, parts, np.zeros((len(asked), self.histories.drugs)))

    def _graphs(self, k: int, asked: Sequence[int]) -> tuple[Tensor, Tensor, list[Graph]]:
        if not self.periods:
            return torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long), []
        periods = self.histories.periods[k]
        made = []
        for t in asked:
            window = periods[max(0, t + 1 - self.periods) : t + 1]
            made.append(event_graph(window, self.relations))
        nodes, lags = (torch.from_numpy(np.concatenate([m[i] for m in made])) for i in (0, 1))
        graphs = [
            Graph.join([Graph(m[2 + r], num_nodes=len(m[0])) for m in made])
            for r in range(self.relations.count)
        ]
        return nodes, lags, graphs

    def _joined(
        self,
        patients: Sequence[int],
        asked: Sequence[tuple[int, int]],
        parts: Sequence[tuple[Tensor, Tensor, list[Graph]]],
        targets: np.ndarray,
    ) -> Batch:
        own = [self.histories.periods[k] for k in patients]
        x = torch.zeros(max(map(len, own)), len(own), len(self.histories.codes))
        for b, periods in enumerate(own):
            for t, codes in enumerate(periods):
                x[t, b, codes] = 1
        graphs = [
            Graph.join(of_all) for of_all in zip(*(made for _, _, made in parts), strict=True)
        ]
        return Batch(
            x.to(self.device),
            torch.tensor(asked, device=self.device).T,
            torch.cat([nodes for nodes, _, _ in parts]).to(self.device),
            torch.cat([lags for _, lags, _ in parts]).to(self.device),
            [graph.to(self.device) for graph in graphs],
            torch.from_numpy(targets).float().to(self.device),
        )


def _pairs(one: int, others: np.ndarray) -> np.ndarray:
    return np.stack([np.full_like(others, one), others])


def _matrix(pairs: Sequence[Sequence[int]], size: int) -> np.ndarray:
    matrix = np.zeros((size, size), bool)
    if len(pairs):
        matrix[tuple(np.array(pairs).T)] = True
    return matrix
