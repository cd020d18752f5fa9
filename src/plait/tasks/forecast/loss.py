"""What training makes small, and how often the truth is fed to the decoder."""

import math

import torch
from torch import Tensor

from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.likelihood import negative_log_likelihood


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
    """The loss of errors e = truth − answer; of quantiles q, `[..., Q]`, max(q e, (q − 1) e)."""
    if config.levels:
        q = torch.tensor(config.levels, dtype=e.dtype, device=e.device)
        return torch.maximum(q * e, (q - 1) * e)
    if config.error == "absolute":
        return e.abs()
    if config.error == "squared":
        return e.square()
    return torch.nn.functional.huber_loss(e, torch.zeros_like(e), "none", config.delta)


def sampling(step: int, half_life: float) -> float:
    """Return the probability of feeding the truth: τ / (τ + exp(step / τ)) (Bengio et al. 2015).

    >>> from plait.tasks.forecast.loss import sampling
    >>> [round(sampling(step, 1000.0), 3) for step in (0, 5000, 10000)]
    [0.999, 0.871, 0.043]
    """
    if half_life == 0:
        return 0.0
    return half_life / (half_life + math.exp(min(step / half_life, 700.0)))
