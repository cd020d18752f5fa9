"""A graph for every step: what is read at time t goes over the t-th."""

import pytest
import torch

from plait import GCN, GRU, LSTM, Attention, Chebyshev, Dense, Diffusion, Recurrent
from plait.diagnostics import gradient_flow

OPERATORS = [Dense(), GCN(), Chebyshev(3), Diffusion(2), Attention(2)]
every_operator = pytest.mark.parametrize("operator", OPERATORS, ids=str)
T, B, N, F, H = 5, 3, 9, 3, 4


@pytest.fixture
def nets(make_graph):
    first, second, third = (make_graph(N, 6, seed=seed) for seed in range(3))
    return [first, first, second, third, first]


def as_tuple(state) -> tuple[torch.Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


@every_operator
@pytest.mark.parametrize("cell", [LSTM(peephole=True), GRU("before")], ids=str)
def test_it_is_step_after_step_each_over_its_own(cell, operator, nets, make_layer, assert_near):
    layer = make_layer(cell, F, H, operator=operator, layers=2)
    x, state, steps = torch.randn(T, B, N, F).double(), None, []
    for x_t, net in zip(x, nets, strict=True):
        y, state = layer(x_t[None], state, graph=net)
        steps.append(y)
    y, final = layer(x, graph=nets)
    assert_near(y, torch.cat(steps))
    assert_near(as_tuple(final), as_tuple(state))
    if operator != Dense():
        assert not torch.allclose(y, layer(x, graph=nets[::-1])[0])


@every_operator
def test_of_the_reversed_direction_too_and_of_sequences_that_end_early(
    operator, nets, make_layer, assert_near
):
    layer = make_layer(LSTM(), F, H, operator=operator, bidirectional=True)
    backward = make_layer(LSTM(), F, H, operator=operator)
    backward.directions[0].load_state_dict(layer.directions[1].state_dict())
    x, lengths = torch.randn(T, B, N, F).double(), torch.tensor([5, 0, 3])
    y, final = layer(x, graph=nets, lengths=lengths)
    for b, n in enumerate(lengths.tolist()):
        assert not y[n:, b].any()
        if n:
            back = x[:n, b : b + 1].flip(0)
            expected, end = backward(back, graph=nets[:n][::-1])
            assert_near(y[:n, b : b + 1, :, H:], expected.flip(0))
            assert_near(tuple(s[1:, b : b + 1] for s in final), end)


@every_operator
def test_one_graph_at_every_step_is_that_graph(operator, nets, make_layer, assert_near):
    layer = make_layer(GRU(), F, H, operator=operator, layers=2, bidirectional=True)
    x, lengths = torch.randn(T, B, N, F).double(), torch.tensor([5, 0, 3])
    same, net = [nets[0]] * T, nets[0]
    assert_near(layer(x, graph=same)[0], layer(x, graph=net)[0])
    for got, expected in (
        (layer(x, graph=same, lengths=lengths), layer(x, graph=net, lengths=lengths)),
        ([layer.unroll(x, graph=same, lengths=lengths)],
         [layer.unroll(x, graph=net, lengths=lengths)]),
    ):  # fmt: skip
        assert_near(tuple(got), tuple(expected))


def test_the_dropped_channels_stay_dropped_over_all_graphs(nets, make_layer):
    layer = make_layer(GRU(), F, H, operator=GCN(), recurrent_dropout=0.5)
    x = torch.randn(T, B, N, F).double()
    torch.manual_seed(3)
    y, _ = layer(x, graph=[nets[0]] * T)
    others = [nets[0], nets[0].to(torch.float32).to(torch.float64)] * 3  # an equal graph, cut apart
    torch.manual_seed(3)
    apart, _ = layer(x, graph=others[:T])
    torch.testing.assert_close(apart, y, rtol=0, atol=1e-6)


def test_gradients_are_the_numerical_ones(make_graph, make_layer):
    nets = [make_graph(4, 2, seed=seed) for seed in range(3)]
    layer = make_layer(GRU("before"), 2, 2, operator=Chebyshev(2), bidirectional=True)
    x = torch.randn(3, 1, 4, 2).double().requires_grad_()
    names, weights = zip(*layer.named_parameters(), strict=True)

    def answer(x, *weights):
        named = dict(zip(names, weights, strict=True))
        return torch.func.functional_call(layer, named, (x,), {"graph": nets})[0]

    assert torch.autograd.gradcheck(answer, (x, *weights))


def test_graphs_that_do_not_fit_are_refused(nets, make_graph):
    layer, x = Recurrent(GRU(), F, H, operator=GCN()), torch.randn(T, B, N, F)
    with pytest.raises(ValueError, match="graph= has 3 graphs for T = 5 steps; give one per step"):
        layer(x, graph=nets[:3])
    with pytest.raises(ValueError, match=r"graph's N = 4 nodes; got shape \[5, 3, 9, 3\]"):
        layer(x, graph=[*nets[:4], make_graph(4, 2)])
    with pytest.raises(TypeError, match="graph must be a Graph, not str"):
        layer(x, graph=[*nets[:4], "net"])


def test_gradient_flow_says_that_it_wants_one_graph(nets):
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrent = Recurrent(GRU(), F, H, operator=GCN())

        def forward(self, x):
            return self.recurrent(x, graph=nets)[0]

    with pytest.raises(ValueError, match="or over several graphs"):
        gradient_flow(Model(), (torch.randn(T, B, N, F), torch.randn(T, B, N, H)))
