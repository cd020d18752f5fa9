"""What tasks over one network ask of it: that it fits, and that it is still the same one."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from plait.errors import InputError
from plait.networks import Network

SPARSE = 0.05
"""Share of features that are not 0 below which they are kept sparse."""


def features_of(network: Network, device: torch.device) -> Tensor | None:
    """Put features on a device, sparse where nearly all are 0."""
    x = network.features
    if x is None:
        return None
    return (x.to_sparse() if x.count_nonzero() < SPARSE * x.numel() else x).to(device)


def require_fitting(operator: str, network: Network) -> None:
    """Refuse a graph that the operator cannot take, by the ids of an edge."""
    if operator in ("attention", "dense"):
        return
    edge = network.graph.negative_edge
    if edge is not None:
        raise InputError(
            f"{network.source}: --operator {operator} wants weights of at least 0, and that "
            f"of {_named(network, edge)} is less; drop such edges, or take --operator attention, "
            "which goes without weights"
        )
    edge = network.graph.asymmetric_edge
    if operator == "chebyshev" and edge is not None:
        raise InputError(
            f"{network.source}: --operator chebyshev wants an undirected graph, and "
            f"{_named(network, edge)} has no way back; leave --directed out, or take another"
        )


def _named(network: Network, edge: tuple[int, int]) -> str:
    return " → ".join(repr(network.ids[node]) for node in edge)


def own_network(
    read: Callable[[Any], Network],
    config: Any,
    facts: Mapping[str, Any],
    data: str | None,
    task: str,
) -> Network:
    """Read a run's network again; `InputError` where it is another by now, or `data` is given."""
    if data is not None:
        raise InputError(f"a {task} run knows its own network and no other; leave --data out")
    network = read(config)
    if network.sha256 != facts["sha256"]:
        raise InputError(f"{network.source} is no longer the network that the run was trained on")
    return network


def device_of(model: torch.nn.Module) -> torch.device:
    """Say where a model computes."""
    return next(model.parameters()).device
