"""What labels nodes without a model: the commonest class, and spreading along the edges."""

from collections.abc import Mapping

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from plait.graph_data import LabelledGraph
from plait.graph_data.folder import GraphFolder
from plait.nn.graph import Graph

ALPHA = 0.9
"""Share of a node's score that is its neighbours' in `spread_labels`; the rest is its own."""


def baselines(
    network: LabelledGraph | GraphFolder, train: Tensor, test: Tensor
) -> Mapping[str, float]:
    """Return the accuracies of what learns nothing: `prior` and `spread_accuracy`.

    `prior` always predicts the class that is commonest in the test part itself, the most that can
    be had without looking. `spread_accuracy` is that of `spread_labels`, the graph alone; it is
    left out where the graph is in a folder, since it wants all edges in memory.
    """
    assert network.labels is not None
    of_test = network.labels[test]
    prior = {"prior": (of_test.bincount().max() / len(test)).item()}
    if isinstance(network, GraphFolder):
        return prior
    predicted = spread_labels(network.graph, network.labels, train, len(network.classes)).argmax(1)
    return prior | {"spread_accuracy": (predicted[test] == of_test).double().mean().item()}


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
    >>> from plait.tasks.nodes.baselines import spread_labels
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
