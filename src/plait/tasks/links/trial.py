"""A held-out part: its edges, pairs drawn by chance, hard pairs, and their scores."""

from typing import NamedTuple

import torch
from torch import Tensor

from plait.tasks.links.hard import HardPairs
from plait.tasks.links.scores import nats, score_hard, score_pairs


class Trial(NamedTuple):
    """A held-out part.

    Attributes
    ----------
    there : Tensor `[2, n]`
        Edges.
    others : Tensor `[2, n]`
        As many negative pairs, sampled uniformly.
    hard : HardPairs
        Some of the edges, with pairs that heuristics take for edges.
    """

    there: Tensor
    others: Tensor
    hard: HardPairs

    @property
    def pairs(self) -> Tensor:
        """All pairs side by side, `[2, P]`."""
        return torch.cat([self.there, self.others, self.hard.there, self.hard.others], 1)

    def split(self, scores: Tensor) -> tuple[Tensor, ...]:
        """Split what all pairs have, `[P, …]`, by the four kinds of pairs."""
        kinds = (self.there, self.others, self.hard.there, self.hard.others)
        return tuple(scores.split([kind.shape[1] for kind in kinds]))

    def score(self, scores: Tensor, k: int) -> dict[str, float]:
        """Return `loss` and the scores of `score_pairs` and `score_hard`, by those of all pairs."""
        there, others, hard, hard_others = self.split(scores)
        return {
            "loss": nats(there, others).item(),
            **score_pairs(there, others, k),
            **score_hard(hard, hard_others, self.hard.of, k),
        }
