"""Work of a GPU that is recorded once as a CUDA graph, and replayed in one launch.

What torch asks of a recording is kept to here: tensors that stay where they are, a run on the
recording's own stream before it, one memory pool for all that is replayed in turn, no recording
within another, and no other thread disturbed (`capture_error_mode="thread_local"`). A failed
recording can leave torch's random generator unusable in the process, so what cannot be recorded is
decided beforehand; nothing is tried out. What runs before a recording is watched for it (`Watch`).
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from plait.kernels.gpu.precision import float32_products

Made = TypeVar("Made")
Given = TypeVar("Given", covariant=True)


class Replay(Protocol[Given]):
    """What was recorded."""

    def __call__(self) -> Given:
        """Do the work again; what it made lies where it lay, until the next time."""
        ...


class Recorder(Protocol):
    """Records pieces of work that are replayed in the order in which they were recorded."""

    def warm_up(self, work: Callable[[], Any]) -> None:
        """Do the work once as it will be recorded, so that libraries set themselves up."""
        ...

    def record(self, work: Callable[[], Made]) -> Replay[Made]:
        """Record work, without doing it."""
        ...

    def follow(self) -> None:
        """Let what comes wait for the last replay, which may be on another stream."""
        ...

    def finish(self) -> None:
        """Wait until nothing is being replayed."""
        ...

    @property
    def size(self) -> int:
        """Bytes of the GPU's memory that the recordings hold."""
        ...

    def free_memory(self) -> int:
        """Return how many bytes of the GPU's memory are free."""
        ...


class CudaRecorder:
    """Records on one GPU.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        with torch.cuda.device(device):
            self.pool = torch.cuda.graph_pool_handle()
        self.last: Any = None

    def warm_up(self, work: Callable[[], Any]) -> None:
        """Do the work once on the stream of recordings."""
        here, stream = torch.cuda.current_stream(self.device), _stream(self.device)
        stream.wait_stream(here)
        with torch.cuda.stream(stream), warming():
            work()
        here.wait_stream(stream)

    def record(self, work: Callable[[], Made]) -> Replay[Made]:
        """Record work into this recorder's pool of memory."""
        graph, stream = torch.cuda.CUDAGraph(), _stream(self.device)
        try:
            with (
                torch.cuda.device(self.device),
                torch.cuda.graph(
                    graph, pool=self.pool, stream=stream, capture_error_mode="thread_local"
                ),
            ):
                made = work()
        except RuntimeError as error:
            raise RuntimeError(
                f"recording a CUDA graph failed ({error}); set PLAIT_CUDA_GRAPHS=0 in the "
                "environment and start again"
            ) from error
        return _Replay(graph, made)

    def follow(self) -> None:
        """Let the current stream wait for the one of the last replay."""
        here = torch.cuda.current_stream(self.device)
        if self.last is not None and self.last != here:
            here.wait_stream(self.last)
        self.last = here

    def finish(self) -> None:
        """Wait for the GPU."""
        torch.cuda.synchronize(self.device)

    @property
    def size(self) -> int:
        """Bytes of the pool."""
        segments = torch.cuda.memory_snapshot()
        own = tuple(self.pool)
        return sum(s["total_size"] for s in segments if tuple(s["segment_pool_id"]) == own)

    def free_memory(self) -> int:
        """Return what the driver has left, and what torch has and does not use."""
        held = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return torch.cuda.mem_get_info(self.device)[0] + held


class _Replay(Generic[Made]):
    """A graph, and what it makes, which is kept where it lies."""

    def __init__(self, graph: Any, made: Made) -> None:
        self.graph, self.made = graph, made

    def __call__(self) -> Made:
        self.graph.replay()
        return self.made


_warming: ContextVar[bool] = ContextVar("warming", default=False)


@contextmanager
def warming() -> Iterator[None]:
    """Let nothing be recorded of work that will be recorded as a whole."""
    token = _warming.set(True)
    try:
        yield
    finally:
        _warming.reset(token)


class Watch(TorchDispatchMode):
    """Notes operations that no recording can hold.

    Those wait for numbers, draw them, or copy between devices.

    >>> import torch
    >>> from plait.kernels.gpu.graphs import Watch
    >>> with Watch() as watch:
    ...     kept = torch.ones(3)[torch.ones(3) > 0]
    >>> watch.found
    ['aten.index.Tensor']
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if _waits(func, args) or _crosses(args, kwargs, result):
            self.found.append(str(func))
        return result


def _waits(func: Any, args: Any) -> bool:
    if func._schema.name in (
        "aten::index",
        "aten::index_put",
        "aten::index_put_",
        "aten::_index_put_impl_",
    ):
        return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
    return bool(_WAIT & set(func.tags))


def _crosses(*values: Any) -> bool:
    """State whether tensors of several devices are among the values; a number's does not count."""
    tensors = [x for x in tree_leaves(values) if isinstance(x, torch.Tensor)]
    return len({x.device for x in tensors if x.ndim or x.device.type != "cpu"}) > 1


_WAIT = {
    torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape,
    torch.Tag.nondeterministic_seeded,
}  # fmt: skip


@cache
def _stream(device: torch.device) -> Any:
    """Return the stream of a GPU on which everything is recorded."""
    return torch.cuda.Stream(device)


def refusal() -> str | None:
    """Return why nothing may be recorded now, whatever it is; None: it may.

    It wants a GPU; the caller may be recording itself.
    """
    if os.environ.get("PLAIT_CUDA_GRAPHS") == "0":
        return "PLAIT_CUDA_GRAPHS is 0"
    if _warming.get():
        return "the call will be part of a recording"
    if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
        return "the call is being recorded already"
    return None


def refusal_of(operator: Any, outputs: int) -> str | None:
    """Return why an operator's work for so many outputs may not be recorded, by what it says."""
    why = getattr(operator, "not_recorded", None)
    if why is None or type(operator).__hash__ is None:
        return f"{operator!r} does not say that it may be recorded (`not_recorded`)"
    return why(outputs)


def products_of(device: torch.device) -> tuple[Any, ...]:
    """Return torch's switches for products, which a recording fixes.

    >>> import torch
    >>> from plait.kernels.gpu.graphs import products_of
    >>> products_of(torch.device("cpu")) == products_of(torch.device("cpu"))
    True
    """
    if device.type != "cuda":
        return torch.get_float32_matmul_precision(), float32_products()
    switches = torch.backends.cuda.matmul
    return (
        float32_products(),
        switches.allow_bf16_reduced_precision_reduction,
        switches.allow_fp16_reduced_precision_reduction,
        torch.are_deterministic_algorithms_enabled(),
    )
