"""Labels and priors by brute force; the figures that were published; batches by their number."""

import itertools
import math
import timeit

import numpy as np
import pytest
import torch

from plait.errors import InputError
from plait.tasks.memory.problems import (
    PROBLEMS,
    Adding,
    BaumSweet,
    BinaryPalindrome,
    RandomCombinations,
    Recall,
    is_baum_sweet,
    problem_named,
)
from plait.tasks.memory.scores import TEST, TRAINING, VALIDATION, draw


def runs_are_even(bits: str) -> bool:
    return all(len(zeros) % 2 == 0 for zeros in bits.split("1"))


def read(column: np.ndarray) -> str:
    """The bits of a sequence: padding only on the left."""
    text = "".join("p01"[token] for token in column).lstrip("p")
    assert "p" not in text
    return text


def test_baum_sweet_labels_of_every_short_number():
    n = np.arange(1, 1 << 14)
    expected = [runs_are_even(f"{k:b}") for k in n]
    assert is_baum_sweet(n).tolist() == expected
    assert not runs_are_even("110010100010")


def test_baum_sweet_labels_of_numbers_near_the_largest():
    n = np.random.default_rng(0).integers(10**17, 10**18, size=3000, endpoint=True)
    n[:2] = 10**18, 1 << 59
    assert is_baum_sweet(n).tolist() == [runs_are_even(f"{k:b}") for k in n]


@pytest.mark.parametrize(
    ("length", "prior", "strings"),
    [(4, 0.8226, 719), (5, 0.6710, 3_298), (6, 0.5041, 16_718), (8, 0.1908, None)],
)
def test_the_published_class_priors_of_baum_sweet(length, prior, strings):
    problem = BaumSweet(length)
    assert round(problem.shares[1], 4) == prior
    assert strings in (None, problem.strings)
    assert round(BaumSweet(10).shares[1], 4) == 0.0595


def test_the_strings_of_baum_sweet_are_counted_as_brute_force_does():
    for length in (2, 3, 4):
        counted = sum(runs_are_even(f"{n:b}") for n in range(10, 10**length + 1))
        assert BaumSweet(length).strings == counted


def test_baum_sweet_draws_what_the_definition_says():
    problem, n = BaumSweet(3), 40_000
    x, y = problem.draw(np.random.default_rng(0), n)
    strings = [read(column) for column in x.T]
    assert [runs_are_even(s) for s in strings] == y.astype(bool).tolist()
    numbers = np.array([int(s, 2) for s in strings])
    assert all(s[0] == "1" for s in strings)
    assert (numbers.min(), numbers.max()) == (10, max(numbers))
    assert numbers.max() <= 1000
    positive = numbers[y == 1]
    assert len(np.unique(positive)) == problem.strings  # every one is drawn, none more often
    counts = np.bincount(positive)[np.unique(positive)]
    mean = len(positive) / problem.strings
    assert ((counts - mean) ** 2).sum() / mean < problem.strings + 5 * math.sqrt(
        2 * problem.strings
    )
    p = problem.shares[1]
    assert abs(y.mean() - p) < 4 * math.sqrt(p * (1 - p) / n)


@pytest.mark.parametrize("length", [4, 6, 10, 18])
def test_baum_sweet_of_large_numbers_fits_its_width_and_prior(length):
    problem, n = BaumSweet(length), 2000
    x, y = problem.draw(np.random.default_rng(1), n)
    assert x.shape == (4 * length, n)
    assert (x[0] == 0).all()
    assert [runs_are_even(read(c)) for c in x.T] == y.astype(bool).tolist()
    p = problem.shares[1]
    assert abs(y.mean() - p) < 4 * math.sqrt(p * (1 - p) / n) + 1e-9


def palindromes(digits: int) -> list[str]:
    """All of the definition, each as often as it is likely."""
    found = []
    for drawn in itertools.product(range(9), repeat=digits):
        half = "".join(f"{d:b}" for d in drawn)
        found += [h + h[::-1] for h in (half, half[::-1])]
    return found


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_binary_palindromes_are_those_of_the_definition(length):
    problem, n = BinaryPalindrome(length), 30_000
    expected = palindromes(problem.digits)
    assert sum(p[-1] == "1" for p in expected) / len(expected) == pytest.approx(2 / 3, abs=1e-15)
    x, y = problem.draw(np.random.default_rng(0), n)
    whole = [read(np.append(column, 1 + label)) for column, label in zip(x.T, y, strict=True)]
    likely = {p: expected.count(p) / len(expected) for p in set(expected)}
    assert set(whole) == set(likely)
    for p, share in likely.items():
        assert abs(whole.count(p) / n - share) < 5 * math.sqrt(share / n)


@pytest.mark.parametrize(("length", "width"), [(10, 42), (20, 82), (5, 24), (21, 88)])
def test_a_palindrome_s_answer_is_its_first_bit_and_it_always_fits(length, width):
    problem = BinaryPalindrome(length)

    class Eights:
        def integers(self, high, size):
            return np.full(size, 8)

        def random(self, count):
            return np.arange(count) / count

    for generator in (np.random.default_rng(0), Eights()):
        x, y = problem.draw(generator, 200)
        assert x.shape == (width - 1, 200)
        strings = [read(column) for column in x.T]
        assert [int(s[0]) for s in strings] == y.tolist()
        assert all((s + s[0]) == (s + s[0])[::-1] for s in strings)


def test_the_missing_token_is_the_answer_and_all_orders_are_as_likely():
    x, y = RandomCombinations(4).draw(np.random.default_rng(0), 24_000)
    orders, counts = np.unique(np.vstack([x, y]), axis=1, return_counts=True)
    assert orders.shape == (4, 24)
    assert (np.sort(orders, axis=0) == np.arange(4)[:, None]).all()
    assert abs(counts - 1000).max() < 5 * math.sqrt(1000)


def test_recall_asks_for_the_first_symbol():
    x, y = Recall(5).draw(np.random.default_rng(0), 100)
    assert (x[0] == y).all()
    assert (x[1:] == 8).all()
    assert set(y) == set(range(8))


def test_adding_marks_one_value_in_either_half():
    problem, n = Adding(7), 60_000
    x, y = problem.draw(np.random.default_rng(0), n)
    values, marks = x[..., 0], x[..., 1]
    assert (marks[:3].sum(0) == 1).all()
    assert (marks[3:].sum(0) == 1).all()
    assert set(np.unique(marks)) == {0, 1}
    assert np.allclose((values * marks).sum(0), y, atol=1e-6)
    assert abs(marks.mean(1)[:3] - 1 / 3).max() < 0.01
    assert abs(marks.mean(1)[3:] - 1 / 4).max() < 0.01
    assert abs(((y - 1) ** 2).mean() - problem.loss_prior) < 4 * math.sqrt(7 / 180 / n)
    assert abs((abs(y - 1) < 0.04).mean() - problem.prior) < 4 * math.sqrt(0.08 / n)


def test_the_entropy_of_the_classes_is_the_loss_of_guessing():
    assert RandomCombinations(5).loss_prior == pytest.approx(math.log(5), rel=1e-14)
    assert BinaryPalindrome(10).loss_prior == pytest.approx(math.log(3) - 2 / 3 * math.log(2))
    assert BaumSweet(8).prior == 1 - BaumSweet(8).shares[1]


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_a_batch_is_found_again_by_its_number_and_no_two_are_alike(name):
    problem, cpu = problem_named(name, 6), torch.device("cpu")
    first = draw(problem, 3, 10, TRAINING, 32, cpu)
    again = draw(problem, 3, 10, TRAINING, 32, cpu)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for other in ((4, 10, TRAINING), (3, 11, TRAINING), (3, 10, VALIDATION), (3, 10, TEST)):
        x, y = draw(problem, *other, 32, cpu)
        assert not (torch.equal(first[0], x) and torch.equal(first[1], y))


@pytest.mark.parametrize(
    ("name", "length"),
    [
        ("baum-sweet", 1),
        ("baum-sweet", 19),
        ("random-combinations", 1),
        ("binary-palindrome", 0),
        ("recall", 0),
        ("adding", 1),
        ("adding", -3),
    ],
)
def test_impossible_lengths_are_refused_by_name(name, length):
    with pytest.raises(InputError, match=rf"{name} has lengths from \d+ to .*, not {length}"):
        problem_named(name, length)


@pytest.mark.parametrize(("name", "length"), [("baum-sweet", 6), ("binary-palindrome", 20)])
def test_256_strings_take_milliseconds(name, length):
    problem, generator = problem_named(name, length), np.random.default_rng(0)
    best = min(timeit.repeat(lambda: problem.draw(generator, 256), number=1, repeat=20))
    assert best < 0.01  # about 1 ms on an idle core
