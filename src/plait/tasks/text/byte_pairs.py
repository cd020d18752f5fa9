"""Byte pairs: frequent strings of bytes as symbols, learnt from the training set."""

import codecs
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Self

import numpy as np

from plait.errors import InputError

BYTES = 256
LEAST_OCCURRENCES = 100
"""How often a pair occurs that becomes a symbol: in a megabyte of English there are then about
1,100, nearest to the number that was measured best (docs/text_options.md)."""

CHUNK = 2**20
"""Characters that are numbered at once."""


class BytePairs:
    r"""The symbols of byte-pair encoding (Sennrich et al. 2016), over the bytes of UTF-8.

    The symbols are the 256 bytes, and then the most frequent pair of symbols again and again,
    within words. So no text has an unknown symbol, and symbols give their text back as it was.
    The package `tokenizers` learns and applies them.

    Parameters
    ----------
    facts : mapping
        The tokenizer, as the JSON value that `tokenizers` writes.

    Raises
    ------
    InputError
        Where `tokenizers` is not installed.
    ValueError
        For facts that are no such value.

    Example
    -------
    >>> from plait.tasks.text.byte_pairs import BytePairs
    >>> tokens = BytePairs.of("the cat, the dog and the cow. " * 100, most=300)
    >>> [tokens.decode([n]) for n in tokens.encode("the cat")]
    ['the', ' cat']
    >>> tokens.decode(tokens.encode("¡olé, the 猫!"))
    '¡olé, the 猫!'
    """

    unit: ClassVar[str] = "tokens"

    def __init__(self, facts: Mapping[str, Any]) -> None:
        library = _tokenizers()
        try:
            self._tokenizer = library.Tokenizer.from_str(json.dumps(facts))
        except Exception as error:  # the library raises no other
            raise ValueError(f"not a tokenizer: {error}") from None
        self.facts = facts
        size = self._tokenizer.get_vocab_size()
        value = {symbol: byte for byte, symbol in enumerate(_byte_symbols())}
        self.symbols = [
            bytes(value[c] for c in self._tokenizer.id_to_token(n)) for n in range(size)
        ]
        self._beginnings = np.array(
            [sum((byte & 0xC0) != 0x80 for byte in symbol) for symbol in self.symbols]
        )

    @classmethod
    def of(cls, training: str, most: int) -> Self:
        """Learn the symbols of a text, at most so many; a pair occurs at least 100 times.

        Raises `InputError` for fewer than the 256 bytes and one pair.
        """
        if most <= BYTES:
            raise InputError(
                f"--vocabulary {most} is too small for --units bpe, whose first {BYTES} symbols "
                f"are the bytes; give at least {BYTES + 1}, or --units bytes"
            )
        library = _tokenizers()
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = library.trainers.BpeTrainer(
            vocab_size=most, min_frequency=LEAST_OCCURRENCES, show_progress=False,
            initial_alphabet=_byte_symbols(),
        )  # fmt: skip
        tokenizer.train_from_iterator(_chunks(training), trainer)
        return cls(json.loads(tokenizer.to_str()))

    def __len__(self) -> int:
        return len(self.symbols)

    def unknown(self, text: str) -> list[str]:
        """Return the characters that cannot be encoded: none, since every text is bytes."""
        return []

    def known(self, text: str) -> str:
        """Return the text, of which every character can be encoded."""
        return text

    def encode(self, text: str) -> np.ndarray:
        """Number the symbols of a text, as int64."""
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InputError(f"{text!r} is not text: it has bytes that are not UTF-8") from None
        numbers = [self._tokenizer.encode(part).ids for part in _chunks(text)]
        return np.concatenate([np.array(part, dtype=np.int64) for part in [*numbers, []]])

    read = encode
    """Number a text that is learnt from or scored."""

    def decode(self, numbers: Iterable[int], after: str = "") -> str:
        """Return the text of these symbols, with U+FFFD for what is not UTF-8."""
        return b"".join(self.symbols[n] for n in numbers).decode("utf-8", errors="replace")

    def decoder(self, after: str = "") -> Callable[[int], str]:
        """Make a function that returns the characters that end with one symbol after another."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        return lambda number: decoder.decode(self.symbols[number])

    def count_characters(self, numbers: np.ndarray) -> int:
        """Count the characters that begin in these symbols."""
        return int(self._beginnings[numbers].sum())


def _chunks(text: str) -> list[str]:
    return [text[begin : begin + CHUNK] for begin in range(0, len(text), CHUNK)]


def _byte_symbols() -> list[str]:
    """Return the characters that stand for bytes in a tokenizer: each visible one for itself."""
    visible = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = [byte for byte in range(BYTES) if byte not in visible]
    return [chr(b if b in visible else BYTES + hidden.index(b)) for b in range(BYTES)]


def _tokenizers() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise InputError(
            "--units bpe needs the package tokenizers; install it: pip install 'plait[bpe]'"
        ) from None
    return tokenizers
