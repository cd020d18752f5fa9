"""The recurrence in plain torch operations: any cell, any operator, any device; the oracle."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

State = tuple[Tensor, ...]


def run(
    step: Callable[..., State],
    x_gates: Tensor,
    hear: Callable[..., Tensor],
    state: State,
    vectors: Mapping[str, Tensor],
    keep: Tensor | None,
) -> tuple[Tensor, State, State]:
    """Run `step` over time.

    Parameters
    ----------
    step : callable
        A cell's: `step(x_gates, hear, state, vectors)` gives the new state.
    x_gates : Tensor `[T, B, (N,) G·H]`
    hear : callable
        The recurrent side, `hear(tensor, gates)`.
    state : tuple of Tensor `[B, (N,) H]`
    vectors : mapping of Tensor `[H]`
    keep : boolean Tensor `[T, B, (1,) 1]`
        False past a sequence's end: its state stays, its output is zero. None: all steps count.

    Returns
    -------
    outputs : Tensor `[T, B, (N,) H]`
    final state : tuple of Tensor `[B, (N,) H]`
    states after every step : tuple of Tensor `[T, B, (N,) H]`
    """
    history: list[State] = []
    for t, x_t in enumerate(x_gates.unbind(0)):
        new = step(x_t, hear, state, vectors)
        if keep is not None:
            new = tuple(torch.where(keep[t], n, s) for n, s in zip(new, state, strict=True))
        state = new
        history.append(state)
    states = tuple(torch.stack(s) for s in zip(*history, strict=True))  # [T, B, (N,) H]
    outputs = states[0] if keep is None else states[0].masked_fill(~keep, 0)
    return outputs, state, states
