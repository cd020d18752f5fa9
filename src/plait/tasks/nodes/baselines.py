"""What labels nodes without a neural network: the commonest class, spreading, linear models."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from plait.graph_data.labelled_graph import NodeSplit
from plait.tasks.nodes.linear import linear_labels
from plait.tasks.nodes.spreading import spread_labels

ANSWERS = {
    "spread": "label propagation",
    "linear": "a linear model",
    "averaged": "a linear model of averages",
    "corrected": "a corrected linear model",
}
"""What `simple_answers` returns, by what a mixture calls it."""


BASELINES = {
    "dense": "the same network without the graph",
    "spread": "label propagation",
    "linear": "a linear model of the features",
    "averaged": "a linear model of features averaged over neighbours",
    "corrected": "a linear model with Correct & Smooth",
}
"""What a model is compared with, by the beginning of the scores' names."""


def simple_answers(network: Any, splits: NodeSplit) -> dict[str, Tensor]:
    """Return scores of all nodes by class, `[N, classes]`, of what has no neural network.

    `spread` is `spread_labels`, the graph alone. With features: `linear`, `averaged` and
    `corrected` of `linear_labels`.
    """
    assert network.labels is not None
    classes = len(network.classes)
    found = {"spread": spread_labels(network.graph, network.labels, splits.train, classes)}
    if network.features is not None:
        linear = linear_labels(network, splits)
        found |= {
            "linear": linear.features,
            "averaged": linear.averaged,
            "corrected": linear.corrected,
        }
    return found


def baselines(
    network: Any,
    splits: NodeSplit,
    answers: Mapping[str, Tensor] | None = None,
) -> Mapping[str, float]:
    """Return the accuracies on the test nodes of what has no neural network.

    `prior` always predicts the class that is commonest in the test set itself; the others are those
    of `answers`, of `simple_answers` by default. All but the prior are left out where the graph is
    in a folder, since they want it in memory.
    """
    if answers is None:
        answers = simple_answers(network, splits) if network.in_memory else {}
    assert network.labels is not None
    test, labels = splits.test, network.labels

    def accuracy(z: Tensor) -> float:
        return (z[test].argmax(1) == labels[test]).double().mean().item()

    prior = (labels[test].bincount().max() / len(test)).item()
    return {"prior": prior} | {f"{name}_accuracy": accuracy(z) for name, z in answers.items()}
