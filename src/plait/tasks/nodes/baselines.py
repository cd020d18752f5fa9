"""What labels nodes without a neural network: the commonest class, spreading, linear models."""

from collections.abc import Mapping

from torch import Tensor

from plait.graph_data import LabelledGraph
from plait.graph_data.folder import GraphFolder
from plait.graph_data.labelled_graph import NodeSplit
from plait.tasks.nodes.linear import linear_labels
from plait.tasks.nodes.spreading import spread_labels


def baselines(network: LabelledGraph | GraphFolder, splits: NodeSplit) -> Mapping[str, float]:
    """Return the accuracies on the test nodes of what has no neural network.

    `prior` always predicts the class that is commonest in the test part itself, the most that can
    be had without looking. `spread_accuracy` is that of `spread_labels`, the graph alone. With
    features: `linear_accuracy`, `averaged_accuracy` and `corrected_accuracy` of `linear_labels`.
    All but the prior are left out where the graph is in a folder, since they want it in memory.
    """
    assert network.labels is not None
    test, labels = splits.test, network.labels
    scores = {"prior": (labels[test].bincount().max() / len(test)).item()}
    if isinstance(network, GraphFolder):
        return scores
    found = {"spread": spread_labels(network.graph, labels, splits.train, len(network.classes))}
    if network.features is not None:
        linear = linear_labels(network, splits)
        found |= {
            "linear": linear.features,
            "averaged": linear.averaged,
            "corrected": linear.corrected,
        }

    def accuracy(z: Tensor) -> float:
        return (z[test].argmax(1) == labels[test]).double().mean().item()

    return scores | {f"{name}_accuracy": accuracy(z) for name, z in found.items()}
