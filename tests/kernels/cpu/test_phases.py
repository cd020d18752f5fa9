"""Compiled cells around operators that run in torch, against plain torch in float64."""

import pytest
import torch

from plait import (
    GCN,
    GRU,
    LSTM,
    RNN,
    Attention,
    Graph,
    LayerNormLSTM,
    MinGRU,
    Recurrent,
)  # fmt: skip
from plait.kernels.cpu.phases import CompiledPhases
from plait.testing import check_kernel

NET = Graph.from_edges([(0, 1), (1, 2), (2, 0), (3, 4), (4, 1)]).to_undirected()


class Doubled(GCN):
    """Linear, but it does not say so: its `apply` is its own."""

    def apply(self, x, weights, graph):
        return 2 * super().apply(x, weights, graph)


@pytest.mark.parametrize("cell", [GRU("before"), LSTM(True), LayerNormLSTM(), MinGRU()], ids=repr)
@pytest.mark.parametrize("operator", [Attention(1), Attention(5, version=2), Doubled()], ids=repr)
def test_values_and_gradients_are_the_references(cell, operator):
    assert check_kernel(CompiledPhases(), cell, operator=operator, graph=NET, hidden_size=5)


def test_it_runs_where_the_operator_has_no_basis_and_not_elsewhere():
    attention = Recurrent(GRU(), 3, 4, operator=Attention(2))
    assert attention.kernel() == (
        "plait-cpu-steps - compiled steps of GRU(reset='after'), Attention(heads=2, version=1, "
        "dropout=0.0, edge_size=0) in torch between them"
    )
    assert Recurrent(GRU(), 3, 4, operator=GCN()).kernel().startswith("plait-cpu - ")
    assert Recurrent(GRU(), 3, 4, operator=Doubled()).kernel().startswith("plait-cpu-steps - ")


@pytest.mark.parametrize("operator", [GCN(), Attention(2)], ids=repr)
def test_graphs_that_change_are_those_of_plain_torch(operator, on_reference, answers, assert_near):
    other = Graph.from_edges([(0, 4), (2, 3)], num_nodes=5).to_undirected()
    graphs = [NET, NET, other, NET]
    layer = Recurrent(GRU("before"), 3, 4, operator=operator, bidirectional=True)
    x = torch.randn(4, 2, 5, 3)
    assert layer.choice(0, x, graph=graphs).kernel.name == "plait-cpu-steps"
    start = (torch.randn(2, 2, 5, 4),)
    values, gradients = answers(layer, x, start, graph=graphs)
    doubled = [g.to(torch.float64) for g in graphs]
    right, right_gradients = answers(
        on_reference(layer).double(), x.double(), (start[0].double(),), graph=doubled
    )
    assert_near(values, tuple(r.float() for r in right), 1e-6)
    for name, gradient in gradients.items():
        assert_near(gradient, right_gradients[name].float(), 1e-5)


def test_it_can_be_differentiated_twice_and_its_graph_kept(make_layer):
    layer = Recurrent(GRU("before"), 2, 2, operator=Attention(1))
    x = torch.randn(2, 1, 5, 2, requires_grad=True)
    loss = layer(x, graph=NET)[0].square().sum()
    first = torch.autograd.grad(loss, x, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(loss, x, retain_graph=True)[0])
    (slope,) = torch.autograd.grad(loss, x, create_graph=True)
    torch.testing.assert_close(slope, first, rtol=0, atol=1e-5)
    (second,) = torch.autograd.grad(slope.square().sum(), x)
    double = Recurrent(GRU("before"), 2, 2, operator=Attention(1)).double()
    double.load_state_dict(layer.state_dict())
    y = x.detach().double().requires_grad_()
    (slope,) = torch.autograd.grad(double(y, graph=NET)[0].square().sum(), y, create_graph=True)
    (right,) = torch.autograd.grad(slope.square().sum(), y)
    torch.testing.assert_close(second.double(), right, rtol=0, atol=1e-4 * float(right.abs().max()))


class Thinned(GCN):
    """Draws at random in `apply`, and says so nowhere."""

    def apply(self, x, weights, graph):
        return torch.nn.functional.dropout(super().apply(x, weights, graph), 0.5)


@pytest.mark.parametrize("lengths", [None, torch.tensor([2, 4, 3])], ids=["", "lengths"])
@pytest.mark.parametrize("cell", [RNN(), GRU("before"), LSTM()], ids=repr)
@pytest.mark.parametrize("operator", [Attention(1, dropout=0.5), Thinned()], ids=repr)
def test_a_gradient_that_can_be_differentiated_drops_the_same(operator, cell, lengths):
    layer = Recurrent(cell, 2, 3, operator=operator)
    assert layer.kernel().startswith("plait-cpu-steps")
    x, start = torch.randn(4, 3, 5, 2), torch.randn(1, 3, 5, 3).requires_grad_()
    states = (start, start) if isinstance(cell, LSTM) else start
    loss = layer(x, states, lengths=lengths, graph=NET)[0].square().sum()
    (first,) = torch.autograd.grad(loss, start, retain_graph=True)
    layer.eval()  # as it was when the loss was computed
    following = torch.get_rng_state()
    (second,) = torch.autograd.grad(loss, start, create_graph=True)
    torch.testing.assert_close(second.detach(), first, rtol=0, atol=1e-5)
    assert second.grad_fn is not None
    assert torch.equal(torch.get_rng_state(), following)


def test_dropout_of_coefficients_acts_in_training_alone():
    layer = Recurrent(GRU(), 3, 4, operator=Attention(2, dropout=0.5))
    plain = Recurrent(GRU(), 3, 4, operator=Attention(2))
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(3, 2, 5, 3)
    assert not torch.allclose(layer(x, graph=NET)[0], plain(x, graph=NET)[0])
    assert torch.equal(layer.eval()(x, graph=NET)[0], plain.eval()(x, graph=NET)[0])
