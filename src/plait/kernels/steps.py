"""One step of every built-in cell and of its gradient, compiled: all gates in one pass.

The algebra is that of `nn/cells.py`. What is heard, a matrix product, is computed between the
passes by `loops`; a GRU with reset before hears twice in a step, so it has two passes. In a step
back, the gradient of a gate is that of what goes into its σ or tanh.
"""

from typing import NamedTuple

from numba import float32 as _f
from numba import njit
from numba.extending import overload

from plait.kernels.simd import (
    LANES,
    fma,
    line,
    load,
    sigmoid,
    spread,
    store,
    tanh,
    where_positive,
)


class RNN(NamedTuple):
    """Nothing is kept but the outputs."""

    option: int  # 1: max(0, ·)


class LSTM(NamedTuple):
    """Gates i, f, g, o, all kept, and the cell states."""

    option: int  # 1: peepholes


class GRUAfter(NamedTuple):
    """Gates r, z, n, all kept, and what n hears."""

    option: int


class GRUBefore(NamedTuple):
    """Gates r, z, n, all kept; r and z are heard first, then n."""

    option: int


class Run(NamedTuple):
    """Sizes, and the addresses of what a recurrence reads and writes.

    The sequences stand by falling lengths, and only steps within them have rows: P in all, those
    of the first step, of the second, and so on; on a graph N a sequence. R are those of the first.
    """

    T: int
    H: int
    gates: int  # G·H
    first: int  # those of them that are heard first: all, but for a GRU with reset before
    x: int  # [P, G·H], the input side
    bias: int  # [G·H]
    weights: int  # recurrent ones, packed
    more: int  # those of what is heard second
    extra: int  # [3, H], peepholes; [H], the bias of what a GRU's n hears, with reset after
    starts: int  # int32 [T + 1], how many sequences' steps come before those of each step
    h: int  # [R, H], the start, and after it the end
    c: int  # [R, H]; 0 for cells without it
    y: int  # [P, H]
    kept: int  # numbers of a row and step that are kept for the gradient; 0: none will be asked
    keep: int  # [P, kept]
    cells: int  # [P, H]
    masks: int  # [R, H], what is heard of every channel; 0: all of it


class Back(NamedTuple):
    """What its gradient reads and writes beside it."""

    y: int  # [P, H], of the outputs
    h: int  # [R, H], of the final state, and after it of the start
    c: int  # [R, H]
    x: int  # [P, G·H], of the input side
    vectors: int  # [blocks, 3, H], of the peepholes, for each block
    h_start: int  # [R, H], the state itself
    c_start: int  # [R, H]
    weights: int  # packed the other way
    more: int


class Work(NamedTuple):
    """A block's rows as it runs, forward or, the gradients, backward."""

    h: int  # [rows, width], the state; forward its terms stand behind it, where nothing is dropped
    width: int
    terms: int  # numbers of a row with its terms
    c: int  # [rows, H]
    heard: int  # [rows, first], what the gates hear
    reset: int  # forward [rows, terms], what is heard second; backward [rows, H]
    more: int  # [rows, H], what is heard of it


def step(cell, run, work, at, count):
    """Go one step with `count` rows, from row `at` on, when they have heard."""
    raise NotImplementedError


def step_again(cell, run, work, at, count):
    """Go on with it when they have heard for the second time."""
    raise NotImplementedError


def step_back(cell, run, back, work, at, h_before, c_before, count, block):
    """Give the gradient of what was heard last, from those of the states and outputs.

    The states before the step are those at `h_before` and `c_before`.
    """
    raise NotImplementedError


def step_back_again(cell, run, back, work, at, h_before, count):
    """Give the gradient of what was heard first, from that of what was heard second."""
    raise NotImplementedError


@overload(step)
def _step(cell, run, work, at, count):
    return {RNN: _rnn, LSTM: _lstm, GRUAfter: _gru_after, GRUBefore: _gru_before}[
        cell.instance_class
    ]


@overload(step_again)
def _step_again(cell, run, work, at, count):
    return _gru_before_again if cell.instance_class is GRUBefore else _nothing


@overload(step_back)
def _step_back(cell, run, back, work, at, h_before, c_before, count, block):
    return {
        RNN: _rnn_back, LSTM: _lstm_back, GRUAfter: _gru_after_back, GRUBefore: _gru_before_back,
    }[cell.instance_class]  # fmt: skip


@overload(step_back_again)
def _step_back_again(cell, run, back, work, at, h_before, count):
    return _gru_before_back_again if cell.instance_class is GRUBefore else _nothing_back


def _nothing(cell, run, work, at, count):
    pass


def _nothing_back(cell, run, back, work, at, h_before, count):
    pass


@njit(inline="always")
def _gate(x, bias, heard, j, n):
    return load(x, j, n) + load(bias, j, n) + load(heard, j, n)


def _rnn(cell, run, work, at, count):
    H = run.H
    for s in range(count):
        row = at + s
        x, y, heard = line(run.x, row, H), line(run.y, row, H), line(work.heard, s, H)
        state = line(work.h, s, work.width)
        for j in range(0, H, LANES):
            n = H - j
            a = _gate(x, run.bias, heard, j, n)
            h = where_positive(a, a) if cell.option else tanh(a)
            store(state, j, n, h)
            store(y, j, n, h)


def _rnn_back(cell, run, back, work, at, h_before, c_before, count, block):
    H, one, zero = run.H, spread(_f(1.0)), spread(_f(0.0))
    for s in range(count):
        row = at + s
        x, y, dy = line(back.x, row, H), line(run.y, row, H), line(back.y, row, H)
        heard, state = line(work.heard, s, H), line(work.h, s, H)
        for j in range(0, H, LANES):
            n = H - j
            h, dh = load(y, j, n), load(state, j, n) + load(dy, j, n)
            da = where_positive(h, dh) if cell.option else dh * (one - h * h)
            store(x, j, n, da)
            store(heard, j, n, da)
            store(state, j, n, zero)


def _lstm(cell, run, work, at, count):
    H = run.H
    for s in range(count):
        row = at + s
        x, y, heard = line(run.x, row, 4 * H), line(run.y, row, H), line(work.heard, s, 4 * H)
        state, cells = line(work.h, s, work.width), line(work.c, s, H)
        keep, keep_c = line(run.keep, row, 4 * H), line(run.cells, row, H)
        for j in range(0, H, LANES):
            n, to_f, to_g, to_o = H - j, H + j, 2 * H + j, 3 * H + j
            c = load(cells, j, n)
            i, f = _gate(x, run.bias, heard, j, n), _gate(x, run.bias, heard, to_f, n)
            g, o = _gate(x, run.bias, heard, to_g, n), _gate(x, run.bias, heard, to_o, n)
            if cell.option:
                i = fma(load(run.extra, j, n), c, i)
                f = fma(load(run.extra, to_f, n), c, f)
            i, f, g = sigmoid(i), sigmoid(f), tanh(g)
            c = fma(f, c, i * g)
            if cell.option:
                o = fma(load(run.extra, to_g, n), c, o)
            o = sigmoid(o)
            h = o * tanh(c)
            store(cells, j, n, c)
            store(state, j, n, h)
            store(y, j, n, h)
            if run.kept:
                store(keep, j, n, i)
                store(keep, to_f, n, f)
                store(keep, to_g, n, g)
                store(keep, to_o, n, o)
                store(keep_c, j, n, c)


def _lstm_back(cell, run, back, work, at, h_before, c_before, count, block):
    H, one, zero = run.H, spread(_f(1.0)), spread(_f(0.0))
    sums = line(back.vectors, 3 * block, H)
    for s in range(count):
        row = at + s
        x, dy, heard = line(back.x, row, 4 * H), line(back.y, row, H), line(work.heard, s, 4 * H)
        state, cells = line(work.h, s, H), line(work.c, s, H)
        keep, keep_c = line(run.keep, row, 4 * H), line(run.cells, row, H)
        start = line(c_before, s, H)
        for j in range(0, H, LANES):
            n, to_f, to_g, to_o = H - j, H + j, 2 * H + j, 3 * H + j
            i, f, g, o = (
                load(keep, j, n),
                load(keep, to_f, n),
                load(keep, to_g, n),
                load(keep, to_o, n),
            )
            c, before = load(keep_c, j, n), load(start, j, n)
            seen = tanh(c)
            dh = load(state, j, n) + load(dy, j, n)
            do = dh * seen * o * (one - o)
            dc = fma(dh * o, one - seen * seen, load(cells, j, n))
            if cell.option:
                dc = fma(do, load(run.extra, to_g, n), dc)
            di = dc * g * i * (one - i)
            df = dc * before * f * (one - f)
            dg = dc * i * (one - g * g)
            dc = dc * f
            if cell.option:
                dc = fma(di, load(run.extra, j, n), dc)
                dc = fma(df, load(run.extra, to_f, n), dc)
                store(sums, j, n, fma(di, before, load(sums, j, n)))
                store(sums, to_f, n, fma(df, before, load(sums, to_f, n)))
                store(sums, to_g, n, fma(do, c, load(sums, to_g, n)))
            store(cells, j, n, dc)
            store(state, j, n, zero)
            store(x, j, n, di)
            store(x, to_f, n, df)
            store(x, to_g, n, dg)
            store(x, to_o, n, do)
            store(heard, j, n, di)
            store(heard, to_f, n, df)
            store(heard, to_g, n, dg)
            store(heard, to_o, n, do)


def _gru_after(cell, run, work, at, count):
    H, one = run.H, spread(_f(1.0))
    for s in range(count):
        row = at + s
        x, y, heard = line(run.x, row, 3 * H), line(run.y, row, H), line(work.heard, s, 3 * H)
        state, keep = line(work.h, s, work.width), line(run.keep, row, 4 * H)
        for j in range(0, H, LANES):
            n, to_z, to_n = H - j, H + j, 2 * H + j
            r = sigmoid(_gate(x, run.bias, heard, j, n))
            z = sigmoid(_gate(x, run.bias, heard, to_z, n))
            u = load(heard, to_n, n) + load(run.extra, j, n)
            new = tanh(fma(r, u, load(x, to_n, n) + load(run.bias, to_n, n)))
            h = fma(z, load(state, j, n), (one - z) * new)
            store(state, j, n, h)
            store(y, j, n, h)
            if run.kept:
                store(keep, j, n, r)
                store(keep, to_z, n, z)
                store(keep, to_n, n, new)
                store(keep, 3 * H + j, n, u)


def _gru_after_back(cell, run, back, work, at, h_before, c_before, count, block):
    H, one = run.H, spread(_f(1.0))
    for s in range(count):
        row = at + s
        x, dy, heard = line(back.x, row, 3 * H), line(back.y, row, H), line(work.heard, s, 3 * H)
        state, keep = line(work.h, s, H), line(run.keep, row, 4 * H)
        start = line(h_before, s, H)
        for j in range(0, H, LANES):
            n, to_z, to_n = H - j, H + j, 2 * H + j
            r, z, new = load(keep, j, n), load(keep, to_z, n), load(keep, to_n, n)
            dh = load(state, j, n) + load(dy, j, n)
            dn = dh * (one - z) * (one - new * new)
            dz = dh * (load(start, j, n) - new) * z * (one - z)
            dr = dn * load(keep, 3 * H + j, n) * r * (one - r)
            store(x, j, n, dr)
            store(x, to_z, n, dz)
            store(x, to_n, n, dn)
            store(heard, j, n, dr)
            store(heard, to_z, n, dz)
            store(heard, to_n, n, dn * r)
            store(state, j, n, dh * z)


def _gru_before(cell, run, work, at, count):
    H = run.H
    for s in range(count):
        row = at + s
        x, heard = line(run.x, row, 3 * H), line(work.heard, s, 2 * H)
        state, reset = line(work.h, s, work.width), line(work.reset, s, work.terms)
        keep = line(run.keep, row, 3 * H)
        for j in range(0, H, LANES):
            n, to_z = H - j, H + j
            r = sigmoid(_gate(x, run.bias, heard, j, n))
            z = sigmoid(_gate(x, run.bias, heard, to_z, n))
            store(heard, to_z, n, z)
            store(reset, j, n, r * load(state, j, n))
            if run.kept:
                store(keep, j, n, r)
                store(keep, to_z, n, z)


def _gru_before_again(cell, run, work, at, count):
    H, one = run.H, spread(_f(1.0))
    for s in range(count):
        row = at + s
        x, y, heard = line(run.x, row, 3 * H), line(run.y, row, H), line(work.heard, s, 2 * H)
        state, more = line(work.h, s, work.width), line(work.more, s, H)
        keep = line(run.keep, row, 3 * H)
        for j in range(0, H, LANES):
            n, to_n, z = H - j, 2 * H + j, load(heard, H + j, H - j)
            new = tanh(load(x, to_n, n) + load(run.bias, to_n, n) + load(more, j, n))
            h = fma(z, load(state, j, n), (one - z) * new)
            store(state, j, n, h)
            store(y, j, n, h)
            if run.kept:
                store(keep, to_n, n, new)


def _gru_before_back(cell, run, back, work, at, h_before, c_before, count, block):
    H, one, zero = run.H, spread(_f(1.0)), spread(_f(0.0))
    for s in range(count):
        row = at + s
        x, dy, heard = line(back.x, row, 3 * H), line(back.y, row, H), line(work.heard, s, 2 * H)
        state, more, reset = line(work.h, s, H), line(work.more, s, H), line(work.reset, s, H)
        keep = line(run.keep, row, 3 * H)
        start = line(h_before, s, H)
        for j in range(0, H, LANES):
            n, to_z, to_n = H - j, H + j, 2 * H + j
            z, new = load(keep, to_z, n), load(keep, to_n, n)
            dh = load(state, j, n) + load(dy, j, n)
            dn = dh * (one - z) * (one - new * new)
            dz = dh * (load(start, j, n) - new) * z * (one - z)
            store(x, to_z, n, dz)
            store(x, to_n, n, dn)
            store(heard, to_z, n, dz)
            store(more, j, n, dn)
            store(reset, j, n, zero)
            store(state, j, n, dh * z)


def _gru_before_back_again(cell, run, back, work, at, h_before, count):
    H, one = run.H, spread(_f(1.0))
    for s in range(count):
        row = at + s
        x, heard, keep = (
            line(back.x, row, 3 * H),
            line(work.heard, s, 2 * H),
            line(run.keep, row, 3 * H),
        )
        state, reset = line(work.h, s, H), line(work.reset, s, H)
        start = line(h_before, s, H)
        for j in range(0, H, LANES):
            n, r, d_reset = H - j, load(keep, j, H - j), load(reset, j, H - j)
            dr = d_reset * load(start, j, n) * r * (one - r)
            store(x, j, n, dr)
            store(heard, j, n, dr)
            store(state, j, n, fma(d_reset, r, load(state, j, n)))
