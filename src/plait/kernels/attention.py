"""Attention over the edges of a graph, without a number for each edge and feature.

What is kept for the backward pass lies on the nodes: the values, the two sides of the scores, and
the logarithm of each node's sum. Scores and coefficients are computed again: by compiled loops over
the nodes (`neighbours`), or in torch a few heads at a time, where their products with the values
are sparse matrix products.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from plait.kernels import neighbours
from plait.kernels.cpu.jit import parallel_for, empty_f32
from plait.kernels.cpu.simd import LANES
from plait.kernels.sparse import csr, index_type, offsets

SLOPE = 0.2
"""Of LeakyReLU below zero."""

BLOCK = 2**20
"""Numbers of one intermediate in torch at a time, where one head's edges allow."""

ROWS = 4096
"""Nodes that a thread takes at a time."""


class Neighbourhood(NamedTuple):
    """Who hears whom, by the hearer; `back_…` the same by the one who is heard."""

    starts: Tensor  # [N + 1], where each target's edges begin
    sources: Tensor  # [E]
    targets: Tensor  # [E]
    long_starts: Tensor  # [N + 1], in 64 bits, as a segment's maximum wants them
    back_starts: Tensor  # [N + 1]
    back_targets: Tensor  # [E]
    back_order: Tensor  # [E], the edges ordered by source


def neighbourhood(sources: Tensor, targets: Tensor, nodes: int) -> Neighbourhood:
    """Sort edges both ways. Every node must hear someone."""
    kind = index_type(nodes, len(sources))
    order = torch.argsort(targets * nodes + sources)
    sources, targets = sources[order], targets[order]
    back = torch.argsort(sources, stable=True)
    starts = offsets(targets, nodes)
    return Neighbourhood(
        starts.to(kind), sources.to(kind), targets.to(kind), starts,
        offsets(sources, nodes).to(kind), targets[back].to(kind), back.to(kind),
    )  # fmt: skip


def attend(
    values: Tensor,
    left: Tensor,
    right: Tensor,
    vector: Tensor | None,
    hood: Neighbourhood,
    dropout: float = 0.0,
) -> Tensor:
    """Let every node take the mean of its neighbours' values, weighted by attention, in K heads.

    y_i = Σ_j α_ij v_j,  α_i = softmax over the neighbours j of i of e_ij, where

    e_ij = LeakyReLU(left_j + right_i), or aᵀ LeakyReLU(left_j + right_i) with a vector a

    Parameters
    ----------
    values : Tensor `[B, N, K, D]`
    left, right : Tensor `[B, N, K]`, or with a vector `[B, N, K, d]`
    vector : Tensor `[K, d]`, or None
    hood : Neighbourhood
    dropout : float
        Share of the coefficients set to zero, the others scaled up. The mask is drawn again in
        the backward pass from a seed, which comes from torch's generator.

    Returns
    -------
    Tensor `[B, N, K, D]`
        It can be differentiated once; a second time is refused.
    """
    seed = int(torch.randint(2**62, ())) if dropout else 0
    if vector is None and has_loops(values) and hood.starts.dtype == torch.int32:
        return _Compiled.apply(values, left, right, hood, dropout, seed)  # pyright: ignore[reportReturnType]
    B, _, K, _ = values.shape

    def by_head(x: Tensor) -> Tensor:  # [B·K, N, …]
        return x.transpose(1, 2).flatten(0, 1)

    sides = by_head(left), by_head(right), None if vector is None else vector.repeat(B, 1)
    y: Tensor = _Attend.apply(by_head(values), *sides, hood, dropout, seed)  # pyright: ignore[reportAssignmentType]
    return y.unflatten(0, (B, K)).transpose(1, 2)


def has_loops(values: Tensor) -> bool:
    """Say whether the compiled loops run here, for scores without a vector."""
    return (
        values.dtype == torch.float32
        and values.device.type == "cpu"
        and not torch.compiler.is_compiling()
    )


class _Compiled(Function):
    @staticmethod
    def forward(
        ctx: Any, values: Tensor, left: Tensor, right: Tensor, hood: Neighbourhood, dropout: float,
        seed: int,
    ) -> Tensor:  # fmt: skip
        values, left, right = values.contiguous(), left.contiguous(), right.contiguous()
        y, z = empty_f32(*values.shape), empty_f32(*values.shape)
        p, tops, sums = (empty_f32(*left.shape) for _ in range(3))
        tensors = (values, left, right, _drawn(values, hood, dropout, seed), y, z, p, tops, sums)
        heard = _heard(hood, tensors)
        _over_rows(values, 0, lambda *of: neighbours.forward(heard, SLOPE, *of))
        ctx.save_for_backward(values, left, right, y, z, p, tops.add_(sums.log_()))
        ctx.hood, ctx.dropout, ctx.seed = hood, dropout, seed
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        values, left, right, y, z, p, logs = ctx.saved_tensors
        grad = grads[0].contiguous()
        masks = _drawn(values, ctx.hood, ctx.dropout, ctx.seed)
        heard = _heard(ctx.hood, (values, left, right, masks, y, z, p, logs, logs))
        changes = empty_f32(*values.shape), empty_f32(*left.shape), empty_f32(*left.shape)
        means = empty_f32(*left.shape)
        back = neighbours.Back(*(t.data_ptr() for t in (grad, *changes, means)))
        _over_rows(values, 0, lambda *of: neighbours.means(heard, back, *of[:2]))
        size = values.shape[2] * values.shape[3]
        _over_rows(values, size, lambda *of: neighbours.backward(heard, back, SLOPE, *of))
        return *changes, None, None, None


def _heard(hood: Neighbourhood, tensors: tuple[Tensor, ...]) -> neighbours.Heard:
    _, N, K, D = tensors[0].shape
    lists = hood.starts, hood.sources, hood.back_starts, hood.back_targets, hood.back_order
    addresses = (t.data_ptr() for t in (*lists, *tensors))
    return neighbours.Heard(N, len(hood.sources), K, D, *addresses)


def _drawn(values: Tensor, hood: Neighbourhood, dropout: float, seed: int) -> Tensor:
    """Draw what the coefficients `[B, E, K]` are multiplied by; nothing without dropout."""
    if not dropout:
        return values.new_empty(0)
    B, _, K, _ = values.shape
    return _Masks(values, dropout, seed).apply(values.new_ones(B, len(hood.sources), K))


def _over_rows(values: Tensor, size: int, call: Callable[[int, int, int], None]) -> None:
    """Call with blocks of rows and room for the coefficients and so many numbers."""
    rows = values.shape[0] * values.shape[1]

    def block(first: int) -> None:
        scratch = empty_f32(2 * neighbours.EDGES * LANES + size)
        call(first, min(first + ROWS, rows), scratch.data_ptr())

    parallel_for(block, range(0, rows, ROWS))


class _Attend(Function):
    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        left: Tensor,
        right: Tensor,
        vector: Tensor | None,
        hood: Neighbourhood,
        dropout: float,
        seed: int,
    ) -> Tensor:
        R, N, _ = values.shape
        values, left, right = values.contiguous(), left.contiguous(), right.contiguous()
        y, logs = torch.empty_like(values), values.new_empty(R, N)
        masks = _Masks(values, dropout, seed)
        for part in _parts(R, hood):
            scores = _scores(left[part], right[part], _cut(vector, part), hood)  # [r, E]
            starts = hood.long_starts.expand(len(scores), -1).contiguous()
            top = torch.segment_reduce(scores, "max", offsets=starts, axis=1, unsafe=True)
            scores -= top.index_select(1, hood.targets)
            scores.exp_()
            total = _sum_by(hood.targets, scores, N)
            scores /= total.index_select(1, hood.targets)
            logs[part] = top + total.log()
            masks.apply(scores)
            for r, coefficients in zip(range(R)[part], scores, strict=True):
                matrix = csr(hood.starts, hood.sources, coefficients, N)
                torch.mm(matrix, values[r], out=y[r])
        ctx.save_for_backward(values, left, right, logs, vector)
        ctx.hood, ctx.dropout, ctx.seed = hood, dropout, seed
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        values, left, right, logs, vector = ctx.saved_tensors
        hood: Neighbourhood = ctx.hood
        grad = grads[0].contiguous()  # [R, N, D]
        R, N, _ = values.shape
        values_grad, left_grad = torch.empty_like(values), torch.zeros_like(left)
        right_grad = torch.zeros_like(right)
        vector_grad = None if vector is None else torch.zeros_like(vector)
        masks = _Masks(values, ctx.dropout, ctx.seed)
        pattern = values.new_zeros(len(hood.sources))
        for part in _parts(R, hood):
            sides = left[part], right[part], _cut(vector, part), hood
            alpha = _scores(*sides)
            alpha -= logs[part].index_select(1, hood.targets)
            alpha.exp_()
            kept = masks.apply(alpha.clone()) if ctx.dropout else alpha
            change = torch.empty_like(alpha)  # of what comes out, by each coefficient
            for r, coefficients, c in zip(range(R)[part], kept, change, strict=True):
                # <grad_i, value_j> for every edge j → i
                edges = csr(hood.starts, hood.sources, pattern, N)
                c.copy_(torch.sparse.sampled_addmm(edges, grad[r], values[r].T, beta=0).values())
                coefficients = coefficients.index_select(0, hood.back_order)
                back = csr(hood.back_starts, hood.back_targets, coefficients, N)
                torch.mm(back, grad[r], out=values_grad[r])
            # softmax: dL/de = α̃ dL/dα̃ − α Σ_i α̃ dL/dα̃, with α̃ = α · mask
            change *= kept
            mean = _sum_by(hood.targets, change, N)
            change -= alpha.mul_(mean.index_select(1, hood.targets))
            _scores_backward(
                change, *sides, left_grad[part], right_grad[part], _cut(vector_grad, part)
            )
        return values_grad, left_grad, right_grad, vector_grad, None, None, None


class _Masks:
    """Dropout from a seed: the same masks, in the same order, each time it is made."""

    def __init__(self, like: Tensor, dropout: float, seed: int) -> None:
        self.dropout = dropout
        self.generator = torch.Generator(like.device).manual_seed(seed) if dropout else None

    def apply(self, coefficients: Tensor) -> Tensor:
        """Multiply in place by the next mask."""
        if self.generator is not None:
            keep = 1 - self.dropout
            drawn = torch.empty_like(coefficients).uniform_(generator=self.generator)
            coefficients *= (drawn < keep).to(drawn.dtype).div_(keep)
        return coefficients


def _scores(left: Tensor, right: Tensor, vector: Tensor | None, hood: Neighbourhood) -> Tensor:
    """Give e `[r, E]`."""
    if vector is None:
        scores = left.index_select(1, hood.sources)
        scores += right.index_select(1, hood.targets)
        return F.leaky_relu_(scores, SLOPE)
    scores = left.new_empty(len(left), len(hood.sources))
    for cut in _edge_blocks(left, hood):
        summed = left.index_select(1, hood.sources[cut])  # [r, edges, d]
        summed += right.index_select(1, hood.targets[cut])
        scores[:, cut] = (F.leaky_relu_(summed, SLOPE) @ vector[..., None])[..., 0]
    return scores


def _scores_backward(
    grad: Tensor,
    left: Tensor,
    right: Tensor,
    vector: Tensor | None,
    hood: Neighbourhood,
    left_grad: Tensor,
    right_grad: Tensor,
    vector_grad: Tensor | None,
) -> None:
    """Add the gradients of e `[r, E]` to those of the sides and the vector."""
    if vector is None or vector_grad is None:
        summed = left.index_select(1, hood.sources) + right.index_select(1, hood.targets)
        grad = torch.where(summed > 0, grad, SLOPE * grad)
        left_grad += _sum_by(hood.sources, grad, left.shape[1])
        right_grad += _sum_by(hood.targets, grad, left.shape[1])
        return
    for cut in _edge_blocks(left, hood):
        sources, targets = hood.sources[cut], hood.targets[cut]
        summed = left.index_select(1, sources) + right.index_select(1, targets)  # [r, edges, d]
        vector_grad += (grad[:, None, cut] @ F.leaky_relu(summed, SLOPE))[:, 0]
        change = vector[:, None] * grad[:, cut, None]
        change = torch.where(summed > 0, change, SLOPE * change)
        for r, added in enumerate(change):
            left_grad[r].index_add_(0, sources.long(), added)
            right_grad[r].index_add_(0, targets.long(), added)


def _sum_by(nodes: Tensor, edges: Tensor, count: int) -> Tensor:
    # index_add_ along the second axis is 30 times as fast with 64-bit indices
    return edges.new_zeros(len(edges), count).index_add_(1, nodes.long(), edges)


def _cut(tensor: Tensor | None, part: slice) -> Tensor | None:
    return None if tensor is None else tensor[part]


def _parts(R: int, hood: Neighbourhood) -> list[slice]:
    size = max(1, BLOCK // len(hood.sources))
    return [slice(first, min(first + size, R)) for first in range(0, R, size)]


def _edge_blocks(left: Tensor, hood: Neighbourhood) -> list[slice]:
    size = max(1, BLOCK // (left.shape[0] * left.shape[2]))
    return [slice(first, first + size) for first in range(0, len(hood.sources), size)]
