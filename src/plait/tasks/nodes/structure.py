"""Features of nodes that have none: their degrees, and where they are in the graph."""

from typing import Any

import numpy as np
import scipy.sparse
import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor

from plait.nn.graph import Graph
from plait.tasks.nodes.spreading import adjacency_of, normalised

POSITIONS = 16
"""Eigenvectors of the normalised adjacency, at most."""


def structural_features(graph: Graph) -> Tensor:
    """Return degrees and positions of the nodes, float32, `[N, F]`, standardised.

    Degrees: ln(1 + weighted in-degree), ln(1 + neighbours), and of the latter the mean and the
    largest of the neighbours. Positions: the eigenvectors of D^-1/2 A D^-1/2 with the largest
    |eigenvalue|; those of eigenvalues near 1 separate groups, near −1 sides that edges cross. A
    is taken both ways. Constant columns are left out.

    Source: Dwivedi et al. (2023), Benchmarking graph neural networks, for positions.

    >>> from plait import Graph
    >>> from plait.tasks.nodes.structure import structural_features
    >>> structural_features(Graph.from_edges([(0, 1), (0, 2), (0, 3), (3, 4)])).shape[0]
    5
    """
    adjacency = adjacency_of(graph)
    neighbours: Any = adjacency > 0
    neighbours = neighbours.astype(np.float64)
    count = neighbours.sum(1)
    log = np.log1p(count)
    mean = neighbours @ log / np.maximum(count, 1)
    largest = np.zeros(len(log))
    row, column = neighbours.nonzero()
    np.maximum.at(largest, row, log[column])
    degrees = np.stack([np.log1p(graph.in_degree.cpu().numpy().clip(0)), log, mean, largest], 1)
    x = np.concatenate([degrees, _positions(adjacency)], 1)
    spread = x.std(0)
    x = ((x - x.mean(0)) / np.where(spread > 0, spread, 1))[:, spread > 1e-12]
    return torch.from_numpy(x.astype(np.float32))


def _positions(adjacency: scipy.sparse.csr_array) -> np.ndarray:
    """Return eigenvectors `[N, k]`, the largest entry of each above 0."""
    S: Any = normalised(adjacency)
    N = S.shape[0]
    if N <= 4 * POSITIONS:
        values, vectors = np.linalg.eigh(S.toarray())
    else:
        start = np.random.default_rng(0).standard_normal(N)  # so that the result is reproducible
        values, vectors = eigsh(S, POSITIONS, which="LM", v0=start)
    vectors = vectors[:, np.argsort(-np.abs(values), kind="stable")[:POSITIONS]]
    largest = np.abs(vectors).argmax(0)
    return vectors * np.sign(vectors[largest, np.arange(vectors.shape[1])])
