"""Dropout between layers and on the recurrent side: what is dropped, when, and how much."""

import pytest
import torch
from torch.nn import functional as F

from plait import GRU, LSTM, RNN, Cell, Recurrent

CELLS = [RNN(), LSTM(), LSTM(peephole=True), GRU(), GRU("before")]
every_cell = pytest.mark.parametrize("cell", CELLS, ids=repr)


def one_layer_of(layer: Recurrent, k: int) -> Recurrent:
    """Layer k by itself, both directions, with its weights."""
    D, H = layer.num_directions, layer.hidden_size
    size = layer.input_size if k == 0 else D * H
    alone = Recurrent(layer.cell, size, H, bidirectional=layer.bidirectional).double()
    for own, direction in zip(alone.directions, layer.directions[k * D : k * D + D], strict=True):
        own.load_state_dict(direction.state_dict())
    return alone


@every_cell
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "two-way"])
@pytest.mark.parametrize("lengths", [None, [5, 3]])
def test_dropout_falls_between_the_layers_and_nowhere_else(
    cell, bidirectional, lengths, make_layer, assert_near
):
    layer = make_layer(cell, 3, 4, layers=3, bidirectional=bidirectional, dropout=0.4)
    first, second, third = (one_layer_of(layer, k) for k in range(3))
    x = torch.randn(5, 2, 3).double()
    torch.manual_seed(0)
    y, _ = layer(x, lengths=lengths)
    torch.manual_seed(0)
    expected, _ = first(x, lengths=lengths)
    expected, _ = second(F.dropout(expected, 0.4), lengths=lengths)
    expected, _ = third(F.dropout(expected, 0.4), lengths=lengths)
    assert_near(y, expected)


def test_the_share_that_is_dropped_is_the_one_asked_for():
    p, T, B, H = 0.3, 50, 20, 40
    layer = Recurrent(RNN("relu"), 1, H, layers=2, dropout=p)
    ones, copies = layer.directions
    with torch.no_grad():  # the first layer gives ones, the second copies what it reads
        for weight in layer.parameters():
            weight.zero_()
        ones.bias.fill_(1)
        copies.inputs["weight"].copy_(torch.eye(H))
    torch.manual_seed(0)
    y, _ = layer(torch.zeros(T, B, 1))
    dropped = y == 0
    assert torch.allclose(y[~dropped], torch.tensor(1 / (1 - p)))
    deviation = (p * (1 - p) / y.numel()) ** 0.5
    assert abs(dropped.double().mean() - p) < 4 * deviation
    assert not torch.equal(dropped[0], dropped[1])  # drawn anew at every step


@every_cell
def test_dropout_acts_in_training_without_gradients_too(cell, make_layer):
    layer = make_layer(cell, 3, 4, layers=2, dropout=0.5)
    x = torch.randn(5, 2, 3).double()
    with torch.no_grad():
        assert not torch.equal(layer(x)[0], layer(x)[0])


@every_cell
def test_in_evaluation_nothing_is_dropped(cell, make_layer):
    options = {"layers": 2, "bidirectional": True}
    layer = make_layer(cell, 3, 4, **options, dropout=0.4, recurrent_dropout=0.3)
    plain = make_layer(cell, 3, 4, **options)
    x = torch.randn(5, 2, 3).double()
    assert not torch.allclose(layer(x)[0], plain(x)[0])
    assert torch.equal(layer.eval()(x)[0], plain(x)[0])
    assert layer.explain() == plain.explain()


class Echo(Cell):
    """The state becomes what the recurrent side reads of it."""

    gates = "h"
    bias_gates = ()

    def step(self, x_gates, recurrent, state, vectors):
        return (recurrent(state[0]),)


@pytest.mark.parametrize("nodes", [(), (3,)], ids=["sequences", "graph"])
def test_recurrent_dropout_drops_the_same_channels_at_every_step(nodes):
    p, T, B, H = 0.3, 4, 50, 60
    layer = Recurrent(Echo(), 0, H, layers=2, recurrent_dropout=p)
    with torch.no_grad():
        for direction in layer.directions:
            direction.recurrent["weight"].copy_(torch.eye(H))
    torch.manual_seed(0)
    states = layer.unroll(torch.empty(T, B, *nodes, 0), torch.ones(2, B, *nodes, H))
    first = states[0]  # [layers, B, (N,) H]
    dropped = first == 0
    deviation = (p * (1 - p) / dropped.numel()) ** 0.5
    assert abs(dropped.double().mean() - p) < 4 * deviation
    for t, state in enumerate(states, start=1):
        assert torch.allclose(state, ~dropped / (1 - p) ** t)
    assert not torch.equal(dropped[0], dropped[1])  # every layer has a mask of its own
    assert not torch.equal(dropped[:, 0], dropped[:, 1])  # and so has every sequence


def test_recurrent_dropout_acts_on_every_recurrent_product(make_layer, assert_near):
    p = 0.4
    layer = make_layer(GRU("before"), 3, 4, recurrent_dropout=p)
    (direction,) = layer.directions
    x = torch.randn(5, 2, 3).double()
    torch.manual_seed(0)
    y, _ = layer(x)
    torch.manual_seed(0)
    mask = F.dropout(torch.ones(2, 4).double(), p)
    U_r, U_z, U_n = direction.recurrent["weight"].split(4)
    h = torch.zeros(2, 4).double()
    for x_t, y_t in zip(x, y, strict=True):
        x_r, x_z, x_n = (x_t @ direction.inputs["weight"].T + direction.bias).chunk(3, -1)
        r = torch.sigmoid(x_r + (h * mask) @ U_r.T)
        z = torch.sigmoid(x_z + (h * mask) @ U_z.T)
        h = z * h + (1 - z) * torch.tanh(x_n + (r * h * mask) @ U_n.T)
        assert_near(y_t, h)
