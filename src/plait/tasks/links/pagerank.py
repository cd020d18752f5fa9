"""Personalised PageRank of single nodes, in time that does not grow with the graph."""

import numpy as np
import scipy.sparse

from plait.kernels.cpu.jit import compiled

RESTART = 0.15
"""The probability with which a walk ends at each step."""

TOLERANCE = 1e-5
"""The error of a node's probability, in units of its degree, below which nothing is pushed on."""


def pagerank_rows(
    adjacency: scipy.sparse.csr_array, sources: np.ndarray, tolerance: float = TOLERANCE
) -> scipy.sparse.csr_array:
    """Return π_u = α Σ_k (1 − α)ᵏ (A D⁻¹)ᵏ e_u of some nodes u, `[n, N]`, with α = 0.15.

    An entry is too small by `tolerance` times the degree of its node, at most; no other entries
    are computed.

    Source: Andersen, Chung & Lang (2006), Local graph partitioning using PageRank vectors, section
    2.3, for a walk that does not rest.

    Example
    -------
    >>> import numpy as np, scipy.sparse
    >>> from plait.tasks.links.pagerank import pagerank_rows
    >>> pair = scipy.sparse.csr_array(np.array([[0.0, 1.0], [1.0, 0.0]]))
    >>> pagerank_rows(pair, np.array([0]), 1e-9).toarray().round(4)   # 1 / (2 − α) and the rest
    array([[0.5405, 0.4595]])
    """
    pointer = adjacency.indptr.astype(np.int64)
    index = adjacency.indices.astype(np.int64)
    ends, nodes, values = _push(pointer, index, sources.astype(np.int64), RESTART, tolerance)
    rows = scipy.sparse.csr_array((values, nodes, ends), (len(sources), len(pointer) - 1))
    rows.sort_indices()
    return rows


@compiled
def _push(pointer, index, sources, restart, tolerance):
    """Push residuals on until each is below `tolerance` times the degree."""
    N = len(pointer) - 1
    p, r = np.zeros(N), np.zeros(N)
    waiting, met = np.zeros(N, np.bool_), np.zeros(N, np.bool_)
    queue, touched = np.empty(N + 1, np.int64), np.empty(N, np.int64)
    ends = np.zeros(len(sources) + 1, np.int64)
    nodes, values = np.empty(1024, np.int64), np.empty(1024)
    for k in range(len(sources)):
        u = sources[k]
        first, last, count = 0, 1, 1
        queue[0], touched[0] = u, u
        r[u], waiting[u], met[u] = 1.0, True, True
        while first != last:
            v = queue[first]
            first = (first + 1) % (N + 1)
            waiting[v] = False
            degree = pointer[v + 1] - pointer[v]
            rest = r[v]
            r[v] = 0.0
            if degree == 0:
                p[v] += rest
                continue
            p[v] += restart * rest
            share = (1 - restart) * rest / degree
            for e in range(pointer[v], pointer[v + 1]):
                w = index[e]
                if not met[w]:
                    met[w] = True
                    touched[count] = w
                    count += 1
                r[w] += share
                if not waiting[w] and r[w] > tolerance * (pointer[w + 1] - pointer[w]):
                    waiting[w] = True
                    queue[last] = w
                    last = (last + 1) % (N + 1)
        start = ends[k]
        if start + count > len(nodes):
            room = 2 * (start + count)
            more_nodes, more_values = np.empty(room, np.int64), np.empty(room)
            more_nodes[:start], more_values[:start] = nodes[:start], values[:start]
            nodes, values = more_nodes, more_values
        kept = start
        for i in range(count):
            v = touched[i]
            if p[v] > 0:
                nodes[kept], values[kept] = v, p[v]
                kept += 1
            p[v] = 0.0
            r[v] = 0.0
            met[v] = False
        ends[k + 1] = kept
    return ends, nodes[: ends[-1]].copy(), values[: ends[-1]].copy()
