"""The graph of words: the vectors against the formula in NumPy, the neighbours against cosines."""

import numpy as np
import pytest

from plait.errors import InputError
from plait.tasks.text.word_graph import WINDOW, word_graph, word_vectors

TEXT = np.random.default_rng(0).integers(12, size=400) ** 2 % 12  # some are never there


def naive_information(numbers: np.ndarray, words: int) -> np.ndarray:
    """Positive pointwise mutual information, by counting words within five words of each other."""
    counts = np.zeros((words, words))
    for here in range(len(numbers)):
        for there in range(max(0, here - WINDOW), min(len(numbers), here + WINDOW + 1)):
            if here != there:
                counts[numbers[here], numbers[there]] += 1
    total = counts.sum(1)
    smooth = total**0.75 / (total**0.75).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.log(counts / np.outer(total, smooth))
    return np.where(counts > 0, information, 0).clip(min=0)


def test_the_vectors_are_the_factors_of_positive_mutual_information():
    vectors = word_vectors(TEXT, 12)
    U, S, _ = np.linalg.svd(naive_information(TEXT, 12))
    S[S < 1e-9] = 0
    expected = (U * np.sqrt(S))[:, :11]
    np.testing.assert_allclose(vectors @ vectors.T, expected @ expected.T, rtol=0, atol=1e-9)
    assert not vectors[np.bincount(TEXT, minlength=12) == 0].any()


def test_words_are_joined_with_their_nearest_by_cosine():
    vectors = word_vectors(TEXT, 12)
    there = np.flatnonzero(np.bincount(TEXT, minlength=12))
    unit = vectors[there] / np.linalg.norm(vectors[there], axis=1, keepdims=True)
    numbers = np.searchsorted(there, TEXT)
    graph = word_graph(numbers, len(there), 1)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    nearest = {frozenset((k, int(n))) for k, n in enumerate(cosine.argmax(1))}
    assert {frozenset(edge) for edge in graph.edge_index.T.tolist()} == nearest
    assert graph.asymmetric_edge is None


def test_words_of_like_company_are_neighbours_though_they_never_meet():
    """Words 2k and 2k + 1 are next to 8 + k alone; far from all others lies 12, six times."""
    drawn = np.random.default_rng(0).integers(8, size=300)
    text = np.concatenate([[8 + word // 2, word, 8 + word // 2, *[12] * 6] for word in drawn])
    edges = set(map(tuple, word_graph(text, 13, 2).edge_index.T.tolist()))
    assert {(2 * k, 2 * k + 1) for k in range(4)} <= edges
    assert not {(a, b) for a in range(8) for b in range(8) if a // 2 != b // 2} & edges


@pytest.mark.parametrize("neighbours", [12, 13, 1000])
def test_more_neighbours_than_other_words_are_refused(neighbours):
    message = rf"^--word-graph {neighbours} is too many .* of 12 words; give at most 11$"
    with pytest.raises(InputError, match=message):
        word_graph(TEXT, 12, neighbours)
    assert word_graph(TEXT, 12, 11).num_edges == 12 * 11
