"""Read an edge list: which columns hold the source, the target, the weight and more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plait.columns import LARGEST, read_numbers
from plait.errors import InputError
from plait.tables import Cells, Row, cells_of, read_rows

COMMENTS = "#%"
"""The first characters of comment lines above an edge list."""

ENDS = ("source", "target", "weight")


@dataclass(frozen=True)
class Edges:
    """Edges, by the ids of their source and target.

    Attributes
    ----------
    path : Path
    ends : pair of lists of str
    weight : float array `[E]`, or None
    relation : list of str, or None
        The kind of each edge.
    features : Cells, or None
        The columns of features.
    lines : integer array `[E]`
    columns : str
        How each column was used, in words.
    """

    path: Path
    ends: tuple[list[str], list[str]]
    weight: np.ndarray | None
    lines: np.ndarray
    columns: str
    relation: list[str] | None = None
    features: Cells | None = None

    def at(self, row: int) -> str:
        """Return the file and the line of an edge."""
        return f"{self.path}, line {self.lines[row]}"

    def named(self, row: int) -> str:
        """Return an edge as "source → target"."""
        return " → ".join(repr(names[row]) for names in self.ends)


def read_edges(
    path: Path,
    source: str = "",
    target: str = "",
    weight: str = "",
    encoding: str = "utf-8",
    relation: str | None = None,
    features: Sequence[str] = (),
) -> Edges:
    r"""Read an edge list: a table whose columns may also be separated by spaces.

    Comment lines may precede it.

    Parameters
    ----------
    path : Path
    source, target : str
        The columns of source and target, by name, or by number from 1 if there is no header.
        Default: the columns named source and target.
    weight : str
        The column of weights. Default: the column named weight, if there is one.
    encoding : str
        Of the file.
    relation : str
        The column of the kinds of edges. Default: none is read.
    features : sequence of str
        The columns of features.

    Raises
    ------
    InputError
        If the table cannot be read; the message names file, line and column.

    Example
    -------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from plait.graph_data.edges import read_edges
    >>> path = Path(tempfile.mkdtemp()) / "roads.txt"
    >>> _ = path.write_text("# FromNodeId\tToNodeId\n0\t1\n1\t2\n")
    >>> read_edges(path, source="1", target="2").ends
    (['0', '1'], ['1', '2'])
    """
    rows = read_rows(path, comments=COMMENTS, spaces=True, encoding=encoding)
    header = rows[0] if rows else Row(1, [])
    if source.isdecimal() and target.isdecimal():
        numbers = [str(k + 1) for k in range(len(header.cells))]
        cells = cells_of(path, Row(header.line, numbers), rows)
    else:
        cells = cells_of(path, header, rows[1:])
    cells = cells.filled()
    asked = {"source": source, "target": target, "weight": weight}
    columns = edge_columns(cells, asked | ({} if relation is None else {"relation": relation}))
    used = [
        end if cells.names[k] == end else f"{end} = {cells.names[k]!r}"
        for end, k in columns.items()
    ]
    chosen = _feature_columns(cells, features, columns)
    taken = {*columns.values(), *chosen}
    others = [repr(name) for k, name in enumerate(cells.names) if k not in taken]
    used += [f"ignored: {', '.join(others[:5])}{', …' * (len(others) > 5)}"] if others else []
    texts = {end: cells.texts[:, k].tolist() for end, k in columns.items() if end != "weight"}
    kinds = texts.get("relation")
    ends = texts["source"], texts["target"]
    weight_of = columns.get("weight")
    weights = None if weight_of is None else _weights(cells, ends, weight_of)
    own = cells.keep(slice(None), chosen) if chosen else None
    edges = Edges(path, ends, weights, cells.lines, ", ".join(used), kinds, own)
    for row in [k for k, kind in enumerate(kinds or ()) if not kind]:
        raise InputError(f"{edges.at(row)}: the relation of {edges.named(row)} is missing")
    return edges


def edge_columns(cells: Cells, asked: Mapping[str, str]) -> dict[str, int]:
    """Return which columns hold the source, the target and, if there is one, the weight.

    `asked` names them where they are called otherwise, and the relation if it is wanted;
    `InputError` for one that is not there.
    """
    found = {}
    wanted = [*ENDS, "relation"] if "relation" in asked else ENDS
    for number, end in enumerate(wanted, 1):
        name = asked.get(end) or end
        column = cells.column(name)
        if column is not None:
            found[end] = column
        elif asked.get(end) or end != "weight":
            raise InputError(
                f"{cells.path} has no column {name!r}; its first line has {_listed(cells.names)}; "
                f"name the column of the {end} with --{end} NAME, or --{end} {number} for its "
                "number if the table has no header"
            )
    return found


def _feature_columns(cells: Cells, names: Sequence[str], taken: Mapping[str, int]) -> list[int]:
    """Return the columns of features, among which the weight may be; `InputError` for others."""
    chosen = []
    for name in names:
        column = cells.column(name)
        if column is None:
            raise InputError(
                f"{cells.path} has no column {name!r}; its first line has {_listed(cells.names)}; "
                "name columns of it with --edge-features, with commas between them"
            )
        use = next((end for end, k in taken.items() if k == column and end != "weight"), None)
        if use is not None or column in chosen:
            what = f"is the {use}" if use is not None else "occurs twice"
            raise InputError(
                f"{cells.path}: the column {name!r} of --edge-features {what}; leave it out"
            )
        chosen.append(column)
    return chosen


def _listed(names: Sequence[str], most: int = 20) -> str:
    return ", ".join(names[:most]) + ", …" * (len(names) > most)


def _weights(cells: Cells, ends: tuple[list[str], list[str]], column: int) -> np.ndarray:
    read = read_numbers(cells.texts[:, [column]], [cells.names[column]], cells.at)
    weight = read.values[:, 0]
    edges = Edges(cells.path, ends, weight, cells.lines, "")
    for row in np.flatnonzero(~np.isfinite(weight)).tolist():
        raise InputError(
            f"{edges.at(row)}: the weight of {edges.named(row)} is not a finite number"
        )
    for row in np.flatnonzero(np.abs(weight) > LARGEST).tolist():
        raise InputError(
            f"{edges.at(row)}: the weight of {edges.named(row)} is beyond ±{LARGEST:g}; use a "
            "larger unit"
        )
    return weight
