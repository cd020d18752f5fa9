"""How the compiled loop that generates text draws a symbol: as `plait.sampling` does."""

import math
from typing import NamedTuple

from numba import njit

from plait.sampling import MIROSTAT_RATE, PENALISED


class Draw(NamedTuple):
    """How a symbol is drawn, as `Sampling` says; 0 where a filter is not wanted."""

    beta: float
    top_k: int
    top_p: float
    min_p: float
    typical_p: float = 0.0
    mirostat: float = 0.0
    no_repeat: int = 0
    penalty: float = 1.0


@njit
def look_back(draw, chances, taken, history, row, s):
    """Change logits by what text s had before `row`, as `Sampling` does; `taken` is used up."""
    if draw.penalty != 1.0:
        highest = chances.max()
        total = 0.0
        for v in range(len(chances)):
            total += math.exp(chances[v] - highest)
        shift = highest + math.log(total)
        taken[:] = False
        for k in range(max(0, row - PENALISED), row):
            taken[history[k, s]] = True
        for v in range(len(chances)):
            chances[v] -= shift
            if taken[v]:
                chances[v] *= draw.penalty
    if draw.no_repeat:
        taken[:] = False
        blocked = 0
        length = draw.no_repeat - 1  # of the string that the next symbol would end
        for k in range(row - length):
            same = True
            for i in range(length):
                if history[k + i, s] != history[row - length + i, s]:
                    same = False
                    break
            if same and not taken[history[k + length, s]]:
                taken[history[k + length, s]] = True
                blocked += 1
        if blocked < len(chances):
            for v in range(len(chances)):
                if taken[v]:
                    chances[v] = -math.inf


@njit
def drawn(draw, chances, taken, u, limits, s):
    """Draw from logits, as `Sampler.draw` does; `chances` and `taken` are used up."""
    best = 0
    for v in range(len(chances)):
        if chances[v] > chances[best]:
            best = v
    if math.isinf(draw.beta):
        return best
    highest = chances[best]
    for v in range(len(chances)):
        possible = chances[v] > -math.inf
        chances[v] = math.exp(draw.beta * (chances[v] - highest)) if possible else 0.0
    _scale(chances)
    if draw.top_k:
        _keep(chances, taken, draw.top_k, math.inf)
    if draw.top_p:
        _keep(chances, taken, len(chances), draw.top_p)
    if draw.typical_p:
        _keep_typical(chances, taken, draw.typical_p)
    if draw.min_p:
        least = 0.0
        for v in range(len(chances)):
            least = max(least, draw.min_p * chances[v])
        for v in range(len(chances)):
            if chances[v] < least:
                chances[v] = 0.0
    _scale(chances)
    kept = 1.0
    if draw.mirostat:
        kept = _limit_surprise(chances, limits[s])
    total, last = 0.0, best
    for v in range(len(chances)):
        total += chances[v]
        if chances[v] > 0:
            last = v
            if total > u:
                break
    if draw.mirostat:
        limits[s] -= MIROSTAT_RATE * (-math.log2(kept * chances[last]) - draw.mirostat)
    return last


@njit
def _limit_surprise(chances, limit):
    """Keep symbols of at most so many bits, and the likeliest; return the probability kept."""
    best = 0
    for v in range(len(chances)):
        if chances[v] > chances[best]:
            best = v
    kept = 0.0
    for v in range(len(chances)):
        if v != best and (chances[v] <= 0.0 or -math.log2(chances[v]) > limit):
            chances[v] = 0.0
        kept += chances[v]
    _scale(chances)
    return kept


@njit
def _keep_typical(chances, taken, mass):
    """Keep those whose surprise is nearest to the entropy until they hold so much."""
    entropy = 0.0
    for v in range(len(chances)):
        if chances[v] > 0:
            entropy -= chances[v] * math.log(chances[v])
    taken[:] = False
    before = 0.0
    while before < mass:
        nearest, distance = -1, math.inf
        for v in range(len(chances)):
            if not taken[v] and chances[v] > 0:
                far = abs(-math.log(chances[v]) - entropy)
                if far < distance:
                    nearest, distance = v, far
        if nearest < 0:
            break
        taken[nearest] = True
        before += chances[nearest]
    for v in range(len(chances)):
        if not taken[v]:
            chances[v] = 0.0
    _scale(chances)


@njit
def _keep(chances, taken, count, mass):
    """Keep the likeliest, so many or until they hold so much, and scale them to sum to 1."""
    taken[:] = False
    before = 0.0
    for _ in range(count):
        best = -1
        for v in range(len(chances)):
            if not taken[v] and (best < 0 or chances[v] > chances[best]):
                best = v
        if best < 0 or before >= mass:
            break
        taken[best] = True
        before += chances[best]
    for v in range(len(chances)):
        if not taken[v]:
            chances[v] = 0.0
    _scale(chances)


@njit
def _scale(chances):
    total = 0.0
    for v in range(len(chances)):
        total += chances[v]
    for v in range(len(chances)):
        chances[v] /= total
