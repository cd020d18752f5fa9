"""What training makes small, and how often the truth is fed to the decoder."""

import math

import torch
from torch import Tensor

from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.likelihood import negative_log_likelihood

SMALL = 0.05
"""Scaled errors below it weigh the same where a combination is fitted to absolute errors."""


def losses(
    answer: Tensor, y: Tensor, config: ForecastConfig, mean: Tensor, scale: Tensor
) -> Tensor:
    """Return the loss of each value; 0 where nothing was measured.

    Shapes
    ------
    answer : `[H, B, N]`, with several numbers for each `[H, B, N, Q]`; y : `[H, B, N]`, scaled;
    mean, scale : `[N]`
    """
    seen = ~y.isnan()
    y = torch.where(seen, y, 0.0)
    if config.likelihood != "none":
        kind = config.likelihood
        return negative_log_likelihood(kind, answer, y, mean.to(y), scale.to(y)) * seen
    e = y.unsqueeze(-1) - answer.view(*y.shape, -1)  # [H, B, N, Q]
    return pointwise(e, config).mean(-1) * seen


def pointwise(e: Tensor, config: ForecastConfig) -> Tensor:
    """Return the loss of e = truth − answer; of quantiles q, `[..., Q]`, max(q e, (q − 1) e)."""
    if config.levels:
        q = torch.tensor(config.levels, dtype=e.dtype, device=e.device)
        return torch.maximum(q * e, (q - 1) * e)
    if config.error == "absolute":
        return e.abs()
    if config.error == "squared":
        return e.square()
    return torch.nn.functional.huber_loss(e, torch.zeros_like(e), "none", config.delta)


def reweighting(e: Tensor, config: ForecastConfig) -> Tensor:
    """Return the weights by which squared errors have the gradient of the loss at the errors e.

    A least squares fit with them is a step of iteratively reweighted least squares. They are 1 for
    the squared error and a likelihood, whose forecast is a mean; for the median of quantiles they
    are those of the absolute error, 1 / |e|, of errors below `SMALL` 1 / SMALL.

    >>> import torch
    >>> from plait.tasks.forecast.config import ForecastConfig
    >>> from plait.tasks.forecast.loss import reweighting
    >>> config = ForecastConfig(error="huber", delta=0.5)
    >>> reweighting(torch.tensor([0.2, -2.0]), config).tolist()
    [1.0, 0.25]
    """
    if config.likelihood != "none" or (config.error == "squared" and not config.levels):
        return torch.ones_like(e)
    if config.error == "huber" and not config.levels:
        return (config.delta / e.abs().clamp(min=config.delta)).clamp(max=1.0)
    return 1.0 / e.abs().clamp(min=SMALL)


def sampling(step: int, half_life: float) -> float:
    """Return the probability of feeding the truth: τ / (τ + exp(step / τ)) (Bengio et al. 2015).

    >>> from plait.tasks.forecast.loss import sampling
    >>> [round(sampling(step, 1000.0), 3) for step in (0, 5000, 10000)]
    [0.999, 0.871, 0.043]
    """
    if half_life == 0:
        return 0.0
    return half_life / (half_life + math.exp(min(step / half_life, 700.0)))
