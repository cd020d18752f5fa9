"""A trained labeller of nodes as a form: nodes in, the probabilities of their classes out."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from plait.errors import InputError
from plait.export_formats.form import Form
from plait.export_formats.layers import graph_facts
from plait.graph_data.folder import GraphFolder
from plait.nn.graph import Graph
from plait.tasks.nodes.config import NodesConfig
from plait.tasks.nodes.data import AnyGraph
from plait.tasks.nodes.model import NodesModel
from plait.tasks.nodes.task import NodesTask


def nodes_form(
    model: NodesModel, config: NodesConfig, facts: Mapping[str, Any], *, step: bool = False
) -> Form:
    """Return the form of a run's model on the run's graph.

    `nodes [n]`, their numbers in the order of `ids`, to `probabilities [n, classes]`. Where the
    nodes have features, `features [N, F]` of all nodes come first, prepared as in training. It is
    the network alone, without the baselines that `plait predict` mixes it with (`--smooth`).
    """
    refuse_step("nodes", step=step)
    network = NodesTask.restore(model, config, facts).network
    refuse_folder(network)
    return Form(
        _Labels(model, network.graph),
        {**feature_input(network), "nodes": torch.arange(network.num_nodes)},
        ["probabilities"],
        {"nodes": {0: "count"}},
        {
            "ids": list(network.ids),
            "classes": list(network.classes),
            "answer": "network",
            **graph_facts(network.graph),
        },
    )


def feature_input(network: AnyGraph) -> dict[str, Tensor]:
    """Return the features as an input, if there are any."""
    return {} if network.features is None else {"features": network.features.float()}


def refuse_step(task: str, *, step: bool) -> None:
    """Refuse steps over time, with `InputError`, for a task without time."""
    if step:
        raise InputError(f"a {task} run has no steps over time; leave --step out")


def refuse_folder(network: AnyGraph) -> None:
    """Refuse, with `InputError`, a graph that is too large to lie within a file."""
    if isinstance(network, GraphFolder):
        raise InputError(
            f"{network.source} is a folder for graphs of any size, which no exported file holds; "
            "plait predict computes with it"
        )


class _Labels(nn.Module):
    def __init__(self, model: NodesModel, graph: Graph) -> None:
        super().__init__()
        self.model, self.graph = model, graph

    def forward(self, *inputs: Tensor) -> Tensor:
        *features, nodes = inputs
        logits = self.model(features[0] if features else None, self.graph)
        return logits.softmax(-1).index_select(0, nodes)
