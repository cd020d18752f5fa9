"""Reversible instance normalisation: what a window is brought to, and what undoes it."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

SMALLEST = 1e-5
"""Added to the variance of a window, in scaled units."""


class Statistics(NamedTuple):
    """Mean and standard deviation of every window and node, `[B, N]`."""

    mean: Tensor
    deviation: Tensor


class InstanceNorm(nn.Module):
    r"""RevIN (Kim et al. 2022): x' = γ (x − μ) / σ + β, and y = (y' − β) / γ · σ + μ.

    μ and σ are the mean and the standard deviation √(variance + 10⁻⁵) of the node's values in the
    window, so that a network forecasts alike on every level; γ and β are learnt, one of each node.

    Shapes
    ------
    x : `[..., B, N]`; weight, bias : `[N]`, γ and β, at first 1 and 0

    Example
    -------
    >>> import torch
    >>> from plait.tasks.forecast.instance import InstanceNorm
    >>> norm, x = InstanceNorm(1), torch.tensor([1.0, 3.0]).view(2, 1, 1)
    >>> norm(x, norm.statistics(x)).flatten().round().tolist()
    [-1.0, 1.0]
    """

    def __init__(self, nodes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(nodes))
        self.bias = nn.Parameter(torch.zeros(nodes))

    def statistics(self, window: Tensor) -> Statistics:
        """Return mean and standard deviation of windows `[P, B, N]` without gaps."""
        variance = window.var(0, correction=0)
        return Statistics(window.mean(0), (variance + SMALLEST).sqrt())

    def forward(self, x: Tensor, of: Statistics) -> Tensor:
        """Return values in the terms of their windows."""
        return self.weight * (x - of.mean) / of.deviation + self.bias

    def undo(self, y: Tensor, of: Statistics) -> Tensor:
        """Return values `[H, B, N, Q]` in the terms of the series again."""
        y = (y - self.bias[:, None]) / self.weight[:, None]
        return y * of.deviation[..., None] + of.mean[..., None]
