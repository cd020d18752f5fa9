"""`Network`: a graph whose nodes have names, features and labels."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from plait.nn.graph import Graph

UNKNOWN = -1
"""The label of a node whose class nobody told."""


class Parts(NamedTuple):
    """Numbers of the nodes to train on, to validate on, and to test on."""

    train: Tensor
    valid: Tensor
    test: Tensor


@dataclass(frozen=True)
class Network:
    """A graph and what is known of its nodes.

    Attributes
    ----------
    name : str
    source : str
        Where it came from.
    ids : tuple of str
        What the user calls each node, in the order of their numbers.
    graph : Graph
    features : float Tensor `[N, F]`, or None
    labels : integer Tensor `[N]`, or None
        Numbers of `classes`; −1 where it is unknown.
    classes : tuple of str
    parts : Parts or None
        The published ones, where there are any.
    notes : tuple of str
        What a user may want to know of how it was read.
    columns : str
        Of what was read from tables: what each column was taken for.

    Example
    -------
    >>> from plait.networks import named_network
    >>> karate = named_network("karate")
    >>> karate.graph, karate.classes
    (Graph(num_nodes=34, num_edges=156), ('Mr. Hi', 'Officer'))
    """

    name: str
    source: str
    ids: tuple[str, ...]
    graph: Graph
    features: Tensor | None = None
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    parts: Parts | None = None
    notes: tuple[str, ...] = ()
    columns: str = ""

    @property
    def sha256(self) -> str:
        """Tell whether two networks are the same: nodes, edges, features, labels."""
        text = "\0".join((*self.ids, "", *self.classes))
        total = hashlib.sha256(text.encode())
        for tensor in (self.graph.edge_index, self.graph.edge_weight, self.features, self.labels):
            total.update(b"-" if tensor is None else tensor.contiguous().numpy().data)
        return total.hexdigest()


def numbered(labels: Iterable[str]) -> tuple[Tensor, tuple[str, ...]]:
    """Give labels their numbers, and the classes in the order of those; empty ones are unknown.

    >>> from plait.networks.network import numbered
    >>> numbered(["b", "", "a", "b"])
    (tensor([ 1, -1,  0,  1]), ('a', 'b'))
    """
    labels = list(labels)
    classes = sorted(set(labels) - {""})
    number = {label: k for k, label in enumerate(classes)} | {"": UNKNOWN}
    return torch.tensor([number[label] for label in labels]), tuple(classes)
