"""`GraphConv`: one operator with its weights."""

import math

import pytest
import torch

from plait import GCN, Attention, Chebyshev, Dense, Diffusion, Graph, GraphConv, InputError

OPERATORS = {
    "dense": Dense(),
    "gcn": GCN(),
    "chebyshev": Chebyshev(3),
    "diffusion": Diffusion(2),
    "attention": Attention(2),
    "attention 2": Attention(4, version=2),
}
every_operator = pytest.mark.parametrize("name", OPERATORS)


@every_operator
def test_leading_dimensions_share_the_graph(name, undirected, assert_near):
    conv = GraphConv(OPERATORS[name], 3, 8).double()
    with torch.no_grad():
        conv.bias.normal_()
    x = torch.randn(2, 3, undirected.num_nodes, 3).double()
    h = conv(x, undirected)
    for i in range(2):
        for j in range(3):
            assert_near(h[i, j], conv(x[i, j], undirected))
    assert conv(x[:0], undirected).shape == (0, 3, undirected.num_nodes, 8)


@every_operator
def test_the_bias_is_added_and_may_be_left_out(name, undirected, assert_near):
    conv = GraphConv(OPERATORS[name], 3, 8).double()
    plain = GraphConv(OPERATORS[name], 3, 8, bias=False).double()
    plain.load_state_dict({n: w for n, w in conv.state_dict().items() if n != "bias"})
    with torch.no_grad():
        conv.bias.normal_()
    x = torch.randn(undirected.num_nodes, 3).double()
    assert_near(conv(x, undirected), plain(x, undirected) + conv.bias)


@every_operator
def test_weights_start_by_glorot_term_by_term_and_the_bias_at_zero(name):
    conv = GraphConv(OPERATORS[name], 96, 64)
    assert not conv.bias.any()
    for weight in conv.weights.values():
        bound = math.sqrt(6 / (weight.shape[0] + weight.shape[-1]))
        assert 0.9 * bound < weight.abs().max() <= bound
        assert abs(weight.mean()) < 5 * bound / math.sqrt(3 * weight.numel())


def test_dense_is_a_linear_layer_and_needs_no_graph(assert_near):
    conv, linear = GraphConv(Dense(), 3, 4).double(), torch.nn.Linear(3, 4).double()
    conv.weights["weight"].data, conv.bias.data = linear.weight.data, linear.bias.data
    x = torch.randn(2, 5, 3).double()
    assert_near(conv(x), linear(x))
    assert conv.explain() == "Dense()"


def test_the_repr_says_what_it_is():
    assert "GCN(), 3, 4\n" in repr(GraphConv(GCN(), 3, 4))
    assert "GCN(), 3, 4, bias=False\n" in repr(GraphConv(GCN(), 3, 4, bias=False))


PAIR = Graph([[0, 1], [1, 0]])
REFUSED = {
    "no graph": (ValueError, None, (2, 3), r"GCN\(\) aggregates neighbours; pass graph="),
    "something else": (TypeError, "graph", (2, 3), "must be a Graph, not str"),
    "other nodes": (ValueError, PAIR, (5, 3), r"graph's N = 2 nodes; got shape \[5, 3\]"),
    "no nodes": (ValueError, PAIR, (3,), r"graph's N = 2 nodes; got shape \[3\]"),
    "other features": (ValueError, PAIR, (2, 4), r"\[..., N, 3\]; got shape \[2, 4\]"),
    "elsewhere": (ValueError, PAIR.to("meta"), (2, 3), r"graph on meta: graph.to\(x.device\)"),
    "negative": (
        InputError,
        Graph([[0], [1]], [-1.0]),
        (2, 3),
        r"GCN\(\) needs edge weights of at least 0, and that of 0 → 1 is negative",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_with_the_fix(case):
    error, graph, shape, message = REFUSED[case]
    with pytest.raises(error, match=message):
        GraphConv(GCN(), 3, 4)(torch.randn(shape), graph)


def test_sizes_and_operators_that_are_none_are_refused():
    with pytest.raises(ValueError, match="inputs must be at least 1, not 0"):
        GraphConv(GCN(), 0, 4)
    with pytest.raises(
        TypeError, match=r"an operator such as Dense\(\), not the class GCN: write GCN"
    ):
        GraphConv(GCN, 3, 4)
