"""Tensors on disk: one safetensors file with a checksum, never a pickle."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from plait.errors import InputError
from plait.training.files import write_aside


def save_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and JSON facts to one file, atomically (aside, then renamed).

    Example
    -------
    >>> import tempfile, torch
    >>> from pathlib import Path
    >>> from plait.training.checkpoint import load_tensors, save_tensors
    >>> path = Path(tempfile.mkdtemp()) / "a.safetensors"
    >>> save_tensors(path, {"w": torch.ones(2)}, {"step": 3})
    >>> load_tensors(path)
    ({'w': tensor([1., 1.])}, {'step': 3})
    """
    # a tensor of its own memory each: safetensors refuses views of one storage
    own = {k: v.detach().to("cpu", copy=True).contiguous() for k, v in tensors.items()}
    header = {"facts": dict(facts), "crc32": _checksum(own, facts)}
    write_aside(path, save(own, {"plait": json.dumps(header)}))  # one key: their order is random


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Raises `InputError`, naming the file, when it is damaged or not one of Plait's.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["plait"])
            # copies: what get_tensor gives is the mapped file, and changes when the file does
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        facts = header["facts"]
        intact = header["crc32"] == _checksum(tensors, facts)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged or not written by Plait ({error})") from None
    if not intact:
        raise InputError(f"{path}: damaged, its checksum does not fit its content")
    return tensors, facts


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], where: Path) -> None:
    """Put tensors into a model; every name and shape must fit, else `InputError`."""
    try:
        model.load_state_dict(dict(tensors))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{where}: does not fit the run's config.json: {reason}") from None


def pack_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's tensors by names such as `3.exp_avg`."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{name}": value for i, entry in state.items() for name, value in entry.items()}


def unpack_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `pack_optimizer` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def named_part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint whose names begin with `prefix.`, without it."""
    start = prefix + "."
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}


def numbered_part(tensors: Mapping[str, Tensor], prefix: str) -> list[Tensor]:
    """Return the tensors named `prefix.0`, `prefix.1`, … in order."""
    named = named_part(tensors, prefix)
    return [named[str(i)] for i in range(len(named))]


def _checksum(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> int:
    total = zlib.crc32(json.dumps(dict(facts), sort_keys=True).encode())
    for name in sorted(tensors):
        t = tensors[name]
        total = zlib.crc32(f"{name}{t.dtype}{list(t.shape)}".encode(), total)
        total = zlib.crc32(t.reshape(-1).view(torch.uint8).numpy().data, total)
    return total
