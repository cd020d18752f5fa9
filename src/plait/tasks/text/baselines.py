"""The baseline of every language model: an interpolated n-gram."""

import math
from dataclasses import dataclass
from itertools import islice

import numpy as np
from torch import Tensor

from plait.news import LOGGER
from plait.tasks.text.ngram import Ngram
from plait.tasks.text.scores import in_reported_units
from plait.tasks.text.vocabulary import Vocabulary

MAX_ORDER = 10

COUNTED = 2**24
"""Symbols of the training set, its last, that are counted at most: each takes about 100 bytes."""


def ngram_baseline(
    training: Tensor, validation: Tensor, heldout: Tensor, vocabulary: Vocabulary
) -> dict[str, float]:
    """Score the n-gram whose order does best on the validation text, on the held-out text.

    Returns `ngram_order`, `ngram_bits_per_character` (of words `ngram_perplexity`) and
    `ngram_accuracy`; `ngram_symbols` where not all were counted.
    """
    ngram = choose_ngram(training, validation, vocabulary)
    return ngram_scores(ngram, heldout, vocabulary)


def choose_ngram(training: Tensor, validation: Tensor, vocabulary: Vocabulary) -> Ngram:
    """Count the n-gram whose order does best on the validation text."""
    LOGGER.info("counting n-grams")
    ngram = Ngram(counted(training), len(vocabulary))
    orders = _score_orders(ngram, validation.cpu().numpy(), MAX_ORDER, patience=2)
    ngram.shorten(best_index(orders) + 1)
    return ngram


def counted(training: Tensor) -> np.ndarray:
    """Return the symbols of a training set that are counted: the last 17 million."""
    return training[-COUNTED:].cpu().numpy()


def ngram_scores(ngram: Ngram, heldout: Tensor, vocabulary: Vocabulary) -> dict[str, float]:
    """Score an n-gram on a held-out text; see `ngram_baseline`."""
    chosen = _score_orders(ngram, heldout.cpu().numpy(), ngram.order)[-1]
    bounded = {"ngram_symbols": ngram.size} if ngram.size == COUNTED else {}
    return {
        "ngram_order": chosen.order,
        **bounded,
        **{f"ngram_{k}": v for k, v in in_reported_units(vocabulary, chosen.loss, heldout).items()},
        "ngram_accuracy": chosen.accuracy,
    }


@dataclass(frozen=True)
class NgramScores:
    """Scores of one order on a held-out text, named as those of the network."""

    order: int
    loss: float
    accuracy: float

    @property
    def bits(self) -> float:
        """Return the loss in bits per symbol."""
        return self.loss / math.log(2)


def best_index(scores: list["NgramScores"]) -> int:
    """Find the smallest loss."""
    return min(range(len(scores)), key=lambda k: scores[k].loss)


def score_ngrams(
    training: np.ndarray,
    heldout: np.ndarray,
    symbols: int,
    max_order: int = MAX_ORDER,
    patience: int = 0,
) -> list[NgramScores]:
    r"""Score interpolated n-grams of order 1 to `max_order`, see `Ngram`.

    The held-out text follows the training text, so its first symbols have contexts from there.
    Nothing here is as wide as the vocabulary is large.

    Parameters
    ----------
    training, heldout : integer arrays
        Numbers from 0 to `symbols` − 1. The first held-out symbol is not scored, as with the
        network.
    symbols : int
    max_order : int
    patience : int
        Stop when so many orders in a row were no better than the best; 0: never.

    Returns
    -------
    list of NgramScores
        One per order.

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.text.baselines import score_ngrams
    >>> text = np.array([0, 1] * 50)
    >>> unigram, bigram = score_ngrams(text[:80], text[80:], symbols=2, max_order=2)
    >>> round(unigram.bits, 2), bigram.bits < 0.1, bigram.accuracy
    (1.0, True, 1.0)
    """
    return _score_orders(Ngram(training, symbols), heldout, max_order, patience)


def _score_orders(
    ngram: Ngram, heldout: np.ndarray, max_order: int, patience: int = 0
) -> list[NgramScores]:
    """Score every order, counting those that the n-gram does not have yet."""
    text = heldout.astype(np.int64)
    p = np.full(len(text), 1.0 / ngram.symbols)  # P_k of the symbol at each place
    best, best_p = np.zeros_like(text), p.copy()  # and the likeliest symbol there
    scores = list[NgramScores]()
    for order, (table, context) in enumerate(islice(ngram.contexts(text), max_order), 1):
        p = table.probability(context, text, p)
        # the likeliest symbol: the likeliest of those seen after u or, unseen, that of order k − 1
        weight, both = table.backoff(context)
        best_p = weight * best_p / both
        ours, ours_p = table.best[context], table.best_p[context]
        better = (ours_p > best_p) | ((ours_p == best_p) & (ours < best))
        best, best_p = np.where(better, ours, best), np.where(better, ours_p, best_p)
        loss = float(-np.log(p[1:]).mean())
        scores.append(NgramScores(order, loss, float((best == text)[1:].mean())))
        if patience and len(scores) - 1 - best_index(scores) >= patience:
            break
    return scores
