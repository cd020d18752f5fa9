"""The baseline of every language model: an interpolated n-gram."""

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from plait.news import LOGGER
from plait.tasks.text.scores import in_reported_units
from plait.tasks.text.vocabulary import Vocabulary

MAX_ORDER = 10


def ngram_baseline(
    training: Tensor, validation: Tensor, heldout: Tensor, vocabulary: Vocabulary
) -> dict[str, float]:
    """Score the n-gram whose order does best on the validation text, on the held-out text.

    Returns `ngram_order`, `ngram_bits_per_character` (of words `ngram_perplexity`) and
    `ngram_accuracy`.
    """
    train, valid, test = (t.cpu().numpy() for t in (training, validation, heldout))
    symbols = len(vocabulary)
    LOGGER.info("counting n-grams, to compare the test score with")
    orders = score_ngrams(train, valid, symbols, patience=2)
    chosen = score_ngrams(train, test, symbols, best_index(orders) + 1)[-1]
    return {
        "ngram_order": chosen.order,
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
    r"""Score interpolated n-grams of order 1 to `max_order` with Witten–Bell smoothing.

    For the k − 1 symbols u before c, with N counts in the training text and T(u) the number of
    distinct symbols that followed u there:

    P_k(c | u) = (N(u c) + T(u) P_{k−1}(c | u without its first symbol)) / (N(u) + T(u))

    P_k = P_{k−1} where u never occurred, and P_0 = 1 / symbols (Witten & Bell 1991, method C;
    interpolated as in Chen & Goodman 1999). The held-out text follows the training text, so its
    first symbols have contexts from there. Nothing here is as wide as the vocabulary is large.

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
    text = np.concatenate([training, heldout]).astype(np.int64)
    n = len(training)
    scored = slice(n + 1, None)  # the second held-out symbol is the first that is scored
    context = np.zeros(len(text), dtype=np.int64)  # number of the k − 1 symbols before each place
    p = np.full(len(text), 1.0 / symbols)  # P_k of the symbol at each place
    best, best_p = np.zeros_like(text), p.copy()  # and the likeliest symbol there
    scores = []
    for order in range(1, max_order + 1):
        # places 0 … order − 2 have too few symbols before them: they count nowhere
        begin = order - 1
        pairs = context * symbols + text
        kinds, first, times = np.unique(pairs[begin:n], return_index=True, return_counts=True)
        owner = kinds // symbols  # the context of each kind of pair
        contexts = int(context.max()) + 1
        total = np.bincount(owner, times, contexts)  # N(u)
        types = np.bincount(owner, minlength=contexts)  # T(u)
        weight = np.where(total > 0, types, 1)  # where u never occurred: P_{k−1} as it is
        both = total + weight
        p = (_times(pairs, kinds, times) + weight[context] * p) / both[context]
        # the likeliest symbol: the likeliest of those seen after u or, unseen, that of order k − 1
        seen_p = p[begin:n][first]
        ranked = np.lexsort((kinds, -seen_p, owner))  # of a context the likeliest, the lowest first
        owners, top = np.unique(owner[ranked], return_index=True)
        seen_best = np.zeros(contexts, dtype=np.int64)
        seen_best_p = np.zeros(contexts)
        seen_best[owners] = kinds[ranked][top] % symbols
        seen_best_p[owners] = seen_p[ranked][top]
        best_p = weight[context] * best_p / both[context]
        ours, ours_p = seen_best[context], seen_best_p[context]
        better = (ours_p > best_p) | ((ours_p == best_p) & (ours < best))
        best, best_p = np.where(better, ours, best), np.where(better, ours_p, best_p)
        loss = float(-np.log(p[scored]).mean())
        scores.append(NgramScores(order, loss, float((best == text)[scored].mean())))
        if patience and len(scores) - 1 - best_index(scores) >= patience:
            break
        context = _longer(context, text, symbols)
    return scores


def _times(pairs: np.ndarray, kinds: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Count how often each pair occurred in the training text; `kinds` are those that did."""
    kinds, times = np.append(kinds, np.iinfo(np.int64).max), np.append(times, 0)  # beyond all pairs
    place = np.searchsorted(kinds, pairs)
    return np.where(kinds[place] == pairs, times[place], 0)


def _longer(context: np.ndarray, text: np.ndarray, symbols: int) -> np.ndarray:
    """Number the contexts that are one symbol longer: (symbol before, its own context)."""
    longer = np.zeros_like(context)
    longer[1:] = context[:-1] * symbols + text[:-1]
    return np.unique(longer, return_inverse=True)[1]
