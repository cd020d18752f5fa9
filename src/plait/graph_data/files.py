"""Read a labelled graph from the user's own tables of edges and of nodes."""

import os
import warnings
from collections.abc import Collection, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from plait.columns import NO_TEXT
from plait.errors import InputError
from plait.graph_data.edges import Edges, read_edges
from plait.graph_data.features import features_of, id_column, ids_of, named
from plait.graph_data.labelled_graph import LabelledGraph, numbered
from plait.nn.graph import Graph
from plait.tables import read_cells
from plait.terminal import counted


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
    relation: str | None = None,
    edge_features: Sequence[str] = (),
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
        over the nodes; 0 where all are equal or one is missing), texts of few kinds are one-hot
        encoded, times become days and the time of the year, texts in words become tf-idf.
        A column of other texts, such as names, is refused. Columns that only number the rows are
        left out. None: no features.
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
    relation : str
        The column of the kinds of edges ("": the one named relation): each becomes a relation of
        the graph, in alphabetical order. None: all edges are of one kind.
    edge_features : sequence of str
        The columns of `edges` that become features of the edges, as columns of nodes do. Those of
        duplicates are averaged.
    missing : collection of str
        Further texts that mean a missing value. Missing numbers are replaced by the column's mean.
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
    found = read_edges(Path(edges), source, target, weight, encoding, relation, edge_features)
    of_edges = None
    if found.features is not None:
        of_edges = features_of(found.features, lambda row: f"edge {found.named(row)}", missing)
    features, labels, classes, listed = None, None, (), "the nodes given"
    columns, notes, encodings = [f"edges: {found.columns}"], [], []
    if of_edges is not None:
        columns.append(f"features of edges: {', '.join(of_edges.used)}")
        notes += [f"of the edges: {note}" for note in of_edges.notes]
    if nodes is not None:
        listed = str(nodes)
        cells = read_cells(Path(nodes), encoding).filled()
        ends = {name for names in found.ends for name in names}
        of_ids, left_out = id_column(cells, ends)
        ids = names = ids_of(cells, of_ids)
        used = [f"id = {named(cells.names[of_ids])}"]
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
            kinds = counted(len(classes), "class", "classes")
            used.append(f"label = {cells.names[of_label]!r} ({kinds}{gone})")
        others = [k for k in range(len(cells.names)) if k not in (of_ids, of_label, *left_out)]
        features, more, remarks, encodings = features_of(
            cells.keep(slice(None), others), lambda row: f"node {names[row]!r}", missing
        )
        notes += remarks
        used += more
        if left_out:
            gone = ", ".join(named(cells.names[k]) for k in left_out)
            used.append(f"left out: {gone}, which only numbers the rows")
        columns.append(f"nodes: {', '.join(used)}")
    if ids is None:
        pairs = zip(*found.ends, strict=True)
        ids = [name for name in dict.fromkeys(chain.from_iterable(pairs)) if name]
    graph, merged = _graph(
        found, None if of_edges is None else of_edges.values, ids, listed, directed
    )
    path, kinds = found.path, tuple(sorted(set(found.relation or ())))
    return LabelledGraph(
        path.stem, str(path), tuple(ids), graph, features, labels, classes,
        notes=(*merged, *notes), columns="; ".join(columns), relations=kinds,
        encodings=tuple(encodings),
        edge_encodings=() if of_edges is None else tuple(of_edges.encodings),
    )  # fmt: skip


def _graph(
    edges: Edges, features: Tensor | None, ids: Sequence[str], listed: str, directed: bool
) -> tuple[Graph, tuple[str, ...]]:
    """Return the graph of the edges, and remarks on duplicates that were merged."""
    index = np.stack([pd.Index(ids, dtype=str).get_indexer(names) for names in edges.ends])
    for row in np.flatnonzero((index < 0).any(0)).tolist():
        missing = edges.ends[0 if index[0, row] < 0 else 1][row]
        fix = "add it, or remove the edge" if missing else "fill the cell, or remove the edge"
        raise InputError(f"{edges.at(row)}: there is no node {missing!r} in {listed}; {fix}")
    weight = None if edges.weight is None else edges.weight.astype(np.float32)
    N, parts = len(ids), (index, weight, features)
    if edges.relation is None:
        return _merged(edges, parts, np.arange(index.shape[1]), N, directed)
    kind, notes, graphs = np.array(edges.relation, dtype=object), [], []
    for name in sorted(set(edges.relation)):
        graph, merged = _merged(edges, parts, np.flatnonzero(kind == name), N, directed)
        notes += [f"of the relation {name!r}: {note}" for note in merged]
        graphs.append(graph)
    return Graph.of_relations(graphs), tuple(notes)


def _merged(
    edges: Edges,
    parts: tuple[np.ndarray, np.ndarray | None, Tensor | None],
    rows: np.ndarray,
    nodes: int,
    directed: bool,
) -> tuple[Graph, tuple[str, ...]]:
    """Return the graph of some of the edges, and a remark on duplicates that were merged."""
    index, *more = parts
    index, (weight, features) = index[:, rows], (p if p is None else p[rows] for p in more)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the remark names the ids
        graph = Graph(index, weight, nodes, features)
    notes = []
    extra = index.shape[1] - graph.num_edges
    if extra:
        row = rows[int(np.flatnonzero(pd.DataFrame(index.T).duplicated())[0])]
        notes.append(
            f"{extra:,} duplicate edge{'s' * (extra > 1)} merged, the weights summed"
            f"{', the features averaged' * (features is not None)}; "
            f"the first, {edges.named(row)}, on line {edges.lines[row]}"
        )
    return graph if directed else graph.to_undirected(), tuple(notes)
