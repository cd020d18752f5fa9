"""Parameter counts against the report's formula and against what the model holds."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from plait import GRU, LSTM, RNN, Cell, LayerNormLSTM, Recurrent
from plait.diagnostics import Term, count_parameters
from plait.nn.registry import CELLS, cell_named


class TextModel(nn.Module):
    def __init__(self, characters: int, width: int, cell: Cell, hidden: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, width)
        self.recurrent = Recurrent(cell, width, hidden, layers=layers)
        self.output = nn.Linear(hidden, characters)


def test_the_report_s_character_model_has_284756_parameters():
    counted = count_parameters(TextModel(84, 128, LSTM(), 128, 2))
    assert counted.total == 284_756
    assert counted.terms == (
        Term("embedding.weight", "84·128", 10_752),
        Term("recurrent layer 0, biases", "4·128", 512),
        Term("recurrent layer 0, input–hidden", "4·128·128", 65_536),
        Term("recurrent layer 0, hidden–hidden", "4·128·128", 65_536),
        Term("recurrent layer 1, biases", "4·128", 512),
        Term("recurrent layer 1, input–hidden", "4·128·128", 65_536),
        Term("recurrent layer 1, hidden–hidden", "4·128·128", 65_536),
        Term("output.weight", "128·84", 10_752),
        Term("output.bias", "84", 84),
    )


@pytest.mark.parametrize(
    ("n_input", "n_hidden", "n_output"), [(1, 128, 2), (10, 7, 10), (84, 3, 1)]
)
def test_an_lstm_with_an_output_has_what_the_report_s_formula_gives(n_input, n_hidden, n_output):
    model = nn.Sequential(Recurrent(LSTM(), n_input, n_hidden), nn.Linear(n_hidden, n_output))
    report = (
        4 * n_hidden
        + 4 * n_input * n_hidden
        + 4 * n_hidden * n_hidden
        + n_hidden * n_output
        + n_output
    )
    assert count_parameters(model).total == report


def evaluate(formula: str) -> int:
    product = 1
    for factor in formula.split("·"):
        product *= int(factor)
    return product


class Odd(Cell):
    """Biases and recurrent weights for some gates only."""

    gates = ("forget", "candidate", "leak")
    bias_gates = ("candidate",)
    recurrent_gates = ("forget", "candidate")
    recurrent_bias_gates = ("forget",)
    vectors = ("slope", "offset")


class TwoTerms:
    """A basis of two terms, and a scale for each output."""

    def weight_shapes(self, inputs, outputs):
        return {"basis": (outputs, 2, inputs), "scale": (outputs,)}

    def apply(self, x, weights, graph):
        stacked = torch.cat([x, x.flip(-2)], -1)
        return weights["scale"] * F.linear(stacked, weights["basis"].flatten(1))


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (
            Recurrent(RNN(), 3, 5),
            {"biases": "1·5", "input–hidden": "1·3·5", "hidden–hidden": "1·5·5"},
        ),
        (
            Recurrent(GRU(), 3, 5),
            {
                "biases": "3·5",
                "input–hidden": "3·3·5",
                "hidden–hidden": "3·5·5",
                "recurrent biases": "1·5",
            },
        ),
        (
            Recurrent(LSTM(peephole=True), 0, 5),
            {
                "biases": "4·5",
                "input–hidden": "4·0·5",
                "hidden–hidden": "4·5·5",
                "p_i, p_f, p_o": "3·5",
            },
        ),
        (
            Recurrent(Odd(), 3, 5),
            {
                "biases": "1·5",
                "input–hidden": "3·3·5",
                "hidden–hidden": "2·5·5",
                "recurrent biases": "1·5",
                "slope, offset": "2·5",
            },
        ),
        (
            Recurrent(GRU("before"), 3, 5, operator=TwoTerms()),
            {
                "biases": "3·5",
                "input–hidden basis": "3·2·3·5",
                "input–hidden scale": "3·5",
                "hidden–hidden basis": "3·2·5·5",
                "hidden–hidden scale": "3·5",
            },
        ),
    ],
    ids=["rnn", "gru", "peephole", "own cell", "own operator"],
)
def test_every_term_of_a_layer_has_its_formula(layer, expected):
    counted = count_parameters(layer)
    assert {t.name.removeprefix("layer 0, "): t.formula for t in counted.terms} == expected
    assert all(term.count == evaluate(term.formula) for term in counted.terms)
    assert counted.total == sum(p.numel() for p in layer.parameters())


def test_both_directions_are_counted_and_the_next_layer_reads_both():
    counted = count_parameters(Recurrent(LSTM(), 3, 5, layers=2, bidirectional=True))
    formulas = {term.name: term.formula for term in counted.terms}
    labels = ("layer 0", "layer 0 reversed", "layer 1", "layer 1 reversed")
    assert [formulas[f"{label}, input–hidden"] for label in labels] == ["4·3·5"] * 2 + [
        "4·10·5"
    ] * 2
    assert counted.total == 2 * 4 * (5 + 3 * 5 + 5 * 5) + 2 * 4 * (5 + 10 * 5 + 5 * 5)


def test_tied_weights_are_counted_once_and_named():
    model = TextModel(84, 128, GRU(), 128, 1)
    apart = count_parameters(model).total
    model.output.weight = model.embedding.weight
    tied = count_parameters(model)
    assert tied.total == apart - 84 * 128
    assert tied.terms[-2] == Term("output.weight", "128·84, shared with embedding.weight", 0)


def test_a_layer_used_twice_is_counted_once():
    layer = Recurrent(LSTM(peephole=True), 4, 4)
    assert count_parameters(nn.Sequential(layer, nn.Sequential(layer))).total == (
        count_parameters(layer).total
    )


def test_anything_else_is_reported_by_its_name_and_shape():
    model = nn.Sequential(nn.Conv1d(3, 5, 7), nn.BatchNorm1d(5), nn.Bilinear(2, 3, 4))
    model.scale = nn.Parameter(torch.ones(()))
    assert count_parameters(model).terms == (
        Term("scale", "1", 1),
        Term("0.weight", "5·3·7", 105),
        Term("0.bias", "5", 5),
        Term("1.weight", "5", 5),
        Term("1.bias", "5", 5),
        Term("2.weight", "4·2·3", 24),
        Term("2.bias", "4", 4),
    )


def test_a_layer_s_own_additions_and_parametrized_weights_are_counted():
    class WithHead(Recurrent):
        def __init__(self) -> None:
            super().__init__(LSTM(), 3, 5)
            self.head = nn.Linear(5, 2)

    layer = WithHead()
    weight_norm(layer.directions[0].recurrent, "weight")
    counted = count_parameters(layer)
    assert counted.total == 4 * (5 + 3 * 5 + 5 * 5) + 4 * 5 + 5 * 2 + 2
    assert Term("head.weight", "5·2", 10) in counted.terms
    original = "directions.0.recurrent.parametrizations.weight.original"
    assert [t.formula for t in counted.terms if t.name.startswith(original)] == ["20·1", "20·5"]


def test_nothing_has_no_parameters():
    counted = count_parameters(nn.Tanh())
    assert counted.terms == ()
    assert counted.total == 0
    assert str(counted).split() == ["total", "0"]


def test_the_table_lines_up():
    lines = str(count_parameters(TextModel(84, 128, LSTM(), 128, 2))).splitlines()
    assert lines[0].split() == ["embedding.weight", "84·128", "10,752"]
    assert lines[-1].split() == ["total", "284,756"]
    assert len({len(line) for line in lines}) == 1
    assert len({line.index("·") for line in lines[1:7]}) == 1


@pytest.mark.parametrize("name", CELLS)
def test_formulas_of_every_cell_give_its_counts(name):
    counted = count_parameters(Recurrent(cell_named(name), 3, 5, layers=2))
    assert [evaluate(term.formula) for term in counted.terms] == [t.count for t in counted.terms]


def test_vectors_of_several_gates_count_as_many():
    counted = count_parameters(Recurrent(LayerNormLSTM(), 3, 5))
    names = "gain_x, gain_h, b_i, b_f, b_g, b_o, gain_c, shift_c"
    assert counted.terms[-1] == Term(f"layer 0, {names}", "14·5", 70)
