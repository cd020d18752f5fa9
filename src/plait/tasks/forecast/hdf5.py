"""Tables that pandas wrote into HDF5 files."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from plait.errors import InputError
from plait.memory import require_memory

ENDINGS = (".h5", ".hdf5", ".hdf")
"""Of the names of such files."""


def read_hdf5(path: Path) -> pd.DataFrame:
    """Read the one table that pandas wrote into an HDF5 file, in its format "fixed".

    By h5py, and no pickle in it is opened.
    """
    try:
        import h5py
    except ImportError:
        raise InputError(
            f"{path}: reading HDF5 takes h5py, which is missing; pip install 'plait[hdf5]', or "
            "give CSV"
        ) from None
    try:
        with h5py.File(path, "r") as file:
            groups: list[Any] = [g for g in file.values() if "block0_values" in g]
            if len(groups) != 1:
                raise InputError(f"{path} has {len(groups)} tables of pandas; it must have one")
            group = groups[0]
            shape = group["block0_values"].shape
            require_memory(24 * int(np.prod(shape)), f"{path}, of {shape}", "give a part of it")
            values = np.asarray(group["block0_values"], dtype=np.float64)
            names = [n.decode() if isinstance(n, bytes) else str(n) for n in group["axis0"][:]]
            found = [n.decode() if isinstance(n, bytes) else str(n) for n in group["block0_items"]]
            nanoseconds = np.asarray(group["axis1"])
    except (OSError, KeyError, AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{path} is no table that pandas wrote, or damaged: {error}") from None
    if values.shape != (len(nanoseconds), len(names)) or found != names:
        raise InputError(f"{path} has columns of several types; write numbers alone")
    frame = pd.DataFrame(values, columns=names)
    if np.issubdtype(nanoseconds.dtype, np.integer) and nanoseconds.max(initial=0) > 10**15:
        frame.index = pd.DatetimeIndex(nanoseconds.astype("datetime64[ns]"))
    return frame
