"""A text's vocabulary, and its parts: to train on, to validate on, and to test on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from plait.data import Text, find_text, read_text
from plait.errors import InputError
from plait.tasks.splits import Splits
from plait.tasks.text.config import TextConfig
from plait.tasks.text.encoded import encoded_text, is_large
from plait.tasks.text.vocabulary import BytePairs, Bytes, Characters, Vocabulary
from plait.tasks.text.words import Words, is_prepared, split_words
from plait.text_pieces import TextFiles

VALIDATION, TEST = 0.05, 0.05
"""Shares of a text to validate and to test on."""

HELD_OUT = 5_000_000
"""Symbols to validate and to test on, each, at most."""

Symbols = TypeVar("Symbols", Tensor, list[str], str)


def text_of(config: TextConfig) -> Text:
    """Read the text that a configuration names."""
    return read_text(
        config.data, keep_boilerplate=config.keep_boilerplate, encoding=config.encoding
    )


@dataclass(frozen=True)
class TextData:
    """A text in numbers.

    Attributes
    ----------
    name, source, sha256
        As those of `plait.data.Text`.
    characters : int
    vocabulary : Vocabulary
    splits : Splits of Tensor
        int64; the training set of a large text in fewer bytes each, and mapped.
    symbols_per_character : float
        The mean; of words NaN.
    held_out : int
        Symbols to validate and to test on, where a share would be more; 0: it is not.
    """

    name: str
    source: str
    sha256: str
    characters: int
    vocabulary: Vocabulary
    splits: Splits[Tensor]
    symbols_per_character: float
    held_out: int = 0


def read_data(config: TextConfig, known: Mapping[str, Any]) -> TextData:
    """Read the text that a configuration names, in numbers.

    `known` are the facts of a run whose weights are loaded. A text of 64 MB or more is numbered
    once, into a file of the cache, and read from there.

    Raises `InputError` for a text that cannot be read.
    """
    files = find_text(config.data, config.encoding)
    if files is not None and is_large(files):
        return _read_large(files, config, known)
    text = text_of(config)
    vocabulary = vocabulary_of(text, config, known)
    splits = encode_splits(text, vocabulary)
    characters, breaks = len(text.characters), len(text.parts) - 1 if text.parts else 0
    return TextData(
        text.name, text.source, text.sha256, characters, vocabulary, splits,
        _symbols_per_character(vocabulary, splits, characters - breaks),
    )  # fmt: skip


def _read_large(files: TextFiles, config: TextConfig, known: Mapping[str, Any]) -> TextData:
    found = encoded_text(
        files, config, known.get("vocabulary"), split_lengths,
        lambda facts: vocabulary_from(config, {"vocabulary": facts}),
    )  # fmt: skip
    n, lengths = len(found.numbers), found.lengths
    train, valid, test = found.numbers.split(split_lengths(n) if len(lengths) == 1 else lengths)
    splits = Splits(train, valid.long(), test.long())
    whole = found.characters if config.units == "bpe" else n
    bounded = not files.in_parts and int(whole * TEST) > HELD_OUT
    return TextData(
        files.name, files.source, found.sha256, found.characters, found.vocabulary, splits,
        _symbols_per_character(found.vocabulary, splits, found.characters - len(files.parts) + 1),
        HELD_OUT * bounded,
    )  # fmt: skip


def _symbols_per_character(
    vocabulary: Vocabulary, splits: Splits[Tensor], characters: int
) -> float:
    """Return the mean over all symbols but the first, which nothing predicts."""
    if isinstance(vocabulary, Words):
        return math.nan
    first = next(part[:1] for part in splits if len(part))
    characters -= vocabulary.count_characters(first.numpy())
    return (sum(map(len, splits)) - 1) / max(characters, 1)


def split_lengths(n: int) -> Sequence[int]:
    """Return how many of n symbols are to train, validate and test on.

    90 %, 5 % and 5 %, of which the last two are five million at most.

    >>> from plait.tasks.text.data import split_lengths
    >>> split_lengths(1_000), split_lengths(10**9)
    ((900, 50, 50), (990000000, 5000000, 5000000))
    """
    valid, test = (min(int(n * share), HELD_OUT) for share in (VALIDATION, TEST))
    return n - valid - test, valid, test


def split(symbols: Symbols) -> Splits[Symbols]:
    """Split a text as `split_lengths` says, the test set last."""
    train, valid, _ = split_lengths(len(symbols))
    return Splits(symbols[:train], symbols[train : train + valid], symbols[train + valid :])


def vocabulary_of(text: Text, config: TextConfig, known: Mapping[str, Any]) -> Vocabulary:
    """Find the symbols of a text: all its characters, or those that its training set has most.

    `known` are the facts of a run whose weights are loaded: its symbols are known too, and its byte
    pairs are the only ones.
    """
    if config.units == "bytes":
        return Bytes()
    if config.units == "chars":
        return Characters.of(text.characters + known.get("vocabulary", ""))
    if config.units == "bpe":
        training = text.parts[0] if text.parts else split(text.characters).train
        return (
            BytePairs(known["vocabulary"]) if known else BytePairs.of(training, config.vocabulary)
        )
    before = known.get("vocabulary", {"words": [], "prepared": is_prepared(text.characters)})
    prepared = before["prepared"]
    training = (
        split_words(text.parts[0], prepared)
        if text.parts
        else split(split_words(text.characters, prepared)).train
    )
    try:
        return Words.of(training, config.vocabulary, prepared=prepared, known=before["words"])
    except InputError as error:
        raise InputError(f"{text.source}: {error}") from None


def vocabulary_from(config: TextConfig, facts: Mapping[str, Any]) -> Vocabulary:
    """Rebuild the vocabulary of a run folder."""
    if config.units == "words":
        return Words(**facts["vocabulary"])
    if config.units == "bpe":
        return BytePairs(facts["vocabulary"])
    return Bytes() if config.units == "bytes" else Characters(facts["vocabulary"])


def encode_splits(text: Text, vocabulary: Vocabulary) -> Splits[Tensor]:
    """Return the numbers of a text's symbols in its own parts, or in 90 %, 5 % and 5 % of them."""
    parts = text.parts
    if isinstance(vocabulary, BytePairs) and parts is None:  # learnt from characters of the first
        parts = split(text.characters)
    if parts is None:
        return split(torch.from_numpy(vocabulary.read(text.characters)))
    return Splits(*(torch.from_numpy(vocabulary.read(part)) for part in parts))
