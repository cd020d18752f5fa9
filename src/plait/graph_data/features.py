"""The table of the nodes: which column has the ids, and columns as features."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from plait.columns import (
    MISSING,
    counts_rows,
    describe_far,
    is_category,
    read_numbers,
    refuse_large,
)
from plait.errors import InputError
from plait.tables import Cells, read_cells

MOST_TEXTS = 1000
"""Most distinct texts of a column that become one feature each."""


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
    features, _, used, notes = features_of(cells.keep(rows, others), ids, missing)
    if features is None:
        raise InputError(f"{path} has no column of features next to {named(cells.names[column])}")
    return features, (*used, *notes)


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


def features_of(
    cells: Cells, ids: Sequence[str], missing: Collection[str]
) -> tuple[Tensor | None, list[str], list[str], list[str]]:
    """Return columns as features `[N, F]`, their names, how columns were used, and remarks."""
    read = read_numbers(cells.texts, cells.names, cells.at, missing)
    refuse_large(
        read.values,
        lambda row, k: f"{cells.at(row)}: the {cells.names[k]!r} of node {ids[row]!r} is",
    )
    parts, feature_names, texts, notes = [], [], [], []
    for k, name in enumerate(cells.names):
        if read.bad[:, k].any():
            marks, kinds = _one_hot(cells, ids, k, read.values[:, k], {*MISSING, *missing})
            parts.append(marks)
            feature_names += [f"{name} = {kind}" for kind in kinds]
            texts.append(f"{name!r} ({len(kinds)})")
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
        feature_names.append(name)
    numbers = [repr(name) for k, name in enumerate(cells.names) if not read.bad[:, k].any()]
    used = [
        f"{kind}: {', '.join(names[:5])}" + f" and {len(names) - 5} more" * (len(names) > 5)
        for kind, names in (("numbers", numbers), ("texts", texts))
        if names
    ]
    used += ["decimal commas"] * read.comma
    if not parts:
        return None, [], used, notes
    notes += describe_far(read.values, cells.names)
    features = torch.from_numpy(np.concatenate(parts, 1, dtype=np.float32))
    return features, feature_names, used, notes


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
) -> tuple[np.ndarray, list[str]]:
    """Encode a column of texts as one-hot features `[N, texts]`; refuse what is no category.

    With them the texts.
    """
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
    return column[:, None] == np.array(texts, dtype=object), texts
