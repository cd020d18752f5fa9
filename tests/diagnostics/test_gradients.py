"""Gradient flow against autograd through a naive loop, and against the closed form W^k."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from plait import (
    GCN,
    GRU,
    LSTM,
    RNN,
    Attention,
    Cell,
    Chebyshev,
    Graph,
    IndRNN,
    MinGRU,
    MinLSTM,
    Recurrent,
)  # fmt: skip
from plait.diagnostics import LayerFlow, gradient_flow

T, B, FEATURES, H = 9, 4, 3, 5


class Last(nn.Module):
    """Answers from the last state, as the report's p = W_ph h + b."""

    def __init__(self, cell: Cell, **options) -> None:
        super().__init__()
        self.recurrent = Recurrent(cell, FEATURES, H, **options)
        self.output = nn.Linear(H, 2)

    def forward(self, x):
        state = self.recurrent(x)[1]
        return self.output((state[0] if isinstance(state, tuple) else state)[-1])


@pytest.fixture
def batch():
    return torch.randn(T, B, FEATURES, dtype=torch.float64), torch.tensor([0, 1, 1, 0])


def parts(direction) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return direction.inputs["weight"], direction.recurrent["weight"], direction.bias


def naive_rnn(w, u, b, x, h):
    return torch.tanh(F.linear(x, w, b) + F.linear(h[0], u)), None


def naive_lstm(w, u, b, x, state):
    h, c = state
    i, f, g, o = (F.linear(x, w, b) + F.linear(h, u)).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def naive_gru_before(w, u, b, x, state):
    (h,) = state
    (w_r, w_z, w_n), (u_r, u_z, u_n), (b_r, b_z, b_n) = (p.chunk(3) for p in (w, u, b))
    r = torch.sigmoid(F.linear(x, w_r, b_r) + F.linear(h, u_r))
    z = torch.sigmoid(F.linear(x, w_z, b_z) + F.linear(h, u_z))
    n = torch.tanh(F.linear(x, w_n, b_n) + F.linear(r * h, u_n))
    return z * h + (1 - z) * n, None


@pytest.mark.parametrize(
    ("cell", "step"),
    [(RNN(), naive_rnn), (LSTM(), naive_lstm), (GRU("before"), naive_gru_before)],
    ids=["rnn", "lstm", "gru"],
)
def test_norms_and_shares_are_those_of_autograd_through_a_naive_loop(cell, step, batch):
    """Every step has a copy of its own of U, and its states are kept by retain_grad."""
    model = Last(cell).double()
    x, y = batch
    w, u, b = (p.detach() for p in parts(model.recurrent.directions[0]))
    state = tuple(torch.zeros(B, H, dtype=torch.float64) for _ in cell.states)
    history, copies = [], []
    for x_t in x:
        copies.append(u.clone().requires_grad_())
        new = [s for s in step(w, copies[-1], b, x_t, state) if s is not None]
        state = tuple(s * 1 for s in new)  # the next step's own, so that h does not speak for c
        for s in state:
            if s.requires_grad:
                s.retain_grad()
        history.append(state)
    loss = F.cross_entropy(model.output(state[0]), y)
    loss.backward()
    flow = gradient_flow(model, batch)
    (layer,) = flow.layers
    assert flow.loss == pytest.approx(loss.item(), rel=1e-13)
    assert flow.output == pytest.approx(model.output.weight.grad.norm().item(), rel=1e-12)
    for k, name in enumerate(cell.states):
        expected = [0.0 if s[k].grad is None else s[k].grad.norm().item() for s in history]
        np.testing.assert_allclose(layer.norms[name], expected, rtol=1e-11)
    together = sum(norm**2 for norm in layer.norms.values()) ** 0.5
    np.testing.assert_allclose(layer.flow, together, rtol=1e-13)
    norms = np.array([copy.grad.norm().item() for copy in copies])
    np.testing.assert_allclose(layer.shares, norms / norms.sum(), rtol=1e-11, atol=1e-18)
    total = sum(copy.grad for copy in copies).norm().item()
    assert layer.recurrent == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize(
    "cell", [RNN(), LSTM(), GRU(), LSTM(peephole=True)], ids=["rnn", "lstm", "gru", "peephole"]
)
def test_the_steps_add_up_to_the_gradient_of_the_weights(cell, batch):
    model = Last(cell, layers=2).double()
    F.cross_entropy(model(batch[0]), batch[1]).backward()
    flow = gradient_flow(model, batch)
    for direction, layer in zip(model.recurrent.directions, flow.layers, strict=True):
        expected = direction.recurrent["weight"].grad.norm().item()
        assert layer.recurrent == pytest.approx(expected, rel=1e-11)
        assert float(layer.shares.sum()) == pytest.approx(1, rel=1e-13)
    assert [layer.name for layer in flow.layers] == ["layer 0", "layer 1"]


@pytest.mark.parametrize(
    "operator", [GCN(), Chebyshev(2), Attention(heads=1)], ids=["gcn", "chebyshev", "attention"]
)
def test_the_steps_add_up_on_a_graph_too(operator):
    graph = Graph.from_edges([(0, 1), (1, 2), (2, 3)]).to_undirected()

    class OnGraph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = Recurrent(GRU("before"), FEATURES, H, operator=operator)
            self.output = nn.Linear(H, 2)

        def forward(self, x):
            return self.output(self.recurrent(x, graph=graph)[1][-1].mean(1))  # over the nodes

    model = OnGraph().double()
    x, y = torch.randn(T, B, 4, FEATURES, dtype=torch.float64), torch.tensor([0, 1, 1, 0])
    F.cross_entropy(model(x), y).backward()
    flow = gradient_flow(model, (x, y))
    (layer,) = flow.layers
    used = [p.grad for p in model.recurrent.directions[0].recurrent.values()]
    expected = math.sqrt(sum(float((g**2).sum()) for g in used))
    assert layer.recurrent == pytest.approx(expected, rel=1e-11)
    assert layer.radius == {}
    assert flow.output == pytest.approx(model.output.weight.grad.norm().item(), rel=1e-12)


class Linear(Cell):
    """h' = W x + U h."""

    gates = "h"
    bias_gates = ""

    def step(self, x_gates, recurrent, state, vectors):
        return (x_gates + recurrent(state[0]),)


@pytest.mark.parametrize(
    ("scale", "verdict", "memory"),
    # 0.5^7 < 1 % < 0.5^6; 0.9^44 > 1 % even nine steps back; 3^5 > 100
    [(0.5, "vanishing", 7), (0.9, "healthy", None), (3.0, "exploding", None)],
)
def test_a_linear_cell_has_the_powers_of_its_matrix(scale, verdict, memory, batch):
    model = Last(Linear()).double()
    rotation = torch.linalg.qr(torch.randn(H, H, dtype=torch.float64))[0]
    u = scale * rotation
    with torch.no_grad():
        model.recurrent.directions[0].recurrent["weight"].copy_(u)
    x, y = batch
    h = model.recurrent(x)[0][-1].detach().requires_grad_()
    F.cross_entropy(model.output(h), y).backward()
    last = h.grad
    (layer,) = gradient_flow(model, batch).layers
    for k in range(T):
        # h^(T) = U^k h^(T−k) + …, so ∂L/∂h^(T−k) = ∂L/∂h^(T) U^k, row by row
        expected = (last @ torch.linalg.matrix_power(u, k)).norm().item()
        assert float(layer.flow[T - 1 - k]) == pytest.approx(expected, rel=1e-12)
        assert expected == pytest.approx(scale**k * last.norm().item(), rel=1e-12)
    assert (layer.verdict, layer.memory) == (verdict, memory)
    assert layer.explain().startswith(verdict)
    assert layer.radius == {"h": pytest.approx(scale, rel=1e-12)}
    assert layer.closed is layer.opened is None


def test_a_matrix_without_symmetry(batch):
    model = Last(Linear()).double()
    u = model.recurrent.directions[0].recurrent["weight"].detach().normal_()
    x, y = batch
    h = model.recurrent(x)[0][-1].detach().requires_grad_()
    F.cross_entropy(model.output(h), y).backward()
    (layer,) = gradient_flow(model, batch).layers
    powers = [torch.linalg.matrix_power(u, k) for k in range(T)]
    expected = [(h.grad @ p).norm().item() for p in reversed(powers)]
    np.testing.assert_allclose(layer.flow, expected, rtol=1e-11)
    assert layer.radius["h"] == pytest.approx(abs(np.linalg.eigvals(u.numpy())).max(), rel=1e-12)


def test_both_directions_flow_back_to_their_own_beginnings(batch):
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = Recurrent(Linear(), FEATURES, H, bidirectional=True)
            self.output = nn.Linear(2 * H, 2)

        def forward(self, x):
            return self.output(torch.cat(tuple(self.recurrent(x)[1]), -1))

    model = Both().double()
    with torch.no_grad():
        for k, direction in enumerate(model.recurrent.directions):
            direction.recurrent["weight"].copy_((0.5, 2.0)[k] * torch.eye(H))
    forward, reverse = gradient_flow(model, batch).layers
    assert [forward.name, reverse.name] == ["layer 0", "layer 0 reversed"]
    back = torch.arange(T - 1, -1, -1, dtype=torch.float64)
    np.testing.assert_allclose(forward.flow / forward.flow[-1], 0.5**back, rtol=1e-12)
    np.testing.assert_allclose(reverse.flow / reverse.flow[-1], 2.0**back, rtol=1e-12)


@pytest.mark.parametrize(
    ("bias", "closed", "opened"), [(-9.0, 0.25, 0.0), (9.0, 0.0, 0.25), (0, 0, 0)]
)
def test_saturated_gates_are_counted(bias, closed, opened, batch):
    """One of four σ gates is driven to an end, and the weights are 0."""

    class Four(Cell):
        gates = "abcd"

        def step(self, x_gates, recurrent, state, vectors):
            gates = torch.sigmoid(x_gates + recurrent(state[0])).chunk(4, -1)
            return (torch.tanh(sum(gates) * state[0] + gates[1]),)

    model = Last(Four())
    direction = model.recurrent.directions[0]
    with torch.no_grad():
        for p in direction.parameters():
            p.zero_()
        direction.bias[:H] = bias
    (layer,) = gradient_flow(model, (batch[0].float(), batch[1])).layers
    assert (layer.closed, layer.opened) == (closed, opened)


def test_answers_at_every_step_count_at_the_last(batch):
    class Every(Last):
        def forward(self, x):
            y, state = self.recurrent(x)
            return self.output(y), state

    model = Every(GRU()).double()
    targets = torch.randint(2, (T, B))
    every = gradient_flow(model, (batch[0], targets))
    last = gradient_flow(model, (batch[0], targets), lambda a, y: F.cross_entropy(a, y))
    assert every.loss == last.loss
    expected = F.cross_entropy(model(batch[0])[0][-1], targets[-1]).item()
    assert every.loss == pytest.approx(expected, rel=1e-13)


def test_real_answers_have_a_squared_error(batch):
    model = Last(RNN()).double()
    targets = torch.randn(B, 2, dtype=torch.float64)
    flow = gradient_flow(model, (batch[0], targets))
    assert flow.loss == pytest.approx(F.mse_loss(model(batch[0]), targets).item(), rel=1e-13)


def test_the_model_is_left_as_it_is(batch):
    model = Last(LSTM())
    before = {k: v.clone() for k, v in model.state_dict().items()}
    gradient_flow(model, (batch[0].float(), batch[1]))
    assert model.training
    assert isinstance(model.recurrent.cell, LSTM)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None and p.dtype == torch.float32 for p in model.parameters())


def test_saturated_answers_let_no_gradient_through(batch):
    model = Last(RNN()).double()
    (layer,) = gradient_flow(model, batch, lambda a, _: torch.sigmoid(a + 1e3).sum()).layers
    assert (layer.memory, layer.verdict) == (0, "vanishing")
    assert "no gradient reaches even the last step" in layer.explain()


def test_nothing_recurrent_and_a_layer_run_twice_are_refused(batch):
    with pytest.raises(ValueError, match="no recurrent layer"):
        gradient_flow(nn.Linear(3, 2), batch)

    class Twice(Last):
        def forward(self, x):
            return super().forward(x) + super().forward(x)

    with pytest.raises(ValueError, match="runs a recurrent layer more than once"):
        gradient_flow(Twice(RNN()), batch)


def test_advice_fits_the_cell():
    def layer(flow, closed):
        flow = torch.tensor(flow)
        return LayerFlow("layer 0", {}, flow, 1.0, flow, {}, closed, closed)

    assert "Try an LSTM or GRU" in layer([1e-9, 1.0], None).explain()
    assert "Try gates that begin open" in layer([1e-9, 1.0], 0.5).explain()
    assert layer([1e3, 1.0], 0.5).explain().startswith("exploding: the gradient grows to 1e+03")
    assert layer([math.nan, 1.0], None).verdict == "exploding"
    assert layer([0.5, 1.0], None).explain() == "healthy: 0.5 of the gradient is left 1 steps back"


def test_an_output_of_zeros_is_no_vanishing_gradient(batch):
    model = Last(RNN())
    nn.init.zeros_(model.output.weight)
    flow = gradient_flow(model, batch)
    (layer,) = flow.layers
    assert layer.verdict == "none yet"
    assert layer.explain().startswith("none yet: the output layer's weights are all zero")
    assert "vanishing" not in str(flow)
    assert flow.output > 0  # it learns, and lets the gradient through from then on
    nn.init.ones_(model.output.weight)
    assert gradient_flow(model, batch).layers[0].verdict != "none yet"


@pytest.mark.parametrize("cell", [MinGRU(), MinLSTM(), IndRNN()], ids=lambda c: type(c).__name__)
def test_a_cell_without_recurrent_weights_has_no_gradient_of_them_to_speak_of(cell, batch):
    found = gradient_flow(Last(cell).double(), batch)
    (layer,) = found.layers
    assert not layer.has_recurrent
    assert (layer.recurrent, float(layer.shares.sum()), layer.radius) == (0, 0, {})
    assert float(layer.flow[-1]) > 0
    said = str(found)
    assert "  no W_hh: the cell has no recurrent weights" in said
    assert "‖∂L/∂W_hh‖" not in said
