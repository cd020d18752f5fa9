"""Cells that a user writes, against a plain loop over time in torch with the same equations.

The loop computes the input side of all steps at once, before it; then each step by `F.linear` and
the operator's formula. Where a formula can be written in two ways, by edges or by whole matrices,
the faster one is taken. Run by `python benchmarks/bench.py --only "own cell"`.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from measure import Row, Sides, seconds
from recurrence import (
    GRAPH_H,
    GRAPH_T,
    NODES,
    B,
    H,
    T,
    recurrent_operations,
    sensors,
    training,
)
from torch import Tensor, nn
from torch.nn import functional as F

from plait import Attention, Cell, Chebyshev, Dense, Graph, Recurrent

State = tuple[Tensor, ...]


class OneGate(Cell):
    """The minimal gated unit, as one would write it."""

    gates = "fn"

    def step(
        self, x_gates: Tensor, recurrent: Any, state: State, vectors: Mapping[str, Tensor]
    ) -> State:
        """Go one step."""
        (h,) = state
        x_f, x_n = x_gates.chunk(2, -1)
        f = torch.sigmoid(x_f + recurrent(h, "f"))
        n = torch.tanh(x_n + recurrent(f * h, "n"))
        return ((1 - f) * h + f * n,)


class NormedLSTM(Cell):
    """An LSTM with layer normalisation of both sides and of the cell state."""

    gates = "ifgo"
    states = ("h", "c")
    vectors = {"gain_x": 4, "gain_h": 4, "shift": 4, "gain_c": 1, "shift_c": 1}  # noqa: RUF012
    bias_gates = ()
    initial_vectors = {"gain_x": 1.0, "gain_h": 1.0, "gain_c": 1.0}  # noqa: RUF012

    def step(
        self, x_gates: Tensor, recurrent: Any, state: State, vectors: Mapping[str, Tensor]
    ) -> State:
        """Go one step."""
        h, c = state
        width, v = c.shape[-1], vectors
        x = F.layer_norm(x_gates, (4 * width,), v["gain_x"])
        u = F.layer_norm(recurrent(h), (4 * width,), v["gain_h"], v["shift"])
        i, f, g, o = (x + u).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        seen = F.layer_norm(c, (width,), v["gain_c"], v["shift_c"])
        return torch.sigmoid(o) * torch.tanh(seen), c


class ThreeStates(Cell):
    """A cell of our invention: a fast memory c, a slow one m that depends on it, and two products.

    a, b = σ(x + U h),  n = tanh(x + U (a ⊙ m)),  c' = b ⊙ c + (1 − b) ⊙ n,
    m' = a ⊙ m + (1 − a) ⊙ c',  h' = a ⊙ tanh c' + (1 − a) ⊙ m'
    """

    gates = "abn"
    states = ("h", "c", "m")

    def step(
        self, x_gates: Tensor, recurrent: Any, state: State, vectors: Mapping[str, Tensor]
    ) -> State:
        """Go one step."""
        h, c, m = state
        x_a, x_b, x_n = x_gates.chunk(3, -1)
        u_a, u_b = recurrent(h, "ab").chunk(2, -1)
        a, b = torch.sigmoid(x_a + u_a), torch.sigmoid(x_b + u_b)
        n = torch.tanh(x_n + recurrent(a * m, "n"))
        c = b * c + (1 - b) * n
        m = a * m + (1 - a) * c
        return a * torch.tanh(c) + (1 - a) * m, c, m


Formula = Callable[[Tensor, Mapping[str, Tensor]], Tensor]
"""Of x `[B, (N,) F]` and an operator's weights: pre-activations, `[B, (N,) gates · H]`."""


def dense(x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    return F.linear(x, weights["weight"])


def chebyshev(graph: Graph, sparse: bool) -> Formula:
    """Write x, L x and 2 L L x − x side by side, times the weights."""
    A = torch.zeros(NODES, NODES)
    A[tuple(graph.edge_index)] = graph.edge_weight
    A.fill_diagonal_(0)
    root = A.sum(1).rsqrt()
    L = -(root[:, None] * A * root).T  # 2 L / λmax − I with λmax = 2
    both, L_sparse = torch.cat([L, 2 * L @ L - torch.eye(NODES)]), L.to_sparse_csr()

    def aggregated(x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        *lead, N, width = x.shape
        x0 = x.reshape(-1, N, width).transpose(0, 1).reshape(N, -1)
        if sparse:
            x1 = L_sparse @ x0
            terms = torch.cat([x0, x1, 2 * (L_sparse @ x1) - x0])
        else:
            terms = torch.cat([x0, both @ x0])
        side = terms.view(3, N, -1, width).permute(2, 1, 0, 3).reshape(*lead, N, 3 * width)
        return F.linear(side, weights["weight"].flatten(1))

    return aggregated


def attention(graph: Graph, heads: int, sparse: bool) -> Formula:
    """Write graph attention by its formula; nodes of a batch share the graph."""
    loops = torch.arange(NODES)
    source, target = (torch.cat([ends, loops]) for ends in graph.edge_index)
    hidden = torch.full((NODES, NODES), -torch.inf)
    hidden[target, source] = 0.0

    def sides(x: Tensor, weights: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        z = F.linear(x, weights["weight"])
        a, b = (weights[name].unflatten(0, (-1, heads)) for name in ("source", "target"))
        z = z.reshape(-1, NODES, *a.shape)  # [B, N, gates, heads, C]
        return z, (z * a).sum((2, 4)), (z * b).sum((2, 4))

    def by_whole(x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        z, there, here = sides(x, weights)
        scores = here.transpose(1, 2)[..., None] + there.transpose(1, 2)[..., None, :]
        shares = (F.leaky_relu(scores, 0.2) + hidden).softmax(-1)  # [B, heads, N, N]
        y = shares @ z.permute(0, 3, 1, 2, 4).flatten(3)  # [B, heads, N, gates · C]
        y = y.unflatten(-1, (z.shape[2], -1)).permute(0, 2, 3, 1, 4)
        return y.reshape(*x.shape[:-1], -1)

    def by_edges(x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        z, there, here = sides(x, weights)
        scores = F.leaky_relu(there[:, source] + here[:, target], 0.2)  # [B, edges, heads]
        place = target[None, :, None].expand_as(scores)
        top = torch.full_like(here, -torch.inf).scatter_reduce(1, place, scores.detach(), "amax")
        chances = (scores - top[:, target]).exp()
        totals = torch.zeros_like(here).index_add(1, target, chances)
        shares = chances / totals[:, target]
        y = torch.zeros_like(z).index_add(1, target, z[:, source] * shares[:, :, None, :, None])
        return y.reshape(*x.shape[:-1], -1)

    return by_edges if sparse else by_whole


class PlainLoop(nn.Module):
    """Layers as a loop over time, with the weights of a `Recurrent`."""

    def __init__(self, layer: Recurrent, formula: Formula) -> None:
        super().__init__()
        self.parts, self.formula = copy.deepcopy(layer.directions), formula

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = self.one(part, x)
        return x

    def one(self, part: Any, x: Tensor) -> Tensor:
        """Run one layer."""
        given = self.formula(x.flatten(0, 1), dict(part.inputs)).unflatten(0, x.shape[:2])
        given = given if part.bias is None else given + part.bias
        rows: dict[str, Mapping[str, Tensor]] = {}

        def recurrent(value: Tensor, gates: Sequence[str] | None = None) -> Tensor:
            key = "".join(part.gates if gates is None else gates)
            if key not in rows:
                rows[key] = {
                    name: of_gates(w, part.gates, key) for name, w in part.recurrent.items()
                }
            return self.formula(value, rows[key])

        zero = x.new_zeros(*x.shape[1:-1], part.hidden_size)
        state, steps = (zero,) * len(part.cell.states), []
        vectors = dict(part.vectors)
        for x_t in given:
            state = part.cell.step(x_t, recurrent, state, vectors)
            steps.append(state[0])
        return torch.stack(steps)


def of_gates(weight: Tensor, gates: Sequence[str], chosen: str) -> Tensor:
    if chosen == "".join(gates):
        return weight
    parts = dict(zip(gates, weight.chunk(len(gates)), strict=True))
    return torch.cat([parts[gate] for gate in chosen])


def beside_plain(cell: Cell, operator: Any, batch: int) -> Sides:
    """Make a training step of both, after both gave the same for the first steps."""
    if isinstance(operator, Dense):
        x, graph, formulas = torch.randn(T, batch, H), None, [dense]
        ours = Recurrent(cell, H, H, layers=2)
    else:
        x, graph = torch.randn(GRAPH_T, batch, NODES, 2), sensors()
        ours = Recurrent(cell, 2, GRAPH_H, operator=operator)
        if isinstance(operator, Attention):
            formulas = [attention(graph, operator.heads, sparse) for sparse in (False, True)]
        else:
            formulas = [chebyshev(graph, sparse) for sparse in (False, True)]
    loops = [PlainLoop(ours, formula) for formula in formulas]
    few, (expected, _) = x[:2], ours(x[:2], graph=graph)
    for loop in loops:
        torch.testing.assert_close(loop(few), expected, atol=1e-4, rtol=1e-3)
    if len(loops) > 1:
        steps = {loop: training(loop, partial(loop, few)) for loop in loops}
        loops.sort(key=lambda loop: min(seconds(steps[loop]) for _ in range(3)))
    fastest = loops[0]
    return (
        training(ours, lambda: ours(x, graph=graph)[0]),
        training(fastest, lambda: fastest(x)),
    )


def row(cell: Cell, operator: Any, batch: int) -> Row:
    gates, name = len(cell.gates), type(operator).__name__
    if isinstance(operator, Dense):
        count = recurrent_operations(gates, T * batch)
    else:
        rows, terms = GRAPH_T * batch * NODES, getattr(operator, "k", 1)
        count = recurrent_operations(gates, rows, layers=1, width=GRAPH_H, terms=terms, inputs=2)
    title = f"own cell {type(cell).__name__} × {name}, batch {batch}"
    make = partial(beside_plain, cell, operator, batch)
    return Row(title, "a plain loop in torch", 2.5 if batch == B else 5, make, count)


CELLS = (OneGate(), NormedLSTM(), ThreeStates())
OPERATORS = (Dense(), Chebyshev(3), Attention(8))
ROWS = [row(cell, operator, batch) for operator in OPERATORS for cell in CELLS for batch in (B, 8)]
