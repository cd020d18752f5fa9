"""Combinations of forecasts: weights that are fitted where nothing else was learnt."""

import numpy as np
from scipy.optimize import nnls

CAUTION = 0.5
"""Strength of the regularisation towards the first guess, in validation steps."""


def gram(errors: np.ndarray) -> np.ndarray:
    """Return the mean products of the errors of K forecasts, `[H, K, K]`.

    Parameters
    ----------
    errors : float array `[K, H, W, N]`
        Forecast − truth; NaN where nothing was measured.

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.forecast.combination import gram
    >>> gram(np.array([[[[1.0, np.nan, 3.0]]], [[[1.0, np.nan, -1.0]]]]))
    array([[[10., -2.],
            [-2.,  2.]]])
    """
    e = np.nan_to_num(errors)
    return np.einsum("khwn,lhwn->hkl", e, e, optimize=True)


def fit_weights(products: np.ndarray, steps: int) -> np.ndarray:
    r"""Fit the weights of forecasts at every step ahead, `[H, K]`, not negative and with sum 1.

    At every step ahead, w = argmin wᵀ G w / min_k G_kk + CAUTION / n · ‖w − v‖²; v is the same
    of all steps ahead together, towards weights as 1 / G_kk (Bates & Granger 1969). So with
    few steps n the weights are near those, and with many the best for each step.

    Parameters
    ----------
    products : float array `[H, K, K]`
        The errors' products G; see `gram`.
    steps : int
        Steps of the series that they come from.

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.forecast.combination import fit_weights
    >>> fit_weights(np.array([[[1.0, 0.0], [0.0, 3.0]]]), 10**9).round(3)
    array([[0.75, 0.25]])
    """
    whole = products.sum(0)
    square = np.diag(whole)
    smallest = square.min()
    if smallest == 0:
        guess = (square == 0).astype(float)
        return np.broadcast_to(guess / guess.sum(), (len(products), len(guess))).copy()
    guess = smallest / square
    pooled = _simplex(whole / smallest, guess / guess.sum(), CAUTION / steps)
    found = []
    for of_step in products:
        smallest = np.diag(of_step).min()
        found.append(_simplex(of_step / (smallest or 1.0), pooled, CAUTION / steps))
    return np.stack(found)


def _simplex(G: np.ndarray, guess: np.ndarray, caution: float) -> np.ndarray:
    """Minimise wᵀ G w + caution ‖w − guess‖² over w ≥ 0 with sum 1."""
    size = len(G)
    values, vectors = np.linalg.eigh(G)
    root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    strong = 1e4  # that the sum is 1; what is left of it is divided out
    A = np.concatenate([root, np.sqrt(caution) * np.eye(size), np.full((1, size), strong)])
    b = np.concatenate([np.zeros(size), np.sqrt(caution) * guess, [strong]])
    w, _ = nnls(A, b)
    return w / w.sum()
