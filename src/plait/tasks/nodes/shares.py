"""Answers on a graph whose classes have other shares than its parts, which were drawn by class.

With `--split few` every class has as many nodes to train and to validate on, however rare it is.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from plait.graph_data.labelled_graph import NodeSplit

TEMPERATURES = tuple(2 ** (k / 4) for k in range(-20, 9))
"""From 1/32 to 4."""

LIKE = 0.1
"""Half the sum of the differences of estimated shares up to which they count as the parts'."""

ROUNDS = 500
"""Of expectation and maximisation, at most."""


def estimate_shares(p: Tensor, prior: Tensor) -> Tensor:
    r"""Estimate the shares of classes among nodes without labels, from probabilities `[n, K]`.

    s_k ← mean over nodes i of p_ik s_k / π_k / Σ_l p_il s_l / π_l,  from s = π

    which climbs to the shares that make the nodes likeliest, where p are right for the shares π.

    Source: Saerens, Latinne & Decaestecker (2002), Adjusting the outputs of a classifier to new a
    priori probabilities: a simple procedure, equation 3.3.

    >>> import torch
    >>> from plait.tasks.nodes.shares import estimate_shares
    >>> sure = torch.eye(2).double()[[0, 0, 0, 1]]
    >>> estimate_shares(sure, torch.tensor([0.5, 0.5]).double())
    tensor([0.7500, 0.2500], dtype=torch.float64)
    """
    shares = prior
    for _ in range(ROUNDS):
        found = reweighted(p, shares / prior).mean(0)
        if (found - shares).abs().max() < 1e-9:
            break
        shares = found
    return shares


def reweighted(p: Tensor, factors: Tensor) -> Tensor:
    """Multiply each class's probability by its factor, and divide the rows by their sums.

    >>> import torch
    >>> from plait.tasks.nodes.shares import reweighted
    >>> reweighted(torch.tensor([[0.5, 0.5]]), torch.tensor([3.0, 1.0]))
    tensor([[0.7500, 0.2500]])
    """
    p = p * factors
    return p / p.sum(1, keepdim=True)


def calibrated(p: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
    """Return p^(1/T), divided by the sum, of the T that makes labels of `valid` nodes likeliest.

    Source: Guo et al. (2017), On calibration of modern neural networks, section 4.2.
    """
    logs = p.double().clamp(min=1e-12).log()
    found = [log_likelihood((logs / t).log_softmax(1), labels, valid) for t in TEMPERATURES]
    return (logs / TEMPERATURES[found.index(max(found))]).softmax(1)


def log_likelihood(logs: Tensor, labels: Tensor, nodes: Tensor) -> float:
    """Return the mean log probability of some nodes' labels."""
    return logs[nodes].gather(1, labels[nodes][:, None]).mean().item()


def with_shares_of_graph(
    candidates: Mapping[str, Tensor], labels: Tensor, splits: NodeSplit
) -> tuple[Mapping[str, Tensor], Tensor | None]:
    """Return candidates for the shares that classes have in the graph, and weights of `valid`.

    Where the shares are near those of the training nodes, the candidates as they are, and None.

    Each candidate's probabilities, `[N, K]`, are calibrated on the validation nodes and multiplied
    by s_k / π_k: π are the shares among the training nodes, s those that `estimate_shares` finds
    among the nodes of neither part, from the candidate that gives the labels of the validation
    nodes the largest probability. A validation node's weight `[n]` is s_k / v_k with v the shares
    among these; so weighted they have the shares s.
    """
    own = {name: calibrated(p, labels, splits.valid) for name, p in candidates.items()}
    best = max(own.values(), key=lambda p: log_likelihood(p.log(), labels, splits.valid))
    others = torch.ones(len(labels), dtype=torch.bool)
    others[torch.cat([splits.train, splits.valid])] = False
    prior, among_valid = (
        torch.bincount(labels[part], minlength=best.shape[1]).double().clamp(min=1) / len(part)
        for part in (splits.train, splits.valid)
    )
    shares = estimate_shares(best[others], prior)
    if (shares - prior).abs().sum() / 2 < LIKE:
        return candidates, None
    adjusted = {name: reweighted(p, shares / prior) for name, p in own.items()}
    return adjusted, (shares / among_valid)[labels[splits.valid]]
