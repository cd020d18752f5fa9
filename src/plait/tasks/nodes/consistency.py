"""How far several answers to the same nodes, with different dropout, are from one another."""

from torch import Tensor

VIEWS = 4
"""Answers of a step to every node."""

TEMPERATURE = 0.5
"""Of the mean answer that all are drawn to: below 1 it is surer than they are."""


def disagreement(p: Tensor) -> Tensor:
    r"""Return the mean squared distance of several answers from their sharpened mean.

    L = mean over views v and nodes i of ‖p_vi − q_i‖²,  q_i ∝ (mean_v p_vi)^(1/T)

    with T = 0.5; q has no gradient. Nodes need no labels.

    Source: Feng et al. (2020), Graph random neural networks, equations 4 and 5.

    Shapes: p `[views, nodes, classes]`, probabilities.

    >>> import torch
    >>> from plait.tasks.nodes.consistency import disagreement
    >>> disagreement(torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]]))
    tensor(0.)
    >>> disagreement(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]))
    tensor(0.5000)
    """
    sharp = p.detach().mean(0).pow(1 / TEMPERATURE)
    return (p - sharp / sharp.sum(-1, keepdim=True)).square().sum(-1).mean()
