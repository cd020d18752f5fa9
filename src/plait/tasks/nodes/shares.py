"""Answers on a graph whose classes have other shares than its parts, which were drawn by class.

With `--split few` every class has as many nodes to train and to validate on, however rare it is.
"""

from collections.abc import Mapping

import scipy.optimize
import torch
from torch import Tensor

from plait.graph_data.labelled_graph import NodeSplit

POWERS = tuple(2 ** (k / 4) for k in range(-8, 21))
"""What calibration may raise probabilities to, or multiply them by: from 1/4 to 32."""

LIKE = 0.1
"""Half the sum of the differences of estimated shares up to which they count as the parts'."""

LEAST = 1e-3
"""Share of a class at least."""


def estimate_shares(p: Tensor, labels: Tensor, valid: Tensor, others: Tensor) -> Tensor:
    r"""Estimate the shares of classes among nodes without labels, by what a model says of them.

    min over s ≥ 0 of ‖C s − q‖,  then s / Σ_k s_k

    C_lk is the mean over the validation nodes of class k of their probability of class l, q_l that
    over the others: how often the model is wrong, and in favour of what, is taken into account.

    Source: Lipton, Wang & Smola (2018), Detecting and correcting for label shift with black box
    predictors, section 3, with probabilities for predictions.

    Parameters
    ----------
    p : Tensor `[N, K]`
        Probabilities.
    labels : Tensor `[N]`
    valid, others : Tensor `[n]`
        Nodes whose labels are known to it, of each class one at least, and those to estimate.

    >>> import torch
    >>> from plait.tasks.nodes.shares import estimate_shares
    >>> p = torch.tensor([[0.8, 0.2], [0.4, 0.6], [0.8, 0.2], [0.8, 0.2], [0.4, 0.6]])
    >>> labels = torch.tensor([0, 1, -1, -1, -1])
    >>> shares = estimate_shares(p, labels, torch.tensor([0, 1]), torch.tensor([2, 3, 4]))
    >>> shares.round(decimals=4)
    tensor([0.6667, 0.3333], dtype=torch.float64)
    """
    p = p.double()
    confusion = torch.stack([p[valid][labels[valid] == k].mean(0) for k in range(p.shape[1])], 1)
    found, _ = scipy.optimize.nnls(confusion.numpy(), p[others].mean(0).numpy())
    shares = torch.from_numpy(found).clamp(min=LEAST)
    return shares / shares.sum()


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
    """Return p^b or e^(b p), divided by its sum, whichever makes labels of `valid` likeliest.

    The first is for probabilities of a network (Guo et al. 2017, section 4.2), the second for the
    scores of a linear model.
    """
    p = p.double()
    forms = (p.clamp(min=1e-12).log(), p)
    candidates = ((b * form).log_softmax(1) for form in forms for b in POWERS)
    return max(candidates, key=lambda logs: log_likelihood(logs, labels, valid)).exp()


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
    among the nodes of neither part, by the candidate that gives the labels of the validation
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
    shares = estimate_shares(best, labels, splits.valid, others.nonzero()[:, 0])
    if (shares - prior).abs().sum() / 2 < LIKE:
        return candidates, None
    adjusted = {name: reweighted(p, shares / prior) for name, p in own.items()}
    return adjusted, (shares / among_valid)[labels[splits.valid]]
