"""A text's vocabulary, and its parts: to train on, to validate on, and to test on."""

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from plait.data import Text, read_text
from plait.errors import InputError
from plait.tasks.splits import Splits
from plait.tasks.text.config import TextConfig
from plait.tasks.text.vocabulary import BytePairs, Bytes, Characters, Vocabulary
from plait.tasks.text.words import Words, is_prepared, split_words

VALIDATION, TEST = 0.05, 0.05
"""Shares of a text to validate and to test on."""

Symbols = TypeVar("Symbols", Tensor, list[str], str)


def text_of(config: TextConfig) -> Text:
    """Read the text that a configuration names."""
    return read_text(
        config.data, keep_boilerplate=config.keep_boilerplate, encoding=config.encoding
    )


def split(symbols: Symbols) -> Splits[Symbols]:
    """Split a text: 90 % to train on, 5 % to validate on, and the last 5 % to test on."""
    n = len(symbols)
    test_from = n - int(n * TEST)
    valid_from = test_from - int(n * VALIDATION)
    return Splits(symbols[:valid_from], symbols[valid_from:test_from], symbols[test_from:])


def vocabulary_of(text: Text, config: TextConfig, known: Mapping[str, Any]) -> Vocabulary:
    """Find the symbols of a text: all its characters, or those that its training part has most.

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
