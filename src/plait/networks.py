"""The names that version 0.1.0 had for `plait.graph_data`."""

from plait.renamed import renamed_names

RENAMED = {
    "Network": "plait.graph_data.LabelledGraph",
    "read_network": "plait.graph_data.read_labelled_graph",
    "named_network": "plait.graph_data.named_labelled_graph",
    "NETWORKS": "plait.graph_data.NAMED_GRAPHS",
}
"""Old name → new name."""

__getattr__ = renamed_names(__name__, RENAMED)
