"""Other forms: packed sequences and one sequence alone as input; states, one or a tuple."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence


@torch.compiler.disable
def run_packed(layer: Any, packed: PackedSequence, state: Any, lengths: Any) -> tuple[Any, Any]:
    """Run padded sequences with their lengths, and pack the outputs as the inputs were.

    States are in the order of the batch before it was packed. torch.compile does not compile this,
    nor torch's own packed sequences; a padded batch with its lengths compiles.
    """
    if lengths is not None:
        raise ValueError("a packed sequence knows its lengths; leave out lengths=")
    if packed.data.ndim != 2 or aggregates(layer.operator):
        raise ValueError(
            "packed sequences have no nodes; pass the padded batch [T, B, N, F] and lengths="
        )
    first = layer.batch_first
    x, ends = pad_packed_sequence(packed, batch_first=first)
    y, final = layer(x, state, lengths=ends.to(x.device))
    y = y.transpose(0, 1) if first else y  # [T, B, D·H]
    if packed.sorted_indices is not None:
        y = y.index_select(1, packed.sorted_indices)
    sizes = packed.batch_sizes.to(y.device)
    there = torch.arange(y.shape[1], device=y.device) < sizes[:, None]  # [T, B]
    return packed._replace(data=y[there]), final


def run_alone(layer: Any, x: Tensor, state: Any, lengths: Any) -> tuple[Tensor, Any]:
    """Run one sequence `[T, F]` from states `[layers·D, H]`."""
    if lengths is not None:
        raise ValueError("an unbatched sequence [T, F] has no lengths=; cut it where it ends")
    given = (state,) if isinstance(state, Tensor) else state
    for s in given or ():
        if s.ndim != 2:
            raise ValueError(
                "the states of an unbatched sequence [T, F] are [layers·directions, H]; got "
                f"shape {list(s.shape)}"
            )
    batch = 0 if layer.batch_first else 1
    started = None if given is None else tuple(s.unsqueeze(1) for s in given)
    y, final = layer(x.unsqueeze(batch), started)
    if isinstance(final, Tensor):
        return y.squeeze(batch), final.squeeze(1)
    return y.squeeze(batch), tuple(f.squeeze(1) for f in final)


def aggregates(operator: Any) -> bool:
    """Return whether an operator aggregates neighbours, so that its input has nodes."""
    return getattr(operator, "check", None) is not None


def as_tuple(state: Any) -> tuple[Tensor, ...]:
    """Return the state that a layer returns as a tuple, also where it is one tensor."""
    return state if isinstance(state, tuple) else (state,)


def as_state(states: Sequence[Tensor]) -> Any:
    """Return states as a layer takes them: one alone as it is, several as a tuple."""
    return states[0] if len(states) == 1 else tuple(states)
