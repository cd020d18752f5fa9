"""Edges, features and labels in files of any size: read in chunks, never at once."""

import gzip
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse

from plait.columns import LARGEST
from plait.errors import InputError
from plait.graph_data.edges import COMMENTS, ENDS, edge_columns
from plait.graph_data.npy_files import write_header, write_numbers
from plait.tables import Cells

ROWS = 2**20
"""Rows that are read at a time."""


class EdgeChunk(NamedTuple):
    """Some edges; without weights each weighs 1."""

    source: np.ndarray
    target: np.ndarray
    weight: np.ndarray | None


def edge_chunks(path: Path, columns: Mapping[str, str]) -> Iterator[EdgeChunk]:
    """Yield the edges of a file in chunks, by its ending.

    Raises `InputError` for rows that are no edge; the message names the file and the line.
    """
    if not path.exists():
        raise InputError(f"cannot read {path}: no such file")
    readers = {".npy": _of_npy, ".npz": _of_npz, ".parquet": _of_parquet}
    read = readers.get(path.suffix, _of_csv)
    number = 0
    for chunk in read(path, columns):
        checked = _checked(path, chunk, number)
        number += len(checked.source)
        yield checked


def _checked(path: Path, chunk: EdgeChunk, before: int) -> EdgeChunk:
    """Refuse nodes below 0 and weights that are no finite number, by the edge's number."""
    for name, ends in zip(ENDS[:2], chunk[:2], strict=True):
        if ends.dtype.kind not in "iu":
            raise InputError(f"{path}: the {name} of an edge must be a whole number from 0")
        if len(ends) and int(ends.min()) < 0:
            at = int((ends < 0).argmax())
            raise InputError(
                f"{path}, edge {before + at + 1}: the {name} is {ends[at]}; nodes are whole "
                "numbers from 0"
            )
    if chunk.weight is not None:
        wrong = ~(np.abs(chunk.weight) <= LARGEST)
        if wrong.any():
            at = int(wrong.argmax())
            raise InputError(
                f"{path}, edge {before + at + 1}: the weight {chunk.weight[at]} is no finite number"
            )
    source, target = (ends.astype(np.int64) for ends in chunk[:2])
    return EdgeChunk(source, target, chunk.weight)


def _of_npy(path: Path, columns: Mapping[str, str]) -> Iterator[EdgeChunk]:
    index = _loaded(path)
    if index.ndim != 2 or index.shape[0] != 2:
        raise InputError(f"{path} must be [2, E], sources and targets; it is {list(index.shape)}")
    for at in range(0, index.shape[1], ROWS):
        part = np.array(index[:, at : at + ROWS])
        yield EdgeChunk(part[0], part[1], None)


def _of_npz(path: Path, columns: Mapping[str, str]) -> Iterator[EdgeChunk]:
    """Read `edge_index`, or the CSR matrix that scipy and others write, rows being sources."""
    with _loaded(path) as held:
        names = dict.fromkeys(held.files)
        prefix = next((p for p in ("", "adj_") if f"{p}indptr" in names), None)
        if "edge_index" in names:
            index = held["edge_index"]
            yield EdgeChunk(index[0], index[1], None)
        elif prefix is not None:
            data, indices, indptr = (held[f"{prefix}{n}"] for n in ("data", "indices", "indptr"))
            found = scipy.sparse.csr_array((data, indices, indptr)).tocoo()
            yield EdgeChunk(found.row, found.col, found.data.astype(np.float32))
        else:
            raise InputError(f"{path} has no edge_index, and no indptr, indices and data")


def _of_parquet(path: Path, columns: Mapping[str, str]) -> Iterator[EdgeChunk]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise InputError("Parquet needs pyarrow: pip install 'plait[parquet]'") from None
    try:
        file = ParquetFile(path)
        all_names = list(file.schema_arrow.names)
        names = [all_names[k] for k in _columns(path, all_names, columns)]
        for batch in file.iter_batches(ROWS, columns=names):
            yield _chunk([batch.column(name).to_numpy(zero_copy_only=False) for name in names])
    except ArrowException as error:
        raise InputError(f"cannot read {path}: {' '.join(str(error).split())}") from None


def _chunk(found: list[np.ndarray]) -> EdgeChunk:
    return EdgeChunk(found[0], found[1], found[2].astype(np.float32) if found[2:] else None)


def _of_csv(path: Path, columns: Mapping[str, str]) -> Iterator[EdgeChunk]:
    """Read CSV, or columns divided by tabs, semicolons or spaces, with comments above."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    skipped, first = 0, ""
    try:
        with opener(path, "rt", encoding="utf-8-sig") as file:
            for line in file:
                first = line.rstrip("\r\n")
                if first.strip() and first[0] not in COMMENTS:
                    break
                skipped += 1
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from None
    mark = next((m for m in ("\t", ";", ",") if m in first), None)
    cells = [cell.strip().strip('"') for cell in (first.split(mark) if mark else first.split())]
    if any(cell.lstrip("-").isdecimal() for cell in cells):
        names, header = [str(k + 1) for k in range(len(cells))], 0
        columns = dict(zip(ENDS, names, strict=False)) | {k: v for k, v in columns.items() if v}
    else:
        names, header = cells, 1
    places = _columns(path, names, columns)
    kinds = [np.int64, np.int64, np.float32]
    options: dict[str, Any] = {
        "sep": mark or r"\s+", "header": None, "chunksize": ROWS, "skiprows": skipped + header,
        "na_filter": False, "skip_blank_lines": False,
        "encoding": "utf-8-sig", "skipinitialspace": True,
    }  # fmt: skip
    line = skipped + header
    try:
        with pd.read_csv(path, dtype=str, **options) as tables:
            for table in tables:
                if table.shape[1] != len(names):
                    raise InputError(
                        f"{path}, line {line + 1}: {table.shape[1]} cells, and the line above has "
                        f"{len(names)}"
                    )
                yield _chunk(
                    [
                        _numbers(path, table[place], kind, line)
                        for place, kind in zip(places, kinds, strict=False)
                    ]
                )
                line += len(table)
    except pd.errors.EmptyDataError:
        return
    except (pd.errors.ParserError, ValueError, OSError, EOFError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read {path}: {' '.join(str(error).split())}") from None


def _numbers(path: Path, texts: Any, kind: Any, before: int) -> np.ndarray:
    """Read a column of a chunk; `before` lines come before it."""
    try:
        return texts.to_numpy(dtype=object).astype(kind)
    except (ValueError, OverflowError):
        read: Any = pd.to_numeric(texts, errors="coerce")
        bad = read.isna() if kind == np.float32 else read.isna() | (read % 1 != 0)
        at = int(np.flatnonzero(bad)[0]) if bad.any() else 0
        what = "a number" if kind == np.float32 else "a whole number from 0"
        raise InputError(
            f"{path}, line {before + at + 1}: {texts.iloc[at]!r} is not {what}"
        ) from None


def _columns(path: Path, names: list[str], asked: Mapping[str, str]) -> list[int]:
    """Choose the columns of sources, targets and, if there are any, weights."""
    header = Cells(path, tuple(names), np.empty((0, len(names))), np.empty(0))
    return list(edge_columns(header, asked).values())


class Matrix(NamedTuple):
    """A file of features."""

    path: Path
    rows: int
    width: int

    def save(self, out: Path) -> None:
        """Write it as `.npy` in float32, some rows at a time."""
        at = 0
        with out.open("wb") as file:
            write_header(file, np.dtype(np.float32), (self.rows, self.width))
            for part in _matrix_chunks(self.path):
                wrong = ~(np.abs(part) <= LARGEST)
                if wrong.any():
                    row = int(wrong.any(1).argmax())
                    raise InputError(
                        f"{self.path}, row {at + row + 1}: a feature is no finite number"
                    )
                write_numbers(file, part)
                at += len(part)


def matrix_file(path: Path) -> Matrix:
    """Return how large a file of features is; `InputError` where it is none."""
    if path.suffix == ".npy":
        found = _loaded(path)
        if found.ndim != 2 or found.dtype.kind not in "fiub" or not found.shape[1]:
            raise InputError(f"{path} must be numbers [N, F]; it is {list(found.shape)}")
        return Matrix(path, *found.shape)
    rows, width = 0, 0
    for part in _matrix_chunks(path):
        rows, width = rows + len(part), part.shape[1]
    return Matrix(path, rows, width)


def _matrix_chunks(path: Path) -> Iterator[np.ndarray]:
    if path.suffix == ".npy":
        found = _loaded(path)
        for at in range(0, len(found), 2**16):
            yield np.asarray(found[at : at + 2**16], np.float32)
        return
    try:
        for table in pd.read_csv(path, header=None, chunksize=2**16, dtype=np.float32):
            yield table.to_numpy()
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"cannot read {path}: {' '.join(str(error).split())}") from None


def label_column(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the class of each node, −1 where it is not known, and the classes."""
    if path.suffix == ".npy":
        found = _loaded(path)
        if found.ndim > 1 and found.shape[1:] == (1,):
            found = found[:, 0]
        if found.ndim != 1 or found.dtype.kind not in "iub":
            raise InputError(f"{path} must be whole numbers [N]; it is {list(found.shape)}")
        known = np.unique(found[found >= 0])
        texts = tuple(map(str, known.tolist()))
        place = np.searchsorted(known, found)
        return np.where(found >= 0, place, -1).astype(np.int32), texts
    try:
        table: Any = pd.read_csv(
            path, header=None, dtype=str, na_filter=False, skip_blank_lines=False
        )
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"cannot read {path}: {' '.join(str(error).split())}") from None
    if table.shape[1] != 1:
        raise InputError(f"{path} has {table.shape[1]} columns; give one label per line")
    column = table[0].replace("-1", "")
    known = sorted(set(column) - {""}, key=lambda text: (not text.isdecimal(), len(text), text))
    place = {name: k for k, name in enumerate(known)} | {"": -1}
    return column.map(place).to_numpy(np.int32), tuple(known)


def _loaded(path: Path) -> Any:
    """Open an array of NumPy's, mapped where it is one file."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        text = " ".join(str(error).split())
        raise InputError(f"cannot read {path}: {text}") from None
