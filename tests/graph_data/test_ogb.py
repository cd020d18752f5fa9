"""Folders of the Open Graph Benchmark: written as it writes them, and imported."""

import gzip
from pathlib import Path

import numpy as np
import pytest

import plait
from plait.cli import run
from plait.graph_data.folder import GraphFolder

N = 40


def write(path: Path, table: np.ndarray) -> None:
    """Write numbers as CSV, gzipped, without a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "%d" if table.dtype.kind == "i" else "%.8g"
    with gzip.open(path, "wt") as file:
        np.savetxt(file, table, kind, delimiter=",")


@pytest.fixture
def arxiv(tmp_path, monkeypatch) -> dict[str, np.ndarray]:
    """A folder called `arxiv`; what was written into it."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    order = random.permutation(N)
    held = {
        "raw/edge": np.unique(random.integers(0, N, (120, 2)), axis=0),
        "raw/node-feat": random.standard_normal((N, 3)).astype(np.float32),
        "raw/node-label": random.integers(0, 2, (N, 1)),
        "split/time/train": order[:20], "split/time/valid": order[20:30],
        "split/time/test": order[30:],
    }  # fmt: skip
    for name, table in held.items():
        write(Path("arxiv") / f"{name}.csv.gz", table)
    return held


def test_edges_features_labels_and_split_are_those_of_the_folder(arxiv) -> None:
    assert run(["graph", "import", "arxiv", "--directed", "--out", "web"]) == 0
    web = GraphFolder(Path("web"))
    pairs = np.stack(web.graph.edge_index.numpy(), 1)
    assert {*map(tuple, pairs.tolist())} == {*map(tuple, arxiv["raw/edge"].tolist())}
    assert web.features is not None
    np.testing.assert_allclose(web.features.numpy(), arxiv["raw/node-feat"], rtol=1e-6)
    assert web.labels is not None
    assert web.labels.tolist() == arxiv["raw/node-label"][:, 0].tolist()
    assert web.split is not None
    for name, part in web.split._asdict().items():
        assert part.tolist() == sorted(arxiv[f"split/time/{name}"].tolist())
    trained = plait.train(
        "nodes", data="web", out="run", steps=2, hidden_size=4, sample="2,2", batch_size=8
    )
    assert len(trained.records("test")) == 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda: Path("arxiv/raw/edge.csv.gz").unlink(), "arxiv is no folder of the Open Graph"),
        (
            lambda: write(Path("arxiv/split/time/valid.csv.gz"), np.array([3, N])),
            f"arxiv/split/time/valid.csv.gz: {N} is no node, or there twice; nodes are 0 … 39",
        ),
        (
            lambda: write(Path("arxiv/split/time/test.csv.gz"), np.array([3, 5, 3])),
            "arxiv/split/time/test.csv.gz: 3 is no node, or there twice",
        ),
        (lambda: Path("arxiv/split/time/test.csv.gz").unlink(), "cannot read arxiv/split/time/te"),
        (
            lambda: write(Path("arxiv/split/random/train.csv.gz"), np.array([3])),
            "arxiv/split has several splits (random, time); keep one of them",
        ),
        (
            lambda: write(Path("arxiv/raw/node-label.csv.gz"), np.ones((N, 2), int)),
            "arxiv/raw/node-label.csv.gz has 2 columns; give one label per line",
        ),
    ],
)
def test_bad_folders_are_one_line_and_leave_nothing(spoil, message, arxiv, capsys) -> None:
    spoil()
    assert run(["graph", "import", "arxiv", "--out", "web"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"plait: {message}")
    assert not Path("web").exists()
    assert not list(Path().glob(".web*"))
