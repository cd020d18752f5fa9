"""Gradient boosting on lags, one of `baselines`: the strongest that knows no recurrence."""

from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

ROWS = 100_000
"""Examples that the trees are fitted to, drawn at random where there are more."""

CHUNK = 64
"""Windows that are forecast at a time."""


def boosted(
    x: np.ndarray,
    y: np.ndarray,
    profile: np.ndarray,
    fit: tuple[int, int],
    first: np.ndarray,
    horizon: int,
) -> np.ndarray:
    """Fit trees to steps before the test and forecast; one model for all nodes and steps ahead.

    Its features are the last P values of a node, those of its neighbours' mean, how many steps
    ahead, and the node's mean at that place in the season.

    Parameters
    ----------
    x : float array `[T, N, K]`
        What is known at every step, without gaps.
    y : float array `[T, N]`
        NaN where nothing was measured.
    profile : float array `[T + H, N]`
        The historical mean.
    fit : (P, end)
        Windows of P steps; what is forecast lies before the step `end`.
    first : integer array `[W]`
    horizon : int

    Returns
    -------
    float array `[H, W, N]`
    """
    P, end = fit
    N, generator = x.shape[1], np.random.default_rng(0)
    windows = (end - P) * N * horizon
    drawn = (
        np.arange(windows)
        if windows <= ROWS
        else np.sort(generator.choice(windows, ROWS, replace=False))
    )
    step, node, ahead = np.unravel_index(drawn, (end - P, N, horizon))
    step = step + P
    kept = step + ahead < end
    step, node, ahead = step[kept], node[kept], ahead[kept]
    target = y[step + ahead, node]
    kept = ~np.isnan(target)
    model: Any = HistGradientBoostingRegressor(random_state=0)
    model.fit(_features(x, profile, P, step[kept], node[kept], ahead[kept]), target[kept])
    forecasts = []
    for part in np.split(first, range(CHUNK, len(first), CHUNK)):
        step, node, ahead = (
            a.ravel() for a in np.meshgrid(part, np.arange(N), np.arange(horizon), indexing="ij")
        )
        found = model.predict(_features(x, profile, P, step, node, ahead))
        forecasts.append(found.reshape(len(part), N, horizon))
    return np.concatenate(forecasts).transpose(2, 0, 1)


def _features(
    x: np.ndarray, profile: np.ndarray, P: int, step: np.ndarray, node: np.ndarray,
    ahead: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Return the features of examples, `[E, P·K + 2]`."""
    lags = x[step[:, None] - np.arange(1, P + 1), node[:, None]]  # [E, P, K]
    return np.column_stack([lags.reshape(len(step), -1), ahead, profile[step + ahead, node]])
