"""Several processes that train one model: what they exchange, and when.

Every process runs the same program: it takes its part of every batch, gradients are averaged, and
all make the same update. The first process alone reads and writes the run folder.
"""

import atexit
import contextlib
import json
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, TypeVar

import torch
from safetensors.torch import load as unpack
from safetensors.torch import save as pack
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from plait import launch
from plait.errors import InputError

T = TypeVar("T")

PATIENCE = timedelta(days=7)
"""How long a process waits for another that lives; one that ended is noticed at once."""


class Ranks:
    """The processes that train together, and which of them this is.

    One process alone is a group of one: then nothing is exchanged and every method returns what
    it is given.

    Attributes
    ----------
    rank, count : int
        The number of this process, from 0, and how many there are.

    Example
    -------
    >>> from plait.training.ranks import Ranks
    >>> Ranks(rank=1, count=3).part(8)
    slice(2, 5, None)
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count
        self._by_itself = count == 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that reads and writes the run folder."""
        return self.rank == 0

    def part(self, n: int, what: str = "examples") -> slice:
        """Return which of n examples, of a batch for all processes, are for this one.

        Raises `InputError` where there is not one for each.
        """
        if n < self.count:
            raise InputError(
                f"{n} {what} to train on are too few for {self.count} processes; start at most {n}"
            )
        return slice(n * self.rank // self.count, n * (self.rank + 1) // self.count)

    def average_gradients(
        self, parameters: Sequence[nn.Parameter], values: Tensor, weight: Tensor | float
    ) -> Tensor:
        """Average the gradients and some values over the processes; return the values.

        With w_r the weight of process r, the terms that its loss is a mean of: Σ w_r g_r / Σ w_r,
        which is the gradient of the mean of all terms. One all-reduce of 4 bytes per parameter.
        """
        if self._by_itself:
            return values
        given = [p.grad is not None for p in parameters]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([*(g.reshape(-1) for g in gradients), values, values.new_ones(1)])
        flat = torch.cat([flat * weight, flat.new_tensor(given)])
        self._all_reduce(flat, dist.ReduceOp.SUM)
        sizes = [g.numel() for g in gradients]
        *sums, means, total, given = flat.split([*sizes, len(values), 1, len(sizes)])
        for p, mean, some in zip(parameters, sums, given.tolist(), strict=True):
            p.grad = (mean / total.clamp(min=1)).view_as(p) if some else None
        return means / total.clamp(min=1)

    def largest(self, *values: float) -> list[float]:
        """Return the largest of each value over the processes, so that all decide alike."""
        if self._by_itself:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.float64)
        self._all_reduce(numbers, dist.ReduceOp.MAX)
        return numbers.tolist()

    def first(self, compute: Callable[[], T]) -> T:
        """Return the JSON value that the first process computes; the others wait for it.

        An `InputError` is raised in all of them. What the first process calls meanwhile exchanges
        nothing.
        """
        return self.first_with_tensors(lambda: ({}, compute()))[1]

    def first_with_tensors(
        self, compute: Callable[[], tuple[Mapping[str, Tensor], T]]
    ) -> tuple[dict[str, Tensor], T]:
        """Return the tensors, on the CPU, and the JSON value that the first process computes."""
        if self._by_itself:
            tensors, value = compute()
            return dict(tensors), value
        if not self.is_first:
            tensors, value = _unpacked(self._broadcast(b""))
            if "error" in value:
                raise InputError(value["error"])
            return tensors, value["found"]
        self._by_itself = True
        try:
            tensors, found = compute()
        except InputError as error:
            self._broadcast(_packed({}, {"error": str(error)}))
            raise
        finally:
            self._by_itself = False
        self._broadcast(_packed(tensors, {"found": found}))
        return dict(tensors), found

    def map(
        self, function: Callable[[T], tuple[Tensor, ...]], items: Sequence[T]
    ) -> list[tuple[Tensor, ...]]:
        """Return `function` of every item, in order; each process computes it for a part of them.

        All receive all, so what is made of it is the same in each of them.
        """
        if self._by_itself:
            return [function(item) for item in items]
        n = len(items)
        own = items[n * self.rank // self.count : n * (self.rank + 1) // self.count]
        found = [function(item) for item in own]
        device = next((t.device for results in found for t in results), None)
        parts = self.gather_tensors([t for results in found for t in results])
        results = [t for part in parts for t in part]
        width = len(results) // max(n, 1)
        if device is not None:
            results = [t.to(device) for t in results]
        return [tuple(results[k : k + width]) for k in range(0, len(results), width or 1)]

    def gather_tensors(self, tensors: Sequence[Tensor]) -> list[list[Tensor]]:
        """Return, on the CPU, the tensors of every process in order."""
        if self._by_itself:
            return [list(tensors)]
        named = {str(k): t for k, t in enumerate(tensors)}
        parts = [_unpacked(part)[0] for part in self._gather(_packed(named, None))]
        return [[part[str(k)] for k in range(len(part))] for part in parts]

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Raise in every process the `InputError` that one of them raises within."""
        error = ""
        try:
            yield
        except InputError as raised:
            if self._by_itself:
                raise
            error = str(raised)
        if self._by_itself:
            return
        found = [json.loads(part) for part in self._gather(json.dumps([_host(), error]).encode())]
        messages = {message for _, message in found}
        if messages == {""}:
            return
        if len(messages) == 1:
            raise InputError(messages.pop())
        rank, host, message = next((r, h, m) for r, (h, m) in enumerate(found) if m)
        raise InputError(f"process {rank} of {self.count}, on {host}: {message}")

    def require_same(self, values: Mapping[str, Any], what: str) -> None:
        """Refuse, with `InputError`, JSON values that differ between processes, by their names."""
        if self._by_itself:
            return
        parts = [json.loads(part) for part in self._gather(json.dumps(dict(values)).encode())]
        for rank, part in enumerate(parts):
            names = [name for name in {**parts[0], **part} if part.get(name) != parts[0].get(name)]
            if names:
                raise InputError(
                    f"process {rank} of {self.count} has other {what} than process 0 "
                    f"({', '.join(names)}); give all processes the same"
                )

    def _all_reduce(self, tensor: Tensor, operation: Any) -> None:
        with _noticing():
            dist.all_reduce(tensor, operation)

    def _broadcast(self, content: bytes) -> bytes:
        with _noticing():
            size = torch.tensor([len(content)])
            dist.broadcast(size, 0)
            data = _bytes(content, int(size))
            dist.broadcast(data, 0)
            return data.numpy().tobytes()

    def _gather(self, content: bytes) -> list[bytes]:
        with _noticing():
            sizes = torch.zeros(self.count, dtype=torch.long)
            sizes[self.rank] = len(content)
            dist.all_reduce(sizes)
            most = int(sizes.max())
            parts = [torch.empty(most, dtype=torch.uint8) for _ in range(self.count)]
            dist.all_gather(parts, _bytes(content, most))
            return [p[:n].numpy().tobytes() for p, n in zip(parts, sizes.tolist(), strict=True)]


ALONE = Ranks()
_current: ContextVar[Ranks] = ContextVar("ranks", default=ALONE)


def current_ranks() -> Ranks:
    """Return the processes that train together here; outside a training this one alone.

    >>> from plait.training.ranks import current_ranks
    >>> current_ranks().count
    1
    """
    return _current.get()


@contextlib.contextmanager
def as_ranks(ranks: Ranks) -> Iterator[Ranks]:
    """Make `ranks` the current ones."""
    token = _current.set(ranks)
    try:
        yield ranks
    finally:
        _current.reset(token)


@contextlib.contextmanager
def launched() -> Iterator[Ranks]:
    """Make the processes that torchrun started the current ones; without torchrun: this one alone.

    They are connected by gloo, and where there are GPUs by NCCL. Within another such context they
    are the other's.
    """
    if current_ranks() is not ALONE or launch.process_count() == 1:
        yield current_ranks()
        return
    if not dist.is_initialized():
        backend = "gloo"
        if torch.cuda.is_available() and dist.is_nccl_available():
            backend = "cpu:gloo,cuda:nccl"
        try:
            dist.init_process_group(backend, timeout=PATIENCE)
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"the {launch.process_count()} processes cannot connect "
                f"({str(error).splitlines()[0]}); start them with torchrun, or unset RANK and "
                "WORLD_SIZE to train in one"
            ) from error
        atexit.register(dist.destroy_process_group)
    with as_ranks(Ranks(dist.get_rank(), dist.get_world_size())) as ranks:
        yield ranks


def is_first_to_fail() -> bool:
    """Return whether no other process has asked this before: the one that prints why all end."""
    if launch.process_count() == 1:
        return True
    try:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(address, port, is_master=False, timeout=timedelta(seconds=5))
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return store.add(f"plait/failures/{attempt}", 1) == 1
    except (KeyError, ValueError, RuntimeError):  # whoever kept the count has ended
        return True


@contextlib.contextmanager
def _noticing() -> Iterator[None]:
    """Raise `InputError` where another process has ended."""
    try:
        yield
    except RuntimeError as error:
        if not re.search("gloo|nccl|connection|socket", str(error), re.IGNORECASE):
            raise
        raise InputError(
            "another process of this training has ended; start all of them again with plait "
            "resume, which goes on from the last checkpoint"
        ) from error


def _host() -> str:
    return f"{socket.gethostname()} (process id {os.getpid()})"


def _bytes(content: bytes, size: int) -> Tensor:
    data = torch.zeros(size, dtype=torch.uint8)
    if content:
        data[: len(content)] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return data


def _packed(tensors: Mapping[str, Tensor], value: Any) -> bytes:
    own = {k: t.detach().to("cpu", copy=True).contiguous() for k, t in tensors.items()}
    text = json.dumps(value).encode()
    return len(text).to_bytes(8) + text + (pack(own) if own else b"")


def _unpacked(content: bytes) -> tuple[dict[str, Tensor], Any]:
    size = int.from_bytes(content[:8])
    tensors = content[8 + size :]
    return unpack(tensors) if tensors else {}, json.loads(content[8 : 8 + size])
