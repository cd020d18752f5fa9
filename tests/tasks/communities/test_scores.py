"""Modularity and agreement against networkx and scikit-learn; numbering and matching."""

import networkx
import numpy as np
import pytest
import torch

from plait.nn.graph import Graph
from plait.tasks.communities.baselines import k_means, louvain
from plait.tasks.communities.figure import matched
from plait.tasks.communities.scores import by_size, modularity, score_communities
from plait.tasks.links.splits import connections

CLUB = networkx.karate_club_graph()
PAIRS, WEIGHTS = connections(Graph.from_networkx(CLUB))


@pytest.mark.parametrize("kinds", [1, 2, 5, 34])
def test_modularity_is_networkx_s_with_weights(kinds):
    community = np.random.default_rng(0).permutation(34) % kinds
    groups = [set(np.flatnonzero(community == k).tolist()) for k in range(kinds)]
    expected = networkx.community.modularity(CLUB, groups)
    assert modularity(PAIRS, WEIGHTS, community) == pytest.approx(expected, abs=1e-12)


def test_louvain_is_networkx_s_and_leaves_out_negative_weights():
    found = louvain(PAIRS, WEIGHTS, 34, 3)
    assert found is not None
    expected = networkx.community.louvain_communities(CLUB, seed=3)
    assert {frozenset(np.flatnonzero(found == k).tolist()) for k in np.unique(found)} == {
        frozenset(group) for group in expected
    }
    signed = louvain(torch.tensor([[0, 1], [1, 2]]), torch.tensor([1.0, -1.0]), 3, 0)
    assert signed is not None
    assert (signed[0] == signed[1], signed[1] == signed[2]) == (True, False)


def test_agreement_is_of_the_nodes_with_a_label():
    labels = torch.tensor([0, 0, 1, 1, -1, 2])
    pairs, weights = torch.tensor([[0, 2], [1, 3]]), torch.ones(2)
    right = np.array([4, 4, 0, 0, 0, 9])
    scores = score_communities(pairs, weights, right, labels)
    assert scores == {
        "modularity": 0.5, "communities": 3, "ari": 1.0, "nmi": pytest.approx(1.0)
    }  # fmt: skip
    half = score_communities(pairs, weights, np.array([0, 1, 1, 0, 0, 2]), labels)
    # pairs of the five: none together in both, 2 and 2 in one: (0 − 0.4) / (2 − 0.4)
    assert half["ari"] == pytest.approx(-0.25)
    assert set(score_communities(pairs, weights, right, None)) == {"modularity", "communities"}


def test_k_means_finds_directions_and_no_more_clusters_than_rows():
    x = torch.tensor([[1.0, 0.0], [5.0, 0.1], [0.0, 2.0], [0.1, 9.0]])
    found = k_means(x, 2, 0)
    assert (found[0], found[2]) == (found[1], found[3])
    assert found[0] != found[2]
    assert (k_means(x.to_sparse(), 2, 0) == found).all()
    assert len(np.unique(k_means(torch.ones(4, 2), 3, 0))) == 1


def test_numbers_go_by_size_and_by_what_is_in_common():
    assert by_size(np.array([3, 3, 0, 0, 0, 8])).tolist() == [1, 1, 0, 0, 0, 2]
    right = np.array([0, 0, 0, 1, 1, 2])
    assert matched(np.array([2, 2, 1, 0, 0, 1]), right).tolist() == [0, 0, 2, 1, 1, 2]
    more = matched(np.array([0, 0, 1, 2, 3, -1]), right)
    assert (more[0], more[5], len(np.unique(more))) == (0, -1, 5)
