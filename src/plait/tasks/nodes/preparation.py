"""Features as a model reads them: marks of 0 and 1 by rows, numbers standardised, or as they are.

The validation nodes choose, by linear models of the features and of their averages over neighbours.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from plait.graph_data import LabelledGraph
from plait.graph_data.labelled_graph import NodeSplit
from plait.tasks.nodes.linear import average_features, ridge_scores

RARE = 0.5
"""Share of the nodes, at most, that a mark is on; its column's other nodes have the least value."""


def counts_and_numbers(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return features in which counts start at 0 and count by 1, and which columns are counts.

    A column counts (words, or the marks 0 and 1) if it has its least value for more than half of
    the nodes, and all others lie a whole number of equal steps above it, at most 1,000; so a
    column that was standardised counts again. Other columns stay as they are.

    >>> import torch
    >>> from plait.tasks.nodes.preparation import counts_and_numbers
    >>> x = torch.tensor([[-0.5, 0.3], [1.5, 2.0], [-0.5, 7.1]])
    >>> counts_and_numbers(x)
    (tensor([[0.0000, 0.3000],
            [1.0000, 2.0000],
            [0.0000, 7.1000]]), tensor([ True, False]))
    """
    above = x.double() - x.double().amin(0)
    step = above.masked_fill(above <= 0, torch.inf).amin(0)
    step = torch.where(step.isfinite(), step, 1.0)
    counted = (above / step).round()
    whole = ((above / step - counted).abs() <= 1e-3).all(0) & (counted <= 1000).all(0)
    counts = whole & ((above == 0).double().mean(0) > 1 - RARE)
    return torch.where(counts, counted, x.double()).to(x.dtype), counts


def as_read(x: Tensor) -> Tensor:
    """Return the features as they were read."""
    return x


def by_rows(x: Tensor) -> Tensor:
    """Divide the counts of every node by their sum, and standardise the other columns.

    >>> import torch
    >>> from plait.tasks.nodes.preparation import by_rows
    >>> by_rows(torch.tensor([[0.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 2.0]]))
    tensor([[0.0000, 0.5000, 0.5000, 0.0000],
            [1.0000, 0.0000, 0.0000, 0.0000],
            [0.0000, 0.0000, 0.0000, 1.0000]])
    """
    x, counts = counts_and_numbers(x)
    total = x[:, counts].sum(1, keepdim=True).clamp(min=1e-12)
    return torch.where(counts, x / total, standardised(x))


def standardised(x: Tensor) -> Tensor:
    """Standardise every column to mean 0 and variance 1; a constant one becomes 0."""
    wide = x.double()
    off, spread = wide - wide.mean(0), wide.std(0, correction=0)
    varies = wide.amax(0) > wide.amin(0)
    return torch.where(varies, off / torch.where(varies, spread, 1.0), 0.0).to(x.dtype)


PREPARATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "as-read": as_read,
    "rows": by_rows,
    "standardised": standardised,
}
"""The ways to prepare features, by the names of `--features`; of equals, the first is chosen."""


def choose_preparation(network: LabelledGraph, splits: NodeSplit) -> str:
    """Return the name of the preparation whose linear models label the validation nodes best.

    The models are ridge regressions on a node's own features and on those averaged twice over
    neighbours, each with its best penalty. Without validation nodes the features stay as read.
    """
    assert network.features is not None
    assert network.labels is not None
    if not len(splits.valid):
        return "as-read"
    labels, valid, classes = network.labels, splits.valid, len(network.classes)
    right = {}
    for name, prepare in PREPARATIONS.items():
        x = prepare(network.features)
        right[name] = sum(
            max(
                (z[valid].argmax(1) == labels[valid]).sum().item()
                for z in ridge_scores(
                    average_features(network.graph, x, hops), labels, splits.train, classes
                )
            )
            for hops in (0, 2)
        )
    return max(right, key=right.__getitem__)
