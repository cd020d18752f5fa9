"""Spreading along the edges: of labels, and of the errors of a model that has no graph."""

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from plait.nn.graph import Graph

ALPHA = 0.9
"""Share of a node's score that is its neighbours' in `spread_labels`; the rest is its own."""


def spread_labels(graph: Graph, labels: Tensor, known: Tensor, classes: int) -> Tensor:
    """Spread known labels along the edges, without features and without learning.

    F = (1 − α) Σ_t αᵗ Sᵗ Y,  S = D^-1/2 A D^-1/2,  with α = 0.9 and Y one-hot where it is known;
    the sum ends when a term changes no entry by more than 10⁻⁹. A is taken both ways, without
    self-loops and negative weights.

    Source: Zhou et al. (2004), Learning with local and global consistency.

    Returns
    -------
    Tensor `[N, classes]`, float64
        The larger, the likelier; zeros where no label came.

    Example
    -------
    >>> import torch
    >>> from plait import Graph
    >>> from plait.tasks.nodes.spreading import spread_labels
    >>> path = Graph.from_edges([(0, 1), (1, 2), (2, 3)])
    >>> labels = torch.tensor([0, -1, -1, 1])
    >>> spread_labels(path, labels, torch.tensor([0, 3]), 2).argmax(1).tolist()
    [0, 0, 1, 1]
    """
    start = np.zeros((graph.num_nodes, classes))
    start[known, labels[known]] = 1
    return torch.from_numpy(spread(normalised(adjacency_of(graph)), start, ALPHA))


def correct_and_smooth(
    graph: Graph, scores: Tensor, labels: Tensor, known: Tensor, alpha: float
) -> Tensor:
    """Correct a model's scores by its errors where labels are known, then smooth.

    With F(Y) = (1 − α) Σ_t αᵗ Sᵗ Y as in `spread_labels`, Z the scores, and E = Y − Z where labels
    are known, 0 elsewhere: Ê = F(E), each row scaled to the mean absolute sum of E's known rows;
    G = Y where labels are known, Z + Ê elsewhere; the result is F(G).

    Source: Huang et al. (2021), Combining label propagation and simple models out-performs graph
    neural networks ("autoscale").

    Returns
    -------
    Tensor `[N, classes]`, float64
        The larger, the likelier.

    Example
    -------
    >>> import torch
    >>> from plait import Graph
    >>> from plait.tasks.nodes.spreading import correct_and_smooth
    >>> path = Graph.from_edges([(0, 1), (2, 3)])
    >>> wrong = torch.tensor([[0.4, 0.6]] * 4)
    >>> labels = torch.tensor([0, -1, 1, -1])
    >>> correct_and_smooth(path, wrong, labels, torch.tensor([0, 2]), 0.8).argmax(1).tolist()
    [0, 0, 1, 1]
    """
    S, Z = normalised(adjacency_of(graph)), scores.double().numpy()
    Y = np.eye(Z.shape[1])[labels[known]]
    error = np.zeros_like(Z)
    error[known] = Y - Z[known]
    size = np.abs(error[known]).sum(1).mean()
    error = spread(S, error, alpha)
    total = np.abs(error).sum(1, keepdims=True)
    corrected = Z + size * np.divide(error, total, out=np.zeros_like(Z), where=total > 0)
    corrected[known] = Y
    return torch.from_numpy(spread(S, corrected, alpha))


def spread(S: scipy.sparse.csr_array, start: np.ndarray, alpha: float) -> np.ndarray:
    """Return (1 − α) Σ_t αᵗ Sᵗ Y, up to terms that change no entry by more than 10⁻⁹."""
    term = (1 - alpha) * start
    total = term.copy()
    while np.abs(term).max() > 1e-9:
        term = alpha * (S @ term)
        total += term
    return total


def adjacency_of(graph: Graph) -> scipy.sparse.csr_array:
    """Return the weights both ways, without self-loops and negative ones, `[N, N]`."""
    N = graph.num_nodes
    both = graph.to("cpu").to_undirected()
    source, target = both.edge_index.numpy()
    weight = both.edge_weight.double().numpy().clip(min=0) * (source != target)
    return scipy.sparse.csr_array((weight, (target, source)), (N, N))


def normalised(adjacency: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """Return D^-1/2 A D^-1/2, with zeros where a degree is 0."""
    degree = adjacency.sum(1)
    root = np.sqrt(np.divide(1, degree, out=np.zeros(len(degree)), where=degree > 0))
    return scipy.sparse.diags_array(root) @ adjacency @ scipy.sparse.diags_array(root)
