"""The terms of a filter, row by row: x, then T_1(S) x, T_2(S) x, … side by side, and back.

A node's features are contiguous and a member of the batch is its nodes one below the other, so a
sparse product reads and writes whole vectors, within a cache's reach.
"""

from typing import NamedTuple

from numba import float32 as _f
from numba import njit

from plait.kernels.cpu.parts import Parts, argument, next_part
from plait.kernels.cpu.simd import (
    LANES,
    broadcast,
    fma,
    load,
    load_f32,
    load_i32,
    load_i64,
    row_address,
    store,
)


class Basis(NamedTuple):
    """Shifts and how often each is applied; the last four are addresses."""

    nodes: int  # N; 1 without a graph
    width: int  # blocks of a row: the state, and the terms of every shift
    weighted: int  # those that have weights: all, or all but the state
    shifts: int
    offsets: int  # int32 [shifts, N + 1], where each node's edges begin
    columns: int  # int32 [edges of all shifts]
    values: int  # float32 [edges of all shifts]
    dense: int  # float32 [shifts, N, N] where that is faster than by the edges, else 0


@njit
def expand_basis(terms, z, rows, F):
    """From the first block of z [rows, width · F] compute the others."""
    W = terms.width * F
    for base in range(0, rows if terms.shifts else 0, terms.nodes):
        x = row_address(z, base, W)
        for k in range(terms.shifts):
            order = (terms.width - 1) // terms.shifts
            before, last, new = x, x, x + 4 * F * (1 + k * order)
            for m in range(order):
                if m == 0:
                    _shift(terms, k, x, W, new, W, 0, F, _f(1.0), _f(0.0))
                else:
                    _shift(terms, k, last, W, new, W, before, F, _f(2.0), _f(-1.0))
                before, last, new = last, new, new + 4 * F


@njit
def expand_basis_backward(terms, dz, rows, dx, F):
    """Add to dx [rows, F] what reaches it from the gradient dz [rows, weighted · F] of the terms.

    `terms` are the transposed ones; dz is used up.
    """
    W, skip = terms.weighted * F, terms.width - terms.weighted
    if not skip:
        _add(dx, F, dz, W, rows, F, _f(1.0))
    for base in range(0, rows if terms.shifts else 0, terms.nodes):
        x = row_address(dx, base, F)
        for k in range(terms.shifts):
            order = (terms.width - 1) // terms.shifts
            first = row_address(dz, base, W) + 4 * F * (1 - skip + k * order)
            for m in range(order - 1, 0, -1):  # d_{m+1} goes to d_m and d_{m−1}
                this = first + 4 * F * m
                _shift(terms, k, this, W, this - 4 * F, W, this - 4 * F, F, _f(2.0), _f(1.0))
                if m > 1:
                    _add(this - 8 * F, W, this, W, terms.nodes, F, _f(-1.0))
                else:
                    _add(x, F, this, W, terms.nodes, F, _f(-1.0))
            _shift(terms, k, first, W, x, F, x, F, _f(1.0), _f(1.0))


@njit
def _shift(terms, k, x, x_width, y, y_width, plus, F, times, sign):
    """Write times · S_k x + sign · plus to y, for the nodes of one member; no plus: 0."""
    if terms.dense:
        _shift_dense(terms, k, x, x_width, y, y_width, plus, F, times, sign)
        return
    for i in range(terms.nodes):
        row, out, by = k * (terms.nodes + 1) + i, y + 4 * i * y_width, plus
        first, last = load_i32(terms.offsets, row), load_i32(terms.offsets, row + 1)
        if plus:
            by = plus + 4 * i * y_width
        for j in range(0, F, 4 * LANES):
            n = F - j
            if n > LANES:  # an edge's number and value are read once for four vectors
                a, b, c, d = (
                    broadcast(_f(0.0)),
                    broadcast(_f(0.0)),
                    broadcast(_f(0.0)),
                    broadcast(_f(0.0)),
                )
                for e in range(first, last):
                    row = row_address(x, load_i32(terms.columns, e), x_width) + 4 * j
                    value = broadcast(load_f32(terms.values, e))
                    a = fma(value, load(row, 0, n), a)
                    b = fma(value, load(row, LANES, n - LANES), b)
                    c = fma(value, load(row, 2 * LANES, n - 2 * LANES), c)
                    d = fma(value, load(row, 3 * LANES, n - 3 * LANES), d)
                _put(out, by, j, n, a, times, sign)
                _put(out, by, j + LANES, n - LANES, b, times, sign)
                _put(out, by, j + 2 * LANES, n - 2 * LANES, c, times, sign)
                _put(out, by, j + 3 * LANES, n - 3 * LANES, d, times, sign)
            else:
                a = broadcast(_f(0.0))
                for e in range(first, last):
                    row = load(x, load_i32(terms.columns, e) * x_width + j, n)
                    a = fma(broadcast(load_f32(terms.values, e)), row, a)
                _put(out, by, j, n, a, times, sign)


@njit
def _shift_dense(terms, k, x, x_width, y, y_width, plus, F, times, sign):
    """Do so by the whole matrix: a row is read once for four nodes."""
    N = terms.nodes
    for i in range(0, N, 4):
        left = N - i
        a = row_address(terms.dense, k * N + i, N)
        b = row_address(a, 1 if left > 1 else 0, N)
        c = row_address(a, 2 if left > 2 else 0, N)
        d = row_address(a, 3 if left > 3 else 0, N)
        for j in range(0, F, 2 * LANES):
            n = F - j
            a0, a1, b0, b1 = (
                broadcast(_f(0.0)),
                broadcast(_f(0.0)),
                broadcast(_f(0.0)),
                broadcast(_f(0.0)),
            )
            c0, c1, d0, d1 = (
                broadcast(_f(0.0)),
                broadcast(_f(0.0)),
                broadcast(_f(0.0)),
                broadcast(_f(0.0)),
            )
            for e in range(N):
                row = row_address(x, e, x_width) + 4 * j
                h0, h1 = load(row, 0, n), load(row, LANES, n - LANES)
                value = broadcast(load_f32(a, e))
                a0, a1 = fma(value, h0, a0), fma(value, h1, a1)
                value = broadcast(load_f32(b, e))
                b0, b1 = fma(value, h0, b0), fma(value, h1, b1)
                value = broadcast(load_f32(c, e))
                c0, c1 = fma(value, h0, c0), fma(value, h1, c1)
                value = broadcast(load_f32(d, e))
                d0, d1 = fma(value, h0, d0), fma(value, h1, d1)
            for m in range(min(left, 4)):
                out, by = y + 4 * (i + m) * y_width, plus
                if plus:
                    by = plus + 4 * (i + m) * y_width
                low = a0 if m == 0 else b0 if m == 1 else c0 if m == 2 else d0
                high = a1 if m == 0 else b1 if m == 1 else c1 if m == 2 else d1
                _put(out, by, j, n, low, times, sign)
                _put(out, by, j + LANES, n - LANES, high, times, sign)


@njit(inline="always")
def _put(out, plus, j, n, total, times, sign):
    total = total * broadcast(times)
    if plus:
        total = fma(broadcast(sign), load(plus, j, n), total)
    store(out, j, n, total)


@njit
def _add(x, x_width, y, y_width, rows, F, times):
    """Add times · y to x."""
    for i in range(rows):
        for j in range(0, F, LANES):
            n, at = F - j, i * x_width + j
            total = fma(broadcast(times), load(y, i * y_width + j, n), load(x, at, n))
            store(x, at, n, total)


@njit
def basis_at(a):
    """Read a basis's table."""
    return Basis(
        load_i64(a, 0), load_i64(a, 1), load_i64(a, 2), load_i64(a, 3), load_i64(a, 4),
        load_i64(a, 5), load_i64(a, 6), load_i64(a, 7),
    )  # fmt: skip


@Parts
def expand_basis_of(job):
    """Fill the members of z [members · nodes, width · F], a part each."""
    terms, z, F = basis_at(argument(job, 0)), argument(job, 1), argument(job, 2)
    k = next_part(job)
    while k >= 0:
        expand_basis(terms, row_address(z, k * terms.nodes, terms.width * F), terms.nodes, F)
        k = next_part(job)


@Parts
def expand_basis_backward_of(job):
    """Sum the members of dz [members · nodes, weighted · F] into x, F wide, a part each."""
    terms, dz, x, F = (
        basis_at(argument(job, 0)), argument(job, 1), argument(job, 2), argument(job, 3),
    )  # fmt: skip
    k = next_part(job)
    while k >= 0:
        row = k * terms.nodes
        expand_basis_backward(terms, row_address(dz, row, terms.weighted * F), terms.nodes,
                              row_address(x, row, F), F)  # fmt: skip
        k = next_part(job)
