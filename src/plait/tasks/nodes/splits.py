"""Which nodes are trained on, validated on, and tested on."""

import math

import numpy as np
import torch

from plait.errors import InputError
from plait.graph_data import LabelledGraph
from plait.graph_data.folder import GraphFolder
from plait.graph_data.labelled_graph import UNKNOWN, NodeSplit
from plait.tasks.nodes.config import NodesConfig
from plait.terminal import counted
from plait.training.streams import random_generator

TRAIN, VALID = 20, 30
"""Nodes of each class to train and to validate on, where they are few (Shchur et al. 2018)."""

SHARE = 0.2
"""Of each class to validate on, and of each to test on, where most are trained on."""

STREAM = 1
"""Of random numbers; the others of a seed are for weights and dropout."""


def split_nodes(network: LabelledGraph | GraphFolder, how: str, seed: int) -> NodeSplit:
    """Split the nodes whose label is known.

    Parameters
    ----------
    network : LabelledGraph
    how : "published", "few" or "most"
        As others split them; 20 and 30 of each class to train and validate on, all others to test
        on; or 60, 20 and 20 % of each class, a class of one or two nodes being trained on alone.
    seed : int
        Decides which, but for the published ones.

    Raises
    ------
    InputError
        Where there are not enough.

    Example
    -------
    >>> from plait.graph_data import named_labelled_graph
    >>> from plait.tasks.nodes.splits import split_nodes
    >>> [len(part) for part in split_nodes(named_labelled_graph("digits"), "few", seed=0)]
    [200, 300, 1297]
    """
    if how == "published":
        if network.split is None:
            raise InputError(f"there are no published parts of {network.name}; give --split few")
        return network.split
    assert network.labels is not None
    drawn = random_generator(seed, 0, STREAM).permutation(len(network.labels))
    labels = network.labels.numpy()[drawn]
    parts: list[list[np.ndarray]] = [[], [], []]
    for k, name in enumerate(network.classes):
        own = drawn[labels == k]
        train, valid = TRAIN, VALID
        if how == "most":
            valid = math.floor(SHARE * len(own) + 0.5)
            train = len(own) - 2 * valid
        elif len(own) <= train + valid:
            raise InputError(
                f"the class {name!r} has {counted(len(own), 'node')}, and --split few takes "
                f"{train} to train and {valid} to validate on; give --split most"
            )
        for part, nodes in zip(parts, np.split(own, [train, train + valid]), strict=True):
            part.append(nodes)
    found = NodeSplit(*(torch.from_numpy(np.sort(np.concatenate(part))) for part in parts))
    if not len(found.test):
        known = int((network.labels != UNKNOWN).sum())
        raise InputError(
            f"{known} nodes with a label are too few to test on some: a class needs at least three"
        )
    return found


def split_of(config: NodesConfig, network: LabelledGraph | GraphFolder) -> str:
    """Return how the nodes are split: "published", "few" or "most"."""
    if config.split != "auto":
        return config.split
    if network.split is not None:
        return "published"
    return "most" if config.edges or not network.in_memory else "few"
