"""An interpolated n-gram with Witten–Bell smoothing: counts, contexts, distributions."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import count, islice

import numpy as np

LEVELS = 6
"""Classes of a context's count: 1, 2–3, 4–7, 8–15, 16–31, more."""


class Table:
    """What followed every context of one length in the training text.

    Contexts are numbered from 1; 0 is a context that never occurred. The pair of context u and
    symbol c has the key u · symbols + c.

    Attributes
    ----------
    keys, counts : integer arrays `[pairs]`
        The pairs that occurred, sorted, and N(u c).
    total, types : integer arrays `[contexts + 1]`
        N(u), and the number of distinct symbols that followed u.
    best, best_p : arrays `[contexts + 1]`
        The likeliest of those symbols, and its probability.
    """

    def __init__(
        self, keys: np.ndarray, counts: np.ndarray, p: np.ndarray, contexts: int, symbols: int
    ) -> None:
        """Sum up pairs; `p` is P_k of each."""
        self.keys, self.counts, self.symbols = keys, counts, symbols
        owner = keys // symbols  # the context of each pair
        self.total = np.bincount(owner, counts, contexts + 1).astype(np.int64)
        self.types = np.bincount(owner, minlength=contexts + 1)
        ranked = np.lexsort((keys, -p, owner))  # of a context the likeliest, the lowest first
        owners, top = np.unique(owner[ranked], return_index=True)
        self.best = np.zeros(contexts + 1, dtype=np.int64)
        self.best_p = np.zeros(contexts + 1)
        self.best[owners] = keys[ranked][top] % symbols
        self.best_p[owners] = p[ranked][top]

    def find(self, contexts: np.ndarray, symbols: np.ndarray) -> np.ndarray:
        """Number the contexts that are one symbol longer: the place of each pair, from 1."""
        pairs = contexts * self.symbols + symbols
        keys = np.append(self.keys, np.iinfo(np.int64).max)  # beyond all pairs
        place = np.searchsorted(keys, pairs)
        return np.where(keys[place] == pairs, place + 1, 0)

    def backoff(self, contexts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the weight of P_{k−1} and the sum that it is divided by, N(u) + T(u)."""
        total = self.total[contexts]
        weight = np.where(total > 0, self.types[contexts], 1)  # never occurred: P_{k−1} as it is
        return weight, total + weight

    def probability(
        self, contexts: np.ndarray, symbols: np.ndarray, shorter: np.ndarray
    ) -> np.ndarray:
        """Return P_k of symbols, `[n]`, from P_{k−1} of the same symbols."""
        weight, both = self.backoff(contexts)
        times = np.append(0, self.counts)[self.find(contexts, symbols)]
        return (times + weight * shorter) / both

    def distribution(self, contexts: np.ndarray, shorter: np.ndarray) -> np.ndarray:
        """Return P_k of every symbol, `[n, symbols]`, from P_{k−1} `[n, symbols]`."""
        weight, both = self.backoff(contexts)
        p = weight[:, None] * shorter
        begin = self._begin[contexts]
        lengths = self._begin[contexts + 1] - begin
        row = np.repeat(np.arange(len(contexts)), lengths)
        within = np.arange(len(row)) - np.repeat(lengths.cumsum() - lengths, lengths)
        pair = np.repeat(begin, lengths) + within
        p[row, self.keys[pair] % self.symbols] += self.counts[pair]
        return p / both[:, None]

    @cached_property
    def _begin(self) -> np.ndarray:
        """Where the pairs of each context begin among the keys."""
        return np.searchsorted(self.keys, np.arange(len(self.total) + 1) * self.symbols)


class Ngram:
    r"""An interpolated n-gram with Witten–Bell smoothing, counted on a training text.

    For the k − 1 symbols u before c, with N counts in the training text and T(u) the number of
    distinct symbols that followed u there:

    P_k(c | u) = (N(u c) + T(u) P_{k−1}(c | u without its first symbol)) / (N(u) + T(u))

    P_k = P_{k−1} where u never occurred, and P_0 = 1 / symbols (Witten & Bell 1991, method C;
    interpolated as in Chen & Goodman 1999).

    Parameters
    ----------
    training : integer array
        Numbers from 0 to `symbols` − 1.
    symbols : int
    order : int
        Orders that are counted at once; more are added by `lengthen`.

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.text.ngram import Ngram
    >>> ngram = Ngram(np.array([0, 1] * 50), symbols=2, order=2)
    >>> contexts = ngram.read(ngram.start(1), np.array([1]))
    >>> ngram.distribution(contexts).round(2)
    array([[0.99, 0.01]])
    """

    def __init__(self, training: np.ndarray, symbols: int, order: int = 0) -> None:
        self.symbols, self.tables = symbols, list[Table]()
        self._training = training.astype(np.int64)
        n = self.size = len(self._training)
        self._places = np.ones(n + 1, dtype=np.int64)  # the context of each place and of the end
        self._p = np.full(n, 1.0 / symbols)  # P_k of the symbol at each place
        self._ends = [1]  # the context, of each length, at the end of the training text
        for _ in range(order):
            self.lengthen()

    @property
    def order(self) -> int:
        """Symbols of the longest pair: one more than of the longest context."""
        return len(self.tables)

    def lengthen(self) -> Table:
        """Count contexts that are one symbol longer than the longest until now."""
        places, text = self._places, self._training
        known = places[:-1] > 0  # the first places have too few symbols before them
        keys, first, pair, counts = np.unique(
            places[:-1][known] * self.symbols + text[known],
            return_index=True, return_inverse=True, return_counts=True,
        )  # fmt: skip
        contexts = len(self.tables[-1].keys) if self.tables else 1
        owner = keys // self.symbols
        total = np.bincount(owner, counts, contexts + 1)[places[:-1][known]]
        types = np.bincount(owner, minlength=contexts + 1)[places[:-1][known]]
        self._p[known] = (counts[pair] + types * self._p[known]) / (total + types)
        table = Table(keys, counts, self._p[known][first], contexts, self.symbols)
        self.tables.append(table)
        self._places = np.zeros_like(places)
        self._places[1:][known] = pair + 1
        self._ends.append(int(self._places[-1]))
        return table

    def shorten(self, order: int) -> None:
        """Leave out the longer contexts; after this none can be added."""
        self.tables = self.tables[:order]
        self._places, self._p = np.zeros(1, dtype=np.int64), np.zeros(0)

    def contexts(self, text: np.ndarray) -> Iterator[tuple[Table, np.ndarray]]:
        """Yield, order by order, the table and the context `[n]` of each place of a text.

        The text follows the training text, so its first symbols have contexts from there. Orders
        beyond the last are counted when they are asked for.
        """
        ids = np.ones(len(text), dtype=np.int64)
        for length in count(1):
            table = self.tables[length - 1] if length <= self.order else self.lengthen()
            yield table, ids
            longer = np.full_like(ids, self._ends[length])
            longer[1:] = table.find(ids[:-1], text[:-1])
            ids = longer

    def probability(self, text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return P_k of each symbol of a text that follows the training text, and its class.

        Shapes: `[n]`, `[n]`; classes as in `confidence`.
        """
        text = text.astype(np.int64)
        p, found = np.full(len(text), 1.0 / self.symbols), list[np.ndarray]()
        for table, ids in islice(self.contexts(text), self.order):
            p = table.probability(ids, text, p)
            found.append(ids)
        return p, self.confidence(found)

    def start(self, texts: int) -> np.ndarray:
        """Return the contexts of so many texts of which nothing is read, `[order, texts]`.

        All but the empty one are 0. `read` takes zeros alone for the same.
        """
        ids = np.zeros((self.order, texts), dtype=np.int64)
        ids[:1] = 1
        return ids

    def read(self, ids: np.ndarray, symbols: np.ndarray) -> np.ndarray:
        """Return the contexts `[order, B]` after one more symbol `[B]` of each text."""
        longer = self.start(len(symbols))
        for k, table in enumerate(self.tables[:-1]):
            longer[k + 1] = table.find(ids[k] if k else longer[0], symbols)
        return longer

    def distribution(self, ids: np.ndarray) -> np.ndarray:
        """Return P_k of every symbol, `[B, symbols]`, for contexts `[order, B]`."""
        p = np.full((ids.shape[1], self.symbols), 1.0 / self.symbols)
        for table, contexts in zip(self.tables, ids, strict=True):
            p = table.distribution(contexts, p)
        return p

    @property
    def classes(self) -> int:
        """The number of classes of `confidence`."""
        return max(self.order, 1) * LEVELS * 2

    def confidence(self, ids: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Return a class for each place, from its longest context that occurred.

        By its length, its count (1, 2–3, 4–7, 8–15, 16–31, more), and whether one symbol alone
        followed it.
        """
        found = np.zeros(len(ids[0]) if len(ids) else 0, dtype=np.int64)
        for length, (table, contexts) in enumerate(zip(self.tables, ids, strict=True)):
            total = table.total[contexts]
            level = np.minimum(np.log2(np.maximum(total, 1)).astype(np.int64), LEVELS - 1)
            ours = (length * LEVELS + level) * 2 + (table.types[contexts] == 1)
            found = np.where(total > 0, ours, found)
        return found
