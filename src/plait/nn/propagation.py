"""`Propagation`: the mean of what a matrix of the graph reaches in several steps."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.kernels.sparse import Shift, propagate
from plait.nn import shifts
from plait.nn.filters import Filter
from plait.nn.graph import Graph


@dataclass(frozen=True)
class Propagation(Filter):
    r"""The mean of a node and of its surroundings up to k hops, with one matrix.

    y = W (x + Â x + … + Âᵏ x) / (k + 1),  Â as in `GCN`

    It reaches far with the weights of one layer. The terms share their matrix, so recurrent layers
    compute it in torch. Weights of edges must not be negative.

    Parameters
    ----------
    k : int
        Hops, at least 1.

    Shapes
    ------
    x : `[..., N, inputs]`; y : `[..., N, outputs]`; weight : `[outputs, inputs]`

    Raises
    ------
    InputError
        For a negative edge weight.
    ValueError
        For k below 1, or if x does not fit the graph.

    Source: Feng et al. (2020), Graph random neural networks, section 3.1 ("mixed-order
    propagation").

    Example
    -------
    >>> import torch
    >>> from plait import Graph, Propagation
    >>> pair = Graph.from_edges([(0, 1)]).to_undirected()
    >>> Propagation(1).apply(torch.tensor([[1.0], [0.0]]), {"weight": torch.ones(1, 1)}, pair)
    tensor([[0.7500],
            [0.2500]])
    """

    k: int
    includes_identity = False
    through_products = True
    basis: ClassVar[None] = None  # pyright: ignore[reportIncompatibleMethodOverride]

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"Propagation needs at least 1 hop, not {self.k}")

    @property
    def terms(self) -> int:
        """One matrix."""
        return 1

    @property
    def reach(self) -> int:
        """K."""
        return self.k

    def not_recorded(self, outputs: int) -> None:
        """Return None: on one graph all work depends on shapes alone."""

    def shifts(self, graph: Graph, dtype: torch.dtype) -> tuple[Shift, ...]:
        """Â."""
        return (shifts.gcn(graph, dtype),)

    def _shift_first(self, x: Tensor, weight: Tensor, shifts: tuple[Shift, ...]) -> Tensor:
        return F.linear(self._mean(x, shifts), weight.flatten(1))

    def _product_first(self, x: Tensor, weight: Tensor, shifts: tuple[Shift, ...]) -> Tensor:
        return self._mean(F.linear(x, weight.flatten(1)), shifts)

    def _mean(self, x: Tensor, shifts: tuple[Shift, ...]) -> Tensor:
        term = total = x
        for _ in range(self.k):
            term = propagate(shifts[0], term)
            total = total + term
        return total / (self.k + 1)
