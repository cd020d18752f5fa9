"""The weights that a layer starts from."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from plait import GRU, LSTM, RNN, Recurrent

CELLS = [RNN(), LSTM(), LSTM(peephole=True), GRU(), GRU("before")]
every_cell = pytest.mark.parametrize("cell", CELLS, ids=repr)


class TwoTerms:
    """A basis of two terms, so a weight that is not square."""

    def weight_shapes(self, inputs, outputs):
        return {"weight": (outputs, 2, inputs)}

    def apply(self, x, weights, graph):
        return F.linear(torch.cat([x, -x], -1), weights["weight"].flatten(1))


@every_cell
def test_recurrent_matrices_start_orthogonal_gate_by_gate(cell):
    H = 32
    layer = Recurrent(cell, 8, H, layers=2, bidirectional=True, init="orthogonal")
    matrices = [Q for s in layer.directions for Q in s.recurrent["weight"].double().split(H)]
    assert len(matrices) == 4 * len(cell.gates)
    for Q in matrices:
        assert torch.allclose(Q.T @ Q, torch.eye(H).double(), atol=1e-5)
    for one, other in itertools.pairwise(matrices):
        assert not torch.allclose(one, other, atol=0.1)


def test_the_terms_of_an_operator_are_orthogonal_together():
    H = 16
    layer = Recurrent(LSTM(), 8, H, operator=TwoTerms(), init="orthogonal")
    for gate in layer.directions[0].recurrent["weight"].double().split(H):
        rows = gate.flatten(1)  # [H, 2·H]
        assert torch.allclose(rows @ rows.T, torch.eye(H).double(), atol=1e-5)


@every_cell
@pytest.mark.parametrize("operator_terms", [1, 2])
def test_input_matrices_are_uniform_with_gain_2_at_the_input_and_4_above(cell, operator_terms):
    inputs, H = 24, 32
    options = {"operator": TwoTerms()} if operator_terms == 2 else {}
    layer = Recurrent(cell, inputs, H, layers=2, init="orthogonal", **options)
    for direction, fan_in, gain in zip(layer.directions, (inputs, H), (2, 4), strict=True):
        bound = gain * math.sqrt(3 / (operator_terms * fan_in))  # variance gain² / fan-in
        for gate in direction.inputs["weight"].split(H):
            assert 0.98 * bound < gate.abs().max() <= bound
            assert abs(gate.mean()) < 0.1 * bound


@every_cell
@pytest.mark.parametrize("init", ["orthogonal", "kaiming"])
def test_biases_and_peepholes_start_at_zero_but_for_the_forget_gate(cell, init):
    H = 5
    layer = Recurrent(cell, 3, H, layers=2, init=init)
    for direction in layer.directions:
        expected = torch.zeros(len(cell.gates), H)
        if "f" in cell.gates:
            expected[cell.gates.index("f")] = 1
        assert torch.equal(direction.bias.view(-1, H), expected)
        assert direction.recurrent_bias is None or not direction.recurrent_bias.any()
        assert not any(vector.any() for vector in direction.vectors.values())


def test_the_forget_bias_starts_where_the_cell_says():
    cell = LSTM(forget_bias=-3.5)
    bias = Recurrent(cell, 3, 5, init="orthogonal").directions[0].bias.view(4, 5)
    assert torch.equal(bias, torch.tensor([0, -3.5, 0, 0])[:, None].expand(4, 5))
    bias = Recurrent(cell, 3, 5).directions[0].bias.view(4, 5)
    assert (bias[1] == -3.5).all()
    assert (bias[[0, 2, 3]].abs() <= 5**-0.5).all()


def test_the_default_is_what_torch_draws():
    H, ours, theirs = 512, Recurrent(LSTM(), 256, 512), torch.nn.LSTM(256, 512)
    for mine, other in (
        (ours.directions[0].inputs["weight"], theirs.weight_ih_l0),
        (ours.directions[0].recurrent["weight"], theirs.weight_hh_l0),
        (ours.directions[0].bias, theirs.bias_ih_l0),
    ):
        assert mine.shape == other.shape
        for weights in (mine, other):  # uniform within ±1/√H: the bound and the deviation
            assert 0.99 < weights.abs().max() * math.sqrt(H) <= 1
            error = 5 * 0.9 / math.sqrt(weights.numel())  # of a deviation, relative
            assert abs(weights.std() * math.sqrt(3 * H) - 1) < error


@every_cell
def test_init_torch_fills_the_bound_of_torch(cell):
    H = 64
    layer = Recurrent(cell, 32, H, layers=2, init="torch")
    for name, p in layer.named_parameters():
        assert p.abs().max() <= 1 / math.sqrt(H), name
        assert p.abs().max() > 0.9 / math.sqrt(H), name
        assert p.min() < 0 < p.max()


@every_cell
def test_init_kaiming_has_variance_two_over_fan_in(cell):
    inputs, H = 150, 200
    layer = Recurrent(cell, inputs, H, init="kaiming")
    (direction,) = layer.directions
    for weight, fan_in in (
        (direction.inputs["weight"], inputs),
        (direction.recurrent["weight"], H),
    ):
        for gate in weight.split(H):
            deviation = math.sqrt(2 / gate.numel())  # of a variance, relative
            assert abs(gate.var() * fan_in / 2 - 1) < 5 * deviation
            assert abs(gate.mean()) < 5 * math.sqrt(2 / fan_in / gate.numel())


@pytest.mark.parametrize("init", ["orthogonal", "torch", "kaiming"])
def test_the_same_seed_gives_the_same_weights_and_another_gives_others(init):
    def weights(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        layer = Recurrent(GRU(), 3, 5, layers=2, bidirectional=True, init=init)
        return [*layer.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(weights(0), weights(0), strict=True))
    others = zip(weights(0), weights(1), strict=True)
    assert not any(torch.equal(a, b) for a, b in others if a.ndim > 1)


def test_reset_parameters_draws_anew_by_the_given_scheme():
    layer = Recurrent(LSTM(), 64, 64, init="torch")
    before = layer.directions[0].bias.clone()
    layer.reset_parameters()
    assert not torch.equal(layer.directions[0].bias, before)
    assert layer.directions[0].bias.abs().max() <= 1 / 8
    layer.reset_parameters("orthogonal")
    assert layer.directions[0].bias.unique().tolist() == [0, 1]


def test_a_layer_without_input_can_be_drawn_by_every_scheme():
    for init in ("orthogonal", "torch", "kaiming"):
        layer = Recurrent(LSTM(), 0, 5, init=init)
        assert layer.directions[0].recurrent["weight"].abs().min() > 0
