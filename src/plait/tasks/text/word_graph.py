"""A graph of words, connected by distributional similarity."""

import numpy as np
import scipy.sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.preprocessing import normalize

from plait.errors import InputError
from plait.nn.graph import Graph

WINDOW = 5
"""Words on either side that are the context of a word."""

DIMENSIONS = 100
"""Numbers of a word vector, or all that a small vocabulary has."""

SMOOTHING = 0.75


def word_graph(numbers: np.ndarray, words: int, neighbours: int) -> Graph:
    """Join every word with its nearest by the cosine of word vectors made from a text.

    The weights are those of `Graph.from_points` on the vectors, each of length 1, so that
    d_ij² = 2 − 2 cos(v_i, v_j).

    Parameters
    ----------
    numbers : integer array `[n]`
        The text to learn from.
    words : int
        How many words there are.
    neighbours : int
        Less than `words`.

    Raises
    ------
    InputError
        For more neighbours than there are other words.

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.text.word_graph import word_graph
    >>> word_graph(np.arange(300) % 6, words=6, neighbours=2).num_nodes
    6
    """
    if neighbours >= words:
        raise InputError(
            f"--word-graph {neighbours} is too many neighbours for a vocabulary of {words} words; "
            f"give at most {words - 1}"
        )
    return Graph.from_points(np.asarray(normalize(word_vectors(numbers, words))), neighbours)


def word_vectors(numbers: np.ndarray, words: int) -> np.ndarray:
    r"""Make word vectors `[words, D]` from which words occur near which in a text.

    M_ij = max(0, ln(N_ij Σ_k N_k^¾ / (N_i N_j^¾))),  M ≈ U Σ Vᵀ,  vectors U Σ^½

    N_ij counts how often j occurs within 5 words of i, N_i all that do (positive pointwise mutual
    information with smoothed contexts, factorised: Levy, Goldberg & Dagan 2015).
    """
    near = scipy.sparse.csr_array((words, words))
    for distance in range(1, min(WINDOW, len(numbers) - 1) + 1):
        pairs = (numbers[:-distance], numbers[distance:])
        near += scipy.sparse.csr_array((np.ones(len(pairs[0])), pairs), shape=(words, words))
    counts = (near + near.T).tocoo()
    total = counts.sum(1)
    smooth = total**SMOOTHING
    expected = total[counts.row] * smooth[counts.col] / smooth.sum()
    positive = np.log(counts.data / expected).clip(min=0)
    information = scipy.sparse.csr_array((positive, (counts.row, counts.col)), counts.shape)
    factors = TruncatedSVD(min(DIMENSIONS, words - 1), random_state=0)
    vectors = factors.fit_transform(information)  # U Σ
    return vectors / np.sqrt(np.maximum(factors.singular_values_, 1e-12))
