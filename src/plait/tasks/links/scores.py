"""How well edges are distinguished from pairs without one."""

import math

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor
from torch.nn import functional as F


def nats(there: Tensor, not_there: Tensor) -> Tensor:
    """Return the mean of −ln p, half of it over the edges and half over the other pairs."""
    return (F.softplus(-there).mean() + F.softplus(not_there).mean()) / 2


def score_pairs(there: Tensor, not_there: Tensor, k: int) -> dict[str, float]:
    """Score the scores of pairs that are connected, and of pairs that are not.

    Returns
    -------
    dict
        `auc` (see `area`), `average_precision` (Σ_n (R_n − R_{n−1}) P_n, with precision and recall
        at every threshold), and `hits_at_k`: the share of edges that score higher than the
        k-th best of the other pairs (Hu et al. 2020), or the worst where there are fewer. NaN
        where a score is not a finite number.

    Example
    -------
    >>> import torch
    >>> from plait.tasks.links.scores import score_pairs
    >>> score_pairs(torch.tensor([3.0, 1.0]), torch.tensor([2.0, 0.0]), k=1)
    {'auc': 0.75, 'average_precision': 0.8333333333333333, 'hits_at_1': 0.5}
    """
    if not (there.isfinite().all() and not_there.isfinite().all()):  # a training that broke down
        return dict.fromkeys(("auc", "average_precision", f"hits_at_{k}"), math.nan)
    scores = torch.cat([there, not_there]).double().cpu().numpy()
    truth = np.arange(len(scores)) < len(there)
    bar = not_there.topk(min(k, len(not_there))).values[-1]
    return {
        "auc": area(there, not_there).item(),
        "average_precision": float(average_precision_score(truth, scores)),
        f"hits_at_{k}": (there > bar).double().mean().item(),
    }


def area(there: Tensor, not_there: Tensor) -> Tensor:
    """Return how often an edge scores higher than another pair, equals counting half.

    It is the area under the ROC curve (Hanley & McNeil 1982).

    >>> import torch
    >>> from plait.tasks.links.scores import area
    >>> area(torch.tensor([3.0, 1.0]), torch.tensor([2.0, 1.0, 0.0])).item()
    0.75
    """
    others = not_there.detach().sort().values
    there = there.detach().contiguous()
    lower = torch.searchsorted(others, there) + torch.searchsorted(others, there, right=True)
    return lower.double().mean() / (2 * len(others))


def score_hard(scores: Tensor, others: Tensor, of: Tensor, k: int) -> dict[str, float]:
    """Score how high edges rank, each among its own hard negatives.

    With r the place of an edge among these, from 1, equals sharing their places:

    mrr = mean 1/r,  hard_hits_at_k = mean [r ≤ k]

    Parameters
    ----------
    scores : Tensor `[n]`
        Of the edges.
    others : Tensor `[m]`
        Of the negative pairs.
    of : Tensor `[m]`
        Which edge each of these belongs to.
    k : int

    Example
    -------
    >>> import torch
    >>> from plait.tasks.links.scores import score_hard
    >>> of = torch.tensor([0, 0, 1])
    >>> score_hard(torch.tensor([2.0, 3.0]), torch.tensor([3.0, 1.0, 1.0]), of, k=1)
    {'mrr': 0.75, 'hard_hits_at_1': 0.5}
    """
    if not (scores.isfinite().all() and others.isfinite().all()):
        return dict.fromkeys(("mrr", f"hard_hits_at_{k}"), math.nan)
    scores, others, of = scores.cpu().double(), others.cpu().double(), of.cpu()
    own = scores[of]
    above = (others > own).double() + (others == own).double() / 2
    rank = 1 + torch.zeros_like(scores).index_add_(0, of, above)
    return {
        "mrr": (1 / rank).mean().item(),
        f"hard_hits_at_{k}": (rank <= k).double().mean().item(),
    }
