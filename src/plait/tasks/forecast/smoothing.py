"""Exponential smoothing, one of `baselines`: a level and a trend that follow the values."""

import numpy as np
from scipy.signal import lfilter

LEVELS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.35, 0.5, 0.7, 0.85, 1.0)
TRENDS = (0.0, 0.02, 0.1, 0.3)
DAMPING = (0.8, 0.9, 0.98)
"""What is tried: α, the share β / α, and φ, where there is a trend."""

NODES = 64
"""Nodes whose values are smoothed at a time."""

RECENT = 4096
"""The last steps of the past, by which α, β and φ are chosen."""


def smoothed(past: np.ndarray, x: np.ndarray, first: np.ndarray, horizon: int) -> np.ndarray:
    r"""Forecast by exponential smoothing, with a damped trend where that fits a node better.

    e_t = x_t − l_{t−1} − φ b_{t−1},  l_t = x_t − (1 − α) e_t,  b_t = φ b_{t−1} + β e_t,
    x̂_{t+k} = l_t + (φ + … + φᵏ) b_t

    ETS(A,N,N) and ETS(A,A_d,N) of Hyndman et al. (2008, table 2.1), from l_0 = x_0 and b_0 = 0. Of
    each node α, β and φ are those of a grid that have the smallest n log Σ e² + 2 · (parameters) on
    the last n past values (Akaike's criterion). The errors are an ARMA filter of the values.

    Parameters
    ----------
    past : float array `[T', N]`
        What α, β and φ are chosen by, without gaps.
    x : float array `[T, N]`
        What is known at every step, without gaps.
    first : integer array `[W]`
        The steps at which forecasts begin.
    horizon : int

    Returns
    -------
    float array `[H, W, N]`

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.forecast.smoothing import smoothed
    >>> line = np.arange(50.0)[:, None]
    >>> smoothed(line, line, np.array([50]), 2).round().ravel().tolist()
    [50.0, 51.0]
    """
    parts = []
    for begin in range(0, x.shape[1], NODES):
        nodes = slice(begin, begin + NODES)
        parts.append(_forecast(past[-RECENT:, nodes], x[:, nodes], first, horizon))
    return np.concatenate(parts, -1)


def _forecast(past: np.ndarray, x: np.ndarray, first: np.ndarray, H: int) -> np.ndarray:
    T, N = past.shape
    chosen, least = np.zeros((3, N)), np.full(N, np.inf)
    for a, b, damping in _grid():
        with np.errstate(divide="ignore"):
            score = T * np.log(np.square(_errors(past, a, b, damping)).sum(0)) + 2 * (
                1 + 2 * (b > 0)
            )
        better = score < least
        chosen[:, better] = np.array([a, b, damping])[:, None]
        least = np.minimum(least, score)
    found = np.empty((H, len(first), N))
    for a, b, damping in np.unique(chosen, axis=1).T:
        nodes = (chosen == np.array([a, b, damping])[:, None]).all(0)
        own = x[:, nodes]
        e = _errors(own, a, b, damping)
        level, trend = own - (1 - a) * e, lfilter([b], [1, -damping], e, axis=0)
        steps = np.cumsum(damping ** np.arange(1, H + 1))[:, None, None]
        found[..., nodes] = level[first - 1] + steps * trend[first - 1]
    return found


def _grid() -> list[tuple[float, float, float]]:
    """List α, β and φ; φ is 0 where there is no trend."""
    return [
        (a, a * share, damping if share else 0.0)
        for a in LEVELS
        for share in TRENDS
        for damping in (DAMPING if share else (0.0,))
    ]


def _errors(x: np.ndarray, a: float, b: float, damping: float) -> np.ndarray:
    """Return the errors one step ahead, `[T, N]`; the first is 0."""
    numerator = [1.0, -(1 + damping), damping]
    denominator = [1.0, a - 1 - damping + damping * b, damping * (1 - a)]
    return np.asarray(lfilter(numerator, denominator, x - x[0], axis=0))
