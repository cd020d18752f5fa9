"""The traffic data sets of others' tables: METR-LA, PEMS-BAY, PEMS04 and PEMS08."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from plait.data import TRAFFIC, find_data, get_data_hint
from plait.errors import InputError
from plait.nn.graph import Graph
from plait.tables import read_rows
from plait.tasks.forecast.graphs import Joined
from plait.tasks.forecast.series import Series, read_series

SMALLEST = 0.1
"""Weights below it are no edges (Li et al. 2018, section 4)."""


@dataclass(frozen=True)
class Traffic:
    """What is known of a data set: when it begins, and how its graph is made.

    `kernel`: weights are exp(−d² / σ²) of the road distance d, directed, as DCRNN has them; else
    every pair in the file is an edge of weight 1, both ways, as ASTGCN has them.
    """

    start: str
    kernel: bool


KNOWN = {
    "metr-la": Traffic("2012-03-01", kernel=True),
    "pems-bay": Traffic("2017-01-01", kernel=True),
    "pems04": Traffic("2018-01-01", kernel=False),
    "pems08": Traffic("2016-07-01", kernel=False),
}


def read_traffic(name: str) -> tuple[Series, Joined]:
    """Read one of the data sets, as `plait data get` keeps it.

    A speed or flow of 0 is a value that is missing in METR-LA and PEMS-BAY, and the first of the
    three measurements of PEMS04 and PEMS08, the flow, is read.

    Raises
    ------
    InputError
        Where a file is missing or damaged.
    """
    values, distances = (_required(name, data.file) for data in TRAFFIC[name])
    known = KNOWN[name]
    if values.suffix == ".npz":
        series = read_npz(values)
        times = pd.date_range(known.start, periods=len(series.values), freq="5min")
        series = Series(name, series.source, series.ids, series.values, times)
    else:
        series = read_series(values, missing=("0",))
        series = Series(name, series.source, series.ids, series.values, series.times)
    return series, _roads(distances, series, known.kernel)


def _required(name: str, file: str) -> Path:
    path = find_data(file)
    if path is None:
        raise InputError(f"{file} is not on this machine; {get_data_hint(name)}")
    return path


def read_npz(path: Path) -> Series:
    """Read an array named data, `[T, N]` or `[T, N, C]`, of which the first channel is taken."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if "data" not in arrays:
                raise InputError(f"{path} has no array named data; it has {', '.join(arrays)}")
            values = np.asarray(arrays["data"])
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{path} is no NPZ file, or damaged: {error}") from None
    if values.ndim not in (2, 3) or not np.issubdtype(values.dtype, np.number) or not values.size:
        raise InputError(
            f"{path}: the array data must have numbers, steps × nodes (× measurements); it is "
            f"{list(values.shape)} of {values.dtype}"
        )
    values = values[..., 0] if values.ndim == 3 else values
    ids = tuple(str(n) for n in range(values.shape[1]))
    return Series(path.stem, str(path), ids, values.astype(np.float64))


def _roads(path: Path, series: Series, kernel: bool) -> Joined:
    """Read lines of from, to and distance, with a line of names or without."""
    rows = read_rows(path)
    if not rows[0].cells[-1].replace(".", "").isdecimal():
        rows = rows[1:]
    place = {name: n for n, name in enumerate(series.ids)}
    edges, lengths = [], []
    for row in rows:
        if len(row.cells) < 3:
            raise InputError(f"{path}, line {row.line}: from, to and a distance are needed")
        ends = [place.get(_plain(cell)) for cell in row.cells[:2]]
        if None in ends:
            continue  # of a sensor that is not measured
        try:
            lengths.append(float(row.cells[2]))
        except ValueError:
            raise InputError(f"{path}, line {row.line}: {row.cells[2]!r} is no distance") from None
        edges.append(ends)
    if not edges:
        raise InputError(f"{path} has no road between two nodes of {series.source}")
    distance = np.array(lengths)
    if not kernel:
        graph = Graph.from_edges(edges, num_nodes=len(place)).to_undirected()
        return Joined(graph, f"{path}: roads")
    weight = np.exp(-((distance / (distance.std() or 1.0)) ** 2))
    kept = weight >= SMALLEST
    index = torch.tensor(edges).T[:, torch.from_numpy(kept)]
    graph = Graph(index, torch.from_numpy(weight[kept]).float(), len(place))
    return Joined(graph, f"{path}: exp(−d² / σ²) of road distances, from {SMALLEST}")


def _plain(cell: str) -> str:
    """Return an id as the series has it: 773869 for 773869.0."""
    return cell.removesuffix(".0")
