"""A pass over time in two launches: recorded as CUDA graphs, forward and backward, by its shapes.

The first two calls of a shape run as they are: a shape that does not come again costs nothing. From
the third on the pass is replayed: what is given is copied to where the recording reads it, what it
makes is copied out. Between forward and backward the recording holds what the gradient wants, so a
second call before the first one's backward takes a recording of its own.

Recordings are kept for a process, whichever layer they came from: the weights are among what is
given. Together they take at most an eighth of the GPU's memory (`SHARE`); those used longest ago
make room. A pass that does not fit runs as it is.
"""

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from plait.kernels.gpu.autograd import Pass
from plait.kernels.gpu.graphs import CudaRecorder, Recorder, Watch, products_of, refusal
from plait.kernels.transforms import outside

WARM = 2
"""Calls of a shape that run as they are."""

SHARE = 8
"""One part in so many of a GPU's memory is what recordings take together."""

PER_SHAPE = 16
"""Recordings of one shape, for calls whose backward is still to come."""

NEVER = -(2**62)
"""The count of a shape that waits for the GPU within its work, against its promise."""

KNOWN = 512
"""Shapes that are counted."""


class RecordablePass(Pass, Protocol):
    """A pass that can be recorded."""

    key: Any
    """What decides its work besides the shapes and types of its tensors."""

    not_recorded: str | None
    """Why it cannot be recorded, or None."""

    def size(self) -> int:
        """Return about how many bytes it takes, forward and backward."""
        ...


def make_recorder(device: torch.device) -> Recorder:
    """Make what records on a device."""
    return CudaRecorder(device)


def room_on(device: torch.device) -> int:
    """Return how many bytes recordings may take on a device: a GPU, for there are no others."""
    if device.type != "cuda":
        return 0
    return torch.cuda.get_device_properties(device).total_memory // SHARE


class Recordings:
    """The recordings of a process, by shape; those used longest ago make room for others.

    A copy or a pickle holds none.

    Parameters
    ----------
    recorder : callable
        Makes what records on a device.
    room : callable
        Bytes for the recordings on a device.
    """

    def __init__(
        self,
        recorder: Callable[[torch.device], Recorder] = make_recorder,
        room: Callable[[torch.device], int] = room_on,
    ) -> None:
        self.recorder, self.room = recorder, room
        self.calls: OrderedDict[Any, int] = OrderedDict()  # by shape
        self.entries: list[Entry] = []  # the one used longest ago first
        self.lock = threading.Lock()

    def __reduce__(self) -> Any:
        return Recordings, (self.recorder, self.room)

    def of(self, one: RecordablePass) -> Pass:
        """Return the pass, to be recorded where that may be."""
        return one if one.not_recorded or refusal() else _Recorded(one, self)

    def lease(
        self, one: RecordablePass, tensors: Sequence[Tensor], extra: Sequence[Tensor]
    ) -> "Lease | None":
        """Return a recording of a pass for one call, made if need be; None: the pass runs as it is.

        Parameters
        ----------
        one : RecordablePass
        tensors, extra : sequence of Tensor
            As `Pass.forward` takes them.
        """
        key = _key_of(one, tensors, extra)
        with self.lock:
            seen = self.calls.pop(key, 0)
            self.calls[key] = seen + 1
            while len(self.calls) > KNOWN:
                self.calls.popitem(last=False)
            if seen < WARM:
                return None
            same = [e for e in self.entries if e.key == key]
            entry = next((e for e in same if not e.taken), None)
            if entry is None and len(same) < PER_SHAPE:
                entry = self._made(key, one, tensors, extra)
            if entry is None:
                return None
            if entry in self.entries:
                self.entries.remove(entry)
            self.entries.append(entry)
            entry.taken = True
            return Lease(entry)

    def used(self, device: torch.device) -> int:
        """Return how many bytes the recordings on a device take."""
        return sum(e.size for e in self.entries if e.device == device)

    def _made(
        self, key: Any, one: RecordablePass, tensors: Sequence[Tensor], extra: Sequence[Tensor]
    ) -> "Entry | None":
        """Record a pass where there is room for it."""
        device = tensors[0].device
        if not self._make_room(one.size(), device):
            return None
        recorder = self.recorder(device)
        if recorder.free_memory() < 2 * one.size():
            return None
        # it outlives the mode of this call: what inference mode makes cannot be written to outside
        entry = outside(lambda: Entry(key, one, tensors, extra, recorder))
        if entry.refused:
            self.calls[key] = NEVER
            return None
        if not self._make_room(entry.size, device):  # it is larger than expected
            self.calls[key] = 0
            recorder.finish()
            return None
        return entry

    def _make_room(self, size: int, device: torch.device) -> bool:
        """Drop recordings until there is room for so many bytes; False: there is not."""
        room = self.room(device)
        idle = [e for e in self.entries if not e.taken and e.device == device]
        if self.used(device) - sum(e.size for e in idle) + size > room:
            return False
        while self.used(device) + size > room:
            idle[0].recorder.finish()
            self.entries.remove(idle.pop(0))
        return True


def _key_of(one: RecordablePass, tensors: Sequence[Tensor], extra: Sequence[Tensor]) -> Any:
    shapes = tuple((tuple(t.shape), t.dtype) for t in (*tensors, *extra))
    device = tensors[0].device
    return one.key, one.differentiate, device, shapes, products_of(device)


class Entry:
    """A recorded pass, and the tensors that it reads.

    Parameters
    ----------
    key : object
    one : RecordablePass
    tensors, extra : sequence of Tensor
        Like those that it will be given.
    recorder : Recorder
    """

    def __init__(
        self, key: Any, one: RecordablePass, tensors: Sequence[Tensor], extra: Sequence[Tensor],
        recorder: Recorder,
    ) -> None:  # fmt: skip
        self.key, self.recorder, self.taken = key, recorder, False
        self.device = tensors[0].device
        one = copy.copy(one)
        one.extra = ()  # that call's alone
        self.tensors = [t.clone() for t in tensors]
        self.extra = [t.clone() for t in extra]
        forward: Callable[[], Any] = lambda: one.forward(self.tensors, self.extra)  # noqa: E731
        self.grads: list[Tensor] = []
        self.saved: Any = None

        def backward() -> tuple[Tensor, ...]:
            return one.backward(self.tensors, self.extra, self.saved, self.grads)

        def both() -> None:
            outputs, self.saved = forward()
            if one.differentiate:
                self.grads = [torch.zeros_like(o) for o in outputs]
                backward()

        with Watch() as watch:
            recorder.warm_up(both)
        self.saved, self.size, self.refused = None, 0, bool(watch.found)
        if self.refused:
            return
        self.replay_forward = recorder.record(forward)
        if one.differentiate:
            _, self.saved = self.replay_forward()
            self.replay_backward = recorder.record(backward)
        given = (*self.tensors, *self.extra, *self.grads)
        self.size = recorder.size + sum(t.nbytes for t in given)

    def forward(self, tensors: Sequence[Tensor], extra: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the outputs for these tensors."""
        self.recorder.follow()
        _copy([*self.tensors, *self.extra], [*tensors, *extra])
        outputs, self.saved = self.replay_forward()
        return tuple(o.clone() for o in outputs)

    def backward(self, grads: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the gradients of the tensors of the last forward pass."""
        self.recorder.follow()
        _copy(self.grads, grads)
        return tuple(c.clone() for c in self.replay_backward())


def _copy(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy tensors, those of one type in one launch."""
    for dtype in {t.dtype for t in targets}:
        pairs = [(t, s) for t, s in zip(targets, sources, strict=True) if t.dtype == dtype]
        copy_all: Any = torch._foreach_copy_  # pyright: ignore[reportPrivateImportUsage]
        copy_all([t for t, _ in pairs], [s for _, s in pairs])


class Lease:
    """An entry in use by one call: what it holds for the gradient stands until this is gone."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry

    def __del__(self) -> None:
        self.entry.taken = False


class _Recorded:
    """A pass that is replayed where there is a recording of it."""

    def __init__(self, one: RecordablePass, home: Recordings) -> None:
        self.one, self.home = one, home
        self.differentiate, self.extra = one.differentiate, one.extra

    def forward(
        self, tensors: Sequence[Tensor], extra: Sequence[Tensor]
    ) -> tuple[tuple[Tensor, ...], Any]:
        lease = self.home.lease(self.one, tensors, extra)
        if lease is None:
            return self.one.forward(tensors, extra)
        return lease.entry.forward(tensors, extra), lease

    def backward(
        self, tensors: Sequence[Tensor], extra: Sequence[Tensor], saved: Any,
        grads: Sequence[Tensor],
    ) -> tuple[Tensor, ...]:  # fmt: skip
        if isinstance(saved, Lease):
            return saved.entry.backward(grads)
        return self.one.backward(tensors, extra, saved, grads)
