"""Objects of this process that operators of `torch.library` find by a tensor or a string.

An operator that a compiler sees takes tensors, numbers and strings, so that neither the program
of a cell nor a graph can be handed to it.

A *handle* stands for an object that may be another one at every call, such as a graph: a tensor of
one number. The object lives as long as any tensor that shares the handle's memory, so what a
compiled program keeps for its backward pass keeps the object too. A *key* stands for what is fixed
when a program is compiled, such as a layer's cell and operator: a string made of the content, the
same in every process where the content is the same. What a key stands for lives as long as the
process, or, where it is known by its identity alone, as long as its owner.

Nothing of this is pickled: a copy in another process makes handles and keys of its own.
"""

import hashlib
import itertools
import uuid
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor

_numbers = itertools.count(1)
_objects: WeakValueDictionary[int, Any] = WeakValueDictionary()
_by_content: dict[str, Any] = {}
_by_identity: WeakValueDictionary[str, Any] = WeakValueDictionary()
_PROCESS = uuid.uuid4().hex

VERSION = hashlib.sha256(
    b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.rglob("*.py")))
).hexdigest()[:16]
"""A hash of the operators' source, an argument of each: torch keeps compiled programs on the disk,
and one that was made with other source must not be used."""


class _Holder(np.ndarray):
    """An array that holds an object; a tensor made of it holds the array."""

    held: Any


def handle(held: Any) -> Tensor:
    """Return an int64 tensor `[1]` that stands for an object, and keeps it alive.

    >>> from plait.kernels.handles import handle, held_by
    >>> class Thing:
    ...     pass
    >>> thing = Thing()
    >>> held_by(handle(thing)) is thing
    True
    """
    number = next(_numbers)
    array = np.array([number], np.int64).view(_Holder)
    array.held = held
    _objects[number] = held
    return torch.from_numpy(array)


def find(handle: Tensor) -> Any:
    """Return what a handle stands for, or None where that is gone."""
    return _objects.get(int(handle))


def held_by(handle: Tensor) -> Any:
    """Return what a handle stands for."""
    found = find(handle)
    if found is None:
        raise RuntimeError(
            "a compiled program was given the handle of a graph that is gone, or of another "
            "process; call it with the graph itself"
        )
    return found


def key(content: Any, value: Any) -> str:
    """Return a string that stands for `value`; the same for the same content.

    Parameters
    ----------
    content : object, or None
        What its `repr` says decides all that is computed with the value. None: only the value
        itself does, and it is not kept alive.
    value : object
    """
    if content is None:
        name = f"{_PROCESS}-{next(_numbers)}"
        _by_identity[name] = value
        return name
    name = hashlib.sha256(f"{VERSION} {content!r}".encode()).hexdigest()[:32]
    _by_content.setdefault(name, value)
    return name


def known_as(key: str) -> Any:
    """Return what a key stands for."""
    found = _by_content.get(key)
    found = _by_identity.get(key) if found is None else found
    if found is None:
        raise RuntimeError("a compiled program was called whose layer is gone; compile it again")
    return found
