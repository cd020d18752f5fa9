"""NumPy's files, written bit by bit: a full disk is an error that says so.

`ndarray.tofile` and mapped files do not: the one says how many numbers it could not write, with the
other the process is killed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np


def write_numbers(file: BinaryIO, numbers: np.ndarray) -> None:
    """Write the bytes of an array."""
    file.write(np.ascontiguousarray(numbers).view(np.uint8).data)


def write_header(file: BinaryIO, kind: np.dtype, shape: Sequence[int]) -> None:
    """Write what comes before the numbers of an array."""
    header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False,
              "shape": tuple(shape)}  # fmt: skip
    np.lib.format.write_array_header_1_0(file, header)


def save_npy(path: Path, numbers: np.ndarray) -> None:
    """Write an array, as `numpy.save` does."""
    with path.open("wb") as file:
        write_header(file, numbers.dtype, numbers.shape)
        write_numbers(file, numbers)
