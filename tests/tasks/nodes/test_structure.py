"""Degrees and positions of nodes, against NumPy's eigenvectors."""

import numpy as np
import torch

from plait import Graph
from plait.tasks.nodes.structure import POSITIONS, structural_features


def standardised(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(0)) / x.std(0)


def test_degrees_are_of_the_node_and_its_neighbours():
    graph = Graph.from_edges([(0, 1), (0, 2), (0, 3), (3, 4)], [2.0, 1.0, 1.0, 1.0])
    x = structural_features(graph.to_undirected()).numpy()
    weight, count = np.array([4, 2, 1, 2, 1]), np.array([3, 1, 1, 2, 1])
    log = np.log1p(count)
    mean = np.array([(log[1] + log[2] + log[3]) / 3, log[0], log[0], (log[0] + log[4]) / 2, log[3]])
    most = np.array([log[3], log[0], log[0], log[0], log[3]])
    expected = standardised(np.stack([np.log1p(weight), log, mean, most], 1))
    np.testing.assert_allclose(x[:, :4], expected, rtol=1e-5, atol=1e-6)


def test_positions_are_eigenvectors_of_the_largest_eigenvalues_by_size():
    random = np.random.default_rng(0)
    edges = np.unique(random.integers(80, size=(2, 300)), axis=1)
    graph = Graph(torch.from_numpy(edges)).to_undirected()
    x = structural_features(graph).numpy().astype(np.float64)
    A = np.zeros((80, 80))
    A[tuple(graph.edge_index.numpy())] = graph.edge_weight.numpy()
    np.fill_diagonal(A, 0)
    degree = A.sum(1)
    S = A / np.sqrt(np.outer(degree, degree).clip(1e-300)) * (np.outer(degree, degree) > 0)
    values, vectors = np.linalg.eigh(S)
    chosen = vectors[:, np.argsort(-np.abs(values))[:POSITIONS]]
    assert x.shape == (80, 4 + POSITIONS)
    for mine, theirs in zip(x[:, 4:].T, chosen.T, strict=True):
        assert abs(np.corrcoef(mine, theirs)[0, 1]) > 1 - 1e-5


def test_constant_columns_are_left_out():
    ring = Graph.from_edges([(k, (k + 1) % 8) for k in range(8)]).to_undirected()
    x = structural_features(ring)
    assert x.shape[1] <= 8 - 1  # all degrees are equal, and so is the first eigenvector
    assert bool((x.std(0, correction=0) > 0.99).all())
