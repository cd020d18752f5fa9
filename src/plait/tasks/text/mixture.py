"""The network and the n-gram, mixed by weights that are fitted on the validation part."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from plait.generation import TextGenerator
from plait.nn.forms import as_tuple
from plait.tasks.text.model import TextModel
from plait.tasks.text.ngram import Ngram
from plait.tasks.text.scores import in_reported_units, log_probabilities

PRIOR = 10.0
"""Places, shared out by the weights of all classes together, that count in each class."""

ROUNDS, TOLERANCE = 200, 1e-7
"""Steps of EM, and the gain in nats per symbol below which it ends."""


def fit_weights(log_p: np.ndarray, classes: np.ndarray, count: int) -> np.ndarray:
    """Fit the weights of a mixture of models, for each class of places, by EM.

    p(x_t) = Σ_m w[c_t, m] p_m(x_t). The logarithm of this, summed over a text, is concave in w;
    EM climbs to its maximum (Dempster, Laird & Rubin 1977; of n-grams: Jelinek & Mercer 1980). In
    each class ten places count that are shared out by the weights of all classes together, so a
    rare class has nearly those. No mixture is returned that is worse, on these places, than one of
    the models alone.

    Parameters
    ----------
    log_p : array `[M, n]`
        ln p of each symbol by each model.
    classes : integer array `[n]`
    count : int
        The number of classes.

    Returns
    -------
    array `[count, M]`
        Rows sum to 1.

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.text.mixture import fit_weights
    >>> log_p = np.log([[0.9, 0.1, 0.9, 0.9], [0.1, 0.9, 0.1, 0.1]])
    >>> fit_weights(log_p, np.zeros(4, dtype=int), 1).round(3)
    array([[0.812, 0.188]])
    """
    models = len(log_p)
    p = np.exp(log_p - log_p.max(0))  # [M, n], scaled at each place
    everywhere = np.full((1, models), 1 / models)
    everywhere = _climb(p, np.zeros_like(classes), everywhere, np.zeros((1, models)))
    start = np.repeat(everywhere, count, 0)
    fitted = _climb(p, classes, start, PRIOR * start)
    alone = [np.repeat(row[None], count, 0) for row in np.eye(models)]
    return max([fitted, start, *alone], key=lambda w: mixed(log_p, classes, w).sum())


def mixed(log_p: np.ndarray, classes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return ln Σ_m w[c_t, m] p_m(x_t), `[n]`."""
    largest = log_p.max(0)
    p = (weights[classes].T * np.exp(log_p - largest)).sum(0)
    with np.errstate(divide="ignore"):  # of a model alone, where it has p = 0 after rounding
        return np.log(p) + largest


def _climb(p: np.ndarray, classes: np.ndarray, w: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Climb to the largest Σ_t ln Σ_m w[c_t, m] p[m, t] + Σ prior ln w."""
    before = -np.inf
    for _ in range(ROUNDS):
        shares = w[classes].T * p  # [M, n]
        total = shares.sum(0)
        now = np.log(total).mean() + (prior * np.log(np.maximum(w, 1e-300))).sum() / len(classes)
        if now - before < TOLERANCE:
            break
        before = now
        sums = [np.bincount(classes, share, len(w)) for share in shares / total]
        w = np.stack(sums, 1) + prior  # [C, M]
        sums = w.sum(1, keepdims=True)
        w = np.divide(w, sums, out=np.full_like(w, 1 / len(p)), where=sums > 0)
    return w


@dataclass(frozen=True)
class Mixture:
    """Mixing weights of a network and an n-gram.

    p(x | past) = w_c p_network(x | past) + (1 − w_c) p_ngram(x | past), where c is the class of
    the n-gram's confidence: how long its longest context is that occurred in the training text,
    how often it occurred, and whether one symbol alone followed it there.

    Attributes
    ----------
    ngram : Ngram
    weights : array `[classes]`
        w_c, from 0 to 1.
    """

    ngram: Ngram
    weights: np.ndarray

    @classmethod
    def fit(cls, model: TextModel, ngram: Ngram, validation: Tensor) -> Self:
        """Fit the weights on a text that follows the one that the n-gram was counted on."""
        log_p, classes = _both(model, ngram, validation)
        return cls(ngram, fit_weights(log_p, classes, ngram.classes)[:, 0])

    def score(self, model: TextModel, numbers: Tensor) -> dict[str, float]:
        """Score the mixture on a text.

        Returns `mix_bits_per_character` (of words `mix_perplexity`) and `mix_network_weight`, the
        network's weight in the mean.
        """
        log_p, classes = _both(model, self.ngram, numbers)
        loss = -mixed(log_p, classes, np.stack([self.weights, 1 - self.weights], 1)).mean()
        scores = in_reported_units(model.vocabulary, float(loss), numbers)
        return {
            **{f"mix_{name}": value for name, value in scores.items()},
            "mix_network_weight": float(self.weights[classes].mean()),
        }


def _both(model: TextModel, ngram: Ngram, numbers: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return ln p of every symbol but the first by both, `[2, n − 1]`, and the classes."""
    network = log_probabilities(model, numbers).cpu().numpy()
    p, classes = ngram.probability(numbers.cpu().numpy())
    return np.stack([network, np.log(p[1:])]), classes[1:]


class MixedModel(TextGenerator):
    """A network and an n-gram as one model of the next symbol, to generate text with.

    Its logits are ln p of the mixture; the n-gram's contexts are carried with the states.

    Shapes: numbers of symbols `[T, B]` to logits `[T, B, V]`; state: that of the network, then
    contexts `[order, B, 1]`.

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.text.config import TextConfig
    >>> from plait.tasks.text.mixture import MixedModel, Mixture
    >>> from plait.tasks.text.model import TextModel
    >>> from plait.tasks.text.ngram import Ngram
    >>> from plait.tasks.text.vocabulary import Characters
    >>> ngram = Ngram(np.array([0, 1] * 50), symbols=2, order=2)
    >>> network = TextModel(Characters.of("ab"), TextConfig(hidden_size=4))
    >>> model = MixedModel(network, Mixture(ngram, np.full(ngram.classes, 0.1)))
    >>> model.generate("a", 5, greedy=True)
    'ababab'
    """

    def __init__(self, network: TextModel, mixture: Mixture) -> None:
        super().__init__()
        self.network, self.mixture = network, mixture
        self.vocabulary, self.weights = network.vocabulary, network.weights

    def forward(self, numbers: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return ln p of the next symbol after each, and the state after the last."""
        ngram, device = self.mixture.ngram, numbers.device
        before = None if state is None else tuple(state[:-1])
        logits, after = self.network(numbers, before)
        ids = ngram.start(numbers.shape[1]) if state is None else state[-1][..., 0].cpu().numpy()
        read = list[np.ndarray]()  # contexts after each symbol
        for symbols in numbers.cpu().numpy():
            ids = ngram.read(ids, symbols)
            read.append(ids)
        contexts = torch.from_numpy(ids)[..., None].to(device)
        return self._mix(logits, np.stack(read)), (*as_tuple(after), contexts)

    def first_logits(self, count: int) -> Tensor:
        """Return ln p of a text's first symbol, `[count, V]`."""
        logits = self.network.first_logits(count)
        return self._mix(logits[None], self.mixture.ngram.start(count)[None])[0]

    def _mix(self, logits: Tensor, contexts: np.ndarray) -> Tensor:
        """Mix the network's logits `[T, B, V]` with the n-gram after contexts `[T, order, B]`."""
        ngram = self.mixture.ngram
        ids = contexts.swapaxes(0, 1).reshape(ngram.order, -1)  # [order, T B]
        weights = torch.from_numpy(self.mixture.weights[ngram.confidence(ids)])
        theirs = torch.from_numpy(ngram.distribution(ids))
        w = weights.view(*logits.shape[:2], 1).to(logits.device)
        p = w * logits.double().softmax(-1) + (1 - w) * theirs.view_as(logits).to(logits.device)
        return p.log()
