"""How well nodes are labelled."""

import torch
from torch import Tensor
from torch.nn import functional as F


def score_nodes(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Score the logits `[n, classes]` of some nodes by their labels `[n]`.

    Returns
    -------
    dict
        `loss` (mean of −ln p, nats), `accuracy` (share of nodes whose likeliest class is right),
        `balanced_accuracy` (the mean over the classes that occur of each one's accuracy).
    """
    logits = logits.double()
    right = logits.argmax(-1) == labels
    of_classes = [right[labels == k].double().mean() for k in labels.unique()]
    return {
        "loss": F.cross_entropy(logits, labels).item(),
        "accuracy": right.double().mean().item(),
        "balanced_accuracy": torch.stack(of_classes).mean().item(),
    }
