"""Read Planetoid's files: pickles of Python 2, opened without running any code in them."""

import pickle
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from plait.errors import InputError

SCALARS = {"f4", "f8", "i4", "i8"}
"""The number types that the files contain."""


class _Kind:
    """The dtype of an array: its name; the byte order follows as its state."""

    def __init__(self, name: str, *_: Any) -> None:
        self.name, self.order = name, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]


class _Array:
    """An array; its shape, dtype and bytes follow as its state."""

    content: np.ndarray

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, by_column, text = state
        if kind.name not in SCALARS:
            raise ValueError(f"numbers of type {kind.name!r}")
        flat = np.frombuffer(text.encode("latin1"), kind.order.replace("|", "=") + kind.name)
        self.content = flat.reshape(shape, order="F" if by_column else "C")


class _Matrix:
    """A sparse matrix; its arrays follow as attributes."""


ALLOWED = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("scipy.sparse.csr", "csr_matrix"): _Matrix,
    ("collections", "defaultdict"): defaultdict,
    ("__builtin__", "list"): list,
}
"""Every global name that the files use, and its replacement here."""


class _Unpickler(pickle.Unpickler):
    """Refuse every global name that is not in `ALLOWED`, before it is looked up."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        try:
            return ALLOWED[module_name, global_name]
        except KeyError:
            raise InputError(f"it asks for {module_name}.{global_name}") from None


def read_planetoid(folder: Path, name: str) -> dict[str, Any]:
    """Read the files `ind.NAME.…` of Yang et al. (2016).

    A pickle may name functions to call while it is loaded. Here only the names that the published
    files use are allowed, and each is replaced by a class that only holds numbers.

    Returns
    -------
    dict
        `x`, `allx`, `tx` (scipy CSR), `y`, `ally`, `ty` (arrays, one column per class), `graph`
        (neighbours by node), `test.index` (integers).

    Raises
    ------
    InputError
        If a file is missing or damaged, or uses any other name.
    """
    read = {}
    for part, plain in FILES.items():
        path = folder / f"ind.{name}.{part}"
        try:
            with path.open("rb") as file:
                read[part] = plain(_Unpickler(file, encoding="latin1").load())
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from None
        except InputError as error:
            raise InputError(
                f"{path} is not the published file: {error}; none of it was run; put the "
                "published file there"
            ) from None
        except Exception as error:  # a damaged pickle raises nearly anything
            raise InputError(f"{path} is damaged: {type(error).__name__}: {error}") from None
    path = folder / f"ind.{name}.test.index"
    try:
        read["test.index"] = np.loadtxt(path, dtype=np.int64, ndmin=1)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}") from None
    return read


def _array(loaded: _Array) -> np.ndarray:
    return loaded.content


def _matrix(loaded: _Matrix) -> scipy.sparse.csr_matrix:
    held = vars(loaded)
    parts = (held[name].content for name in ("data", "indices", "indptr"))
    matrix = scipy.sparse.csr_matrix(tuple(parts), shape=held["_shape"])
    matrix.check_format(full_check=True)
    return matrix


def _neighbours(loaded: dict[Any, Any]) -> dict[int, list[int]]:
    return {int(node): [int(n) for n in neighbours] for node, neighbours in loaded.items()}


FILES = {
    "x": _matrix, "allx": _matrix, "tx": _matrix, "y": _array, "ally": _array, "ty": _array,
    "graph": _neighbours,
}  # fmt: skip
"""The files, and the function that converts the content of each."""
