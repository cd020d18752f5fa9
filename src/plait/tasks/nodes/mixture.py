"""The answer of a trained network mixed with those of spreading and of linear models."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from plait.graph_data.labelled_graph import NodeSplit
from plait.nn.graph import Graph
from plait.tasks.nodes.linear import ALPHAS
from plait.tasks.nodes.spreading import correct_and_smooth

ROUNDS = 10
"""Members of a mixture, each as often as it was chosen."""


def choose_mixture(
    candidates: Mapping[str, Tensor],
    labels: Tensor,
    valid: Tensor,
    rounds: int = ROUNDS,
    counts: Tensor | None = None,
) -> dict[str, float]:
    """Choose weights of candidates by their mean's accuracy on the validation nodes.

    Greedy selection with replacement: from nothing, in each round the candidate is added that makes
    the mean of all those chosen so far best, by accuracy, then by −ln of the probability of the
    label; the best of the rounds is taken, the first of equals.

    Source: Caruana et al. (2004), Ensemble selection from libraries of models.

    Parameters
    ----------
    candidates : mapping of str to Tensor `[N, classes]`
        Probabilities.
    labels : Tensor `[N]`
    valid : Tensor `[n]`
        Nodes.
    rounds : int
    counts : Tensor `[n]`
        How much each of these counts; None: all alike. If they differ, so that few nodes would
        decide the accuracy, the probability of the label comes before it.

    Returns
    -------
    dict
        The weights of those with any, the sum of which is 1.

    Example
    -------
    >>> import torch
    >>> from plait.tasks.nodes.mixture import choose_mixture
    >>> a = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.1, 0.9]])
    >>> b = torch.tensor([[0.4, 0.6], [0.1, 0.9], [0.4, 0.6]])
    >>> choose_mixture({"a": a, "b": b}, torch.tensor([0, 1, 1]), torch.arange(3), rounds=2)
    {'a': 0.5, 'b': 0.5}
    """
    truth = labels[valid]
    own = {name: p[valid] for name, p in candidates.items()}
    share = torch.ones(len(valid)).double() if counts is None else counts.double()
    share = share / share.sum()

    def goodness(p: Tensor) -> tuple[float, float]:
        accuracy = (share * (p.argmax(1) == truth)).sum().item()
        of_label = p.gather(1, truth[:, None])[:, 0].double().clamp(min=1e-12)
        found = round(accuracy, 9), (share * of_label.log()).sum().item()
        return found if counts is None else found[::-1]

    total, chosen = torch.zeros_like(next(iter(own.values()))), []
    best, taken = (-math.inf, 0.0), 0
    for count in range(1, rounds + 1):
        found = {name: goodness((total + p) / count) for name, p in own.items()}
        name = max(found, key=found.__getitem__)
        chosen.append(name)
        total = total + own[name]
        if found[name] > best:
            best, taken = found[name], count
    members = chosen[:taken]
    return {name: members.count(name) / taken for name in own if name in members}


def smoothed(
    probabilities: Tensor, graph: Graph, labels: Tensor, splits: NodeSplit
) -> dict[str, Tensor]:
    """Return a network's probabilities after Correct & Smooth, for each of `ALPHAS`, by name."""
    return {
        f"network smoothed by {alpha:g}": to_probabilities(
            correct_and_smooth(graph, probabilities, labels, splits.train, alpha)
        )
        for alpha in ALPHAS
    }


def to_probabilities(scores: Tensor) -> Tensor:
    """Clip scores at 0 and divide each row by its sum, float64; rows without any are uniform.

    >>> import torch
    >>> from plait.tasks.nodes.mixture import to_probabilities
    >>> to_probabilities(torch.tensor([[3.0, 1.0], [-1.0, 0.0]]))
    tensor([[0.7500, 0.2500],
            [0.5000, 0.5000]], dtype=torch.float64)
    """
    p = scores.double().clamp(min=0)
    p = torch.where(p.sum(1, keepdim=True) > 0, p, 1.0)
    return p / p.sum(1, keepdim=True)


def describe_mixture(weights: Mapping[str, float]) -> str:
    """Return a mixture in words.

    >>> from plait.tasks.nodes.mixture import describe_mixture
    >>> describe_mixture({"network": 0.75, "spread labels": 0.25})
    '75% network + 25% spread labels'
    """
    return " + ".join(f"{weight:.0%} {name}" for name, weight in weights.items())
