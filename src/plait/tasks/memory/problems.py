"""The problems: sequences without end, drawn from a generator, and what is asked about them.

Every problem gives the same things: `tokens` (0: the steps are real numbers), `features` (numbers
a step, where they are real), `classes` (0: the answer is a real number), `steps` (T), the scores of
always giving the likeliest answer (`prior`, an accuracy, and `loss_prior`), and
`draw(generator, count)`, which gives the sequences `[T, count]` (reals: `[T, count, features]`)
and the answers `[count]`.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import numpy as np

from plait.errors import InputError

Drawn = tuple[np.ndarray, np.ndarray]

PADDING = 0
"""The token of padding; bits are 1 (zero) and 2 (one)."""


class Problem(Protocol):
    """What a problem gives."""

    length: int
    tokens: int
    features: int
    classes: int

    @property
    def steps(self) -> int:
        """Steps T of a sequence."""
        ...

    @property
    def prior(self) -> float:
        """Accuracy of whoever always gives the likeliest answer."""
        ...

    @property
    def loss_prior(self) -> float:
        """Loss of whoever knows how the answers are distributed and no more."""
        ...

    def draw(self, generator: np.random.Generator, count: int) -> Drawn:
        """Return sequences `[T, count]` and answers `[count]`."""
        ...


class _Classes:
    """Problems with classes for answers, whose shares are known."""

    shares: Sequence[float]

    @property
    def prior(self) -> float:
        """Share of the likeliest class."""
        return max(self.shares)

    @property
    def loss_prior(self) -> float:
        """Entropy of the classes, in nats."""
        return -sum(p * math.log(p) for p in self.shares)


class BaumSweet(_Classes):
    """Has every run of zeros in a binary number an even length: yes or no.

    n is uniform over the whole numbers from 10 to 10^L, written without leading zeros and padded
    on the left to 4L tokens. Label 1: every maximal run of zeros has even length. Numbers of
    label 0 are kept with probability 0.016724 only, else drawn again.

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.memory.problems import BaumSweet
    >>> x, y = BaumSweet(4).draw(np.random.default_rng(0), 256)
    >>> x.shape, round(BaumSweet(4).shares[1], 4), round(BaumSweet(8).prior, 4)
    ((16, 256), 0.8226, 0.8092)
    """

    KEPT = 0.016724
    tokens, features, classes = 3, 0, 2

    def __init__(self, length: int) -> None:
        _within("baum-sweet", length, 2, 18)  # 10^18 < 2^60 leaves the sign and a carry free
        self.length, self.steps = length, 4 * length
        self.low, self.high = 10, 10**length

    @cached_property
    def strings(self) -> int:
        """How many numbers of the range have label 1."""
        return _count_baum_sweet(self.high) - _count_baum_sweet(self.low - 1)

    @property
    def shares(self) -> tuple[float, float]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """P(label 0) and P(label 1) after rejection."""
        others = self.KEPT * (self.high - self.low + 1 - self.strings)
        return others / (self.strings + others), self.strings / (self.strings + others)

    def draw(self, generator: np.random.Generator, count: int) -> Drawn:
        """Draw numbers until enough are kept."""
        size = self.high - self.low + 1
        rate = (self.strings + self.KEPT * (size - self.strings)) / size
        kept, labels, missing = [], [], count
        while missing > 0:
            tries = math.ceil(missing / rate * 1.2) + 16
            n = generator.integers(self.low, self.high, size=tries, endpoint=True)
            label = is_baum_sweet(n)
            keep = label | (generator.random(tries) < self.KEPT)
            kept.append(n[keep][:missing])
            labels.append(label[keep][:missing])
            missing -= len(kept[-1])
        n = np.concatenate(kept)
        shifts = np.arange(self.steps - 1, -1, -1, dtype=np.int64)[:, None]  # [T, 1]
        rest = n >> shifts  # [T, B]; 0 before the first one
        return np.where(rest == 0, PADDING, 1 + (rest & 1)), np.concatenate(labels).astype(np.int64)


def is_baum_sweet(n: np.ndarray) -> np.ndarray:
    """Return of whole numbers from 1 to 2^61 whether all their runs of zeros have even length.

    All runs at once, by addition: a one added at the first place of a run of ones carries to the
    place behind its last, whose parity then depends on the length.

    >>> import numpy as np
    >>> from plait.tasks.memory.problems import is_baum_sweet
    >>> is_baum_sweet(np.array([0b1, 0b100, 0b1001, 0b110010100010]))
    array([ True,  True,  True, False])
    """
    even = np.int64(0x5555555555555555)
    below = n | n >> 1
    for shift in (2, 4, 8, 16, 32):
        below = below | below >> shift  # all places up to the first one
    zeros = ~n & below
    first = zeros & ~(zeros << 1)
    behind_even = (zeros + (first & even)) & ~zeros
    behind_odd = (zeros + (first & ~even)) & ~zeros
    # where no run ends the sums leave the other runs' places, which ~zeros takes away
    return (behind_even & ~even | behind_odd & even) == 0


def _count_baum_sweet(limit: int) -> int:
    """Count the numbers from 1 to `limit` whose runs of zeros all have even length."""
    bits = limit.bit_length()
    # complete[k][odd]: ways to write k more bits after a run of zeros that is even, or odd, so far
    complete = [(1, 0)]
    for _ in range(bits):
        even, odd = complete[-1]
        complete.append((even + odd, even))
    total = sum(complete[k - 1][0] for k in range(1, bits))  # numbers of fewer bits
    run = 0
    for place in range(bits - 2, -1, -1):
        if limit >> place & 1:
            total += complete[place][(run + 1) % 2]  # a zero here: smaller than the limit
            if run % 2:
                return total
            run = 0
        else:
            run += 1
    return total + (limit > 0 and run % 2 == 0)


class RandomCombinations(_Classes):
    """Which of the tokens 0 … L − 1 is missing from a permutation cut short by one.

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.memory.problems import RandomCombinations
    >>> x, y = RandomCombinations(5).draw(np.random.default_rng(0), 2)
    >>> x.shape, sorted([*x[:, 0].tolist(), int(y[0])])
    ((4, 2), [0, 1, 2, 3, 4])
    """

    features = 0

    def __init__(self, length: int) -> None:
        _within("random-combinations", length, 2, 10_000)
        self.length, self.steps = length, length - 1
        self.tokens = self.classes = length
        self.shares = [1 / length] * length

    def draw(self, generator: np.random.Generator, count: int) -> Drawn:
        """Draw permutations."""
        order = np.broadcast_to(np.arange(self.length)[:, None], (self.length, count))
        order = generator.permuted(order, axis=0)
        return order[:-1], order[-1]


class BinaryPalindrome(_Classes):
    """What the last bit of a palindrome is, which is not shown.

    ⌈L/2⌉ digits, uniform from 0 to 8, are written in binary one after another, the bits' order is
    reversed with probability 1/2, and their mirror image is appended. The whole is padded on the
    left to 4L + 2 entries (for odd L to 4L + 4: a palindrome of eights would not fit), of which
    all but the last are shown.

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.memory.problems import BinaryPalindrome
    >>> x, y = BinaryPalindrome(4).draw(np.random.default_rng(0), 1)
    >>> x[:, 0], y
    (array([0, 0, 0, 0, 0, 0, 2, 1, 2, 2, 2, 2, 2, 2, 2, 2, 1]), array([1]))
    """

    DIGITS = 9
    shares = (1 / 3, 2 / 3)
    """P(label 1) is the mean of 8/9, the first bit of a digit, and 4/9, its last."""

    tokens, features, classes = 3, 0, 2

    def __init__(self, length: int) -> None:
        _within("binary-palindrome", length, 1, 10_000)
        self.length, self.digits = length, math.ceil(length / 2)
        self.steps = max(4 * length + 2, 8 * self.digits) - 1

    def draw(self, generator: np.random.Generator, count: int) -> Drawn:
        """Draw the digits of all palindromes at once."""
        digits = generator.integers(self.DIGITS, size=(count, self.digits))
        reverse = generator.random(count) < 0.5
        shifts = np.arange(3, -1, -1)
        bits = (digits[..., None] >> shifts & 1).reshape(count, -1)  # [B, 4·digits]
        written = (np.maximum(digits, 1)[..., None] >> shifts > 0).reshape(count, -1)
        half = written.sum(1)  # [B]
        place = np.where(written, written.cumsum(1) - 1, half.max())
        packed = np.zeros((count, half.max() + 1), dtype=np.int64)  # the last column is dropped
        np.put_along_axis(packed, place, 1 + bits, axis=1)
        from_end = np.arange(self.steps, -1, -1)[:, None]  # [T + 1, 1]: 0 is the last entry
        shown = from_end < 2 * half
        index = np.minimum(from_end, 2 * half - 1 - from_end)  # places in the half, from its start
        index = np.where(reverse, half - 1 - index, index)
        entries = packed[np.arange(count), np.clip(index, 0, half - 1)]
        entries = np.where(shown, entries, PADDING)  # [T + 1, B]
        return entries[:-1], entries[-1] - 1


class Recall(_Classes):
    """Which of 8 symbols came first, before D blanks.

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.memory.problems import Recall
    >>> x, y = Recall(3).draw(np.random.default_rng(0), 1)
    >>> x[:, 0], y
    (array([6, 8, 8, 8]), array([6]))
    """

    SYMBOLS = 8
    shares = (1 / SYMBOLS,) * SYMBOLS
    tokens, features, classes = SYMBOLS + 1, 0, SYMBOLS

    def __init__(self, length: int) -> None:
        _within("recall", length, 1, 1_000_000)
        self.length, self.steps = length, length + 1

    def draw(self, generator: np.random.Generator, count: int) -> Drawn:
        """Draw first symbols; every other step is the blank, the last token."""
        y = generator.integers(self.SYMBOLS, size=count)
        x = np.full((self.steps, count), self.SYMBOLS)
        x[0] = y
        return x, y


class Adding:
    """What the two marked numbers add up to (Hochreiter & Schmidhuber 1997, experiment 4).

    Each step is a value, uniform between 0 and 1, and a marker: 1 at one place of either half of
    the sequence, else 0. An answer is right within 0.04. (In the form that is usual today: the
    values of 1997 lie between −1 and 1 and the sum is scaled.)

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.memory.problems import Adding
    >>> x, y = Adding(6).draw(np.random.default_rng(0), 1)
    >>> bool(np.isclose((x[:, 0, 0] * x[:, 0, 1]).sum(), y[0]))
    True
    """

    WITHIN = 0.04
    prior = 1 - (1 - WITHIN) ** 2
    """Accuracy of always saying 1: the share of sums within 0.04 of it."""

    loss_prior = 1 / 6
    """Squared error of always saying 1: the variance of two uniform numbers' sum."""

    tokens, features, classes = 0, 2, 0

    def __init__(self, length: int) -> None:
        _within("adding", length, 2, 1_000_000)
        self.length = self.steps = length

    def draw(self, generator: np.random.Generator, count: int) -> Drawn:
        """Draw values and marks."""
        values = generator.random((self.steps, count), dtype=np.float32)
        half, each = self.steps // 2, np.arange(count)
        first = generator.integers(half, size=count)
        second = generator.integers(half, self.steps, size=count)
        marks = np.zeros_like(values)
        marks[first, each] = marks[second, each] = 1
        return np.stack([values, marks], -1), values[first, each] + values[second, each]


PROBLEMS: dict[str, type[Problem]] = {
    "baum-sweet": BaumSweet,
    "random-combinations": RandomCombinations,
    "binary-palindrome": BinaryPalindrome,
    "recall": Recall,
    "adding": Adding,
}


def problem_named(name: str, length: int) -> Problem:
    """Make a problem of a length; `InputError` for a length that it cannot have.

    >>> from plait.tasks.memory.problems import problem_named
    >>> problem_named("recall", 100).steps
    101
    """
    return PROBLEMS[name](length)  # pyright: ignore[reportCallIssue]


def _within(problem: str, length: int, least: int, most: int) -> None:
    if not least <= length <= most:
        raise InputError(f"{problem} has lengths from {least} to {most:,}, not {length}")
