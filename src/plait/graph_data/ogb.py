"""Folders of the Open Graph Benchmark (Hu et al. 2020), as they are once unpacked."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from plait.errors import InputError

PARTS = ("train", "valid", "test")


class OGBFolder(NamedTuple):
    """The files of a folder that `plait graph import` takes.

    Attributes
    ----------
    edges : Path
        `raw/edge.csv.gz`, without a header.
    features, labels : Path or None
        `raw/node-feat.csv.gz` and `raw/node-label.csv.gz`, where they are there.
    split : Path or None
        The folder with the published `train`, `valid` and `test`.
    """

    edges: Path
    features: Path | None
    labels: Path | None
    split: Path | None


def ogb_folder(path: Path) -> OGBFolder:
    """Find the files of a folder; `InputError` where it has none, or several splits."""
    edges = path / "raw" / "edge.csv.gz"
    if not edges.is_file():
        raise InputError(
            f"{path} is no folder of the Open Graph Benchmark: it has no raw/edge.csv.gz; give "
            "that folder, unpacked, or a file of edges"
        )
    features, labels = (
        file if (file := path / "raw" / f"node-{name}.csv.gz").is_file() else None
        for name in ("feat", "label")
    )
    splits = sorted(file.parent for file in path.glob("split/*/train.csv.gz"))
    if len(splits) > 1:
        names = ", ".join(split.name for split in splits)
        raise InputError(f"{path / 'split'} has several splits ({names}); keep one of them")
    return OGBFolder(edges, features, labels, splits[0] if splits else None)


def read_split(folder: Path, nodes: int) -> dict[str, np.ndarray]:
    """Read the nodes to train, validate and test on, int64, ascending.

    Raises `InputError` for a file that is missing, and for what is no node, or twice in it.
    """
    parts = {}
    for name in PARTS:
        file = folder / f"{name}.csv.gz"
        try:
            found = pd.read_csv(file, header=None, dtype=np.int64)[0].to_numpy()
        except (OSError, EOFError, ValueError, OverflowError) as error:
            raise InputError(f"cannot read {file}: {' '.join(str(error).split())}") from None
        found = np.sort(found)
        wrong = found[(found < 0) | (found >= nodes) | np.r_[False, found[1:] == found[:-1]]]
        if len(wrong):
            raise InputError(
                f"{file}: {wrong[0]} is no node, or there twice; nodes are 0 … {nodes - 1}"
            )
        parts[name] = found
    return parts
