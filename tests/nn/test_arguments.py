"""What a layer is called with, and how its parts are written: refused by name where it is wrong."""

import warnings

import pytest
import torch
from torch import nn

from plait import GCN, GRU, LSTM, Attention, Cell, Chebyshev, Dense, Graph, GraphConv, Recurrent

NET = Graph.from_edges([(0, 1), (1, 2)]).to_undirected()
PAIRS = [
    (cell, operator)
    for cell in (LSTM(), GRU("before"))
    for operator in (Dense(), Chebyshev(2), Attention(2))
]


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16, torch.int32])
@pytest.mark.parametrize(("cell", "operator"), PAIRS, ids=repr)
def test_a_state_of_another_type_is_refused_with_both_named(cell, operator, kind):
    layer, x = Recurrent(cell, 3, 4, operator=operator), torch.randn(5, 2, 3, 3)
    states = tuple(torch.zeros(1, 2, 3, 4) for _ in cell.states)
    for wrong in range(len(states)):
        mixed = tuple(s.to(kind) if k == wrong else s for k, s in enumerate(states))
        with pytest.raises(ValueError, match=f"x is torch.float32, state . {kind}"):
            layer(x, mixed if len(mixed) > 1 else mixed[0], graph=NET)


def test_a_weight_of_another_type_is_refused_by_its_name():
    layer, x = Recurrent(GRU(), 3, 4), torch.randn(5, 2, 3)
    for name, p in list(layer.named_parameters()):
        before, p.data = p.data, p.data.double()
        with pytest.raises(ValueError, match=f"x is torch.float32, the layer's {name} torch.float"):
            layer(x)
        p.data = before
    layer(x)


def test_a_state_elsewhere_or_sparse_is_refused():
    layer, x = Recurrent(GRU(), 3, 4), torch.randn(5, 2, 3)
    with pytest.raises(ValueError, match="x is on cpu, state h on meta"):
        layer(x, torch.zeros(1, 2, 4, device="meta"))
    with pytest.raises(ValueError, match=r"state h must be a dense tensor, not torch\.sparse_coo"):
        layer(x, torch.zeros(1, 2, 4).to_sparse())
    with pytest.raises(TypeError, match="state c must be a tensor, not list"):
        Recurrent(LSTM(), 3, 4)(x, (torch.zeros(1, 2, 4), [0.0]))


@pytest.mark.parametrize(("cell", "operator"), PAIRS, ids=repr)
def test_pending_signs_and_strides_are_heeded(cell, operator, assert_near):
    layer = Recurrent(cell, 3, 4, operator=operator)
    x, h = torch.randn(5, 2, 3, 3), torch.randn(1, 2, 3, 4)
    negated = torch.complex(torch.zeros_like(x), -x).conj().imag  # a view whose sign is pending
    assert negated.is_neg()
    start = torch.randn(4, 3, 2, 1).permute(3, 2, 1, 0)
    states = (start, h)[: len(cell.states)]
    wanted = tuple(s.contiguous() for s in states)
    y, _ = layer(negated, states if len(states) > 1 else states[0], graph=NET)
    expected, _ = layer(x.clone(), wanted if len(wanted) > 1 else wanted[0], graph=NET)
    assert_near(y, expected, 1e-6)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize(("cell", "operator"), PAIRS, ids=repr)
def test_a_pending_sign_without_strides_is_heeded(cell, operator, grad, assert_near):
    layer = Recurrent(cell, 3, 4, operator=operator)
    x = torch.randn(5, 2, 3, 3)
    negated = torch._neg_view(-x)  # contiguous, so that making it so changes nothing
    assert negated.is_neg()
    assert negated.is_contiguous()
    with torch.set_grad_enabled(grad):
        y, state = layer(x, graph=NET)
        assert_near(layer(negated, graph=NET)[0], y, 1e-6)
        states = state if isinstance(state, tuple) else (state,)
        turned = tuple(torch._neg_view(-s.detach()) for s in states)
        expected, _ = layer(x, state, graph=NET)
        y, _ = layer(x, turned if len(turned) > 1 else turned[0], graph=NET)
        assert_near(y, expected, 1e-6)


@pytest.mark.parametrize("operator", [Dense(), Chebyshev(2), Attention(2)], ids=repr)
def test_what_is_no_dense_tensor_here_is_refused(operator):
    layer, x = Recurrent(GRU(), 3, 4, operator=operator), torch.randn(5, 2, 3, 3)
    with pytest.raises(TypeError, match="x must be a tensor, not ndarray"):
        layer(x.numpy(), graph=NET)
    with pytest.raises(TypeError, match="x must be a tensor, not NoneType"):
        layer(None, graph=NET)
    with pytest.raises(ValueError, match=r"x must be a dense tensor, not torch.sparse_coo; conv"):
        layer(x.to_sparse(), graph=NET)
    with pytest.raises(ValueError, match=r"x is on meta, the layer's .* on cpu; move one with"):
        layer(x.to("meta"), graph=NET)
    with pytest.raises(TypeError, match="x must be a tensor, not list"):
        GraphConv(operator, 3, 4)([[1.0]], NET)


class Returns(Cell):
    gates = "h"

    def __init__(self, step):
        self.of = step

    def step(self, x, recurrent, state, vectors):
        return self.of(x, recurrent, state)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            lambda x, u, s: torch.tanh(x),
            "step must return a tuple of 1 states; it returned a Tensor",
        ),
        (lambda x, u, s: (s[0], s[0]), "it returned a tuple of 2"),
        (lambda x, u, s: (s[0][..., :2],), r"states of shape \[2, 4\]; state 0 is \[2, 2\]"),
        (lambda x, u, s: (1.0,), "state 0 is float"),
        (lambda x, u, s: (torch.tanh(x + u(s)),), r"got the tuple of all; .* as in \(h,\) = state"),
    ],
)
def test_a_step_that_returns_no_states_is_refused(step, message):
    with pytest.raises(ValueError, match=message):
        Recurrent(Returns(step), 3, 4)(torch.randn(5, 2, 3))


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"gates": ()}, "Own has no gates; name at least one"),
        ({"gates": "aa"}, "Own names 'a' twice in gates"),
        ({"gates": "a", "states": ()}, "Own has no states"),
        ({"gates": "a", "states": ("h", "h")}, "Own names 'h' twice in states"),
        ({"gates": "a", "bias_gates": "b"}, "no gate 'b' among a"),
        ({"gates": "a", "vectors": {"p": 0}}, "Own's vector 'p' must be 1 or more times H long"),
        ({"gates": "a", "initial_vectors": {"q": 1.0}}, "Own has no vector 'q'"),
        (
            {"gates": "a", "open_gates": "b"},
            "Own has no gate 'b', which open_gates names; it has a",
        ),
        ({"gates": "a", "initial_bias": {"b": 1.0}}, "Own has no gate 'b', which initial_bias"),
    ],
)
def test_a_cell_that_declares_nonsense_is_refused_by_name(declared, message):
    kind = type("Own", (Cell,), {"step": lambda self, *of: of[2], **declared})
    with pytest.raises(ValueError, match=message):
        Recurrent(kind(), 3, 4)


@pytest.mark.parametrize("make", ["recurrent", "conv"])
def test_weight_norm_acts_and_learns(make):
    if make == "recurrent":
        layer, x = Recurrent(GRU("before"), 3, 4), torch.randn(5, 2, 3)
        place, run = layer.directions[0].recurrent, lambda: layer(x)[0]
    else:
        layer, x = GraphConv(GCN(), 3, 4), torch.randn(3, 3)
        place, run = layer.weights, lambda: layer(x, NET)
    before = run()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would have one use parametrizations
        nn.utils.weight_norm(place, "weight")
    torch.testing.assert_close(run(), before, rtol=0, atol=1e-6)
    with torch.no_grad():
        place.weight_g.mul_(2)
    changed = run()
    assert not torch.allclose(changed, before, atol=1e-3)
    changed.sum().backward()
    assert place.weight_g.grad.abs().sum() > 0


def test_parametrizations_and_pruning_act():
    layer, x = Recurrent(GRU("before"), 3, 4), torch.randn(5, 2, 3)
    before = layer(x)[0]
    one = layer.directions[0]
    nn.utils.parametrizations.weight_norm(one.recurrent, "weight")
    torch.testing.assert_close(layer(x)[0], before, rtol=0, atol=1e-6)
    with torch.no_grad():
        one.recurrent.parametrizations.weight.original0.mul_(2)
    changed = layer(x)[0]
    assert not torch.allclose(changed, before, atol=1e-3)
    from torch.nn.utils import prune

    prune.l1_unstructured(one.inputs, "weight", amount=1.0)
    assert torch.equal(layer(x)[0], layer(torch.zeros_like(x))[0])


@pytest.mark.parametrize(("cell", "operator"), PAIRS, ids=repr)
def test_second_derivatives_vectorized_are_those_one_by_one(cell, operator):
    layer, x = Recurrent(cell, 3, 4, operator=operator), torch.randn(2, 1, 3, 3)

    def loss(x):
        return layer(x, graph=NET)[0].square().sum()

    fast = torch.autograd.functional.hessian(loss, x, vectorize=True)
    torch.testing.assert_close(fast, torch.autograd.functional.hessian(loss, x), rtol=0, atol=1e-5)
