"""How time and memory grow with the size.

Each line is a step forward and backward, the fastest of several. A shift over a graph, and
attention, move bytes: for every edge its number, its value and the features of a node, for every
node what is read and written; they are counted as if nothing stayed in a cache. A recurrence
computes products: its operations are counted. Both are set against what the machine does at most in
the same run: the copy of a large array, and multiply-adds of registers or the fastest product.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import measure
import recurrence
import torch
from torch import Tensor

from plait import GRU, LSTM, Attention, Chebyshev, Graph, GraphConv, Recurrent
from plait.kernels.sparse import propagate
from plait.nn import shifts

F = 64
"""Features of a node."""


class Point(NamedTuple):
    """A size, what is done there, and how much of it."""

    size: str
    run: Callable[[], Any]
    units: float  # edges, or steps × batch × nodes
    work: float  # bytes moved or operations


class Series(NamedTuple):
    """What grows, and the unit and the limit that its points have."""

    sizes: list[tuple[int, ...]]
    make: Callable[..., Point]
    unit: str
    bytes: bool = False
    memory: bool = False


def backward(y: Tensor) -> None:
    y.backward(torch.ones_like(y))


def shifted(nodes: int, edges: int) -> Point:
    graph, x = large(nodes, edges), torch.randn(nodes, F).requires_grad_()
    matrix = shifts.gcn(graph, torch.float32)
    count = len(matrix.matrix.values())
    moved = 2 * (count * (8 + 4 * F) + nodes * 4 * F)
    return Point(named(nodes, edges), lambda: backward(propagate(matrix, x)), count, moved)


def attended(nodes: int, edges: int) -> Point:
    graph, x = large(nodes, edges), torch.randn(nodes, F).requires_grad_()
    layer = GraphConv(Attention(8), F, F)
    count = edges + nodes  # every node aggregates itself too
    moved = 2 * (count * (4 + 4 * F + 4 * 8) + 3 * nodes * 4 * F)
    return Point(named(nodes, edges), lambda: backward(layer(x, graph)), count, moved)


def large(nodes: int, edges: int) -> Graph:
    index = torch.unique(torch.randint(nodes * nodes, (edges,)))
    return Graph(torch.stack([index // nodes, index % nodes]), num_nodes=nodes)


def named(nodes: int, edges: int) -> str:
    return f"{nodes:,} nodes, {edges:,} edges"


def over_sensors(T: int, B: int, nodes: int) -> Point:
    graph = Graph.from_points(torch.rand(nodes, 2), recurrence.NEIGHBOURS)
    layer = Recurrent(LSTM(peephole=True), 2, F, operator=Chebyshev(3))
    x, rows = torch.randn(T, B, nodes, 2), T * B * nodes
    count = recurrence.recurrent_operations(4, rows, layers=1, width=F, terms=3, inputs=2)
    size = f"T = {T}, batch {B}, {nodes} nodes"
    return Point(size, lambda: backward(layer(x, graph=graph)[0]), rows, count)


def over_time(T: int, B: int, H: int) -> Point:
    layer, x = Recurrent(GRU(), H, H), torch.randn(T, B, H)
    count = recurrence.recurrent_operations(3, T * B, layers=1, width=H)
    size = f"T = {T}, batch {B}, H = {H}"
    return Point(size, lambda: backward(layer(x)[0]), T * B, count)


EDGES = [(400_000, 1_000_000), (400_000, 3_000_000), (400_000, 10_000_000)]
SENSORS = [(6, 8, 207), (12, 8, 207), (48, 8, 207), (12, 2, 207), (12, 32, 207), (12, 8, 828)]
PLAIN = [(15, 64, 128), (30, 64, 128), (120, 64, 128), (30, 16, 128), (30, 256, 128), (30, 64, 64),
         (30, 64, 512)]  # fmt: skip
SERIES = {
    "shift by Â, 64 features": Series(
        [*EDGES, (100_000, 1_000_000), (1_000_000, 10_000_000)], shifted, "edge", True, True
    ),
    "attention 8 × 8": Series(EDGES, attended, "edge", True, True),
    "GConvLSTM, H = 64": Series(SENSORS, over_sensors, "node and step", memory=True),
    "GRU × Dense": Series(PLAIN, over_time, "row and step"),
}


def step(name: str, k: int) -> Callable[[], Any]:
    """Make the step of a point."""
    series = SERIES[name]
    return series.make(*series.sizes[k]).run


def tables(copy: float, multiply_add: float) -> list[dict[str, Any]]:
    """Measure all of it; `copy` in GB/s and `multiply_add` in GFLOP/s are the limits."""
    return [table(name, copy if series.bytes else multiply_add) for name, series in SERIES.items()]


def table(name: str, limit: float) -> dict[str, Any]:
    """Measure one series."""
    series, lines = SERIES[name], []
    for k, size in enumerate(series.sizes):
        torch.manual_seed(0)
        point = series.make(*size)
        point.run()
        once = measure.seconds(point.run)
        taken = min(measure.seconds(point.run) for _ in range(max(2, min(9, int(1 / once)))))
        used = measure.memory_apart(name, str(k)) if series.memory else None
        lines.append({
            "size": point.size, "ms": taken * 1e3, "ns a unit": taken / point.units * 1e9,
            "G a second": point.work / taken / 1e9, "MB": used,
        })  # fmt: skip
    return {
        "what": name, "unit": series.unit, "of": "GB" if series.bytes else "GFLOP",
        "limit": limit, "lines": lines,
    }  # fmt: skip


def written(table: dict[str, Any]) -> str:
    """Write a table as Markdown."""
    of, limit = table["of"], table["limit"]
    rows = [
        f"| {table['what']} | ms | ns per {table['unit']} | {of}/s | of {limit:.1f} | MB |",
        "|---|---|---|---|---|---|",
    ]
    for found in table["lines"]:
        used = "" if found["MB"] is None else f"{found['MB']:.0f}"
        rate = found["G a second"]
        rows.append(
            f"| {found['size']} | {found['ms']:.1f} | {found['ns a unit']:.1f} | {rate:.1f} | "
            f"{rate / limit:.2f} | {used} |"
        )
    return "\n".join(rows)
