"""`plait graph import`: a large graph as a folder of files that are mapped into memory."""

from pathlib import Path

from cyclopts import App

from plait.cli.entry import app
from plait.cli.flags import On
from plait.terminal import counted, show

graph = App(name="graph", help="Import a graph larger than memory into a folder of files.")
app.command(graph)


@graph.command(name="import")
def import_graph(
    edges: Path,
    *,
    out: Path,
    features: Path | None = None,
    labels: Path | None = None,
    source: str = "",
    target: str = "",
    weight: str = "",
    directed: On = False,
) -> None:
    """Write a graph of any size to a folder, which plait train nodes takes as --data.

    Example: plait graph import edges.csv --labels labels.csv --out web

    Parameters
    ----------
    edges : Path
        The edges: CSV, tabs or spaces (also .gz), Parquet, .npy [2, E], or .npz. Nodes are whole
        numbers from 0. Or an unpacked folder of the Open Graph Benchmark, with all it has.
    out : Path
        The folder, new.
    features : Path
        Features of the nodes, one row per node: .npy [N, F], or CSV of numbers without a header.
    labels : Path
        Labels of the nodes: .npy [N], or one per line; empty or -1 where it is not known.
    source : str
        Column of sources in --edges. Default: source, or the first without a header.
    target : str
        Column of targets in --edges. Default: target, or the second.
    weight : str
        Column of weights in --edges. Default: weight, if there is one.
    directed : bool
        Keep the directions of the edges; else each is added the other way too.
    """
    from plait.graph_data.importing import import_graph as write

    columns = {"source": source, "target": target, "weight": weight}
    found = write(
        edges,
        out,
        features=features,
        labels=labels,
        columns=columns,
        directed=directed,
        report=show,
    )
    show(
        f"{counted(found.num_nodes, 'node')}, {counted(found.num_edges, 'edge')}, "
        f"{counted(0 if found.features is None else found.features.shape[1], 'feature')}, "
        f"{counted(len(found.classes), 'class', 'classes')}, in {out}"
    )
