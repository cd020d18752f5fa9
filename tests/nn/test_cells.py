"""Every cell against its equations, written out in NumPy, and against numerical gradients."""

import numpy as np
import pytest
import torch
from torch.func import functional_call

from plait import (
    GRU,
    LSTM,
    RNN,
    CoupledLSTM,
    IndRNN,
    InputError,
    LayerNormLSTM,
    MinGRU,
    MinimalGatedUnit,
    MinLSTM,
    Recurrent,
)
from plait.nn.registry import CELLS, cell_named


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


# One step of one sequence. W, U, b: a matrix or a vector by the name of its gate; d: the
# recurrent bias; p: the vectors.
def rnn(W, U, b, d, p, x, h):
    return (np.tanh(W["h"] @ x + b["h"] + U["h"] @ h),)


def rnn_relu(W, U, b, d, p, x, h):
    return (np.maximum(0, W["h"] @ x + b["h"] + U["h"] @ h),)


def lstm(W, U, b, d, p, x, h, c):
    i = sigmoid(W["i"] @ x + b["i"] + U["i"] @ h)
    f = sigmoid(W["f"] @ x + b["f"] + U["f"] @ h)
    g = np.tanh(W["g"] @ x + b["g"] + U["g"] @ h)
    o = sigmoid(W["o"] @ x + b["o"] + U["o"] @ h)
    c = f * c + i * g
    return o * np.tanh(c), c


def lstm_peephole(W, U, b, d, p, x, h, c):
    i = sigmoid(W["i"] @ x + b["i"] + U["i"] @ h + p["p_i"] * c)
    f = sigmoid(W["f"] @ x + b["f"] + U["f"] @ h + p["p_f"] * c)
    new_c = f * c + i * np.tanh(W["g"] @ x + b["g"] + U["g"] @ h)
    o = sigmoid(W["o"] @ x + b["o"] + U["o"] @ h + p["p_o"] * new_c)
    return o * np.tanh(new_c), new_c


def gru_after(W, U, b, d, p, x, h):
    r = sigmoid(W["r"] @ x + b["r"] + U["r"] @ h)
    z = sigmoid(W["z"] @ x + b["z"] + U["z"] @ h)
    n = np.tanh(W["n"] @ x + b["n"] + r * (U["n"] @ h + d["n"]))
    return (z * h + (1 - z) * n,)


def gru_before(W, U, b, d, p, x, h):
    r = sigmoid(W["r"] @ x + b["r"] + U["r"] @ h)
    z = sigmoid(W["z"] @ x + b["z"] + U["z"] @ h)
    n = np.tanh(W["n"] @ x + b["n"] + U["n"] @ (r * h))
    return (z * h + (1 - z) * n,)


def minimal_gated_unit(W, U, b, d, p, x, h):
    f = sigmoid(W["f"] @ x + b["f"] + U["f"] @ h)
    n = np.tanh(W["n"] @ x + b["n"] + U["n"] @ (f * h))
    return ((1 - f) * h + f * n,)


def min_gru(W, U, b, d, p, x, h):
    z = sigmoid(W["z"] @ x + b["z"])
    return ((1 - z) * h + z * positive(W["n"] @ x + b["n"]),)


def min_lstm(W, U, b, d, p, x, h):
    f, i = sigmoid(W["f"] @ x + b["f"]), sigmoid(W["i"] @ x + b["i"])
    n = positive(W["n"] @ x + b["n"])
    return (f / (f + i) * h + i / (f + i) * n,)


def positive(v):
    return np.where(v >= 0, v + 0.5, sigmoid(v))


def ind_rnn(W, U, b, d, p, x, h):
    return (np.maximum(0, W["h"] @ x + b["h"] + p["u"] * h),)


def lstm_coupled(W, U, b, d, p, x, h, c):
    f = sigmoid(W["f"] @ x + b["f"] + U["f"] @ h)
    c = f * c + (1 - f) * np.tanh(W["g"] @ x + b["g"] + U["g"] @ h)
    return sigmoid(W["o"] @ x + b["o"] + U["o"] @ h) * np.tanh(c), c


def lstm_layer_norm(W, U, b, d, p, x, h, c):
    def norm(v, gain):
        return gain * (v - v.mean()) / np.sqrt(((v - v.mean()) ** 2).mean() + 1e-5)

    both = norm(np.concatenate([W[k] @ x for k in "ifgo"]), p["gain_x"])
    both += norm(np.concatenate([U[k] @ h for k in "ifgo"]), p["gain_h"])
    i, f, g, o = np.split(both, 4)
    c = sigmoid(f + p["b_f"]) * c + sigmoid(i + p["b_i"]) * np.tanh(g + p["b_g"])
    return sigmoid(o + p["b_o"]) * np.tanh(norm(c, p["gain_c"]) + p["shift_c"]), c


EQUATIONS = {
    "rnn": (RNN(), rnn),
    "rnn-relu": (RNN("relu"), rnn_relu),
    "lstm": (LSTM(), lstm),
    "lstm-peephole": (LSTM(peephole=True), lstm_peephole),
    "gru": (GRU(), gru_after),
    "gru-before": (GRU("before"), gru_before),
    "minimal-gated": (MinimalGatedUnit(), minimal_gated_unit),
    "min-gru": (MinGRU(), min_gru),
    "min-lstm": (MinLSTM(), min_lstm),
    "ind-rnn": (IndRNN(), ind_rnn),
    "lstm-coupled": (CoupledLSTM(), lstm_coupled),
    "lstm-layer-norm": (LayerNormLSTM(), lstm_layer_norm),
}
every_cell = pytest.mark.parametrize("name", EQUATIONS)


def by_gate(tensor, gates):
    if tensor is None:
        return {}
    return dict(zip(gates, np.split(tensor.detach().numpy(), len(gates)), strict=True))


def loop_in_numpy(layer, equation, x, start, lengths):
    """Outputs and final states, one sequence, one direction and one step at a time."""
    D, H = layer.num_directions, layer.hidden_size
    y = np.zeros((*x.shape[:2], D * H))
    final = [s.copy() for s in start]
    for b, length in enumerate(lengths):
        read = x[:length, b]
        for index, direction in enumerate(layer.directions):
            weights = (
                by_gate(direction.inputs["weight"], direction.cell.gates),
                by_gate(
                    direction.recurrent["weight"] if direction.recurrent else None, direction.gates
                ),
                by_gate(direction.bias, direction.cell.gates),
                by_gate(direction.recurrent_bias, direction.cell.recurrent_bias_gates),
                {name: v.detach().numpy() for name, v in direction.vectors.items()},
            )
            reverse = index % D == 1
            if not reverse:
                outputs = np.zeros((length, D * H))
            state = [s[index, b] for s in start]
            for t in reversed(range(length)) if reverse else range(length):
                state = equation(*weights, read[t], *state)
                outputs[t, H * reverse : H * (reverse + 1)] = state[0]
            for whole, s in zip(final, state, strict=True):
                whole[index, b] = s
            if index % D == D - 1:
                read = outputs
        y[:length, b] = read
    return y, final


@every_cell
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "two-way"])
@pytest.mark.parametrize("input_size", [0, 3])
def test_a_cell_is_its_equations_looped_in_numpy(
    name, layers, bidirectional, input_size, make_layer, assert_near
):
    cell, equation = EQUATIONS[name]
    T, lengths, H = 6, [6, 4, 0], 4
    layer = make_layer(cell, input_size, H, layers=layers, bidirectional=bidirectional)
    random = np.random.default_rng(0)
    x = random.standard_normal((T, len(lengths), input_size))
    start = [random.standard_normal((len(layer.directions), len(lengths), H)) for _ in cell.states]
    expected, expected_final = loop_in_numpy(layer, equation, x, start, lengths)
    state = tuple(torch.from_numpy(s) for s in start)
    y, final = layer(torch.from_numpy(x), state, lengths=lengths)
    final = final if isinstance(final, tuple) else (final,)
    assert_near(y, torch.from_numpy(expected))
    assert_near(final, tuple(torch.from_numpy(s) for s in expected_final))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        *[(name, "native") for name in ("rnn", "rnn-relu", "lstm", "gru")],
        *[(name, "reference") for name in EQUATIONS],
    ],
)
@pytest.mark.parametrize(
    ("bidirectional", "lengths"),
    [(False, None), (True, [3, 0, 2])],
    ids=["one-way", "two-way with lengths"],
)
def test_gradients_are_the_numerical_ones(
    name, bidirectional, lengths, path, make_layer, on_reference
):
    cell, _ = EQUATIONS[name]
    layer = make_layer(cell, 2, 2, bidirectional=bidirectional)
    if path == "reference":
        layer = on_reference(layer)
    assert ("reference" in layer.explain()) == (path == "reference")
    x = torch.randn(3, 3, 2).double().requires_grad_()
    state = [
        torch.randn(len(layer.directions), 3, 2).double().requires_grad_() for _ in cell.states
    ]
    names, weights = zip(*layer.named_parameters(), strict=True)

    def answer(x, *rest):
        state, weights = rest[: len(cell.states)], rest[len(cell.states) :]
        weights = dict(zip(names, weights, strict=True))
        y, final = functional_call(layer, weights, (x, state), {"lengths": lengths})
        return (y, *final) if isinstance(final, tuple) else (y, final)

    assert torch.autograd.gradcheck(answer, (x, *state, *weights))


@pytest.mark.parametrize(
    ("cell", "count"),
    [
        (RNN(), lambda F, H: F * H + H * H + H),
        (LSTM(), lambda F, H: 4 * (F * H + H * H + H)),
        (LSTM(peephole=True), lambda F, H: 4 * (F * H + H * H + H) + 3 * H),
        (GRU(), lambda F, H: 3 * (F * H + H * H + H) + H),
        (GRU("before"), lambda F, H: 3 * (F * H + H * H + H)),
        (MinimalGatedUnit(), lambda F, H: 2 * (F * H + H * H + H)),
        (MinGRU(), lambda F, H: 2 * (F * H + H)),
        (MinLSTM(), lambda F, H: 3 * (F * H + H)),
        (IndRNN(), lambda F, H: F * H + 2 * H),
        (CoupledLSTM(), lambda F, H: 3 * (F * H + H * H + H)),
        (LayerNormLSTM(), lambda F, H: 4 * (F * H + H * H) + 14 * H),
    ],
    ids=lambda value: repr(value) if not callable(value) else "",
)
@pytest.mark.parametrize(("F", "H"), [(0, 3), (7, 5), (128, 128)])
def test_there_are_as_many_weights_as_the_equations_have(cell, count, F, H):
    assert sum(p.numel() for p in Recurrent(cell, F, H).parameters()) == count(F, H)


def test_a_cell_of_each_name_is_the_cell_of_that_name():
    made = {name: cell_named(name) for name in CELLS}
    assert made == {name: cell for name, (cell, _) in EQUATIONS.items()}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: cell_named("lsmt"), InputError, "no cell named 'lsmt'; there are rnn, "),
        (lambda: RNN("sigmoid"), ValueError, "nonlinearity must be 'tanh' or 'relu', not 'sigm"),
        (lambda: GRU("never"), ValueError, "reset must be 'after' or 'before', not 'never'"),
    ],
)
def test_what_is_no_cell_is_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()
