"""Distributions that a network may forecast: their likelihood, mean and quantiles.

`gaussian`: N(m, s²), s = e^a σ, with the scale σ of the node.

`poisson`: of counts, with the mean m.

`negative-binomial`: of counts, with the mean m and the variance m + e^a m² (Salinas et al. 2020,
DeepAR, equation 4).

The network answers m, scaled, and a. The mean of counts is made positive: of an answer u in the
units of the data it is softplus(20 u / σ) σ / 20, which differs from u near 0 only.
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from plait.errors import InputError
from plait.tasks.forecast.series import Series

COUNTS = ("poisson", "negative-binomial")
SHARP, WIDEST = 20.0, 10.0


def require_counts(series: Series, kind: str) -> None:
    """Refuse a series with a value that is no whole number from 0."""
    wrong = (series.values < 0) | (series.values != np.round(series.values))
    for t, n in np.argwhere(wrong & ~np.isnan(series.values)):
        raise InputError(
            f"{series.source}: --likelihood {kind} takes counts, whole numbers from 0, and column "
            f"{series.ids[n]!r} has {series.values[t, n]:g}; take gaussian"
        )


def negative_log_likelihood(
    kind: str, answer: Tensor, y: Tensor, mean: Tensor, scale: Tensor
) -> Tensor:
    """Return −log p(y), in nats, of values in the units of the data.

    Shapes
    ------
    answer : `[..., N, parameters]`; y : `[..., N]`, scaled; mean, scale : `[N]`

    Example
    -------
    >>> import torch
    >>> from plait.tasks.forecast.likelihood import negative_log_likelihood
    >>> one, y = torch.ones(1).double(), torch.tensor([2.0]).double()
    >>> answer = torch.tensor([[2.0]]).double()                      # the mean 2: p = 2 / e²
    >>> nll = negative_log_likelihood("poisson", answer, y, 0 * one, one)
    >>> round(float((-nll).exp()), 4)
    0.2707
    """
    m = answer[..., 0]
    if kind == "gaussian":
        log_s = answer[..., 1].clamp(-WIDEST, WIDEST)
        half = 0.5 * float(np.log(2 * np.pi))
        return half + log_s + scale.log() + 0.5 * ((y - m) * (-log_s).exp()).square()
    count = (y * scale + mean).round().clamp(min=0)
    m = positive(m * scale + mean, scale)
    if kind == "poisson":
        return m - count * m.log() + torch.lgamma(count + 1)
    r = (-answer[..., 1].clamp(-WIDEST, WIDEST)).exp()
    whole = torch.lgamma(count + r) - torch.lgamma(r) - torch.lgamma(count + 1)
    return -(whole + r * (r / (r + m)).log() + count * (m / (r + m)).log())


def positive(u: Tensor, scale: Tensor) -> Tensor:
    """Return a positive number near u: softplus(20 u / σ) σ / 20, with a smallest one."""
    small = scale / SHARP
    return F.softplus(u / small) * small + 1e-6 * scale


def columns(
    kind: str, answer: Tensor, levels: Sequence[float], mean: Tensor, scale: Tensor
) -> np.ndarray:
    """Return mean and quantiles in the units of the data, `[..., N, 1 + levels]`, in float64."""
    answer, mean, scale = answer.double(), mean.double(), scale.double()
    u = answer[..., 0] * scale + mean
    if kind == "gaussian":
        s = answer[..., 1].clamp(-WIDEST, WIDEST).exp() * scale
        parts = [u, *(u + s * float(stats.norm.ppf(level)) for level in levels)]
        return torch.stack(parts, -1).cpu().numpy()
    m = positive(u, scale).cpu().numpy()
    if kind == "poisson":
        parts = [m, *(stats.poisson.ppf(level, m) for level in levels)]
        return np.stack(parts, -1)
    r = (-answer[..., 1].clamp(-WIDEST, WIDEST)).exp().cpu().numpy()
    return np.stack([m, *(stats.nbinom.ppf(level, r, r / (r + m)) for level in levels)], -1)
