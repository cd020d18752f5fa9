"""How features are prepared: counts by rows, numbers standardised, chosen on validation."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from plait.graph_data import LabelledGraph
from plait.graph_data.labelled_graph import NodeSplit
from plait.nn.graph import Graph
from plait.tasks.nodes.preparation import (
    PREPARATIONS,
    by_rows,
    choose_preparation,
    counts_and_numbers,
    standardised,
)


def test_standardised_marks_and_counts_are_found_again():
    rng = np.random.default_rng(0)
    words = torch.tensor(rng.poisson(0.2, (50, 8)).astype(np.float32))
    heights = torch.tensor(rng.normal(170, 10, (50, 2)).astype(np.float32))
    found, counts = counts_and_numbers(standardised(torch.cat([words, heights], 1)))
    assert counts.tolist() == [True] * 8 + [False] * 2
    assert torch.equal(found[:, :8], words)


def test_rows_sum_to_one_and_stay_sparse():
    words = (torch.rand(40, 12, generator=torch.Generator().manual_seed(1)) < 0.2).float()
    x = by_rows(standardised(words))
    assert torch.equal(x != 0, words != 0)
    total = x.sum(1)
    torch.testing.assert_close(total[words.any(1)], torch.ones(int(words.any(1).sum())))


def test_numbers_are_standardised_and_constant_columns_are_zero():
    x = torch.tensor([[1.0, 5.0, 3.3], [2.5, 5.0, 1.1], [7.1, 5.0, 9.4]])
    z = by_rows(x)
    torch.testing.assert_close(z.mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    assert z[:, 1].eq(0).all()
    torch.testing.assert_close(z[:, 0].std(correction=0), torch.tensor(1.0))


def graph_of(features: torch.Tensor, labels: torch.Tensor) -> tuple[LabelledGraph, NodeSplit]:
    n = len(labels)
    network = LabelledGraph(
        "made", "made", tuple(map(str, range(n))), Graph([], num_nodes=n), features, labels,
        ("a", "b"),
    )  # fmt: skip
    order = torch.randperm(n, generator=torch.Generator().manual_seed(3))
    return network, NodeSplit(*order.split([n // 3, n // 3, n - 2 * (n // 3)]))


def test_validation_chooses_what_is_known_to_be_best():
    """A signal in a column of small numbers, next to one of large noise, wants standardising."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 2
    signal = 1e-4 * (labels + 0.1 * torch.randn(90, generator=rng))
    noise = 1e3 * torch.randn(90, 30, generator=rng)
    network, splits = graph_of(torch.cat([signal[:, None], noise], 1).float(), labels)
    assert choose_preparation(network, splits) in ("rows", "standardised")
    no_validation = replace(network), splits._replace(valid=splits.valid[:0])
    assert choose_preparation(*no_validation) == "as-read"


def test_test_labels_and_their_features_decide_nothing():
    labels = torch.arange(60) % 2
    x = torch.rand(60, 4, generator=torch.Generator().manual_seed(2))
    network, splits = graph_of(x, labels)
    other = labels.clone()
    other[splits.test] = 1 - other[splits.test]
    assert choose_preparation(network, splits) == choose_preparation(
        replace(network, labels=other), splits
    )


@pytest.mark.parametrize("name", PREPARATIONS)
def test_preparations_keep_shape_and_type(name):
    x = torch.tensor([[0.0, 1.5], [1.0, 2.5], [0.0, 9.0]])
    y = PREPARATIONS[name](x)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    assert y.isfinite().all()
