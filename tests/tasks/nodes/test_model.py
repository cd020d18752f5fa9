"""The network of the nodes task, against PyTorch Geometric with the same weights."""

import warnings

import pytest
import torch
from torch.nn import functional as F

from plait import SAGE, Graph, GraphConv, Propagation, SAGEMax
from plait.tasks.nodes.config import NodesConfig
from plait.tasks.nodes.model import NodesModel, convolve, drop

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch_geometric.nn import GATConv, GCNConv


@pytest.fixture
def graph() -> Graph:
    index = torch.randint(11, (2, 30))
    return Graph(torch.unique(index, dim=1), num_nodes=11).to_undirected()


def model_of(features: int, classes: int = 3, **options) -> NodesModel:
    config = NodesConfig(data="karate", **options)
    made = NodesModel(config, nodes=11, features=features, classes=classes).double().eval()
    for p in made.parameters():
        torch.nn.init.normal_(p, std=0.5)
    return made


def same(ours: NodesModel, theirs, x, graph) -> None:
    """Assert that values and gradients are those of layers of PyTorch Geometric."""
    labels = torch.arange(11) % 3

    def answer(logits, weights):
        loss = F.cross_entropy(logits, labels)
        return logits, torch.autograd.grad(loss, weights)

    weights = [[conv.lin.weight, conv.bias] for conv in theirs]
    own = [[layer.weights["weight"], layer.bias] for layer in ours.layers]
    activation = ours.activation
    index = graph.edge_index
    expected = answer(theirs[1](activation(theirs[0](x, index)), index), [*weights[0], *weights[1]])
    actual = answer(ours(x, graph), [*own[0], *own[1]])
    torch.testing.assert_close(actual[0], expected[0], rtol=0, atol=1e-13)
    for a, e in zip(actual[1], expected[1], strict=True):
        torch.testing.assert_close(a, e.view(a.shape), rtol=0, atol=1e-13)


def test_gcn_is_kipf_and_welling_s(graph):
    ours = model_of(5, hidden_size=4)
    theirs = [GCNConv(5, 4).double(), GCNConv(4, 3).double()]
    with torch.no_grad():
        for layer, conv in zip(ours.layers, theirs, strict=True):
            conv.lin.weight.copy_(layer.weights["weight"])
            conv.bias.copy_(layer.bias)
    same(ours, theirs, torch.randn(11, 5, dtype=torch.float64), graph)


def test_attention_has_heads_side_by_side_and_one_in_the_end(graph):
    ours = model_of(5, operator="attention", hidden_size=6, heads=2, activation="elu")
    theirs = [GATConv(5, 3, heads=2).double(), GATConv(6, 3, heads=1).double()]
    with torch.no_grad():
        for layer, conv in zip(ours.layers, theirs, strict=True):
            conv.lin.weight.copy_(layer.weights["weight"])
            conv.att_src.copy_(layer.weights["source"][None])
            conv.att_dst.copy_(layer.weights["target"][None])
            conv.bias.copy_(layer.bias)
    same(ours, theirs, torch.randn(11, 5, dtype=torch.float64), graph)


def test_dense_does_not_know_the_graph(graph):
    ours = model_of(5, operator="dense", hidden_size=4)
    x = torch.randn(11, 5, dtype=torch.float64)
    assert torch.equal(ours(x, graph), ours(x, Graph(torch.empty(2, 0, dtype=int), num_nodes=11)))
    w, v = ours.layers
    by_hand = torch.relu(x @ w.weights["weight"].T + w.bias) @ v.weights["weight"].T + v.bias
    torch.testing.assert_close(ours(x, graph), by_hand, rtol=0, atol=1e-14)


@pytest.mark.parametrize("operator", ["gcn", "attention", "chebyshev", "diffusion", "dense"])
@pytest.mark.parametrize("layers", [1, 3])
def test_numbering_the_nodes_otherwise_changes_nothing_else(graph, operator, layers):
    ours = model_of(5, operator=operator, hidden_size=8, layers=layers)
    order = torch.randperm(11)
    place = torch.argsort(order)
    other = Graph(place[graph.edge_index], graph.edge_weight, 11)
    x = torch.randn(11, 5, dtype=torch.float64)
    expected = ours(x, graph)[order]
    torch.testing.assert_close(ours(x[order], other), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("operator", ["gcn", "attention", "chebyshev", "diffusion", "dense"])
@pytest.mark.parametrize("hidden_size", [4, 16])
@pytest.mark.parametrize("layers", [1, 2])
def test_sparse_features_are_the_dense_ones(graph, operator, hidden_size, layers):
    """Values and gradients; products before shifts and after them."""
    ours = model_of(9, operator=operator, hidden_size=hidden_size, layers=layers, heads=2)
    x = torch.randn(11, 9, dtype=torch.float64) * (torch.rand(11, 9) < 0.3)
    answers = []
    for features in (x, x.to_sparse()):
        logits = ours(features, graph)
        loss = logits.square().sum()
        grads = torch.autograd.grad(loss, list(ours.parameters()))
        answers.append((logits, ours.represent(features, graph).to_dense(), *grads))
    for a, e in zip(*answers, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-12, atol=1e-13)


class Squares:
    """An operator that reads x before any product."""

    def weight_shapes(self, inputs, outputs):
        return {"weight": (outputs, inputs)}

    def apply(self, x, weights, graph):
        return F.linear(x.square(), weights["weight"])


READERS = [Squares(), SAGEMax(), Propagation(2), SAGE()]


@pytest.mark.parametrize("operator", READERS, ids=lambda o: type(o).__name__)
def test_operators_that_read_more_than_products_get_dense_features(operator, graph):
    conv = GraphConv(operator, 9, 4).double()
    x = torch.randn(11, 9, dtype=torch.float64) * (torch.rand(11, 9) < 0.3)
    torch.testing.assert_close(convolve(conv, x.to_sparse(), graph), convolve(conv, x, graph))


def test_sparse_features_are_dropped_where_they_are(graph):
    x = (torch.rand(2000, 100) < 0.1).double().to_sparse()
    dropped = drop(x, 0.3, True)
    assert torch.equal(dropped.indices(), x.indices())
    assert dropped.values().unique().tolist() == pytest.approx([0, 1 / 0.7], rel=1e-4)
    assert abs(float((dropped.values() == 0).double().mean()) - 0.3) < 0.02


def test_nodes_without_features_have_vectors_of_their_own(graph):
    ours = model_of(0, hidden_size=4)
    assert ours.own.shape == (11, 4)
    expected = ours.layers[0](ours.own, graph).relu()
    torch.testing.assert_close(ours.represent(None, graph), expected, rtol=0, atol=0)
    ours(None, graph).sum().backward()
    assert ours.own.grad.abs().sum() > 0


@pytest.mark.parametrize("features", [0, 5])
def test_the_penalty_is_on_weights_of_the_layers_that_are_named(features):
    first = model_of(features, hidden_size=4, penalty=0.3)
    own = 0 if first.own is None else first.own.square().sum()
    expected = 0.15 * (first.layers[0].weights["weight"].square().sum() + own)
    torch.testing.assert_close(first.penalty(), expected)
    every = model_of(
        features, hidden_size=4, penalty=0.3, penalty_on="all", operator="attention", heads=1
    )
    weights = [w for name, w in every.named_parameters() if "bias" not in name]
    expected = 0.15 * sum(w.square().sum() for w in weights)
    torch.testing.assert_close(every.penalty(), expected)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.6, 0.95])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_dropout_drops_its_share_and_keeps_the_mean(share, kind):
    n = 400_003
    x = torch.ones(n, dtype=kind, requires_grad=True)
    y = drop(x, share, True)
    assert y.dtype == kind
    kept = float((y != 0).double().mean())
    assert abs(kept - (1 - share)) < 5 * (share * (1 - share) / n) ** 0.5
    assert y.unique().tolist() == pytest.approx([0, 1 / (1 - share)], rel=2e-3)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
    # neighbours, which share a number, fall apart as independent ones do
    both = float(((y[:-1] != 0) & (y[1:] != 0)).double().mean())
    assert abs(both - (1 - share) ** 2) < 0.005


def test_without_training_nothing_is_dropped():
    x = torch.ones(5)
    assert drop(x, 0.5, False) is x
    assert drop(x, 0.0, True) is x
