"""Programs: what is traced, what is simplified, and why a step cannot be traced."""

import pytest
import torch
from torch.nn import functional as F

from plait import GRU, LSTM, RNN, Cell, MinGRU, Recurrent
from plait.kernels.program import Nodes, listing
from plait.nn.cell import program_of


class Mine(Cell):
    gates = "ab"
    states = ("h", "c")
    vectors = ("p",)

    def __init__(self, step):
        self.of = step

    def step(self, x_gates, recurrent, state, vectors):
        return self.of(x_gates, recurrent, state, vectors)


def test_nodes_are_made_once_and_simplified():
    nodes = Nodes()
    x, y = nodes.leaf("state", 0), nodes.leaf("state", 1)
    zero, one = nodes.const(0), nodes.const(1)
    assert nodes.make("add", x, y) is nodes.make("add", y, x)
    assert nodes.make("sub", x, y) is not nodes.make("sub", y, x)
    assert nodes.make("add", x, zero) is x is nodes.make("mul", one, x)
    assert nodes.make("mul", x, zero) is zero
    assert nodes.make("neg", nodes.make("neg", x)) is x
    assert nodes.make("add", x, nodes.make("neg", y)) is nodes.make("sub", x, y)
    assert nodes.make("mul", nodes.const(2), nodes.const(3)).value == 6.0


@pytest.mark.parametrize(
    ("cell", "products", "stages"),
    [(RNN(), 1, 1), (LSTM(True), 1, 1), (GRU(), 1, 1), (GRU("before"), 2, 2), (MinGRU(), 0, 0)],
    ids=repr,
)
def test_products_of_one_value_are_one(cell, products, stages):
    program = program_of(cell, 3)
    assert (len(program.products), program.stages) == (products, stages)


def test_gates_asked_for_one_by_one_are_one_product():
    def step(x, recurrent, state, vectors):
        h, c = state
        x_a, x_b = x.chunk(2, -1)
        c = c + torch.tanh(x_b + recurrent(h, "b"))
        return torch.sigmoid(x_a + recurrent(h, "a")) * c, c

    program = program_of(Mine(step), 3)
    assert [p.gates for p in program.products] == [("a", "b")]


def test_the_same_equations_have_the_same_key():
    class Other(Cell):
        gates = "k"

        def step(self, x, u, s, v):
            return (x.add(u(s[0])).tanh(),)

    assert program_of(Other(), 3).key != program_of(RNN(), 7).key  # of another gate
    first = listing(program_of(Other(), 3).new).replace("'k'", "'h'")
    assert first == listing(program_of(RNN(), 7).new)


# What stands in the way of each is named, with the line of the code.
def branches(x, recurrent, state, vectors):
    if state[0].sum() > 0:
        return state
    return state


def sines(x, recurrent, state, vectors):
    h = torch.sin(state[0])
    return h, state[1]


def takes_a_number(x, recurrent, state, vectors):
    return state[0] * float(state[1].mean()), state[1]


def adds_widths(x, recurrent, state, vectors):
    return x + state[0], state[1]


def cuts_a_gate(x, recurrent, state, vectors):
    return x[..., :1], state[1]


def hears_too_much(x, recurrent, state, vectors):
    return recurrent(x, "a"), state[1]


def draws(x, recurrent, state, vectors):
    return F.dropout(state[0], 0.5), state[1]


def own_tensor(x, recurrent, state, vectors):
    return state[0] * torch.ones(3), state[1]


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (branches, "a statistic that is not over the last axis"),
        (sines, "no rule for the operation 'sin', in test_program.py, line"),
        (takes_a_number, "not over the last axis"),
        (adds_widths, "values of widths 6 and 3, in test_program.py"),
        (cuts_a_gate, "an index that does not take whole gates"),
        (hears_too_much, r"recurrent\(…\) of a value of width 6, not 3"),
        (draws, "no rule for the operation 'dropout'"),
        (own_tensor, "a tensor that the cell does not declare"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_cannot_be_traced_is_named_with_its_line(step, reason):
    layer = Recurrent(Mine(step), 2, 3)
    reported = layer.explain()
    assert reported.startswith("layer 0: reference")
    (line,) = (line for line in reported.splitlines() if line.startswith("  not plait-cpu, "))
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(line)


def test_a_step_that_is_not_the_same_every_time_is_not_traced():
    class Counts(Cell):
        gates = "h"

        def __init__(self):
            self.calls = 0

        def step(self, x, recurrent, state, vectors):
            self.calls += 1
            return (torch.tanh(x + self.calls * recurrent(state[0])),)

    assert program_of(Counts(), 3) == "Counts.step is not the same at every call"


FACTOR = 2.0


class Scaled(Cell):
    gates = "h"
    power = 1.0

    def step(self, x, recurrent, state, vectors):
        return (torch.tanh(x + FACTOR * self.power * recurrent(state[0])),)


def test_numbers_that_a_step_reads_are_heeded_when_they_change(monkeypatch):
    layer, x = Recurrent(Scaled(), 2, 3), torch.randn(4, 2, 2)
    assert layer.kernel().startswith("plait-cpu")
    before = layer(x)[0]
    monkeypatch.setitem(globals(), "FACTOR", 0.5)
    changed = layer(x)[0]
    monkeypatch.setattr(Scaled, "power", 4.0)
    again = layer(x)[0]
    layer.double()
    assert not torch.allclose(before, changed)
    torch.testing.assert_close(again.double(), layer(x.double())[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(before, again, rtol=0, atol=1e-6)  # 0.5 · 4 is 2
