"""Half precision against float64: autocast and converted modules, eager and compiled."""

import copy

import pytest
import torch
from torch import nn

from plait import GRU, LSTM, RNN, Attention, Chebyshev, Dense, Graph, Recurrent
from plait.kernels import precision

T, B, N, F, H = 5, 3, 6, 3, 8
CELLS = [RNN(), LSTM(), LSTM(peephole=True), GRU("before")]
OPERATORS = [Dense(), Chebyshev(3), Attention(2, version=2)]
UNITS = {torch.bfloat16: 2**-8, torch.float16: 2**-11}
"""By which a number may be rounded, of itself."""

kinds = pytest.mark.parametrize("kind", list(UNITS), ids=str)
operators = pytest.mark.parametrize("operator", OPERATORS, ids=str)
cells = pytest.mark.parametrize("cell", CELLS, ids=str)


def drawn(cell, operator) -> Recurrent:
    """Weights that do not magnify what was rounded."""
    layer = Recurrent(cell, F, H, operator=operator, init="torch")
    return layer


def given(operator):
    if type(operator) is Dense:
        return torch.randn(T, B, F), None
    ring = Graph.from_edges([(k, (k + 1) % N) for k in range(N)]).to_undirected()
    return torch.randn(T, B, N, F), ring


def off(found, right) -> float:
    return float((found.double() - right).detach().abs().max() / right.detach().abs().max())


def check(call, layer, kind, x, graph, *, autocast: bool) -> None:
    oracle = copy.deepcopy(layer).double()
    with torch.autocast("cpu", kind, enabled=autocast):
        y, state = call(x, graph=graph)
    assert y.dtype == kind
    states = state if isinstance(state, tuple) else (state,)
    assert {s.dtype for s in states} == {torch.float32 if autocast else kind}
    right, last = oracle(x.double(), graph=graph)
    unit = UNITS[kind]
    assert off(y, right) < 4 * unit
    for s, r in zip(states, last if isinstance(last, tuple) else (last,), strict=True):
        assert off(s, r) < 4 * unit
    grads = torch.autograd.grad(y.float().square().sum(), list(layer.parameters()))
    wanted = torch.autograd.grad(right.square().sum(), list(oracle.parameters()))
    for g, w in zip(grads, wanted, strict=True):
        assert off(g, w) < 32 * unit


@kinds
@operators
@cells
def test_under_autocast(cell, operator, kind):
    layer, (x, graph) = drawn(cell, operator), given(operator)
    check(layer, layer, kind, x, graph, autocast=True)


@kinds
@operators
@cells
def test_a_converted_module(cell, operator, kind):
    layer, (x, graph) = drawn(cell, operator).to(kind), given(operator)
    check(layer, layer, kind, x.to(kind), graph, autocast=False)


@pytest.mark.filterwarnings("ignore")  # of torch's own compiler
@operators
def test_compiled_under_autocast(operator):
    torch._dynamo.reset()
    layer, (x, graph) = drawn(LSTM(), operator), given(operator)
    call = torch.compile(layer, backend="aot_eager", fullgraph=True)
    check(call, layer, torch.bfloat16, x, graph, autocast=True)


def test_explain_says_the_type_that_runs(monkeypatch):
    layer = Recurrent(GRU(), F, H)
    monkeypatch.setattr(precision, "MULTIPLIES", True)
    assert layer.explain().splitlines()[0].endswith("in float32")
    with torch.autocast("cpu", torch.bfloat16):
        assert layer.kernel().endswith(
            "in float32, the input product in bfloat16, outputs bfloat16"
        )
        assert Recurrent(LSTM(), F, H).kernel() == "oneDNN - torch's LSTM on cpu in bfloat16"
    monkeypatch.setattr(precision, "MULTIPLIES", False)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer.kernel().endswith("in float32, outputs bfloat16")
        said = Recurrent(LSTM(), F, H).explain()
        assert said.startswith("layer 0: plait-cpu")
        assert "not oneDNN: this processor has no products of bfloat16" in said
    assert layer.half().kernel().endswith("in float32, outputs float16")


def test_without_products_of_bfloat16_all_is_float32(monkeypatch):
    monkeypatch.setattr(precision, "MULTIPLIES", False)
    layer, x = Recurrent(LSTM(), F, H), torch.randn(T, B, F)
    exact, _ = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        y, (h, _) = layer(x)
    assert (y.float() - exact).abs().max() <= 2**-8 * exact.abs().max()
    assert (h[0] - exact[-1]).abs().max() < 1e-6


def test_states_stay_float32_from_call_to_call():
    """Many short calls under autocast drift no further than one long one."""
    layer, x = Recurrent(GRU(), F, H, init="torch"), torch.randn(60, B, F)
    right, _ = copy.deepcopy(layer).double()(x.double())
    state, found = None, []
    with torch.autocast("cpu", torch.bfloat16):
        for part in x.split(3):
            y, state = layer(part, state)
            found.append(y)
    assert state.dtype == torch.float32
    assert off(torch.cat(found), right) < 4 * 2**-8


def test_autocast_learns_what_float32_learns():
    x, y = torch.randn(12, 16, F), torch.randn(12, 16, 1).cumsum(0).tanh()
    losses = []
    for autocast in (False, True):
        torch.manual_seed(1)
        model = nn.ModuleList([Recurrent(LSTM(), F, 16, layers=2), nn.Linear(16, 1)])
        adam = torch.optim.Adam(model.parameters(), 0.01)
        for _ in range(40):
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                h, _ = model[0](x)
                loss = (model[1](h).float() - y).square().mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
        losses.append(loss.item())
    assert losses[0] < 0.9 * float(y.var())
    assert abs(losses[1] - losses[0]) < 0.03 * losses[0]
