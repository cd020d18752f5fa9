"""Cells of random equations, and a program evaluated in torch: what several tests share."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from plait import Cell
from plait.kernels.program import Node

UNARY = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "abs": torch.abs,
    "exp": lambda x: torch.exp(-(x * x)),
    "log": lambda x: torch.log(1 + x * x),
    "sqrt": lambda x: torch.sqrt(0.5 + x * x),
    "neg": lambda x: -x,
    "mean": lambda x: x - x.mean(-1, keepdim=True),
    "norm": lambda x: F.layer_norm(x, x.shape[-1:]),
    "softplus": F.softplus,
    "clamp": lambda x: x.clamp(-0.5, 0.5),
}
BINARY = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / (2 + torch.tanh(b)),
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "where": lambda a, b: torch.where(a > b, torch.tanh(a), 0.5 * b),
}
GATES = "abc"


class RandomCell(Cell):
    """A cell that computes what a list of instructions says."""

    gates = GATES
    vectors = ("p", "q")

    def __init__(self, states: int, instructions: tuple[tuple[Any, ...], ...]) -> None:
        self.states = tuple(f"s{k}" for k in range(states))
        self.instructions = instructions

    def __repr__(self) -> str:
        return f"RandomCell({len(self.states)}, {self.instructions})"

    def step(self, x_gates: Any, recurrent: Any, state: Any, vectors: Mapping[str, Any]) -> Any:
        values = [*x_gates.chunk(len(GATES), -1), *state]
        for kind, *of in self.instructions:
            if kind == "recurrent":
                gate, where = of
                values.append(recurrent(torch.tanh(values[where % len(values)]), gate))
            elif kind == "vector":
                name, where = of
                values.append(vectors[name] * values[where % len(values)])
            elif kind in UNARY:
                values.append(UNARY[kind](values[of[0] % len(values)]))
            else:
                a, b = (values[k % len(values)] for k in of)
                values.append(BINARY[kind](a, b))
        return tuple(torch.tanh(v) + 0.1 * values[0] for v in values[-len(self.states) :])


NUMBER = st.integers(0, 40)
INSTRUCTION = st.one_of(
    st.tuples(st.sampled_from(sorted(UNARY)), NUMBER),
    st.tuples(st.sampled_from(sorted(BINARY)), NUMBER, NUMBER),
    st.tuples(st.just("vector"), st.sampled_from(["p", "q"]), NUMBER),
    st.tuples(st.just("recurrent"), st.sampled_from(GATES), NUMBER),
)


@st.composite
def random_cells(draw: Any) -> RandomCell:
    """Draw a cell of one to three states and products, and of all operations."""
    states = draw(st.integers(1, 3))
    instructions = draw(st.lists(INSTRUCTION, min_size=3, max_size=12))
    products = [("recurrent", draw(st.sampled_from(GATES)), draw(NUMBER))]
    return RandomCell(states, (*products, *instructions))


def evaluate(results: Sequence[Node], leaf: Any, H: int) -> list[Tensor]:
    """Compute nodes in torch; `leaf(node)` gives the tensor of one that is given."""
    known: dict[int, Tensor] = {}

    def value(node: Node) -> Tensor:
        if node.number not in known:
            known[node.number] = _compute(node, value, leaf, H)
        return known[node.number]

    return [value(node) for node in results]


def _compute(node: Node, value: Any, leaf: Any, H: int) -> Tensor:
    if node.op == "const":
        return torch.tensor(node.value, dtype=torch.float64)
    if node.op == "per_width":
        return torch.tensor(1 / (node.value * H), dtype=torch.float64)
    if not node.args or node.op == "product":
        return leaf(node)
    args = [value(a) for a in node.args]
    if node.op == "rowsum":
        return torch.stack([a.expand(a.shape[0], H).sum(-1, keepdim=True) for a in args]).sum(0)
    functions = {
        "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "neg": torch.neg,
        "where": lambda c, a, b: torch.where(c != 0, a, b), "detach": torch.detach,
    }  # fmt: skip
    function = functions.get(node.op) or getattr(torch, node.op)
    return (
        function(*args)
        if node.op not in ("gt", "ge", "lt", "le", "eq", "ne")
        else function(*args).double()
    )
