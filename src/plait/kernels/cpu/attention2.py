"""Attention of version 2 over edges, compiled: e_ij = Σ_c a_c LeakyReLU(left_jc + right_ic).

The slope of LeakyReLU depends on the edge and the channel, so unlike version 1 (`attention`) a
target's gradient is a gather of its own. Forward a node gathers over its sources; backward once
over its sources and once over its targets; scores and coefficients are computed again each time.
Nothing lies on the edges, no two threads write to one row, and what they share, the gradient of a,
is summed by blocks of rows in a fixed order. With g the gradient of y, m_i = g_i y_i, α̃ the
coefficients after dropout, and λ_ijc the slope at left_jc + right_ic:

de_ij = α̃_ij (g_i v_j) − α_ij m_i

dright_ic = a_c Σ_j de_ij λ_ijc,  dleft_jc = a_c Σ_i de_ij λ_ijc,  dv_j = Σ_i α̃_ij g_i

da_c = Σ_ij de_ij λ_ijc (left_jc + right_ic)

A row lies as `[G, P, W]`: W heads side by side, W a power of two, for each of P channels, in G
groups of heads. One vector then holds some channels of all W heads, and one sum of its lanes modulo
W gives the scores of all, each already where it multiplies the heads' channels. Heads and channels
that fill up a row are zero.
"""

from typing import Any, NamedTuple

import torch
from numba import float32 as _f
from numba import njit
from torch import Tensor

from plait.kernels.cpu.attention import EDGES, slope_at
from plait.kernels.cpu.jit import compiled, empty_f32, parallel_for
from plait.kernels.cpu.simd import (
    LANES,
    broadcast,
    fma,
    load,
    load_i32,
    prefetch,
    row_address,
    store,
    sum_by,
)
from plait.kernels.cpu.simd_functions import exp, maximum

ROWS = 2048
"""Nodes that a thread takes at a time."""

AHEAD = 6
"""Edges between asking for a row and reading it."""


class Edges(NamedTuple):
    """Sizes and addresses; rows are members of the batch × nodes."""

    nodes: int  # N
    edges: int  # E
    groups: int  # G
    heads: int  # W
    width: int  # P · W of the values
    scored: int  # P · W of the scores
    starts: int  # int32 [N + 1], where each target's edges begin …
    others: int  # int32 [E], … and their sources
    back_starts: int  # the same by the source
    back_others: int
    back_order: int  # int32 [E], the edges in this order
    values: int  # [rows, G, width]
    left: int  # [rows, G, scored]
    right: int  # [rows, G, scored]
    vector: int  # [G, scored]
    masks: int  # [members, E, G, W], what dropout multiplies by; 0: nothing is dropped
    y: int  # [rows, G, width]
    tops: int  # [rows, G, W], the largest score; for the gradient the logarithm of Σ exp
    sums: int  # [rows, G, W], of exp(score − largest); for the gradient m


@njit(inline="always")
def _score(left, right, vector, slope, count, heads):
    total = broadcast(_f(0.0))
    for c in range(0, count, LANES):
        s = load(left, c, LANES) + load(right, c, LANES)
        total = fma(load(vector, c, LANES), maximum(s * slope, s), total)
    return sum_by(total, heads)


@njit(inline="always")
def _dot(a, b, count, heads):
    total = broadcast(_f(0.0))
    for c in range(0, count, LANES):
        total = fma(load(a, c, LANES), load(b, c, LANES), total)
    return sum_by(total, heads)


@njit(inline="always")
def _by_head(address, index, heads):
    return sum_by(load(address, index * heads, heads), heads)  # one number a head, in every channel


@njit(inline="always")
def _fetch_row(address, count):
    for c in range(0, count, 16):  # numbers of a cache line
        prefetch(address + 4 * c)


@njit
def _gather(edges, rows, others, base, group, first, last, weights, out, scale, more):
    """Sum the rows of the others over the edges first … last, by weights, to scale · out."""
    width, groups = edges.width, edges.groups
    c = 0
    while c + 4 * LANES <= width:
        y0, y1, y2, y3 = (
            broadcast(_f(0.0)),
            broadcast(_f(0.0)),
            broadcast(_f(0.0)),
            broadcast(_f(0.0)),
        )
        if more:
            y0 = load(out, c, LANES) * scale
            y1 = load(out, c + LANES, LANES) * scale
            y2 = load(out, c + 2 * LANES, LANES) * scale
            y3 = load(out, c + 3 * LANES, LANES) * scale
        for e in range(first, last):
            x = row_address(rows, (base + load_i32(others, e)) * groups + group, width)
            a = load(weights, (e - first) * LANES, LANES)
            y0 = fma(a, load(x, c, LANES), y0)
            y1 = fma(a, load(x, c + LANES, LANES), y1)
            y2 = fma(a, load(x, c + 2 * LANES, LANES), y2)
            y3 = fma(a, load(x, c + 3 * LANES, LANES), y3)
        store(out, c, LANES, y0)
        store(out, c + LANES, LANES, y1)
        store(out, c + 2 * LANES, LANES, y2)
        store(out, c + 3 * LANES, LANES, y3)
        c += 4 * LANES
    while c < width:
        y0 = load(out, c, LANES) * scale if more else broadcast(_f(0.0))
        for e in range(first, last):
            x = row_address(rows, (base + load_i32(others, e)) * groups + group, width)
            y0 = fma(load(weights, (e - first) * LANES, LANES), load(x, c, LANES), y0)
        store(out, c, LANES, y0)
        c += LANES


@compiled
def _forward(edges, slope, first, last, scratch):
    """Answer for the rows first … last; `scratch` is room for EDGES vectors."""
    groups, width, scored, heads = edges.groups, edges.width, edges.scored, edges.heads
    slopes = broadcast(slope)
    for row in range(first, last):
        i = row % edges.nodes
        base, member = row - i, row // edges.nodes
        begin, end = load_i32(edges.starts, i), load_i32(edges.starts, i + 1)
        for g in range(groups):
            place, vector = row * groups + g, row_address(edges.vector, g, scored)
            own, y = row_address(edges.right, place, scored), row_address(edges.y, place, width)
            top, summed = broadcast(_f(-3e38)), broadcast(_f(0.0))
            for part in range(begin, end, EDGES):
                stop, before = min(part + EDGES, end), top
                for e in range(part, stop):
                    if e + AHEAD < edges.edges:
                        ahead = (base + load_i32(edges.others, e + AHEAD)) * groups + g
                        _fetch_row(row_address(edges.left, ahead, scored), scored)
                        _fetch_row(row_address(edges.values, ahead, width), width)
                    other = (base + load_i32(edges.others, e)) * groups + g
                    left = row_address(edges.left, other, scored)
                    score = _score(left, own, vector, slopes, scored, heads)
                    store(scratch, (e - part) * LANES, LANES, score)
                    top = maximum(score, top)
                scale = exp(before - top)
                summed = summed * scale
                for e in range(part, stop):
                    a = exp(load(scratch, (e - part) * LANES, LANES) - top)
                    summed = summed + a
                    if edges.masks:
                        edge = (member * edges.edges + e) * groups + g
                        a = a * _by_head(edges.masks, edge, heads)
                    store(scratch, (e - part) * LANES, LANES, a)
                _gather(edges, edges.values, edges.others, base, g, part, stop, scratch, y, scale,
                        part > begin)  # fmt: skip
            over = broadcast(_f(1.0)) / summed
            for c in range(0, width, LANES):
                store(y, c, LANES, load(y, c, LANES) * over)
            store(edges.tops, place * heads, heads, top)
            store(edges.sums, place * heads, heads, summed)


@compiled
def _backward_by_target(edges, grad, right_grad, vector_grad, slope, first, last, scratch):
    """Write m and the gradient of right for the rows first … last, and add that of the vector."""
    groups, width, scored, heads = edges.groups, edges.width, edges.scored, edges.heads
    slopes = broadcast(slope)
    for row in range(first, last):
        i = row % edges.nodes
        base, member = row - i, row // edges.nodes
        begin, end = load_i32(edges.starts, i), load_i32(edges.starts, i + 1)
        for g in range(groups):
            place, vector = row * groups + g, row_address(edges.vector, g, scored)
            own, out = (
                row_address(edges.right, place, scored),
                row_address(right_grad, place, scored),
            )
            change = row_address(grad, place, width)
            mean = _dot(change, row_address(edges.y, place, width), width, heads)
            store(edges.sums, place * heads, heads, mean)
            log = _by_head(edges.tops, place, heads)
            for part in range(begin, end, EDGES):
                stop = min(part + EDGES, end)
                for e in range(part, stop):
                    if e + AHEAD < edges.edges:
                        ahead = (base + load_i32(edges.others, e + AHEAD)) * groups + g
                        _fetch_row(row_address(edges.left, ahead, scored), scored)
                        _fetch_row(row_address(edges.values, ahead, width), width)
                    other = (base + load_i32(edges.others, e)) * groups + g
                    left = row_address(edges.left, other, scored)
                    a = exp(_score(left, own, vector, slopes, scored, heads) - log)
                    by_a = _dot(change, row_address(edges.values, other, width), width, heads)
                    if edges.masks:
                        edge = (member * edges.edges + e) * groups + g
                        by_a = by_a * _by_head(edges.masks, edge, heads)
                    store(scratch, (e - part) * LANES, LANES, a * (by_a - mean))
                for c in range(0, scored, LANES):
                    right, by_s, by_v = load(own, c, LANES), broadcast(_f(0.0)), broadcast(_f(0.0))
                    for e in range(part, stop):
                        other = (base + load_i32(edges.others, e)) * groups + g
                        s = load(row_address(edges.left, other, scored), c, LANES) + right
                        k = load(scratch, (e - part) * LANES, LANES) * slope_at(s, slope)
                        by_s = by_s + k
                        by_v = fma(k, s, by_v)
                    by_s = by_s * load(vector, c, LANES)
                    if part > begin:
                        by_s = by_s + load(out, c, LANES)
                    store(out, c, LANES, by_s)
                    at = g * scored + c
                    store(vector_grad, at, LANES, load(vector_grad, at, LANES) + by_v)


@compiled
def _backward_by_source(edges, grad, values_grad, left_grad, slope, first, last, scratch):
    """Write the gradients of the values and of left for the rows first … last."""
    groups, width, scored, heads = edges.groups, edges.width, edges.scored, edges.heads
    slopes, again = broadcast(slope), row_address(scratch, EDGES, LANES)
    for row in range(first, last):
        j = row % edges.nodes
        base, member = row - j, row // edges.nodes
        begin, end = load_i32(edges.back_starts, j), load_i32(edges.back_starts, j + 1)
        for g in range(groups):
            place, vector = row * groups + g, row_address(edges.vector, g, scored)
            own, out = row_address(edges.left, place, scored), row_address(left_grad, place, scored)
            values = row_address(edges.values, place, width)
            for part in range(begin, end, EDGES):
                stop = min(part + EDGES, end)
                for e in range(part, stop):
                    if e + AHEAD < edges.edges:
                        ahead = (base + load_i32(edges.back_others, e + AHEAD)) * groups + g
                        _fetch_row(row_address(edges.right, ahead, scored), scored)
                        _fetch_row(row_address(grad, ahead, width), width)
                        prefetch(row_address(edges.tops, ahead, heads))
                        prefetch(row_address(edges.sums, ahead, heads))
                    other = (base + load_i32(edges.back_others, e)) * groups + g
                    right, log = (
                        row_address(edges.right, other, scored),
                        _by_head(edges.tops, other, heads),
                    )
                    a = exp(_score(right, own, vector, slopes, scored, heads) - log)
                    by_a = _dot(values, row_address(grad, other, width), width, heads)
                    kept = a
                    if edges.masks:
                        edge = member * edges.edges + load_i32(edges.back_order, e)
                        mask = _by_head(edges.masks, edge * groups + g, heads)
                        kept, by_a = a * mask, by_a * mask
                    store(scratch, (e - part) * LANES, LANES, kept)
                    change = a * (by_a - _by_head(edges.sums, other, heads))
                    store(again, (e - part) * LANES, LANES, change)
                _gather(edges, grad, edges.back_others, base, g, part, stop, scratch,
                        row_address(values_grad, place, width), broadcast(_f(1.0)),
                        part > begin)  # fmt: skip
                for c in range(0, scored, LANES):
                    left, by_s = load(own, c, LANES), broadcast(_f(0.0))
                    for e in range(part, stop):
                        other = (base + load_i32(edges.back_others, e)) * groups + g
                        s = load(row_address(edges.right, other, scored), c, LANES) + left
                        by_s = fma(load(again, (e - part) * LANES, LANES), slope_at(s, slope), by_s)
                    by_s = by_s * load(vector, c, LANES)
                    if part > begin:
                        by_s = by_s + load(out, c, LANES)
                    store(out, c, LANES, by_s)


def forward(
    values: Tensor, left: Tensor, right: Tensor, vector: Tensor, hood: Any, masks: Tensor,
    slope: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return y and the logarithms of Σ exp(score) `[B, N, G, W]`; rows lie as `[G, P, W]`."""
    B, N, G, _, W = values.shape
    y, tops, sums = empty_f32(*values.shape), empty_f32(B, N, G, W), empty_f32(B, N, G, W)
    edges = _edges(hood, (values, left, right, vector, masks, y, tops, sums))

    def block(first: int) -> None:
        scratch = empty_f32(EDGES * LANES)
        _forward(edges, slope, first, min(first + ROWS, B * N), scratch.data_ptr())

    parallel_for(block, range(0, B * N, ROWS))
    return y, tops.add_(sums.log_())


def backward(
    grad: Tensor, values: Tensor, left: Tensor, right: Tensor, vector: Tensor, hood: Any,
    masks: Tensor, y: Tensor, logs: Tensor, slope: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Return the gradients of values, left, right and the vector."""
    rows = values.shape[0] * values.shape[1]
    values_grad, left_grad, right_grad = (empty_f32(*t.shape) for t in (values, left, right))
    parts, means = torch.zeros(-(-rows // ROWS), *vector.shape), empty_f32(*logs.shape)
    edges = _edges(hood, (values, left, right, vector, masks, y, logs, means))

    def by_target(first: int) -> None:
        scratch, part = empty_f32(EDGES * LANES), parts[first // ROWS]
        outs = grad.data_ptr(), right_grad.data_ptr(), part.data_ptr()
        last = min(first + ROWS, rows)
        _backward_by_target(edges, *outs, slope, first, last, scratch.data_ptr())

    def by_source(first: int) -> None:
        scratch = empty_f32(2 * EDGES * LANES)
        outs = grad.data_ptr(), values_grad.data_ptr(), left_grad.data_ptr()
        last = min(first + ROWS, rows)
        _backward_by_source(edges, *outs, slope, first, last, scratch.data_ptr())

    parallel_for(by_target, range(0, rows, ROWS))
    parallel_for(by_source, range(0, rows, ROWS))
    return values_grad, left_grad, right_grad, parts.sum(0)


def _edges(hood: Any, tensors: tuple[Tensor, ...]) -> Edges:
    _, N, G, P, W = tensors[0].shape
    scored = tensors[1].shape[3] * W
    lists = hood.starts, hood.sources, hood.back_starts, hood.back_targets, hood.back_order
    addresses = (t.data_ptr() for t in (*lists, *tensors))
    return Edges(N, len(hood.sources), G, W, P * W, scored, *addresses)
