"""The table of the nodes: which column has the ids, and columns as features."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from plait.columns import (
    MISSING,
    counts_rows,
    describe_far,
    read_numbers,
    refuse_large,
)
from plait.errors import InputError
from plait.graph_data.encodings import encode_numbers, encode_texts
from plait.tables import Cells, read_cells

KINDS = {"number": "numbers", "category": "texts", "time": "times", "words": "words"}
"""What is said of the kinds of encodings."""


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
    >>> from plait.graph_data.features import read_features
    >>> path = Path(tempfile.mkdtemp()) / "nodes.csv"
    >>> _ = path.write_text("id,lanes,kind\nb,2,road\na,4,ramp\nz,9,road\n")
    >>> features, remarks = read_features(path, ["a", "b"])
    >>> features.tolist(), remarks
    ([[1.0, 1.0, 0.0], [-1.0, 0.0, 1.0]], ("numbers: 'lanes'", "texts: 'kind' (2)"))
    """
    cells = read_cells(path, encoding).filled()
    column, left_out = id_column(cells, set(ids))
    row = {name: k for k, name in enumerate(ids_of(cells, column))}
    gone = [name for name in ids if name not in row]
    if gone:
        more = f" and {len(gone) - 1} more" * (len(gone) > 1)
        raise InputError(
            f"{path} has no row for node {gone[0]!r}{more} in its column "
            f"{named(cells.names[column])}; add it"
        )
    others = [k for k in range(len(cells.names)) if k not in (column, *left_out)]
    rows = np.array([row[name] for name in ids])
    features = features_of(cells.keep(rows, others), lambda row: f"node {ids[row]!r}", missing)
    if features.values is None:
        raise InputError(f"{path} has no column of features next to {named(cells.names[column])}")
    return features.values, (*features.used, *features.notes)


def named(name: str) -> str:
    """Return what a message calls a column."""
    return repr(name) if name else "the column without a name"


def id_column(cells: Cells, ends: Collection[str]) -> tuple[int, list[int]]:
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


def ids_of(cells: Cells, column: int) -> list[str]:
    """Return the ids of a column; `InputError` for one that is missing or a duplicate."""
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


class Features(NamedTuple):
    """Columns as features `[N, F]`, how each was used, remarks, and what was learnt from each."""

    values: Tensor | None
    used: list[str]
    notes: list[str]
    encodings: list[Mapping[str, Any]]


def features_of(cells: Cells, of: Callable[[int], str], missing: Collection[str]) -> Features:
    """Return columns as features; messages call row r `of(r)`, such as "node 'ann'"."""
    read = read_numbers(cells.texts, cells.names, cells.at, missing)
    refuse_large(
        read.values,
        lambda row, k: f"{cells.at(row)}: the {cells.names[k]!r} of {of(row)} is",
    )
    parts, encodings, notes = [], [], []
    none = {*MISSING, *missing}
    for k, name in enumerate(cells.names):
        numbers = read.values[:, k]
        if read.bad[:, k].any():
            part, learnt = encode_texts(cells, of, k, numbers, none)
            parts.append(part)
            encodings.append(learnt)
            continue
        gone = np.isnan(numbers)
        if gone.all():
            raise InputError(f"{cells.path}: the column {name!r} is empty; remove it")
        if gone.any():
            notes.append(f"{gone.sum():,} of {name!r} missing, replaced by the mean")
        if len(numbers) > 9 and counts_rows(cells.texts[:, k]):
            notes.append(f"{name!r} only numbers the rows; remove it if it carries no information")
        part, learnt = encode_numbers(name, numbers)
        parts.append(part)
        encodings.append(learnt)
    used = [*_used(encodings), *["decimal commas"] * read.comma]
    if not parts:
        return Features(None, used, notes, encodings)
    notes += describe_far(read.values, cells.names)
    features = torch.from_numpy(np.concatenate(parts, 1, dtype=np.float32))
    return Features(features, used, notes, encodings)


def _used(encodings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return how columns were encoded, by kind, with the number of features of each."""
    found = []
    for kind, heading in KINDS.items():
        own = [e for e in encodings if e["kind"] == kind]
        names = [
            repr(e["column"]) + "".join(f" ({len(e[of])})" for of in ("values", "words") if of in e)
            for e in own
        ]
        if names:
            more = f" and {len(names) - 5} more" * (len(names) > 5)
            found.append(f"{heading}: {', '.join(names[:5])}{more}")
    return found
