"""Read an edge list: which columns hold the source, the target and the weight."""

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
    lines : integer array `[E]`
    columns : str
        How each column was used, in words.
    """

    path: Path
    ends: tuple[list[str], list[str]]
    weight: np.ndarray | None
    lines: np.ndarray
    columns: str

    def at(self, row: int) -> str:
        """Return the file and the line of an edge."""
        return f"{self.path}, line {self.lines[row]}"

    def named(self, row: int) -> str:
        """Return an edge as "source → target"."""
        return " → ".join(repr(names[row]) for names in self.ends)


def read_edges(
    path: Path, source: str = "", target: str = "", weight: str = "", encoding: str = "utf-8"
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
    kept = edge_columns(cells, {"source": source, "target": target, "weight": weight})
    used = [
        end if cells.names[k] == end else f"{end} = {cells.names[k]!r}"
        for end, k in zip(ENDS, kept, strict=False)
    ]
    others = [repr(name) for k, name in enumerate(cells.names) if k not in kept]
    used += [f"ignored: {', '.join(others[:5])}{', …' * (len(others) > 5)}"] if others else []
    ends = cells.texts[:, kept[0]].tolist(), cells.texts[:, kept[1]].tolist()
    edges = Edges(path, ends, None, cells.lines, ", ".join(used))
    return _weighted(edges, cells, kept[2]) if kept[2:] else edges


def edge_columns(cells: Cells, asked: Mapping[str, str]) -> list[int]:
    """Return which columns hold the source, the target and, if there is one, the weight.

    `asked` names them where they are called otherwise; `InputError` for one that is not there.
    """
    found = []
    for number, end in enumerate(ENDS, 1):
        name = asked.get(end) or end
        column = cells.column(name)
        if column is not None:
            found.append(column)
        elif asked.get(end) or end != "weight":
            raise InputError(
                f"{cells.path} has no column {name!r}; its first line has {_listed(cells.names)}; "
                f"name the column of the {end} with --{end} NAME, or --{end} {number} for its "
                "number if the table has no header"
            )
    return found


def _listed(names: Sequence[str], most: int = 20) -> str:
    return ", ".join(names[:most]) + ", …" * (len(names) > most)


def _weighted(edges: Edges, cells: Cells, column: int) -> Edges:
    read = read_numbers(cells.texts[:, [column]], [cells.names[column]], cells.at)
    weight = read.values[:, 0]
    for row in np.flatnonzero(~np.isfinite(weight)).tolist():
        raise InputError(
            f"{edges.at(row)}: the weight of {edges.named(row)} is not a finite number"
        )
    for row in np.flatnonzero(np.abs(weight) > LARGEST).tolist():
        raise InputError(
            f"{edges.at(row)}: the weight of {edges.named(row)} is beyond ±{LARGEST:g}; use a "
            "larger unit"
        )
    return Edges(edges.path, edges.ends, weight, edges.lines, edges.columns)
