"""The n-gram's distributions and contexts, against the formula written out with dictionaries."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from plait.tasks.text.ngram import LEVELS, Ngram

ORDER, SYMBOLS = 4, 5
TRAINING = np.random.default_rng(0).integers(4, size=300)  # the symbol 4 never occurs
FOLLOWING = np.random.default_rng(1).integers(SYMBOLS, size=60)


def followers() -> dict[tuple[int, ...], Counter[int]]:
    found: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for size in range(ORDER):
        for i in range(size, len(TRAINING)):
            found[tuple(TRAINING[i - size : i].tolist())][int(TRAINING[i])] += 1
    return found


FOLLOWERS = followers()


def formula(context: tuple[int, ...]) -> np.ndarray:
    """Return P_k of every symbol after these k − 1."""
    shorter = formula(context[1:]) if context else np.full(SYMBOLS, 1 / SYMBOLS)
    if context not in FOLLOWERS:
        return shorter
    counts = np.array([FOLLOWERS[context][c] for c in range(SYMBOLS)])
    types = (counts > 0).sum()
    return (counts + types * shorter) / (counts.sum() + types)


def test_the_distribution_after_every_symbol_is_the_formula_and_sums_to_one():
    ngram = Ngram(TRAINING, SYMBOLS, ORDER)
    ids = ngram.start(2)
    for k in range(len(FOLLOWING)):
        before = FOLLOWING[max(0, k - ORDER + 1) : k]
        p = ngram.distribution(ids)
        expected = formula(tuple(before.tolist()))
        np.testing.assert_allclose(p[0], expected, rtol=1e-13)
        np.testing.assert_allclose(p.sum(1), 1, rtol=1e-13)
        ids = ngram.read(ids, FOLLOWING[[k, -1 - k]])  # the second text is another


def test_a_text_s_probabilities_and_classes_are_those_of_its_contexts():
    ngram = Ngram(TRAINING, SYMBOLS, ORDER)
    p, classes = ngram.probability(FOLLOWING)
    whole = np.concatenate([TRAINING, FOLLOWING]).tolist()
    for k, c in enumerate(FOLLOWING):
        end = len(TRAINING) + k
        context = tuple(whole[end - ORDER + 1 : end])
        assert p[k] == pytest.approx(formula(context)[c], rel=1e-13)
        while context not in FOLLOWERS:
            context = context[1:]
        counts = FOLLOWERS[context]
        level = min(int(np.log2(sum(counts.values()))), LEVELS - 1)
        assert classes[k] == (len(context) * LEVELS + level) * 2 + (len(counts) == 1)
    assert classes.max() < ngram.classes


def test_zeros_are_read_on_as_a_text_that_begins():
    ngram = Ngram(TRAINING, SYMBOLS, ORDER)
    zeros = np.zeros((ORDER, 3), dtype=np.int64)
    symbols = np.array([0, 3, 4])
    assert (ngram.read(zeros, symbols) == ngram.read(ngram.start(3), symbols)).all()


def test_a_shortened_n_gram_is_the_one_that_was_counted_short():
    ngram = Ngram(TRAINING, SYMBOLS, ORDER)
    ngram.shorten(2)
    for ours, theirs in zip(
        ngram.probability(FOLLOWING),
        Ngram(TRAINING, SYMBOLS, 2).probability(FOLLOWING),
        strict=True,
    ):
        assert (ours == theirs).all()
