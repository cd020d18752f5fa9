"""Work in numbered parts, handed out to threads by compiled code.

A thread takes the next part until none is left, without the GIL: that costs nanoseconds a part,
where a call from Python costs microseconds and waits for the GIL. What a part computes does
not depend on who takes it, so nothing depends on how many threads there are.
"""

from array import array
from collections.abc import Callable
from functools import cached_property
from typing import Any

from llvmlite import ir
from numba import njit, types
from torch import get_num_threads

from plait.kernels.cpu.jit import address_compiled, empty_f32, native, on_threads
from plait.kernels.cpu.simd import intrinsic, load_i64

ARGUMENTS = 5
"""Where a job's arguments begin; before them: the next part and thread, how many parts there are,
the address of the threads' scratch buffers and the bytes of each."""


class Parts:
    """A compiled function that threads call with a job's address, to take parts to the last."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    @cached_property
    def call(self) -> Any:
        """The compiled function."""
        return native(address_compiled(self.function, 1))

    def __call__(self, count: int, room: int, *arguments: int) -> None:
        """Run so many parts, every thread with a scratch buffer of `room` float32."""
        threads = max(1, min(get_num_threads(), count))
        each = -(-room // 16) * 16
        rooms = empty_f32(threads * each + 16)
        begin = -(-rooms.data_ptr() // 64) * 64
        job = array("q", (0, 0, count, begin, 4 * each, *arguments))
        on_threads(self.call, job.buffer_info()[0], threads)


@njit
def room_of(job):
    """Return the scratch buffer of the calling thread; to be called once by each."""
    return load_i64(job, 3) + load_i64(job, 4) * _take(job, 1)


@njit
def next_part(job):
    """Return the next part, or −1 where none is left."""
    part = _take(job, 0)
    return part if part < load_i64(job, 2) else -1


@njit
def argument(job, k):
    """Return a job's k-th argument."""
    return load_i64(job, ARGUMENTS + k)


@intrinsic
def _take(typing: Any, job: Any, k: Any) -> Any:
    """Return a number of int64 and add one to it, at once for all threads."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address, k = args
        place = builder.add(address, builder.mul(k, k.type(8)))
        place = builder.inttoptr(place, ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", place, ir.IntType(64)(1), "monotonic")

    return types.intp(types.intp, types.intp), code
