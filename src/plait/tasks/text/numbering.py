"""Numbers for the symbols of a text that is read once, in pieces, before its vocabulary is known.

Symbols are numbered by the order in which they are met; when all are read the vocabulary is
chosen, and a table leads from the first numbers to those of the vocabulary.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from plait.tasks.text.byte_pairs import CHUNK, BytePairs
from plait.tasks.text.config import TextConfig
from plait.tasks.text.vocabulary import Bytes, Characters, Vocabulary
from plait.tasks.text.words import UNKNOWN, Words, is_prepared, split_words

DISTINCT = 2**21
"""Distinct words that are told apart; those that are met first beyond them are `<unk>`."""

CODE_POINTS = 0x110000

LAST_CUT = re.compile(r"(?s).*(?:\n|(?<=\w) )(?=\w)")
"""Up to the last place where a text can be cut without cutting or joining words or marks."""

Counts = Callable[[int], np.ndarray]
"""How often each of the first so many numbers occurs in the training set."""


class Numbering(Protocol):
    """What numbers the symbols of pieces."""

    def pieces(self, pieces: Iterator[str]) -> Iterator[str]:
        """Cut a text where its symbols allow."""
        ...

    def read(self, piece: str) -> np.ndarray:
        """Number the symbols of a piece."""
        ...

    def finish(self, counts: Counts) -> tuple[Vocabulary, np.ndarray | None]:
        """Return the vocabulary, and the number there of each number until now; None: the same."""
        ...


class CharacterNumbering:
    """Numbers characters; the vocabulary has those in `known` too."""

    def __init__(self, known: str) -> None:
        self._known, self._met = known, ""
        self._numbers = np.full(CODE_POINTS, -1, np.int32)

    def pieces(self, pieces: Iterator[str]) -> Iterator[str]:
        """Return the pieces."""
        return pieces

    def read(self, piece: str) -> np.ndarray:
        """Number the characters of a piece."""
        codes = np.frombuffer(piece.encode("utf-32-le"), np.uint32)
        numbers = self._numbers[codes]
        if len(numbers) and numbers.min() < 0:
            new = np.unique(codes[numbers < 0])
            self._numbers[new] = len(self._met) + np.arange(len(new))
            self._met += "".join(map(chr, new.tolist()))
            numbers = self._numbers[codes]
        return numbers

    def finish(self, counts: Counts) -> tuple[Vocabulary, np.ndarray | None]:
        """Return all characters, sorted."""
        vocabulary = Characters.of(self._met + self._known)
        return vocabulary, vocabulary.encode(self._met)


class ByteNumbering:
    """Numbers bytes, which are the vocabulary."""

    def pieces(self, pieces: Iterator[str]) -> Iterator[str]:
        """Return the pieces."""
        return pieces

    def read(self, piece: str) -> np.ndarray:
        """Number the bytes of a piece."""
        return np.frombuffer(piece.encode(), np.uint8)

    def finish(self, counts: Counts) -> tuple[Vocabulary, np.ndarray | None]:
        """Return the bytes."""
        return Bytes(), None


class BytePairNumbering:
    """Numbers the byte pairs of a vocabulary that is known before."""

    def __init__(self, vocabulary: BytePairs) -> None:
        self.vocabulary = vocabulary

    def pieces(self, pieces: Iterator[str]) -> Iterator[str]:
        """Return pieces as long as those in which a text in memory is numbered."""
        text = ""
        for piece in pieces:
            text += piece
            while len(text) >= CHUNK:
                yield text[:CHUNK]
                text = text[CHUNK:]
        yield text

    def read(self, piece: str) -> np.ndarray:
        """Number the symbols of a piece."""
        return self.vocabulary.read(piece)

    def finish(self, counts: Counts) -> tuple[Vocabulary, np.ndarray | None]:
        """Return the vocabulary."""
        return self.vocabulary, None


class WordNumbering:
    """Numbers words and marks; the vocabulary are the commonest, and those of `known`.

    Whether the text was prepared by others shows in its first piece.
    """

    def __init__(self, most: int, known: Mapping[str, Any] | None) -> None:
        self._most, self._known = most, known
        self._prepared: bool | None = known["prepared"] if known else None
        words = [UNKNOWN, *(known["words"] if known else ())]
        self._numbers = {word: n for n, word in enumerate(dict.fromkeys(words))}

    def pieces(self, pieces: Iterator[str]) -> Iterator[str]:
        """Cut the text between words."""
        text = ""
        for piece in pieces:
            text += piece
            found = LAST_CUT.match(text)
            if found:
                yield text[: found.end()]
                text = text[found.end() :]
        yield text

    def read(self, piece: str) -> np.ndarray:
        """Number the words and marks of a piece."""
        if self._prepared is None:
            self._prepared = is_prepared(piece)
        words, numbers = split_words(piece, self._prepared), self._numbers
        for word in dict.fromkeys(words):
            if word not in numbers and len(numbers) < DISTINCT:
                numbers[word] = len(numbers)
        return np.fromiter((numbers.get(word, 0) for word in words), np.int64, len(words))

    def finish(self, counts: Counts) -> tuple[Vocabulary, np.ndarray | None]:
        """Return the commonest words of the training set."""
        words = list(self._numbers)
        found = dict(zip(words, counts(len(words)).tolist(), strict=True))
        known = self._known["words"] if self._known else ()
        vocabulary = Words.of_counts(found, self._most, prepared=bool(self._prepared), known=known)
        return vocabulary, np.fromiter(map(vocabulary.number, words), np.int64, len(words))


def numbering_of(config: TextConfig, known: Any, training: Callable[[], str]) -> Numbering:
    """Return what numbers a text as a configuration says.

    Parameters
    ----------
    config : TextConfig
    known : JSON value
        The vocabulary of a run whose weights are loaded; None: there is none.
    training : callable
        Returns the beginning of the training set, from which byte pairs are learnt.
    """
    if config.units == "bytes":
        return ByteNumbering()
    if config.units == "words":
        return WordNumbering(config.vocabulary, known)
    if config.units == "bpe":
        vocabulary = BytePairs(known) if known else BytePairs.of(training(), config.vocabulary)
        return BytePairNumbering(vocabulary)
    return CharacterNumbering(known or "")
