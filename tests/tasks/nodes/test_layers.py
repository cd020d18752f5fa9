"""Skips, norms, readouts and edge dropout of the node model, against their equations."""

import math

import pytest
import torch
from torch.nn import functional as F

from plait.graph_data import named_labelled_graph
from plait.nn.graph import Graph
from plait.nn.neighbours import Adjacency
from plait.tasks.nodes.config import NodesConfig
from plait.tasks.nodes.model import NodesModel, drop_edges

OPTIONS = [
    {"skip": "residual"},
    {"skip": "linear", "norm": "layer"},
    {"skip": "initial", "readout": "linear"},
    {"skip": "gcnii", "readout": "linear"},
    {"norm": "batch", "readout": "cat"},
    {"readout": "max", "skip": "residual", "norm": "layer"},
    {"operator": "sage", "skip": "initial", "readout": "cat"},
    {"operator": "sage-max"},
    {"operator": "gin", "norm": "batch"},
]


@pytest.fixture
def graph() -> Graph:
    return named_labelled_graph("karate").graph


def model_of(**options) -> NodesModel:
    torch.manual_seed(0)
    config = NodesConfig(hidden_size=6, layers=3, **options)
    return NodesModel(config, nodes=34, features=5, classes=2).double()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_layer_by_layer_and_sparse_are_the_whole_graph_at_once(options, graph, assert_near):
    model = model_of(**options).eval()
    x = torch.randn(34, 5).double() * (torch.rand(34, 5) < 0.5)
    y = model(x, graph)
    assert_near(model(x.to_sparse(), graph), y, 1e-12)
    nodes = torch.tensor([3, 0, 33, 12])
    assert_near(model.in_slices(x, Adjacency.of(graph), nodes, size=3), y[nodes], 1e-12)
    every = model.in_slices(x, Adjacency.of(graph), to_last=True, size=10)
    assert_near(every, model.represent(x, graph), 1e-12)


def by_formula(model: NodesModel, options: dict, x: torch.Tensor, graph: Graph) -> torch.Tensor:
    """Compute the logits in dense matrices, without dropout."""
    own = graph.num_nodes
    A = torch.zeros(own, own).double()
    A[graph.edge_index[1], graph.edge_index[0]] = graph.edge_weight.double()
    A = A + torch.eye(own).double()
    root = A.sum(1).rsqrt()
    S = root[:, None] * A * root
    h, outputs = x, []
    hidden = model.layers[:-1]
    for k, layer in enumerate(hidden):
        W = layer.weights["weight"]
        if options.get("skip") == "gcnii" and k:
            beta = math.log(0.5 / k + 1)
            W = (1 - beta) * torch.eye(6).double() + beta * W
            z = (0.9 * S @ h + 0.1 * outputs[0]) @ W.T + layer.bias
        else:
            z = S @ h @ W.T + layer.bias
        if options.get("skip") == "linear":
            z = z + h @ model.skips[k].weights["weight"].T
        elif options.get("skip") == "residual" and k:
            z = z + h
        elif options.get("skip") == "initial" and k:
            z = 0.9 * z + 0.1 * outputs[0]
        if options.get("norm") == "layer":
            z = F.layer_norm(z, (6,))
        elif options.get("norm") == "batch":
            z = (z - z.mean(0)) / (z.var(0, correction=0) + 1e-5).sqrt()
        h = z.relu()
        outputs.append(h)
    last, readout = model.layers[-1], options.get("readout", "convolution")
    if readout == "convolution":
        return S @ h @ last.weights["weight"].T + last.bias
    if readout == "cat":
        h = torch.cat(outputs, 1)
    elif readout == "max":
        h = torch.stack(outputs).amax(0)
    return h @ last.weights["weight"].T + last.bias


@pytest.mark.parametrize("options", OPTIONS[:6], ids=str)
def test_logits_and_gradients_are_the_formulas(options, graph, assert_near):
    model = model_of(dropout=0.0, **options).train()
    assert len(model.layers) - (options.get("readout") is not None) == 3
    graph = graph.to(torch.float64)
    x = torch.randn(34, 5).double()
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, expected = model(a, graph), by_formula(model, options, b, graph)
    assert_near(y, expected, 1e-12)
    weighting = torch.randn(34, 2).double()
    parameters = list(model.parameters())
    ours = torch.autograd.grad((y * weighting).sum(), [a, *parameters])
    theirs = torch.autograd.grad((expected * weighting).sum(), [b, *parameters],
                                 materialize_grads=True)  # fmt: skip
    for name, p, q in zip(["x", *dict(model.named_parameters())], ours, theirs, strict=True):
        if "norms" not in name:  # their scale and shift are not in the formula
            assert (p - q).abs().max() <= 1e-10 * max(1.0, float(q.abs().max()))


def test_the_penalty_is_on_the_matrices_of_the_first_layer_and_its_skip():
    model = model_of(skip="linear", penalty=0.2)
    first = model.layers[0].weights["weight"], model.skips[0].weights["weight"]
    torch.testing.assert_close(model.penalty(), 0.1 * sum(w.square().sum() for w in first))


def test_dropped_edges_go_both_ways_and_only_in_training(graph):
    torch.manual_seed(0)
    kept = drop_edges(graph, 0.5)
    assert kept.asymmetric_edge is None
    assert 40 < kept.num_edges < 120
    assert kept.num_nodes == 34
    before = set(map(tuple, graph.edge_index.T.tolist()))
    assert set(map(tuple, kept.edge_index.T.tolist())) < before
    model = model_of(dropout=0.0, edge_dropout=0.5)
    x = torch.randn(34, 5).double()
    assert not torch.equal(model.train()(x, graph), model(x, graph))
    assert torch.equal(model.eval()(x, graph), model(x, graph))
