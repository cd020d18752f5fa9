"""`PerNode`: the weights of an operator, different at every node."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from plait.nn.operators import (
    Operator,
    check_nodes,
    checked_operator,
    drawn_by,
    for_mode,
    not_recorded,
)  # fmt: skip


class PerNode(nn.Module):
    r"""An operator whose weights are each node's own (AGCRN, Bai et al. 2020, equation 4).

    y_n = W(n) * x + c(n),  W(n) = Σ_d E_nd W_d,  c(n) = Σ_d E_nd c_d, with `*` the given operator

    E `[N, size]` holds an embedding of every node. The `size` sets of weights W_d are shared, so
    that their number does not grow with the nodes. It works around every operator, alone, in
    `GraphConv` and in recurrent layers with every cell; there c is on both sides, so that their sum
    counts.

    The nodes are fixed, so that it cannot be used on a graph of other nodes.

    Parameters
    ----------
    operator : Operator
    nodes : int
        N.
    size : int
        Dimension of the node embeddings.
    vectors : nn.Parameter `[N, size]`
        E, such as the embeddings that a graph is learnt from (`Adaptive(…).targets`), which are
        then the same parameter; None: its own.

    Shapes
    ------
    x : `[..., N, inputs]`; y : `[..., N, outputs]`

    The weights are those of the operator for size · outputs features, the dimensions of
    the embedding varying fastest, and node_bias : `[outputs, size]`

    Raises
    ------
    ValueError
        For sizes below 1, vectors of another shape, and for x of other nodes.

    Example
    -------
    >>> import torch
    >>> from plait import GRU, Chebyshev, Graph, PerNode, Recurrent
    >>> path = Graph([[0, 1], [1, 2]]).to_undirected()
    >>> layer = Recurrent(GRU(), 1, 8, operator=PerNode(Chebyshev(2), nodes=3, size=4))
    >>> y, h = layer(torch.randn(12, 5, 3, 1), graph=path)
    >>> y.shape
    torch.Size([12, 5, 3, 8])
    """

    def __init__(
        self, operator: Operator, nodes: int, size: int, vectors: nn.Parameter | None = None
    ) -> None:
        super().__init__()
        for name, value in (("nodes", nodes), ("size", size)):
            if value < 1:
                raise ValueError(f"PerNode needs {name} of at least 1, not {value}")
        self.operator, self.nodes, self.size = checked_operator(operator), nodes, size
        if vectors is None:
            vectors = nn.Parameter(torch.randn(nodes, size) / size**0.5)
        if vectors.shape != (nodes, size):
            raise ValueError(f"vectors must be [{nodes}, {size}]; got shape {list(vectors.shape)}")
        self.vectors = vectors

    @property
    def score_weights(self) -> tuple[str, ...]:
        """The operator's weights that only compare nodes."""
        return getattr(self.operator, "score_weights", ())

    def weight_shapes(self, inputs: int, outputs: int) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of `size` sets of the operator's weights, and of c."""
        shapes = dict(self.operator.weight_shapes(inputs, outputs * self.size))
        return {**shapes, "node_bias": (outputs, self.size)}

    def check(self, x: Tensor, graph: Any) -> None:
        """Refuse features of other nodes, and what the operator refuses."""
        check_nodes(self, x, self.nodes)
        check = getattr(self.operator, "check", None)
        if check is not None:
            check(x, graph)

    def draw(self, batch: int, graph: Any) -> Tensor | None:
        """Return what the operator draws at random, or None."""
        return drawn_by(for_mode(self.operator, self.training), batch, graph)

    def apply(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, x: Tensor, weights: Mapping[str, Tensor], graph: Any, drawn: Tensor | None = None
    ) -> Tensor:
        """Return the outputs of all sets of weights, weighted by the node's embedding."""
        check_nodes(self, x, self.nodes)
        sets = {name: weight for name, weight in weights.items() if name != "node_bias"}
        operator: Any = for_mode(self.operator, self.training)
        y = operator.apply(x, sets, graph, *([] if drawn is None else [drawn]))
        y = y.unflatten(-1, (-1, self.size)) + weights["node_bias"]  # [..., N, outputs, size]
        return (y @ self.vectors.to(y.dtype)[..., None])[..., 0]

    def not_recorded(self, outputs: int) -> str | None:
        """Return why a GPU's work cannot be recorded: only the operator's."""
        return not_recorded(self.operator, outputs * self.size)

    @property
    def on_edges(self) -> bool:
        """Whether numbers are kept for every edge and output."""
        return getattr(self.operator, "on_edges", False)

    def explain(self, inputs: int, outputs: int, graph: Any = None) -> str:
        """Return in words what differs from node to node."""
        return f"{self.operator!r} with weights of each node, from node embeddings of {self.size}"

    def __repr__(self) -> str:
        return f"PerNode({self.operator!r}, {self.nodes}, {self.size})"
