"""What is not trained: heuristics by networkx, the embedding and likeness by their formulas."""

import networkx
import numpy as np
import pytest
import torch

from plait.nn.graph import Graph
from plait.tasks.links import baselines
from plait.tasks.links.baselines import BETA, HEURISTICS, adjacency_of, cosine, measures_of
from plait.tasks.links.embedding import WINDOW, embed_nodes
from plait.tasks.links.pagerank import RESTART, TOLERANCE, pagerank_rows


def walks_of_three(graph, pairs):
    """Return Σ_{l ≤ 3} βˡ (Aˡ)_uv by dense powers."""
    A = networkx.to_numpy_array(graph, nodelist=range(len(graph)))
    scores = sum(BETA**length * np.linalg.matrix_power(A, length) for length in (1, 2, 3))
    return [(u, v, scores[u, v]) for u, v in pairs]


def pageranks(graph, pairs):
    """Return π_u(v) + π_v(u) by networkx."""
    ranks = {
        u: networkx.pagerank(graph, 1 - RESTART, {u: 1}, tol=1e-14, max_iter=1000) for u in graph
    }
    return [(u, v, ranks[u][v] + ranks[v][u]) for u, v in pairs]


NAMES = {
    "common_neighbours": lambda g, p: [
        (u, v, len(list(networkx.common_neighbors(g, u, v)))) for u, v in p
    ],
    "adamic_adar": networkx.adamic_adar_index,
    "resource_allocation": networkx.resource_allocation_index,
    "katz": walks_of_three,
    "pagerank": pageranks,
    "degree": networkx.preferential_attachment,
}


@pytest.fixture
def theirs():
    graph = networkx.gnp_random_graph(25, 0.2, seed=0)
    graph.add_node(25)  # without neighbours
    return graph


@pytest.mark.parametrize("name", NAMES)
def test_heuristics_are_those_of_networkx(name, theirs, monkeypatch):
    assert set(NAMES) == set(HEURISTICS)
    monkeypatch.setattr(baselines, "PAIRS", 50)
    monkeypatch.setattr(baselines, "SOURCES", 7)
    graph = Graph.from_networkx(theirs)
    pairs = [(u, v) for u in range(26) for v in range(u)]
    index = torch.tensor(pairs).T
    expected = [score for *_, score in NAMES[name](theirs, pairs)]
    close = {"abs": 60 * TOLERANCE} if name == "pagerank" else {"rel": 1e-12}
    assert HEURISTICS[name](graph, index).tolist() == pytest.approx(expected, **close)
    flipped = HEURISTICS[name](graph, index.flip(0))
    assert flipped.tolist() == pytest.approx(expected, **close)


def test_pagerank_falls_short_by_at_most_the_tolerance_times_the_degree(theirs):
    adjacency = adjacency_of(Graph.from_networkx(theirs))
    degree = adjacency.sum(1)
    for tolerance in (1e-2, 1e-4, 1e-9):
        rows = pagerank_rows(adjacency, np.array([3, 25, 0]), tolerance).toarray()
        for u, row in zip((3, 25, 0), rows, strict=True):
            right = networkx.pagerank(theirs, 1 - RESTART, {u: 1}, tol=1e-14, max_iter=1000)
            short = np.array([right[v] for v in range(26)]) - row
            assert (short > -1e-9).all()
            assert (short <= tolerance * degree + 1e-9).all()


def test_the_embedding_is_a_factor_of_what_walks_meet(theirs):
    A = networkx.to_numpy_array(theirs, nodelist=range(26))
    degree = A.sum(1).clip(min=1)
    P = A / degree[:, None]
    met = sum(np.linalg.matrix_power(P, r) for r in range(1, WINDOW + 1)) / degree[None, :]
    M = np.log(np.maximum(1, A.sum() / WINDOW * met))
    values, vectors = np.linalg.eigh(M)
    kept = values > 0
    z = embed_nodes(adjacency_of(Graph.from_networkx(theirs)))
    right = (vectors[:, kept] * values[kept]) @ vectors[:, kept].T
    np.testing.assert_allclose(z @ z.T, right, atol=1e-9)
    few = embed_nodes(adjacency_of(Graph.from_networkx(theirs)), width=4)
    best = np.argsort(values)[-4:]
    right = (vectors[:, best] * values[best]) @ vectors[:, best].T
    np.testing.assert_allclose(few @ few.T, right, atol=1e-9)


def test_likeness_is_the_cosine_of_dense_and_of_sparse_features():
    x = torch.rand(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = x * (x > 0.5)
    x[5] = 0
    pairs = torch.tensor([[0, 1, 2, 5], [3, 4, 2, 0]])
    right = torch.cosine_similarity(x[pairs[0]], x[pairs[1]])
    torch.testing.assert_close(cosine(x, pairs), right, rtol=0, atol=1e-12)
    torch.testing.assert_close(cosine(x.to_sparse(), pairs), right, rtol=0, atol=1e-12)


def test_loops_weights_and_directions_do_not_count():
    plain = Graph([[0, 1, 1], [1, 2, 3]]).to_undirected()
    other = Graph([[0, 1, 3, 2, 1], [1, 2, 1, 2, 1]], [3.0, 0.5, 2.0, 7.0, 1.0])
    pairs = torch.tensor([[0, 0, 2], [2, 1, 3]])
    ours, right = measures_of(other), measures_of(plain)
    assert set(ours) == {*HEURISTICS, "embedding"}
    for name, measure in ours.items():
        assert measure(pairs).tolist() == right[name](pairs).tolist()


def test_features_have_a_measure_and_large_graphs_no_embedding(monkeypatch):
    monkeypatch.setattr(baselines, "LARGEST", 3)
    assert set(measures_of(Graph([[0], [4]]), torch.ones(5, 2))) == {*HEURISTICS, "features"}
