"""The recurrence in plain torch operations: any cell, any operator, any device; the oracle."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from plait.kernels.kernel import Call, State
from plait.kernels.scan import scan
from plait.kernels.transforms import exporting


class Reference:
    """Runs the cell's own `step`, step by step."""

    name = "reference"

    def accepts(self, layer: Any, call: Call) -> str | None:
        """Accept whatever there is."""
        return None

    def describe(self, layer: Any, call: Call) -> str:
        """Return what it is."""
        return "plain torch, step by step"

    def run(self, layer: Any, call: Call) -> tuple[Tensor, State, State]:
        """Run as the layer's own code says."""
        return layer.run_plainly(call)


def run(
    step: Callable[..., State],
    x_gates: Tensor,
    recurrent: Callable[..., Tensor],
    state: State,
    vectors: Mapping[str, Tensor],
    keep: Tensor | None,
) -> tuple[Tensor, State, State]:
    """Run `step` over time.

    Parameters
    ----------
    step : callable
        A cell's: `step(x_gates, recurrent, state, vectors)` gives the new state.
    x_gates : Tensor `[T, B, (N,) G·H]`
    recurrent : callable
        The recurrent side, `recurrent(tensor, gates)`.
    state : tuple of Tensor `[B, (N,) H]`
    vectors : mapping of Tensor `[k · H]`
    keep : boolean Tensor `[T, B, (1,) 1]`
        False past a sequence's end: its state stays, its output is zero. None: all steps count.

    Returns
    -------
    outputs : Tensor `[T, B, (N,) H]`
    final state : tuple of Tensor `[B, (N,) H]`
    states after every step : tuple of Tensor `[T, B, (N,) H]`

    Raises
    ------
    ValueError
        Where `step` returns no tuple of states of the right shapes.
    """
    over = (x_gates,) if keep is None else (x_gates, keep)

    def advance(state: State, at: Sequence[Tensor]) -> State:
        """Take one step, given the gates of its input and, with `keep`, its mask."""
        new = step(at[0], recurrent, state, vectors)
        _check(new, state)
        if keep is not None:
            new = [torch.where(at[1], n, s) for n, s in zip(new, state, strict=True)]
        return tuple(new)

    T = x_gates.shape[0]
    if exporting() and not (isinstance(T, int) and T == 1):
        state, states = scan(advance, state, over)  # one operation, whatever T will be
    else:
        history: list[State] = []
        for at in zip(*(x.unbind(0) for x in over), strict=True):
            state = advance(state, at)
            history.append(state)
        states = tuple(torch.stack(s) for s in zip(*history, strict=True))  # [T, B, (N,) H]
    outputs = states[0] if keep is None else states[0].masked_fill(~keep, 0)
    return outputs, state, states


def _check(new: Any, state: State) -> None:
    if not isinstance(new, tuple | list) or len(new) != len(state):
        found = type(new).__name__ + (f" of {len(new)}" if isinstance(new, tuple | list) else "")
        raise ValueError(f"step must return a tuple of {len(state)} states; it returned a {found}")
    for k, (n, s) in enumerate(zip(new, state, strict=True)):
        if not isinstance(n, Tensor) or n.shape != s.shape:
            found = list(n.shape) if isinstance(n, Tensor) else type(n).__name__
            raise ValueError(
                f"step must return states of shape {list(s.shape)}; state {k} is {found}"
            )
