"""Which of torch's recurrences runs, and that it is the one `explain` names."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from plait import GRU, LSTM, RNN, Cell, Dense, Recurrent
from plait.kernels.torch_native import TorchRecurrence

onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="no oneDNN here")
cudnn = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


class Twice(Dense):
    """2 W x: a subclass of `Dense` that is not `Dense`."""

    def apply(self, x, weights, graph):
        return 2 * super().apply(x, weights, graph)


class Own(Cell):
    gates = "n"

    def step(self, x_gates, hear, state, vectors):
        return (torch.tanh(x_gates + hear(state[0])),)

    def __repr__(self):
        return "Own()"


class Operators(TorchDispatchMode):
    """The names of torch's operators that run inside."""

    def __enter__(self):
        self.names: set[str] = set()
        return super().__enter__()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(function.name())
        return function(*args, **(kwargs or {}))


@onednn
@pytest.mark.parametrize(
    ("cell", "dtype", "expected"),
    [
        (
            LSTM(),
            torch.float32,
            "oneDNN - torch's LSTM on cpu in float32; with lengths: plait-cpu - compiled loops for "
            "LSTM(peephole=False) × Dense() in float32",
        ),
        (LSTM(), torch.float64, "ATen - torch's LSTM on cpu in float64"),
        (LSTM(forget_bias=0.0), torch.float64, "ATen - torch's LSTM on cpu in float64"),
        (GRU(), torch.float64, "ATen - torch's GRU on cpu in float64"),
        (RNN(), torch.float64, "ATen - torch's RNN on cpu in float64"),
        (RNN("relu"), torch.float64, "ATen - torch's RNN on cpu in float64"),
        (
            GRU(),
            torch.float32,
            "plait-cpu - compiled loops for GRU(reset='after') × Dense() in float32",
        ),
        (
            LSTM(peephole=True),
            torch.float32,
            "plait-cpu - compiled loops for LSTM(peephole=True) × Dense() in float32",
        ),
        (
            GRU("before"),
            torch.float64,
            "reference - plain torch, step by step",
        ),
        (Own(), torch.float32, "plait-cpu - compiled loops for Own() × Dense() in float32"),
        (Own(), torch.float64, "ATen - torch's RNN on cpu in float64"),  # the same equations
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value),
)
def test_explain_names_the_kernel_and_the_reason(cell, dtype, expected):
    layer = Recurrent(cell, 3, 5, layers=2).to(dtype)
    named = [line for line in layer.explain().splitlines() if line.startswith("layer")]
    assert named == [f"layer 0: {expected}", f"layer 1: {expected}"]


def test_explain_says_why_it_is_no_faster_kernel():
    assert Recurrent(GRU(), 3, 5, operator=Twice()).explain() == (
        "layer 0: plait-cpu-steps - compiled steps of GRU(reset='after'), Twice() in torch "
        "between them\n"
        "  not oneDNN: torch has no GRU(reset='after') × Twice()\n"
        "  not cuDNN: x lies on cpu\n"
        "  not plait-cpu: Twice() answers no basis for its apply"
    )


def test_a_subclass_of_dense_runs_its_own_product(make_layer, assert_near):
    twice, plain = (make_layer(GRU(), 3, 5, operator=o) for o in (Twice(), Dense()))
    x = torch.randn(6, 2, 3).double()
    assert not torch.allclose(twice(x)[0], plain(x)[0])
    with torch.no_grad():
        for weights in (plain.directions[0].inputs, plain.directions[0].recurrent):
            weights["weight"].mul_(2)
    assert_near(twice(x)[0], plain(x)[0])
    with pytest.raises(ValueError, match=r"torch\.nn has no GRU.* × Twice\(\)"):
        twice.to_torch()


@onednn
@pytest.mark.parametrize(
    ("cell", "dtype", "lengths", "runs"),
    [
        (LSTM(), torch.float32, None, True),
        (LSTM(), torch.float32, [4, 2], False),
        (LSTM(), torch.float64, None, False),
        (LSTM(peephole=True), torch.float32, None, False),
        (GRU(), torch.float32, None, False),
    ],
)
def test_onednn_runs_where_explain_says_so(cell, dtype, lengths, runs):
    layer = Recurrent(cell, 3, 5).to(dtype)
    with Operators() as ran:
        layer(torch.randn(4, 2, 3, dtype=dtype), lengths=lengths)
    assert ("aten::mkldnn_rnn_layer" in ran.names) == runs
    plain, _, padded = layer.explain().partition("; with lengths: ")
    assert ("oneDNN -" in (padded or plain if lengths else plain)) == runs


@onednn
def test_without_onednn_our_own_takes_over_and_answers_the_same(monkeypatch, assert_near):
    layer, x = Recurrent(LSTM(), 3, 5), torch.randn(6, 2, 3)
    expected = layer(x)[0]
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    assert layer.explain().startswith("layer 0: plait-cpu - compiled loops for LSTM")
    with Operators() as ran:
        y = layer(x)[0]
    assert "aten::mkldnn_rnn_layer" not in ran.names
    assert_near(y, expected, 1e-6)


@pytest.mark.parametrize("nodes", [(), (3,)], ids=["sequences", "graph"])
def test_in_float32_onednn_is_reference(nodes, answers, assert_near, on_reference):
    cell, lengths = LSTM(), None
    layer = Recurrent(cell, 4, 6, layers=2, bidirectional=True)
    x = torch.randn(7, 3, *nodes, 4)
    state = tuple(torch.randn(4, 3, *nodes, 6) for _ in cell.states)
    values, gradients = answers(layer, x, state, lengths=lengths)
    expected, expected_gradients = answers(on_reference(layer), x, state, lengths=lengths)
    assert_near(values, expected, 1e-6)
    for name, gradient in gradients.items():
        assert_near(gradient, expected_gradients[name], 1e-5)


@cudnn
@pytest.mark.parametrize("cell", [LSTM(), GRU(), RNN(), RNN("relu")], ids=repr)
@pytest.mark.parametrize("lengths", [None, [7, 0, 3]])
def test_on_cuda_cudnn_is_reference(cell, lengths, make_layer, assert_near, on_reference):
    layer = make_layer(cell, 4, 6, layers=2, bidirectional=True).cuda()
    assert layer.explain().startswith("layer 0: cuDNN")
    x = torch.randn(7, 3, 4).double().cuda()
    y, final = layer(x, lengths=lengths)
    expected, expected_final = on_reference(layer).cuda()(x, lengths=lengths)
    assert_near(y, expected)
    assert_near(final, expected_final)


@pytest.mark.parametrize("cell", [LSTM(), GRU(), RNN(), RNN("relu")], ids=repr)
def test_a_stack_takes_lengths_packed(cell, make_layer, assert_near, on_reference, answers):
    layer = make_layer(cell, 4, 6, layers=2, bidirectional=True)
    x, lengths = torch.randn(7, 3, 4).double(), torch.tensor([7, 0, 3])
    start = tuple(torch.randn(4, 3, 6).double() for _ in cell.states)
    right, right_gradients = answers(on_reference(layer), x, start, lengths=lengths)
    kernel = TorchRecurrence("ATen")
    kernel.stacks_lengths = True
    layer.kernels = [kernel]
    found, gradients = answers(layer, x, start, lengths=lengths)
    assert_near(found, right)
    for name, gradient in gradients.items():
        assert_near(gradient, right_gradients[name])
