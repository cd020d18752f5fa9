"""Cross-entropy of predicted frames, and of those that can be had without a network."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from plait.tasks.digits.config import DigitsConfig
from plait.tasks.digits.frames import draw_frames
from plait.tasks.digits.model import DigitsModel
from plait.training.streams import random_generator

TRAINING, FITTING, VALIDATION, TEST = 0, 1, 2, 3
"""Streams of random numbers, which never meet."""

SCORED = 50
"""Sequences at a time where nothing is learnt."""

BATCHES = {FITTING: 4, VALIDATION: 4, TEST: 20}
"""How many such batches the baselines are fitted on, and a network is validated and tested on."""

SHARES = torch.arange(20) / 20
"""Shares of the last frame, of which the best is found."""

BASELINES = {"mean_frame": "the mean frame", "last_frame": "the last frame, faded into it"}


def sequences(
    images: np.ndarray, config: DigitsConfig, number: int, stream: int, count: int
) -> Tensor:
    """Draw the frames `[P + H, B, S, S]` of a batch by its number.

    What is trained on depends on the run's seed; what is validated and tested on does not.
    """
    random = random_generator(config.seed if stream == TRAINING else 0, number, stream)
    steps = config.history + config.horizon
    return torch.from_numpy(draw_frames(random, images, count, steps, config.frame))


def batches(
    images: np.ndarray, config: DigitsConfig, stream: int, device: torch.device
) -> Iterable[Tensor]:
    """All batches of a stream in which nothing is learnt."""
    for number in range(1, BATCHES[stream] + 1):
        yield sequences(images, config, number, stream, SCORED).to(device)


class Baselines(NamedTuple):
    """What can be said of the next frames without a network.

    The mean frame, m; and the last frame y faded into it, a_k y + (1 − a_k) m, with for every step
    ahead k the share a_k that has the least cross-entropy on the sequences that it is fitted on.
    """

    mean: Tensor  # [S, S]
    shares: Tensor  # [H]

    @classmethod
    def fit(cls, sequences: Iterable[Tensor], config: DigitsConfig) -> Self:
        """Fit them on frames `[P + H, B, S, S]`."""
        frames = torch.cat(list(sequences), 1)
        mean = frames.mean((0, 1))
        heard, truth = frames.split([config.history, config.horizon])
        guesses = (_faded(heard, mean, share.expand(len(truth))) for share in SHARES.to(mean))
        nats = [F.binary_cross_entropy(p, truth, reduction="none").sum((1, 2, 3)) for p in guesses]
        return cls(mean, SHARES.to(mean)[torch.stack(nats).argmin(0)])

    def predict(self, heard: Tensor) -> dict[str, Tensor]:
        """Grey levels `[H, B, S, S]` after frames `[P, B, S, S]`, by the baselines' names."""
        shares = {"mean_frame": torch.zeros_like(self.shares), "last_frame": self.shares}
        return {name: _faded(heard, self.mean, share) for name, share in shares.items()}


def _faded(heard: Tensor, mean: Tensor, shares: Tensor) -> Tensor:
    last = heard[-1].expand(len(shares), *heard.shape[1:])
    return torch.lerp(mean, last, shares.view(-1, 1, 1, 1)).clamp(1e-6, 1 - 1e-6)


@torch.no_grad()
def score(model: DigitsModel, tested: Iterable[Tensor]) -> dict[str, float]:
    """Score a network, in evaluation mode.

    Returns
    -------
    dict
        `loss`, in nats a pixel, and `cross_entropy`, in nats a sequence: the binary cross-entropy
        −Σ y ln p + (1 − y) ln(1 − p) with grey levels y, over the pixels of all H frames.
    """
    config, nats, count = model.config, 0.0, 0
    for frames in tested:
        heard, truth = frames.split([config.history, config.horizon])
        logits = model(heard)
        nats += F.binary_cross_entropy_with_logits(logits, truth, reduction="sum").item()
        count += truth.shape[1]
    pixels = config.horizon * config.frame**2
    return {"loss": nats / count / pixels, "cross_entropy": nats / count}


@torch.no_grad()
def score_baselines(
    baselines: Baselines, tested: Iterable[Tensor], config: DigitsConfig
) -> Mapping[str, float]:
    """Score what can be had without a network, in nats a sequence.

    Returns
    -------
    dict
        `mean_frame_cross_entropy`, `last_frame_cross_entropy`, and `least_cross_entropy`, which
        the truth itself has, for its grey levels are neither 0 nor 1: nobody has less.
    """
    nats, count = dict.fromkeys((*BASELINES, "least"), 0.0), 0
    for frames in tested:
        heard, truth = frames.split([config.history, config.horizon])
        for name, p in (baselines.predict(heard) | {"least": truth}).items():
            nats[name] += F.binary_cross_entropy(p, truth, reduction="sum").item()
        count += truth.shape[1]
    return {f"{name}_cross_entropy": value / count for name, value in nats.items()}
