"""Who is joined to whom, for the nodes of a series: from a file, or from the series itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from plait.errors import InputError
from plait.networks import read_network
from plait.nn.graph import Graph
from plait.tables import Row, read_rows
from plait.tasks.forecast.series import listed, same_ids

LATITUDE, LONGITUDE = ("lat", "latitude"), ("lon", "lng", "long", "longitude")


class Joined(NamedTuple):
    """A graph over the nodes of a series, where it came from, and places if it has them."""

    graph: Graph
    source: str
    places: np.ndarray | None = None


def read_graph(path: Path, ids: Sequence[str], neighbours: int, directed: bool = False) -> Joined:
    r"""Read a graph over the nodes `ids`, in whichever of three forms it is written.

    - an edge list: columns source, target and, if there are weights, weight
      (see `plait.networks.read_network`);
    - places: a column id and coordinates (any number of columns; lat and lon are degrees on the
      Earth): each node is joined with its nearest `neighbours`, as `Graph.from_points` does;
    - an adjacency: a row of weights for each node, with the ids in the first line and the first
      column (row: source, column: target), or without any, in the order of the series.

    Every node of the series must be there, and no other. Where an edge and its reverse differ,
    both get the larger weight, unless `directed`.

    Raises
    ------
    InputError
        For what cannot be read, and for ids that are in one of the two alone.

    Example
    -------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from plait.tasks.forecast.graphs import read_graph
    >>> path = Path(tempfile.mkdtemp()) / "places.csv"
    >>> _ = path.write_text("id,x,y\nb,0,0\na,0,1\nc,5,5\n")
    >>> read_graph(path, ["a", "b", "c"], neighbours=1).graph.edge_index.tolist()
    [[1, 2, 0, 0], [0, 0, 1, 2]]
    """
    rows = read_rows(path)
    first = rows[0].cells if rows else []
    names = [name.lower() for name in first]
    if {"source", "target"} <= set(names):
        return _edges(path, ids, directed)
    if names[:1] == ["id"] and set(first[1:]) != set(ids):
        return _places(path, rows, ids, neighbours)
    return _adjacency(path, rows, ids, directed)


def correlated(values: np.ndarray, neighbours: int, threshold: float) -> Joined:
    """Join each node with those whose values go most with its own.

    The weight is Pearson's correlation over the steps at which both were measured, where it is
    above `threshold`; of these each node's largest `neighbours`, symmetrised by maximum.

    Parameters
    ----------
    values : float array `[T, N]`
        Of the training part alone.
    neighbours : int
    threshold : float, at least 0

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.forecast.graphs import correlated
    >>> a, b = np.random.default_rng(0).standard_normal((2, 100))
    >>> correlated(np.stack([a, b, a + 0.1 * b], 1), 1, 0.3).graph.edge_index.tolist()
    [[2, 0], [0, 2]]
    """
    weights = pd.DataFrame(values).corr(min_periods=2).fillna(0.0).to_numpy(copy=True)
    np.fill_diagonal(weights, 0.0)
    least = np.sort(weights, 1)[:, -min(neighbours, len(weights)), None]
    weights = np.where((weights > threshold) & (weights >= least), weights, 0.0)
    graph = Graph.from_adjacency(torch.from_numpy(weights).float()).to_undirected()
    return Joined(graph, f"correlation above {threshold:g}, nearest {neighbours}")


def _require_same(path: Path, found: Sequence[str], ids: Sequence[str]) -> None:
    missing, more = same_ids(ids, found)
    if more:
        raise InputError(
            f"{path} names {listed(more)}, which the series has no column for; take it out there, "
            "or add the column"
        )
    if missing:
        raise InputError(
            f"{path} does not name {listed(missing)}, which the series has; add it there, or take "
            "the column out"
        )


def _edges(path: Path, ids: Sequence[str], directed: bool) -> Joined:
    network = read_network(path, directed=directed)
    _require_same(path, network.ids, ids)
    number = {name: n for n, name in enumerate(ids)}
    place = torch.tensor([number[name] for name in network.ids])
    graph = network.graph
    return Joined(Graph(place[graph.edge_index], graph.edge_weight, len(ids)), str(path))


def _places(path: Path, rows: list[Row], ids: Sequence[str], neighbours: int) -> Joined:
    found = [row.cells[0] for row in rows[1:]]
    twice = next((i for i in found if found.count(i) > 1), None)
    if twice is not None:
        raise InputError(f"{path}: node {twice!r} stands there twice")
    _require_same(path, found, ids)
    table = _numbers(path, rows[1:], 1, len(rows[0].cells))
    xy = table[[found.index(i) for i in ids]]
    names = [name.lower() for name in rows[0].cells[1:]]
    north = [k for k, name in enumerate(names) if name in LATITUDE]
    east = [k for k, name in enumerate(names) if name in LONGITUDE]
    if neighbours >= len(ids):
        raise InputError(f"--neighbours {neighbours} must be less than the {len(ids)} nodes")
    if north and east:
        xy = xy[:, [east[0], north[0]]]
        lon, lat = np.radians(xy).T
        earth = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], 1)
        return Joined(Graph.from_points(earth, neighbours), str(path), xy)
    return Joined(Graph.from_points(xy, neighbours), str(path), xy[:, :2])


def _adjacency(path: Path, rows: list[Row], ids: Sequence[str], directed: bool) -> Joined:
    first = rows[0].cells if rows else []
    if first and not _is_number(first[0]):
        _require_same(path, first[1:], ids)
        sources = [row.cells[0] for row in rows[1:]]
        _require_same(path, sources, ids)
        table = _numbers(path, rows[1:], 1, len(first))
        across = [first[1:].index(i) for i in ids]
        down = [sources.index(i) for i in ids]
        W = table[down][:, across]
    else:
        W = _numbers(path, rows, 0, len(first))
        if W.shape != (len(ids), len(ids)):
            raise InputError(
                f"{path} has {len(rows)} rows and {len(first)} columns, and the series {len(ids)} "
                "nodes; an adjacency has a row and a column for each"
            )
    graph = Graph.from_adjacency(torch.from_numpy(W).float())
    return Joined(graph if directed else graph.to_undirected(), str(path))


def _numbers(path: Path, rows: list[Row], begin: int, end: int) -> np.ndarray:
    """Give the cells of these columns as numbers."""
    table = np.empty((len(rows), end - begin))
    for k, (line, cells) in enumerate(rows):
        if len(cells) != end:
            raise InputError(f"{path}, line {line}: the line before has more or fewer columns")
        for n, cell in enumerate(cells[begin:]):
            if not _is_number(cell):
                raise InputError(f"{path}, line {line}: {cell!r} is no finite number")
            table[k, n] = float(cell)
    return table


def _is_number(cell: str) -> bool:
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False
