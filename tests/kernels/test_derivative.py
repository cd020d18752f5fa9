"""The derived gradient against autograd, for every cell and for random programs, in float64."""

import pytest
import torch
from hypothesis import given, settings
from random_cells import RandomCell, evaluate, random_cells

from plait import GRU, LSTM, RNN, LayerNormLSTM, MinGRU
from plait.kernels.derivative import differentiate
from plait.nn.cell import program_of
from plait.nn.registry import CELLS

H, ROWS = 3, 2


def check(cell) -> None:
    """Compare every gradient of a step with autograd's."""
    program = program_of(cell, H)
    assert not isinstance(program, str), program
    gradient = differentiate(program)
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    leaves: dict = {("input", k): draw(ROWS, H) for k in range(len(program.gates))}
    leaves |= {("vector", v): draw(H) for v in program.vectors}
    leaves |= {("state", k): draw(ROWS, H) for k in range(len(program.states))}
    weights = {gate: draw(H, H) for gate in program.gates}
    made: dict = {}

    def forward_leaf(node):
        if node.op != "product":
            return leaves[node.op, node.value]
        if node.number not in made:
            (value,) = evaluate(node.args, forward_leaf, H)
            made[node.number] = value @ weights[node.value[1]].T
        return made[node.number]

    new = [n.expand(ROWS, H) for n in evaluate(program.new, forward_leaf, H)]
    grads = [draw(ROWS, H).detach() for _ in new]
    loss = sum((n * g).sum() for n, g in zip(new, grads, strict=True))
    wanted = {**leaves, **{("weight", g): w for g, w in weights.items()}}
    right = dict(
        zip(wanted, torch.autograd.grad(loss, list(wanted.values()), allow_unused=True),
            strict=True)
    )  # fmt: skip

    def backward_leaf(node):
        match node.op:
            case "grad":
                return grads[node.value]
            case "new":
                return new[node.value].detach()
            case "kept" | "kept_row":
                kept = gradient.kept if node.op == "kept" else gradient.kept_rows
                return evaluate([kept[node.value]], forward_leaf, H)[0].detach()
            case "back":
                product = program.products[node.value]
                parts = [
                    by_product(product.index, gate) @ weights[gate].detach()
                    for gate in product.gates
                ]
                return torch.stack(parts).sum(0)
            case _:
                return leaves[node.op, node.value].detach()

    def compute(node) -> torch.Tensor:
        return evaluate([node], backward_leaf, H)[0].expand(ROWS, H)

    def by_product(index: int, gate: str) -> torch.Tensor:
        return compute(gradient.recurrent[index, gate])

    found = {("input", k): compute(n) for k, n in enumerate(gradient.inputs)}
    found |= {("vector", v): compute(n).sum(0) for v, n in gradient.vectors.items()}
    found |= {("state", k): compute(n) for k, n in enumerate(gradient.states)}
    for product in program.products:
        value = compute(gradient.values[product.index])
        for gate in product.gates:
            part = by_product(product.index, gate).T @ value
            found["weight", gate] = found.get(("weight", gate), 0) + part
    for key, g in found.items():
        expected = torch.zeros_like(g) if right[key] is None else right[key]
        torch.testing.assert_close(g, expected, rtol=1e-9, atol=1e-9, msg=str(key))


@pytest.mark.parametrize("name", CELLS)
def test_the_gradient_of_a_cell_is_autograd_s(name):
    check(CELLS[name]())


@settings(max_examples=150, deadline=None, derandomize=True)
@given(random_cells())
def test_the_gradient_of_random_equations_is_autograd_s(cell: RandomCell):
    check(cell)


@pytest.mark.parametrize(
    ("cell", "kept"),
    [
        (RNN(), 0),  # the new state is at hand
        (RNN("relu"), 0),
        (LSTM(), 4),  # four gates; tanh c' is computed again
        (LSTM(peephole=True), 4),
        (GRU(), 4),  # r, z, n and what n gets of h
        (GRU("before"), 3),
        (MinGRU(), 0),  # all follows from the input
    ],
    ids=repr,
)
def test_no_more_is_kept_than_by_hand(cell, kept):
    gradient = differentiate(program_of(cell, H))
    assert (len(gradient.kept), len(gradient.kept_rows)) == (kept, 0)


def test_statistics_are_kept_as_one_number_a_row():
    gradient = differentiate(program_of(LayerNormLSTM(), H))
    assert len(gradient.kept_rows) >= 2
    assert all(node.row for node in gradient.kept_rows)
