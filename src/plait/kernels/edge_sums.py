"""Sums over the edges of a graph by node, in the same order at each call.

On a GPU torch adds by atomic operations, in the order in which programs end: in `index_add`, and in
the gradient of `index_select`. Here an edge's row is taken from its node, and the rows of a node's
edges are summed, each the gradient of the other: on a GPU by segments, with Triton in float32
(`gpu.sparse`), else by torch's own. On a CPU torch adds in the order of the edges as it is.
"""

from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from plait.kernels.gpu import sparse as on_gpu
from plait.kernels.sparse import index_type, offsets
from plait.kernels.transforms import exactly, transformed, wide


class Ends(NamedTuple):
    """The nodes at one end of the edges; without `starts` for what torch adds in order itself."""

    nodes: Tensor  # int64 [E]
    count: int  # N
    starts: Tensor | None = None  # [N + 1], where each node's edges begin
    order: Tensor | None = None  # [E], the edges by node; None: so they lie


def ends_of(graph: Any, like: Tensor) -> tuple[Ends, Ends]:
    """Return the sources and the targets of a graph's edges, for features of this kind."""
    source, target = graph.edge_index
    N = graph.num_nodes
    if in_order(like):
        return Ends(source, N), Ends(target, N)
    return graph.cached("ends of edges", lambda: (sorted_ends(source, N), sorted_ends(target, N)))


def sorted_ends(nodes: Tensor, count: int) -> Ends:
    """Sort edges by the nodes at one end."""
    kind = index_type(count, len(nodes))
    order = torch.argsort(nodes, stable=True)
    return Ends(nodes, count, offsets(nodes, count).to(kind), order.to(kind))


def in_order(x: Tensor) -> bool:
    """Return whether torch's own sums are used: on a CPU, in order, or under a transform."""
    return x.device.type == "cpu" or transformed(x)


def take(x: Tensor, ends: Ends, dim: int) -> Tensor:
    """Return the row of the node at each edge's end: `[…, N, …]` as `[…, E, …]`.

    >>> import torch
    >>> from plait.kernels.edge_sums import Ends, take, total
    >>> ends = Ends(torch.tensor([1, 0, 1]), 2)
    >>> take(torch.tensor([5.0, 7.0]), ends, 0), total(torch.tensor([1.0, 2.0, 3.0]), ends, 0)
    (tensor([7., 5., 7.]), tensor([2., 4.]))
    """
    if in_order(x):
        return x.index_select(dim, ends.nodes)
    return _Take.apply(x, ends, dim % x.ndim)  # pyright: ignore[reportReturnType]


def total(x: Tensor, ends: Ends, dim: int) -> Tensor:
    """Return the sum of the rows of each node's edges: `[…, E, …]` as `[…, N, …]`."""
    if in_order(x):
        return add_at(_none(x, ends, dim), ends.nodes, x, dim)
    return _Total.apply(x, ends, dim % x.ndim)  # pyright: ignore[reportReturnType]


def add_at(out: Tensor, nodes: Tensor, x: Tensor, dim: int = 0) -> Tensor:
    """Add the rows of x to those of some nodes in `out`, and return it.

    For sums that are made once, whose order is not known: on a GPU the rows are sorted.
    """
    if in_order(x):
        return out.index_add_(dim, nodes, x)
    out.movedim(dim, 0).index_put_((nodes,), x.movedim(dim, 0), accumulate=True)
    return out


class _Take(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, ends: Ends, dim: int) -> Tensor:
        ctx.ends, ctx.dim = ends, dim
        return x.index_select(dim, ends.nodes)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return total(grads[0], ctx.ends, ctx.dim), None, None


class _Total(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, ends: Ends, dim: int) -> Tensor:
        ctx.ends, ctx.dim = ends, dim
        if x.numel() < 2:  # torch's segments want more
            return _none(x, ends, dim).index_add_(dim, ends.nodes, x)
        rows = x.to(wide(x.dtype)).reshape(prod(x.shape[:dim]), x.shape[dim], -1)
        with exactly(x):
            summed = _by_segments(rows.resolve_neg(), ends)
        return summed.to(x.dtype).view(*x.shape[:dim], ends.count, *x.shape[dim + 1 :])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return take(grads[0], ctx.ends, ctx.dim), None, None


def _by_segments(rows: Tensor, ends: Ends) -> Tensor:
    """Return the sums of rows `[B, E, W]` by node, `[B, N, W]`."""
    assert ends.starts is not None
    if on_gpu.can_sum(rows):
        return on_gpu.SparseRows.by_node(ends.starts, ends.order).multiply(rows.contiguous())
    if ends.order is not None:
        rows = rows.index_select(1, ends.order)
    starts = ends.starts.expand(len(rows), -1).long().contiguous()
    return torch.segment_reduce(rows.contiguous(), "sum", offsets=starts, axis=1, unsafe=True)


def _none(x: Tensor, ends: Ends, dim: int) -> Tensor:
    shape = list(x.shape)
    shape[dim] = ends.count
    return x.new_zeros(shape)
