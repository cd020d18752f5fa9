"""Why a node gets its label: what changes where a neighbour or a feature is taken away."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse
import torch
from scipy.sparse import csgraph
from torch import Tensor

from plait.errors import InputError
from plait.nn.graph import Graph
from plait.nn.sums import RGCN
from plait.tasks.nodes.data import feature_name
from plait.tasks.nodes.figure import CLASS_COLOURS
from plait.tasks.nodes.model import NodesModel
from plait.tasks.nodes.task import NodesTask
from plait.tasks.reasons_figure import BARS, draw_reasons

CANDIDATES = 500
"""Neighbours, and features, that are taken away in turn, at most."""

NODES_PER_BATCH = 2**17
"""Nodes of all copies of the graph around a node that are computed at once."""

ENTRIES = 2**24
"""Features of all copies that are computed at once."""

COLUMNS = ("node", "label", "probability", "reason", "name", "hops", "change", "label_without")


class Surroundings(NamedTuple):
    """The part of a graph that the output of a node depends on.

    `nodes` are the whole graph's numbers, `hops` how far each is from the node, whatever the
    direction of the edges, and `graph` has all edges among them. The node itself comes first.
    """

    nodes: Tensor
    hops: np.ndarray
    graph: Graph


def explain_node(task: NodesTask, node: int, top: int) -> pd.DataFrame:
    """Take neighbours and features of a node away, one at a time, and measure its answer.

    Neighbours are all nodes from which the layers reach the node; one that is taken away has no
    edges. A feature that is taken away is 0 as the layers read it: the mean of a standardised
    number, no mark of a kind of text, no such word. The model is not trained anew.

    Returns
    -------
    DataFrame
        A row for each of the `top` reasons that change the answer most: `node`, `label` and
        `probability` (the answer); `reason` (neighbour or feature), `name` (an id, or a feature's
        name or number from 1), `hops` (of a neighbour, else 0), `change` (of the probability of
        that label without it; below 0: it supports the label), `label_without` (the answer
        then).

    Raises
    ------
    InputError
        For a node without neighbours and features.
    """
    model, ids, classes = task.model, task.network.ids, task.network.classes
    around = surroundings(task.graph, node, reach_of(model) + 1)
    answer = next(_without_neighbours(task, around, [-1]))
    label = int(answer.argmax())
    near = np.flatnonzero((around.hops > 0) & (around.hops <= reach_of(model)))
    near = near[np.argsort(around.hops[near], kind="stable")][:CANDIDATES]
    rows = [
        ("neighbour", ids[int(around.nodes[k])], int(around.hops[k]), p)
        for k, p in zip(near, _without_neighbours(task, around, near), strict=True)
    ]
    if task.x is not None:
        own = task.x.index_select(0, torch.tensor([node], device=task.x.device)).to_dense()[0]
        kept = own.cpu().abs().argsort(descending=True, stable=True)[:CANDIDATES]
        kept = kept[own.cpu()[kept] != 0].numpy()
        found = _without_features(task, around, kept)
        rows += [
            ("feature", feature_name(task.network, k), 0, p)
            for k, p in zip(kept, found, strict=True)
        ]
    if not rows:
        raise InputError(
            f"there is nothing to take away from {ids[node]!r}: no neighbour that the layers read, "
            "and no feature that is not 0; ask for another node"
        )
    table = pd.DataFrame(
        [
            (ids[node], classes[label], answer[label].item(), reason, name, hops,
             (p[label] - answer[label]).item(), classes[int(p.argmax())])
            for reason, name, hops, p in rows
        ],
        columns=pd.Index(COLUMNS),
    )  # fmt: skip
    order = np.argsort(-table["change"].abs().to_numpy(), kind="stable")[:top]
    return table.iloc[order].reset_index(drop=True)


def surroundings(graph: Graph, node: int, hops: int) -> Surroundings:
    """Return the part of a graph up to so many hops from a node, and the edges in it."""
    source, target = graph.edge_index.cpu().numpy()
    N = graph.num_nodes
    links = scipy.sparse.csr_array((np.ones(len(source)), (source, target)), (N, N))
    far = csgraph.dijkstra(links, directed=False, indices=node, unweighted=True, limit=hops)
    found = np.flatnonzero(np.isfinite(far))
    found = found[np.argsort(far[found], kind="stable")]
    place = np.full(N, -1)
    place[found] = np.arange(len(found))
    places = torch.from_numpy(place)

    def part(whole: Graph) -> Graph:
        index = places[whole.edge_index]
        inside = (index >= 0).all(0)
        features = None if whole.edge_features is None else whole.edge_features[inside]
        return Graph(index[:, inside], whole.edge_weight[inside], len(found), features)

    return Surroundings(torch.from_numpy(found), far[found], graph.to("cpu").each(part))


def reach_of(model: NodesModel) -> int:
    """Return the hops from which a model's outputs come."""
    operators = [layer.operator for layer in model.layers]
    return sum(
        getattr(one, "reach", getattr(one, "k", int(isinstance(one, RGCN)))) for one in operators
    )


def draw_node_reasons(task: NodesTask, table: pd.DataFrame, path: Path) -> None:
    """Draw a table of `explain_node`: the neighbours in it, how they are joined, and bars."""
    first, shown = table.iloc[0], table.iloc[:BARS]
    mixed = "network_label" in table
    said, sure = (first["network_" * mixed + name] for name in ("label", "probability"))
    who = f"the network takes {first['node']} for" if mixed else f"{first['node']} is"
    node = task.network.ids.index(first["node"])
    around = surroundings(task.graph, node, reach_of(task.model))
    names = [task.network.ids[int(k)] for k in around.nodes]
    pairs = {(min(a, b), max(a, b)) for a, b in around.graph.edge_index.T.tolist() if a != b}
    far = {k for k, name in enumerate(names[1:], 1)
           if name in set(shown["name"][shown["reason"] == "neighbour"])}  # fmt: skip
    joined = {b for a, b in pairs if a == 0}
    between = {  # nodes between the node and one that is two hops away
        k for k in joined
        if any((min(k, other), max(k, other)) in pairs for other in far - joined)
    }  # fmt: skip
    members = sorted({0, *far, *between})
    labels = task.logits(around.nodes[members]).argmax(1).tolist()
    looks = {of: CLASS_COLOURS[of % len(CLASS_COLOURS)] for of in sorted(set(labels))}
    draw_reasons(
        path,
        title=f"why {who} {said} ({sure:.1%})",
        edges=[(names[a], names[b]) for a, b in pairs if a in members and b in members],
        asked=[first["node"]],
        colours={names[k]: looks[of] for k, of in zip(members, labels, strict=True)},
        legend={task.network.classes[of]: colour for of, colour in looks.items()},
        bars=[(f"{reason} {name}", float(change)) for reason, name, change in zip(
            shown["reason"], shown["name"], shown["change"], strict=True)],
        effect=f"{'its' if mixed else 'the'} probability of {said}",
    )  # fmt: skip


def _without_neighbours(
    task: NodesTask, around: Surroundings, removed: Sequence[int] | np.ndarray
) -> Iterator[Tensor]:
    """Yield the probabilities of the node without each of some nodes; −1: with all."""
    n = len(around.nodes)
    for some in _parts(removed, max(1, NODES_PER_BATCH // n)):
        copies = [
            around.graph.select_edges(lambda g, gone=gone: (g.edge_index != gone).all(0))
            for gone in some
        ]
        graph = Graph.join(copies).to(task.device)
        logits = task.model(task.x, graph, around.nodes.repeat(len(some)))[::n]
        yield from logits.double().softmax(-1).cpu()


def _without_features(
    task: NodesTask, around: Surroundings, removed: np.ndarray
) -> Iterator[Tensor]:
    """Yield the probabilities of the node with each of some features of it set to 0."""
    assert task.x is not None
    x = task.x.index_select(0, around.nodes.to(task.x.device)).to_dense()
    n, F = x.shape
    for some in _parts(removed, max(1, min(NODES_PER_BATCH // n, ENTRIES // (n * F)))):
        rows = x.repeat(len(some), 1, 1)  # [B, n, F]
        rows[torch.arange(len(some)), 0, torch.as_tensor(some)] = 0
        graph = Graph.join([around.graph] * len(some)).to(task.device)
        logits = task.model(rows.flatten(0, 1), graph)[::n]
        yield from logits.double().softmax(-1).cpu()


def _parts(values: Sequence[int] | np.ndarray, size: int) -> Iterator[np.ndarray]:
    values = np.asarray(values)
    yield from (values[k : k + size] for k in range(0, len(values), size))
