"""`lengths`: sequences that end early, against packed sequences and against themselves alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from plait import GRU, LSTM, RNN, Recurrent

T, B, F, H = 7, 4, 3, 5
LENGTHS = torch.tensor([3, 7, 1, 4])
TORCH_CELLS = [LSTM(), GRU(), RNN(), RNN("relu")]
CELLS = [*TORCH_CELLS, LSTM(peephole=True), GRU("before")]
both_paths = pytest.mark.parametrize("path", ["native", "reference"])
every_cell = pytest.mark.parametrize("cell", CELLS, ids=repr)


def states_of(layer: Recurrent, *batch: int) -> tuple[torch.Tensor, ...]:
    shape = (len(layer.directions), *batch, layer.hidden_size)
    return tuple(torch.randn(shape, dtype=torch.float64) for _ in layer.cell.states)


def as_argument(state: tuple[torch.Tensor, ...]) -> torch.Tensor | tuple[torch.Tensor, ...]:
    return state if len(state) > 1 else state[0]


@pytest.mark.parametrize("cell", TORCH_CELLS, ids=repr)
@both_paths
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "two-way"])
def test_values_and_gradients_are_those_of_packed_sequences(
    cell, path, layers, bidirectional, answers, assert_near, make_layer, on_reference
):
    ours = make_layer(cell, F, H, layers=layers, bidirectional=bidirectional)
    theirs = ours.to_torch()
    if path == "reference":
        ours = on_reference(ours)
    x, state = torch.randn(T, B, F).double(), states_of(ours, B)

    def packed(x, state):
        y, final = theirs(pack_padded_sequence(x, LENGTHS, enforce_sorted=False), state)
        return pad_packed_sequence(y, total_length=T)[0], final

    expected, expected_gradients = answers(theirs, x, state, call=packed)
    values, gradients = answers(ours, x, state, lengths=LENGTHS)
    assert_near(values, expected)
    for name in ("x", *(f"state {k}" for k in range(len(state)))):
        assert_near(gradients[name], expected_gradients[name])
    directions = ("", "_reverse")[: ours.num_directions]
    for k, suffix in enumerate(f"l{layer}{d}" for layer in range(layers) for d in directions):
        for name, their_name in (
            ("inputs.weight", "weight_ih"),
            ("recurrent.weight", "weight_hh"),
            ("bias", "bias_ih"),
        ):
            expected_gradient = expected_gradients[f"{their_name}_{suffix}"]
            assert_near(gradients[f"directions.{k}.{name}"], expected_gradient)
        if cell == GRU():
            expected_gradient = expected_gradients[f"bias_hh_{suffix}"][2 * H :]
            assert_near(gradients[f"directions.{k}.recurrent_bias"], expected_gradient)


@every_cell
def test_each_sequence_answers_as_if_it_were_alone(cell, make_layer, assert_near):
    layer = make_layer(cell, F, H, layers=2, bidirectional=True)
    x, state = torch.randn(T, B, F).double(), states_of(layer, B)
    y, final = layer(x, as_argument(state), lengths=LENGTHS)
    for b, length in enumerate(LENGTHS.tolist()):
        alone = as_argument(tuple(s[:, b : b + 1] for s in state))
        expected_y, expected_final = layer(x[:length, b : b + 1], alone)
        assert_near(y[:length, b : b + 1], expected_y)
        final_b = (f[:, b : b + 1] for f in ((final,) if len(state) == 1 else final))
        assert_near(as_argument(tuple(final_b)), expected_final)
        assert not y[length:, b].any()


@every_cell
def test_every_node_of_a_sequence_ends_with_it(cell, make_layer, assert_near):
    N = 3
    layer = make_layer(cell, F, H, layers=2, bidirectional=True)
    x, state = torch.randn(T, B, N, F).double(), states_of(layer, B, N)
    y, final = layer(x, as_argument(state), lengths=LENGTHS)
    for n in range(N):
        one = as_argument(tuple(s[:, :, n] for s in state))
        expected_y, expected_final = layer(x[:, :, n], one, lengths=LENGTHS)
        assert_near(y[:, :, n], expected_y)
        final_n = tuple(f[:, :, n] for f in ((final,) if len(state) == 1 else final))
        assert_near(as_argument(final_n), expected_final)


@every_cell
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "two-way"])
def test_an_empty_sequence_leaves_its_state_and_says_nothing(cell, bidirectional, make_layer):
    layer = make_layer(cell, F, H, layers=2, bidirectional=bidirectional)
    x, state = torch.randn(T, 3, F).double(), states_of(layer, 3)
    for s in state:
        s.requires_grad_()
    y, final = layer(x, as_argument(state), lengths=torch.tensor([4, 0, 7]))
    final = (final,) if len(state) == 1 else final
    assert not y[:, 1].any()
    assert y[:4, 0].all() or cell == RNN("relu")
    for start, end in zip(state, final, strict=True):
        assert torch.equal(end[:, 1], start[:, 1])
    gradients = torch.autograd.grad(sum(f.sum() for f in final), [*state, *layer.parameters()])
    for gradient in gradients[: len(state)]:
        assert torch.equal(gradient[:, 1], torch.ones_like(gradient[:, 1]))
    assert all(gradient.isfinite().all() for gradient in gradients)


@every_cell
def test_a_batch_of_empty_sequences_leaves_every_state(cell, make_layer):
    layer = make_layer(cell, F, H)
    state = states_of(layer, 2)
    y, final = layer(torch.randn(T, 2, F).double(), as_argument(state), lengths=[0, 0])
    assert not y.any()
    for start, end in zip(state, (final,) if len(state) == 1 else final, strict=True):
        assert torch.equal(end, start)


@every_cell
@pytest.mark.parametrize("junk", [float("nan"), float("inf")])
def test_what_the_padding_holds_changes_nothing(cell, junk, make_layer, answers):
    layer = make_layer(cell, F, H, layers=2, bidirectional=True)
    lengths = torch.tensor([3, 7, 0, 4])
    x, state = torch.randn(T, B, F).double(), states_of(layer, B)
    padding = torch.arange(T)[:, None] >= lengths  # [T, B]
    spoilt = x.masked_fill(padding[..., None], junk)
    values, gradients = answers(layer, x, state, lengths=lengths)
    spoilt_values, spoilt_gradients = answers(layer, spoilt, state, lengths=lengths)
    for value, expected in zip(spoilt_values, values, strict=True):
        assert torch.equal(value, expected)
    for name, gradient in spoilt_gradients.items():
        assert torch.equal(gradient, gradients[name]), name
    assert not gradients["x"][padding].any()


@pytest.mark.parametrize("cell", CELLS, ids=repr)
@both_paths
def test_a_state_that_would_overflow_in_the_padding_does_not(cell, path, make_layer, on_reference):
    layer = make_layer(cell, F, H)
    if path == "reference":
        layer = on_reference(layer)
    with torch.no_grad():
        layer.directions[0].recurrent["weight"].copy_(2 * torch.eye(H).repeat(len(cell.gates), 1))
    y, _ = layer(torch.ones(1100, 1, F).double(), lengths=[3])  # 2¹¹⁰⁰ is no float64
    y.sum().backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters())


@every_cell
def test_full_lengths_are_no_lengths(cell, make_layer, assert_near):
    layer = make_layer(cell, F, H, layers=2, bidirectional=True)
    x = torch.randn(T, B, F).double()
    y, final = layer(x, lengths=torch.full((B,), T))
    expected_y, expected_final = layer(x)
    assert_near(y, expected_y)
    assert_near(final, expected_final)


@pytest.mark.parametrize("kind", [torch.int32, torch.int64, torch.uint8, list])
def test_lengths_may_be_any_integers(kind):
    layer, x = Recurrent(GRU(), F, H), torch.randn(T, B, F)
    lengths = LENGTHS.tolist() if kind is list else LENGTHS.to(kind)
    assert torch.equal(layer(x, lengths=lengths)[0], layer(x, lengths=LENGTHS)[0])


@every_cell
def test_an_empty_batch_has_empty_answers(cell):
    layer = Recurrent(cell, F, H)
    y, final = layer(torch.randn(T, 0, F), lengths=torch.zeros(0, dtype=torch.long))
    assert y.shape == (T, 0, H)
    assert (final[0] if isinstance(final, tuple) else final).shape == (1, 0, H)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(data=st.data())
def test_native_is_reference_at_any_size(data, make_layer, on_reference, answers, assert_near):
    size = st.integers(1, 4)
    cell = data.draw(st.sampled_from(TORCH_CELLS), label="cell")
    steps, batch, F, H, layers = (data.draw(size, label=n) for n in ("T", "B", "F", "H", "layers"))
    bidirectional = data.draw(st.booleans(), label="bidirectional")
    nodes = data.draw(st.lists(size, max_size=1), label="nodes")
    lengths = data.draw(
        st.none() | st.lists(st.integers(0, steps), min_size=batch, max_size=batch), label="lengths"
    )
    layer = make_layer(cell, F, H, layers=layers, bidirectional=bidirectional)
    x, state = torch.randn(steps, batch, *nodes, F).double(), states_of(layer, batch, *nodes)
    values, gradients = answers(layer, x, state, lengths=lengths)
    expected, expected_gradients = answers(on_reference(layer), x, state, lengths=lengths)
    assert_near(values, expected)
    for name, gradient in gradients.items():
        assert_near(gradient, expected_gradients[name])


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([1, 2, 3], r"lengths must be 4 integers.*got torch.int64 of shape \[3\]"),
        ([[1, 2, 3, 4]], r"lengths must be 4 integers.*shape \[1, 4\]"),
        (5, r"lengths must be 4 integers.*shape \[\]"),
        ([1.0, 2.0, 3.0, 4.0], "lengths must be 4 integers.*got torch.float32"),
        ([True, True, False, True], "lengths must be 4 integers.*got torch.bool"),
        ([1, 2, -1, 4], r"lengths must lie within 0 … T = 7; got \[1, 2, -1, 4\]"),
        ([1, 2, 8, 4], r"lengths must lie within 0 … T = 7; got \[1, 2, 8, 4\]"),
    ],
)
@pytest.mark.parametrize("batch_first", [False, True])
def test_lengths_that_do_not_fit_are_refused(lengths, message, batch_first):
    layer = Recurrent(LSTM(), F, H, batch_first=batch_first)
    x = torch.randn((B, T, F) if batch_first else (T, B, F))
    with pytest.raises(ValueError, match=message):
        layer(x, lengths=lengths)


def test_packed_sequences_are_refused_by_unroll():
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(T, B, F), LENGTHS, enforce_sorted=False)
    with pytest.raises(TypeError, match=r"unroll takes no packed sequences; .*lengths="):
        Recurrent(LSTM(), F, H).unroll(packed)
