"""Matrix products of a few rows with weights that were packed once, in one thread.

A recurrence multiplies the same weights at every step. BLAS packs them anew each time and wakes
its threads; here they lie ready, and a tile of the result stays in registers. Every number of the
answer is summed in the same order whatever other rows there are, so it depends on neither the
batch nor the threads.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from llvmlite import ir
from numba import njit, types
from numba.extending import overload
from torch import Tensor, get_num_threads

from plait.kernels.cpu import simd
from plait.kernels.cpu.jit import empty_f32, plain
from plait.kernels.cpu.parts import Parts, argument, next_part, room_of
from plait.kernels.cpu.rounding import PANEL
from plait.kernels.cpu.simd import LANES, ROWS, WIDTH, intrinsic, load, row_address, store

ROWS_AT_ONCE = 256
"""Of a large product, what stays in the cache while all panels pass."""

GRADIENT_ROWS = 128
"""Rows of a weights' gradient that are summed at a time: a panel of them stays in the cache."""

COLUMNS = 64
"""Of a weights' gradient that one thread takes at a time, at most."""

PARALLEL_THRESHOLD = 2**20
"""Multiplications from which a thread's help with it is worth waking it, as measured."""


class Float32(NamedTuple):
    """How packed weights lie, for the compiler: as they are."""

    bits: int = 32


class BFloat16(NamedTuple):
    """The upper halves."""

    bits: int = 16


class Int8(NamedTuple):
    """Whole numbers behind the steps of their columns."""

    bits: int = 8


LAYOUTS = {"float32": Float32(), "bfloat16": BFloat16(), "int8": Int8()}


def product_as(layout, a, stride, rows, packed, K, out, columns):
    """Write a [rows, K] · packed to out as `product` does, of weights that lie so."""
    raise NotImplementedError


@overload(product_as)
def _product_as(layout, a, stride, rows, packed, K, out, columns):
    run = _products[layout.instance_class]

    def call(layout, a, stride, rows, packed, K, out, columns):
        run(a, stride, rows, packed, K, out, columns)

    return call


def _product_of(bits: int) -> Any:
    def product(a, stride, rows, packed, K, out, columns):
        r = rows - rows % ROWS
        for j in range(0, columns, PANEL):  # a panel stays in the cache for all rows
            for s in range(0, r, ROWS):
                _tile(ROWS, 1, bits, a, s, stride, packed, j, K, out, columns)
        if r + 4 <= rows:
            for j in range(0, columns, PANEL):
                _tile(4, 1, bits, a, r, stride, packed, j, K, out, columns)
            r += 4
        if r + 2 <= rows:
            for j in range(0, columns, 2 * PANEL):
                _tile(2, 2, bits, a, r, stride, packed, j, K, out, columns)
            r += 2
        if r < rows:
            for j in range(0, columns, 4 * PANEL):
                _tile(1, 4, bits, a, r, stride, packed, j, K, out, columns)

    # what is kept on the disk is linked by name: one name, one code
    product.__name__ = product.__qualname__ = f"product_of_{bits}_bits"
    return njit(product)


_products = {type(layout): _product_of(layout.bits) for layout in LAYOUTS.values()}

product = _products[Float32]
"""Write a [rows, K] · packed to out [rows, columns]; a's rows are `stride` numbers apart."""


@njit
def outer(a, a_stride, K, b, b_stride, columns, rows, out, out_stride, scratch):
    """Add aᵀ b, summed over the rows of a [rows, K] and b [rows, columns], to out [K, columns].

    `scratch` is room for a panel of b and for a, rows · (PANEL + K) numbers: the rows of what a
    tile reads lie one below the other, in a few lines of the cache, however far apart they were.
    """
    k, tiles = K - K % ROWS, row_address(scratch, rows, PANEL)
    for i in range(0, k, ROWS):
        for row in range(rows):
            for w in range(0, ROWS, LANES):
                value = load(row_address(a, row, a_stride), i + w, ROWS - w)
                store(tiles, i * rows + row * ROWS + w, ROWS - w, value)
    for j in range(0, columns, PANEL):
        for row in range(rows):
            for w in range(0, PANEL, LANES):
                value = load(row_address(b, row, b_stride), j + w, columns - j - w)
                store(row_address(scratch, row, PANEL), w, LANES, value)
        for i in range(0, k, ROWS):
            tile = row_address(tiles, i, rows) - 4 * i
            _outer_tile(ROWS, tile, ROWS, i, scratch, j, columns, rows, out, out_stride)
        i = k
        if i + 4 <= K:
            _outer_tile(4, a, a_stride, i, scratch, j, columns, rows, out, out_stride)
            i += 4
        if i + 2 <= K:
            _outer_tile(2, a, a_stride, i, scratch, j, columns, rows, out, out_stride)
            i += 2
        if i < K:
            _outer_tile(1, a, a_stride, i, scratch, j, columns, rows, out, out_stride)


@Parts
def _product_of_rows(job):
    a, rows, each, K = argument(job, 0), argument(job, 1), argument(job, 2), argument(job, 3)
    packed, out, columns = argument(job, 4), argument(job, 5), argument(job, 6)
    k = next_part(job)
    while k >= 0:
        first = k * each
        product(row_address(a, first, K), K, min(each, rows - first), packed, K,
                row_address(out, first, columns), columns)  # fmt: skip
        k = next_part(job)


def multiplied(a: Tensor, packed: Tensor, columns: int) -> Tensor:
    """Return a `[rows, K]` · packed, on all threads: `[rows, columns]`."""
    rows, K = a.shape
    a, out = plain(a), empty_f32(rows, columns)
    blocks = get_num_threads() * max(1, -(-rows // (get_num_threads() * ROWS_AT_ONCE)))
    each = max(1, -(-rows // (blocks * ROWS))) * ROWS  # as many for all threads
    if rows * K * columns < PARALLEL_THRESHOLD:
        each = max(1, rows)
    _product_of_rows(-(-rows // each), 0, a.data_ptr(), rows, each, K, packed.data_ptr(),
                     out.data_ptr(), columns)  # fmt: skip
    return out


@Parts
def _outer_of_columns(job):
    a, K, each, b = argument(job, 0), argument(job, 1), argument(job, 2), argument(job, 3)
    columns, rows, out = argument(job, 4), argument(job, 5), argument(job, 6)
    room, k = room_of(job), next_part(job)
    while k >= 0:
        left, width = k * each, min(each, K - k * each)
        for first in range(0, rows, GRADIENT_ROWS):
            count = min(GRADIENT_ROWS, rows - first)
            outer(row_address(a, first, K) + 4 * left, K, width, row_address(b, first, columns),
                  columns, columns, count, row_address(out, left, columns), columns,
                  room)  # fmt: skip
        k = next_part(job)


def summed_outer(a: Tensor, b: Tensor) -> Tensor:
    """Return aᵀ b `[K, columns]` of a `[rows, K]` and b `[rows, columns]`, on all threads.

    Every number is summed in the same order, however many threads there are.
    """
    (rows, K), columns = a.shape, b.shape[1]
    a, b, out = plain(a), plain(b), a.new_zeros(K, columns)
    each = max(1, K if rows * K * columns < PARALLEL_THRESHOLD else columns_each(K))
    room = GRADIENT_ROWS * (PANEL + each)
    _outer_of_columns(-(-K // each), room, a.data_ptr(), K, each, b.data_ptr(), columns, rows,
                      out.data_ptr())  # fmt: skip
    return out


def columns_each(count: int) -> int:
    """Return how many columns of a weights' gradient a thread takes at a time: as many for all."""
    threads = get_num_threads()
    parts = threads * max(1, -(-count // (threads * COLUMNS)))
    return -(-count // (parts * ROWS)) * ROWS


def _on_stack(builder: Any, rows: int, columns: int) -> list[list[Any]]:
    """Reserve room for rows × columns of vectors, which LLVM keeps in registers."""
    with builder.goto_entry_block():
        return [[builder.alloca(simd.FLOATS) for _ in range(columns)] for _ in range(rows)]


@contextmanager
def _loop(builder: Any, count: Any) -> Iterator[Any]:
    """Repeat what is built within for the numbers from 0 up to a count."""
    before = builder.block
    head, body, after = (builder.append_basic_block(name) for name in ("head", "body", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    index = builder.phi(count.type)
    index.add_incoming(count.type(0), before)
    builder.cbranch(builder.icmp_signed("<", index, count), body, after)
    builder.position_at_end(body)
    yield index
    index.add_incoming(builder.add(index, count.type(1), flags=("nsw",)), builder.block)
    builder.branch(head)
    builder.position_at_end(after)


@intrinsic(prefer_literal=True)
def _tile(typing, height, panels, bits, a, row, stride, packed, column, depth, out, columns):
    """Compute `height` rows × `panels` panels of the result from a row and a column on."""
    M, P, size = height.literal_value, panels.literal_value, bits.literal_value // 8

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _, _, _, a, row, stride, packed, column, depth, out, columns = args
        long = row.type
        starts = [builder.mul(builder.add(row, long(m)), stride) for m in range(M)]
        head = 4 * PANEL if size == 1 else 0  # bytes of the steps
        panel = builder.add(builder.mul(depth, long(PANEL * size)), long(head))
        first = builder.add(packed, builder.mul(builder.udiv(column, long(PANEL)), panel))
        bases = [builder.add(first, builder.mul(panel, long(p))) for p in range(P)]
        sums = _on_stack(builder, M, P * WIDTH)
        for s in (s for row_sums in sums for s in row_sums):
            builder.store(simd.ZERO, s)
        with _loop(builder, depth) as index:
            step = builder.add(builder.mul(index, long(PANEL * size)), long(head))
            weights = [
                simd.widened(builder, builder.add(builder.add(base, step), long(w * LANES * size)),
                             size)
                for base in bases
                for w in range(WIDTH)
            ]  # fmt: skip
            for start, row_sums in zip(starts, sums, strict=True):
                at = simd.pointer(builder, a, builder.add(start, index), ir.FloatType())
                one = simd.constant(builder, builder.load(at))
                for s, weight in zip(row_sums, weights, strict=True):
                    builder.store(simd.multiply_add(builder, one, weight, builder.load(s)), s)
        steps = [
            simd.widened(builder, builder.add(base, long(4 * w * LANES)), 4)
            for base in bases
            for w in range(WIDTH)
        ] if size == 1 else []  # fmt: skip
        for m, row_sums in enumerate(sums):
            begin = builder.mul(builder.add(row, long(m)), columns)
            for k, s in enumerate(row_sums):
                j = builder.add(column, long(k * LANES))
                value = builder.load(s)
                if steps:
                    value = builder.fmul(value, steps[k])
                left = builder.sub(columns, j)
                simd.move(builder, out, builder.add(begin, j), left, value)
        return context.get_dummy_value()

    return types.void(height, panels, bits, *[types.intp] * 8), code


@intrinsic(prefer_literal=True)
def _outer_tile(typing, height, a, a_stride, i, panel, j, columns, rows, out, out_stride):
    """Add to `height` rows × one panel of `outer`'s answer, from row i and column j on."""
    M = height.literal_value

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _, a, a_stride, i, panel, j, columns, rows, out, out_stride = args
        long = i.type
        starts = [builder.add(j, long(w * LANES)) for w in range(WIDTH)]
        left = [builder.sub(columns, start) for start in starts]
        places = [
            [builder.add(builder.mul(builder.add(i, long(m)), out_stride), at) for at in starts]
            for m in range(M)
        ]
        sums = _on_stack(builder, M, WIDTH)
        for row_places, row_sums in zip(places, sums, strict=True):
            for place, n, s in zip(row_places, left, row_sums, strict=True):
                builder.store(simd.move(builder, out, place, n), s)
        with _loop(builder, rows) as index:
            at = builder.add(panel, builder.mul(index, long(4 * PANEL)))
            row = [
                simd.widened(builder, builder.add(at, long(4 * w * LANES)), 4) for w in range(WIDTH)
            ]
            a_row = builder.add(builder.mul(index, a_stride), i)
            for m, row_sums in enumerate(sums):
                at = simd.pointer(builder, a, builder.add(a_row, long(m)), ir.FloatType())
                one = simd.constant(builder, builder.load(at))
                for s, number in zip(row_sums, row, strict=True):
                    builder.store(simd.multiply_add(builder, one, number, builder.load(s)), s)
        for row_places, row_sums in zip(places, sums, strict=True):
            for place, n, s in zip(row_places, left, row_sums, strict=True):
                simd.move(builder, out, place, n, builder.load(s))
        return context.get_dummy_value()

    return types.void(height, *[types.intp] * 9), code
