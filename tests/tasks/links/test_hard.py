"""Hard negatives, by networkx's heuristics."""

import networkx
import numpy as np
import torch

from plait.nn.graph import Graph
from plait.tasks.links import hard
from plait.tasks.links.hard import hard_pairs

THEIRS = networkx.les_miserables_graph()
THEIRS = networkx.convert_node_labels_to_integers(THEIRS)
WHOLE = Graph.from_networkx(THEIRS)
THERE = torch.tensor([[0, 11, 26, 40], [1, 23, 27, 41]])


def known_graph() -> networkx.Graph:
    """The graph without the connections that are sought."""
    graph = THEIRS.copy()
    graph.remove_edges_from([pair for pair in THERE.T.tolist() if graph.has_edge(*pair)])
    return graph


def found(x=None, there=THERE, seed=0):
    graph = Graph.from_networkx(known_graph())
    return hard_pairs(graph, x, WHOLE, there, np.random.default_rng(seed))


def test_hard_pairs_share_an_end_and_are_joined_nowhere():
    pairs = found()
    assert torch.equal(pairs.there, THERE)
    for (u, w), k in zip(pairs.others.T.tolist(), pairs.of.tolist(), strict=True):
        assert u in THERE[:, k].tolist()
        assert u != w
        assert not THEIRS.has_edge(u, w)
    for k, (u, v) in enumerate(THERE.T.tolist()):
        expected = sum(76 - THEIRS.degree[end] for end in (u, v))
        assert int((pairs.of == k).sum()) == expected


def test_those_that_heuristics_rank_first_are_chosen(monkeypatch):
    monkeypatch.setattr(hard, "PER_END", 6)
    x = torch.rand(77, 5, generator=torch.Generator().manual_seed(1))
    pairs, graph = found(x), known_graph()
    for k, end in ((0, 0), (0, 1), (1, 11), (3, 41)):
        others = [w for w in graph if w != end and not THEIRS.has_edge(end, w)]
        ranks = networkx.pagerank(graph, 0.85, {end: 1}, tol=1e-12, max_iter=1000, weight=None)
        shared = {w: p for _, w, p in networkx.resource_allocation_index(
            graph, [(end, w) for w in others])}  # fmt: skip
        alike = torch.cosine_similarity(x[[end]], x).tolist()
        low, high = dict.fromkeys(others, 77), dict.fromkeys(others, 77)  # ranks, by ties
        for score in (shared, ranks, alike):
            for w in others:
                if score[w] > 1e-9:
                    low[w] = min(low[w], sum(score[v] > score[w] for v in others))
                    high[w] = min(high[w], sum(score[v] >= score[w] for v in others) - 1)
        chosen = pairs.others[1, (pairs.of == k) & (pairs.others[0] == end)].tolist()
        assert len(chosen) == 6
        assert max(low[w] for w in chosen) <= sorted(high.values())[5]


def test_a_seed_is_a_choice_and_of_many_edges_some_are_drawn(monkeypatch):
    a, b = found(), found()
    assert all(torch.equal(one, other) for one, other in zip(a, b, strict=True))
    monkeypatch.setattr(hard, "CONNECTIONS", 2)
    few = found()
    assert few.there.shape == (2, 2)
    kept = {tuple(pair) for pair in THERE.T.tolist()}
    assert {tuple(pair) for pair in few.there.T.tolist()} < kept
    assert set(few.of.tolist()) == {0, 1}


def test_a_node_that_is_joined_with_all_has_no_hard_pairs():
    star = Graph([[0, 0, 0], [1, 2, 3]]).to_undirected()
    there = torch.tensor([[0], [1]])
    pairs = hard_pairs(star, None, star, there, np.random.default_rng(0))
    assert sorted(pairs.others.T.tolist()) == [[1, 2], [1, 3]]
