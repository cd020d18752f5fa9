"""Symbols and their numbers, there and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import InputError
from plait.tasks.text.vocabulary import Bytes, Characters

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))  # all of Unicode but half characters


@settings(deadline=None, derandomize=True)
@given(TEXTS)
def test_there_and_back(text):
    vocabulary = Characters.of(text)
    numbers = vocabulary.encode(text)
    assert vocabulary.decode(numbers.tolist()) == text
    assert numbers.dtype == np.int64
    assert sorted(set(numbers.tolist())) == list(range(len(set(text))))
    again = Characters(vocabulary.characters)  # as a run folder keeps it
    assert again.encode(text).tolist() == numbers.tolist()
    assert vocabulary.count_characters(numbers) == len(text)
    assert "".join(map(vocabulary.decoder(), numbers)) == text


@settings(deadline=None, derandomize=True)
@given(TEXTS)
def test_bytes_there_and_back(text):
    vocabulary = Bytes()
    numbers = vocabulary.encode(text)
    assert numbers.tolist() == list(text.encode())
    assert vocabulary.decode(numbers.tolist()) == text
    assert vocabulary.count_characters(numbers) == len(text)
    assert vocabulary.unknown(text) == []
    decode = vocabulary.decoder()
    assert "".join(decode(n) for n in numbers.tolist()) == text


def test_characters_are_in_the_order_of_their_code_points():
    vocabulary = Characters.of("zebra 😀é\nA\ufeff")
    assert vocabulary.characters == "\n Aaberzé\ufeff😀"
    assert vocabulary.encode("😀\n").tolist() == [10, 0]
    assert len(vocabulary) == 11


def test_unknown_characters_are_named():
    vocabulary = Characters.of("abc")
    assert vocabulary.unknown("cab fade") == [" ", "d", "e", "f"]
    with pytest.raises(InputError, match=r"never seen 'é' \(U\+00E9\), '😀' \(U\+1F600\); "):
        vocabulary.encode("a😀éa😀")
    with pytest.raises(InputError, match=r"'k' \(U\+006B\) and 11 more"):
        vocabulary.encode("defghijklmnopqrstuv")
    with pytest.raises(InputError, match=r"never seen '\\udcff' \(U\+DCFF\)"):
        vocabulary.encode("a\udcff")  # what a terminal makes of a byte that is not UTF-8


def test_bytes_that_are_no_character_are_shown_as_such():
    broken = [0x41, 0xC3, 0x41, 0xF0, 0x9F, 0x98]
    assert Bytes().decode(broken) == "A\ufffdA\ufffd"
    decode = Bytes().decoder()
    assert "".join(map(decode, broken)) == "A\ufffdA"  # the last may still become one
    assert decode(0x80) == "😀"
