"""What predicts frames without a model: the mean frame, and the last one faded to it."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.tasks.digits.config import DigitsConfig

SHARES = torch.arange(20) / 20
"""Shares of the last frame, of which the best is found."""

BASELINES = {"mean_frame": "the mean frame", "last_frame": "the last frame, faded to the mean"}


class Baselines(NamedTuple):
    """Predictions of the next frames without a model.

    The mean frame, m; and the last frame y faded to it, a_k y + (1 − a_k) m, with for every step
    ahead k the share a_k that has the least cross-entropy on the sequences that it is fitted on.
    """

    mean: Tensor  # [S, S]
    shares: Tensor  # [H]

    @classmethod
    def fit(cls, sequences: Iterable[Tensor], config: DigitsConfig) -> Self:
        """Fit them on frames `[P + H, B, S, S]`."""
        frames = torch.cat(list(sequences), 1)
        mean = frames.mean((0, 1))
        given, truth = frames.split([config.history, config.horizon])
        guesses = (_faded(given, mean, share.expand(len(truth))) for share in SHARES.to(mean))
        nats = [F.binary_cross_entropy(p, truth, reduction="none").sum((1, 2, 3)) for p in guesses]
        return cls(mean, SHARES.to(mean)[torch.stack(nats).argmin(0)])

    def predict(self, given: Tensor) -> dict[str, Tensor]:
        """Return grey levels `[H, B, S, S]` after frames `[P, B, S, S]`, by baselines' names."""
        shares = {"mean_frame": torch.zeros_like(self.shares), "last_frame": self.shares}
        return {name: _faded(given, self.mean, share) for name, share in shares.items()}


def _faded(given: Tensor, mean: Tensor, shares: Tensor) -> Tensor:
    last = given[-1].expand(len(shares), *given.shape[1:])
    return torch.lerp(mean, last, shares.view(-1, 1, 1, 1)).clamp(1e-6, 1 - 1e-6)


@torch.no_grad()
def score_baselines(
    baselines: Baselines, tested: Iterable[Tensor], config: DigitsConfig
) -> Mapping[str, float]:
    """Score the baselines, in nats per sequence.

    Returns
    -------
    dict
        `mean_frame_cross_entropy`, `last_frame_cross_entropy`, and `least_cross_entropy`, which
        the truth itself has, for its grey levels are neither 0 nor 1: nobody has less.
    """
    nats, count = dict.fromkeys((*BASELINES, "least"), 0.0), 0
    for frames in tested:
        given, truth = frames.split([config.history, config.horizon])
        for name, p in (baselines.predict(given) | {"least": truth}).items():
            nats[name] += F.binary_cross_entropy(p, truth, reduction="sum").item()
        count += truth.shape[1]
    return {f"{name}_cross_entropy": value / count for name, value in nats.items()}
