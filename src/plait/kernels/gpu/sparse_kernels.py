"""The kernel of sparse products for Triton; `sparse` calls it.

A program takes one segment of a row of the matrix and a block of the columns of x, E entries at a
time. All segments of a block come one after another, so that it is read from the cache.
Places are 64 bits wide. It is compiled by the width alone, not again for another graph or length.
"""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["steps", "slots", "N", "M"])
def multiply(
    segments, sources, values, x, plus, minus, y, steps, slots, N, M, width, times,
    BW: tl.constexpr, E: tl.constexpr, PLUS: tl.constexpr, MINUS: tl.constexpr,
    WHOLE: tl.constexpr,
):  # fmt: skip
    """Compute times · S x + plus − minus for one segment of a row; of a part of a row, S x alone.

    x is `[T, M, width]`, plus, minus and y `[T, N, width]`; of parts of rows y is
    `[T, slots, width]`.
    """
    program = tl.program_id(0)  # one axis: the others hold 65,535 programs at most
    segment, rest = program % slots, program // slots
    step, block = (rest % steps).to(tl.int64), (rest // steps).to(tl.int64)
    node = tl.load(segments + 4 * segment)
    begin = tl.load(segments + 4 * segment + 1)
    end = tl.load(segments + 4 * segment + 2)
    col = block * BW + tl.arange(0, BW)
    inside = col < width
    total = tl.zeros([BW], tl.float32)
    at = begin
    while at < end:
        entry = at + tl.arange(0, E)
        real = entry < end
        source = step * M + tl.load(sources + entry, mask=real, other=0).to(tl.int64)
        value = tl.load(values + entry, mask=real, other=0.0)
        part = tl.load(
            x + source[:, None] * width + col[None, :],
            mask=real[:, None] & inside[None, :],
            other=0.0,
        )
        total += tl.sum(value[:, None] * part, axis=0)
        at += E
    if WHOLE:
        place = (step * N + node) * width + col
        total = total * times
        if PLUS:
            total += tl.load(plus + place, mask=inside, other=0.0)
        if MINUS:
            total -= tl.load(minus + place, mask=inside, other=0.0)
    else:
        place = (step * slots + segment) * width + col
    tl.store(y + place, total, mask=inside)
