"""Operators: how a node aggregates the others."""

import numpy as np
import pytest
import torch

from plait import GRU, Dense, GraphConv, Recurrent


class Ring:
    """Each node takes itself and the node before it."""

    def weight_shapes(self, inputs, outputs):
        return {"weight": (outputs, 2 * inputs)}

    def apply(self, x, weights, graph):
        basis = torch.cat([x, x.roll(1, dims=-2)], dim=-1)
        return torch.nn.functional.linear(basis, weights["weight"])


@pytest.mark.parametrize("shape", [(3,), (5, 3), (4, 2, 5, 3)])
def test_dense_is_the_matrix_product_whatever_stands_before(shape, assert_near):
    x, weight = torch.randn(shape).double(), torch.randn(7, 3).double()
    y = Dense().apply(x, {"weight": weight}, None)
    assert_near(y, torch.from_numpy(np.tensordot(x.numpy(), weight.numpy(), (-1, 1))))


def test_the_operator_acts_on_both_sides_of_the_recurrence(make_layer, assert_near):
    T, B, N, F, H = 4, 2, 5, 3, 6
    layer = make_layer(GRU("before"), F, H, operator=Ring())
    (direction,) = layer.directions
    x = torch.randn(T, B, N, F).double()

    def filtered(node, before, weight):  # W [x_v, x_{v−1}], node by node
        return torch.cat([node, before], -1) @ weight.T

    U_r, U_z, U_n = direction.recurrent["weight"].split(H)
    h = torch.zeros(B, N, H).double()
    y, _ = layer(x)
    for t in range(T):
        r, z, n = (torch.empty(B, N, H).double() for _ in range(3))
        for v in range(N):
            side = filtered(x[t, :, v], x[t, :, v - 1], direction.inputs["weight"]) + direction.bias
            x_r, x_z, n[:, v] = side.chunk(3, -1)
            r[:, v] = torch.sigmoid(x_r + filtered(h[:, v], h[:, v - 1], U_r))
            z[:, v] = torch.sigmoid(x_z + filtered(h[:, v], h[:, v - 1], U_z))
        for v in range(N):
            candidate = filtered((r * h)[:, v], (r * h)[:, v - 1], U_n)
            n[:, v] = torch.tanh(n[:, v] + candidate)
        h = z * h + (1 - z) * n
        assert_near(y[t], h)


def test_turning_a_ring_turns_the_output(make_layer, assert_near):
    layer = make_layer(GRU(), 3, 4, operator=Ring(), layers=2, bidirectional=True)
    x = torch.randn(4, 2, 5, 3).double()
    y, h = layer(x)
    turned_y, turned_h = layer(x.roll(2, dims=2))
    assert_near(turned_y, y.roll(2, dims=2))
    assert_near(turned_h, h.roll(2, dims=2))


def test_the_graph_reaches_the_operator_on_both_sides():
    seen = []

    class Listening(Dense):
        def apply(self, x, weights, graph):
            seen.append(graph)
            return super().apply(x, weights, graph)

    class Graph:
        pass

    graph = Graph()
    layer = Recurrent(GRU(), 3, 4, operator=Listening(), layers=2)
    layer(torch.randn(1, 2, 3), graph=graph)
    assert seen == [graph] * 4


class Gained(torch.nn.Module):
    """An operator with a parameter of its own, and an operator within."""

    def __init__(self, inner=None):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(2.0))
        self.inner = Dense() if inner is None else inner

    def weight_shapes(self, inputs, outputs):
        return self.inner.weight_shapes(inputs, outputs)

    def apply(self, x, weights, graph):
        return self.gain * self.inner.apply(x, weights, graph)


def test_a_module_with_an_operator_that_is_a_module_applies_to_every_module():
    own = Gained(Gained())
    models = torch.nn.Sequential(
        torch.nn.Linear(2, 2), Recurrent(GRU(), 2, 3, operator=own), GraphConv(own, 3, 2)
    )
    seen = []
    assert models.apply(seen.append) is models
    assert seen.count(own.inner) == seen.count(own) == 3  # of the recurrence, its layer, the other
    assert set(seen) == set(models.modules())
    plain = torch.nn.Sequential(Recurrent(GRU(), 2, 3), GraphConv(Dense(), 3, 2))
    ours, theirs = [], []
    plain.apply(ours.append)
    for child in plain:
        torch.nn.Module.apply(child, theirs.append)
    assert ours == [*theirs, plain]


def test_a_parameter_of_an_operator_learns_and_is_saved(assert_near):
    torch.manual_seed(0)
    layer = GraphConv(Gained(), 3, 2)
    x = torch.randn(4, 3)
    y = layer(x)
    assert_near(y, 2 * torch.nn.functional.linear(x, layer.weights["weight"]), 1e-6)
    y.sum().backward()
    assert layer.operator.gain.grad == pytest.approx(y.sum().item() / 2, rel=1e-4)
    assert "operator.gain" in layer.state_dict()
