"""Attention of version 1 over edges, compiled: the scores are of two sides, s = left_j + right_i.

A node's row holds all its heads side by side. Forward a node gathers the rows of its sources,
backward those of its targets; both times with two weightings at once, which makes every
gradient a sum of the node's own, so that nothing lies on the edges and no two threads write to one
row. With α the coefficients, λ the slope of LeakyReLU at s, g the gradient of y, and m_i = g_i y_i:

y_i = Σ_j α_ij v_j,  z_i = Σ_j λ_ij α_ij v_j,  p_i = Σ_j λ_ij α_ij

dv_j = Σ_i α_ij g_i,  w_j = Σ_i λ_ij α_ij g_i,  q_j = Σ_i λ_ij α_ij m_i

dright_i = g_i z_i − m_i p_i,  dleft_j = v_j w_j − q_j

Dropout's masks multiply the coefficients of vectors, not those of p and q.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from numba import float32 as _f
from numba import njit
from torch import Tensor

from plait.kernels.cpu.jit import compiled, empty_f32, parallel_for
from plait.kernels.cpu.simd import (
    LANES,
    broadcast,
    fma,
    load,
    load_f32,
    load_i32,
    prefetch,
    reduce_add,
    row_address,
    store,
    where_positive,
)
from plait.kernels.cpu.simd_functions import exp, maximum

EDGES = 64
"""Edges of a node at a time, whose coefficients lie side by side."""

ROWS = 4096
"""Nodes that a thread takes at a time."""


class Edges(NamedTuple):
    """Sizes and addresses; rows are members of the batch × nodes."""

    nodes: int  # N
    edges: int  # E
    heads: int  # K
    width: int  # D
    starts: int  # int32 [N + 1], where each target's edges begin …
    others: int  # int32 [E], … and their sources
    back_starts: int  # the same by the source
    back_others: int
    back_order: int  # int32 [E], the edges in this order
    values: int  # [rows, K, D]
    left: int  # [rows, K]
    right: int  # [rows, K]
    masks: int  # [members, E, K], what dropout multiplies by; 0: nothing is dropped
    y: int  # [rows, K, D]
    z: int  # [rows, K, D]
    p: int  # [rows, K]
    tops: int  # [rows, K], the largest score
    sums: int  # [rows, K], of exp(score − largest)


class Gradients(NamedTuple):
    """What the gradient reads and writes in addition."""

    y: int  # [rows, K, D], of the answers
    values: int  # [rows, K, D]
    left: int  # [rows, K]
    right: int  # [rows, K]
    means: int  # [rows, K], m


@njit(inline="always")
def slope_at(s, slope):
    """Return LeakyReLU's value."""
    return broadcast(slope) + where_positive(s, broadcast(_f(1.0) - slope))


@compiled
def _forward(edges, slope, first, last, scratch):
    """Answer for the rows first … last; `scratch` is room for 2 · EDGES vectors."""
    K, D = edges.heads, edges.width
    again = row_address(scratch, EDGES, LANES)
    for row in range(first, last):
        i = row % edges.nodes
        base, member = row - i, row // edges.nodes
        begin, end = load_i32(edges.starts, i), load_i32(edges.starts, i + 1)
        y, z = row_address(edges.y, row, K * D), row_address(edges.z, row, K * D)
        for h in range(0, K, LANES):
            n, at = K - h, row * K + h
            own, top = load(edges.right, at, n), broadcast(_f(-3e38))
            for e in range(begin, end):
                other = base + load_i32(edges.others, e)
                _fetch_row(row_address(edges.values, other, K * D), K * D)
                s = own + load(edges.left, other * K + h, n)
                top = maximum(s * slope_at(s, slope), top)
            summed, p = broadcast(_f(0.0)), broadcast(_f(0.0))
            for part in range(begin, end, EDGES):
                stop = min(part + EDGES, end)
                for e in range(part, stop):
                    s = own + load(edges.left, (base + load_i32(edges.others, e)) * K + h, n)
                    k = slope_at(s, slope)
                    a = exp(fma(s, k, broadcast(_f(0.0)) - top))
                    summed = summed + a
                    p = fma(k, a, p)
                    if edges.masks:
                        a = a * load(edges.masks, (member * edges.edges + e) * K + h, n)
                    store(scratch, (e - part) * LANES, LANES, a)
                    store(again, (e - part) * LANES, LANES, k * a)
                _gather(edges, edges.values, edges.others, base, part, stop, h, scratch, y, z,
                        part > begin)  # fmt: skip
            store(edges.tops, at, n, top)
            store(edges.sums, at, n, summed)
            over = broadcast(_f(1.0)) / summed
            store(edges.p, at, n, p * over)
            store(scratch, 0, LANES, over)
            for k in range(h, min(K, h + LANES)):
                factor = broadcast(load_f32(scratch, k - h))
                for j in range(0, D, LANES):
                    store(y, k * D + j, D - j, load(y, k * D + j, D - j) * factor)
                    store(z, k * D + j, D - j, load(z, k * D + j, D - j) * factor)


@compiled
def _means(edges, back, first, last):
    """Write m and the gradient of the right side for the rows first … last."""
    K, D = edges.heads, edges.width
    for at in range(first * K, last * K):
        m, right = broadcast(_f(0.0)), broadcast(_f(0.0))
        for j in range(0, D, LANES):
            n, g = D - j, load(back.y, at * D + j, D - j)
            m = fma(g, load(edges.y, at * D + j, n), m)
            right = fma(g, load(edges.z, at * D + j, n), right)
        mean = reduce_add(m)
        store(back.means, at, 1, broadcast(mean))
        store(back.right, at, 1, broadcast(reduce_add(right) - mean * load_f32(edges.p, at)))


@compiled
def _backward(edges, back, slope, first, last, scratch):
    """Write the gradients of the values and the left side for the rows first … last.

    `tops` and `sums` are now the logarithms and unused; `scratch` is room for 2 · EDGES vectors
    and a row.
    """
    K, D = edges.heads, edges.width
    again = row_address(scratch, EDGES, LANES)
    w = row_address(again, EDGES, LANES)
    for row in range(first, last):
        i = row % edges.nodes
        base, member = row - i, row // edges.nodes
        begin, end = load_i32(edges.back_starts, i), load_i32(edges.back_starts, i + 1)
        grad, values = row_address(back.values, row, K * D), row_address(edges.values, row, K * D)
        for h in range(0, K, LANES):
            n, at = K - h, row * K + h
            own, q = load(edges.left, at, n), broadcast(_f(0.0))
            for part in range(begin, end, EDGES):
                stop = min(part + EDGES, end)
                for e in range(part, stop):
                    _fetch_row(
                        row_address(back.y, base + load_i32(edges.back_others, e), K * D), K * D
                    )
                    other = (base + load_i32(edges.back_others, e)) * K + h
                    s = own + load(edges.right, other, n)
                    k = slope_at(s, slope)
                    a = exp(fma(s, k, broadcast(_f(0.0)) - load(edges.tops, other, n)))
                    q = fma(k * a, load(back.means, other, n), q)
                    if edges.masks:
                        edge = member * edges.edges + load_i32(edges.back_order, e)
                        a = a * load(edges.masks, edge * K + h, n)
                    store(scratch, (e - part) * LANES, LANES, a)
                    store(again, (e - part) * LANES, LANES, k * a)
                _gather(edges, back.y, edges.back_others, base, part, stop, h, scratch, grad, w,
                        part > begin)  # fmt: skip
            store(scratch, 0, LANES, q)
            for k in range(h, min(K, h + LANES)):
                dot = broadcast(_f(0.0))
                for j in range(0, D, LANES):
                    n = D - j
                    dot = fma(load(values, k * D + j, n), load(w, k * D + j, n), dot)
                left = reduce_add(dot) - load_f32(scratch, k - h)
                store(back.left, row * K + k, 1, broadcast(left))


@njit(inline="always")
def _fetch_row(address, count):
    for j in range(0, count, 16):  # numbers of a cache line
        prefetch(address + 4 * j)


@njit
def _gather(edges, rows, others, base, first, last, h, weights, y, z, more):
    """Sum the rows of the others over the edges first … last by both weightings to y and z."""
    K, D = edges.heads, edges.width
    again = row_address(weights, EDGES, LANES)
    for k in range(h, min(K, h + LANES)):
        for j in range(0, D, LANES):
            n, at = D - j, k * D + j
            one, two = broadcast(_f(0.0)), broadcast(_f(0.0))
            if more:
                one, two = load(y, at, n), load(z, at, n)
            for e in range(first, last):
                x = load(rows, (base + load_i32(others, e)) * (K * D) + at, n)
                weight = (e - first) * LANES + k - h
                one = fma(broadcast(load_f32(weights, weight)), x, one)
                two = fma(broadcast(load_f32(again, weight)), x, two)
            store(y, at, n, one)
            store(z, at, n, two)


def forward(
    values: Tensor, left: Tensor, right: Tensor, vector: None, hood: Any, masks: Tensor,
    slope: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Return y, and what the gradient wants: z, p, and the logarithms of Σ exp(score)."""
    y, z = empty_f32(*values.shape), empty_f32(*values.shape)
    p, tops, sums = (empty_f32(*left.shape) for _ in range(3))
    edges = _edges(hood, (values, left, right, masks, y, z, p, tops, sums))
    _over_rows(values, 0, lambda *of: _forward(edges, slope, *of))
    return y, z, p, tops.add_(sums.log_())


def backward(
    grad: Tensor, values: Tensor, left: Tensor, right: Tensor, vector: None, hood: Any,
    masks: Tensor, y: Tensor, z: Tensor, p: Tensor, logs: Tensor, slope: float,
) -> tuple[Tensor, Tensor, Tensor, None]:  # fmt: skip
    """Return the gradients of values, left and right."""
    edges = _edges(hood, (values, left, right, masks, y, z, p, logs, logs))
    changes = empty_f32(*values.shape), empty_f32(*left.shape), empty_f32(*left.shape)
    means = empty_f32(*left.shape)
    back = Gradients(*(t.data_ptr() for t in (grad, *changes, means)))
    _over_rows(values, 0, lambda *of: _means(edges, back, *of[:2]))
    size = values.shape[2] * values.shape[3]
    _over_rows(values, size, lambda *of: _backward(edges, back, slope, *of))
    return *changes, None


def _edges(hood: Any, tensors: tuple[Tensor, ...]) -> Edges:
    N, K, D = tensors[0].shape[1:4]
    lists = hood.starts, hood.sources, hood.back_starts, hood.back_targets, hood.back_order
    addresses = (t.data_ptr() for t in (*lists, *tensors))
    return Edges(N, len(hood.sources), K, D, *addresses)


def _over_rows(values: Tensor, size: int, call: Callable[[int, int, int], None]) -> None:
    """Call with blocks of rows and room for the coefficients and so many numbers."""
    rows = values.shape[0] * values.shape[1]

    def block(first: int) -> None:
        scratch = empty_f32(2 * EDGES * LANES + size)
        call(first, min(first + ROWS, rows), scratch.data_ptr())

    parallel_for(block, range(0, rows, ROWS))
