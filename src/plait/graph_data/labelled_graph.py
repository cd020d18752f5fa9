"""`LabelledGraph`: a graph whose nodes have ids, features and labels."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from plait.graph_data.encodings import names_of
from plait.nn.graph import Graph
from plait.nn.neighbours import Adjacency
from plait.renamed import RenamedAttribute

UNKNOWN = -1
"""The label of a node whose class is not known."""


class NodeSplit(NamedTuple):
    """Which nodes to train on, to validate on and to test on, by number."""

    train: Tensor
    valid: Tensor
    test: Tensor


@dataclass(frozen=True)
class LabelledGraph:
    """A graph, and the ids, features and labels of its nodes.

    Attributes
    ----------
    name : str
    source : str
        Where it came from.
    ids : tuple of str
        The user's name for each node; node k is `ids[k]`.
    graph : Graph
    features : float Tensor `[N, F]`, or None
    labels : integer Tensor `[N]`, or None
        Indices into `classes`; −1 where the class is unknown.
    classes : tuple of str
    split : NodeSplit or None
        The published split, if there is one.
    notes : tuple of str
        Remarks on how it was read, such as merged edges.
    columns : str
        For tables: how each column was used.
    relations : tuple of str
        The names of the graph's relations; empty where edges are all of one kind.
    encodings : tuple of mappings
        For tables: what was learnt from each column of features, as JSON values: its kind
        (number, category, time, words), and mean and spread, the categories, or the words.
    edge_encodings : tuple of mappings
        The same of the edges' features.

    Example
    -------
    >>> from plait.graph_data import named_labelled_graph
    >>> karate = named_labelled_graph("karate")
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
    split: NodeSplit | None = None
    notes: tuple[str, ...] = ()
    columns: str = ""
    relations: tuple[str, ...] = ()
    encodings: tuple[Mapping[str, Any], ...] = ()
    edge_encodings: tuple[Mapping[str, Any], ...] = ()

    in_memory: ClassVar[bool] = True
    """Whether features and edges are in memory, rather than in mapped files."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """For tables: the column of each feature, or the column and its text."""
        return tuple(name for one in self.encodings for name in names_of(one))

    @property
    def num_nodes(self) -> int:
        """N."""
        return self.graph.num_nodes

    @property
    def num_edges(self) -> int:
        """E."""
        return self.graph.num_edges

    @property
    def edges(self) -> Adjacency:
        """The edges by their targets, as samples of neighbours take them."""
        return Adjacency.of(self.graph)

    @property
    def asymmetric_edge(self) -> tuple[int, int] | None:
        """An edge without a reverse of the same weight; None: undirected."""
        return self.graph.asymmetric_edge

    @property
    def negative_edge(self) -> tuple[int, int] | None:
        """An edge of negative weight; None: there is none."""
        return self.graph.negative_edge

    parts = RenamedAttribute("split")

    @property
    def sha256(self) -> str:
        """The hash of nodes, edges, features and labels: equal for equal data."""
        text = "\0".join((*self.ids, "", *self.classes, *self.relations))
        total = hashlib.sha256(text.encode())
        for tensor in (self.graph.edge_index, self.graph.edge_weight, self.features, self.labels):
            total.update(b"-" if tensor is None else tensor.contiguous().numpy().data)
        if self.graph.edge_features is not None:
            total.update(self.graph.edge_features.contiguous().numpy().data)
        for one in self.graph.relations:
            total.update(one.edge_index.contiguous().numpy().data)
            total.update(one.edge_weight.contiguous().numpy().data)
        return total.hexdigest()


def numbered(labels: Iterable[str]) -> tuple[Tensor, tuple[str, ...]]:
    """Return the class index of every label, and the classes; an empty label is unknown.


    >>> from plait.graph_data.labelled_graph import numbered
    >>> numbered(["b", "", "a", "b"])
    (tensor([ 1, -1,  0,  1]), ('a', 'b'))
    """
    labels = list(labels)
    classes = sorted(set(labels) - {""})
    number = {label: k for k, label in enumerate(classes)} | {"": UNKNOWN}
    return torch.tensor([number[label] for label in labels]), tuple(classes)
