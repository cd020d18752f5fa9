"""The names that version 0.1.0 had for `plait.graph_data`."""

import warnings
from typing import Any

from plait import graph_data

RENAMED = {
    "Network": "LabelledGraph",
    "read_network": "read_labelled_graph",
    "named_network": "named_labelled_graph",
    "NETWORKS": "NAMED_GRAPHS",
}
"""Old name → new name."""


def __getattr__(name: str) -> Any:
    if name not in RENAMED:
        raise AttributeError(f"module 'plait.networks' has no attribute {name!r}")
    new = RENAMED[name]
    text = f"plait.networks.{name} is now plait.graph_data.{new}"
    warnings.warn(text, DeprecationWarning, stacklevel=2)
    return getattr(graph_data, new)
