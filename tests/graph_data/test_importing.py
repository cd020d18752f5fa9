"""Graph folders: equal to the graph in memory, whatever the file and however small the parts."""

import json
import os
import resource
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

import plait
from plait import Graph
from plait.cli import run
from plait.errors import InputError
from plait.graph_data import importing
from plait.graph_data.folder import GraphFolder, is_graph_folder
from plait.graph_data.importing import import_graph
from plait.nn import Adjacency, NeighbourSampler

N = 60


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def edges(tmp_path, monkeypatch) -> np.ndarray:
    """Edges with loops, each once; the folder is current."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    index = random.integers(0, N, (2, 300))
    index[:, :2] = [[N - 1, 3], [0, 3]]
    return np.unique(index, axis=1)[:, random.permutation(np.unique(index, axis=1).shape[1])]


@pytest.fixture
def weights(edges) -> np.ndarray:
    return np.random.default_rng(1).random(edges.shape[1]).astype(np.float32) + 0.5


def same(folder: GraphFolder, graph: Graph) -> None:
    ours, theirs = folder.edges, Adjacency.of(graph)
    assert ours.features is theirs.features is None
    for name in Adjacency._fields[: Adjacency._fields.index("asymmetric_edge")]:
        a, b = np.asarray(getattr(ours, name)), np.asarray(getattr(theirs, name))
        np.testing.assert_allclose(a, b, rtol=1e-6, err_msg=name)
    assert (ours.asymmetric_edge is None) == (theirs.asymmetric_edge is None)
    assert torch.equal(folder.graph.edge_index, graph.edge_index)


def written(edges, weights, form: str) -> Path:
    table = pd.DataFrame({"source": edges[0], "target": edges[1], "weight": weights})
    if form == "csv":
        table.to_csv("e.csv", index=False)
    elif form == "csv.gz":
        table.rename(columns=str.upper).to_csv("e.csv.gz", index=False, sep=";")
    elif form == "snap":
        text = table.to_csv(sep="\t", header=False, index=False)
        Path("e.txt").write_text("# a comment\n# from to\n" + text)
        return Path("e.txt")
    elif form == "parquet":
        table[["weight", "target", "source"]].to_parquet("e.parquet")
    elif form == "npz":
        matrix = scipy.sparse.csr_array((weights, (edges[0], edges[1])), (N, N))
        scipy.sparse.save_npz("e.npz", matrix)
    return Path(f"e.{form}")


@pytest.mark.parametrize("directed", [True, False])
@pytest.mark.parametrize("form", ["csv", "csv.gz", "snap", "parquet", "npz"])
def test_every_form_gives_the_graph_in_memory(form, directed, edges, weights):
    path = written(edges, weights, form)
    folder = import_graph(path, Path("out"), directed=directed)
    graph = Graph(edges, torch.from_numpy(weights), N)
    same(folder, graph if directed else graph.to_undirected())
    assert is_graph_folder("out")
    assert not list(Path().glob(".out*"))


@pytest.mark.parametrize("most", [1, 7, 50])
def test_parts_that_do_not_fit_at_once_give_the_same(most, edges, weights, monkeypatch):
    monkeypatch.setattr(importing, "IN_MEMORY", most)
    monkeypatch.setattr("plait.graph_data.edge_files.ROWS", 13)
    folder = import_graph(written(edges, weights, "csv"), Path("out"))
    same(folder, Graph(edges, torch.from_numpy(weights), N).to_undirected())


@pytest.mark.filterwarnings("ignore:.*duplicate edge")
def test_edges_given_twice_are_summed_and_of_two_ways_the_larger_holds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    index, weight = [[0, 0, 1, 2], [1, 1, 0, 2]], [1.0, 2.0, 2.5, 1.0]
    Path("e.csv").write_text("source,target,weight\n0,1,1\n0,1,2\n1,0,2.5\n2,2,1\n")
    folder = import_graph(Path("e.csv"), Path("both"))
    same(folder, Graph(index, weight).to_undirected())
    assert folder.edges.weight.tolist() == [3.0, 3.0, 1.0]
    same(import_graph(Path("e.csv"), Path("one"), directed=True), Graph(index, weight))


def test_features_and_labels(edges):
    np.save("e.npy", edges)
    x = np.random.default_rng(0).random((N, 3)).astype(np.float32)
    np.save("x.npy", x)
    pd.DataFrame(x.astype(np.float64)).to_csv("x.csv.gz", header=False, index=False)
    Path("y.csv").write_text("\n".join(["b", "", "-1", *["a", "10"] * 28, "9"]) + "\n")
    for file in ("x.npy", "x.csv.gz"):
        folder = import_graph(Path("e.npy"), Path(f"of {file}"), features=Path(file),
                              labels=Path("y.csv"))  # fmt: skip
        np.testing.assert_allclose(folder.features.numpy(), x, rtol=1e-6)
        assert folder.classes == ("9", "10", "a", "b")
        assert folder.labels[:5].tolist() == [3, -1, -1, 2, 1]
        assert folder.edges.weight.shape == (0,)
    np.save("y.npy", np.array([[5], [-1], *[[7]] * (N - 2)]))
    labels = import_graph(Path("e.npy"), Path("y"), labels=Path("y.npy"))
    assert (labels.classes, labels.labels[:3].tolist()) == (("5", "7"), [0, -1, 1])


def test_a_run_on_a_folder(edges, monkeypatch, capsys):
    monkeypatch.setattr(os, "fsync", lambda _: None)
    np.save("e.npy", edges)
    np.save("x.npy", np.random.default_rng(0).random((N, 3)))
    np.save("y.npy", np.arange(N) % 2)
    words = "graph import e.npy --features x.npy --labels y.npy --out web"
    assert run(words.split()) == 0
    assert "60 nodes, " in capsys.readouterr().out
    options = {"data": "web", "hidden_size": 4, "steps": 3, "validate_every": 1, "threads": 1,
               "dropout": 0.0}  # fmt: skip
    sampled = plait.train("nodes", **options, sample="3,3", batch_size=8, out="sampled")
    assert plait.score(sampled)["accuracy"] == sampled.records("test")[0]["accuracy"]
    assert len(plait.predict(sampled, out="labels.csv").read_text().splitlines()) == N + 1
    whole = plait.train("nodes", **options, out="whole")
    every = plait.train("nodes", **options, sample="all,all", batch_size=60, out="every")
    losses = [run.records("valid")[-1]["loss"] for run in (whole, every)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    about = json.loads(Path("web/graph.json").read_text())
    Path("web/graph.json").write_text(json.dumps(about | {"sha256": "0"}))
    with pytest.raises(InputError, match="web is no longer what the run was trained on"):
        plait.score(sampled)


BAD = {
    "a node below 0": (
        "e.csv",
        "source,target\n0,1\n0,-1\n",
        "e.csv, edge 2: the target is -1; no",
    ),
    "no number": ("e.csv", "source,target\n0,1\nx,1\n", "e.csv, line 3: 'x' is not a whole number"),
    "a half": ("e.csv", "source,target\n0,1\n0.5,1\n", "e.csv, line 3: '0.5' is not a whole numb"),
    "an empty cell": ("e.csv", "source,target\n0,\n", "e.csv, line 2: '' is not a whole number"),
    "an infinite weight": ("e.csv", "source,target,weight\n0,1,inf\n", "e.csv, edge 1: the weight"),
    "no column": (
        "e.csv",
        "a,b\n0,1\n",
        "e.csv has no column 'source'; its first line has a, b; ",
    ),
    "too many cells": ("e.csv", "source,target\n0,1\n0,1,2\n", "cannot read e.csv: "),
    "no edges": ("e.csv", "source,target\n", "there are no edges"),
    "nothing": ("e.csv", "", "e.csv has no column 'source'"),
    "no such file": ("f.csv", "", "cannot read e.csv: no such file"),
    "no array": ("e.npy", "hello", "cannot read e.npy: "),
    "no archive": ("e.npz", "hello", "cannot read e.npz: "),
    "no parquet": ("e.parquet", "hello", "cannot read e.parquet: "),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_edges_are_one_line_and_leave_nothing(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file, text, message = BAD[name]
    Path(file).write_text(text)
    path = "e.csv" if file == "f.csv" else file
    assert run(["graph", "import", path, "--out", "web"]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert [p.name for p in Path().iterdir()] == [file]


def test_other_bad_inputs(edges, capsys):
    np.save("e.npy", edges)
    np.save("x.npy", np.zeros((N + 5, 2)))
    np.save("bad.npy", np.full((N, 2), np.nan))
    np.save("flat.npy", np.zeros(N))
    for words, message in (
        ("--features flat.npy", "flat.npy must be numbers [N, F]; it is [60]"),
        ("--features bad.npy", "bad.npy, row 1: a feature is no finite number"),
        ("--features none.npy", "cannot read none.npy: "),
        ("--features x.npy --labels flat.npy", "flat.npy must be whole numbers [N]; it is [60]"),
    ):
        assert run(["graph", "import", "e.npy", "--out", "web", *words.split()]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    Path("web").mkdir()
    assert run(["graph", "import", "e.npy", "--out", "web"]) == 2
    assert "web exists already; give another --out" in capsys.readouterr().err


def test_a_folder_cut_short_is_refused(edges):
    np.save("e.npy", edges)
    import_graph(Path("e.npy"), Path("web"))
    source = Path("web/source.npy")
    whole = source.read_bytes()
    source.write_bytes(whole[:-9])
    with pytest.raises(InputError, match=r"source.npy is missing or cut short .*; import it again"):
        GraphFolder(Path("web"))
    np.save(source, np.zeros(3, np.int32))
    with pytest.raises(InputError, match=r"source.npy has shape \[3\], and graph.json says"):
        GraphFolder(Path("web"))
    source.write_bytes(whole)
    Path("web/graph.json").write_text('{"format": 1}')
    with pytest.raises(InputError, match=r"graph.json is damaged: KeyError\('sha256'\); import it"):
        GraphFolder(Path("web"))


def test_an_edge_beyond_the_nodes_is_refused(edges, capsys):
    np.save("e.npy", edges)
    np.save("x.npy", np.zeros((N - 5, 2)))
    np.save("y.npy", np.zeros(N - 5, int))
    for words, file in (("--features x.npy", "x.npy"), ("--labels y.npy", "y.npy")):
        assert run(["graph", "import", "e.npy", "--out", "web", *words.split()]) == 2
        assert capsys.readouterr().err == (
            f"plait: {file} has {N - 5} rows, and the edges name nodes up to {N - 1}: there must "
            "be a row for each node\n"
        )
    assert not Path("web").exists()
    folder = import_graph(Path("e.npy"), Path("web"))
    assert NeighbourSampler(folder.edges, [-1]).sample([0, 1]).graph.num_edges > 0
    np.save("web/source.npy", np.full(folder.num_edges, N, np.int32))
    damaged = GraphFolder(Path("web")).edges
    for fanout in (-1, 2):
        with pytest.raises(InputError, match=r"^an edge comes from node 60, and nodes are 0 … 59;"):
            NeighbourSampler(damaged, [fanout, fanout]).sample([0, 1])
    pointer = np.array(folder.edges.pointer)
    np.save("web/pointer.npy", pointer + 1)
    with pytest.raises(InputError, match=r"pointer\.npy is damaged; import it again"):
        GraphFolder(Path("web"))


@pytest.mark.parametrize("room", [100, 2000, 20_000, 30_000])
def test_a_full_disk_is_one_line_and_leaves_nothing(room, edges, capsys):
    """A limit on the size of files stops the edges, a column of the nodes, or the features."""
    np.save("e.npy", edges[:, :200])
    np.save("x.npy", np.ones((N, 150), np.float32))
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        words = ["graph", "import", "e.npy", "--features", "x.npy", "--out", "web"]
        assert run(words) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert capsys.readouterr().err == (
        "plait: web: File too large; an import needs room for its edges three times, of 21 bytes "
        "each: make some, or give --out on another disk\n"
    )
    assert sorted(p.name for p in Path().iterdir()) == ["e.npy", "x.npy"]


def test_an_interrupt_or_a_full_disk_leaves_nothing(edges, monkeypatch):
    np.save("e.npy", edges)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    for fault, kind in ((full, InputError), (interrupt, KeyboardInterrupt)):
        with monkeypatch.context() as patch:
            patch.setattr(importing, "_sorted_edges", fault)
            with pytest.raises(kind):
                import_graph(Path("e.npy"), Path("web"))
        assert [p.name for p in Path().iterdir()] == ["e.npy"]
