"""Networks from the user's own tables: who is joined to whom, and what is known of each node."""

import os
import warnings
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from plait.errors import InputError
from plait.networks.network import Network, numbered
from plait.nn.graph import Graph
from plait.tables import at, filled_rows, read_table

ENDS = ("source", "target")

MOST_TEXTS = 1000
"""Different texts of a column that become a feature each."""


def read_network(
    edges: str | os.PathLike[str],
    nodes: str | os.PathLike[str] | None = None,
    *,
    label: str | None = None,
    ids: Sequence[str] | None = None,
    directed: bool = False,
) -> Network:
    r"""Read a network from tables: each as `plait.tables.read_table` reads it.

    Parameters
    ----------
    edges : path
        A table with the columns `source` and `target`, and `weight` if there are weights; others
        are passed over. Ids are any texts. An edge that stands twice is one, its weights summed.
    nodes : path
        A table with the column `id`, or else the first column for it, and a row for every node.
        Other columns are features: those of numbers standardised (mean 0, variance 1 over the
        nodes), those of texts one feature for each text, 1 or 0. None: no features.
    label : str
        The column of `nodes` that holds the labels; an empty one is unknown.
    ids : sequence of str
        Without `nodes`: the nodes, in this order. None: those that the edges name, in the order
        in which they come.
    directed : bool
        Messages go from source to target alone. False: both ways; where both ways are given, the
        larger weight.

    Raises
    ------
    InputError
        For what cannot be read; the message says file, line and id.

    Example
    -------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from plait.networks import read_network
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "edges.csv").write_text("source,target\nann,bob\nbob,cem\n")
    >>> _ = (folder / "nodes.csv").write_text("id,age,club\nann,31,a\nbob,40,b\ncem,22,\n")
    >>> network = read_network(folder / "edges.csv", folder / "nodes.csv", label="club")
    >>> network.ids, network.labels.tolist(), network.graph
    (('ann', 'bob', 'cem'), [0, 1, -1], Graph(num_nodes=3, num_edges=4))
    """
    features, labels, classes, listed = None, None, (), "the nodes given"
    if nodes is not None:
        path = Path(nodes)
        table = read_table(path, texts=lambda names: (_id_column(names), label or ""))
        table = filled_rows(path, table, *([] if label is None else [label]))
        ids, listed = _ids(path, table), str(nodes)
        if label is not None:
            labels, classes = numbered(table[label].tolist())
        names = [n for n in table if n not in (_id_column(table), label)]
        features = _features(path, table, ids, names)
    path = Path(edges)
    table = read_table(path, texts=lambda names: ENDS)
    table = filled_rows(path, table, *ENDS)
    if ids is None:
        edges_of = zip(*(table[end] for end in ENDS), strict=True)
        ids = [name for name in dict.fromkeys(chain.from_iterable(edges_of)) if name]
    graph, notes = _graph(path, table, ids, listed, directed)
    return Network(path.stem, str(path), tuple(ids), graph, features, labels, classes, notes=notes)


def _id_column(names: Iterable[str]) -> str:
    names = list(names)
    return "id" if "id" in names else names[0]


def _ids(path: Path, table: Any) -> list[str]:
    column = _id_column(table)
    ids = table[column].tolist()
    met: dict[str, int] = {}
    for row, name in enumerate(ids):
        if not name:
            raise InputError(f"{at(path, table, row)}: the node has no id (column {column!r})")
        if name in met:
            raise InputError(
                f"{at(path, table, row)}: node {name!r} stands there again, after "
                f"line {table.index[met[name]]}"
            )
        met[name] = row
    return ids


def _features(path: Path, table: Any, ids: Sequence[str], names: Sequence[str]) -> Tensor | None:
    """Put the columns of these names side by side as numbers, `[N, F]`."""
    parts = []
    for name in names:
        column = table[name]
        if pd.api.types.is_numeric_dtype(column):
            parts.append(_standardised(path, table, ids, column))
        else:
            parts.append(_one_hot(path, table, ids, column))
    if not parts:
        return None
    return torch.from_numpy(np.concatenate(parts, 1, dtype=np.float32))


def _standardised(path: Path, table: Any, ids: Sequence[str], column: Any) -> np.ndarray:
    numbers = column.to_numpy(np.float64)
    for row in map(int, np.flatnonzero(~np.isfinite(numbers))):
        given = "missing" if np.isnan(numbers[row]) else "infinite"
        raise InputError(
            f"{at(path, table, row)}: the {column.name!r} of node {ids[row]!r} is {given}; give a "
            "number, or take the column out"
        )
    spread = numbers.std()
    return ((numbers - numbers.mean()) / (spread if spread > 0 else 1))[:, None]


def _one_hot(path: Path, table: Any, ids: Sequence[str], column: Any) -> np.ndarray:
    number = _numbers(column).notna()
    for row in map(int, np.flatnonzero(~number & column.notna()) if number.any() else ()):
        raise InputError(
            f"{at(path, table, row)}: the {column.name!r} of node {ids[row]!r} is "
            f"{column.iloc[row]!r}, and that of others a number; make all of them numbers, or none"
        )
    texts = sorted(column.dropna().unique())
    if len(texts) > MOST_TEXTS:
        raise InputError(
            f"{path}: the column {column.name!r} has {len(texts):,} different texts, more "
            f"than the {MOST_TEXTS:,} that become features; take it out"
        )
    return np.asarray(column)[:, None] == np.array(texts, dtype=object)


def _numbers(column: Any) -> Any:
    """Read texts as numbers; what is none becomes NaN."""
    return pd.to_numeric(column, errors="coerce")


def _graph(
    path: Path, table: Any, ids: Sequence[str], listed: str, directed: bool
) -> tuple[Graph, tuple[str, ...]]:
    """Join nodes by their ids; say what was merged."""
    ends = [table[name].tolist() for name in ENDS]
    index = np.stack([pd.Index(ids, dtype=str).get_indexer(names) for names in ends])
    for row in np.flatnonzero((index < 0).any(0)):
        missing = ends[0 if index[0, row] < 0 else 1][row]
        raise InputError(f"{at(path, table, row)}: there is no node {missing!r} in {listed}")
    weight: np.ndarray | None = None
    if "weight" in table:
        weight = np.asarray(_numbers(table["weight"]), dtype=np.float32)
        for row in np.flatnonzero(~np.isfinite(weight)):
            edge = " → ".join(repr(names[row]) for names in ends)
            raise InputError(f"{at(path, table, row)}: the weight of {edge} is not a finite number")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # we say it by ids
        graph = Graph(index, weight, len(ids))
    notes = []
    extra = index.shape[1] - graph.num_edges
    if extra:
        row = int(np.flatnonzero(pd.DataFrame(index.T).duplicated())[0])
        edge = " → ".join(repr(names[row]) for names in ends)
        notes.append(
            f"{extra:,} edge{'s' * (extra > 1)} stood there again, the weights summed; "
            f"the first, {edge}, on line {table.index[row]}"
        )
    return graph if directed else graph.to_undirected(), tuple(notes)
