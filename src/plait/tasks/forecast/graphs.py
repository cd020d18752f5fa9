"""The graph over the nodes of a series: from a file, or from the series itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from plait.columns import read_numbers, refuse_large
from plait.errors import InputError
from plait.graph_data import read_labelled_graph
from plait.graph_data.edges import COMMENTS
from plait.nn.graph import Graph
from plait.tables import Cells, Row, cells_of, read_rows
from plait.tasks.forecast.series import listed, same_ids

LATITUDE, LONGITUDE = ("lat", "latitude"), ("lon", "lng", "long", "longitude")


class Joined(NamedTuple):
    """A graph over the nodes of a series, where it came from, and places if it has them."""

    graph: Graph
    source: str
    places: np.ndarray | None = None


def read_graph(
    path: Path,
    ids: Sequence[str],
    neighbours: int,
    directed: bool = False,
    columns: Mapping[str, str] = MappingProxyType({}),
    encoding: str = "utf-8",
) -> Joined:
    r"""Read a graph over the nodes `ids`, in whichever of three forms it is written.

    - an edge list: columns source, target and, if there are weights, weight
      (see `plait.graph_data.read_labelled_graph`);
    - places: a column id and coordinates (any number of columns; lat and lon are degrees on the
      Earth): each node is joined with its nearest `neighbours`, as `Graph.from_points` does;
    - an adjacency: a row of weights for each node, with the ids in the first line and the first
      column (row: source, column: target), or without any, in the order of the series.

    Lines at the top that begin with # or % are passed over; `columns` names the columns of an edge
    list, as `source`, `target` and `weight`. Every node of the series must be there, and no other.
    Where an edge and its reverse differ,
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
    rows = read_rows(path, comments=COMMENTS, encoding=encoding)
    first = rows[0].cells if rows else []
    names = [name.lower() for name in first]
    if any(columns.values()) or {"source", "target"} <= set(names):
        return _edges(path, ids, directed, {**columns, "encoding": encoding})
    if "id" in names[:2] and set(first[1:]) != set(ids):
        return _places(path, rows, ids, neighbours)
    pairs = len(first) in (2, 3) and len(first) not in (len(ids), len(ids) + 1)
    if first and not _is_number(first[0]) and (pairs or not set(first[1:]) & set(ids)):
        said = ", ".join(first[:5]) + ", …" * (len(first) > 5)
        raise InputError(
            f"{path}: its first line, {said}, is not that of edges (source, target), of places "
            "(id, lat, lon) or of an adjacency (the nodes of the series); say which columns edges "
            "have with --source and --target"
        )
    return _adjacency(path, rows, ids, directed)


def correlated(values: np.ndarray, neighbours: int, threshold: float) -> Joined:
    """Join each node with those whose values go most with its own.

    The weight is Pearson's correlation over the steps at which both were measured, where it is
    above `threshold`; of these each node's largest `neighbours`, symmetrised by maximum.

    Parameters
    ----------
    values : float array `[T, N]`
        Of the training set alone.
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


def _edges(path: Path, ids: Sequence[str], directed: bool, columns: Mapping[str, str]) -> Joined:
    network = read_labelled_graph(path, directed=directed, **columns)
    _require_same(path, network.ids, ids)
    number = {name: n for n, name in enumerate(ids)}
    place = torch.tensor([number[name] for name in network.ids])
    graph = Graph(place[network.graph.edge_index], network.graph.edge_weight, len(ids))
    return Joined(graph, "; ".join((str(path), network.columns, *network.notes)))


def _places(path: Path, rows: list[Row], ids: Sequence[str], neighbours: int) -> Joined:
    cells = cells_of(path, rows[0], rows[1:])
    of_ids = cells.column("id")
    assert of_ids is not None
    found = cells.texts[:, of_ids].tolist()
    place = {name: row for row, name in enumerate(found)}
    if len(place) < len(found):
        twice = next(name for row, name in enumerate(found) if place[name] != row)
        raise InputError(f"{path}: node {twice!r} occurs twice")
    _require_same(path, found, ids)
    names = [name.lower() for name in cells.names]
    north = next((k for k, name in enumerate(names) if name in LATITUDE), None)
    east = next((k for k, name in enumerate(names) if name in LONGITUDE), None)
    on_earth = north is not None and east is not None
    counters = [] if on_earth else cells.counters()
    kept = [k for k in range(len(names)) if k != of_ids and k not in counters]
    if north is not None and east is not None:
        kept = [east, north]
    if not kept:
        raise InputError(f"{path} has no coordinates next to the id; give lat and lon, or x and y")
    if neighbours >= len(ids):
        raise InputError(f"--neighbours {neighbours} must be less than the {len(ids)} nodes")
    numbers = _numbers(cells.keep(slice(None), kept))
    if on_earth:
        _refuse_beyond(cells, kept, numbers)
    xy = numbers[[place[name] for name in ids]]
    source = f"{path}: places by {' and '.join(repr(cells.names[k]) for k in sorted(kept))}"
    others = [repr(n) for k, n in enumerate(cells.names) if k != of_ids and k not in kept and n]
    source += f", passed over: {', '.join(others)}" if others else ""
    if not on_earth:
        return Joined(Graph.from_points(xy, neighbours), source, xy[:, :2])
    lon, lat = np.radians(xy).T
    earth = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], 1)
    return Joined(Graph.from_points(earth, neighbours), source, xy)


def _refuse_beyond(cells: Cells, kept: Sequence[int], degrees: np.ndarray) -> None:
    """Refuse longitudes beyond ±180 degrees and latitudes beyond ±90."""
    swapped = bool((np.abs(degrees[:, 1]) > 90).any() and (np.abs(degrees[:, 0]) <= 90).all())
    hint = "are latitude and longitude swapped?" if swapped else "give degrees"
    for row, k in np.argwhere(np.abs(degrees) > (180, 90))[:1].tolist():
        raise InputError(
            f"{cells.at(row)}, column {cells.names[kept[k]]!r}: {degrees[row, k]:g} is beyond "
            f"±{(180, 90)[k]} degrees; {hint}"
        )


def _adjacency(path: Path, rows: list[Row], ids: Sequence[str], directed: bool) -> Joined:
    first = rows[0].cells if rows else []
    if first and not _is_number(first[0]):
        _require_same(path, first[1:], ids)
        sources = [row.cells[0] for row in rows[1:]]
        _require_same(path, sources, ids)
        table = _numbers(_square(path, rows[1:], first).keep(slice(None), range(1, len(first))))
        across = {name: k for k, name in enumerate(first[1:])}
        down = {name: k for k, name in enumerate(sources)}
        W = table[[down[i] for i in ids]][:, [across[i] for i in ids]]
    else:
        W = _numbers(_square(path, rows, [str(k + 1) for k in range(len(first))]))
        if W.shape != (len(ids), len(ids)):
            raise InputError(
                f"{path} has {len(rows)} rows and {len(first)} columns, and the series {len(ids)} "
                "nodes; an adjacency has a row and a column for each"
            )
    graph = Graph.from_adjacency(torch.from_numpy(W).float())
    return Joined(graph if directed else graph.to_undirected(), str(path))


def _square(path: Path, rows: list[Row], names: Sequence[str]) -> Cells:
    """Put rows of one length under names."""
    for line, cells in rows:
        if len(cells) != len(names):
            raise InputError(f"{path}, line {line}: the line before has more or fewer columns")
    texts = np.empty((len(rows), len(names)), dtype=object)
    if texts.size:
        texts[:] = [row.cells for row in rows]
    return Cells(path, tuple(names), texts, np.array([row.line for row in rows], dtype=np.int64))


def _numbers(cells: Cells) -> np.ndarray:
    """Read all cells as numbers, `[R, C]`."""
    read = read_numbers(cells.texts, cells.names, cells.at)
    for row, k in np.argwhere(~np.isfinite(read.values))[:1].tolist():
        raise InputError(f"{cells.at(row)}: {cells.texts[row, k]!r} is no finite number")
    refuse_large(read.values, lambda row, k: f"{cells.at(row)}: {cells.texts[row, k]} is")
    return read.values


def _is_number(cell: str) -> bool:
    return bool(cell) and not read_numbers(np.array([[cell]], object), [""], str).bad.any()
