"""`Recurrent` against `torch.nn`: the same values and gradients, on both of its paths."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from plait import GRU, LSTM, RNN, Recurrent

T, B, F, H = 7, 3, 4, 5
KINDS = {
    "LSTM": nn.LSTM,
    "GRU": nn.GRU,
    "RNN-tanh": nn.RNN,
    "RNN-relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
both_paths = pytest.mark.parametrize("path", ["native", "reference"])


def states_of(module: nn.RNNBase, batch: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    directions = module.num_layers * (2 if module.bidirectional else 1)
    count = 2 if isinstance(module, nn.LSTM) else 1
    return tuple(
        torch.randn(directions, batch, module.hidden_size, dtype=dtype) for _ in range(count)
    )


def by_torch_names(layer: Recurrent, gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename our gradients; ours of the one bias is the gradient of both of torch's."""
    renamed = {name: g for name, g in gradients.items() if not name.startswith("directions")}
    directions = ("", "_reverse")[: layer.num_directions]
    suffixes = [f"l{k}{d}" for k in range(layer.layers) for d in directions]
    for k, suffix in enumerate(suffixes):
        bias = gradients[f"directions.{k}.bias"]
        own = gradients.get(f"directions.{k}.recurrent_bias", bias[:0])
        renamed[f"weight_ih_{suffix}"] = gradients[f"directions.{k}.inputs.weight"]
        renamed[f"weight_hh_{suffix}"] = gradients[f"directions.{k}.recurrent.weight"]
        renamed[f"bias_ih_{suffix}"] = bias
        renamed[f"bias_hh_{suffix}"] = torch.cat([bias[: len(bias) - len(own)], own])
    return renamed


@every_kind
@both_paths
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "two-way"])
@pytest.mark.parametrize("batch_first", [False, True], ids=["time-first", "batch-first"])
@pytest.mark.parametrize(
    ("dtype", "value_tolerance", "gradient_tolerance"),
    [(torch.float64, 1e-12, 1e-12), (torch.float32, 1e-6, 1e-5)],
    ids=["float64", "float32"],
)
def test_values_and_gradients_are_those_of_torch(
    kind, path, layers, bidirectional, batch_first, dtype, value_tolerance, gradient_tolerance,
    answers, assert_near, on_reference,
):  # fmt: skip
    theirs = KINDS[kind](
        F, H, num_layers=layers, bidirectional=bidirectional, batch_first=batch_first, dtype=dtype
    )
    ours = Recurrent.from_torch(theirs)
    if path == "reference":
        ours = on_reference(ours)
    else:
        assert "reference" not in ours.explain()
    x = torch.randn((B, T, F) if batch_first else (T, B, F), dtype=dtype)
    state = states_of(theirs, B, dtype)
    expected, expected_gradients = answers(theirs, x, state)
    values, gradients = answers(ours, x, state)
    assert_near(values, expected, value_tolerance)
    gradients = by_torch_names(ours, gradients)
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in gradients.items():
        assert_near(gradient, expected_gradients[name], gradient_tolerance)


@every_kind
@both_paths
def test_without_a_state_both_start_from_zeros(kind, path, assert_near, on_reference):
    theirs = KINDS[kind](F, H, num_layers=2, bidirectional=True, dtype=torch.float64)
    ours = Recurrent.from_torch(theirs)
    if path == "reference":
        ours = on_reference(ours)
    x = torch.randn(T, B, F, dtype=torch.float64)
    assert_near(ours(x)[0], theirs(x)[0])


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    cell=st.sampled_from([LSTM(), GRU(), RNN(), RNN("relu")]),
    sizes=st.tuples(*[st.integers(1, 4)] * 4),
    layers=st.integers(1, 3),
    bidirectional=st.booleans(),
    batch_first=st.booleans(),
)
def test_to_torch_answers_alike_at_any_size(
    cell, sizes, layers, bidirectional, batch_first, make_layer, assert_near
):
    steps, batch, inputs, hidden = sizes
    options = {"layers": layers, "bidirectional": bidirectional, "batch_first": batch_first}
    ours = make_layer(cell, inputs, hidden, **options)
    theirs = ours.to_torch()
    x = torch.randn((batch, steps, inputs) if batch_first else (steps, batch, inputs)).double()
    state = states_of(theirs, batch, torch.float64)
    state = state if len(state) > 1 else state[0]
    y, final = ours(x, state)
    expected_y, expected_final = theirs(x, state)
    assert_near(y, expected_y)
    assert_near(final, expected_final)


@every_kind
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
def test_from_torch_and_back_answers_alike(kind, bias, assert_near):
    options = {"num_layers": 2, "bidirectional": True, "batch_first": True, "bias": bias}
    theirs = KINDS[kind](F, H, dropout=0.25, dtype=torch.float64, **options).eval()
    back = Recurrent.from_torch(theirs).to_torch()
    x = torch.randn(B, T, F, dtype=torch.float64)
    for y, expected in zip(back(x), theirs(x), strict=True):
        assert_near(y, expected)


@every_kind
def test_options_survive_the_round_trip(kind):
    theirs = KINDS[kind](F, H, num_layers=2, bidirectional=True, batch_first=True, dropout=0.25)
    back = Recurrent.from_torch(theirs.eval()).to_torch()
    names = ("mode", "input_size", "hidden_size", "num_layers", "bidirectional", "batch_first")
    for name in (*names, "dropout", "training"):
        assert getattr(back, name) == getattr(theirs, name)


@pytest.mark.parametrize("init", ["orthogonal", "torch", "kaiming"])
def test_to_torch_and_back_keeps_every_weight(init):
    for cell in (LSTM(), GRU(), RNN(), RNN("relu")):
        ours = Recurrent(cell, F, H, layers=2, bidirectional=True, init=init)
        back = Recurrent.from_torch(ours.to_torch())
        for name, weight in ours.state_dict().items():
            assert torch.equal(back.state_dict()[name], weight), name


def test_the_copies_share_no_memory():
    theirs = nn.LSTM(F, H)
    ours = Recurrent.from_torch(theirs)
    back = ours.to_torch()
    x = torch.randn(T, B, F)
    before, before_back = ours(x)[0], back(x)[0]
    with torch.no_grad():
        theirs.weight_hh_l0.zero_()
    assert torch.equal(ours(x)[0], before)
    with torch.no_grad():
        ours.directions[0].bias.zero_()
    assert torch.equal(back(x)[0], before_back)


def test_an_initial_bias_of_the_forget_gate_is_no_other_equation():
    layer = Recurrent(LSTM(forget_bias=-2.0), F, H)
    assert torch.equal(layer.to_torch().bias_ih_l0[H : 2 * H], torch.full((H,), -2.0))


@pytest.mark.parametrize(
    ("module", "error", "message"),
    [
        (nn.LSTM(F, H, proj_size=2), ValueError, "proj_size is not supported"),
        (nn.LSTMCell(F, H), TypeError, "takes nn.RNN, nn.LSTM or nn.GRU, not .*LSTMCell"),
        (nn.Linear(F, H), TypeError, "takes nn.RNN, nn.LSTM or nn.GRU, not .*Linear"),
    ],
)
def test_from_torch_refuses_by_name(module, error, message):
    with pytest.raises(error, match=message):
        Recurrent.from_torch(module)


@pytest.mark.parametrize(
    ("cell", "options", "message"),
    [
        (LSTM(peephole=True), {}, "torch.nn has no LSTM.*peephole=True"),
        (GRU("before"), {}, "torch.nn has no GRU.*before"),
        (LSTM(), {"recurrent_dropout": 0.1}, "no recurrent dropout"),
    ],
)
def test_to_torch_refuses_what_torch_lacks(cell, options, message):
    with pytest.raises(ValueError, match=message):
        Recurrent(cell, F, H, **options).to_torch()
