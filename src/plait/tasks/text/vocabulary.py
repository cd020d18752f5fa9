"""Symbols and their numbers: the characters of a text, bytes, byte pairs, or words."""

import codecs
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

import numpy as np

from plait.errors import InputError
from plait.tasks.text.byte_pairs import BytePairs
from plait.tasks.text.words import Words


class Characters:
    """The characters that a model knows, in the order of their code points.

    Example
    -------
    >>> from plait.tasks.text.vocabulary import Characters
    >>> vocabulary = Characters.of("banana")
    >>> vocabulary.encode("nab").tolist()
    [2, 0, 1]
    >>> vocabulary.decode([1, 0, 2])
    'ban'
    """

    unit: ClassVar[str] = "characters"

    def __init__(self, characters: Sequence[str]) -> None:
        self.characters = self.symbols = "".join(characters)
        self._codes = np.array([ord(c) for c in self.characters], dtype=np.uint32)

    @classmethod
    def of(cls, text: str) -> "Characters":
        """Collect the distinct characters of a text."""
        return cls(sorted(set(text)))

    @property
    def facts(self) -> str:
        """The JSON value that makes it again."""
        return self.characters

    def __len__(self) -> int:
        return len(self.characters)

    def unknown(self, text: str) -> list[str]:
        """List the distinct characters of a text that are not in the vocabulary."""
        return sorted(set(text) - set(self.characters))

    def known(self, text: str) -> str:
        """Leave out the characters that are not in the vocabulary."""
        unknown = set(self.unknown(text))
        return "".join(c for c in text if c not in unknown)

    def encode(self, text: str) -> np.ndarray:
        """Number the characters, `[len(text)]` of int64.

        Raises `InputError`, naming them, when some are not in the vocabulary.
        """
        unknown = self.unknown(text)
        if unknown:
            shown = ", ".join(f"{c!r} (U+{ord(c):04X})" for c in unknown[:8])
            more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
            raise InputError(
                f"the model has never seen {shown}{more}; --skip-unknown leaves them out"
            )
        codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        return np.searchsorted(self._codes, codes).astype(np.int64)

    read = encode
    """Number a text that is learnt from or scored."""

    def decode(self, numbers: Iterable[int], after: str = "") -> str:
        """Return the text of these numbers, which is the same after any other."""
        return "".join(self.characters[n] for n in numbers)

    def decoder(self, after: str = "") -> Callable[[int], str]:
        """Make a function that gives the text of one number after another."""
        return self.characters.__getitem__

    def count_characters(self, numbers: np.ndarray) -> int:
        """Count the characters that these numbers make."""
        return len(numbers)


class Bytes:
    """The 256 bytes of UTF-8, so that no text has an unknown symbol.

    Example
    -------
    >>> from plait.tasks.text.vocabulary import Bytes
    >>> Bytes().encode("é!").tolist()
    [195, 169, 33]
    >>> Bytes().count_characters(Bytes().encode("é!"))
    2
    """

    unit: ClassVar[str] = "bytes"
    symbols: ClassVar[Sequence[int]] = range(256)
    facts: ClassVar[str] = ""

    def __len__(self) -> int:
        return 256

    def unknown(self, text: str) -> list[str]:
        """Return the characters that cannot be encoded: none, since every text is bytes."""
        return []

    def known(self, text: str) -> str:
        """Return the text, of which every character can be encoded."""
        return text

    def encode(self, text: str) -> np.ndarray:
        """Number the bytes of a text in UTF-8, as int64."""
        try:
            content = text.encode()
        except UnicodeEncodeError:
            raise InputError(f"{text!r} is not text: it has bytes that are not UTF-8") from None
        return np.frombuffer(content, dtype=np.uint8).astype(np.int64)

    read = encode
    """Number a text that is learnt from or scored."""

    def decode(self, numbers: Iterable[int], after: str = "") -> str:
        """Return the text of these bytes, with U+FFFD for what is not UTF-8."""
        return bytes(numbers).decode("utf-8", errors="replace")

    def decoder(self, after: str = "") -> Callable[[int], str]:
        """Make a function that gives a character with its last byte, nothing before."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        return lambda number: decoder.decode(bytes([number]))

    def count_characters(self, numbers: np.ndarray) -> int:
        """Count the bytes that begin a character."""
        return int(((numbers & 0xC0) != 0x80).sum())


Vocabulary = Characters | Bytes | BytePairs | Words
