"""The baseline that every language model must stand beside: an interpolated n-gram."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from torch import Tensor

from plait.tasks.text.scores import symbols_per_character
from plait.tasks.text.vocabulary import Vocabulary

MAX_ORDER = 10
BLOCK = 8192


def ngram_baseline(
    training: Tensor, validation: Tensor, heldout: Tensor, vocabulary: Vocabulary
) -> dict[str, float]:
    """Score the n-gram whose order does best on the validation text, on the held-out text.

    Returns `ngram_order`, `ngram_bits_per_character` and `ngram_accuracy`.
    """
    train, valid, test = (t.cpu().numpy() for t in (training, validation, heldout))
    symbols = len(vocabulary)
    orders = score_ngrams(train, valid, symbols, patience=2)
    chosen = score_ngrams(train, test, symbols, best_index(orders) + 1)[-1]
    return {
        "ngram_order": chosen.order,
        "ngram_bits_per_character": chosen.loss
        / math.log(2)
        * symbols_per_character(vocabulary, heldout),
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
        """Loss in bits a symbol."""
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
    first symbols have contexts from there.

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
        One an order.

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.text.ngram import score_ngrams
    >>> text = np.array([0, 1] * 50)
    >>> unigram, bigram = score_ngrams(text[:80], text[80:], symbols=2, max_order=2)
    >>> round(unigram.bits, 2), bigram.bits < 0.1, bigram.accuracy
    (1.0, True, 1.0)
    """
    text = np.concatenate([training, heldout]).astype(np.int64)
    n = len(training)
    first = n + 1  # the second held-out symbol is the first that is scored
    targets = text[first:]
    p = np.full((len(targets), symbols), 1.0 / symbols)
    context = np.zeros(len(text), dtype=np.int64)  # number of the k − 1 symbols before each place
    scores = []
    for order in range(1, max_order + 1):
        # places 0 … order − 2 have too few symbols before them: they count nowhere
        begin = order - 1
        rows = context[begin:n]
        counts = sparse.csr_array(
            (np.ones(len(rows)), (rows, text[begin:n])), shape=(context.max() + 1, symbols)
        )
        counts.sum_duplicates()
        right, nats = 0, 0.0
        for start in range(0, len(targets), BLOCK):
            block = slice(start, start + BLOCK)
            seen = counts[context[first:][block]].toarray()  # N(u c) for every c
            total = seen.sum(1, keepdims=True)
            types = (seen > 0).sum(1, keepdims=True)
            weight = np.where(total > 0, types, 1)  # where u never occurred: P_{k−1} as it is
            p[block] = (seen + weight * p[block]) / (total + weight)
            chosen = p[block][np.arange(len(seen)), targets[block]]
            nats -= np.log(chosen).sum()
            right += int((p[block].argmax(1) == targets[block]).sum())
        scores.append(NgramScores(order, float(nats) / len(targets), right / len(targets)))
        if patience and len(scores) - 1 - best_index(scores) >= patience:
            break
        context = _longer(context, text, symbols)
    return scores


def _longer(context: np.ndarray, text: np.ndarray, symbols: int) -> np.ndarray:
    """Number the contexts that are one symbol longer: (symbol before, its own context)."""
    longer = np.zeros_like(context)
    longer[1:] = context[:-1] * symbols + text[:-1]
    return np.unique(longer, return_inverse=True)[1]
