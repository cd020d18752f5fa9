"""Features as a model reads them: marks of 0 and 1 by rows, numbers standardised, or as they are.

The validation nodes choose, by linear models of the features and of their averages over neighbours.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from plait.graph_data import LabelledGraph
from plait.graph_data.labelled_graph import NodeSplit
from plait.tasks.nodes.linear import averages, ridge_scores
from plait.tasks.nodes.spreading import spread_labels
from plait.tasks.nodes.structure import structural_features

RARE = 0.5
"""Share of the nodes, at most, that a mark is on; its column's other nodes have the least value."""

ENOUGH = 2000
"""Training nodes, at most, that linear models are fitted to in order to choose."""


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
    found = x.clone()
    counts = torch.zeros(x.shape[1], dtype=torch.bool)
    for k, column in enumerate(x.double().unbind(1)):
        above = column - column.min()
        if (above == 0).double().mean() <= 1 - RARE or not above.any():
            continue
        steps = above / above[above > 0].min()
        counted = steps.round()
        if counted.max() <= 1000 and (steps - counted).abs().max() <= 1e-3:
            found[:, k], counts[k] = counted, True
    return found, counts


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


FEATURES_AS = {
    "as-read": "as they were read",
    "rows": "counts divided by each node's sum",
    "standardised": "every column standardised",
    "structure": "degrees and positions in the graph",
}
"""What a summary says of the preparations."""


def choose_preparation(network: LabelledGraph, splits: NodeSplit) -> str:
    """Return the name of the preparation whose linear models label the validation nodes best.

    The models are ridge regressions on a node's own features and on those averaged twice over
    neighbours, each with its best penalty, fitted to `ENOUGH` training nodes at most. Without
    validation nodes the features stay as read.
    """
    assert network.features is not None
    assert network.labels is not None
    if not len(splits.valid):
        return "as-read"
    right = {}
    for name, prepare in PREPARATIONS.items():
        right[name] = sum(_right_by_hops(network, splits, prepare(network.features)))
    return max(right, key=right.__getitem__)


def choose_structure(network: LabelledGraph, splits: NodeSplit) -> str:
    """Return "structure" where degrees and positions label nodes best, else "as-read".

    It is for a graph without features. On the validation nodes, linear models of
    `structural_features` and of their averages are compared with spread labels, which stand for
    vectors of the nodes that are learnt.
    """
    assert network.labels is not None
    if not len(splits.valid):
        return "as-read"
    labels, valid, classes = network.labels, splits.valid, len(network.classes)
    spread = spread_labels(network.graph, labels, splits.train, classes)
    by_spreading = _right(spread, labels, valid)
    by_structure = max(_right_by_hops(network, splits, structural_features(network.graph)))
    return "structure" if by_structure > by_spreading else "as-read"


def _right_by_hops(network: LabelledGraph, splits: NodeSplit, x: Tensor) -> list[int]:
    """Count the validation nodes right by linear models of features, and of averaged ones."""
    assert network.labels is not None
    labels, classes = network.labels, len(network.classes)
    train = splits.train[:: max(1, -(-len(splits.train) // ENOUGH))]
    return [
        max(_right(z, labels, splits.valid) for z in ridge_scores(averaged, labels, train, classes))
        for hops, averaged in enumerate(averages(network.graph, x, 2))
        if hops != 1
    ]


def _right(scores: Tensor, labels: Tensor, nodes: Tensor) -> int:
    return int((scores[nodes].argmax(1) == labels[nodes]).sum())
