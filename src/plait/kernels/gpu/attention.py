"""Attention over edges on a GPU in Triton: nothing is kept on an edge, nothing added by atomics.

The identities are those of the compiled loops of a CPU (`cpu.attention`, `cpu.attention2`): version
1 is one gather forward and one back, version 2 one forward and two back. A node's edges are cut
into segments, so that a hub does not keep the others waiting; segments are merged by the logarithm
of Σ exp, in their order. The gradient of version 2's vector follows from sums over nodes:
Σ_ij de_ij λ_ij (left_j + right_i), each part a node's own sum of de λ.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from plait.kernels.gpu.segments import SEGMENT, Segments, cut, merged
from plait.kernels.gpu.triton_here import missing, on_device, power_of_two
from plait.kernels.transforms import outside

WIDEST = 4096
"""Numbers of a row, heads and channels filled up to powers of two, that a tile holds."""


_known = WeakIdKeyDictionary()


def segments(starts: Tensor) -> Segments:
    """Cut the edges of every node into segments, once for each graph."""
    if starts not in _known:
        _known[starts] = outside(lambda: cut(starts, SEGMENT))
    return _known[starts]


def can_run(values: Tensor, left: Tensor, hood: Any) -> bool:
    """Return whether the kernels run for tensors like these; without a graph, for a small one."""
    if values.device.type != "cuda" or values.dtype != torch.float32 or missing() is not None:
        return False
    widest = max(values.shape[3], left.shape[3])
    return (
        values.shape[4] == 1
        and (hood is None or hood.starts.dtype == torch.int32)
        and fits(values.shape[2], widest)
    )


def fits(heads: int, channels: int) -> bool:
    """Return whether the rows of a node fit a tile."""
    return power_of_two(heads) * power_of_two(channels) <= WIDEST


def forward(
    values: Tensor, left: Tensor, right: Tensor, vector: Tensor | None, hood: Any, masks: Tensor,
    slope: float,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Return y, and what the gradient wants: the logarithms of Σ exp, of version 1 also z and p."""
    parts = segments(hood.starts)
    found = _gather(
        0, parts, hood.sources, None, right, left, vector, None, None, values, None, None, masks,
        slope,
    )  # fmt: skip
    y, z, p, tops, sums = found
    scales = None
    if not parts.whole:
        top = merged(tops, parts, "max")
        scales = (tops - top.index_select(1, parts.table[:, 0])).exp()
        sums, tops = merged(sums * scales, parts), top
    total = sums[..., None]

    def mean(x: Tensor) -> Tensor:
        x = x if scales is None else merged(x * scales[..., None], parts)
        return x / total

    y, logs = mean(y).unsqueeze(-1), tops + sums.log()
    if vector is not None:
        return y, logs
    return y, logs, mean(z), mean(p[..., None])[..., 0]


def backward(
    grad: Tensor, values: Tensor, left: Tensor, right: Tensor, vector: Tensor | None, hood: Any,
    masks: Tensor, y: Tensor, logs: Tensor, *rest: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:  # fmt: skip
    """Return the gradients of values, left, right and the vector."""
    *more, slope = rest
    means = (grad * y).sum((-2, -1))  # [B, N, K]
    back = segments(hood.back_starts)
    given = (hood.back_order, left, right, vector, logs, means)
    by_source = _gather(
        1, back, hood.back_targets, *given, None, grad, values, masks, slope
    )  # fmt: skip
    values_grad, z, p = (merged(t, back) for t in by_source[:3])
    if vector is None:
        forward_z, forward_p = more
        right_grad = (grad[..., 0] * forward_z).sum(-1) - means * forward_p
        left_grad = (values[..., 0] * z).sum(-1) - p
        return values_grad[..., None], left_grad[..., None], right_grad[..., None], None
    there = segments(hood.starts)
    by_target = _gather(
        2, there, hood.sources, None, right, left, vector, logs, means, values, None, grad, masks,
        slope,
    )  # fmt: skip
    of_right, of_left = merged(by_target[1], there)[..., None], z[..., None]
    change = (right * of_right).sum((0, 1)) + (left * of_left).sum((0, 1))
    return values_grad[..., None], vector * of_left, vector * of_right, change


def _gather(
    mode: int, parts: Segments, others: Tensor, order: Tensor | None, own: Tensor, theirs: Tensor,
    vector: Tensor | None, logs: Tensor | None, means: Tensor | None, values: Tensor | None,
    grads: Tensor | None, rows: Tensor | None, masks: Tensor, slope: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gather over every segment: y, z, p, largest scores and sums, `[B, S, K, …]`."""
    from plait.kernels.gpu import attention_kernels

    gather: Any = attention_kernels.gather

    source = values if values is not None else grads
    assert source is not None
    B, N, K, D = source.shape[:4]
    C = 1 if vector is None else vector.shape[1]
    S, new, none = len(parts.table), source.new_empty, source.new_empty(1)
    z_width = C if vector is not None else D
    y = new(B, S, K, D) if mode != 2 else none
    z = new(B, S, K, z_width) if vector is None or mode else none
    p = new(B, S, K) if vector is None else none
    tops, sums = (new(B, S, K) if mode == 0 else none for _ in range(2))
    KP, DP, CP = power_of_two(K), power_of_two(D), power_of_two(C)
    tile = KP * max(DP, CP)
    E = max(1, min(8, 2048 // tile))
    held = [none if t is None else t for t in (vector, logs, means, values, grads)]
    if S and B:
        with on_device(source):
            gather[(S * B,)](
                parts.table, others, others if order is None else order,
                none if rows is None else rows, own, theirs, *held,
                masks if masks.numel() else none, y, z, p, tops, sums, N, len(others), S, slope,
                K=K, D=D, C=C, KP=KP, DP=DP, CP=CP, E=E, VECTOR=vector is not None, MODE=mode,
                MASKS=masks.numel() > 0, ORDERED=order is not None,
                num_warps=max(1, min(8, E * tile // 1024)),
            )  # fmt: skip
    return y, z, p, tops, sums
