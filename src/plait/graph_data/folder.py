"""`GraphFolder`: a labelled graph in files that are mapped into memory, not read into it."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch

from plait.errors import InputError
from plait.graph_data.labelled_graph import NodeSplit
from plait.json_files import read_json
from plait.memory import require_memory
from plait.nn.graph import Graph
from plait.nn.neighbours import Adjacency

FORMAT = 1
ABOUT = "graph.json"
"""The file that makes a folder a graph; it is written last."""


class Numbers(Sequence[str]):
    """The ids of nodes that have none: their numbers, as texts."""

    def __init__(self, nodes: int) -> None:
        self.nodes = nodes

    def __len__(self) -> int:
        return self.nodes

    def __getitem__(self, at: Any) -> Any:
        found = range(self.nodes)[at]
        return tuple(map(str, found)) if isinstance(found, range) else str(found)


class GraphFolder:
    """A graph that `plait graph import` wrote. It has the attributes of `LabelledGraph`.

    The files are NumPy's: `pointer.npy`, `source.npy`, `weight.npy`, `in_degree.npy`,
    `out_degree.npy` and `loops.npy` of `plait.nn.Adjacency`, `features.npy` `[N, F]` and
    `labels.npy` `[N]` if there are any, `train.npy`, `valid.npy` and `test.npy` of a published
    split, and `graph.json`. They are mapped: what is used is read,
    and the system may drop it again. Graphs of one folder share the mapping. `graph`, made at first
    use, holds all edges in memory.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        For a folder that is none, or whose files do not have the sizes that `graph.json` gives.
    """

    in_memory = False
    notes: Sequence[str] = ()

    def __init__(self, path: Path) -> None:
        self.path, self.about = path, read_json(path / ABOUT)
        try:
            found = self.about["format"]
            self.sha256, self.columns = str(self.about["sha256"]), str(self.about["columns"])
            self.classes = tuple(map(str, self.about["classes"]))
            nodes, edges = int(self.about["nodes"]), int(self.about["edges"])
            weighted, width = bool(self.about["weighted"]), int(self.about["features"])
            asymmetric, negative = self.about["asymmetric_edge"], self.about["negative_edge"]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path / ABOUT} is damaged: {error!r}; import it again") from None
        if found != FORMAT:
            raise InputError(f"{path} has format {found}; this version reads {FORMAT}")
        columns = [self._mapped("pointer", nodes + 1), self._mapped("source", edges),
                   self._mapped("weight", edges * weighted)]  # fmt: skip
        columns += [self._mapped(name, nodes) for name in ("in_degree", "out_degree", "loops")]
        pointer = columns[0]
        if int(pointer[0]) != 0 or int(pointer[-1]) != edges:
            raise InputError(f"{path / 'pointer.npy'} is damaged; import it again")
        pair = None if asymmetric is None else (int(asymmetric[0]), int(asymmetric[1]))
        self.edges = Adjacency(*columns, asymmetric_edge=pair)
        lowest = None if negative is None else (int(negative[0]), int(negative[1]))
        self.negative_edge: tuple[int, int] | None = lowest
        self.features = torch.from_numpy(self._mapped("features", nodes, width)) if width else None
        labels = self._mapped("labels", nodes) if self.classes else None
        self.labels = None if labels is None else torch.from_numpy(labels).long()
        self.ids = Numbers(nodes)
        parts = zip(NodeSplit._fields, self.about.get("split") or (), strict=False)
        found = [torch.from_numpy(self._mapped(name, size)).long() for name, size in parts]
        self.split = NodeSplit(*found) if found else None

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def source(self) -> str:
        """The folder."""
        return str(self.path)

    @property
    def num_nodes(self) -> int:
        """N."""
        return self.edges.num_nodes

    @property
    def num_edges(self) -> int:
        """E."""
        return len(self.edges.source)

    @property
    def asymmetric_edge(self) -> tuple[int, int] | None:
        """An edge without a reverse of the same weight; None: undirected."""
        return self.edges.asymmetric_edge

    @cached_property
    def graph(self) -> Graph:
        """All edges in memory."""
        fix = "train on samples, such as --sample 15,10"
        require_memory(60 * self.num_edges, f"{self.path}, of {self.num_edges:,} edges,", fix)
        target = np.repeat(np.arange(self.num_nodes), np.diff(self.edges.pointer))
        index = torch.from_numpy(np.stack([self.edges.source.astype(np.int64), target]))
        weight = torch.from_numpy(self.edges.weight.copy()) if len(self.edges.weight) else None
        return Graph(index, weight, self.num_nodes)

    def _mapped(self, name: str, *shape: int) -> np.ndarray:
        if not all(shape):
            return np.zeros(shape, np.float32)
        file = self.path / f"{name}.npy"
        try:
            found = _map(file)
        except (OSError, ValueError) as error:
            raise InputError(f"{file} is missing or cut short ({error}); import it again") from None
        if found.shape != shape:
            raise InputError(
                f"{file} has shape {list(found.shape)}, and {ABOUT} says {list(shape)}; import it "
                "again"
            )
        return np.asarray(found)


_MAPPED: WeakValueDictionary[tuple[Any, ...], np.ndarray] = WeakValueDictionary()


def _map(file: Path) -> np.ndarray:
    """Map a file, once however often it is asked for: each mapping's pages count as memory."""
    stat = file.stat()
    key = (str(file.resolve()), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
    found = _MAPPED.get(key)
    if found is None:
        found = _MAPPED[key] = np.load(file, mmap_mode="c", allow_pickle=False)
    return found


def is_graph_folder(path: str | Path) -> bool:
    """Return whether `plait graph import` wrote a folder."""
    return bool(str(path)) and (Path(path) / ABOUT).is_file()
