"""Words and their numbers: what a word is, which are known, and the text back again."""

import json
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import InputError
from plait.tasks.text.words import UNKNOWN, Words, is_prepared, split_words

PROSE = "It was the best of times, it was the worst of times;\n  the age of “wisdom” - the end? "
TEXTS = st.text(st.sampled_from(list("ab1é '’-.,(“”<unk> \n\t_")), max_size=40)


def known(text: str, prepared: bool = False) -> Words:
    """A vocabulary of all symbols of a text."""
    return Words([UNKNOWN, *dict.fromkeys(split_words(text, prepared))], prepared)


@settings(deadline=None, derandomize=True)
@given(TEXTS)
def test_running_text_there_and_back(text):
    symbols = [s for s in split_words(text) if s != UNKNOWN]
    words = Words([UNKNOWN, *dict.fromkeys(symbols)])
    numbers = words.encode(text)
    back = words.decode(numbers)
    assert back in (text, text.removesuffix(" "))  # one space after the last word is none
    assert numbers.tolist() == words.read(back).tolist() == words.read(text).tolist()
    assert numbers.dtype == np.int64
    again = Words(**json.loads(json.dumps(words.facts)))  # as a run folder keeps it
    assert again.encode(text).tolist() == numbers.tolist()


@settings(deadline=None, derandomize=True)
@given(TEXTS, st.integers(0, 40))
def test_a_text_goes_on_after_a_prompt_as_it_would_from_the_start(text, cut):
    words = known(text)
    numbers = words.encode(text).tolist()
    prompt = words.decode(numbers[:cut])
    assert prompt + words.decode(numbers[cut:], prompt) == words.decode(numbers)
    decode = words.decoder(prompt)
    assert prompt + "".join(map(decode, numbers[cut:])) == words.decode(numbers)


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        ("the cat's well-known tail", ["the", "cat's", "well-known", "tail"]),
        ("Yes, no.\n\nNo (yes)", ["Yes", ", ", "no", ".", "\n\n", "No", " (", "yes", ")"]),
        ("a  b \t c", ["a", "  ", "b", " \t ", "c"]),
        (" a", [" ", "a"]),
        ("1,000 of 'em - “ok”", ["1", ",", "000", "of", " '", "em", " - ", "“", "ok", "”"]),
        ("an <unk> of > b", ["an", "<unk>", "of", " > ", "b"]),
        ("élan 漢字", ["élan", "漢字"]),
        ("", []),
    ],
)
def test_what_a_word_is(text, symbols):
    assert split_words(text) == symbols


def test_words_of_a_prepared_text_stand_between_white_space():
    text = " mr. <unk> 's n.v. \n  rose N % "
    assert is_prepared(text)
    symbols = ["mr.", "<unk>", "'s", "n.v.", "\n", "rose", "N", "%"]
    assert split_words(text, prepared=True) == symbols
    words = known(text, prepared=True)
    assert words.decode(words.read(text)) == "mr. <unk> 's n.v.\nrose N %"
    assert words.decode(words.encode("rose %"), "mr.") == " rose %"
    assert words.decode(words.encode("rose"), "mr. ") == "rose"
    assert words.decode(words.encode("rose"), "mr.\n") == "rose"
    assert not any(map(is_prepared, ("", "<unk", "<unknown>", "a<unk>")))


@settings(deadline=None, derandomize=True)
@given(st.lists(st.sampled_from("abcdefghij"), min_size=1), st.integers(2, 12), st.booleans())
def test_the_commonest_words_are_known_and_one_that_is_there_once_is_not(text, most, prepared):
    counts = Counter(text)
    often = [w for w in counts if counts[w] > 1 or prepared]
    if not often:
        with pytest.raises(InputError, match="no word occurs twice in the training set"):
            Words.of(text, most, prepared=prepared)
        return
    words = Words.of(text, most, prepared=prepared)
    kept = words.symbols[1:]
    assert words.symbols[0] == UNKNOWN
    assert set(kept) <= set(often)
    assert len(words) == min(most, len(often) + 1)
    assert kept == sorted(kept, key=lambda w: (-counts[w], w))
    assert all((-counts[w], w) > (-counts[kept[-1]], kept[-1]) for w in set(often) - set(kept))
    numbers = words.read(" ".join(text))
    assert Counter(numbers.tolist())[0] == sum(counts[w] for w in counts if w not in kept)


def test_unk_counts_as_one_and_words_known_before_stay():
    words = Words.of(["a", "<unk>", "<unk>", "b", "a", "b", "b"], 2, prepared=True)
    assert words.symbols == [UNKNOWN, "b"]
    words = Words.of(["a", "b", "a", "b", "b"], 2, known=["<unk>", "z", "a"])
    assert words.symbols == [UNKNOWN, "z", "a", "b"]


def test_words_never_seen_are_named_left_out_or_unk():
    words = known(PROSE)
    text = "It was, perhaps, the wisest of times"
    assert words.unknown(text) == ["perhaps", "wisest"]
    message = "never seen 'perhaps', 'wisest'; write <unk> instead, or --skip-unknown"
    with pytest.raises(InputError, match=re.escape(message)):
        words.encode(text)
    assert words.known(text) == "It was, , the of times"
    assert words.decode(words.read(text)) == "It was, <unk>, the <unk> of times"
    two = Words([UNKNOWN, "a", "\n"])
    assert two.known("a\nb\na") == "a a"  # a line's end twice is not known
    assert two.known(" a  ") == "a"
    assert words.encode("the <unk>").tolist() == words.read("the worstest").tolist()
    with pytest.raises(InputError, match=r"'h' and 3 more;"):
        words.encode("a b c d e f g h i j k")
