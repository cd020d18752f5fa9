"""Why two nodes should be joined: what changes where a path or a shared feature is taken away."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from plait.errors import InputError
from plait.figures import COLOURS
from plait.nn.graph import Graph
from plait.tasks.links.baselines import adjacency_of
from plait.tasks.links.judge import Judge
from plait.tasks.links.task import LinksTask
from plait.tasks.nodes.data import feature_name
from plait.tasks.reasons_figure import BARS, draw_reasons

MEASURED = 20
"""Paths, and features, that are taken away in turn, at most."""

COLUMNS = ("node", "suggestion", "score", "reason", "through", "edges", "change")
STEP = " – "
"""What stands between the ids of a path."""


def explain_link(task: LinksTask, judge: Judge, u: int, v: int, top: int) -> pd.DataFrame:
    """Take paths between two nodes, and features that both have, away, and measure the score.

    A path has two or three edges, all of which are taken away; so paths that share an edge share
    its effect. The 20 paths are measured whose inner nodes have the least product of degrees, and
    the 20 features whose product of both values is largest. An edge between the two themselves is
    taken away before. Network and heuristics are computed anew each time, nothing is trained.

    Returns
    -------
    DataFrame
        A row for each of the `top` reasons that change the score most, and before them one for all
        paths together: `node`, `suggestion` and `score`; `reason` (path, feature or all paths),
        `through` (the ids between the two, or a feature's name or number from 1), `edges` (of a
        path), `change` (of the score without it; below 0: it supports an edge).

    Raises
    ------
    InputError
        Where there is neither a path nor a feature that both have.
    """
    ids = task.network.ids
    judge = as_if_apart(judge, u, v)
    graph, pair = judge.graph, torch.tensor([[u], [v]])

    def score(one: Judge) -> float:
        return one.logits(pair).sigmoid().item()

    before = score(judge)
    found = paths(graph, u, v)[:MEASURED]
    rows: list[tuple[str, str, int, float]] = []
    for inner in found:
        after = score(judge.over(without_edges(graph, edges_of(u, inner, v))))
        rows.append(("path", STEP.join(ids[w] for w in inner), len(inner) + 1, after - before))
    for k in shared_features(task.x, u, v)[:MEASURED]:
        after = score(judge.over(graph, without_feature(task.x, (u, v), k)))
        rows.append(("feature", feature_name(task.network, k), 0, after - before))
    if not rows:
        raise InputError(
            f"there is nothing to take away between {ids[u]!r} and {ids[v]!r}: no path of up to "
            f"three edges, and no feature that both have; the score is {before:.3f}; ask for "
            "another pair"
        )
    rows = sorted(rows, key=lambda row: -abs(row[-1]))[:top]
    if len(found) > 1:
        every = [edge for inner in found for edge in edges_of(u, inner, v)]
        after = score(judge.over(without_edges(graph, every)))
        rows.insert(0, ("all paths", f"{len(found)} paths", 0, after - before))
    return pd.DataFrame([(ids[u], ids[v], before, *row) for row in rows], columns=pd.Index(COLUMNS))


def as_if_apart(judge: Judge, u: int, v: int) -> Judge:
    """Return a judge that does not know an edge between two nodes."""
    graph = without_edges(judge.graph, [(u, v)])
    return judge if graph.num_edges == judge.graph.num_edges else judge.over(graph)


def paths(graph: Graph, u: int, v: int) -> list[tuple[int, ...]]:
    """Return the inner nodes of paths of two and three edges, those of the least degrees first.

    >>> from plait import Graph
    >>> from plait.tasks.links.reasons import paths
    >>> square = Graph.from_edges([(0, 1), (1, 2), (2, 3), (3, 0), (3, 4), (4, 2)])
    >>> paths(square.to_undirected(), 0, 2)
    [(1,), (3,), (3, 4)]
    """
    adjacency: Any = adjacency_of(graph)
    degree = np.diff(adjacency.indptr)
    of_u, of_v = adjacency[[u]].indices, adjacency[[v]].indices
    found: list[tuple[int, ...]] = [(int(w),) for w in np.intersect1d(of_u, of_v)]
    ends = np.setdiff1d(of_v, [u])
    for a in np.setdiff1d(of_u, [v]):
        found += [(int(a), int(b)) for b in np.intersect1d(adjacency[[a]].indices, ends)]
    return sorted(found, key=lambda inner: (float(np.prod(degree[list(inner)])), inner))


def edges_of(u: int, inner: Sequence[int], v: int) -> list[tuple[int, int]]:
    """Return the edges of the path from u to v through inner nodes."""
    return list(pairwise([u, *inner, v]))


def without_edges(graph: Graph, edges: Sequence[tuple[int, int]]) -> Graph:
    """Return a graph without some edges, in both directions."""
    N = graph.num_nodes
    gone = torch.tensor([number for a, b in edges for number in (a * N + b, b * N + a)])
    kept = ~torch.isin(graph.edge_index[0] * N + graph.edge_index[1], gone)
    return Graph(graph.edge_index[:, kept], graph.edge_weight[kept], N)


def shared_features(x: Tensor | None, u: int, v: int) -> list[int]:
    """Return the features that neither has as 0, the largest product of both first."""
    if x is None:
        return []
    a, b = x.index_select(0, torch.tensor([u, v], device=x.device)).to_dense().cpu()
    product = (a * b).abs()
    order = product.argsort(descending=True, stable=True)
    return order[product[order] > 0].tolist()


def without_feature(x: Tensor | None, nodes: Sequence[int], feature: int) -> Tensor:
    """Return features in which some nodes have 0 for one."""
    assert x is not None
    if not x.is_sparse:
        other = x.clone()
        other[list(nodes), feature] = 0
        return other
    x = x.coalesce()
    row, column = x.indices()
    gone = torch.isin(row, torch.tensor(nodes, device=row.device)) & (column == feature)
    values = torch.where(gone, 0.0, x.values())
    return torch.sparse_coo_tensor(x.indices(), values, x.shape, is_coalesced=True)


def draw_link_reasons(task: LinksTask, table: pd.DataFrame, path: Path) -> None:
    """Draw a table of `explain_link`: the paths in it, and its bars."""
    first, together = table.iloc[0], table["reason"] == "all paths"
    shown = table[~together].iloc[:BARS]
    ends = [first["node"], first["suggestion"]]
    edges = [edge for inner in _inner(shown) for edge in pairwise([ends[0], *inner, ends[1]])]
    rest: Any = table[together]
    without = "".join(
        f", without {through} {score + change:.1%}"
        for through, score, change in zip(rest.through, rest.score, rest.change, strict=True)
    )
    inside = {name for edge in edges for name in edge} - {*ends}
    draw_reasons(
        path,
        title=f"why {ends[0]} and {ends[1]} ({first['score']:.1%}{without})",
        edges=edges,
        asked=ends,
        colours=dict.fromkeys(ends, COLOURS[1]) | dict.fromkeys(sorted(inside), COLOURS[0]),
        legend={},
        bars=[(f"{row.reason} {row.through}", float(row.change)) for row in shown.itertuples()],
        effect="the score",
    )


def _inner(table: pd.DataFrame) -> Iterator[list[str]]:
    for through in table["through"][table["reason"] == "path"]:
        yield through.split(STEP)
