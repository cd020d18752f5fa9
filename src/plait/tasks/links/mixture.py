"""The network and the heuristics in one answer, weighed on the validation part."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

STRENGTH = 0.1
"""Inverse strength of the penalty on the weights (scikit-learn's C)."""

NETWORK, FEATURES, EMBEDDING = "network", "features", "embedding"
"""Scores that are mixed as they are; others are counts, of which the logarithm is."""


@dataclass(frozen=True)
class Mixture:
    """Weighs several scores of a pair, so that σ of the sum is the probability of a connection.

    s = b + Σ_k w_k (f_k − μ_k) / σ_k

    with f_k the network's logit, a cosine or an embedding's product as they are, and ln(1 + c / c̄)
    of the heuristics c, which have few large values; μ, σ and c̄ are their means and deviations on
    the pairs that the weights are fitted to.

    Attributes
    ----------
    typical : mapping
        c̄ of each score; 0: the score is taken as it is.
    means, deviations, weights : array `[K]`
    bias : float
    """

    typical: Mapping[str, float]
    means: np.ndarray
    deviations: np.ndarray
    weights: np.ndarray
    bias: float

    @classmethod
    def fit(cls, scores: Mapping[str, Tensor], truth: Tensor, shares: Tensor) -> Self:
        """Fit the weights by logistic regression with a penalty, ½ |w|² / C, with C = 0.1.

        Parameters
        ----------
        scores : mapping
            Of the pairs by name, each `[n]`.
        truth : Tensor `[n]`
            Which pairs are connections.
        shares : Tensor `[n]`
            How often each pair counts.

        Example
        -------
        >>> import torch
        >>> from plait.tasks.links.mixture import Mixture
        >>> scores = {"network": torch.tensor([9.0, 7, 8]), "katz": torch.tensor([2.0, 1, 0])}
        >>> truth = torch.tensor([True, True, False])
        >>> mixture = Mixture.fit(scores, truth, torch.ones(3))
        >>> mixture.weights[1] > abs(mixture.weights[0])
        True
        """
        from sklearn.linear_model import LogisticRegression  # takes long to import

        as_they_are = (NETWORK, FEATURES, EMBEDDING)
        typical = {
            name: 0.0 if name in as_they_are else float(found.double().mean())
            for name, found in scores.items()
        }
        columns = _columns(scores, typical)
        means, deviations = columns.mean(0), columns.std(0)
        deviations = np.where(deviations > 1e-12, deviations, 1.0)
        fitted = LogisticRegression(C=STRENGTH, tol=1e-6, max_iter=1000).fit(
            (columns - means) / deviations, truth.numpy(), sample_weight=shares.numpy()
        )
        return cls(typical, means, deviations, fitted.coef_[0], float(fitted.intercept_[0]))

    def logits(self, scores: Mapping[str, Tensor]) -> Tensor:
        """Return s of pairs, float64 `[n]`, from their scores by name."""
        columns = (_columns(scores, self.typical) - self.means) / self.deviations
        return torch.from_numpy(columns @ self.weights + self.bias)


def _columns(scores: Mapping[str, Tensor], typical: Mapping[str, float]) -> np.ndarray:
    """Return the scores side by side, `[n, K]`, counts by their logarithms."""
    found = {name: scores[name].detach().cpu().double().numpy() for name in typical}
    logs = [
        np.log1p(found[name] / usual) if usual else found[name] for name, usual in typical.items()
    ]
    return np.stack(logs, 1)
