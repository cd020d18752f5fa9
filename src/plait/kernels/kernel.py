"""What a kernel answers, and how one is chosen: the first of a list that accepts."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from torch import Tensor

State = tuple[Tensor, ...]


class Call(NamedTuple):
    """What one layer is asked to run, in one direction.

    Attributes
    ----------
    x : Tensor `[T, B, (N,) F]`
    start : tuple of Tensor `[B, (N,) H]`
    graph : Graph, a sequence of T graphs, or None
    lengths : Tensor `[B]`, or None
    keep : boolean Tensor `[T, B, (1,) 1]`, or None
        The lengths as a mask.
    dropout : float
        Share of the channels that recurrent dropout drops; 0 in evaluation.
    unroll : bool
        Whether the states of every step are asked for.
    """

    x: Tensor
    start: State
    graph: Any = None
    lengths: Tensor | None = None
    keep: Tensor | None = None
    dropout: float = 0.0
    unroll: bool = False
    compiling: bool = False
    """Whether a compiler traces the call, so that only `plait.kernels.library` reaches through."""
    seed: Tensor | None = None
    """Under a compiler: what the operator's dropout is drawn from, int64 `[1]`."""


class Kernel(Protocol):
    """Runs a layer over time. `layer` is a `plait.nn.bound.BoundCell`: a cell with its weights."""

    name: str

    def accepts(self, layer: Any, call: Call) -> str | None:
        """Return the reason why this kernel cannot run the call, or None where it can."""
        ...

    def describe(self, layer: Any, call: Call) -> str:
        """Describe in a few words how it runs the call."""
        ...

    def run(self, layer: Any, call: Call) -> tuple[Tensor, State, State]:
        """Return outputs `[T, B, (N,) H]`, final states, and with `unroll` those of every step."""
        ...


class Choice(NamedTuple):
    """The kernel that runs a call, and those before it in the list with their reasons."""

    kernel: Kernel
    passed_over: tuple[tuple[str, str], ...]


def choose(kernels: Sequence[Kernel], layer: Any, call: Call) -> Choice:
    """Choose the first kernel that accepts a call; the last one takes all."""
    passed: list[tuple[str, str]] = []
    for kernel in kernels:
        reason = kernel.accepts(layer, call)
        if reason is None:
            return Choice(kernel, tuple(passed))
        passed.append((kernel.name, reason))
    raise NotImplementedError("; ".join(f"{name}: {reason}" for name, reason in passed))
