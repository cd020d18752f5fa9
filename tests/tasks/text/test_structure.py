"""What a text opens and closes, by hand."""

import math

import pytest

from plait.tasks.text.structure import close_brackets, close_quotes, positions, structure_of


@pytest.mark.parametrize(
    ("text", "opened", "distances"),
    [
        ("f(a[0], {b})", 3, [2, 2, 10]),
        ("(a [b) c]", 2, [5]),  # what is open within is not closed
        (")) (", 1, []),
        ("((a)", 2, [2]),
        ("none", 0, []),
    ],
)
def test_brackets_are_matched_with_the_innermost_of_their_kind(text, opened, distances):
    found = close_brackets(text)
    assert (found.opened, list(found.distances)) == (opened, distances)


@pytest.mark.parametrize(
    ("text", "opened", "distances"),
    [
        ('say "yes" or "no"', 2, [4, 3]),
        ("“a” «b» „c“", 3, [2, 2, 2]),
        ('"open\n\n"closed"', 2, [7]),  # a paragraph ends the first
        ('"over\nlines"', 1, [11]),
        ("it's", 0, []),
    ],
)
def test_quotes_are_closed_within_their_paragraph(text, opened, distances):
    found = close_quotes(text)
    assert (found.opened, list(found.distances)) == (opened, distances)


def test_names_and_indentation_of_several_texts_are_counted_together():
    code = "def f():\n    if a:\n        b\n    c\n  d\ne\n"
    found = structure_of(["I met Ann and Bob. Ann met Bob.", code])
    assert found.names == 1 / 3  # Ann and Bob are new, Ann begins a sentence, Bob is known
    assert found.indentation == 2 / 3  # to 4 and to 0, not to 2
    assert math.isnan(structure_of(["no names"]).names)
    assert str(structure_of(["("]).brackets) == "0% of 1"
    assert str(structure_of([""]).quotes) == "none"


def test_positions_after_each_character():
    found = {name: v.astype(int).tolist() for name, v in positions('a "b\n\n(c)\n  d.').items()}
    assert found == {
        "in quotes": [0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        "in brackets": [0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0],
        "position in line": [1, 2, 3, 4, 0, 0, 1, 2, 3, 0, 1, 2, 3, 4],
        "position in sentence": [*range(1, 14), 0],
        "position in word": [1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0],
        "indentation": [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 2, 2],
    }
