"""Checks of the arguments of a recurrent layer's call, before anything is computed."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from plait.kernels.transforms import compiling
from plait.nn.cell import Cell, State


def checked_input(
    x: Tensor, weights: nn.Module, operator: Any, input_size: int, graph: Any, *, batch_first: bool
) -> Tensor:
    """Return x as `[T, B, (N,) F]`, or refuse it, naming what was given and what is wanted."""
    if isinstance(x, PackedSequence):
        raise TypeError("unroll takes no packed sequences; pass the padded batch and lengths=")
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a tensor, not {type(x).__name__}")
    if x.layout != torch.strided:
        raise ValueError(f"x must be a dense tensor, not {x.layout}; convert it with .to_dense()")
    order = "[B, T, {}F]" if batch_first else "[T, B, {}F]"
    if x.ndim not in (3, 4):
        expected = f"{order.format('')} or, on a graph, {order.format('N, ')}"
        raise ValueError(f"x must be {expected}, batched; got shape {list(x.shape)}")
    if x.shape[-1] != input_size:
        shape = order.format("N, " if x.ndim == 4 else "").replace("F", str(input_size))
        raise ValueError(f"x must be {shape}; got shape {list(x.shape)}")
    T = x.shape[1 if batch_first else 0]
    if T == 0:
        raise ValueError(f"x has no time steps: shape {list(x.shape)}")
    _check_type(x, weights)
    check: Any = getattr(operator, "check", None)
    if check is not None and x.ndim != 4:
        raise ValueError(
            f"{operator!r} aggregates neighbours, so x must be {order.format('N, ')}; "
            f"got shape {list(x.shape)}"
        )
    for one in _graphs(graph, T):
        if check is not None and not compiling():
            check(x, one)
    return x.transpose(0, 1) if batch_first else x


def _check_type(x: Tensor, weights: nn.Module) -> None:
    held: Any = weights
    dtype, device = x.dtype, x.device
    for module in held.weight_modules():
        for p in module._parameters.values():
            if p is not None and (p.dtype != dtype or p.device != device):
                return _refuse_type(x, weights)
    return None


def _refuse_type(x: Tensor, weights: nn.Module) -> None:
    for name, weight in weights.named_parameters():
        if weight.device != x.device:
            raise ValueError(
                f"x is on {x.device}, the layer's {name} on {weight.device}; move one with .to()"
            )
        if weight.dtype != x.dtype and not torch.is_autocast_enabled(x.device.type):
            raise ValueError(
                f"x is {x.dtype}, the layer's {name} {weight.dtype}; convert one with .to()"
            )


def _graphs(graph: Any, steps: int) -> Sequence[Any]:
    """List the graphs, one for all steps or one per step."""
    if not isinstance(graph, list | tuple):
        return [graph]
    if len(graph) != steps:
        raise ValueError(f"graph= has {len(graph)} graphs for T = {steps} steps; give one per step")
    return graph


def checked_state(
    state: Tensor | State | None, x: Tensor, cell: Cell, count: int, hidden_size: int
) -> State:
    """Return a tuple of states `[layers·D, B, (N,) H]`; zeros where none are given."""
    names = tuple(cell.states)
    shape = (count, *x.shape[1:-1], hidden_size)
    if state is None:
        return tuple(x.new_zeros(shape) for _ in names)
    states = (state,) if isinstance(state, Tensor) else tuple(state)
    if len(states) != len(names):
        raise ValueError(f"state must hold ({', '.join(names)}); got {len(states)} tensors")
    autocast = torch.is_autocast_enabled(x.device.type)
    for name, s in zip(names, states, strict=True):
        if not isinstance(s, Tensor):
            raise TypeError(f"state {name} must be a tensor, not {type(s).__name__}")
        if s.shape != shape:
            raise ValueError(
                f"state {name} must be {list(shape)} [layers·directions, B, (N,) H]; "
                f"got shape {list(s.shape)}"
            )
        if s.dtype != x.dtype and not (autocast and s.is_floating_point()):
            raise ValueError(f"x is {x.dtype}, state {name} {s.dtype}; convert one with .to()")
        if s.device != x.device:
            raise ValueError(f"x is on {x.device}, state {name} on {s.device}; move it with .to()")
        if s.layout != torch.strided:
            raise ValueError(f"state {name} must be a dense tensor, not {s.layout}")
    return states


def checked_lengths(lengths: Any, x: Tensor) -> Tensor:
    """Return lengths `[B]` in 64 bits, each within 0 … T."""
    T, B = x.shape[:2]
    lengths = torch.as_tensor(lengths, device=x.device)
    if lengths.shape != (B,) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise ValueError(
            f"lengths must be {B} integers, one per sequence; got {lengths.dtype} of shape "
            f"{list(lengths.shape)}"
        )
    if torch.compiler.is_compiling():  # numbers are not known yet
        return lengths.long()
    if B and (int(lengths.min()) < 0 or int(lengths.max()) > T):
        raise ValueError(f"lengths must lie within 0 … T = {T}; got {lengths.tolist()}")
    return lengths.long()
