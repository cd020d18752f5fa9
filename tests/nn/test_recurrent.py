"""What holds of `Recurrent` whatever the cell: streams, nodes, states, round trips, refusals."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from plait import GRU, LSTM, RNN, Cell, Dense, Recurrent

CELLS = [RNN(), RNN("relu"), LSTM(), LSTM(peephole=True), GRU(), GRU("before")]
every_cell = pytest.mark.parametrize("cell", CELLS, ids=repr)
any_size = settings(deadline=None, derandomize=True, max_examples=40)


@st.composite
def sizes(draw) -> tuple[Cell, int, int, int, int, int]:
    """A cell, then T, B, F, H and layers."""
    size = st.integers(1, 4)
    cell = draw(st.sampled_from(CELLS))
    return (
        cell,
        draw(st.integers(1, 6)),
        draw(size),
        draw(st.integers(0, 4)),
        draw(size),
        draw(size),
    )


def states_of(layer: Recurrent, *batch: int) -> torch.Tensor | tuple[torch.Tensor, ...]:
    shape = (len(layer.directions), *batch, layer.hidden_size)
    states = tuple(torch.randn(shape, dtype=torch.float64) for _ in layer.cell.states)
    return states if len(states) > 1 else states[0]


def pick(state, index):
    """Index every tensor of a state."""
    return state[index] if isinstance(state, torch.Tensor) else tuple(s[index] for s in state)


@any_size
@given(sizes=sizes(), data=st.data())
def test_a_sequence_cut_anywhere_with_its_state_carried_is_the_whole(
    sizes, data, make_layer, assert_near
):
    cell, T, B, F, H, layers = sizes
    cuts = sorted(data.draw(st.sets(st.integers(1, T)), label="cuts"))
    layer = make_layer(cell, F, H, layers=layers)
    x, state = torch.randn(T, B, F).double(), states_of(layer, B)
    expected, expected_final = layer(x, state)
    pieces = []
    for piece in x.tensor_split(cuts):
        if len(piece):
            y, state = layer(piece, state)
            pieces.append(y)
    assert_near(torch.cat(pieces), expected)
    assert_near(state, expected_final)


@every_cell
def test_streaming_one_step_at_a_time_is_the_whole(cell, make_layer, assert_near):
    layer = make_layer(cell, 3, 4, layers=2)
    x, state = torch.randn(20, 2, 3).double(), None
    expected, expected_final = layer(x)
    steps = []
    for x_t in x:
        y, state = layer(x_t[None], state)
        steps.append(y)
    assert_near(torch.cat(steps), expected)
    assert_near(state, expected_final)


@any_size
@given(sizes=sizes(), data=st.data())
def test_members_of_a_batch_know_nothing_of_each_other(sizes, data, make_layer, assert_near):
    cell, T, B, F, H, layers = sizes
    b = data.draw(st.integers(0, B - 1), label="b")
    layer = make_layer(cell, F, H, layers=layers, bidirectional=True)
    x, state = torch.randn(T, B, F).double(), states_of(layer, B)
    y, final = layer(x, state)
    one = (slice(None), slice(b, b + 1))
    expected, expected_final = layer(x[one], pick(state, one))
    assert_near(y[one], expected)
    assert_near(pick(final, one), expected_final)


@any_size
@given(sizes=sizes(), N=st.integers(1, 3))
def test_with_dense_nodes_are_so_many_sequences(sizes, N, make_layer, assert_near):
    cell, T, B, F, H, layers = sizes
    layer = make_layer(cell, F, H, layers=layers, bidirectional=True)
    x, state = torch.randn(T, B, N, F).double(), states_of(layer, B, N)
    y, final = layer(x, state, graph="ignored")
    for n in range(N):
        expected, expected_final = layer(x[:, :, n], pick(state, (..., n, slice(None))))
        assert_near(y[:, :, n], expected)
        assert_near(pick(final, (..., n, slice(None))), expected_final)


@any_size
@given(sizes=sizes(), bidirectional=st.booleans())
def test_final_states_are_the_outputs_at_the_ends(sizes, bidirectional, make_layer):
    cell, T, B, F, H, layers = sizes
    layer = make_layer(cell, F, H, layers=layers, bidirectional=bidirectional)
    y, final = layer(torch.randn(T, B, F).double())
    h = final[0] if isinstance(final, tuple) else final
    assert h.shape == (layers * (1 + bidirectional), B, H)
    if bidirectional:
        assert torch.equal(h[-2], y[-1, :, :H])
        assert torch.equal(h[-1], y[0, :, H:])
    else:
        assert torch.equal(h[-1], y[-1])


@every_cell
@pytest.mark.parametrize("nodes", [(), (2,)], ids=["sequences", "graph"])
@pytest.mark.parametrize("lengths", [None, [2, 5, 0]])
def test_batch_first_swaps_the_first_two_axes_and_nothing_else(cell, nodes, lengths, make_layer):
    options = {"layers": 2, "bidirectional": True}
    time_first = make_layer(cell, 3, 4, **options)
    batch_first = make_layer(cell, 3, 4, **options, batch_first=True)
    x, state = torch.randn(5, 3, *nodes, 3).double(), states_of(time_first, 3, *nodes)
    expected, expected_final = time_first(x, state, lengths=lengths)
    y, final = batch_first(x.transpose(0, 1), state, lengths=lengths)
    assert torch.equal(y.transpose(0, 1), expected)
    assert_same_state(final, expected_final)
    assert_same_state(  # the time comes first in any case
        batch_first.unroll(x.transpose(0, 1), state, lengths=lengths),
        time_first.unroll(x, state, lengths=lengths),
    )


def assert_same_state(final, expected_final):
    pairs = [(final, expected_final)]
    if isinstance(final, tuple):
        pairs = list(zip(final, expected_final, strict=True))
    assert all(torch.equal(s, e) for s, e in pairs)


@every_cell
@pytest.mark.parametrize("lengths", [None, [3, 6, 1]])
def test_unroll_gives_the_states_that_forward_passes_through(
    cell, lengths, make_layer, assert_near
):
    T, B, H = 6, 3, 4
    layer = make_layer(cell, 2, H, layers=2, bidirectional=True)
    x, state = torch.randn(T, B, 2).double(), states_of(layer, B)
    y, final = layer(x, state, lengths=lengths)
    states = layer.unroll(x, state, lengths=lengths)
    h = states[0] if isinstance(states, tuple) else states  # [T, layers·D, B, H]
    for b, end in enumerate(lengths or [T] * B):
        forth, back = h[:end, -2, b], h[:end, -1, b]
        assert_near(torch.cat([forth, back], -1), y[:end, b])
    for every, last in zip(
        states if isinstance(states, tuple) else (states,),
        final if isinstance(final, tuple) else (final,),
        strict=True,
    ):
        for b, end in enumerate(lengths or [T] * B):
            assert_near(every[end - 1, ::2, b], last[::2, b])
            assert_near(every[0, 1::2, b], last[1::2, b])


@every_cell
def test_unroll_gives_every_state_at_every_step(cell, make_layer, assert_near):
    layer = make_layer(cell, 2, 4, layers=2)
    x, state = torch.randn(5, 3, 2).double(), states_of(layer, 3)
    states = layer.unroll(x, state)
    for t in range(5):
        _, final = layer(x[: t + 1], state)
        assert_near(pick(states, t), final)


@every_cell
def test_a_layer_without_neighbours_gives_an_output_every_step(cell, make_layer, assert_near):
    deaf, zeros = make_layer(cell, 0, 4, layers=2), make_layer(cell, 1, 4, layers=2)
    zeros.load_state_dict(
        deaf.state_dict()
        | {"directions.0.inputs.weight": torch.randn(len(deaf.directions[0].gates) * 4, 1)}
    )
    state = states_of(deaf, 2)
    y, final = deaf(torch.empty(6, 2, 0).double(), state)
    expected, expected_final = zeros(torch.zeros(6, 2, 1).double(), state)
    assert_near(y, expected)
    assert_near(final, expected_final)


@every_cell
def test_a_deep_copy_answers_alike_and_shares_nothing(cell):
    layer = Recurrent(cell, 3, 4, layers=2, bidirectional=True)
    x = torch.randn(5, 2, 3)
    before = layer(x)[0]
    twin = copy.deepcopy(layer)
    assert torch.equal(twin(x)[0], before)
    with torch.no_grad():
        for p in twin.parameters():
            p.zero_()
    assert torch.equal(layer(x)[0], before)


@every_cell
def test_a_state_dict_carries_every_weight(cell):
    layer, other = (Recurrent(cell, 3, 4, layers=2, bidirectional=True) for _ in range(2))
    x = torch.randn(5, 2, 3)
    assert not torch.equal(other(x)[0], layer(x)[0])
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x)[0], layer(x)[0])
    assert set(layer.state_dict()) == {name for name, _ in layer.named_parameters()}


@every_cell
def test_no_gradient_is_kept_where_none_is_asked(cell):
    layer, x = Recurrent(cell, 3, 4), torch.randn(5, 2, 3)
    with torch.no_grad():
        y, _ = layer(x)
    assert not y.requires_grad
    assert torch.allclose(y, layer(x)[0], atol=1e-6)


def test_the_representation_says_what_differs_from_the_default():
    layer = Recurrent(GRU(), 3, 4, layers=2, dropout=0.1, batch_first=True)
    assert (
        "(GRU(reset='after'), 3, 4, operator=Dense(), layers=2, dropout=0.1, batch_first=True"
        in (str(layer).replace("\n  ", "").replace("Recurrent", ""))
    )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"cell": LSTM}, TypeError, r"cell must be a Cell such as LSTM\(\), not <class"),
        ({"cell": "lstm"}, TypeError, r"cell must be a Cell such as LSTM\(\), not 'lstm'"),
        ({"operator": Dense}, TypeError, r"operator must be an operator such as Dense\(\)"),
        ({"operator": nn.Linear(3, 4)}, TypeError, "must be an operator .*not Linear"),
        ({"input_size": -1}, ValueError, "input_size must be at least 0, not -1"),
        ({"hidden_size": 0}, ValueError, "hidden_size must be at least 1, not 0"),
        ({"layers": 0}, ValueError, "layers must be at least 1, not 0"),
        ({"layers": 2, "dropout": -0.1}, ValueError, "dropout must be at least 0 and less than 1"),
        (
            {"layers": 2, "dropout": 1},
            ValueError,
            "dropout must be at least 0 and less than 1, not 1",
        ),
        ({"recurrent_dropout": 1.5}, ValueError, "recurrent_dropout must be .* not 1.5"),
        (
            {"init": "xavier"},
            ValueError,
            "init must be one of torch, .*, not 'xavier'",
        ),
    ],
)
def test_what_a_layer_cannot_be_made_of_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        Recurrent(**{"cell": LSTM(), "input_size": 3, "hidden_size": 4} | options)


def test_dropout_with_nothing_to_drop_warns():
    with pytest.warns(UserWarning, match="dropout acts between layers, and there is one layer"):
        Recurrent(LSTM(), 3, 4, dropout=0.5)


@pytest.mark.parametrize(
    ("shape", "batch_first", "message"),
    [
        ((3,), False, r"\[T, B, F\] or, on a graph, \[T, B, N, F\], batched; got shape \[3\]"),
        ((3,), True, r"\[B, T, F\] or, on a graph, \[B, T, N, F\], batched; got shape \[3\]"),
        ((5, 2, 1, 1, 3), False, r"got shape \[5, 2, 1, 1, 3\]"),
        ((5, 2, 7), False, r"x must be \[T, B, 3\]; got shape \[5, 2, 7\]"),
        ((5, 2, 7), True, r"x must be \[B, T, 3\]; got shape \[5, 2, 7\]"),
        ((5, 2, 6, 7), False, r"x must be \[T, B, N, 3\]; got shape \[5, 2, 6, 7\]"),
        ((0, 2, 3), False, r"x has no time steps: shape \[0, 2, 3\]"),
        ((2, 0, 3), True, r"x has no time steps: shape \[2, 0, 3\]"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(shape, batch_first, message):
    layer = Recurrent(LSTM(), 3, 4, batch_first=batch_first)
    with pytest.raises(ValueError, match=message):
        layer(torch.randn(shape))


@pytest.mark.parametrize(
    ("cell", "state", "message"),
    [
        (GRU(), [(1, 2, 4)], r"state h must be \[2, 2, 4\] .*got shape \[1, 2, 4\]"),
        (GRU(), [(2, 2, 5)], r"state h must be \[2, 2, 4\] .*got shape \[2, 2, 5\]"),
        (GRU(), [(2, 4)], r"state h must be \[2, 2, 4\] .*got shape \[2, 4\]"),
        (LSTM(), [(2, 2, 4), (2, 1, 4)], r"state c must be \[2, 2, 4\] .*got shape \[2, 1, 4\]"),
        (LSTM(), [(2, 2, 4)], r"state must hold \(h, c\); got 1 tensors"),
        (GRU(), [(2, 2, 4)] * 2, r"state must hold \(h\); got 2 tensors"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(cell, state, message):
    layer = Recurrent(cell, 3, 4, layers=2)
    states = tuple(torch.zeros(shape) for shape in state)
    with pytest.raises(ValueError, match=message):
        layer(torch.randn(5, 2, 3), states if len(states) > 1 else states[0])


def test_a_state_on_a_graph_has_nodes():
    layer = Recurrent(GRU(), 3, 4)
    with pytest.raises(ValueError, match=r"state h must be \[1, 2, 6, 4\].*got shape \[1, 2, 4\]"):
        layer(torch.randn(5, 2, 6, 3), torch.zeros(1, 2, 4))
