"""`PerNode`: against the formula, with gradients, around every operator and in every cell."""

import re

import pytest
import torch

from plait import (
    GRU,
    LSTM,
    Adaptive,
    Attention,
    Chebyshev,
    Dense,
    Graph,
    GraphConv,
    PerNode,
    Recurrent,
)
from plait.kernels.reference import Reference

N, F, H, D = 5, 3, 4, 2


def graph() -> Graph:
    edges = Graph.from_edges([(0, 1), (1, 2), (2, 3), (3, 4)], num_nodes=N).to_undirected()
    return edges.to(torch.float64)


def drawn(own, inputs: int, outputs: int) -> dict[str, torch.Tensor]:
    return {n: torch.randn(s).double() for n, s in own.weight_shapes(inputs, outputs).items()}


@pytest.mark.parametrize(
    "operator", [Dense(), Chebyshev(2), Adaptive(N, 1, 2).double(), Attention(2)], ids=repr
)
def test_each_node_has_the_weights_of_its_vector(operator, assert_near):
    """Of a linear operator: the same with one node's weights, read at that node."""
    own = PerNode(operator, N, D).double()
    weights, x = drawn(own, F, H), torch.randn(3, N, F).double()
    y = own.apply(x, weights, graph())
    sets = {n: w for n, w in weights.items() if n != "node_bias"}
    apart = operator.apply(x, sets, graph()).view(3, N, H, D)
    for n in range(N):
        e = own.vectors[n]
        expected = sum(e[d] * (apart[:, n, :, d] + weights["node_bias"][:, d]) for d in range(D))
        assert_near(y[:, n], expected)
        if isinstance(operator, Dense):
            mixed = torch.einsum("d,odi->oi", e, weights["weight"].view(H, D, F))
            assert_near(y[:, n], x[:, n] @ mixed.T + weights["node_bias"] @ e)


def test_its_gradients_are_the_numerical_ones():
    own = PerNode(Chebyshev(2), N, D).double()
    vectors = own.vectors.detach().clone()
    del own.vectors
    weights = drawn(own, F, H)

    def apply(x, E, *rest):
        own.vectors = E
        return own.apply(x, dict(zip(weights, rest, strict=True)), graph())

    given = [torch.randn(2, N, F).double(), vectors, *weights.values()]
    assert torch.autograd.gradcheck(apply, [t.requires_grad_() for t in given])


@pytest.mark.parametrize("cell", [GRU(), GRU("before"), LSTM(peephole=True)], ids=repr)
def test_every_kernel_gives_the_same(cell):
    layer = Recurrent(cell, F, H, operator=PerNode(Chebyshev(2), N, D))
    x, own = torch.randn(6, 2, N, F), graph().to(torch.float32)
    y, _ = layer(x, graph=own)
    layer.kernels = [Reference()]
    expected, _ = layer(x, graph=own)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-6)
    y.square().sum().backward()
    found = layer.operator.vectors.grad.clone()
    layer.zero_grad()
    expected.square().sum().backward()
    torch.testing.assert_close(found, layer.operator.vectors.grad, rtol=1e-4, atol=1e-5)


def test_vectors_may_be_those_of_a_learnt_graph():
    learnt = Adaptive(N, 1, D)
    conv = GraphConv(PerNode(learnt, N, D, learnt.targets), F, H)
    assert sum(p.numel() for p in conv.parameters()) == 2 * N * D + 2 * D * H * F + H * D + H


@pytest.mark.parametrize(("make", "message"), [
    (lambda: PerNode(Dense(), N, 0), "PerNode needs size of at least 1, not 0"),
    (lambda: PerNode(Dense(), N, 2, torch.nn.Parameter(torch.ones(2, 2))), "must be [5, 2]"),
    (lambda: GraphConv(PerNode(Dense(), N, 2), F, H)(torch.ones(3, F)), "the 5 nodes of PerNode"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
