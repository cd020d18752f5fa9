"""Words and their numbers: the commonest of a text, and `<unk>` for every other."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from plait.errors import InputError

UNKNOWN = "<unk>"
"""What replaces every word that is not in the vocabulary."""

RUNNING = re.compile(
    r"(?P<word><unk>|\w+(?:['’-]\w+)*)|(?P<gap>(?<=[\w>]) (?=\w|<unk>|\Z))| ?[^\w\s] ?|\s+"
)
PREPARED = re.compile(r"(?P<word>\S+)|(?P<gap>[^\S\n]+)|\n")


class Words:
    r"""The words that a model knows: `<unk>`, then the others, the commonest first.

    A symbol is a word (letters and digits, with hyphens and apostrophes within) or what stands
    between words: a mark with the spaces around it, or white space such as the end of a line. One
    space between two words is no symbol; so a word is the same wherever it occurs, and symbols give
    their text back as it was.

    A text that contains `<unk>` was prepared by others: its words are what lies between white
    space, and the ends of its lines are its only other symbol.

    Example
    -------
    >>> from plait.tasks.text.words import Words, split_words
    >>> words = Words.of(split_words("The cat, the dog; the cat.\n"), most=4)
    >>> words.symbols
    ['<unk>', 'cat', 'the']
    >>> words.decode(words.read("the cat ate the cat"))
    'the cat <unk> the cat'
    >>> words.unknown("the cat, the dog")
    [', ', 'dog']
    """

    unit: ClassVar[str] = "words"

    def __init__(self, words: Sequence[str], prepared: bool = False) -> None:
        self.symbols, self.prepared = list(words), prepared
        self._numbers = {word: n for n, word in enumerate(self.symbols)}
        self._is_word = [_ends_in_word(word, prepared) for word in self.symbols]

    @classmethod
    def of(
        cls,
        training: Iterable[str],
        most: int,
        *,
        prepared: bool = False,
        known: Sequence[str] = (),
    ) -> Self:
        """Choose the words of a text: the `most` commonest, `<unk>` among them.

        Equals go by the alphabet. What is there but once is `<unk>`, so that what follows an
        unknown word is learnt; but for a prepared text, which has unknown words already.

        Parameters
        ----------
        training : iterable of str
            The symbols to learn from.
        most : int
        prepared : bool
        known : sequence of str
            Words to know whatever their number.

        Raises
        ------
        InputError
            Where no word is left.
        """
        return cls.of_counts(Counter(training), most, prepared=prepared, known=known)

    @classmethod
    def of_counts(
        cls,
        counts: Mapping[str, int],
        most: int,
        *,
        prepared: bool = False,
        known: Sequence[str] = (),
    ) -> Self:
        """Choose the words of a text, as `of`, by how often each occurs."""
        least = 1 if prepared else 2
        common = sorted(
            (word for word, times in counts.items() if times >= least and word != UNKNOWN),
            key=lambda word: (-counts[word], word),
        )
        words = list(dict.fromkeys([UNKNOWN, *known, *common[: most - 1]]))
        if len(words) == 1:
            found = f"is there but {UNKNOWN}" if prepared else "occurs twice"
            raise InputError(f"no word {found} in the training set; give a longer text")
        return cls(words, prepared)

    @property
    def facts(self) -> Mapping[str, Any]:
        """JSON values that make it again."""
        return {"words": self.symbols, "prepared": self.prepared}

    def __len__(self) -> int:
        return len(self.symbols)

    def number(self, word: str) -> int:
        """Return the number of a word; that of `<unk>` where it is not in the vocabulary."""
        return self._numbers.get(word, self._numbers[UNKNOWN])

    def unknown(self, text: str) -> list[str]:
        """List the distinct words and marks of a text that are not in the vocabulary."""
        return sorted(set(split_words(text, self.prepared)) - self._numbers.keys())

    def known(self, text: str) -> str:
        """Leave out the words and marks that are not in the vocabulary."""
        while self.unknown(text):  # what is left may stand together as a mark that is not known
            found = (self._numbers.get(word) for word in split_words(text, self.prepared))
            text = self.decode(n for n in found if n is not None)
        return text

    def encode(self, text: str) -> np.ndarray:
        """Number the words and marks, as int64.

        Raises `InputError`, naming them, when some are not in the vocabulary.
        """
        unknown = self.unknown(text)
        if unknown:
            shown = ", ".join(map(repr, unknown[:8]))
            more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
            raise InputError(
                f"the model has never seen {shown}{more}; write {UNKNOWN} instead, or "
                "--skip-unknown leaves them out"
            )
        return self.read(text)

    def read(self, text: str) -> np.ndarray:
        """Number a text that is learnt from or scored: what is not in the vocabulary as `<unk>`."""
        return np.fromiter(map(self.number, split_words(text, self.prepared)), np.int64)

    def decode(self, numbers: Iterable[int], after: str = "") -> str:
        """Return the text of these numbers, as it goes on after another."""
        return "".join(map(self.decoder(after), numbers))

    def decoder(self, after: str = "") -> Callable[[int], str]:
        """Make a function that gives the text of one number after another."""
        before = _ends_in_word(after, self.prepared)

        def decode(number: int) -> str:
            nonlocal before
            apart = before and self._is_word[number]
            before = self._is_word[number]
            return " " * apart + self.symbols[number]

        return decode


def is_prepared(text: str) -> bool:
    """Return whether `<unk>` occurs in a text.

    >>> from plait.tasks.text.words import is_prepared
    >>> is_prepared("mr. <unk> is chairman"), is_prepared("<unknown> is not")
    (True, False)
    """
    return re.search(rf"(?<!\S){UNKNOWN}(?!\S)", text) is not None


def split_words(text: str, prepared: bool = False) -> list[str]:
    """Cut a text into words and what lies between them.

    >>> from plait.tasks.text.words import split_words
    >>> split_words("Yes, the well-known cat's “meow” (loud).")
    ['Yes', ', ', 'the', 'well-known', "cat's", ' “', 'meow', '” ', '(', 'loud', ')', '.']
    """
    return [found[0] for found in _symbols(text, prepared) if found.lastgroup != "gap"]


def _ends_in_word(text: str, prepared: bool) -> bool:
    kinds = [found.lastgroup for found in _symbols(text, prepared)]
    return kinds[-1:] == ["word"]


def _symbols(text: str, prepared: bool) -> Iterator[re.Match[str]]:
    return (PREPARED if prepared else RUNNING).finditer(text)
