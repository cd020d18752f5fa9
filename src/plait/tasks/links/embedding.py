"""An embedding of the nodes by random walks, as node2vec learns it, in closed form."""

from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

WINDOW = 5
"""Steps of a walk within which nodes count as close."""

WIDTH = 64
"""Numbers of an embedding."""

LARGEST = 5_000
"""Nodes of a graph at most: a matrix over all pairs is formed."""


def embed_nodes(adjacency: scipy.sparse.csr_array, width: int = WIDTH) -> np.ndarray:
    """Embed nodes such that z_uᵀ z_v is near how much more often walks meet both than by chance.

    M = log max(1, vol(G) / (b T) Σ_{r=1..T} (D⁻¹ A)ʳ D⁻¹),  Z = U Λ^½

    of the largest positive eigenvalues Λ of M, with T = 5 and b = 1. DeepWalk, which is node2vec
    with p = q = 1, learns a factor of this matrix by samples of walks.

    Source: Qiu et al. (2018), Network embedding as matrix factorization: unifying DeepWalk, LINE,
    PTE, and node2vec, equation 6 and algorithm 3.

    Returns
    -------
    array `[N, D]`
        float64; D is `width`, or fewer where fewer eigenvalues are positive.

    Example
    -------
    >>> import numpy as np, scipy.sparse
    >>> from plait.tasks.links.embedding import embed_nodes
    >>> two_pairs = scipy.sparse.csr_array(np.kron(np.eye(2), [[0.0, 1.0], [1.0, 0.0]]))
    >>> z = embed_nodes(two_pairs)
    >>> bool(z[0] @ z[1] > 0.5), bool(abs(z[0] @ z[2]) < 1e-9)
    (True, True)
    """
    N = adjacency.indptr.size - 1
    degree = adjacency.sum(1)
    inverse = 1 / degree.clip(min=1)
    step: Any = scipy.sparse.diags_array(inverse) @ adjacency
    power = np.diag(inverse)
    total = np.zeros((N, N))
    for _ in range(WINDOW):
        power = step @ power
        total += power
    M = np.log((degree.sum() / WINDOW * total).clip(min=1))
    M = (M + M.T) / 2
    if width < N - 1:
        start = np.ones(N)  # the same result every time
        values, vectors = scipy.sparse.linalg.eigsh(M, width, which="LA", v0=start)
    else:
        values, vectors = np.linalg.eigh(M)
    positive = values > 0
    return vectors[:, positive] * np.sqrt(values[positive])
