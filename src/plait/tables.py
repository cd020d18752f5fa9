"""CSV that users give, read in one way for every task; every row is known by its line."""

import csv
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from plait.columns import MISSING, counts_rows, read_numbers
from plait.errors import InputError
from plait.parquet_files import read_texts
from plait.text_files import read_text_file

CELL, CHARACTER = 150, 3
"""Bytes that a cell, and a character, take while a table is read."""

COUNTERS = ("", "index", "rownames", "row.names", "...1")
"""What programs call the column that only numbers the rows, in lower case."""


@dataclass(frozen=True)
class Cells:
    """The cells of a table as texts, without spaces around them.

    Attributes
    ----------
    path : Path
    names : tuple of str
        Of the columns; empty where the file names none.
    texts : object array `[R, C]`
    lines : integer array `[R]`
        The line on which each row begins.
    """

    path: Path
    names: tuple[str, ...]
    texts: np.ndarray
    lines: np.ndarray

    def at(self, row: int) -> str:
        """Name the file and the line of a row."""
        return f"{self.path}, line {self.lines[row]}"

    def column(self, name: str) -> int | None:
        """Find a column by its name, or else by its name in another case.

        >>> import numpy as np
        >>> from pathlib import Path
        >>> from plait.tables import Cells
        >>> cells = Cells(Path("a.csv"), ("id", "Weight"), np.empty((0, 2), object), np.empty(0))
        >>> cells.column("weight"), cells.column("age")
        (1, None)
        """
        name = unicodedata.normalize("NFC", name)
        if name in self.names:
            return self.names.index(name)
        small = [k for k, own in enumerate(self.names) if own.lower() == name.lower()]
        if len(small) > 1:
            raise InputError(
                f"{self.path}, line 1: {' and '.join(repr(self.names[k]) for k in small)} both may "
                f"be the {name}; rename one"
            )
        return small[0] if small else None

    def keep(self, rows: np.ndarray | slice, columns: Sequence[int] | None = None) -> "Cells":
        """Keep some of the rows, and some of the columns."""
        texts, names = self.texts[rows], self.names
        if columns is not None:
            texts, names = texts[:, columns], tuple(names[k] for k in columns)
        return replace(self, names=names, texts=texts, lines=self.lines[rows])

    def filled(self) -> "Cells":
        """Keep the rows that hold anything; `InputError` for none."""
        filled = (self.texts != "").any(1)
        if not filled.any():
            raise InputError(f"{self.path} has no rows under its first line")
        return self if filled.all() else self.keep(filled)

    def counters(self, more: Collection[str] = ()) -> list[int]:
        """List the columns that only number the rows, as programs add them to a table.

        They have no name, or one that only such columns have or that is one of `more`, and hold
        0, 1, 2, … or 1, 2, 3, …
        """
        return [
            k for k, name in enumerate(map(str.lower, self.names))
            if (name in COUNTERS or name in more or name.startswith("unnamed: "))
            and counts_rows(self.texts[:, k])
        ]  # fmt: skip


class Row(NamedTuple):
    """The cells of a row, and the line on which it begins."""

    line: int
    cells: list[str]


def read_rows(
    path: Path, *, comments: str = "", spaces: bool = False, encoding: str = "utf-8"
) -> list[Row]:
    r"""Read a table that need not name its columns; rows without anything are left out.

    Parameters
    ----------
    path : Path
    comments : str
        Lines at the top that begin with one of these characters are passed over.
    spaces : bool
        Whether spaces may separate the columns, where nothing else does.
    encoding : str
        Of the file.

    Raises
    ------
    InputError
        For what is no table, and for what there is no memory for.

    Example
    -------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from plait.tables import read_rows
    >>> path = Path(tempfile.mkdtemp()) / "roads.txt"
    >>> _ = path.write_text("# from to\n0\t1\n")
    >>> read_rows(path, comments="#")
    [Row(line=2, cells=['0', '1'])]
    """
    return [row for row in _rows(path, encoding, comments, spaces) if any(row.cells)]


def read_cells(path: Path, encoding: str = "utf-8") -> Cells:
    """Read a table whose first line names the columns, cell by cell.

    CSV in the encoding, gzipped if the name ends in `.gz`, with `,` or `;` or tabs between the
    columns.
    Columns without a name and without anything in them are left out.

    Raises
    ------
    InputError
        For what is no such table, with file and line, and for what there is no memory for.
    """
    rows = _rows(path, encoding)
    return cells_of(path, next(rows, Row(1, [])), rows)


def cells_of(path: Path, header: Row, rows: Iterable[Row]) -> Cells:
    """Put rows under the names of their columns; `InputError` where they do not fit."""
    line, names = header
    if not any(names):
        raise InputError(f"{path}, line {line}: the header is empty; it must name the columns")
    twice = next((name for name, count in Counter(names).items() if name and count > 1), None)
    if twice is not None:
        raise InputError(f"{path}, line {line}: the column {twice!r} occurs twice")
    found, lines = [], []
    for at, row in rows:
        if len(row) != len(names):
            if any(row):
                raise InputError(
                    f"{path}, line {at} has {len(row)} columns, and line {line} names {len(names)}"
                )
            row = [""] * len(names)
        found.append(row)
        lines.append(at)
    texts = np.empty((len(found), len(names)), dtype=object)
    if found:
        texts[:] = found
    cells = Cells(path, tuple(names), texts, np.array(lines, dtype=np.int64))
    nameless = [k for k, name in enumerate(names) if not name]
    filled = [k for k in nameless if any(texts[:, k])]
    if len(filled) > 1:
        raise InputError(
            f"{path}, line {line}: columns {filled[0] + 1} and {filled[1] + 1} have no name; name "
            "them, or take them out"
        )
    if len(filled) == len(nameless):
        return cells
    kept = [k for k in range(len(names)) if names[k] or k in filled]
    return cells.keep(slice(None), kept)


def read_table(
    path: Path,
    texts: Callable[[Sequence[str]], Collection[str]] = lambda names: names,
    encoding: str = "utf-8",
) -> Any:
    r"""Read a table whose first line names the columns, as `read_cells` does, or Parquet.

    Parameters
    ----------
    path : Path
    texts : callable
        Given the names of the columns: those to be kept as texts. The others hold numbers where
        all that they hold are numbers (`plait.columns.read_numbers`), with NaN where there is
        none. Default: all are texts, as those of Parquet always are.
    encoding : str
        Of the file.

    Returns
    -------
    DataFrame
        The row's index is the line on which it began; in Parquet its number. Names and texts
        without spaces around them; texts that are missing are "". A column without a name that only
        numbers the rows is left out.

    Raises
    ------
    InputError
        For what is no such table; the message says file and line.

    Example
    -------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from plait.tables import read_table
    >>> path = Path(tempfile.mkdtemp()) / "ages.csv"
    >>> _ = path.write_text("name;age\nann;31\n cem;\n")
    >>> read_table(path, texts=lambda names: ["name"])
      name   age
    2  ann  31.0
    3  cem   NaN
    """
    if path.suffix == ".parquet":
        return read_texts(path)
    cells = read_cells(path, encoding)
    if "" in cells.names:
        k = cells.names.index("")
        if not counts_rows(cells.texts[:, k]):
            raise InputError(f"{path}, line 1: column {k + 1} has no name; name it")
        cells = cells.keep(slice(None), [n for n in range(len(cells.names)) if n != k])
    frame: Any = pd.DataFrame(cells.texts, cells.lines, cells.names, dtype=str)
    others = [k for k, n in enumerate(cells.names) if n not in set(texts(cells.names))]
    if others:
        found = read_numbers(cells.texts[:, others], [cells.names[k] for k in others], cells.at)
        for k, column, bad in zip(others, found.values.T, found.bad.T, strict=True):
            if not bad.any():
                frame[cells.names[k]] = column
            else:
                frame[cells.names[k]] = frame[cells.names[k]].where(
                    ~np.isin(cells.texts[:, k], MISSING)
                )
    return frame


def filled_rows(path: Path, table: Any, *names: str) -> Any:
    """Return the rows that hold anything; `InputError` for no such row, or no such column."""
    for name in names:
        if name not in table:
            raise InputError(f"{path} has no column {name!r}; its columns are {', '.join(table)}")
    table = table[~(table.isna() | (table == "")).all(axis=1)]
    if table.empty:
        raise InputError(f"{path} has no rows under its first line")
    return table


def refuse(path: Path, table: Any, bad: Any, say: Callable[[Any], str]) -> None:
    """Raise for the first row that is bad, naming its line, or its number in Parquet."""
    if bad.any():
        row = table[bad].iloc[0]
        raise InputError(f"{path}, {table.index.name or 'line'} {row.name}: {say(row)}")


def _rows(path: Path, encoding: str, comments: str = "", spaces: bool = False) -> Iterator[Row]:
    """Read row by row; cells in quotes may hold several lines."""
    content = read_text_file(path, encoding, cost=_cost, flag="--encoding")
    content = content.replace("\ufeff", "").rstrip("\n")  # one a file, of several put together
    content = unicodedata.normalize("NFC", content)  # é as one character and as two is one name
    line = 1
    while content and content[0] in comments:
        content = content.partition("\n")[2]
        line += 1
    first = content.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    if spaces and separator not in first and len(first.split()) > 1:
        for n, text in enumerate(_lines(content), line):
            yield Row(n, text.split())
        return
    reader = csv.reader(_lines(content), delimiter=separator, skipinitialspace=True, strict=True)
    above = line - 1
    try:
        for row in reader:
            yield Row(line, [cell.strip() for cell in row])
            line = above + reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}, line {line}: no table: {error}") from None


def _cost(begin: bytes) -> float:
    """Estimate how many bytes of memory a byte of a table takes, from how it begins."""
    first = begin.split(b"\n", 1)[0]
    separator = max(b",;\t", key=lambda byte: first.count(byte))
    return CHARACTER + CELL * (begin.count(separator) + begin.count(b"\n")) / len(begin)


def _lines(text: str) -> Iterator[str]:
    """Return the lines of a text one by one, so that it is not in memory twice."""
    begin = 0
    while (end := text.find("\n", begin)) >= 0:
        yield text[begin : end + 1]
        begin = end + 1
    if begin < len(text):
        yield text[begin:]
