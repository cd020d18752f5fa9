"""Shares of classes: what is estimated of drawn nodes is what they were drawn by."""

import pytest
import torch

from plait.graph_data.labelled_graph import NodeSplit
from plait.tasks.nodes.mixture import calibrated, choose_mixture
from plait.tasks.nodes.shares import estimate_shares, reweighted, with_shares_of_graph

SHARES = torch.tensor([0.7, 0.2, 0.1]).double()
MEANS = torch.tensor([[0.0, 0.0], [2.5, 0.0], [0.0, 2.5]]).double()


def drawn(nodes: int = 20_000) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw labels by SHARES, and a point of each; its probabilities are for equal shares."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.multinomial(SHARES, nodes, replacement=True, generator=generator)
    noise = torch.randn(nodes, 2, dtype=torch.float64, generator=generator)
    points = MEANS[labels] + noise
    return labels, (-torch.cdist(points, MEANS).square() / 2).softmax(1)


def parts_of(labels: torch.Tensor) -> NodeSplit:
    """Split nodes into 20 and 600 of each class, and the others."""
    of = [(labels == k).nonzero()[:, 0] for k in range(3)]
    ends = (0, 20), (20, 620), (620, len(labels))
    return NodeSplit(*(torch.cat([nodes[a:b] for nodes in of]) for a, b in ends))


@pytest.mark.parametrize("power", [1.0, 0.5, 3.0])
def test_the_shares_are_those_of_the_nodes_however_sure_the_model_is(power):
    labels, p = drawn()
    _, valid, others = parts_of(labels)
    p = p**power / (p**power).sum(1, keepdim=True)
    found = estimate_shares(p, labels, valid, others, torch.full((3,), 1 / 3))
    assert found is not None
    assert (found - torch.bincount(labels[others]) / len(others)).abs().max() < 0.04


@pytest.mark.parametrize("seed", range(3))
def test_shares_that_differ_by_no_more_than_chance_stay_those_of_the_parts(seed):
    """A model that hardly knows the classes apart says little of their shares."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(2000) % 4
    p = (0.5 * torch.eye(4)[labels] + torch.randn(2000, 4, generator=generator)).softmax(1)
    found = estimate_shares(
        p, labels, torch.arange(120), torch.arange(120, 2000), torch.full((4,), 0.25)
    )
    assert found is None or (found - 0.25).abs().max() < 0.05


def test_reweighting_is_bayes_rule():
    likelihood = torch.tensor([[0.2, 0.6, 0.1]]).double()
    prior = torch.tensor([0.5, 0.3, 0.2]).double()

    def posterior(shares):
        return likelihood * shares / (likelihood * shares).sum()

    torch.testing.assert_close(reweighted(posterior(prior), SHARES / prior), posterior(SHARES))


def test_calibration_finds_the_power_that_probabilities_were_raised_to():
    labels, p = drawn()
    valid = torch.arange(4000)
    labels, p = labels[valid], p[valid]
    right = reweighted(p, SHARES * 3)
    for power in (0.5, 4.0):
        off = right**power / (right**power).sum(1, keepdim=True)
        assert (calibrated(off, labels, valid) - right).abs().max() < 0.02
    scores = right.log() / 8  # of a model whose softmax has to be sharper
    assert (calibrated(scores, labels, valid) - right).abs().max() < 0.02


def test_candidates_of_equal_parts_answer_for_the_shares_of_the_graph():
    labels, p = drawn()
    splits = parts_of(labels)
    both = {"network": p, "blunt": p.sqrt() / p.sqrt().sum(1, keepdim=True)}
    both = {name: calibrated(q, labels, splits.valid) for name, q in both.items()}
    found, counts = with_shares_of_graph(both, labels, splits)

    def right(z):
        return (z[splits.test].argmax(1) == labels[splits.test]).double().mean().item()

    assert counts is not None
    assert right(found["network"]) > right(p) + 0.03
    assert (found["blunt"] - found["network"]).abs().max() < 1e-6  # calibrated alike
    of_classes = torch.stack([counts[labels[splits.valid] == k].sum() for k in range(3)])
    among_test = torch.bincount(labels[splits.test]) / len(splits.test)
    assert (of_classes / of_classes.sum() - among_test).abs().max() < 0.04
    balanced = torch.arange(4000) % 3
    sure = {"network": torch.eye(3).double()[balanced] * 0.9 + 0.1 / 3}
    like = NodeSplit(torch.arange(60), torch.arange(60, 150), torch.arange(150, 4000))
    assert with_shares_of_graph(sure, balanced, like) == (sure, None)


def test_a_mixture_of_weighed_nodes_takes_the_likelier_label():
    a = torch.tensor([[0.9, 0.1], [0.6, 0.4]])
    b = torch.tensor([[0.4, 0.6], [0.1, 0.9]])
    labels, valid = torch.tensor([0, 1]), torch.arange(2)
    for counts, best in (([9.0, 1.0], "a"), ([1.0, 9.0], "b")):
        chosen = choose_mixture({"a": a, "b": b}, labels, valid, torch.tensor(counts))
        assert max(chosen, key=chosen.__getitem__) == best
