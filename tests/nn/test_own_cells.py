"""Cells of the user's own: any gates, biases, states, and any operator."""

import pytest
import torch
from torch.nn import functional as F

from plait import GRU, LSTM, Cell, Dense, Recurrent


class Ring:
    """Each node takes itself and the node before it."""

    def weight_shapes(self, inputs, outputs):
        return {"weight": (outputs, 2 * inputs)}

    def apply(self, x, weights, graph):
        return F.linear(torch.cat([x, x.roll(1, dims=-2)], dim=-1), weights["weight"])


class Scaled:
    """Two weights, of which one is no matrix, and a graph that is a number."""

    def weight_shapes(self, inputs, outputs):
        return {"matrix": (outputs, inputs), "scale": (outputs,)}

    def apply(self, x, weights, graph):
        return graph * weights["scale"] * F.linear(x, weights["matrix"])


OPERATORS = {"dense": (Dense(), None), "ring": (Ring(), None), "scaled": (Scaled(), 0.5)}
every_operator = pytest.mark.parametrize("operator", OPERATORS)


class MyLSTM(Cell):
    gates = "ifgo"
    states = ("h", "c")

    def step(self, x_gates, recurrent, state, vectors):
        h, c = state
        i, f, g, o = (x_gates + recurrent(h)).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class MyGRU(Cell):
    gates = "rzn"

    def step(self, x_gates, recurrent, state, vectors):
        (h,) = state
        x_r, x_z, x_n = x_gates.chunk(3, -1)
        z = torch.sigmoid(x_z + recurrent(h, "z"))  # every gate by itself
        r = torch.sigmoid(x_r + recurrent(h, "r"))
        return (z * h + (1 - z) * torch.tanh(x_n + recurrent(r * h, "n")),)


@every_operator
@pytest.mark.parametrize(("mine", "built_in"), [(MyLSTM(), LSTM()), (MyGRU(), GRU("before"))])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one-way", "two-way"])
def test_a_built_in_cell_written_again_answers_the_same(
    operator, mine, built_in, bidirectional, make_layer, answers, assert_near
):
    operator, graph = OPERATORS[operator]
    options = {"operator": operator, "layers": 2, "bidirectional": bidirectional}
    mine, theirs = make_layer(mine, 3, 4, **options), make_layer(built_in, 3, 4, **options)
    x = torch.randn(5, 2, 3, 3).double()  # T, B, N, F
    state = tuple(torch.randn(len(mine.directions), 2, 3, 4).double() for _ in built_in.states)
    for lengths in (None, [5, 2]):
        values, gradients = answers(mine, x, state, graph=graph, lengths=lengths)
        expected, expected_gradients = answers(theirs, x, state, graph=graph, lengths=lengths)
        assert_near(values, expected)
        assert gradients.keys() == expected_gradients.keys()
        for name, gradient in gradients.items():
            assert_near(gradient, expected_gradients[name])


class Odd(Cell):
    """All that a cell may declare: long names, a bias here and there, a gate that reads c."""

    gates = ("forget", "candidate", "leak")
    bias_gates = ("candidate", "forget")
    recurrent_gates = ("candidate", "forget")
    recurrent_bias_gates = ("forget",)
    states = ("h", "c")
    vectors = ("slope",)
    initial_bias = {"forget": 2.0}  # noqa: RUF012 - read only

    def step(self, x_gates, recurrent, state, vectors):
        h, c = state
        forget, candidate, leak = x_gates.chunk(3, -1)
        forget = torch.sigmoid(forget + recurrent(c, ("forget",)))
        candidate = torch.tanh(candidate + recurrent(h, ("candidate",)))
        c = forget * c + (1 - forget) * candidate
        return torch.tanh(c) * torch.sigmoid(leak) + vectors["slope"] * c, c


def test_a_cell_gets_the_weights_it_declares_and_no_others(make_layer, assert_near):
    layer = make_layer(Odd(), 3, 4)
    (direction,) = layer.directions
    shapes = {name: tuple(p.shape) for name, p in direction.named_parameters()}
    assert shapes == {
        "inputs.weight": (3 * 4, 3),
        "recurrent.weight": (2 * 4, 4),
        "bias": (2 * 4,),
        "recurrent_bias": (4,),
        "vectors.slope": (4,),
    }
    x, h, c = torch.randn(5, 2, 3).double(), *torch.randn(2, 2, 4).double()
    W_forget, W_candidate, W_leak = direction.inputs["weight"].split(4)
    U_candidate, U_forget = direction.recurrent["weight"].split(4)
    b_candidate, b_forget = direction.bias.split(4)
    y, _ = layer(x, (h[None], c[None]))
    for t in range(5):
        side = c @ U_forget.T + direction.recurrent_bias
        forget = torch.sigmoid(x[t] @ W_forget.T + b_forget + side)
        candidate = torch.tanh(x[t] @ W_candidate.T + b_candidate + h @ U_candidate.T)
        c = forget * c + (1 - forget) * candidate
        h = torch.tanh(c) * torch.sigmoid(x[t] @ W_leak.T) + direction.vectors["slope"] * c
        assert_near(y[t], h)


def test_initial_bias_finds_its_gate_among_those_that_have_one():
    bias = Recurrent(Odd(), 3, 4, init="orthogonal").directions[0].bias
    assert bias.tolist() == [0.0] * 4 + [2.0] * 4
    bias = Recurrent(Odd(), 3, 4).directions[0].bias
    assert bias[4:].tolist() == [2.0] * 4
    assert 0 < bias[:4].abs().max() <= 0.5


@every_operator
def test_gradients_of_an_odd_cell_are_the_numerical_ones(operator, make_layer):
    operator, graph = OPERATORS[operator]
    layer = make_layer(Odd(), 2, 2, operator=operator, bidirectional=True)
    x = torch.randn(3, 2, 2, 2).double().requires_grad_()
    names, weights = zip(*layer.named_parameters(), strict=True)

    def answer(x, *weights):
        weights = dict(zip(names, weights, strict=True))
        options = {"graph": graph, "lengths": [3, 1]}
        y, (h, c) = torch.func.functional_call(layer, weights, (x,), options)
        return y, h, c

    assert torch.autograd.gradcheck(answer, (x, *weights))


def test_a_subclass_of_a_built_in_cell_runs_its_own_step(make_layer):
    class Doubled(LSTM):
        def step(self, x_gates, recurrent, state, vectors):
            h, c = super().step(x_gates, recurrent, state, vectors)
            return 2 * h, c

    layer, plain = make_layer(Doubled(), 3, 4), make_layer(LSTM(), 3, 4)
    assert layer.explain().startswith("layer 0: reference")
    x = torch.randn(1, 2, 3).double()
    assert torch.allclose(layer(x)[0], 2 * plain(x)[0], rtol=1e-12, atol=0)
    with pytest.raises(ValueError, match=r"torch.nn has no"):
        layer.to_torch()


class Deaf(Cell):
    gates = "n"
    recurrent_gates = ()
    bias_gates = ()

    def step(self, x_gates, recurrent, state, vectors):
        return (0.5 * state[0] + x_gates,)


def test_a_cell_may_have_no_recurrent_weights_and_no_bias_at_all(make_layer):
    layer = make_layer(Deaf(), 3, 4)
    assert [name for name, _ in layer.named_parameters()] == ["directions.0.inputs.weight"]
    x = torch.randn(2, 1, 3).double()
    x_gates = x @ layer.directions[0].inputs["weight"].T
    assert torch.allclose(layer(x)[0][1], 0.5 * x_gates[0] + x_gates[1], rtol=1e-12, atol=1e-15)


def misdeclared(**declared) -> Cell:
    return type("Mine", (Deaf,), declared)()


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"bias_gates": "m"}, "no gate 'm' among n"),
        ({"recurrent_gates": "nx"}, "no gate 'x' among n"),
        ({"recurrent_bias_gates": "n"}, "no gate 'n' among "),
    ],
)
def test_gates_that_a_cell_does_not_have_are_refused(declared, message):
    with pytest.raises(ValueError, match=message):
        Recurrent(misdeclared(**declared), 3, 4)


@pytest.mark.parametrize(
    ("declared", "asked", "message"),
    [
        (
            {"gates": "mn", "recurrent_gates": "m"},
            "n",
            "the recurrent side of gate 'n', which.*that have: m",
        ),
        (
            {},
            "n",
            "the recurrent side of gate 'n', which has no recurrent weights; those that have: none",
        ),
        ({}, None, "those that have: none"),
    ],
)
def test_a_gate_without_recurrent_weights_is_refused(declared, asked, message):
    def step(self, x_gates, recurrent, state, vectors):
        return (recurrent(state[0], asked),)

    layer = Recurrent(misdeclared(step=step, **declared), 3, 4)
    with pytest.raises(ValueError, match=message):
        layer(torch.randn(2, 1, 3))


def test_a_cell_without_a_step_says_so():
    class Stepless(Cell):
        gates = "n"

    with pytest.raises(NotImplementedError, match="Stepless has no step"):
        Recurrent(Stepless(), 3, 4)(torch.randn(2, 1, 3))
