"""Exponential smoothing against its equations, step by step."""

import numpy as np
import pytest

from plait.tasks.forecast.smoothing import DAMPING, LEVELS, TRENDS, smoothed

generator = np.random.default_rng(0)
STEADY = 3 + generator.standard_normal((120, 1))
WALK = generator.standard_normal((120, 1)).cumsum(0)
TREND = (0.5 * np.arange(120.0) + 0.05 * generator.standard_normal(120).cumsum())[:, None]
SERIES = np.concatenate([STEADY, WALK, TREND], 1)


def by_hand(x: np.ndarray, a: float, b: float, damping: float) -> tuple[float, float, float]:
    """Return the level and the trend after all steps, and the squared errors' sum."""
    level, trend, total = x[0], 0.0, 0.0
    for value in x[1:]:
        error = value - level - damping * trend
        level += damping * trend + a * error
        trend = damping * trend + b * error
        total += error**2
    return level, trend, total


@pytest.mark.parametrize("node", range(3))
def test_forecasts_are_those_of_the_best_equations(node):
    x = SERIES[:, node]
    grid = [(a, 0.0, 0.0) for a in LEVELS]
    grid += [(a, a * share, d) for a in LEVELS for share in TRENDS if share for d in DAMPING]
    past = x[:100]
    scores = [100 * np.log(by_hand(past, *p)[2]) + (6 if p[1] else 2) for p in grid]
    a, b, damping = grid[int(np.argmin(scores))]
    assert (b > 0) == (node == 2)  # a trend where there is one
    found = smoothed(SERIES[:100], SERIES, np.array([100, 110]), 3)
    for w, t in enumerate((100, 110)):
        level, trend, _ = by_hand(x[:t], a, b, damping)
        expected = [level + sum(damping**j for j in range(1, k + 1)) * trend for k in (1, 2, 3)]
        np.testing.assert_allclose(found[:, w, node], expected, rtol=1e-9)


def test_a_constant_goes_on():
    flat = np.full((20, 2), 7.0)
    assert (smoothed(flat, flat, np.array([20]), 4) == 7.0).all()
