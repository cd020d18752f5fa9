"""Answers on a graph whose classes have other shares than its parts, which were drawn by class.

With `--split few` every class has as many nodes to train and to validate on, however rare it is.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from plait.graph_data.labelled_graph import NodeSplit
from plait.tasks.nodes.mixture import log_likelihood

SPREADS = tuple(2 ** (k / 2) for k in range(-16, 1))
"""Standard deviations that the shares may have from those of the parts."""

EVIDENCE = 7.0
"""Times that what was seen must be likelier with other shares than with those of the parts."""

LEAST = 1e-3
"""Share of a class at least."""


def estimate_shares(
    p: Tensor, labels: Tensor, valid: Tensor, others: Tensor, prior: Tensor
) -> Tensor | None:
    r"""Estimate the shares of classes among nodes without labels, by what a model says of them.

    q − C π = C δ + noise,  δ ~ N(0, τ² I) with Σ_k δ_k = 0,  s = π + E[δ | q]

    C_lk is the mean over the validation nodes of class k of their probability of class l, q_l that
    over the others: how often the model is wrong, and in favour of what, is taken into account.
    The noise is normal, with the covariance that C π and q have as means of so many nodes. τ is the
    one that makes q likeliest (empirical Bayes), or 0, so that the shares stay those of the parts,
    unless q is 7 times as likely.

    Source: Lipton, Wang & Smola (2018), Detecting and correcting for label shift with black box
    predictors, section 3, with probabilities for predictions; Azizzadenesheli et al. (2019),
    Regularized learning for domain adaptation under label shifts, for drawing s to π.

    Parameters
    ----------
    p : Tensor `[N, K]`
        Probabilities.
    labels : Tensor `[N]`
    valid, others : Tensor `[n]`
        Nodes whose labels are known to it, of each class one at least, and those to estimate.
    prior : Tensor `[K]`
        π, the shares in the parts.

    Returns
    -------
    Tensor `[K]`, or None if τ is 0

    Example
    -------
    >>> import torch
    >>> from plait.tasks.nodes.shares import estimate_shares
    >>> p = torch.tensor([[0.8, 0.2], [0.4, 0.6], [0.8, 0.2], [0.8, 0.2], [0.4, 0.6]]).repeat(99, 1)
    >>> labels = torch.tensor([0, 1, -1, -1, -1]).repeat(99)
    >>> known, half = labels >= 0, torch.tensor([0.5, 0.5])
    >>> parts = known.nonzero()[:, 0], (~known).nonzero()[:, 0]
    >>> estimate_shares(p, labels, *parts, half).round(decimals=4)
    tensor([0.6628, 0.3372], dtype=torch.float64)
    """
    p, prior = p.double(), prior.double()
    K = p.shape[1]
    of_class = [p[valid][labels[valid] == k] for k in range(K)]
    confusion = torch.stack([own.mean(0) for own in of_class], 1)
    noise = _of_mean(p[others])
    for share, own in zip(prior, of_class, strict=True):
        noise = noise + share**2 * _of_mean(own)
    plane = torch.linalg.svd(torch.ones(1, K).double())[2][1:].T  # [K, K − 1], where Σ δ is 0
    off = plane.T @ (p[others].mean(0) - confusion @ prior)
    M, noise = plane.T @ confusion @ plane, plane.T @ noise @ plane
    noise = noise + 1e-10 * torch.eye(K - 1)

    def covariance(spread: float) -> Tensor:
        return spread**2 * M @ M.T + noise

    def likelihood(spread: float) -> float:
        V = covariance(spread)
        return -float(off @ torch.linalg.solve(V, off) + torch.logdet(V)) / 2

    spread = max(SPREADS, key=likelihood)
    if likelihood(spread) < likelihood(0.0) + math.log(EVIDENCE):
        return None
    shift = plane @ (spread**2 * M.T @ torch.linalg.solve(covariance(spread), off))
    shares = (prior + shift).clamp(min=LEAST)
    return shares / shares.sum()


def _of_mean(p: Tensor) -> Tensor:
    """Return the covariance of the mean of rows that are drawn independently, `[K, K]`."""
    off = p - p.mean(0)
    return off.T @ off / max(1, len(p) - 1) / len(p)


def reweighted(p: Tensor, factors: Tensor) -> Tensor:
    """Multiply each class's probability by its factor, and divide the rows by their sums.

    >>> import torch
    >>> from plait.tasks.nodes.shares import reweighted
    >>> reweighted(torch.tensor([[0.5, 0.5]]), torch.tensor([3.0, 1.0]))
    tensor([[0.7500, 0.2500]])
    """
    p = p * factors
    return p / p.sum(1, keepdim=True)


def with_shares_of_graph(
    candidates: Mapping[str, Tensor], labels: Tensor, splits: NodeSplit
) -> tuple[Mapping[str, Tensor], Tensor | None]:
    """Return candidates for the shares that classes have in the graph, and weights of `valid`.

    Where the shares are those of the training nodes, the candidates as they are, and None.

    Each candidate's probabilities, `[N, K]`, calibrated, are multiplied by s_k / π_k: π are the
    shares among the training nodes, s those that `estimate_shares` finds among the nodes of neither
    part, by the candidate that gives the labels of the validation nodes the largest probability. A
    validation node's weight `[n]` is s_k / v_k with v the shares among these; so weighted they have
    the shares s.
    """
    best = max(candidates.values(), key=lambda p: log_likelihood(p, labels, splits.valid))
    others = torch.ones(len(labels), dtype=torch.bool)
    others[torch.cat([splits.train, splits.valid])] = False
    prior, among_valid = (
        torch.bincount(labels[part], minlength=best.shape[1]).double().clamp(min=1) / len(part)
        for part in (splits.train, splits.valid)
    )
    shares = estimate_shares(best, labels, splits.valid, others.nonzero()[:, 0], prior)
    if shares is None:
        return candidates, None
    adjusted = {name: reweighted(p, shares / prior) for name, p in candidates.items()}
    return adjusted, (shares / among_valid)[labels[splits.valid]]
