"""The graph of the nodes task and what it shares with the links task: reading, features, fit."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from plait.errors import InputError
from plait.graph_data import LabelledGraph, named_labelled_graph, read_labelled_graph
from plait.graph_data.folder import GraphFolder, is_graph_folder
from plait.nn.filters import Chebyshev, Filter
from plait.tasks.nodes.config import NetworkConfig, NodesConfig
from plait.terminal import counted

AnyGraph = LabelledGraph | GraphFolder

SPARSE = 0.05
"""Share of features that are not 0 below which they are kept sparse."""


def labelled_graph(config: NodesConfig) -> AnyGraph:
    """Read the graph that a configuration names.

    Raises `InputError` where it cannot be learnt from.
    """
    relation = config.relation if config.operator == "rgcn" else None
    network = read_graph(
        config, label=config.label, directed=config.directed, relation=relation,
        edge_features=config.edge_columns,
    )  # fmt: skip
    if not config.edges and network.labels is None:
        raise InputError(f"the graph {config.data!r} has no labels; plait train links needs none")
    if len(network.classes) < 2:
        only = f"only the class {network.classes[0]!r}" if network.classes else "no labels"
        raise InputError(
            f"{config.nodes}: the column {config.label!r} has {only}; two classes at least are "
            "needed to classify"
        )
    require_fitting(config, network)
    return network


def read_graph(config: NetworkConfig, **own: Any) -> AnyGraph:
    """Read a graph by name, from a folder, or from tables, whose further arguments are `own`."""
    if not config.edges:
        folder = is_graph_folder(config.data)
        return GraphFolder(Path(config.data)) if folder else named_labelled_graph(config.data)
    return read_labelled_graph(config.edges, config.nodes or None, **own, **config.reading)


def features_of(network: AnyGraph, device: torch.device) -> Tensor | None:
    """Put features on a device, sparse where nearly all are 0."""
    x = network.features
    if x is None or not network.in_memory:  # mapped: read where it is used
        return x
    return (x.to_sparse() if x.count_nonzero() < SPARSE * x.numel() else x).to(device)


def count_features(network: AnyGraph) -> int:
    """Return the number of features of a node."""
    return 0 if network.features is None else network.features.shape[1]


def require_fitting(config: NetworkConfig, network: AnyGraph) -> None:
    """Refuse a graph that the operator cannot take, by the ids of an edge."""
    operator = config.graph_options.make()
    if not isinstance(operator, Filter):
        return
    edge = network.negative_edge
    if edge is not None:
        raise InputError(
            f"{network.source}: --operator {config.operator} needs weights of at least 0, and that "
            f"of {_named(network, edge)} is negative; drop such edges, or take --operator "
            "attention, which goes without weights"
        )
    edge = network.asymmetric_edge
    if isinstance(operator, Chebyshev) and edge is not None:
        raise InputError(
            f"{network.source}: --operator {config.operator} needs an undirected graph, and "
            f"{_named(network, edge)} has no reverse; leave --directed out, or take another"
        )


def describe_graph(network: AnyGraph, *more: str) -> dict[str, str]:
    """Return what a summary says of a graph, by headings."""
    features = count_features(network)
    edges = counted(network.num_edges, "edge")
    if isinstance(network, LabelledGraph) and network.graph.edge_size:
        edges += f" with {counted(network.graph.edge_size, 'feature')}"
    if network.in_memory and network.num_edges and network.asymmetric_edge is None:
        edges += ", both ways counted"
    sizes = [counted(network.num_nodes, "node"), edges]
    sizes += [counted(features, "feature") if features else "no features", *more]
    kinds = network.relations if isinstance(network, LabelledGraph) else ()
    sizes += [f"{counted(len(kinds), 'relation')}: {', '.join(kinds)}"] if kinds else []
    text = {"graph": f"{network.source}: {', '.join(sizes)}"}
    return text | ({"columns": network.columns} if network.columns else {})


def feature_name(network: AnyGraph, k: int) -> str:
    """Return the name of a feature; of one without a name its number, from 1."""
    names = network.feature_names if isinstance(network, LabelledGraph) else ()
    return names[k] if names else str(k + 1)


def number_of(network: AnyGraph, node: str) -> int:
    """Return the number of a node by its id; `InputError` where there is none."""
    ids = network.ids
    if node not in ids:
        some = f"{', '.join(ids[:3])}, …, {ids[-1]}" if len(ids) > 3 else f"{ids}"
        raise InputError(f"there is no node {node!r} in {network.source}; ids are {some}")
    return ids.index(node)


def _named(network: AnyGraph, edge: tuple[int, int]) -> str:
    return " → ".join(repr(network.ids[node]) for node in edge)
