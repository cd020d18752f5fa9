"""The network and the heuristics in one score, weighted on the validation set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.tasks.links.trial import Trial

PENALTY = 10.0
"""What multiplies half the sum of the squared differences of the weights from `PRIOR`."""

PRIOR = {"pagerank": 2.0}
"""The weights, others being 0, that few edges to fit to hardly change: the heuristic that did
best on small graphs, alone."""

AS_THEY_ARE = ("network", "features", "embedding")
"""Scores that are mixed as they are; others are counts, of which the logarithm is."""


@dataclass(frozen=True)
class Mixture:
    """Weighs several scores of a pair, so that σ of the sum is the probability of an edge.

    s = b + Σ_k w_k (f_k − μ_k) / σ_k

    with f_k the network's logit, a cosine or an embedding's product as they are, and ln(1 + c / c̄)
    of the heuristics c, which have few large values; μ, σ and c̄ are means and deviations over the
    edges and the pairs drawn by chance that the weights are fitted to.

    Attributes
    ----------
    typical : mapping
        c̄ of each score; 0: the score is taken as it is.
    means, deviations, weights : float64 Tensor `[K]`
    bias : float
    """

    typical: Mapping[str, float]
    means: Tensor
    deviations: Tensor
    weights: Tensor
    bias: float

    @classmethod
    def fit(cls, scores: Mapping[str, Tensor], trial: Trial) -> Self:
        """Fit weights and bias to the pairs of a held-out part, given their scores by name.

        They minimise, with n edges, of which m are ranked among hard pairs H,

        Σ −ln p(pair)  +  n/m Σ_i −ln softmax(s_i among H_i)  +  5 |w − w0|²

        of which the first sum is over the edges and the pairs drawn by chance, and w0 is
        `PRIOR`. It is convex.
        """
        usual = {name: torch.cat(trial.split(found)[:2]).double() for name, found in scores.items()}
        typical = {k: 0.0 if k in AS_THEY_ARE else v.mean().item() for k, v in usual.items()}
        columns = _columns(usual, typical)
        means, deviations = columns.mean(0), columns.std(0, correction=0)
        deviations = torch.where(deviations > 1e-12, deviations, 1.0)
        parts = trial.split((_columns(scores, typical) - means) / deviations)
        prior = torch.tensor([PRIOR.get(name, 0.0) for name in typical], dtype=torch.float64)
        w = prior.clone().requires_grad_()
        b = torch.zeros((), dtype=torch.float64, requires_grad=True)
        search = torch.optim.LBFGS(
            [w, b], max_iter=500, tolerance_grad=1e-7, tolerance_change=1e-12,
            line_search_fn="strong_wolfe",
        )  # fmt: skip

        def loss() -> Tensor:
            search.zero_grad()
            total = objective(w, b, parts, trial.hard.of, prior)
            total.backward()
            return total

        with torch.enable_grad():
            search.step(loss)
        return cls(typical, means, deviations, w.detach(), b.item())

    def logits(self, scores: Mapping[str, Tensor]) -> Tensor:
        """Return s of pairs, float64 `[n]`, from their scores by name."""
        columns = (_columns(scores, self.typical) - self.means) / self.deviations
        return columns @ self.weights + self.bias


def objective(w: Tensor, b: Tensor, parts: tuple[Tensor, ...], of: Tensor, prior: Tensor) -> Tensor:
    """Return what `Mixture.fit` minimises; `parts` are the four kinds of pairs, each `[·, K]`."""
    there, others, hard, hard_others = (part @ w for part in parts)
    chance = F.softplus(-there - b).sum() + F.softplus(others + b).sum()
    top = torch.cat([hard, hard_others]).detach().max() if len(hard) else 0.0
    among = (hard - top).exp().index_add(0, of, (hard_others - top).exp())
    ranked = (among.log() + top - hard).sum() * len(there) / max(1, len(hard))
    return chance + ranked + PENALTY / 2 * (w - prior).square().sum()


def _columns(scores: Mapping[str, Tensor], typical: Mapping[str, float]) -> Tensor:
    """Return the scores side by side, `[n, K]`, counts by their logarithms."""
    found = {name: scores[name].detach().cpu().double() for name in typical}
    logs = [
        torch.log1p(found[name] / usual) if usual else found[name]
        for name, usual in typical.items()
    ]
    return torch.stack(logs, 1)
