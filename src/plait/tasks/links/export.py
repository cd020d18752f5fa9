"""A trained recommender of links as a form: pairs of nodes in, probabilities out."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from plait.errors import InputError
from plait.export_formats.form import Form
from plait.export_formats.layers import graph_facts
from plait.nn.graph import Graph
from plait.tasks.links.config import LinksConfig
from plait.tasks.links.model import LinksModel
from plait.tasks.links.splits import connections
from plait.tasks.links.task import LinksTask
from plait.tasks.nodes.export import feature_input, refuse_folder, refuse_step


def links_form(
    model: LinksModel, config: LinksConfig, facts: Mapping[str, Any], *, step: bool = False
) -> Form:
    """Return the form of a run's model on the run's graph, with all its edges.

    `pairs [2, n]`, numbers of nodes in the order of `ids`, to `probabilities [n]` of an edge;
    also `embeddings [N, D]` of all nodes. Where the nodes have features, `features [N, F]` of all
    nodes come first. It is the network alone, without the baselines that `plait predict` mixes it
    with.
    """
    refuse_step("links", step=step)
    if model.by_neighbours:
        raise InputError(
            "a links run with --scorer ncn is not exported, as it reads the common neighbours of "
            "every pair; train with --scorer mlp or dot"
        )
    network = LinksTask.restore(model, config, facts).network
    refuse_folder(network)
    graph = Graph(*connections(network.graph), network.num_nodes).to_undirected()
    nodes = torch.arange(network.num_nodes)
    return Form(
        _Pairs(model, graph),
        {**feature_input(network), "pairs": torch.stack([nodes, nodes.roll(1)])},
        ["probabilities", "embeddings"],
        {"pairs": {1: "count"}},
        {"ids": list(network.ids), "answer": "network", **graph_facts(graph)},
    )


class _Pairs(nn.Module):
    def __init__(self, model: LinksModel, graph: Graph) -> None:
        super().__init__()
        self.model, self.graph = model, graph

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        *features, pairs = inputs
        z = self.model.encoder(features[0] if features else None, self.graph)
        return self.model.score(z, pairs).sigmoid(), z
