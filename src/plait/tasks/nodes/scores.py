"""How well nodes are labelled, and what can be had without the network."""

from collections.abc import Mapping

import numpy as np
import scipy.sparse
import torch
from torch import Tensor
from torch.nn import functional as F

from plait.graph_data import LabelledGraph
from plait.nn.graph import Graph

ALPHA = 0.9
"""Share of what a node hears from its neighbours in `spread_labels`; the rest is its own label."""


def score_nodes(logits: Tensor, labels: Tensor, nodes: Tensor) -> dict[str, float]:
    """Score the labels of some nodes.

    Returns
    -------
    dict
        `loss` (mean of −ln p, nats), `accuracy` (share of nodes whose likeliest class is right),
        `balanced_accuracy` (the mean over the classes that occur of each one's accuracy).
    """
    logits, labels = logits[nodes].double(), labels[nodes]
    right = logits.argmax(-1) == labels
    of_classes = [right[labels == k].double().mean() for k in labels.unique()]
    return {
        "loss": F.cross_entropy(logits, labels).item(),
        "accuracy": right.double().mean().item(),
        "balanced_accuracy": torch.stack(of_classes).mean().item(),
    }


def baselines(network: LabelledGraph, train: Tensor, test: Tensor) -> Mapping[str, float]:
    """Give the accuracies of those who learn nothing: `prior` and `spread_accuracy`.

    `prior` always says the class that is commonest in the test part itself, which is the most that
    can be had without looking. `spread_accuracy` is that of `spread_labels`, the graph alone.
    """
    assert network.labels is not None
    of_test = network.labels[test]
    said = spread_labels(network.graph, network.labels, train, len(network.classes)).argmax(1)
    return {
        "prior": (of_test.bincount().max() / len(test)).item(),
        "spread_accuracy": (said[test] == of_test).double().mean().item(),
    }


def spread_labels(graph: Graph, labels: Tensor, known: Tensor, classes: int) -> Tensor:
    """Spread known labels along the edges, without features and without learning.

    F = (1 − α) Σ_t αᵗ Sᵗ Y,  S = D^-1/2 A D^-1/2,  with α = 0.9 and Y one-hot where it is known;
    the sum ends when a term changes no entry by more than 10⁻⁹. A is taken both ways, loops and
    negative weights left out.

    Source: Zhou et al. (2004), Learning with local and global consistency.

    Returns
    -------
    Tensor `[N, classes]`, float64
        The larger, the likelier; zeros where no label came.

    Example
    -------
    >>> import torch
    >>> from plait import Graph
    >>> from plait.tasks.nodes.scores import spread_labels
    >>> path = Graph.from_edges([(0, 1), (1, 2), (2, 3)])
    >>> labels = torch.tensor([0, -1, -1, 1])
    >>> spread_labels(path, labels, torch.tensor([0, 3]), 2).argmax(1).tolist()
    [0, 0, 1, 1]
    """
    N = graph.num_nodes
    both = graph.to("cpu").to_undirected()
    source, target = both.edge_index.numpy()
    weight = both.edge_weight.double().numpy().clip(min=0) * (source != target)
    adjacency = scipy.sparse.csr_array((weight, (target, source)), (N, N))
    degree = adjacency.sum(1)
    root = np.sqrt(np.divide(1, degree, out=np.zeros(N), where=degree > 0))
    S = scipy.sparse.diags_array(root) @ adjacency @ scipy.sparse.diags_array(root)
    term = np.zeros((N, classes))
    term[known, labels[known]] = 1 - ALPHA
    total = term.copy()
    while np.abs(term).max() > 1e-9:
        term = ALPHA * (S @ term)
        total += term
    return torch.from_numpy(total)
