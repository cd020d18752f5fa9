"""Networks by name: counts that others published, and files that are not what they should be."""

import os
import pickle
import shutil
from pathlib import Path

import networkx
import numpy as np
import pytest
import torch

from plait.errors import InputError
from plait.graph_data import NAMED_GRAPHS, named_labelled_graph
from plait.graph_data.planetoid import ALLOWED, read_planetoid

REAL = Path(os.environ.get("PLAIT_DATA", "no such folder"))
FILES = ("x", "y", "allx", "ally", "tx", "ty", "graph", "test.index")
needs_cora = pytest.mark.skipif(
    not (REAL / "graphs/planetoid/ind.cora.x").is_file(),
    reason="PLAIT_DATA names no folder with graphs/planetoid/ind.cora.…",
)
needs_amazon = pytest.mark.skipif(
    not (REAL / "graphs/amazon_computers.npz").is_file(),
    reason="PLAIT_DATA names no folder with graphs/amazon_computers.npz",
)


def test_karate_is_as_networkx_has_it():
    karate = named_labelled_graph("karate")
    club = networkx.karate_club_graph()
    assert (karate.graph.num_nodes, karate.graph.num_edges) == (34, 2 * 78)
    assert [karate.classes[k] for k in karate.labels] == [club.nodes[n]["club"] for n in club]
    assert [karate.ids[n] for n in karate.split.train] == ["0", "33"]
    assert len(karate.split.valid) == 0
    assert sorted(torch.cat(karate.split).tolist()) == list(range(34))


def test_digits_are_joined_with_their_like():
    digits = named_labelled_graph("digits")
    assert digits.features.shape == (1797, 64)
    assert digits.features.max() == 1
    source, target = digits.graph.edge_index
    assert (digits.labels[source] == digits.labels[target]).float().mean() > 0.95
    assert digits.graph.asymmetric_edge is None


@needs_cora
def test_cora_is_the_published_one():
    """Counts of Yang et al. (2016), and the files read by Python's own unpickler."""
    cora = named_labelled_graph("cora")
    assert (cora.graph.num_nodes, cora.graph.num_edges) == (2708, 2 * 5278)
    assert cora.graph.asymmetric_edge is None
    assert tuple(map(len, cora.split)) == (140, 500, 1000)
    assert cora.labels[cora.split.train].bincount().tolist() == [20] * 7
    assert len(torch.cat(cora.split).unique()) == 1640
    assert cora.features.shape == (2708, 1433)
    torch.testing.assert_close(cora.features.sum(1), torch.ones(2708))
    folder, trusted = REAL / "graphs/planetoid", {}
    for part in FILES[:-1]:
        content = (folder / f"ind.cora.{part}").read_bytes()
        content = content.replace(b"cscipy.sparse.csr\n", b"cscipy.sparse\n")
        content = content.replace(b"cnumpy.core.multiarray\n", b"cnumpy._core.multiarray\n")
        trusted[part] = pickle.loads(content, encoding="latin1")
    ours = read_planetoid(folder, "cora")
    assert ours["graph"] == trusted["graph"]
    for part in ("y", "ally", "ty"):
        np.testing.assert_array_equal(ours[part], trusted[part])
    for part in ("x", "allx", "tx"):
        np.testing.assert_array_equal(ours[part].toarray(), trusted[part].toarray())
    # the test papers come in the order of test.index
    first = int(ours["test.index"][0])
    assert int(cora.labels[first]) == int(trusted["ty"][0].argmax())
    assert torch.equal(
        cora.features[first] > 0, torch.from_numpy(trusted["tx"][0].toarray()[0] > 0)
    )


@needs_amazon
def test_amazon_computers_is_the_published_one():
    """The largest part as Shchur et al. (2018) count it: 13,381 nodes, 245,778 edges, 767 words."""
    network = named_labelled_graph("amazon-computers")
    source, target = network.graph.edge_index
    assert network.graph.num_nodes == 13_381
    assert int((source < target).sum()) == 245_778
    assert network.graph.asymmetric_edge is None
    assert network.features.shape == (13_381, 767)
    assert len(network.classes) == 10


@pytest.fixture
def planetoid(tmp_path, monkeypatch):
    """A copy of Cora's files under a data folder."""
    folder = tmp_path / "graphs" / "planetoid"
    folder.mkdir(parents=True)
    for part in FILES:
        shutil.copy(REAL / f"graphs/planetoid/ind.cora.{part}", folder)
    monkeypatch.setenv("PLAIT_DATA", str(tmp_path))
    return folder


class Hostile:
    def __init__(self, call, *arguments):
        self.reduced = call, arguments

    def __reduce__(self):
        return self.reduced


def hostile_pickles(mark: Path) -> dict[str, bytes]:
    """Pickles that would make the file `mark`, were anything in them called."""
    touch = f"open({str(mark)!r}, 'w')"
    return {
        "a system command": pickle.dumps(Hostile(os.system, f"touch {mark}"), 2),
        "eval": pickle.dumps(Hostile(eval, touch), 0),
        "a file": pickle.dumps(Hostile(open, str(mark), "w")),
        "getattr": pickle.dumps(Hostile(getattr, "text", "upper")),
        "a path inside": pickle.dumps({"a": [Hostile(os.system, f"touch {mark}")]}, 4),
        "an allowed module": b"cnumpy\nsave\n.",
        "an allowed name's attribute": b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
    }


@needs_cora
@pytest.mark.parametrize("case", hostile_pickles(Path("mark")))
@pytest.mark.parametrize("part", ["x", "graph"])
def test_a_hostile_pickle_runs_nothing(planetoid, tmp_path, case, part):
    mark = tmp_path / "mark"
    path = planetoid / f"ind.cora.{part}"
    path.write_bytes(hostile_pickles(mark)[case])
    with pytest.raises(InputError, match=f"{path} is not the published file: it asks for") as error:
        named_labelled_graph("cora")
    assert "\n" not in str(error.value)
    assert not mark.exists()


@needs_cora
def test_damaged_files_are_named(planetoid):
    for part, content in {
        "x": b"", "allx": b"\x80\x02}.", "y": b"I1\n.", "graph": b"\x80\x02]q\x00.",
        "tx": (planetoid / "ind.cora.tx").read_bytes()[:-400], "ty": b"hello",
        "test.index": b"one\n",
    }.items():  # fmt: skip
        path = planetoid / f"ind.cora.{part}"
        whole = path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"ind\.cora\.") as error:
            named_labelled_graph("cora")
        assert "\n" not in str(error.value)
        path.write_bytes(whole)
    path.unlink()
    with pytest.raises(InputError, match=r"cannot read .*test\.index"):
        named_labelled_graph("cora")


def test_nothing_that_is_allowed_does_anything():
    """What stands for the allowed names holds numbers: none is a function of others."""
    own = [kind for kind in ALLOWED.values() if kind.__module__ == "plait.graph_data.planetoid"]
    assert len(ALLOWED) - len(own) == 2
    assert all(isinstance(kind, type) for kind in ALLOWED.values())


def test_an_archive_with_a_pickle_in_it_is_refused(tmp_path, monkeypatch):
    mark = tmp_path / "mark"
    (tmp_path / "graphs").mkdir()
    hostile = np.empty(1, dtype=object)
    hostile[0] = Hostile(os.system, f"touch {mark}")
    np.savez(tmp_path / "graphs/amazon_computers.npz", adj_data=hostile)
    monkeypatch.setenv("PLAIT_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"amazon_computers\.npz is damaged or not the right file"):
        named_labelled_graph("amazon-computers")
    assert not mark.exists()


def test_unknown_and_absent_networks(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAIT_DATA", str(tmp_path))
    monkeypatch.setattr("plait.data.cache_folder", lambda: tmp_path / "cache")
    with pytest.raises(
        InputError, match=f"no graph named 'kora'; there are {', '.join(NAMED_GRAPHS)}"
    ):
        named_labelled_graph("kora")
    for name, file in (("cora", "ind.cora.graph"), ("amazon-computers", "amazon_computers.npz")):
        with pytest.raises(InputError, match=f"{file} is not on this machine; put the file"):
            named_labelled_graph(name)
