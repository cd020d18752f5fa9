"""Operators: how a unit hears the others.

An operator declares the weights that carry `inputs` features to `outputs` features, and applies
them. It owns no weights: `Recurrent` does, once for its input side and once for its recurrent
side, with the outputs of all gates stacked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor
from torch.nn import functional as F


class Operator(Protocol):
    """What every operator answers; write a class with these two methods to make your own.

    The first axis of every weight runs over the outputs, so that a cell can ask for the rows of
    some of its gates only.

    Example
    -------
    An operator on a ring, where each node hears itself and the node before it:

    >>> import torch
    >>> from plait import GRU, Recurrent
    >>> class Ring:
    ...     def weight_shapes(self, inputs, outputs):
    ...         return {"weight": (outputs, 2 * inputs)}
    ...     def apply(self, x, weights, graph):                        # x [..., N, F]
    ...         basis = torch.cat([x, x.roll(1, dims=-2)], dim=-1)     # [..., N, 2F]
    ...         return torch.nn.functional.linear(basis, weights["weight"])
    >>> layer = Recurrent(GRU(), 3, 8, operator=Ring())
    >>> y, h = layer(torch.randn(5, 2, 4, 3))                          # T, B, N, F
    >>> y.shape, h.shape
    (torch.Size([5, 2, 4, 8]), torch.Size([1, 2, 4, 8]))
    """

    def weight_shapes(self, inputs: int, outputs: int) -> Mapping[str, tuple[int, ...]]:
        """Name the weights and give their shapes; each begins with `outputs`."""
        ...

    def apply(self, x: Tensor, weights: Mapping[str, Tensor], graph: Any) -> Tensor:
        """Carry `x [..., (N,) inputs]` to `[..., (N,) outputs]` with these weights."""
        ...


@dataclass(frozen=True)
class Dense:
    """Every unit hears itself alone: y = W x, with one matrix for every time and node.

    With `Dense`, `Recurrent` is the recurrent network of `torch.nn`; nodes, where there are any,
    are so many independent sequences, and a graph is ignored.

    Example
    -------
    >>> from plait import Dense
    >>> Dense().weight_shapes(3, 8)
    {'weight': (8, 3)}
    """

    def weight_shapes(self, inputs: int, outputs: int) -> Mapping[str, tuple[int, ...]]:
        """One matrix."""
        return {"weight": (outputs, inputs)}

    def apply(self, x: Tensor, weights: Mapping[str, Tensor], graph: Any) -> Tensor:
        """Return x Wᵀ."""
        return F.linear(x, weights["weight"])
