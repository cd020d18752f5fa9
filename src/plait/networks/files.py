"""Networks from the user's own tables: who is joined to whom, and what is known of each node."""

import csv
import io
import os
import re
import warnings
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from plait.data import read_utf8
from plait.errors import InputError
from plait.networks.network import Network, numbered
from plait.nn.graph import Graph

MISSING = ("", "nan", "NaN", "NA", "N/A", "null", "None")
"""What stands for no number in a column of numbers."""

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
    r"""Read a network from tables: CSV in UTF-8, with `,` or `;` or tabs between the columns.

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
        table = _Table(Path(nodes), texts=("id", label))
        ids, listed = _ids(table), str(nodes)
        if label is not None:
            labels, classes = numbered(table.texts(label))
        names = [n for n in table.frame if n not in (table.id_column, label)]
        features = _features(table, ids, names)
    table = _Table(Path(edges), texts=("source", "target"))
    if ids is None:
        edges_of = zip(table.texts("source"), table.texts("target"), strict=True)
        ids = [name for name in dict.fromkeys(chain.from_iterable(edges_of)) if name]
    graph, notes = _graph(table, ids, listed, directed)
    path = table.path
    return Network(path.stem, str(path), tuple(ids), graph, features, labels, classes, notes=notes)


class _Table:
    """A CSV file: the columns `texts` as they stand, the others numbers where they are that."""

    def __init__(self, path: Path, texts: Sequence[str | None]) -> None:
        self.path = path
        content = read_utf8(path).removeprefix("\ufeff")
        first = content.split("\n", 1)[0]
        separator = max(",;\t", key=first.count)
        names = [n.strip() for n in next(csv.reader([first], delimiter=separator), [])]
        if not any(names):
            raise InputError(f"{path}, line 1: there must be the names of the columns")
        twice = next((n for n in names if names.count(n) > 1), None)
        if twice is not None:
            raise InputError(f"{path}, line 1: the column {twice!r} stands twice")
        self.id_column = "id" if "id" in names else names[0]
        as_text: Any = {n: str for n in names if n in texts or n == self.id_column}
        missing: Any = {n: MISSING for n in names if n not in as_text}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)
                frame: Any = pd.read_csv(
                    io.StringIO(content), sep=separator, header=0, names=names, dtype=as_text,
                    na_values=missing, keep_default_na=False, skip_blank_lines=False,
                    skipinitialspace=True, index_col=False, low_memory=False,
                )  # fmt: skip
        except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
            raise InputError(f"{path}: {_reason(error, len(names))}") from None
        blank = (frame.isna() | (frame == "")).all(axis=1)
        self.frame: Any = frame[~blank]  # row k stood on line index[k] + 2
        if self.frame.empty:
            raise InputError(f"{path} has no rows under its first line")

    def at(self, row: int | np.integer[Any]) -> str:
        """Name the file and the line of a row."""
        return f"{self.path}, line {self.frame.index[row] + 2}"

    def texts(self, name: str) -> list[str]:
        """Give the texts of a column; `InputError` where there is none of this name."""
        if name not in self.frame:
            known = ", ".join(self.frame)
            raise InputError(f"{self.path} has no column {name!r}; its first line says {known}")
        return self.frame[name].fillna("").str.strip().tolist()


def _reason(error: Exception, columns: int) -> str:
    """Say what pandas found wrong with a table."""
    found = re.search(r"Expected \d+ fields in line (\d+), saw (\d+)", str(error))
    line, saw = found.groups() if found else (2, "more")
    if found or isinstance(error, pd.errors.ParserWarning):
        return f"line {line} has {saw} columns, and line 1 names {columns}"
    return f"no table: {' '.join(str(error).split())}"


def _ids(table: _Table) -> list[str]:
    ids = table.texts(table.id_column)
    met: dict[str, int] = {}
    for row, name in enumerate(ids):
        if not name:
            raise InputError(f"{table.at(row)}: the node has no id (column {table.id_column!r})")
        if name in met:
            raise InputError(
                f"{table.at(row)}: node {name!r} stands there again, after "
                f"line {table.frame.index[met[name]] + 2}"
            )
        met[name] = row
    return ids


def _features(table: _Table, ids: Sequence[str], names: Sequence[str]) -> Tensor | None:
    """Put the columns of these names side by side as numbers, `[N, F]`."""
    parts = []
    for name in names:
        column = table.frame[name]
        if pd.api.types.is_numeric_dtype(column):
            parts.append(_standardised(table, ids, column))
        else:
            parts.append(_one_hot(table, ids, column))
    if not parts:
        return None
    return torch.from_numpy(np.concatenate(parts, 1, dtype=np.float32))


def _standardised(table: _Table, ids: Sequence[str], column: Any) -> np.ndarray:
    numbers = column.to_numpy(np.float64)
    for row in map(int, np.flatnonzero(~np.isfinite(numbers))):
        given = "missing" if np.isnan(numbers[row]) else "infinite"
        raise InputError(
            f"{table.at(row)}: the {column.name!r} of node {ids[row]!r} is {given}; give a number, "
            "or take the column out"
        )
    spread = numbers.std()
    return ((numbers - numbers.mean()) / (spread if spread > 0 else 1))[:, None]


def _one_hot(table: _Table, ids: Sequence[str], column: Any) -> np.ndarray:
    number = _numbers(column).notna()
    for row in map(int, np.flatnonzero(~number & column.notna()) if number.any() else ()):
        raise InputError(
            f"{table.at(row)}: the {column.name!r} of node {ids[row]!r} is {column.iloc[row]!r}, "
            "and that of others a number; make all of them numbers, or none"
        )
    texts = sorted(column.dropna().unique())
    if len(texts) > MOST_TEXTS:
        raise InputError(
            f"{table.path}: the column {column.name!r} has {len(texts):,} different texts, more "
            f"than the {MOST_TEXTS:,} that become features; take it out"
        )
    return np.asarray(column)[:, None] == np.array(texts, dtype=object)


def _numbers(column: Any) -> Any:
    """Read texts as numbers; what is none becomes NaN."""
    return pd.to_numeric(column, errors="coerce")


def _graph(
    table: _Table, ids: Sequence[str], listed: str, directed: bool
) -> tuple[Graph, tuple[str, ...]]:
    """Join nodes by their ids; say what was merged."""
    ends = [table.texts(name) for name in ("source", "target")]
    index = np.stack([pd.Index(ids, dtype=str).get_indexer(names) for names in ends])
    for row in np.flatnonzero((index < 0).any(0)):
        missing = ends[0 if index[0, row] < 0 else 1][row]
        raise InputError(f"{table.at(row)}: there is no node {missing!r} in {listed}")
    weight: np.ndarray | None = None
    if "weight" in table.frame:
        weight = np.asarray(_numbers(table.frame["weight"]), dtype=np.float32)
        for row in np.flatnonzero(~np.isfinite(weight)):
            edge = " → ".join(repr(names[row]) for names in ends)
            raise InputError(f"{table.at(row)}: the weight of {edge} is not a finite number")
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
            f"the first, {edge}, on line {table.frame.index[row] + 2}"
        )
    return graph if directed else graph.to_undirected(), tuple(notes)
