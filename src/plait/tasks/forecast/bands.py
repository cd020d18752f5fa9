"""Conformal bands: how far from a forecast the values were that were not learnt from."""

import math

import numpy as np


def outside(truth: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return how far values lie outside a band, negative within: max(low − y, y − high).

    The score of Romano et al. (2019), equation 6; with low = high, the absolute error.

    >>> import numpy as np
    >>> from plait.tasks.forecast.bands import outside
    >>> outside(np.array([1.0, 4.0]), np.array([0.0, 0.0]), np.array([3.0, 3.0])).tolist()
    [-1.0, 1.0]
    """
    return np.maximum(low - truth, truth - high)


def margins(scores: np.ndarray, coverage: float) -> np.ndarray:
    """Return what a band is widened by at every step ahead and node, so that it covers a share.

    The ⌈(n + 1) · coverage⌉-th smallest of n scores (split conformal prediction, Vovk et al. 2005):
    a further score of the same distribution is no larger with at least that probability. Scores of
    a series depend on each other and change with time, so that the share is measured on the test
    part. Where a node has too few, the scores of all nodes count, and where these are too few, the
    largest.

    Parameters
    ----------
    scores : float array `[H, W, N]`
        Of W forecasts, in units that are the same for all nodes; NaN where nothing was measured.
    coverage : float

    Returns
    -------
    float array `[H, N]`

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.forecast.bands import margins
    >>> margins(np.arange(19.0).reshape(1, 19, 1), 0.9)
    array([[17.]])
    """
    own = _smallest(scores, coverage)  # [H, N]
    pooled = _smallest(scores.reshape(len(scores), -1, 1), coverage)  # [H, 1]
    largest = np.where(np.isnan(scores), -np.inf, scores).max((1, 2))[:, None]
    last = np.where(np.isfinite(largest), largest, 0.0)
    return np.where(np.isfinite(own), own, np.where(np.isfinite(pooled), pooled, last))


def _smallest(scores: np.ndarray, coverage: float) -> np.ndarray:
    """Return the ⌈(n + 1) · coverage⌉-th smallest along the second axis; inf of fewer."""
    ordered = np.sort(np.where(np.isnan(scores), np.inf, scores), axis=1)
    count = (~np.isnan(scores)).sum(1)
    rank = np.array([math.ceil(n * coverage - 1e-9) for n in range(1, ordered.shape[1] + 2)])[count]
    place = np.minimum(rank, ordered.shape[1]) - 1
    found = np.take_along_axis(ordered, place[:, None], axis=1)[:, 0]
    return np.where(rank <= count, found, np.inf)


def bands(
    values: np.ndarray, levels: tuple[float, ...], margin: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper ends around forecasts, of quantiles around the outermost.

    They are never on the wrong side of the middle one.

    Parameters
    ----------
    values : float array `[H, …, N]`, with quantiles `[H, …, N, Q]`
    levels : the quantiles, among them 0.5; empty: one number is forecast
    margin : float array `[H, N]`
        In the units of the values.

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.forecast.bands import bands
    >>> low, high = bands(np.array([[5.0]]), (), np.array([[2.0]]))
    >>> low.tolist(), high.tolist()
    ([[3.0]], [[7.0]])
    """
    low, middle, high = ends(values, levels)
    wide = margin.reshape(len(margin), *[1] * (middle.ndim - 2), -1)
    return np.minimum(low - wide, middle), np.maximum(high + wide, middle)


def ends(
    values: np.ndarray, levels: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the lowest, the middle and the highest forecast; all the same without quantiles."""
    if not levels:
        return values, values, values
    return values[..., 0], values[..., levels.index(0.5)], values[..., -1]
