"""Cross-entropy of predicted frames."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.tasks.digits.model import DigitsModel


@torch.no_grad()
def score(model: DigitsModel, tested: Iterable[Tensor]) -> dict[str, float]:
    """Score a model, in evaluation mode.

    Returns
    -------
    dict
        `loss`, in nats per pixel, and `cross_entropy`, in nats per sequence: binary cross-entropy
        −Σ y ln p + (1 − y) ln(1 − p) with grey levels y, over the pixels of all H frames.
    """
    config, nats, count = model.config, 0.0, 0
    for frames in tested:
        given, truth = frames.split([config.history, config.horizon])
        logits = model(given)
        nats += F.binary_cross_entropy_with_logits(logits, truth, reduction="sum").item()
        count += truth.shape[1]
    pixels = config.horizon * config.frame**2
    return {"loss": nats / count / pixels, "cross_entropy": nats / count}
