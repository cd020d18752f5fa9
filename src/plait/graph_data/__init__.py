"""Labelled graphs: nodes with ids, features and labels, by name or from the user's tables."""

from plait.graph_data.files import read_labelled_graph
from plait.graph_data.labelled_graph import LabelledGraph
from plait.graph_data.named import NAMED_GRAPHS, named_labelled_graph

__all__ = ["NAMED_GRAPHS", "LabelledGraph", "named_labelled_graph", "read_labelled_graph"]
