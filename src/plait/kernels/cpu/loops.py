"""The loops over time, forward and backward: one for all cells and all linear operators.

A block of sequences runs through all its steps in one thread. With a graph, the N nodes of one
member of the batch are N rows, one below the other, and the basis of a filter lies side by side
in a row, the value itself first. What a cell computes between products are its phases (`emit`),
called by address; a table says where their streams lie.
"""

from typing import NamedTuple

from numba import float32 as _f
from numba import njit

from plait.kernels.cpu.basis import basis_at, expand_basis, expand_basis_backward
from plait.kernels.cpu.matmul import outer, product
from plait.kernels.cpu.parts import Parts, argument, next_part, room_of
from plait.kernels.cpu.simd import (
    LANES,
    broadcast,
    call,
    copy,
    load,
    load_i32,
    load_i64,
    row_address,
    store,
    store_i64,
)

PACKED, BLOCK, MEMBER, SHARED, SUMS, SINGLE, BEFORE = range(7)
"""Of a stream: [P, width]; room for a block's rows; [R, width]; the same for all rows; a row a
block; room for one row; the states before a step, which are found anew at each."""


class Loop(NamedTuple):
    """Sizes, and the addresses of tables of int64.

    The sequences are ordered by falling lengths, and only steps within them have rows: P in all,
    those of the first step, of the second, and so on; on a graph N a sequence. R are those of the
    first.
    """

    T: int
    H: int
    starts: int  # int32 [T + 1], how many sequences' steps come before those of each step
    basis: int  # [8], a Basis; backward the transposed one
    function: int  # the phases
    streams: int  # [streams, 3]: address, numbers of a row, kind
    stream_count: int
    phases: int  # [phases], the number to call each by, or −1: nothing to do
    phase_count: int
    products: int  # [products, 7]
    product_count: int
    states: int  # [states, 6]
    state_count: int
    sums: int  # backward: [sums, 2], a state and a slot whose rows are added to its gradient
    sum_count: int


class Product(NamedTuple):
    """A product with packed weights, forward or backward."""

    phase: int  # after which it runs
    source: int  # slot of the stream
    column: int  # of the source, where it begins
    target: int  # slot
    weights: int  # address, packed
    columns: int  # how many it gives; backward, how many it takes
    scratch: int  # backward with a basis: slot of the gradient of the terms


class State(NamedTuple):
    """Where a state begins and ends."""

    home: int  # slot that holds it, or backward its gradient
    start: int  # [R, H]: the start, or backward the gradient of the final state
    final: int  # [R, H]: the end, or backward the gradient of the start
    before: int  # backward: slot of the state before a step; −1: nobody asks
    origin: int  # backward: [R, H], the state before the first step
    history: int  # backward: [P, H], the states after every step


@njit
def loop_at(a):
    """Read a loop's table."""
    return Loop(
        load_i64(a, 0), load_i64(a, 1), load_i64(a, 2), load_i64(a, 3), load_i64(a, 4),
        load_i64(a, 5), load_i64(a, 6), load_i64(a, 7), load_i64(a, 8), load_i64(a, 9),
        load_i64(a, 10), load_i64(a, 11), load_i64(a, 12), load_i64(a, 13), load_i64(a, 14),
    )  # fmt: skip


@njit
def product_at(loop, k):
    """Read the table of a loop's k-th product."""
    a = loop.products + 56 * k
    return Product(
        load_i64(a, 0), load_i64(a, 1), load_i64(a, 2), load_i64(a, 3), load_i64(a, 4),
        load_i64(a, 5), load_i64(a, 6),
    )  # fmt: skip


@njit
def state_at(loop, k):
    """Read the table of a loop's k-th state."""
    a = loop.states + 48 * k
    return State(
        load_i64(a, 0), load_i64(a, 1), load_i64(a, 2), load_i64(a, 3), load_i64(a, 4),
        load_i64(a, 5),
    )  # fmt: skip


@njit
def place(loop, first, count, block, live):
    """Fill the table of a block's streams; its room lies behind the table."""
    room = live + (8 * (1 + 2 * loop.stream_count) + 63) // 64 * 64
    store_i64(live, 0, loop.H)
    for k in range(loop.stream_count):
        address, width = load_i64(loop.streams, 3 * k), load_i64(loop.streams, 3 * k + 1)
        kind = load_i64(loop.streams, 3 * k + 2)
        if kind == BLOCK or kind == SINGLE:  # noqa: SIM109
            address = room
            room += (4 * width * (count if kind == BLOCK else 1) + 63) // 64 * 64
        elif kind == MEMBER and address:
            address = row_address(address, first, width)
        elif kind == SUMS:
            address = row_address(address, block, width)
        store_i64(live, 1 + 2 * k, address)
        store_i64(live, 2 + 2 * k, width)


@njit
def address_of(live, slot):
    """Return the address of a block's stream."""
    return load_i64(live, 1 + 2 * slot)


@njit
def width_of(live, slot):
    """Return the numbers in a row of a block's stream."""
    return load_i64(live, 2 + 2 * slot)


@njit
def _running(loop, t, first, last):
    """Count the block's sequences that have a step t."""
    return min(last, load_i32(loop.starts, t + 1) - load_i32(loop.starts, t)) - first


@Parts
def forward(job):
    """Run the batch's members over time, so many a part."""
    address, size, count = argument(job, 0), argument(job, 1), argument(job, 2)
    live, k = room_of(job), next_part(job)
    while k >= 0:
        _forward(address, k * size, min(count, (k + 1) * size), k, live)
        k = next_part(job)


@njit
def _forward(address, first, last, block, live):
    """Run the batch's members first … last, by falling lengths, over time.

    `live` is room for a table and the streams of a block.
    """
    loop = loop_at(address)
    basis, H = basis_at(loop.basis), loop.H
    N, K = basis.nodes, basis.weighted * H
    count = (last - first) * N
    place(loop, first * N, count, block, live)
    for k in range(loop.state_count):
        state = state_at(loop, k)
        home, width = address_of(live, state.home), width_of(live, state.home)
        for s in range(count):
            copy(row_address(state.start, first * N + s, H), row_address(home, s, width), H)
    for t in range(loop.T):
        running = _running(loop, t, first, last) * N
        if running <= 0:
            break
        at = (load_i32(loop.starts, t) + first) * N
        for phase in range(loop.phase_count):
            which = load_i64(loop.phases, phase)
            if which >= 0:
                call(loop.function, which, live, at, running)
            for k in range(loop.product_count):
                p = product_at(loop, k)
                if p.phase == phase:
                    z, W = address_of(live, p.source), width_of(live, p.source)
                    expand_basis(basis, z, running, H)
                    product(z + 4 * (W - K), W, running, p.weights, K,
                            address_of(live, p.target), p.columns)  # fmt: skip
    for k in range(loop.state_count):
        state = state_at(loop, k)
        home, width = address_of(live, state.home), width_of(live, state.home)
        for s in range(count):
            copy(row_address(home, s, width), row_address(state.final, first * N + s, H), H)


@Parts
def phase(job):
    """Run one phase for the rows of a step, so many a part; they begin at a row `at`.

    All streams are arrays of their own; a thread's room is a table and what a row spills.
    """
    loop, which, at = loop_at(argument(job, 0)), argument(job, 1), argument(job, 2)
    size, rows = argument(job, 3), argument(job, 4)
    live, k = room_of(job), next_part(job)
    while k >= 0:
        first, count = k * size, min(size, rows - k * size)
        place(loop, first, count, k, live)
        call(loop.function, which, live, at + first, count)
        k = next_part(job)


@Parts
def backward(job):
    """Run the gradients of the batch's members back to the start, so many a part."""
    address, size, count = argument(job, 0), argument(job, 1), argument(job, 2)
    live, k = room_of(job), next_part(job)
    while k >= 0:
        _backward(address, k * size, min(count, (k + 1) * size), k, live)
        k = next_part(job)


@njit
def _backward(address, first, last, block, live):
    """Run the gradients of the batch's members first … last back to the start."""
    loop = loop_at(address)
    basis, H = basis_at(loop.basis), loop.H
    N = basis.nodes
    count = (last - first) * N
    place(loop, first * N, count, block, live)
    for k in range(loop.sum_count):
        _clear(address_of(live, load_i64(loop.sums, 2 * k + 1)), count * H)
    for k in range(loop.state_count):
        state = state_at(loop, k)
        home = address_of(live, state.home)
        copy(row_address(state.start, first * N, H), home, count * H)
    for t in range(loop.T - 1, -1, -1):
        running = _running(loop, t, first, last) * N
        if running <= 0:
            continue
        at = (load_i32(loop.starts, t) + first) * N
        _set_before(loop, t, first * N, N, live)
        for phase in range(loop.phase_count):
            which = load_i64(loop.phases, phase)
            if which >= 0:
                call(loop.function, which, live, at, running)
            for k in range(loop.product_count):
                p = product_at(loop, k)
                if p.phase == phase:
                    _product_back(basis, p, live, at, running, H)
    for k in range(loop.state_count):
        state = state_at(loop, k)
        _clear(row_address(state.final, first * N, H), count * H)
    for k in range(loop.sum_count):
        state = state_at(loop, load_i64(loop.sums, 2 * k))
        part = address_of(live, load_i64(loop.sums, 2 * k + 1))
        _add(row_address(state.final, first * N, H), part, count * H)


@njit
def _product_back(basis, p, live, at, running, H):
    """Bring the gradient of what a product gave back to its value."""
    stride = width_of(live, p.source)
    source = row_address(address_of(live, p.source), at, stride) + 4 * p.column
    target = address_of(live, p.target)
    if basis.width == 1:
        product(source, stride, running, p.weights, p.columns, target, H)
        return
    terms = address_of(live, p.scratch)
    product(source, stride, running, p.weights, p.columns, terms, basis.weighted * H)
    _clear(target, running * H)
    expand_basis_backward(basis, terms, running, target, H)


@njit
def _set_before(loop, t, row, N, live):
    """Find the states before step t, from a row of the step's on."""
    for k in range(loop.state_count):
        state = state_at(loop, k)
        if state.before >= 0:
            before = row_address(state.origin, row, loop.H)
            if t:
                at = load_i32(loop.starts, t - 1) * N + row
                before = row_address(state.history, at, loop.H)
            store_i64(live, 1 + 2 * state.before, before)


@Parts
def weights(job):
    """Compute the gradient of a product's weights, by parts of the steps and of its columns."""
    address, which, slot, source = (
        argument(job, 0),
        argument(job, 1),
        argument(job, 2),
        argument(job, 3),
    )
    column, T, steps, columns, each = (
        argument(job, 4),
        argument(job, 5),
        argument(job, 6),
        argument(job, 7),
        argument(job, 8),
    )
    most, grads, size = argument(job, 9), argument(job, 10), argument(job, 11)
    across = (columns + each - 1) // each
    live, k = room_of(job), next_part(job)
    while k >= 0:
        begin, left = k // across * steps, k % across * each
        _weights(address, which, slot, source, column, begin, min(begin + steps, T), left,
                 min(left + each, columns), most, row_address(grads, k // across, size),
                 live)  # fmt: skip
        k = next_part(job)


@njit
def _weights(address, which, slot, source, column, begin, end, left, right, most, grad, live):
    """Add to grad `[columns, terms · H]` what comes of the steps begin … end, columns left … right.

    Phase `which` computes a product's value again into the stream `slot`; the gradient of what the
    product gave is the stream `source` from a column on. So many members are taken at once; `live`
    is room for a table and the streams of a block, the last of which is a panel of as many rows.
    """
    loop = loop_at(address)
    basis, H = basis_at(loop.basis), loop.H
    N, W, K = basis.nodes, basis.width * H, basis.weighted * H
    place(loop, 0, most * N, 0, live)
    z = address_of(live, slot)
    panel, stride = address_of(live, loop.stream_count - 1), width_of(live, source)
    t, m = begin, 0
    while t < end:
        at, rows = (load_i32(loop.starts, t) + m) * N, 0
        while t < end and rows < most * N:
            running = load_i32(loop.starts, t + 1) - load_i32(loop.starts, t)
            take = min(most - rows // N, running - m)
            _set_before(loop, t, m * N, N, live)
            _set_members(loop, m * N, live)
            store_i64(live, 1 + 2 * slot, row_address(z, rows, W))
            call(loop.function, which, live, at + rows, take * N)
            rows, m = rows + take * N, m + take
            if m == running:
                t, m = t + 1, 0
        expand_basis(basis, z, rows, H)
        given = row_address(address_of(live, source), at, stride) + 4 * (column + left)
        outer(given, stride, right - left, z + 4 * (W - K), W, K, rows, row_address(grad, left, K),
              K, panel)  # fmt: skip


@njit
def _set_members(loop, row, live):
    """Let streams of the batch's members begin at a row."""
    for k in range(loop.stream_count):
        address, width = load_i64(loop.streams, 3 * k), load_i64(loop.streams, 3 * k + 1)
        if load_i64(loop.streams, 3 * k + 2) == MEMBER and address:
            store_i64(live, 1 + 2 * k, row_address(address, row, width))


@njit
def _clear(target, count):
    for j in range(0, count, LANES):
        store(target, j, count - j, broadcast(_f(0.0)))


@njit
def _add(target, part, count):
    for j in range(0, count, LANES):
        n = count - j
        store(target, j, n, load(target, j, n) + load(part, j, n))
