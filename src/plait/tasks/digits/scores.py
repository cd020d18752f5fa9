"""Cross-entropy of predicted frames."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.tasks.digits.model import DigitsModel
from plait.training.ranks import current_ranks


@torch.no_grad()
def score(model: DigitsModel, tested: Iterable[Tensor]) -> dict[str, float]:
    """Score a model, in evaluation mode.

    Returns
    -------
    dict
        `loss`, in nats per pixel, and `cross_entropy`, in nats per sequence: binary cross-entropy
        −Σ y ln p + (1 − y) ln(1 − p) with grey levels y, over the pixels of all H frames.
    """
    config, batches = model.config, list(tested)

    def nats_of(frames: Tensor) -> tuple[Tensor]:
        given, truth = frames.split([config.history, config.horizon])
        return (F.binary_cross_entropy_with_logits(model(given), truth, reduction="sum"),)

    nats = sum(total.item() for (total,) in current_ranks().map(nats_of, batches))
    count = sum(frames.shape[1] for frames in batches)
    pixels = config.horizon * config.frame**2
    return {"loss": nats / count / pixels, "cross_entropy": nats / count}
