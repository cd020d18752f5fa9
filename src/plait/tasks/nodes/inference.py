"""What a trained run says of its nodes: `plait predict` and `plait score`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
import torch

from plait.tasks.nodes.config import NodesConfig
from plait.tasks.nodes.model import NodesModel
from plait.tasks.nodes.network import device_of, own_network
from plait.tasks.nodes.parts import cut
from plait.tasks.nodes.scores import baselines, score_nodes
from plait.tasks.nodes.task import network_of, placed, scores_alone, split_of


@torch.no_grad()
def predict_nodes(
    model: NodesModel, config: NodesConfig, facts: Mapping[str, Any], data: str | None = None
) -> pd.DataFrame:
    """Label every node of the run's own network, those without a label too.

    Parameters
    ----------
    model : NodesModel
    config, facts
        Of its run folder.
    data : None
        A network of its own is what a run knows; anything else is refused.

    Returns
    -------
    DataFrame
        A row for every node: `id`, `label` (the likeliest class), `probability` (of it, by the
        softmax).

    Raises
    ------
    InputError
        Where the network is gone or is another by now.
    """
    network = own_network(network_of, config, facts, data, "nodes")
    x, graph, _ = placed(network, device_of(model))
    probability, label = model(x, graph).double().softmax(-1).max(-1)
    return pd.DataFrame(
        {
            "id": network.ids,
            "label": [network.classes[k] for k in label],
            "probability": probability.cpu().numpy(),
        }
    )


@torch.no_grad()
def score_trained(
    model: NodesModel, config: NodesConfig, facts: Mapping[str, Any], data: str | None = None
) -> dict[str, float]:
    """Score the test nodes of the run's own network; arguments as in `predict_nodes`.

    Returns
    -------
    dict
        The scores of `score_nodes`, `prior` and `spread_accuracy`, and `dense_accuracy`, that of
        the network without the graph, which is trained anew.
    """
    network = own_network(network_of, config, facts, data, "nodes")
    parts = cut(network, split_of(config, network), config.seed)
    x, graph, labels = placed(network, device_of(model))
    scores = score_nodes(model(x, graph), labels, parts.test)
    scores |= baselines(network, parts.train, parts.test)
    if config.operator != "dense":
        dense = scores_alone(replace(config, operator="dense"), device_of(model))
        scores["dense_accuracy"] = dense["accuracy"]
    return scores
