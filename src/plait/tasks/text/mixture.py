"""The network, the n-gram and the cache, mixed by weights fitted on the validation set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from plait.generation import TextGenerator
from plait.nn.forms import as_tuple
from plait.tasks.text.cache import Cache, read_cache
from plait.tasks.text.model import TextModel
from plait.tasks.text.ngram import Ngram
from plait.tasks.text.scores import in_reported_units, log_probabilities
from plait.tasks.text.weights import fit_weights, mixed


@dataclass(frozen=True)
class Mixture:
    """Mixing weights of a network and other models of the same symbols.

    p(x | past) = Σ_m w[c, m] p_m(x | past), where c is the class of the n-gram's confidence: how
    long its longest context is that occurred in the training text, how often it occurred, and
    whether one symbol alone followed it there. Without an n-gram there is one class.

    Attributes
    ----------
    weights : array `[classes, M]`
        Rows sum to 1. The columns are the network, then the n-gram and the cache, as far as they
        are there, then others.
    ngram : Ngram or None
    cache : Cache or None
    others : sequence of str
        The names of the others.
    """

    weights: np.ndarray
    ngram: Ngram | None = None
    cache: Cache | None = None
    others: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls,
        model: TextModel,
        ngram: Ngram | None,
        validation: Tensor,
        cache: Cache | None = None,
        others: Mapping[str, np.ndarray] | None = None,
    ) -> Self:
        """Fit the weights on a text that follows the one that the n-gram was counted on.

        `others` are, by name, ln p of every symbol but the first by other models, `[n − 1]`.
        """
        others = others or {}
        log_p, classes = _rows(model, validation, ngram, cache, others)
        count = 1 if ngram is None else ngram.classes
        return cls(fit_weights(log_p, classes, count), ngram, cache, tuple(others))

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        here = {"ngram": self.ngram, "cache": self.cache}
        return ["network", *(n for n, part in here.items() if part is not None), *self.others]

    def score(
        self,
        model: TextModel,
        numbers: Tensor,
        others: Mapping[str, np.ndarray] | None = None,
        name: str = "mix",
    ) -> dict[str, float]:
        """Score the mixture on a text.

        Returns `mix_bits_per_character` (of words `mix_perplexity`) and each model's mean weight,
        `mix_network_weight`, …; of two models the first one's alone.
        """
        others = others or {}
        log_p, classes = _rows(model, numbers, self.ngram, self.cache, others)
        loss = -mixed(log_p, classes, self.weights).mean()
        scores = in_reported_units(model.vocabulary, float(loss), numbers)
        means = dict(zip(self.names, self.weights[classes].mean(0).tolist(), strict=True))
        shown = self.names if len(self.names) > 2 else ["network"]
        return {
            **{f"{name}_{key}": value for key, value in scores.items()},
            **{f"{name}_{part}_weight": means[part] for part in shown},
        }


def _rows(
    model: TextModel,
    numbers: Tensor,
    ngram: Ngram | None,
    cache: Cache | None,
    others: Mapping[str, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Return ln p of every symbol but the first by each model, `[M, n − 1]`, and the classes."""
    rows = [log_probabilities(model, numbers).cpu().numpy()]
    classes = np.zeros(len(numbers) - 1, dtype=np.int64)
    if ngram is not None:
        p, confidence = ngram.probability(numbers.cpu().numpy())
        rows, classes = [*rows, np.log(p[1:])], confidence[1:]
    if cache is not None:
        rows.append(cache.log_probabilities(model, numbers))
    return np.stack([*rows, *others.values()]), classes


class MixedModel(TextGenerator):
    """A network mixed with an n-gram, a cache or both, as one model of the next symbol.

    Its logits are ln p of the mixture. The n-gram's contexts, and the states that the cache
    remembers, are carried with the network's states.

    Shapes: numbers of symbols `[T, B]` to logits `[T, B, V]`; state: that of the network, then
    contexts `[order, B, 1]`, then remembered states `[k, B, H]` and one more than the symbols that
    followed them `[k, B, 1]`, 0 where none is known; k grows to the cache's window.

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
    >>> weights = np.tile([0.1, 0.9], (ngram.classes, 1))
    >>> MixedModel(network, Mixture(weights, ngram)).generate("a", 5, greedy=True)
    'ababab'
    """

    def __init__(self, network: TextModel, mixture: Mixture) -> None:
        super().__init__()
        self.network, self.mixture = network, mixture
        self.vocabulary, self.weights = network.vocabulary, network.weights

    def forward(self, numbers: Tensor, state: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return ln p of the next symbol after each, and the state after the last."""
        ngram, cache = self.mixture.ngram, self.mixture.cache
        own = (ngram is not None) + 2 * (cache is not None)
        before = None if state is None else tuple(state[: len(state) - own])
        remembered = () if state is None else tuple(state[len(state) - own :])
        h, after = self.network.hidden(numbers, before)
        logits = self.network.output(h)
        parts, contexts = [logits.double().softmax(-1)], None
        after = as_tuple(after)
        if ngram is not None:
            contexts = self._read(ngram, numbers, *remembered[:1])  # [T, order, B]
            parts.append(self._ngram(ngram, contexts).to(logits.device).view_as(logits))
            after = (*after, torch.from_numpy(contexts[-1])[..., None].to(logits.device))
        if cache is not None:
            p, memory = read_cache(h, numbers, remembered[-2:], cache.sharpness, parts[0])
            parts.append(p)
            after = (*after, *memory)
        return self._mix(parts, contexts), after

    def first_logits(self, count: int) -> Tensor:
        """Return ln p of a text's first symbol, `[count, V]`."""
        ngram, cache = self.mixture.ngram, self.mixture.cache
        logits = self.network.first_logits(count)[None]
        parts, contexts = [logits.double().softmax(-1)], None
        if ngram is not None:
            contexts = ngram.start(count)[None]
            parts.append(self._ngram(ngram, contexts).to(logits.device).view_as(logits))
        if cache is not None:
            parts.append(parts[0])
        return self._mix(parts, contexts)[0]

    @staticmethod
    def _read(ngram: Ngram, numbers: Tensor, before: Tensor | None = None) -> np.ndarray:
        """Return the contexts after each symbol, `[T, order, B]`."""
        ids = ngram.start(numbers.shape[1]) if before is None else before[..., 0].cpu().numpy()
        read = list[np.ndarray]()
        for symbols in numbers.cpu().numpy():
            ids = ngram.read(ids, symbols)
            read.append(ids)
        return np.stack(read)

    @staticmethod
    def _ngram(ngram: Ngram, contexts: np.ndarray) -> Tensor:
        """Return the n-gram's p of every symbol after contexts `[T, order, B]`: `[T B, V]`."""
        ids = contexts.swapaxes(0, 1).reshape(ngram.order, -1)  # [order, T B]
        return torch.from_numpy(ngram.distribution(ids))

    def _mix(self, parts: list[Tensor], contexts: np.ndarray | None) -> Tensor:
        """Return ln Σ_m w_m p_m of models' p `[T, B, V]`, with the weights of the contexts."""
        shape, device = parts[0].shape, parts[0].device
        classes = np.zeros(shape[0] * shape[1], dtype=np.int64)
        if contexts is not None:
            assert self.mixture.ngram is not None
            ids = contexts.swapaxes(0, 1).reshape(contexts.shape[1], -1)
            classes = self.mixture.ngram.confidence(ids)
        weights = torch.from_numpy(self.mixture.weights[classes]).to(device)  # [T B, M]
        p = torch.stack(parts, -1)  # [T, B, V, M]
        return (p * weights.view(*shape[:2], 1, -1)).sum(-1).log()
