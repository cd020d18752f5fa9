"""The loops over time, forward and backward, compiled: one for all cells.

A block of sequences runs through all its steps in one thread. With a graph, the N nodes of one
member of the batch are N rows, one below the other, and the terms of a filter stand side by side
in a row, the state itself first.
"""

from numba import float32 as _f
from numba import njit

from plait.kernels.compiled import compiled
from plait.kernels.product import product
from plait.kernels.simd import LANES, copy, line, spread, store, whole
from plait.kernels.steps import Work, step, step_again, step_back, step_back_again
from plait.kernels.terms import fill, fold


@compiled
def forward(cell, run, terms, first, last, scratch):
    """Run the batch's members first … last, by falling lengths, over time.

    `scratch` is room for (2 width + gates heard + 4) · H numbers a row.
    """
    H, members, W = run.H, last - first, terms.width * run.H
    skip, K = 4 * (W - terms.heard * H), terms.heard * H
    count = members * terms.nodes
    rows = run.rows + 4 * first * terms.nodes
    second = run.first < run.gates
    h, c = scratch, line(scratch, count, W)
    heard = line(c, count, H)
    more = line(heard, count, run.first)
    reset = line(more, count if second else 0, H)
    work = Work(h, W, c, heard, reset, more)
    for s in range(count):
        copy(line(run.h, whole(rows, s), H), line(h, s, W), H)
        if run.c:
            copy(line(run.c, whole(rows, s), H), line(c, s, H), H)
    for t in range(run.T):
        while members and whole(run.ends, first + members - 1) <= t:
            members -= 1
        running = members * terms.nodes
        fill(terms, h, running, H)
        product(h + skip, W, running, run.weights, K, heard, run.first)
        step(cell, run, work, rows, running, t)
        if second:
            fill(terms, reset, running, H)
            product(reset + skip, W, running, run.more, K, more, run.gates - run.first)
            step_again(cell, run, work, rows, running, t)
        for s in range(running, count):  # past their ends
            row = t * run.R + whole(rows, s)
            _clear(line(run.y, row, H), H)
            if run.kept:
                _clear(line(run.keep, row, run.kept), H)
    for s in range(count):
        copy(line(h, s, W), line(run.h, whole(rows, s), H), H)
        if run.c:
            copy(line(c, s, H), line(run.c, whole(rows, s), H), H)


@compiled
def backward(cell, run, back, terms, first, last, block, scratch):
    """Run the gradients of the batch's members first … last back to the start.

    `terms` are the transposed ones, `scratch` is as in `forward`.
    """
    H, members, W = run.H, 0, terms.heard * run.H
    count = (last - first) * terms.nodes
    rows = run.rows + 4 * first * terms.nodes
    second = run.first < run.gates
    h, c = scratch, line(scratch, count, H)
    heard = line(c, count, H)
    dz = line(heard, count, run.first)
    reset = line(dz, count, W)
    more = line(reset, count if second else 0, H)
    work = Work(h, H, c, heard, reset, more)
    for s in range(count):
        copy(line(back.h, whole(rows, s), H), line(h, s, H), H)
        if run.c:
            copy(line(back.c, whole(rows, s), H), line(c, s, H), H)
    for t in range(run.T - 1, -1, -1):
        while members < last - first and whole(run.ends, first + members) > t:
            members += 1
        running = members * terms.nodes
        step_back(cell, run, back, work, rows, running, t, block)
        if second:
            product(more, run.gates - run.first, running, back.more, run.gates - run.first, dz, W)
            fold(terms, dz, running, reset, H)
            step_back_again(cell, run, back, work, rows, running, t)
        product(heard, run.first, running, back.weights, run.first, dz, W)
        fold(terms, dz, running, h, H)
        for s in range(running, count):
            _clear(line(back.x, t * run.R + whole(rows, s), run.gates), run.gates)
    for s in range(count):
        copy(line(h, s, H), line(back.h, whole(rows, s), H), H)
        if run.c:
            copy(line(c, s, H), line(back.c, whole(rows, s), H), H)


@njit
def _clear(target, count):
    for j in range(0, count, LANES):
        store(target, j, count - j, spread(_f(0.0)))
