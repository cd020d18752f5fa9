"""Data in memory, a DataFrame or a text, as the files that a task reads."""

import csv
import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from plait.errors import InputError


def in_memory(value: Any) -> bool:
    r"""Return whether an option's value is data itself: a DataFrame, a Series, lines of text.

    A string that is no path and has a line break is text; no name of a data set has one.

    >>> import pandas as pd
    >>> from plait.in_memory import in_memory
    >>> in_memory(pd.DataFrame()), in_memory("Once.\nTwice.\n"), in_memory("once.txt")
    (True, True, False)
    """
    if isinstance(value, str):
        return "\n" in value and not os.path.exists(value)  # noqa: PTH110 - for any string
    return isinstance(value, pd.DataFrame | pd.Series)


@contextmanager
def as_files(
    values: Mapping[str, Any], folder: Path, encoding: str = "utf-8"
) -> Iterator[dict[str, str]]:
    """Write values that are in memory as files; after an exception none of them is left.

    Parameters
    ----------
    values : mapping
        DataFrames, Series and texts by name.
    folder : Path
        Where `NAME.csv` and `NAME.txt` are written. It is made with the folders above it.
    encoding : str
        Of the files: the one that they are read in.

    Yields
    ------
    dict
        The files by name.

    Raises
    ------
    InputError
        For a table that cannot be written, or not in this encoding. Errors that name a file while
        the context lasts name the value instead: "data (a DataFrame), row 3", where rows count
        from 0.
    """
    made = [p for p in (folder, *folder.parents) if not p.exists()]
    files = {name: folder / f"{name}{'.txt' if isinstance(v, str) else '.csv'}"
             for name, v in values.items()}  # fmt: skip
    contents = {name: _content(name, value, encoding) for name, value in values.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, file in files.items():
            file.write_bytes(contents[name])
        yield {name: str(file.resolve()) for name, file in files.items()}
    except BaseException as error:
        for file in files.values():
            file.unlink(missing_ok=True)
        for path in made:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        if isinstance(error, InputError):
            raise InputError(_by_name(str(error), values, files)) from None
        raise


def _content(name: str, value: Any, encoding: str) -> bytes:
    text = value if isinstance(value, str) else _csv(name, value)
    try:
        return text.encode(encoding)
    except (UnicodeEncodeError, LookupError) as error:
        raise InputError(
            f"{name} cannot be written as {encoding!r} ({error}); give utf-8"
        ) from None


def _csv(name: str, table: Any) -> str:
    """Return a table as CSV that reads back the same, with its index where that says something."""
    frame = table.to_frame() if isinstance(table, pd.Series) else table.copy(deep=False)
    if isinstance(frame.columns, pd.MultiIndex):
        raise InputError(
            f"{name} has columns of {frame.columns.nlevels} levels; give each column one name"
        )
    if isinstance(frame.index, pd.PeriodIndex):
        frame.index = frame.index.to_timestamp()
    numbered = pd.api.types.is_integer_dtype(frame.index) and frame.index.name is None
    indexed = not numbered or (len(frame) > 0 and list(frame.index) == list(frame.columns))
    names = [*(["" if n is None else str(n) for n in frame.index.names] if indexed else []),
             *map(str, frame.columns)]  # fmt: skip
    separator = next((s for s in ",;\t" if _reads_back(names, s)), None)
    if separator is None:
        raise InputError(
            f"{name} has column names with commas, semicolons and tabs, so that none separates "
            "them; rename the columns"
        )
    return frame.to_csv(index=indexed, sep=separator)


def _reads_back(names: list[str], separator: str) -> bool:
    """Return whether a reader takes the separator for the one between these names."""
    line = io.StringIO()
    csv.writer(line, delimiter=separator).writerow(names)
    return max(",;\t", key=line.getvalue().count) == separator


def _by_name(message: str, values: Mapping[str, Any], files: Mapping[str, Path]) -> str:
    """Return a message with the names of values for their files, and rows for lines."""
    for name, file in files.items():
        kind = "a text" if isinstance(values[name], str) else f"a {type(values[name]).__name__}"
        path = re.escape(str(file.resolve()))
        if not isinstance(values[name], str):
            message = re.sub(
                path + r", line (\d+)",
                lambda found, name=name, kind=kind: (
                    f"{name} ({kind}), "
                    + (f"row {int(found[1]) - 2}" if int(found[1]) > 1 else "names of columns")
                ),
                message,
            )
        message = re.sub(path, f"{name} ({kind})", message)
    return message
