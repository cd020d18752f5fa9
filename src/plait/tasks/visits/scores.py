"""How well the drugs of next periods are predicted."""

import numpy as np
from sklearn.metrics import average_precision_score

THRESHOLDS = np.linspace(0.05, 0.95, 37)


def best_threshold(chances: np.ndarray, truth: np.ndarray) -> float:
    """Find the probability from which to predict a drug: the largest mean Jaccard, of 37.

    Parameters
    ----------
    chances, truth : array `[Q, drugs]`
        Probabilities, and 1 or 0.
    """
    jaccards = [_overlap(chances >= t, truth)[0] for t in THRESHOLDS]
    return float(THRESHOLDS[int(np.argmax(jaccards))])


def score_drugs(
    chances: np.ndarray,
    truth: np.ndarray,
    threshold: float,
    k: int,
    interactions: np.ndarray | None = None,
) -> dict[str, float]:
    r"""Score probabilities of drugs, each period by itself, and give the means over the periods.

    With P the drugs of probability at least `threshold`, Y those given, and R the k likeliest:

    - `jaccard`: |P ∩ Y| / |P ∪ Y|
    - `f1`: 2 |P ∩ Y| / (|P| + |Y|)
    - `pr_auc`: average precision, Σ over drugs given, by rank, of precision at that rank, / |Y|
    - `recall_at_k`: |R ∩ Y| / |Y|
    - `interacting`: share of the pairs of P that interact, over all periods (where interactions
      are known)
    - `loss`: −Σ over drugs of ln p of what was, nats per period, p kept within 10⁻⁶ of 0 and 1

    Parameters
    ----------
    chances, truth : array `[Q, drugs]`
        Probabilities, and 1 or 0; every period has a drug.
    threshold : float
    k : int
    interactions : boolean array `[drugs, drugs]`

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.visits.scores import score_drugs
    >>> scores = score_drugs(np.array([[0.9, 0.6, 0.2]]), np.array([[1, 0, 1]]), 0.5, k=2)
    >>> {name: round(value, 3) for name, value in scores.items()}
    {'loss': 2.631, 'jaccard': 0.333, 'f1': 0.5, 'pr_auc': 0.833, 'recall_at_2': 0.5}
    """
    kept = np.clip(chances, 1e-6, 1 - 1e-6)
    jaccard, f1 = _overlap(chances >= threshold, truth)
    first = np.argsort(-chances, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(truth, first, 1).sum(1) / truth.sum(1)
    scores = {
        "loss": float(-np.log(np.where(truth > 0, kept, 1 - kept)).sum(1).mean()),
        "jaccard": jaccard,
        "f1": f1,
        "pr_auc": float(np.mean(
            [average_precision_score(y, p) for y, p in zip(truth, chances, strict=True)]
        )),
        f"recall_at_{k}": float(found.mean()),
    }  # fmt: skip
    if interactions is not None and interactions.any():
        scores["interacting"] = interacting_share(chances >= threshold, interactions)
    return scores


def interacting_share(sets: np.ndarray, interactions: np.ndarray) -> float:
    """Return the share of pairs of drugs predicted together that interact; 0 without a pair.

    Parameters
    ----------
    sets : boolean array `[Q, drugs]`
    interactions : boolean array `[drugs, drugs]`, symmetrical
    """
    together = sets.astype(float)
    pairs = float((together.sum(1) * (together.sum(1) - 1)).sum())
    hits = float(((together @ interactions) * together).sum())
    return hits / pairs if pairs else 0.0


def _overlap(predicted: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Return mean Jaccard and F1; a period has a drug, so neither divides by zero."""
    both = (predicted & (truth > 0)).sum(1)
    sizes = predicted.sum(1) + truth.sum(1)
    return float((both / (sizes - both)).mean()), float((2 * both / sizes).mean())
