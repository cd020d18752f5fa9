"""What the machine can do at most: multiply-adds in registers, products, and copies.

A product's speed depends on its sizes and on who wrote it, so that the fastest of one library is
no limit: another may exceed it. Multiply-adds of vectors that never leave the registers, enough of
them side by side to fill the processor's pipeline, are what every product is made of. The limit is
the largest of all that is measured, and nothing that multiplies and adds float32 exceeds it.
"""

from collections.abc import Callable
from typing import Any

import torch
from measure import seconds
from numba import float32 as _f

from plait.kernels.cpu.jit import compiled, parallel_for
from plait.kernels.cpu.matmul import multiplied
from plait.kernels.cpu.rounding import pack
from plait.kernels.cpu.simd import LANES, broadcast, fma, store

ACCUMULATORS = 12
"""Side by side: two a clock, each of four or five clocks, and room left in 16 registers."""

SIZES = [
    (256, 256, 256),
    (1024, 1024, 1024),
    (2048, 2048, 2048),
    (1920, 128, 512),
    (8192, 256, 512),
]
"""Of products: rows, what is summed, columns."""


@compiled
def _multiply_adds(rounds, out):
    """Compute `rounds` · ACCUMULATORS multiply-adds a · r + s, which tend to s / (1 − r)."""
    r, s = broadcast(_f(0.75)), broadcast(_f(0.25))
    a, b, c, d = broadcast(_f(1)), broadcast(_f(2)), broadcast(_f(3)), broadcast(_f(4))
    e, f, g, h = broadcast(_f(5)), broadcast(_f(6)), broadcast(_f(7)), broadcast(_f(8))
    i, j, k, m = broadcast(_f(9)), broadcast(_f(10)), broadcast(_f(11)), broadcast(_f(12))
    for _ in range(rounds):
        a, b, c, d = fma(a, r, s), fma(b, r, s), fma(c, r, s), fma(d, r, s)
        e, f, g, h = fma(e, r, s), fma(f, r, s), fma(g, r, s), fma(h, r, s)
        i, j, k, m = fma(i, r, s), fma(j, r, s), fma(k, r, s), fma(m, r, s)
    store(out, 0, LANES, a + b + c + d + e + f + g + h + i + j + k + m)


def limits() -> dict[str, float]:
    """Measure what one thread and all threads do at most."""
    threads = torch.get_num_threads()
    found: dict[str, float] = {}
    for count in dict.fromkeys((1, threads)):
        torch.set_num_threads(count)
        speeds = {
            "torch.mm": max(_by_torch(*size) for size in SIZES),
            "packed product": max(_packed(*size) for size in SIZES),
            "registers": _in_registers(count),
        }
        end = ", one thread" if count < threads else ""
        found |= {f"{name}, GFLOP/s{end}": speed for name, speed in speeds.items()}
        found[f"limit, GFLOP/s{end}"] = max(speeds.values())
    torch.set_num_threads(threads)
    big = torch.randn(2**26)
    other = torch.empty_like(big)
    return found | {"copy, GB/s": 2 * 4 * 2**26 / _fastest(lambda: other.copy_(big), 8) / 1e9}


def _fastest(run: Callable[[], Any], times: int) -> float:
    run()
    return min(seconds(run) for _ in range(times))


def _by_torch(rows: int, K: int, columns: int) -> float:
    a, b = torch.randn(rows, K), torch.randn(K, columns)
    out = torch.empty(rows, columns)
    return 2e-9 * rows * K * columns / _fastest(lambda: torch.mm(a, b, out=out), 12)


def _packed(rows: int, K: int, columns: int) -> float:
    a, packed = torch.randn(rows, K), pack(torch.randn(K, columns))
    return 2e-9 * rows * K * columns / _fastest(lambda: multiplied(a, packed, columns), 12)


def _in_registers(threads: int, rounds: int = 2_000_000) -> float:
    out = torch.empty(threads, 16 * LANES)
    where = [row.data_ptr() for row in out]

    def run() -> None:
        parallel_for(lambda k: _multiply_adds(rounds, where[k]), range(threads))

    return 2e-9 * threads * rounds * ACCUMULATORS * LANES / _fastest(run, 50)
