"""Attention in operations of torch, some heads and edges at a time: any type, any device.

Products of coefficients with values are sparse matrix products, a head at a time; scores and
coefficients are computed again for the gradient. Sums over edges are made in the same order at each
call, on a GPU in float32 with Triton.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.kernels.edge_sums import add_at, total
from plait.kernels.gpu import sparse as on_gpu
from plait.kernels.gpu.attention import segments
from plait.kernels.sparse import csr

BLOCK = 2**20
"""Numbers of one intermediate at a time, where one head's edges allow."""


def forward(
    values: Tensor, left: Tensor, right: Tensor, vector: Tensor | None, hood: Any, masks: Tensor,
    slope: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return y and the logarithms of Σ exp(score) `[R, N]`; rows lie as `[G, P, W]`."""
    B, N, G, _, W = values.shape
    R = B * G * W
    values, left, right, vector, masks = _by_head(values, left, right, vector, masks)
    y, logs = torch.empty_like(values), values.new_empty(R, N)
    _, targets = hood.ends
    for part in _parts(R, hood):
        scores = _scores(left[part], right[part], _cut(vector, part), hood, slope)  # [r, E]
        starts = hood.long_starts.expand(len(scores), -1).contiguous()
        top = torch.segment_reduce(scores, "max", offsets=starts, axis=1, unsafe=True)
        scores -= top.index_select(1, hood.targets)
        scores.exp_()
        sums = total(scores, targets, 1)
        scores /= sums.index_select(1, hood.targets)
        logs[part] = top + sums.log()
        if masks.numel():
            scores *= masks[part]
        for r, coefficients in zip(range(R)[part], scores, strict=True):
            _multiply(hood.starts, hood.sources, coefficients, values[r], y[r])
    return _side_by_side(y, B, G), logs


def backward(
    grad: Tensor, values: Tensor, left: Tensor, right: Tensor, vector: Tensor | None, hood: Any,
    masks: Tensor, y: Tensor, logs: Tensor, slope: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:  # fmt: skip
    """Return the gradients of values, left, right and the vector; y is not needed here."""
    B, N, G, _, W = values.shape
    R = B * G * W
    grad = _of_heads(grad)
    values, left, right, vector, masks = _by_head(values, left, right, vector, masks)
    values_grad, left_grad = torch.empty_like(values), torch.zeros_like(left)
    right_grad = torch.zeros_like(right)
    vector_grad = None if vector is None else torch.zeros_like(vector)
    pattern, (_, targets) = values.new_zeros(len(hood.sources)), hood.ends
    for part in _parts(R, hood):
        sides = left[part], right[part], _cut(vector, part), hood, slope
        alpha = _scores(*sides)
        alpha -= logs[part].index_select(1, hood.targets)
        alpha.exp_()
        kept = alpha * masks[part] if masks.numel() else alpha
        change = torch.empty_like(alpha)  # of what comes out, by each coefficient
        for r, coefficients, c in zip(range(R)[part], kept, change, strict=True):
            # <grad_i, value_j> for every edge j → i
            edges = csr(hood.starts, hood.sources, pattern, N)
            c.copy_(torch.sparse.sampled_addmm(edges, grad[r], values[r].T, beta=0).values())
            coefficients = coefficients.index_select(0, hood.back_order)
            _multiply(hood.back_starts, hood.back_targets, coefficients, grad[r], values_grad[r])
        # softmax: dL/de = α̃ dL/dα̃ − α Σ_i α̃ dL/dα̃, with α̃ = α · mask
        change *= kept
        mean = total(change, targets, 1)
        change -= alpha.mul_(mean.index_select(1, hood.targets))
        _scores_backward(change, *sides, left_grad[part], right_grad[part], _cut(vector_grad, part))
    if vector_grad is not None:
        vector_grad = vector_grad.unflatten(0, (B, G, W)).sum(0).transpose(1, 2)
    of_nodes = (_side_by_side(t, B, G) for t in (values_grad, left_grad, right_grad))
    return *of_nodes, vector_grad  # pyright: ignore[reportReturnType]


def _by_head(
    values: Tensor, left: Tensor, right: Tensor, vector: Tensor | None, masks: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor]:
    """Lay all as R = B · G · W heads, `[R, N, P]` or `[R, N]`, the vector `[R, p]`."""
    if vector is not None:
        vector = vector.transpose(1, 2).flatten(0, 1).repeat(len(values), 1)
    masks = _of_heads(masks) if masks.numel() else masks
    return _of_heads(values), _of_heads(left), _of_heads(right), vector, masks


def _of_heads(x: Tensor) -> Tensor:
    """Lay `[B, N, G, (P,) W]` as `[R, N, (P)]`."""
    order = (0, 2, 4, 1, 3) if x.ndim == 5 else (0, 2, 3, 1)
    return x.permute(order).flatten(0, 2).contiguous()


def _side_by_side(x: Tensor, B: int, G: int) -> Tensor:
    """Lay `[R, N, (P)]` as `[B, N, G, (P,) W]`."""
    x = x.unflatten(0, (B, G, -1))
    return x.permute((0, 3, 1, 4, 2) if x.ndim == 5 else (0, 3, 1, 2)).contiguous()


def _scores(left: Tensor, right: Tensor, vector: Tensor | None, hood: Any, slope: float) -> Tensor:
    """Return e `[r, E]`."""
    if vector is None:
        scores = left.index_select(1, hood.sources)
        scores += right.index_select(1, hood.targets)
        return F.leaky_relu_(scores, slope)
    scores = left.new_empty(len(left), len(hood.sources))
    for cut in _edge_blocks(left, hood):
        summed = left.index_select(1, hood.sources[cut])  # [r, edges, d]
        summed += right.index_select(1, hood.targets[cut])
        scores[:, cut] = (F.leaky_relu_(summed, slope) @ vector[..., None])[..., 0]
    return scores


def _scores_backward(
    grad: Tensor, left: Tensor, right: Tensor, vector: Tensor | None, hood: Any, slope: float,
    left_grad: Tensor, right_grad: Tensor, vector_grad: Tensor | None,
) -> None:  # fmt: skip
    """Add the gradients of e `[r, E]` to those of the sides and the vector."""
    if vector is None or vector_grad is None:
        summed = left.index_select(1, hood.sources) + right.index_select(1, hood.targets)
        grad = torch.where(summed > 0, grad, slope * grad)
        for side, ends in zip((left_grad, right_grad), hood.ends, strict=True):
            side += total(grad, ends, 1)
        return
    for cut in _edge_blocks(left, hood):
        sources, targets = hood.sources[cut], hood.targets[cut]
        summed = left.index_select(1, sources) + right.index_select(1, targets)  # [r, edges, d]
        vector_grad += (grad[:, None, cut] @ F.leaky_relu(summed, slope))[:, 0]
        change = vector[:, None] * grad[:, cut, None]
        change = torch.where(summed > 0, change, slope * change)
        for r, added in enumerate(change):
            add_at(left_grad[r], sources.long(), added)
            add_at(right_grad[r], targets.long(), added)


def _multiply(
    starts: Tensor, others: Tensor, coefficients: Tensor, values: Tensor, out: Tensor
) -> None:
    """Write the sums of a head's values over the edges of every node to `out`."""
    if on_gpu.can_sum(values):
        rows = on_gpu.SparseRows(segments(starts), others, coefficients)
        rows.multiply(values[None], out=out[None])
    else:
        torch.mm(csr(starts, others, coefficients, len(out)), values, out=out)


def _cut(tensor: Tensor | None, part: slice) -> Tensor | None:
    return None if tensor is None else tensor[part]


def _parts(R: int, hood: Any) -> list[slice]:
    size = max(1, BLOCK // len(hood.sources))
    return [slice(first, min(first + size, R)) for first in range(0, R, size)]


def _edge_blocks(left: Tensor, hood: Any) -> list[slice]:
    size = max(1, BLOCK // (left.shape[0] * left.shape[2]))
    return [slice(first, first + size) for first in range(0, len(hood.sources), size)]
