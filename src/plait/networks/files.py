"""Networks from the user's own tables: who is joined to whom, and what is known of each node."""

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
from plait.networks.edges import Edges, read_edges
from plait.networks.network import Network, numbered
from plait.nn.graph import Graph
from plait.tables import Cells, read_cells

MOST_TEXTS = 1000
"""Different texts of a column that become a feature each."""


def read_network(
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
) -> Network:
    r"""Read a network from tables: each as `plait.tables.read_cells` reads it.

    Parameters
    ----------
    edges : path
        A table with the columns `source` and `target`, and `weight` if there are weights, in
        large letters or small; others are passed over. Ids are any texts. An edge that stands
        twice is one, its weights summed.
    nodes : path
        A table with the column `id`, or else the first column for it, and a row for every node.
        Other columns are features: those of numbers standardised (mean 0, variance 1 over the
        nodes; 0 where all are the same), those of texts one feature for each text, 1 or 0; what
        is neither numbers nor of few texts is refused. Columns that only number the rows, as
        programs write them beside a table, are left out. None: no features.
    label : str
        The column of `nodes` that holds the labels; an empty one is unknown.
    ids : sequence of str
        Without `nodes`: the nodes, in this order. None: those that the edges name, in the order
        in which they come.
    directed : bool
        Messages go from source to target alone. False: both ways; where both ways are given, the
        larger weight.
    source, target, weight : str
        The columns of `edges`, as `plait.networks.edges.read_edges` says.
    missing : collection of str
        What else means a value that is missing. Where any is given, the mean of the others stands
        in for a number that is missing; without, such a number is refused.
    encoding : str
        Of both files.

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
    joined = read_edges(Path(edges), source, target, weight, encoding)
    features, labels, classes, listed = None, None, (), "the nodes given"
    columns, notes = [f"edges: {joined.columns}"], []
    if nodes is not None:
        listed = str(nodes)
        cells = read_cells(Path(nodes), encoding).filled()
        of_ids, left_out = _id_column(cells, joined)
        ids = _ids(cells, of_ids)
        said = [f"id = {_named(cells.names[of_ids])}"]
        of_label = None
        if label is not None:
            of_label = cells.column(label)
            if of_label is None:
                raise InputError(
                    f"{nodes} has no column {label!r}; its first line says {', '.join(cells.names)}"
                )
            none = {*NO_TEXT, *missing}
            texts = ["" if text in none else text for text in cells.texts[:, of_label]]
            labels, classes = numbered(texts)
            gone = f", {texts.count('')} missing" if "" in texts else ""
            said.append(f"label = {cells.names[of_label]!r} ({len(classes)} classes{gone})")
        others = [k for k in range(len(cells.names)) if k not in (of_ids, of_label, *left_out)]
        features, more, told = _features(cells.keep(slice(None), others), ids, missing)
        notes += told
        said += more
        if left_out:
            names = ", ".join(_named(cells.names[k]) for k in left_out)
            said.append(f"left out: {names}, which only numbers the rows")
        columns.append(f"nodes: {', '.join(said)}")
    if ids is None:
        pairs = zip(*joined.ends, strict=True)
        ids = [name for name in dict.fromkeys(chain.from_iterable(pairs)) if name]
    graph, merged = _graph(joined, ids, listed, directed)
    path = joined.path
    return Network(
        path.stem, str(path), tuple(ids), graph, features, labels, classes,
        notes=(*merged, *notes), columns="; ".join(columns),
    )  # fmt: skip


def _named(name: str) -> str:
    return repr(name) if name else "the column without a name"


def _id_column(cells: Cells, edges: Edges) -> tuple[int, list[int]]:
    """Find the column of ids, and those that only number the rows.

    It is that named id, or else the first that is more than a number of the row; that number too
    where the edges name it.
    """
    counters = cells.counters()
    own = cells.column("id")
    if own is None:
        others = [k for k in range(len(cells.names)) if k not in counters]
        ends = {name for names in edges.ends for name in names}
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
                f"{cells.path}, line 1: column {k + 1} has no name; name it, or take it out"
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
                f"{cells.at(row)}: node {name!r} stands there again, after "
                f"line {cells.lines[met[name]]}"
            )
        met[name] = row
    return ids


def _features(
    cells: Cells, ids: Sequence[str], missing: Collection[str]
) -> tuple[Tensor | None, list[str], list[str]]:
    """Put columns side by side as numbers, `[N, F]`; say how each was read, and what else."""
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
                f"{cells.at(row)}: the {name!r} of node {ids[row]!r} is missing; give a number, or "
                "take the column out, or list in --missing what means missing, and the mean of "
                "the others stands in"
            )
        if gone.any():
            notes.append(f"{gone.sum():,} of {name!r} missing, where the mean of the others stands")
        if len(numbers) > 9 and counts_rows(cells.texts[:, k]):
            notes.append(f"{name!r} only numbers the rows; take it out if it says nothing of them")
        parts.append(_standardised(numbers))
    numbers = [repr(name) for k, name in enumerate(cells.names) if not read.bad[:, k].any()]
    told = [
        f"{kind}: {', '.join(names[:5])}" + f" and {len(names) - 5} more" * (len(names) > 5)
        for kind, names in (("numbers", numbers), ("texts", texts))
        if names
    ]
    told += ["decimal commas"] * read.comma
    if not parts:
        return None, told, notes
    notes += tell_far(read.values, cells.names)
    return torch.from_numpy(np.concatenate(parts, 1, dtype=np.float32)), told, notes


def _standardised(numbers: np.ndarray) -> np.ndarray:
    """Bring numbers to mean 0 and variance 1, `[N, 1]`; to 0 those that are missing or all one."""
    known = numbers[~np.isnan(numbers)]
    if known.min() == known.max():
        return np.zeros((len(numbers), 1))
    spread = known.std()
    scaled = (numbers - known.mean()) / (spread if spread > 0 else 1)
    return np.where(np.isnan(numbers), 0.0, scaled)[:, None]


def _one_hot(
    cells: Cells, ids: Sequence[str], k: int, numbers: np.ndarray, none: Collection[str]
) -> np.ndarray:
    """Give each different text of a column a feature, 1 or 0; refuse what is no category."""
    name, column = cells.names[k], cells.texts[:, k]
    known = np.array([text not in none for text in column])
    mixed = known & np.isnan(numbers) & np.isfinite(numbers).any()
    for row in np.flatnonzero(mixed).tolist():
        raise InputError(
            f"{cells.at(row)}: the {name!r} of node {ids[row]!r} is {column[row]!r}, and that of "
            "others a number; make all of them numbers, or none"
        )
    texts = sorted(set(column[known]))
    if len(texts) > MOST_TEXTS:
        raise InputError(
            f"{cells.path}: the column {name!r} has {len(texts):,} different texts, more "
            f"than the {MOST_TEXTS:,} that become features; take it out"
        )
    if not is_category(column[known].tolist()):
        raise InputError(
            f"{cells.path}: the column {name!r} has {len(texts):,} different texts in "
            f"{known.sum():,} rows, such as {texts[0]!r}: neither numbers nor a category of few; "
            "write numbers, or take it out"
        )
    return column[:, None] == np.array(texts, dtype=object)


def _graph(
    edges: Edges, ids: Sequence[str], listed: str, directed: bool
) -> tuple[Graph, tuple[str, ...]]:
    """Join nodes by their ids; say what was merged."""
    index = np.stack([pd.Index(ids, dtype=str).get_indexer(names) for names in edges.ends])
    for row in np.flatnonzero((index < 0).any(0)).tolist():
        missing = edges.ends[0 if index[0, row] < 0 else 1][row]
        raise InputError(f"{edges.at(row)}: there is no node {missing!r} in {listed}")
    weight = None if edges.weight is None else edges.weight.astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # we say it by ids
        graph = Graph(index, weight, len(ids))
    notes = []
    extra = index.shape[1] - graph.num_edges
    if extra:
        row = int(np.flatnonzero(pd.DataFrame(index.T).duplicated())[0])
        notes.append(
            f"{extra:,} edge{'s' * (extra > 1)} stood there again, the weights summed; "
            f"the first, {edges.named(row)}, on line {edges.lines[row]}"
        )
    return graph if directed else graph.to_undirected(), tuple(notes)
