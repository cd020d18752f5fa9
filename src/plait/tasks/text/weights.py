"""Weights of a mixture of models, fitted by EM."""

import numpy as np

PRIOR = 10.0
"""Pseudo-counts of each class, in proportion to the weights of all classes together."""

ROUNDS, TOLERANCE = 200, 1e-7
"""Steps of EM, and the gain in nats per symbol below which it ends."""


def fit_weights(log_p: np.ndarray, classes: np.ndarray, count: int) -> np.ndarray:
    """Fit the weights of a mixture of models, for each class of places, by EM.

    p(x_t) = Σ_m w[c_t, m] p_m(x_t). The logarithm of this, summed over a text, is concave in w;
    EM climbs to its maximum (Dempster, Laird & Rubin 1977; of n-grams: Jelinek & Mercer 1980). In
    each class ten places count that are shared out by the weights of all classes together, so a
    rare class has nearly those. No mixture is returned that is worse, on these places, than one of
    the models alone.

    Parameters
    ----------
    log_p : array `[M, n]`
        ln p of each symbol by each model.
    classes : integer array `[n]`
    count : int
        The number of classes.

    Returns
    -------
    array `[count, M]`
        Rows sum to 1.

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.text.weights import fit_weights
    >>> log_p = np.log([[0.9, 0.1, 0.9, 0.9], [0.1, 0.9, 0.1, 0.1]])
    >>> fit_weights(log_p, np.zeros(4, dtype=int), 1).round(3)
    array([[0.812, 0.188]])
    """
    models = len(log_p)
    p = np.exp(log_p - log_p.max(0))  # [M, n], scaled at each place
    everywhere = np.full((1, models), 1 / models)
    everywhere = _climb(p, np.zeros_like(classes), everywhere, np.zeros((1, models)))
    start = np.repeat(everywhere, count, 0)
    fitted = _climb(p, classes, start, PRIOR * start)
    alone = [np.repeat(row[None], count, 0) for row in np.eye(models)]
    return max([fitted, start, *alone], key=lambda w: mixed(log_p, classes, w).sum())


def mixed(log_p: np.ndarray, classes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return ln Σ_m w[c_t, m] p_m(x_t), `[n]`."""
    largest = log_p.max(0)
    p = (weights[classes].T * np.exp(log_p - largest)).sum(0)
    with np.errstate(divide="ignore"):  # of a model alone, where it has p = 0 after rounding
        return np.log(p) + largest


def _climb(p: np.ndarray, classes: np.ndarray, w: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Climb to the largest Σ_t ln Σ_m w[c_t, m] p[m, t] + Σ prior ln w."""
    before = -np.inf
    for _ in range(ROUNDS):
        shares = w[classes].T * p  # [M, n]
        total = shares.sum(0)
        now = np.log(total).mean() + (prior * np.log(np.maximum(w, 1e-300))).sum() / len(classes)
        if now - before < TOLERANCE:
            break
        before = now
        sums = [np.bincount(classes, share, len(w)) for share in shares / total]
        w = np.stack(sums, 1) + prior  # [C, M]
        sums = w.sum(1, keepdims=True)
        w = np.divide(w, sums, out=np.full_like(w, 1 / len(p)), where=sums > 0)
    return w
