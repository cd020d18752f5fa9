"""Read a labelled graph from the user's own tables of edges and of nodes."""

import os
import warnings
from collections.abc import Collection, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from plait.columns import (
    MISSING,
    NO_TEXT,
    counts_rows,
    is_category,
    read_numbers,
    refuse_large,
    tell_far,
)
from plait.errors import InputError
from plait.graph_data.edges import Edges, read_edges
from plait.graph_data.labelled_graph import LabelledGraph, numbered
from plait.nn.graph import Graph
from plait.tables import Cells, read_cells

MOST_TEXTS = 1000
"""Most distinct texts of a column that become one feature each."""


def read_labelled_graph(
    edges: str | os.PathLike[str],
    nodes: str | os.PathLike[str] | None = None,
    *,
    label: str | None = None,
    ids: Sequence[str] | None = None,
    directed: bool = False,
    source: str = "",
    target: str = "",
    weight: str = "",
    missing: Collection[str] = (),
    encoding: str = "utf-8",
) -> LabelledGraph:
    r"""Read a labelled graph from a table of edges and, optionally, a table of nodes.

    Tables are CSV, as `plait.tables.read_cells` reads them.

    Parameters
    ----------
    edges : path
        A table with the columns `source` and `target`, and optionally `weight`; upper and lower
        case do not matter, other columns are ignored. Ids are any texts. Duplicate edges are
        merged, their weights summed.
    nodes : path
        A table with one row per node; its ids are in the column `id`, or else in the first
        column. Every other column becomes features: numbers are standardised (mean 0, variance 1
        over the nodes; 0 where all are equal), texts are one-hot encoded. A column that is
        neither numbers nor a category of few texts is refused. Columns that only number the rows
        are left out. None: no features.
    label : str
        The column of `nodes` that holds the labels; an empty cell is an unknown label.
    ids : sequence of str
        Without `nodes`: the nodes, in this order. None: the nodes that the edges name, in order
        of first appearance.
    directed : bool
        Keep edges directed, from source to target. False: make every edge undirected; if both
        directions are given, the larger weight counts.
    source, target, weight : str
        The columns of `edges`; see `plait.graph_data.edges.read_edges`.
    missing : collection of str
        Further texts that mean a missing value. If any is given, missing numbers are replaced by
        the column's mean; otherwise they are refused.
    encoding : str
        Of both files.

    Raises
    ------
    InputError
        If a table cannot be read; the message names file, line and id.

    Example
    -------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from plait.graph_data import read_labelled_graph
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "edges.csv").write_text("source,target\nann,bob\nbob,cem\n")
    >>> _ = (folder / "nodes.csv").write_text("id,age,club\nann,31,a\nbob,40,b\ncem,22,\n")
    >>> club = read_labelled_graph(folder / "edges.csv", folder / "nodes.csv", label="club")
    >>> club.ids, club.labels.tolist(), club.graph
    (('ann', 'bob', 'cem'), [0, 1, -1], Graph(num_nodes=3, num_edges=4))
    """
    found = read_edges(Path(edges), source, target, weight, encoding)
    features, labels, classes, listed = None, None, (), "the nodes given"
    columns, notes = [f"edges: {found.columns}"], []
    if nodes is not None:
        listed = str(nodes)
        cells = read_cells(Path(nodes), encoding).filled()
        ends = {name for names in found.ends for name in names}
        of_ids, left_out = _id_column(cells, ends)
        ids = _ids(cells, of_ids)
        used = [f"id = {_named(cells.names[of_ids])}"]
        of_label = None
        if label is not None:
            of_label = cells.column(label)
            if of_label is None:
                raise InputError(
                    f"{nodes} has no column {label!r}; its first line has {', '.join(cells.names)}"
                )
            none = {*NO_TEXT, *missing}
            texts = ["" if text in none else text for text in cells.texts[:, of_label]]
            labels, classes = numbered(texts)
            gone = f", {texts.count('')} missing" if "" in texts else ""
            used.append(f"label = {cells.names[of_label]!r} ({len(classes)} classes{gone})")
        others = [k for k in range(len(cells.names)) if k not in (of_ids, of_label, *left_out)]
        features, more, remarks = _features(cells.keep(slice(None), others), ids, missing)
        notes += remarks
        used += more
        if left_out:
            names = ", ".join(_named(cells.names[k]) for k in left_out)
            used.append(f"left out: {names}, which only numbers the rows")
        columns.append(f"nodes: {', '.join(used)}")
    if ids is None:
        pairs = zip(*found.ends, strict=True)
        ids = [name for name in dict.fromkeys(chain.from_iterable(pairs)) if name]
    graph, merged = _graph(found, ids, listed, directed)
    path = found.path
    return LabelledGraph(
        path.stem, str(path), tuple(ids), graph, features, labels, classes,
        notes=(*merged, *notes), columns="; ".join(columns),
    )  # fmt: skip


def read_features(
    path: Path, ids: Sequence[str], missing: Collection[str] = (), encoding: str = "utf-8"
) -> tuple[Tensor, tuple[str, ...]]:
    r"""Read the features of these nodes from a table with a row for each.

    The ids are in the column id, or in the first that does not only number the rows. Rows of
    other nodes are left out; columns become features as in `read_labelled_graph`, standardised
    over these nodes.

    Parameters
    ----------
    path : Path
    ids : sequence of str
        The nodes, in the order wanted.
    missing : collection of str
        As in `read_labelled_graph`.
    encoding : str

    Returns
    -------
    Tensor `[N, F]`, and remarks on how it was read

    Raises
    ------
    InputError
        For a table that cannot be read, has no column but that of ids, or lacks one of the nodes.

    Example
    -------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from plait.graph_data.files import read_features
    >>> path = Path(tempfile.mkdtemp()) / "nodes.csv"
    >>> _ = path.write_text("id,lanes,kind\nb,2,road\na,4,ramp\nz,9,road\n")
    >>> features, remarks = read_features(path, ["a", "b"])
    >>> features.tolist(), remarks
    ([[1.0, 1.0, 0.0], [-1.0, 0.0, 1.0]], ("numbers: 'lanes'", "texts: 'kind' (2)"))
    """
    cells = read_cells(path, encoding).filled()
    column, left_out = _id_column(cells, set(ids))
    row = {name: k for k, name in enumerate(_ids(cells, column))}
    gone = [name for name in ids if name not in row]
    if gone:
        more = f" and {len(gone) - 1} more" * (len(gone) > 1)
        raise InputError(
            f"{path} has no row for node {gone[0]!r}{more} in its column "
            f"{_named(cells.names[column])}; add it"
        )
    others = [k for k in range(len(cells.names)) if k not in (column, *left_out)]
    rows = np.array([row[name] for name in ids])
    features, used, notes = _features(cells.keep(rows, others), ids, missing)
    if features is None:
        raise InputError(f"{path} has no column of features next to {_named(cells.names[column])}")
    return features, (*used, *notes)


def _named(name: str) -> str:
    return repr(name) if name else "the column without a name"


def _id_column(cells: Cells, ends: Collection[str]) -> tuple[int, list[int]]:
    """Return the column of ids, and the columns that only number the rows.

    The column of ids is the one named id, or else the first that does not only number the rows;
    a column of row numbers is taken if all of `ends`, the ids wanted, are there.
    """
    counters = cells.counters()
    own = cells.column("id")
    if own is None:
        others = [k for k in range(len(cells.names)) if k not in counters]
        ends = set(ends)
        own = others[0] if others else 0
        if (
            counters[:1] == [0]
            and not ends <= set(cells.texts[:, own])
            and ends <= set(cells.texts[:, 0])
        ):
            own = 0
    left_out = [k for k in counters if k != own]
    for k, name in enumerate(cells.names):
        if not name and k not in (own, *left_out):
            raise InputError(
                f"{cells.path}, line 1: column {k + 1} has no name; name it, or remove it"
            )
    return own, left_out


def _ids(cells: Cells, column: int) -> list[str]:
    ids = cells.texts[:, column].tolist()
    met: dict[str, int] = {}
    for row, name in enumerate(ids):
        if not name:
            raise InputError(
                f"{cells.at(row)}: the node has no id (column {cells.names[column]!r})"
            )
        if name in met:
            raise InputError(
                f"{cells.at(row)}: node {name!r} is a duplicate of line {cells.lines[met[name]]}"
            )
        met[name] = row
    return ids


def _features(
    cells: Cells, ids: Sequence[str], missing: Collection[str]
) -> tuple[Tensor | None, list[str], list[str]]:
    """Return columns as features `[N, F]`, how each column was used, and further remarks."""
    read = read_numbers(cells.texts, cells.names, cells.at, missing)
    refuse_large(
        read.values,
        lambda row, k: f"{cells.at(row)}: the {cells.names[k]!r} of node {ids[row]!r} is",
    )
    parts, texts, notes = [], [], []
    for k, name in enumerate(cells.names):
        if read.bad[:, k].any():
            parts.append(_one_hot(cells, ids, k, read.values[:, k], {*MISSING, *missing}))
            texts.append(f"{name!r} ({parts[-1].shape[1]})")
            continue
        numbers = read.values[:, k]
        gone = np.isnan(numbers)
        if gone.any() and (not missing or gone.all()):
            row = int(np.flatnonzero(gone)[0])
            raise InputError(
                f"{cells.at(row)}: the {name!r} of node {ids[row]!r} is missing; give a number, "
                "remove the column, or list the texts that mean missing in --missing to use the "
                "column's mean"
            )
        if gone.any():
            notes.append(f"{gone.sum():,} of {name!r} missing, replaced by the mean")
        if len(numbers) > 9 and counts_rows(cells.texts[:, k]):
            notes.append(f"{name!r} only numbers the rows; remove it if it carries no information")
        parts.append(_standardised(numbers))
    numbers = [repr(name) for k, name in enumerate(cells.names) if not read.bad[:, k].any()]
    used = [
        f"{kind}: {', '.join(names[:5])}" + f" and {len(names) - 5} more" * (len(names) > 5)
        for kind, names in (("numbers", numbers), ("texts", texts))
        if names
    ]
    used += ["decimal commas"] * read.comma
    if not parts:
        return None, used, notes
    notes += tell_far(read.values, cells.names)
    return torch.from_numpy(np.concatenate(parts, 1, dtype=np.float32)), used, notes


def _standardised(numbers: np.ndarray) -> np.ndarray:
    """Standardise numbers to mean 0 and variance 1, `[N, 1]`; missing or constant ones become 0."""
    known = numbers[~np.isnan(numbers)]
    if known.min() == known.max():
        return np.zeros((len(numbers), 1))
    spread = known.std()
    scaled = (numbers - known.mean()) / (spread if spread > 0 else 1)
    return np.where(np.isnan(numbers), 0.0, scaled)[:, None]


def _one_hot(
    cells: Cells, ids: Sequence[str], k: int, numbers: np.ndarray, none: Collection[str]
) -> np.ndarray:
    """Encode a column of texts as one-hot features `[N, texts]`; refuse what is no category."""
    name, column = cells.names[k], cells.texts[:, k]
    known = np.array([text not in none for text in column])
    mixed = known & np.isnan(numbers) & np.isfinite(numbers).any()
    for row in np.flatnonzero(mixed).tolist():
        raise InputError(
            f"{cells.at(row)}: the {name!r} of node {ids[row]!r} is {column[row]!r}, and that of "
            "others is a number; write numbers everywhere, or nowhere"
        )
    texts = sorted(set(column[known]))
    if len(texts) > MOST_TEXTS:
        raise InputError(
            f"{cells.path}: the column {name!r} has {len(texts):,} different texts, more "
            f"than the {MOST_TEXTS:,} that can become features; remove it"
        )
    if not is_category(column[known].tolist()):
        raise InputError(
            f"{cells.path}: the column {name!r} has {len(texts):,} different texts in "
            f"{known.sum():,} rows, such as {texts[0]!r}: neither numbers nor a category; "
            "write numbers, or remove it"
        )
    return column[:, None] == np.array(texts, dtype=object)


def _graph(
    edges: Edges, ids: Sequence[str], listed: str, directed: bool
) -> tuple[Graph, tuple[str, ...]]:
    """Return the graph of the edges, and remarks on duplicates that were merged."""
    index = np.stack([pd.Index(ids, dtype=str).get_indexer(names) for names in edges.ends])
    for row in np.flatnonzero((index < 0).any(0)).tolist():
        missing = edges.ends[0 if index[0, row] < 0 else 1][row]
        raise InputError(f"{edges.at(row)}: there is no node {missing!r} in {listed}")
    weight = None if edges.weight is None else edges.weight.astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the remark names the ids
        graph = Graph(index, weight, len(ids))
    notes = []
    extra = index.shape[1] - graph.num_edges
    if extra:
        row = int(np.flatnonzero(pd.DataFrame(index.T).duplicated())[0])
        notes.append(
            f"{extra:,} duplicate edge{'s' * (extra > 1)} merged, the weights summed; "
            f"the first, {edges.named(row)}, on line {edges.lines[row]}"
        )
    return graph if directed else graph.to_undirected(), tuple(notes)
