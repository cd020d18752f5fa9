"""How well connections are distinguished from pairs without one."""

import math

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor
from torch.nn import functional as F

from plait.tasks.links.model import LinksModel


def score_held_out(
    model: LinksModel, z: Tensor, there: Tensor, not_there: Tensor, k: int
) -> dict[str, float]:
    """Score held-out pairs by the nodes' embeddings: `loss` and those of `score_pairs`."""
    pairs = torch.cat([there, not_there], 1).to(z.device)
    a, b = model.score(z, pairs).double().split([there.shape[1], not_there.shape[1]])
    return {"loss": nats(a, b).item(), **score_pairs(a, b, k)}


def nats(there: Tensor, not_there: Tensor) -> Tensor:
    """Return the mean of −ln p, half of it over the connections and half over the other pairs."""
    return (F.softplus(-there).mean() + F.softplus(not_there).mean()) / 2


def score_pairs(there: Tensor, not_there: Tensor, k: int) -> dict[str, float]:
    """Score the scores of pairs that are connected, and of pairs that are not.

    Returns
    -------
    dict
        `auc` (see `area`), `average_precision` (Σ_n (R_n − R_{n−1}) P_n, with precision and recall
        at every threshold), and `hits_at_k`: the share of connections that score higher than the
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
    """Return how often a connection scores higher than another pair, equals counting half.

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
