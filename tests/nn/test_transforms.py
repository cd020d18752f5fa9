"""Layers over graphs under `torch.func`, `vmap`, a compiler, autocast and inference mode."""

import pytest
import torch

from plait import (
    GCN,
    GRU,
    LSTM,
    Attention,
    Chebyshev,
    Dense,
    Diffusion,
    Graph,
    GraphConv,
    Recurrent,
)  # fmt: skip

OPERATORS = [GCN(), Chebyshev(3), Diffusion(2), Attention(2), Attention(2, version=2)]
torchs_own = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
operators = pytest.mark.parametrize("operator", OPERATORS, ids=str)


@pytest.fixture(params=[4, 20], ids=["dense", "sparse"])
def ring(request) -> Graph:
    """A ring never used before: what it keeps is made under the transform."""
    N = request.param
    return Graph.from_edges([(k, (k + 1) % N) for k in range(N)]).to_undirected()


def layer_of(operator) -> GraphConv:
    return GraphConv(operator, 2, 4).double()


@torchs_own
@operators
def test_every_way_to_a_jacobian_gives_the_same(operator, ring, assert_near):
    layer, x = layer_of(operator), torch.randn(ring.num_nodes, 2).double()
    reverse = torch.func.jacrev(lambda x: layer(x, ring))(x)
    expected = torch.autograd.functional.jacobian(lambda x: layer(x, ring), x)
    assert_near(reverse, expected)
    assert_near(torch.func.jacfwd(lambda x: layer(x, ring))(x), expected)
    vectorized = torch.autograd.functional.jacobian(lambda x: layer(x, ring), x, vectorize=True)
    assert_near(vectorized, expected)


@torchs_own
@operators
def test_every_way_to_a_hessian_gives_the_same(operator, ring, assert_near):
    layer, x = layer_of(operator), torch.randn(ring.num_nodes, 2).double()

    def total(x: torch.Tensor) -> torch.Tensor:
        return layer(x, ring).pow(3).sum()

    expected = torch.autograd.functional.hessian(total, x)
    assert_near(torch.func.hessian(total)(x), expected, 1e-11)
    vectorized = torch.autograd.functional.hessian(total, x, vectorize=True)
    assert_near(vectorized, expected, 1e-11)


@operators
def test_a_batch_by_vmap_is_each_alone(operator, ring, assert_near):
    layer, x = layer_of(operator), torch.randn(3, ring.num_nodes, 2).double()
    assert_near(torch.func.vmap(lambda x: layer(x, ring))(x), layer(x, ring))


def test_the_gradient_of_every_sample_alone(ring, assert_near):
    """By `vmap` over `grad` over the weights, with dropout drawn for each."""
    layer = layer_of(Attention(2, version=2))
    weights = dict(layer.named_parameters())
    x = torch.randn(3, ring.num_nodes, 2).double()

    def loss(weights, x):
        return torch.func.functional_call(layer, weights, (x, ring)).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), (None, 0))(weights, x)
    for k in range(3):
        alone = torch.autograd.grad(loss(weights, x[k]), list(weights.values()))
        assert_near(tuple(g[k] for g in each.values()), alone)
    dropping = layer_of(Attention(2, dropout=0.5))
    drawn = torch.func.vmap(lambda x: dropping(x, ring), randomness="different")(
        x[:1].repeat(3, 1, 1)
    )
    assert not torch.equal(drawn[0], drawn[1])


@pytest.mark.filterwarnings("ignore")  # of torch's own compiler
@operators
def test_a_compiled_layer_is_the_layer(operator, ring, assert_near):
    layer, x = GraphConv(operator, 2, 4), torch.randn(ring.num_nodes, 2).requires_grad_()
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend="eager")
    y = compiled(x, ring)
    (grad,) = torch.autograd.grad(y.square().sum(), x)
    expected = layer(x, ring)
    assert_near(y, expected, 1e-5)
    assert_near(grad, torch.autograd.grad(expected.square().sum(), x)[0], 1e-5)


@operators
def test_half_precision_is_near_the_whole(operator, ring):
    layer = GraphConv(operator, 2, 4)
    x = torch.randn(3, ring.num_nodes, 2)
    expected = layer(x, ring)
    expected_grads = torch.autograd.grad(expected.sum(), list(layer.parameters()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x, ring)
    rounded = layer.bfloat16()(x.bfloat16(), ring)
    assert rounded.dtype == torch.bfloat16
    largest = expected.abs().max()
    assert (y - expected).abs().max() < 0.03 * largest
    assert (rounded.float() - expected).abs().max() < 0.03 * largest
    layer.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x, ring)
    grads = torch.autograd.grad(y.sum(), list(layer.parameters()))
    for ours, theirs in zip(grads, expected_grads, strict=True):
        assert (ours - theirs).abs().max() <= 0.1 * theirs.abs().max() + 0.01


@operators
def test_a_recurrence_under_autocast_answers_and_learns(operator, ring):
    layer, x = Recurrent(GRU(), 2, 4, operator=operator), torch.randn(3, 2, ring.num_nodes, 2)
    expected, _ = layer(x, graph=ring)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, _ = layer(x, graph=ring)
    assert (y.float() - expected).abs().max() < 0.1
    grads = torch.autograd.grad(y.float().square().sum(), list(layer.parameters()))
    theirs = torch.autograd.grad(expected.square().sum(), list(layer.parameters()))
    assert all(
        (a - b).abs().max() < 0.15 * b.abs().max() for a, b in zip(grads, theirs, strict=True)
    )


@operators
def test_what_was_kept_in_inference_mode_serves_training(operator, ring, assert_near):
    layer, x = layer_of(operator), torch.randn(ring.num_nodes, 2).double()
    with torch.inference_mode():
        expected = layer(x, ring)
    x.requires_grad_()
    y = layer(x, ring)
    assert_near(y.detach(), expected.clone())
    (grad,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    grad.sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("operator", [Dense(), Chebyshev(3), Attention(2, version=2)], ids=str)
@pytest.mark.parametrize("cell", [LSTM(), GRU("before")], ids=str)
def test_recurrent_layers_by_vmap_over_weights_and_forward_mode(cell, operator, ring, assert_near):
    graph = None if type(operator) is Dense else ring
    x = torch.randn(3, 2, *([] if graph is None else [ring.num_nodes]), 2).double()
    layers = [Recurrent(cell, 2, 4, operator=operator).double() for _ in range(3)]
    weights, _ = torch.func.stack_module_state(layers)

    def run(weights):
        return torch.func.functional_call(layers[0], weights, (x,), {"graph": graph})[0]

    each = torch.func.vmap(run)(weights)
    for found, layer in zip(each, layers, strict=True):
        assert_near(found, layer(x, graph=graph)[0])
    first = {name: w[0].detach() for name, w in weights.items()}
    way = {name: torch.randn_like(w) for name, w in first.items()}
    _, forward = torch.func.jvp(run, (first,), (way,))
    mix = torch.randn_like(forward)
    (total, back) = torch.func.vjp(run, first)
    reverse = sum((g * way[name]).sum() for name, g in back(mix)[0].items())
    assert_near((forward * mix).sum(), reverse, 1e-10)
    assert total.shape == forward.shape
