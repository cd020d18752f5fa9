"""Keras' weights against NumPy, written from the formulas in Keras' documentation and code."""

import numpy as np
import pytest
import torch

from plait import InputError, Recurrent

F, H, B, T = 3, 4, 2, 6


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def keras_lstm(x, kernel, recurrent_kernel, bias):
    """`keras.layers.LSTM`: blocks i, f, c, o."""
    h = c = np.zeros((len(x), H))
    for x_t in x.swapaxes(0, 1):
        i, f, g, o = np.split(x_t @ kernel + h @ recurrent_kernel + bias, 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        yield h


def keras_gru_after(x, kernel, recurrent_kernel, bias):
    """`keras.layers.GRU`, reset_after: blocks z, r, h; the input's bias, and the state's."""
    h = np.zeros((len(x), H))
    for x_t in x.swapaxes(0, 1):
        x_z, x_r, x_h = np.split(x_t @ kernel + bias[0], 3, -1)
        h_z, h_r, h_h = np.split(h @ recurrent_kernel + bias[1], 3, -1)
        z, r = sigmoid(x_z + h_z), sigmoid(x_r + h_r)
        h = z * h + (1 - z) * np.tanh(x_h + r * h_h)
        yield h


def keras_gru_before(x, kernel, recurrent_kernel, bias):
    """The same with reset_after=False: the reset acts on the state before the product."""
    h = np.zeros((len(x), H))
    U_z, U_r, U_h = np.split(recurrent_kernel, 3, -1)
    for x_t in x.swapaxes(0, 1):
        x_z, x_r, x_h = np.split(x_t @ kernel + bias, 3, -1)
        z, r = sigmoid(x_z + h @ U_z), sigmoid(x_r + h @ U_r)
        h = z * h + (1 - z) * np.tanh(x_h + (r * h) @ U_h)
        yield h


def keras_simple_rnn(x, kernel, recurrent_kernel, bias):
    """`keras.layers.SimpleRNN`."""
    h = np.zeros((len(x), H))
    for x_t in x.swapaxes(0, 1):
        h = np.tanh(x_t @ kernel + h @ recurrent_kernel + bias)
        yield h


KINDS = {
    "LSTM": (keras_lstm, 4, (4 * H,)),
    "GRU reset_after": (keras_gru_after, 3, (2, 3 * H)),
    "GRU": (keras_gru_before, 3, (3 * H,)),
    "SimpleRNN": (keras_simple_rnn, 1, (H,)),
}


def drawn(gates, bias, inputs=F, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (inputs, gates * H), (H, gates * H), bias
    return [rng.standard_normal(shape) for shape in shapes]


@pytest.mark.parametrize("name", KINDS)
def test_a_layer_computes_what_keras_does(name):
    formula, gates, bias = KINDS[name]
    weights, x = drawn(gates, bias), np.random.default_rng(1).standard_normal((B, T, F))
    expected = np.stack(list(formula(x, *weights)), 1)
    y, _ = Recurrent.from_keras(weights)(torch.from_numpy(x))
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", KINDS)
def test_a_stack_of_both_directions_computes_what_keras_does(name):
    formula, gates, bias = KINDS[name]
    x = np.random.default_rng(1).standard_normal((B, T, F))
    weights, expected = [], x
    for k, inputs in enumerate((F, 2 * H)):
        there, back = (drawn(gates, bias, inputs, seed=2 * k + way) for way in (0, 1))
        weights.append([*there, *back])
        forward = np.stack(list(formula(expected, *there)), 1)
        reverse = np.stack(list(formula(expected[:, ::-1], *back)), 1)[:, ::-1]
        expected = np.concatenate([forward, reverse], -1)
    y, _ = Recurrent.from_keras(weights)(torch.from_numpy(x))
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("reset_after", [True, False])
def test_without_a_bias_it_is_zero(reset_after):
    weights, x = drawn(3, ()), np.random.default_rng(1).standard_normal((B, T, F))
    formula, zeros = (
        (keras_gru_after, np.zeros((2, 3 * H))) if reset_after
        else (keras_gru_before, np.zeros(3 * H))
    )  # fmt: skip
    layer = Recurrent.from_keras(weights[:2], reset_after=reset_after)
    expected = np.stack(list(formula(x, *weights[:2], zeros)), 1)
    y, _ = layer(torch.from_numpy(x))
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=0, atol=1e-12)


def test_the_arrays_stay_as_they_are_and_give_their_type():
    weights = [w.astype(np.float32) for w in drawn(4, (4 * H,))]
    before = [w.copy() for w in weights]
    layer = Recurrent.from_keras(weights)
    with torch.no_grad():
        next(layer.parameters()).add_(1)
    assert {p.dtype for p in layer.parameters()} == {torch.float32}
    assert all(map(np.array_equal, weights, before))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([np.ones((3, 16))], "1 arrays are no recurrent layer's; get_weights"),
        ([np.ones((3, 8)), np.ones((4, 8))], r"shapes \[3, 8\], \[4, 8\] do not fit"),
        ([np.ones((3, 16)), np.ones((4, 12))], "do not fit"),
        ([np.ones((3, 16)), np.ones((4, 16)), np.ones((2, 16))], "do not fit"),
        ([np.ones((3, 16), int), np.ones((4, 16))], "an array of int64"),
        ([drawn(4, (16,)), drawn(4, (16,))], "layer 1 takes 3 features and is given 4"),
        ([drawn(4, (16,)), drawn(1, (4,), 4)], "layer 1 is of another kind than layer 0"),
        ([], "there are no weights"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(weights, message):
    with pytest.raises(InputError, match=message):
        Recurrent.from_keras(weights)
    with pytest.raises(InputError, match="nonlinearity must be 'tanh' or 'relu', not 'gelu'"):
        Recurrent.from_keras(drawn(1, (H,)), nonlinearity="gelu")
