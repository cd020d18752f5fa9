"""A neural cache: symbols that followed states like the present one, a while ago."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from plait.tasks.text.model import TextModel
from plait.tasks.text.scores import LOGITS, in_reported_units
from plait.tasks.text.weights import fit_weights, mixed

WINDOW = 2000
"""States that are remembered."""

SHARPNESS = (0.2, 0.4, 0.8, 1.6, 3.2)
"""Values of θ among which the fit chooses."""

BLOCK = 500
"""Places that are compared with those before them at once."""


@dataclass(frozen=True)
class Cache:
    """A neural cache over states (Grave et al. 2017, equations 2 and 4).

    p_cache(w | x_1 … x_t) ∝ Σ_i exp(θ h_t · h_i) [x_{i+1} = w], over the last 2,000 i < t, with
    h the output of the last recurrent layer, and p = (1 − λ) p_network + λ p_cache. Where nothing
    is remembered yet, p = p_network.

    Attributes
    ----------
    sharpness : float
        θ.
    weight : float
        λ.
    """

    sharpness: float
    weight: float

    @classmethod
    def fit(cls, model: TextModel, validation: Tensor) -> Self:
        """Choose θ and λ on a text: λ by EM for each θ."""
        network, states = read_states(model, validation)
        found: dict[float, Self] = {}
        for sharpness in SHARPNESS:
            both = _both(network, states, validation, sharpness)
            weight = float(fit_weights(both, np.zeros(both.shape[1], dtype=int), 1)[0, 1])
            found[_loss(both, weight)] = cls(sharpness, weight)
        return found[min(found)]

    def score(self, model: TextModel, numbers: Tensor) -> dict[str, float]:
        """Score a text with the cache.

        Returns `cache_bits_per_character` (of words `cache_perplexity`), `cache_sharpness` and
        `cache_weight`.
        """
        network, states = read_states(model, numbers)
        loss = _loss(_both(network, states, numbers, self.sharpness), self.weight)
        scores = in_reported_units(model.vocabulary, loss, numbers)
        return {
            **{f"cache_{name}": value for name, value in scores.items()},
            "cache_sharpness": self.sharpness,
            "cache_weight": self.weight,
        }

    def log_probabilities(self, model: TextModel, numbers: Tensor) -> np.ndarray:
        """Return ln p_cache of every symbol but the first, `[n − 1]`.

        Where nothing is remembered yet it is that of the network.
        """
        return _both(*read_states(model, numbers), numbers, self.sharpness)[1]


@torch.no_grad()
def read_states(model: TextModel, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Read a text in one stream.

    Returns ln p of every symbol but the first, `[n − 1]` in float64, and the state that it was
    predicted from, `[n − 1, H]`.
    """
    kept, log_p, state = list[Tensor](), list[Tensor](), None
    chunk = max(1, min(4096, LOGITS // len(model.vocabulary)))
    for before, after in zip(numbers[:-1].split(chunk), numbers[1:].split(chunk), strict=True):
        h, state = model.hidden(before[:, None], state)
        kept.append(h[:, 0])
        logits = model.output(kept[-1])
        log_p.append(-F.cross_entropy(logits, after, reduction="none").double())
    return torch.cat(log_p), torch.cat(kept)


def cache_probabilities(states: Tensor, following: Tensor, sharpness: float) -> Tensor:
    """Return ln p_cache of the symbol that follows each state, `[n]`; NaN where it has no past.

    Parameters
    ----------
    states : Tensor `[n, H]`
    following : Tensor `[n]`
        The symbol after each state.
    sharpness : float
        θ.

    Example
    -------
    >>> import torch
    >>> from plait.tasks.text.cache import cache_probabilities
    >>> states = torch.tensor([[1.0], [0.0], [1.0]])
    >>> cache_probabilities(states, torch.tensor([7, 8, 7]), 1.0).exp().round(decimals=2)
    tensor([   nan, 0.0000, 0.7300])
    """
    n = len(states)
    log_p = list[Tensor]()
    places = torch.arange(n, device=states.device)
    for begin in range(0, n, BLOCK):
        now, past = places[begin : begin + BLOCK], places[max(0, begin - WINDOW) : begin + BLOCK]
        ago = now[:, None] - past  # [block, past]
        likeness = sharpness * (states[now] @ states[past].T)
        likeness = likeness.masked_fill((ago < 1) | (ago > WINDOW), -math.inf)
        same = following[past] == following[now, None]
        matching = likeness.masked_fill(~same, -math.inf).logsumexp(1)
        log_p.append(matching - likeness.logsumexp(1))
    return torch.cat(log_p)


def read_cache(
    h: Tensor, numbers: Tensor, memory: Sequence[Tensor], sharpness: float, otherwise: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return p_cache of every symbol after each state, and the memory after the last.

    Parameters
    ----------
    h : Tensor `[T, B, H]`
        The states after the symbols `numbers`.
    numbers : Tensor `[T, B]`
    memory : sequence of Tensor
        As returned for the symbols before; empty: there are none. States `[k, B, H]`, and one more
        than the symbols that followed them `[k, B, 1]`, 0 where none is known.
    sharpness : float
        θ.
    otherwise : Tensor `[T, B, V]`
        p where nothing is remembered.
    """
    first = (h.new_zeros(0, *h.shape[1:]), numbers.new_zeros(0, h.shape[1], 1))
    states, following = memory or first
    known = len(states)
    following = torch.cat([following, torch.zeros_like(numbers)[..., None]])
    following[max(0, known - 1) : -1] = numbers[int(not known) :, :, None] + 1
    states = torch.cat([states, h])
    found = list[Tensor]()
    for t in range(len(h)):
        past = slice(max(0, known + t - WINDOW), known + t)
        likeness = sharpness * (states[past] * h[t]).sum(-1).double()  # [k, B]
        symbols = following[past, :, 0]
        likeness = likeness.masked_fill(symbols == 0, -math.inf)
        if len(likeness) == 0:
            found.append(otherwise[t])
            continue
        share = likeness.softmax(0).T  # [B, k]; NaN where nothing is remembered
        p = torch.zeros_like(otherwise[t])
        p.scatter_add_(1, (symbols - 1).clamp(min=0).T, share.nan_to_num())
        found.append(torch.where((symbols > 0).any(0)[:, None], p, otherwise[t]))
    return torch.stack(found), (states[-WINDOW:], following[-WINDOW:])


def _both(network: Tensor, states: Tensor, numbers: Tensor, sharpness: float) -> np.ndarray:
    """Return ln p of every symbol but the first by the network and by the cache, `[2, n − 1]`."""
    cache = cache_probabilities(states, numbers[1:], sharpness).double()
    cache = torch.where(cache.isnan(), network, cache)
    return torch.stack([network, cache]).cpu().numpy()


def _loss(both: np.ndarray, weight: float) -> float:
    """Return mean nats per symbol of the mixture."""
    classes = np.zeros(both.shape[1], dtype=int)
    return float(-mixed(both, classes, np.array([[1 - weight, weight]])).mean())
