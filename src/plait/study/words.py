"""The words of a text, and those that another text has."""

import re


def words_of(text: str) -> list[str]:
    """List the words, in small letters.

    >>> from plait.study.words import words_of
    >>> words_of("The King’s son, 3 days old.")
    ['the', 'king', 's', 'son', 'days', 'old']
    """
    return re.findall(r"[^\W\d_]+", text.lower())


def known_words(text: str) -> set[str]:
    """Give the different words of a text."""
    return set(words_of(text))
