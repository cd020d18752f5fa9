"""Tables that users give: CSV read in one way, every row known by its line."""

import csv
import io
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from plait.data import read_utf8
from plait.errors import InputError

MISSING = ("", "nan", "NaN", "NA", "N/A", "null", "None")
"""What stands for no number in a column of numbers."""


def read_table(
    path: Path, texts: Callable[[Sequence[str]], Collection[str]] = lambda names: names
) -> Any:
    r"""Read a table whose first line names the columns.

    CSV in UTF-8, gzipped if the name ends in `.gz`, with `,` or `;` or tabs between the columns.

    Parameters
    ----------
    path : Path
    texts : callable
        Given the names of the columns: those to be kept as texts. The others hold numbers where
        all that they hold are numbers, with NaN where there is none. Default: all are texts.

    Returns
    -------
    DataFrame
        The row's index is the line on which it began. Names and texts without spaces around them;
        texts that are missing are "".

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
    content = _content(path)
    separator = _separator(content)
    rows = _rows(path, content, separator)
    _, first = next(rows, (1, []))
    names = [name.strip() for name in first]
    if not any(names):
        raise InputError(f"{path}, line 1: there must be the names of the columns")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path}, line 1: the column {twice!r} stands twice")
    lines = []
    for line, row in rows:
        if len(row) != len(names) and any(cell.strip() for cell in row):
            raise InputError(
                f"{path}, line {line} has {len(row)} columns, and line 1 names {len(names)}"
            )
        lines.append(line)
    chosen = set(texts(names))
    as_text: Any = {name: str for name in names if name in chosen}
    missing: Any = {name: MISSING for name in names if name not in chosen}
    frame: Any = pd.read_csv(
        io.StringIO(content), sep=separator, header=0, names=names, dtype=as_text,
        na_values=missing, keep_default_na=False, skip_blank_lines=False, skipinitialspace=True,
        index_col=False, low_memory=False,
    )  # fmt: skip
    frame.index = lines
    for name in as_text:
        frame[name] = frame[name].fillna("").str.strip()
    return frame


def filled_rows(path: Path, table: Any, *names: str) -> Any:
    """Give the rows that hold anything; `InputError` for no such row, or no such column."""
    for name in names:
        if name not in table:
            raise InputError(
                f"{path} has no column {name!r}; its first line says {', '.join(table)}"
            )
    table = table[~(table.isna() | (table == "")).all(axis=1)]
    if table.empty:
        raise InputError(f"{path} has no rows under its first line")
    return table


def at(path: Path, table: Any, row: int | np.integer[Any]) -> str:
    """Name the file and the line of a row."""
    return f"{path}, line {table.index[row]}"


def refuse(path: Path, table: Any, bad: Any, say: Callable[[Any], str]) -> None:
    """Raise for the first row that is bad, naming its line."""
    if bad.any():
        row = table[bad].iloc[0]
        raise InputError(f"{path}, line {row.name}: {say(row)}")


class Row(NamedTuple):
    """The cells of a row, and the line on which it begins."""

    line: int
    cells: list[str]


def read_rows(path: Path) -> list[Row]:
    """Read a table that need not name its columns; `InputError` for what is none."""
    content = _content(path)
    found = _rows(path, content, _separator(content))
    return [Row(line, [cell.strip() for cell in cells]) for line, cells in found if any(cells)]


def _content(path: Path) -> str:
    return read_utf8(path).removeprefix("\ufeff").rstrip("\n")


def _separator(content: str) -> str:
    return max(",;\t", key=content.split("\n", 1)[0].count)


def _rows(path: Path, content: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Give each row after the line on which it begins; cells in quotes may hold several lines."""
    reader = csv.reader(
        io.StringIO(content), delimiter=separator, skipinitialspace=True, strict=True
    )
    line = 1
    try:
        for row in reader:
            yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}, line {line}: no table: {error}") from None
