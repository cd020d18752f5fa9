"""The loops over time, forward and backward, compiled: one for all cells.

A block of sequences runs through all its steps in one thread. With a graph, the N nodes of one
member of the batch are N rows, one below the other, and the terms of a filter stand side by side
in a row, the state itself first.
"""

from typing import NamedTuple

from numba import float32 as _f
from numba import njit

from plait.kernels.compiled import compiled
from plait.kernels.product import outer, product
from plait.kernels.simd import LANES, copy, fma, line, load, spread, store, whole
from plait.kernels.steps import Work, step, step_again, step_back, step_back_again
from plait.kernels.terms import fill, fold


@njit
def _running(run, t, first, last):
    """Count the block's sequences that have a step t."""
    return min(last, whole(run.starts, t + 1) - whole(run.starts, t)) - first


@compiled
def forward(cell, run, terms, first, last, scratch):
    """Run the batch's members first … last, by falling lengths, over time.

    `scratch` is room for (2 width + gates heard + 5) · H numbers a row.
    """
    H, W, N = run.H, terms.width * run.H, terms.nodes
    skip, K = 4 * (W - terms.heard * H), terms.heard * H
    count = (last - first) * N
    second = run.first < run.gates
    h, c = scratch, line(scratch, count, W)
    heard = line(c, count, H)
    more = line(heard, count, run.first)
    reset = line(more, count if second else 0, H)
    state, width, masks = h, W, line(run.masks, first * N, H)
    if run.masks:  # what is heard of the state is not the state
        state, width = line(reset, count if second else 0, W), H
    work = Work(state, width, W, c, heard, reset, more)
    for s in range(count):
        copy(line(run.h, first * N + s, H), line(state, s, width), H)
        if run.c:
            copy(line(run.c, first * N + s, H), line(c, s, H), H)
    for t in range(run.T):
        running = _running(run, t, first, last) * N
        if running <= 0:
            break
        at = (whole(run.starts, t) + first) * N
        if run.masks:
            _by(state, H, masks, H, h, W, running, H)
        fill(terms, h, running, H)
        product(h + skip, W, running, run.weights, K, heard, run.first)
        step(cell, run, work, at, running)
        if second:
            if run.masks:
                _by(reset, W, masks, H, reset, W, running, H)
            fill(terms, reset, running, H)
            product(reset + skip, W, running, run.more, K, more, run.gates - run.first)
            step_again(cell, run, work, at, running)
    for s in range(count):
        copy(line(state, s, width), line(run.h, first * N + s, H), H)
        if run.c:
            copy(line(c, s, H), line(run.c, first * N + s, H), H)


@compiled
def backward(cell, run, back, terms, first, last, block, scratch):
    """Run the gradients of the batch's members first … last back to the start.

    `terms` are the transposed ones, `scratch` is as in `forward`.
    """
    H, W, N = run.H, terms.heard * run.H, terms.nodes
    count = (last - first) * N
    second = run.first < run.gates
    h, c = scratch, line(scratch, count, H)
    heard = line(c, count, H)
    dz = line(heard, count, run.first)
    reset = line(dz, count, W)
    more = line(reset, count if second else 0, H)
    dropped, masks = line(more, count if second else 0, H), line(run.masks, first * N, H)
    work = Work(h, H, H, c, heard, reset, more)
    for s in range(count):
        copy(line(back.h, first * N + s, H), line(h, s, H), H)
        if run.c:
            copy(line(back.c, first * N + s, H), line(c, s, H), H)
    for t in range(run.T - 1, -1, -1):
        running = _running(run, t, first, last) * N
        if running <= 0:
            continue
        at = (whole(run.starts, t) + first) * N
        h_before, c_before = line(back.h_start, first * N, H), line(back.c_start, first * N, H)
        if t:
            before = (whole(run.starts, t - 1) + first) * N
            h_before, c_before = line(run.y, before, H), line(run.cells, before, H)
        step_back(cell, run, back, work, at, h_before, c_before, running, block)
        if second:
            product(more, run.gates - run.first, running, back.more, run.gates - run.first, dz, W)
            fold(terms, dz, running, reset, H)
            if run.masks:
                _by(reset, H, masks, H, reset, H, running, H)
            step_back_again(cell, run, back, work, at, h_before, running)
        product(heard, run.first, running, back.weights, run.first, dz, W)
        if run.masks:
            _clear(dropped, running * H)
            fold(terms, dz, running, dropped, H)
            _add_masked(dropped, masks, h, running * H)
        else:
            fold(terms, dz, running, h, H)
    for s in range(count):
        copy(line(h, s, H), line(back.h, first * N + s, H), H)
        if run.c:
            copy(line(c, s, H), line(back.c, first * N + s, H), H)


class Sums(NamedTuple):
    """What the weights' gradient is summed from: sizes and addresses."""

    H: int
    starts: int  # as in `Run`
    y: int  # [P, H], the states after every step
    start: int  # [R, H], those before the first
    heard: int  # [P, stride], the gradient of what the first gates heard
    stride: int
    first: int  # their width
    more: int  # [P, more_stride], of what the other gates heard
    more_stride: int
    more_width: int
    reset: int  # [P, reset_stride], what the states are multiplied by for those; 0: the same
    reset_stride: int
    masks: int  # [R, H], as in `Run`


@compiled
def weights(sums, terms, begin, end, left, right, most, grad, scratch):
    """Add to grad `[terms · H, gates]` what comes of the steps begin … end, columns left … right.

    So many members are taken at once; `scratch` is room for their states' terms, and a
    panel of as many rows.
    """
    H, N, W = sums.H, terms.nodes, terms.width * sums.H
    K, z = terms.heard * H, scratch + 4 * (W - terms.heard * H)
    gates, panel = sums.first + sums.more_width, line(scratch, most * N, W)
    near, far = min(left, sums.first), min(right, sums.first)
    near_more, far_more = max(left - sums.first, 0), max(right - sums.first, 0)
    t, m = begin, 0
    while t < end:
        at, rows = (whole(sums.starts, t) + m) * N, 0
        while t < end and rows < most * N:
            running = whole(sums.starts, t + 1) - whole(sums.starts, t)
            take = min(most - rows // N, running - m)
            before = line(sums.start, m * N, H)
            if t:
                before = line(sums.y, (whole(sums.starts, t - 1) + m) * N, H)
            if sums.masks:
                masks = line(sums.masks, m * N, H)
                _by(before, H, masks, H, line(scratch, rows, W), W, take * N, H)
            else:
                for s in range(take * N):
                    copy(line(before, s, H), line(scratch, rows + s, W), H)
            rows, m = rows + take * N, m + take
            if m == running:
                t, m = t + 1, 0
        fill(terms, scratch, rows, H)
        heard = line(sums.heard, at, sums.stride) + 4 * near
        outer(z, W, K, heard, sums.stride, far - near, rows, grad + 4 * near, gates,
              panel)  # fmt: skip
        if far_more > near_more:
            if sums.reset:
                reset = line(sums.reset, at, sums.reset_stride)
                _by(scratch, W, reset, sums.reset_stride, scratch, W, rows, H)
                fill(terms, scratch, rows, H)
            more = line(sums.more, at, sums.more_stride) + 4 * near_more
            out = grad + 4 * (sums.first + near_more)
            outer(z, W, K, more, sums.more_stride, far_more - near_more, rows, out, gates,
                  panel)  # fmt: skip


@njit
def _by(x, x_stride, factors, stride, y, y_stride, rows, H):
    """Write the rows of x times those of the factors to y."""
    for s in range(rows):
        for j in range(0, H, LANES):
            n = H - j
            product = load(x, s * x_stride + j, n) * load(factors, s * stride + j, n)
            store(y, s * y_stride + j, n, product)


@njit
def _add_masked(x, masks, y, count):
    for j in range(0, count, LANES):
        n = count - j
        store(y, j, n, fma(load(x, j, n), load(masks, j, n), load(y, j, n)))


@njit
def _clear(target, count):
    for j in range(0, count, LANES):
        store(target, j, count - j, spread(_f(0.0)))
