"""Linear models of nodes against dense formulas, scikit-learn and PyTorch Geometric, in float64."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from plait import Graph
from plait.graph_data import LabelledGraph
from plait.graph_data.labelled_graph import NodeSplit
from plait.tasks.nodes.baselines import baselines
from plait.tasks.nodes.linear import PENALTIES, averages, linear_labels, ridge_scores
from plait.tasks.nodes.spreading import correct_and_smooth


def drawn(N: int = 14) -> tuple[Graph, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    A = torch.rand(N, N, generator=generator, dtype=torch.float64)
    A = A * (torch.rand(N, N, generator=generator) < 0.3)
    A = torch.maximum(A, A.T)
    A[3] = A[:, 3] = 0  # one node alone
    A.fill_diagonal_(0)
    x = torch.randn(N, 5, generator=generator, dtype=torch.float64)
    return Graph.from_adjacency(A), A, x


@pytest.mark.parametrize("hops", [0, 1, 3])
def test_features_are_averaged_as_in_pytorch_geometric(hops):
    conv = pytest.importorskip("torch_geometric.nn").SGConv(5, 5, K=max(hops, 1), bias=False)
    graph, _, x = drawn()
    conv.lin.weight.data = torch.eye(5, dtype=torch.float64)
    expected = conv(x, graph.edge_index, graph.edge_weight.double()) if hops else x
    *_, averaged = averages(graph, x, hops)
    torch.testing.assert_close(averaged, expected, rtol=0, atol=1e-7)


def test_ridge_scores_are_scikit_learns():
    _, _, x = drawn()
    labels, train = torch.tensor([0, 2, 1] * 4 + [0, 1]), torch.tensor([0, 1, 2, 3, 4, 7, 8, 10])
    own = x[train].numpy()
    largest = np.linalg.svd(own - own.mean(0), compute_uv=False).max()
    found = ridge_scores(x, labels, train, 3)
    for penalty, scores in zip(PENALTIES, found, strict=True):
        ridge = Ridge(alpha=penalty * largest**2).fit(own, np.eye(3)[labels[train]])
        np.testing.assert_allclose(scores.numpy(), ridge.predict(x.numpy()), rtol=0, atol=1e-9)


def test_features_without_differences_give_the_shares_of_the_classes():
    scores = ridge_scores(torch.ones(4, 2), torch.tensor([0, 1, 1, 1]), torch.arange(4), 2)
    for z in scores:
        torch.testing.assert_close(z, torch.tensor([[0.25, 0.75]] * 4, dtype=torch.float64))


def test_errors_are_spread_and_labels_smoothed_as_the_closed_forms_say():
    graph, A, _ = drawn()
    A = A.numpy()
    degree = A.sum(1)
    root = np.where(degree > 0, 1 / np.sqrt(np.where(degree > 0, degree, 1)), 0)
    inverse = 0.2 * np.linalg.inv(np.eye(14) - 0.8 * root[:, None] * A * root)
    generator = np.random.default_rng(0)
    Z, known = generator.random((14, 3)), np.array([0, 1, 2, 3, 9])
    labels = torch.tensor([0, 2, 1] * 4 + [0, 1])
    error = np.zeros((14, 3))
    error[known] = np.eye(3)[labels[known]] - Z[known]
    size = np.abs(error[known]).sum() / len(known)
    error = inverse @ error
    total = np.abs(error).sum(1, keepdims=True)
    G = Z + size * error / np.where(total > 0, total, 1)
    G[known] = np.eye(3)[labels[known]]
    found = correct_and_smooth(graph, torch.from_numpy(Z), labels, torch.from_numpy(known), 0.8)
    np.testing.assert_allclose(found.numpy(), inverse @ G, rtol=0, atol=1e-6)


def two_rings() -> LabelledGraph:
    """Return two rings of 30 nodes, a class each, whose first feature is noise about the class."""
    labels = torch.arange(2).repeat_interleave(30)
    noise = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    x = noise + torch.eye(4)[labels] * 0.7
    edges = [(30 * k + a, 30 * k + (a + 1) % 30) for k in range(2) for a in range(30)]
    ids = tuple(map(str, range(60)))
    return LabelledGraph("rings", "made", ids, Graph.from_edges(edges), x, labels, ("a", "b"))


def test_neighbours_help_where_they_are_of_one_class_and_test_labels_are_not_seen():
    network = two_rings()
    parts = NodeSplit(torch.arange(0, 60, 6), torch.arange(1, 60, 3), torch.arange(2, 60, 3))
    found = baselines(network, parts)
    assert found["averaged_accuracy"] > found["linear_accuracy"]
    assert found["corrected_accuracy"] > found["linear_accuracy"]
    before = linear_labels(network, parts)
    assert network.labels is not None
    network.labels[parts.test] = 1 - network.labels[parts.test]
    for a, b in zip(before, linear_labels(network, parts), strict=True):
        assert torch.equal(a, b)
