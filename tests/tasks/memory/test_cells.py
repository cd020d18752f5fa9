"""The course's cells against NumPy written from its equations, and the report's counts."""

import numpy as np
import pytest
import torch

from plait.diagnostics import count_parameters
from plait.errors import InputError
from plait.nn.registry import cell_named
from plait.tasks.memory.cells import MEMORY_CELLS, CourseGRU, CoursePeephole
from plait.tasks.memory.config import MemoryConfig
from plait.tasks.memory.model import MemoryModel


def sigma(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def gates(direction) -> tuple[dict[str, np.ndarray], ...]:
    """Input weights, recurrent weights and biases, each by the gate's name."""
    found = []
    for tensor, names in (
        (direction.inputs["weight"], direction.gates),
        (direction.recurrent["weight"], direction.recurrent_gates),
        (direction.bias, direction.bias_gates),
    ):
        parts = () if tensor is None else tensor.detach().split(direction.hidden_size)
        found.append(dict(zip(names, (p.numpy() for p in parts), strict=True)))
    return tuple(found)


def test_the_course_s_gru_is_its_equations(make_layer, assert_near):
    layer, x = make_layer(CourseGRU(), 3, 5), torch.randn(7, 4, 3, dtype=torch.float64)
    w, u, b = gates(layer.directions[0])
    assert not b
    h = np.zeros((4, 5))
    for x_t in x.numpy():
        # W_z [h, x] = W_z x + U_z h
        z = sigma(x_t @ w["z"].T + h @ u["z"].T)
        r = sigma(x_t @ w["r"].T + h @ u["r"].T)
        candidate = np.tanh(x_t @ w["n"].T + (r * h) @ u["n"].T)
        h = (1 - z) * h + z * candidate
    assert_near(layer(x)[1][0], torch.from_numpy(h), 1e-12)


def test_the_course_s_peephole_lstm_is_its_equations(make_layer, assert_near):
    layer, x = make_layer(CoursePeephole(), 3, 5), torch.randn(7, 4, 3, dtype=torch.float64)
    w, u, b = gates(layer.directions[0])
    assert set(u) == {"i", "f", "o"}
    h = c = np.zeros((4, 5))
    for x_t in x.numpy():
        i, f, o = (sigma(x_t @ w[g].T + c @ u[g].T + b[g]) for g in "ifo")
        c = sigma(x_t @ w["g"].T + b["g"]) * i + c * f
        h = np.tanh(c) * o
    final = layer(x)[1]
    assert_near(final[0][0], torch.from_numpy(h), 1e-12)
    assert_near(final[1][0], torch.from_numpy(c), 1e-12)


@pytest.mark.parametrize("cell", [CourseGRU(), CoursePeephole()], ids=["gru", "peephole"])
def test_their_gradients_are_right(make_layer, cell):
    layer = make_layer(cell, 2, 3)
    x = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)
    parameters = tuple(layer.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: layer(x)[0], (x, *parameters))


@pytest.mark.parametrize(
    ("cell", "parameters"),
    [("lstm", 266_763), ("lstm-course", 266_763), ("gru-course", 199_435), ("gru", 200_459)],
)
def test_the_report_s_parameter_counts(cell, parameters):
    """One bias a gate in the report's LSTM, none in its GRU; ours has 3·256 + 256 more."""
    model = MemoryModel(MemoryConfig.of({"cell": cell}, "report"))
    assert count_parameters(model).total == parameters


def test_the_course_s_lstm_forgets_at_first_as_any_other_gate():
    model = MemoryModel(MemoryConfig.of({"cell": "lstm-course"}, "report"))
    assert not model.recurrent.directions[0].bias.any()
    assert "oneDNN" in model.recurrent.explain()


def test_an_unknown_cell_lists_all_names():
    with pytest.raises(InputError, match=r"no cell named 'lstn'; there are rnn, .*peephole-course"):
        cell_named("lstn", MEMORY_CELLS)
