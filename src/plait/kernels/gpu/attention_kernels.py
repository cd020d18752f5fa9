"""Kernels of attention over edges for Triton; `attention` calls them.

A program takes one segment of a node's edges, E of them at a time as `[E, K, D]`, with the largest
score so far and what was summed under it. Offsets have 64 bits. It is specialised on heads and
channels alone; another graph or batch compiles nothing new.
"""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["N", "edges", "slots"])
def gather(
    segments, others, order, rows, own, theirs, vector, logs, means, values, grads, masks,
    y, z, p, tops, sums,
    N, edges, slots, slope,
    K: tl.constexpr, D: tl.constexpr, C: tl.constexpr, KP: tl.constexpr, DP: tl.constexpr,
    CP: tl.constexpr, E: tl.constexpr, VECTOR: tl.constexpr, MODE: tl.constexpr,
    MASKS: tl.constexpr, ORDERED: tl.constexpr,
):  # fmt: skip
    """Gather over the edges of one segment.

    v are values, a coefficients, m dropout's mask, λ the slope of LeakyReLU, g the gradient of y,
    μ_i = g_i y_i, de the gradient of a score.

    MODE 0, forward: under the softmax's largest score so far. Version 1: y = Σ a m v,
    z = Σ λ a m v, p = Σ λ a; version 2: y alone.
    MODE 1, by sources, with a the coefficients: version 1: y = Σ a m g, z = Σ λ a m g, p = Σ λ a μ;
    version 2: y = Σ a m g, and z = Σ de λ `[K, C]`.
    MODE 2, of version 2 by targets: z = Σ de λ.
    """
    program = tl.program_id(0)
    member = (program // slots).to(tl.int64)  # one axis: the others hold 65,535 programs at most
    segment = program % slots
    node = tl.load(segments + 4 * segment)
    begin = tl.load(segments + 4 * segment + 1)
    end = tl.load(segments + 4 * segment + 2)
    k1 = tl.arange(0, KP)
    k = k1[None, :, None]
    d = tl.arange(0, DP)[None, None, :]
    c = tl.arange(0, CP)[None, None, :]
    here = (member * N + node).to(tl.int64)
    heads = k1[None, :] < K
    if VECTOR:
        mine = tl.load(own + (here * K + k) * C + c, mask=(k < K) & (c < C), other=0.0)
        a = tl.load(vector + k * C + c, mask=(k < K) & (c < C), other=0.0)
    else:
        mine = tl.load(own + here * K + k1[None, :], mask=heads, other=0.0)
    if VECTOR and MODE > 0:
        still = tl.load(rows + (here * K + k) * D + d, mask=(k < K) & (d < D), other=0.0)
    if MODE == 2:
        log_here = tl.load(logs + here * K + k1[None, :], mask=heads, other=0.0)
        mean_here = tl.load(means + here * K + k1[None, :], mask=heads, other=0.0)
    one = tl.zeros([KP, DP], tl.float32)
    two = tl.zeros([KP, CP if VECTOR else DP], tl.float32)
    slopes = tl.zeros([KP], tl.float32)
    top = tl.full([KP], -3e38, tl.float32)
    total = tl.zeros([KP], tl.float32)
    at = begin
    while at < end:
        e1 = at + tl.arange(0, E)
        real = e1 < end
        other = member * N + tl.load(others + e1, mask=real, other=0).to(tl.int64)
        both = real[:, None] & heads
        place = other[:, None] * K + k1[None, :]
        full = real[:, None, None] & (k < K)
        if VECTOR:
            there = tl.load(
                theirs + (other[:, None, None] * K + k) * C + c, mask=full & (c < C), other=0.0
            )
            s3 = there + mine
            lam3 = tl.where(s3 > 0, 1.0, slope)
            score = tl.sum(a * s3 * lam3, axis=2)
        else:
            s = tl.load(theirs + place, mask=both, other=0.0) + mine
            lam = tl.where(s > 0, 1.0, slope)
            score = s * lam
        source = values if MODE != 1 else grads
        x = tl.load(source + (other[:, None, None] * K + k) * D + d, mask=full & (d < D), other=0.0)
        if MASKS:
            edge = e1
            if ORDERED:
                edge = tl.load(order + e1, mask=real, other=0)
            mask = tl.load(
                masks + (member * edges + edge.to(tl.int64)[:, None]) * K + k1[None, :],
                mask=both,
                other=0.0,
            )
        if MODE == 0:
            score = tl.where(both, score, -3e38)
            higher = tl.maximum(top, tl.max(score, axis=0))
            scale = tl.exp(top - higher)
            w = tl.where(both, tl.exp(score - higher[None, :]), 0.0)
            top = higher
            total = total * scale + tl.sum(w, axis=0)
            kept = w
            if MASKS:
                kept = w * mask
            one = one * scale[:, None] + tl.sum(kept[:, :, None] * x, axis=0)
            if not VECTOR:
                slopes = slopes * scale + tl.sum(lam * w, axis=0)
                two = two * scale[:, None] + tl.sum((lam * kept)[:, :, None] * x, axis=0)
        else:
            if MODE == 1:
                log = tl.load(logs + place, mask=both, other=0.0)
                mean = tl.load(means + place, mask=both, other=0.0)
            else:
                log = log_here
                mean = mean_here
            w = tl.where(both, tl.exp(score - log), 0.0)
            kept = w
            if MASKS:
                kept = w * mask
            if MODE == 1:
                one += tl.sum(kept[:, :, None] * x, axis=0)
            if VECTOR:
                de = kept * tl.sum(still * x, axis=2) - w * mean
                two += tl.sum(de[:, :, None] * lam3, axis=0)
            else:
                slopes += tl.sum(lam * w * mean, axis=0)
                two += tl.sum((lam * kept)[:, :, None] * x, axis=0)
        at += E
    k2 = k1[:, None]
    d2 = tl.arange(0, DP)[None, :]
    out = member * slots + segment
    if MODE != 2:
        tl.store(y + (out * K + k2) * D + d2, one, mask=(k2 < K) & (d2 < D))
    if VECTOR:
        c2 = tl.arange(0, CP)[None, :]
        if MODE > 0:
            tl.store(z + (out * K + k2) * C + c2, two, mask=(k2 < K) & (c2 < C))
    else:
        tl.store(z + (out * K + k2) * D + d2, two, mask=(k2 < K) & (d2 < D))
        tl.store(p + out * K + k1, slopes, mask=k1 < K)
    if MODE == 0:
        tl.store(tops + out * K + k1, top, mask=k1 < K)
        tl.store(sums + out * K + k1, total, mask=k1 < K)
