"""What labels nodes by a linear model: features averaged over neighbours; its errors spread."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import scipy.sparse
import torch
from torch import Tensor

from plait.graph_data import LabelledGraph
from plait.graph_data.labelled_graph import NodeSplit
from plait.nn.graph import Graph
from plait.tasks.nodes.spreading import adjacency_of, correct_and_smooth, normalised

HOPS = (2, 1, 3, 0)
"""How often features may be averaged over neighbours; of equals, the first is chosen."""

PENALTIES = tuple(10.0**power for power in range(2, -5, -1))
"""The penalties that may be chosen, the strongest first."""

ALPHAS = (0.8, 0.5, 0.9)
"""Shares of the neighbours that `correct_and_smooth` may be chosen with."""


class LinearLabels(NamedTuple):
    """Scores of all nodes by class, `[N, classes]`: the largest is the predicted one.

    Attributes
    ----------
    features : Tensor
        From a node's own features.
    averaged : Tensor
        From features averaged over neighbours as often as does best on the validation nodes.
    corrected : Tensor
        Either of these, its errors and labels spread along the edges, as does best there.
    """

    features: Tensor
    averaged: Tensor
    corrected: Tensor


def linear_labels(network: LabelledGraph, splits: NodeSplit) -> LinearLabels:
    """Fit linear models to the training nodes; the validation nodes choose among them.

    Where there are none, the training nodes choose.
    """
    assert network.features is not None
    assert network.labels is not None
    labels, train, classes = network.labels, splits.train, len(network.classes)
    nodes = splits.valid if len(splits.valid) else train

    def best(candidates: Sequence[Tensor]) -> Tensor:
        right = [(z[nodes].argmax(1) == labels[nodes]).sum().item() for z in candidates]
        return candidates[right.index(max(right))]

    x, graph = network.features, network.graph
    by_hops = {
        hops: best(ridge_scores(averaged, labels, train, classes))
        for hops, averaged in enumerate(averages(graph, x, max(HOPS)))
    }
    averaged = best([by_hops[hops] for hops in HOPS])
    corrected = best(
        [
            correct_and_smooth(graph, z, labels, train, alpha)
            for z in (averaged, by_hops[0])
            for alpha in ALPHAS
        ]
    )
    return LinearLabels(by_hops[0], averaged, corrected)


def averages(graph: Graph, x: Tensor, most: int) -> Iterator[Tensor]:
    """Yield features averaged over neighbours 0 to `most` times, float64, `[N, F]`.

    (D̃^-1/2 (A + I) D̃^-1/2)ʰ x,  h = 0, …, most

    A is taken both ways, without self-loops and negative weights.

    Source: Wu et al. (2019), Simplifying graph convolutional networks.

    >>> import torch
    >>> from plait import Graph
    >>> from plait.tasks.nodes.linear import averages
    >>> pair = Graph.from_edges([(0, 1)])
    >>> found = averages(pair, torch.tensor([[1.0], [0.0]]), 1)
    >>> [x.flatten().round(decimals=6).tolist() for x in found]
    [[1.0, 0.0], [0.5, 0.5]]
    """
    own = scipy.sparse.eye_array(graph.num_nodes, format="csr")
    S = normalised(adjacency_of(graph) + own)
    averaged = x.double().numpy()
    yield torch.from_numpy(averaged)
    for _ in range(most):
        averaged = S @ averaged
        yield torch.from_numpy(averaged)


def ridge_scores(x: Tensor, labels: Tensor, train: Tensor, classes: int) -> list[Tensor]:
    """Regress the one-hot labels of the training nodes on features, once for each penalty.

    W = (X̃ᵀX̃ + λ s² I)^-1 X̃ᵀ Ỹ, where X̃ and Ỹ are the training nodes' features and labels less
    their means and s is the largest singular value of X̃, so that λ has no unit. The scores are
    (x − mean) W + mean of Y, float64, `[N, classes]` for each of `PENALTIES`.
    """
    own = x[train].double()
    mean, y = own.mean(0), torch.eye(classes, dtype=torch.float64)[labels[train]]
    U, s, Vh = torch.linalg.svd(own - mean, full_matrices=False)
    inside = U.T @ (y - y.mean(0))
    outside = (x.double() - mean) @ Vh.T  # [N, min(n, F)]
    unit = s.max().clamp(min=1e-300)
    s = s / unit
    return [
        outside @ ((s / (s.square() + penalty) / unit)[:, None] * inside) + y.mean(0)
        for penalty in PENALTIES
    ]
