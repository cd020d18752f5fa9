"""`plait graph import`: edges, features and labels of any size, written as a graph folder.

Edges are read once, in chunks, into a file of numbers; then cut by their targets into files that
fit into memory, which are sorted one by one. So memory holds some columns of the nodes and one
such file, whatever the number of edges.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from plait.errors import InputError
from plait.graph_data.edge_files import EdgeChunk, edge_chunks, label_column, matrix_file
from plait.graph_data.folder import ABOUT, FORMAT, GraphFolder
from plait.graph_data.npy_files import save_npy, write_header, write_numbers
from plait.graph_data.ogb import ogb_folder, read_split
from plait.kernels.cpu.neighbours import first_asymmetric

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where there is no room for a file."""

IN_MEMORY = 2**23
"""Edges that are sorted at a time."""

EDGE = np.dtype([("source", np.int64), ("target", np.int64), ("weight", np.float32),
                 ("reverse", np.bool_)])  # fmt: skip
"""An edge in the files between."""


class Spool(NamedTuple):
    """Edges in a file of numbers, and the number of edges into each node."""

    path: Path
    counts: np.ndarray
    weighted: bool


def import_graph(
    edges: Path,
    out: Path,
    *,
    features: Path | None = None,
    labels: Path | None = None,
    columns: Mapping[str, str] | None = None,
    directed: bool = False,
    report: Callable[[str], None] = lambda text: None,
) -> GraphFolder:
    """Write a graph folder.

    Parameters
    ----------
    edges : Path
        CSV, tabs or spaces, also gzipped; Parquet; `.npy` `[2, E]`; `.npz` with `edge_index`, or
        scipy's CSR matrix. Nodes are whole numbers from 0. Or a folder of the Open Graph Benchmark,
        which has features, labels and a published split too.
    out : Path
        The folder, new.
    features : Path
        `.npy` `[N, F]`, or CSV of numbers without a header, also gzipped.
    labels : Path
        `.npy` `[N]`, or one label a line; empty or −1 where it is not known.
    columns : mapping
        `source`, `target` and `weight`: their columns' names, or numbers from 1.
    directed : bool
        Keep edges as they are; else each is added the other way too, and of both weights the
        larger holds.
    report : callable
        Receives what is done, in words.

    Raises
    ------
    InputError
        For a bad row, by file and line; the folder is not there then.
    """
    split = None
    if edges.is_dir():
        found = ogb_folder(edges)
        edges, split = found.edges, found.split
        features, labels = features or found.features, labels or found.labels
    if out.exists():
        raise InputError(f"{out} exists already; give another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as aside:
            folder = Path(aside) / "graph"
            folder.mkdir()
            about = _write(edges, folder, features, labels, columns or {}, directed, report, split)
            (folder / ABOUT).write_text(json.dumps(about, indent=2) + "\n", "utf-8")
            folder.rename(out)
    except OSError as error:
        if error.errno in FULL:
            raise InputError(
                f"{out}: {error.strerror}; an import needs room for its edges three times, of 21 "
                "bytes each: make some, or give --out on another disk"
            ) from None
        if error.filename is None:
            error.filename = str(out)
        raise
    return GraphFolder(out)


def _write(
    edges: Path, folder: Path, features: Path | None, labels: Path | None,
    columns: Mapping[str, str], directed: bool, report: Callable[[str], None],
    split: Path | None,
) -> dict[str, Any]:  # fmt: skip
    x = None if features is None else matrix_file(features)
    y, classes = (None, ()) if labels is None else label_column(labels)
    spool = _spooled(edge_chunks(edges, columns), folder.parent / "edges", directed, report)
    nodes = max(len(spool.counts), 0 if x is None else x.rows, 0 if y is None else len(y))
    for path, count in ((features, nodes if x is None else x.rows),
                        (labels, nodes if y is None else len(y))):  # fmt: skip
        if count != nodes:
            raise InputError(
                f"{path} has {count:,} rows, and the edges name nodes up to {nodes - 1:,}: there "
                "must be a row for each node"
            )
    counts = np.zeros(nodes, np.int64)
    counts[: len(spool.counts)] = spool.counts
    about = _sorted_edges(spool._replace(counts=counts), folder, report)
    if x is not None:
        report(f"features: {x.rows:,} × {x.width}")
        x.save(folder / "features.npy")
    if y is not None:
        save_npy(folder / "labels.npy", y)
    parts = {} if split is None else read_split(split, nodes)
    for name, part in parts.items():
        save_npy(folder / f"{name}.npy", part)
    hashed = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        hashed.update(file.name.encode())
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            while block := opened.read(2**22):
                hashed.update(block)
    return {
        "format": FORMAT, "nodes": nodes, "features": 0 if x is None else x.width,
        "split": [len(part) for part in parts.values()], "classes": list(classes),
        "columns": f"edges: {edges}", **about, "sha256": hashed.hexdigest(),
    }  # fmt: skip


def _spooled(
    chunks: Iterator[EdgeChunk], path: Path, directed: bool, report: Callable[[str], None]
) -> Spool:
    """Write all edges, and where the graph is undirected their reverses, as numbers."""
    counts, total, weighted, said = np.zeros(1024, np.int64), 0, False, 0
    most = -1
    with path.open("wb") as file:
        for source, target, weight in chunks:
            if not len(source):
                continue
            most = max(most, int(source.max()), int(target.max()))
            while most >= len(counts):
                counts = np.concatenate([counts, np.zeros_like(counts)])
            for reverse in (False,) if directed else (False, True):
                into = source if reverse else target
                rows = np.empty(len(source), EDGE)
                rows["source"], rows["target"] = (target if reverse else source), into
                rows["weight"], rows["reverse"] = 1 if weight is None else weight, reverse
                counts += np.bincount(into, minlength=len(counts))
                write_numbers(file, rows)
            weighted |= weight is not None and bool((weight != 1).any())
            total += len(source)
            if total >= said + 10**7:
                report(f"{total:,} edges read")
                said = total
    if not total:
        raise InputError(f"{path.name}: there are no edges")
    return Spool(path, counts[: most + 1], weighted)


def _sorted_edges(spool: Spool, folder: Path, report: Callable[[str], None]) -> dict[str, Any]:
    """Sort the edges by target and source, merge those of the same ends, and write them."""
    nodes = len(spool.counts)
    bounds = [0]
    ends = np.cumsum(spool.counts)
    while bounds[-1] < nodes:
        before = int(ends[bounds[-1] - 1]) if bounds[-1] else 0
        last = int(np.searchsorted(ends, before + IN_MEMORY, side="right"))
        bounds.append(max(last, bounds[-1] + 1))
    parts = _cut(spool, np.array(bounds), folder.parent)
    kind = np.int32 if nodes < 2**31 else np.int64
    pointer = np.zeros(nodes + 1, np.int64)
    degrees = {name: np.zeros(nodes) for name in ("in_degree", "out_degree")}
    loops, negative, weighted, total, raw = np.full(nodes, np.nan), None, False, 0, 0
    plain = folder.parent / "sources", folder.parent / "weights"
    with plain[0].open("wb") as sources, plain[1].open("wb") as weights:
        for k, part in enumerate(parts):
            rows = np.fromfile(part, EDGE)
            part.unlink()
            raw += int((~rows["reverse"]).sum())
            source, target, weight = _merged(rows)
            pointer[1:] += np.bincount(target, minlength=nodes)
            degrees["in_degree"] += np.bincount(target, weight, nodes)
            degrees["out_degree"] += np.bincount(source, weight, nodes)
            loop = source == target
            loops[source[loop]] = weight[loop]
            if negative is None and (weight < 0).any():
                at = int((weight < 0).argmax())
                negative = [int(source[at]), int(target[at])]
            weighted |= bool((weight != 1).any())
            write_numbers(sources, source.astype(kind))
            write_numbers(weights, weight)
            total += len(source)
            if len(parts) > 1:
                report(f"part {k + 1} of {len(parts)} sorted")
    np.cumsum(pointer, out=pointer)
    save_npy(folder / "pointer.npy", pointer)
    for name, column in (*degrees.items(), ("loops", loops)):
        save_npy(folder / f"{name}.npy", column)
    source = _as_npy(plain[0], kind, folder / "source.npy")
    weight = _as_npy(plain[1], np.float32, folder / "weight.npy") if weighted else np.ones(0, "f4")
    found = first_asymmetric(pointer, source, weight)
    return {
        "edges": total, "weighted": weighted, "negative_edge": negative,
        "asymmetric_edge": None if found is None else list(found),
    }  # fmt: skip


def _cut(spool: Spool, bounds: np.ndarray, folder: Path) -> list[Path]:
    """Cut the edges into files by their targets."""
    if len(bounds) == 2:
        return [spool.path]
    paths = [folder / f"part {k}" for k in range(len(bounds) - 1)]
    files = [path.open("wb") for path in paths]
    try:
        with spool.path.open("rb") as file:
            while len(rows := np.fromfile(file, EDGE, 2**22)):
                part = np.searchsorted(bounds, rows["target"], side="right") - 1
                order = np.argsort(part, kind="stable")
                ends = np.searchsorted(part[order], np.arange(len(paths) + 1))
                for k in np.flatnonzero(np.diff(ends)):
                    write_numbers(files[k], rows[order[ends[k] : ends[k + 1]]])
    finally:
        for opened in files:
            opened.close()
    spool.path.unlink()
    return paths


def _merged(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum weights of edges of the same ends; of an edge and another's reverse take the larger."""
    rows = rows[np.lexsort((rows["reverse"], rows["source"], rows["target"]))]
    given = np.stack([rows["target"], rows["source"], rows["reverse"]])
    first = np.r_[True, (given[:, 1:] != given[:, :-1]).any(0)]
    starts = np.flatnonzero(first)
    weight = np.add.reduceat(rows["weight"], starts) if len(rows) else rows["weight"]
    source, target = rows["source"][starts], rows["target"][starts]
    new = np.r_[True, (source[1:] != source[:-1]) | (target[1:] != target[:-1])]
    starts = np.flatnonzero(new)
    weight = np.maximum.reduceat(weight, starts) if len(weight) else weight
    return source[starts], target[starts], weight


def _as_npy(raw: Path, kind: Any, path: Path) -> np.ndarray:
    """Put NumPy's header before a file of numbers, and map it."""
    count = raw.stat().st_size // np.dtype(kind).itemsize
    with path.open("wb") as file:
        write_header(file, np.dtype(kind), (count,))
        with raw.open("rb") as opened:
            shutil.copyfileobj(opened, file, 2**22)
    raw.unlink()
    return np.asarray(np.load(path, mmap_mode="r")) if count else np.zeros(0, kind)
