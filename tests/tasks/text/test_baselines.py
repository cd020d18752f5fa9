"""The n-gram baseline, against the formula written out with dictionaries."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch

from plait.tasks.text.baselines import best_index, ngram_baseline, score_ngrams
from plait.tasks.text.vocabulary import Bytes, Characters

PROSE = "she sells sea shells by the sea shore; the shells she sells are sea shells. "


def naive(training: list[int], heldout: list[int], symbols: int, order: int) -> tuple[float, float]:
    """Mean nats and share right of the interpolated Witten–Bell model of this order."""
    followers: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for size in range(order):
        for i in range(size, len(training)):
            followers[tuple(training[i - size : i])][training[i]] += 1

    def distribution(context: tuple[int, ...]) -> list[float]:
        shorter = distribution(context[1:]) if context else [1 / symbols] * symbols
        counts = followers.get(context)
        if counts is None:
            return shorter
        total, types = sum(counts.values()), len(counts)
        return [(counts[c] + types * shorter[c]) / (total + types) for c in range(symbols)]

    text = training + heldout
    nats, right = 0.0, 0
    for i in range(len(training) + 1, len(text)):
        p = distribution(tuple(text[i - order + 1 : i]))
        assert sum(p) == pytest.approx(1, rel=1e-12)
        nats -= math.log(p[text[i]])
        right += max(range(symbols), key=p.__getitem__) == text[i]
    count = len(heldout) - 1
    return nats / count, right / count


@pytest.mark.parametrize(
    ("training", "heldout"),
    [
        (PROSE * 3, "the sea shells by the shore are hers"),
        ("abracadabra", "zebra"),  # symbols and contexts that never occurred
        ("ab", "ba" * 10),  # contexts longer than the training text
        ("aaaaaaaa", "bbbb"),
    ],
)
def test_every_order_is_the_formula(training, heldout):
    numbers = {c: k for k, c in enumerate(sorted(set(training + heldout)))}
    train, test = ([numbers[c] for c in text] for text in (training, heldout))
    scores = score_ngrams(np.array(train), np.array(test), len(numbers), max_order=5)
    for order, score in enumerate(scores, 1):
        loss, accuracy = naive(train, test, len(numbers), order)
        assert (score.order, score.accuracy) == (order, accuracy)
        assert score.loss == pytest.approx(loss, rel=1e-12)
        assert score.bits == score.loss / math.log(2)


def test_a_held_out_text_longer_than_a_block_is_scored_whole():
    generator = np.random.default_rng(0)
    train, test = generator.integers(3, size=200), generator.integers(3, size=20_000)
    (_, score) = score_ngrams(train, test, 3, max_order=2)
    loss, accuracy = naive(train.tolist(), test.tolist(), 3, 2)
    assert score.accuracy == accuracy
    assert score.loss == pytest.approx(loss, rel=1e-12)


def test_the_order_is_chosen_on_the_validation_text_and_patience_only_saves_time():
    numbers = Characters.of(PROSE).encode(PROSE * 6)
    train, valid, test = numbers[:300], numbers[300:380], numbers[380:]
    symbols = len(Characters.of(PROSE))
    every = score_ngrams(train, valid, symbols)
    few = score_ngrams(train, valid, symbols, patience=2)
    assert few == every[: len(few)]
    assert len(few) == min(len(every), best_index(every) + 3)
    parts = [torch.from_numpy(part) for part in (train, valid, test)]
    scores = ngram_baseline(*parts, Characters.of(PROSE))
    chosen = score_ngrams(train, test, symbols)[best_index(every)]
    assert scores["ngram_order"] == best_index(every) + 1
    assert scores["ngram_bits_per_character"] == pytest.approx(chosen.bits, rel=1e-12)
    assert scores["ngram_accuracy"] == chosen.accuracy


def test_bytes_are_scored_per_character():
    numbers = Bytes().encode("äöü" * 60)  # two bytes a character
    train, valid, test = (torch.from_numpy(numbers[k : k + 120]) for k in (0, 120, 240))
    scores = ngram_baseline(train, valid, test, Bytes())
    chosen = score_ngrams(train.numpy(), test.numpy(), 256, scores["ngram_order"])[-1]
    # 119 bytes are scored, of which 59 begin a character
    assert scores["ngram_bits_per_character"] == pytest.approx(chosen.bits * 119 / 59, rel=1e-12)
