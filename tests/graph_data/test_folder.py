"""The files of a graph folder are mapped once, however many graphs are made of it."""

import copy
import gc
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from plait.graph_data import folder as module
from plait.graph_data.folder import GraphFolder
from plait.graph_data.importing import import_graph

N = 50


@pytest.fixture
def web(tmp_path) -> Path:
    random = np.random.default_rng(0)
    index = np.unique(random.integers(0, N, (2, 200)), axis=1)
    np.savez(tmp_path / "e.npz", edge_index=index)
    np.save(tmp_path / "x.npy", random.random((N, 4)).astype(np.float32))
    return import_graph(tmp_path / "e.npz", tmp_path / "web", features=tmp_path / "x.npy").path


def mappings(path: Path) -> int:
    """How often this process has mapped a file, as the system says."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return sum(line.endswith(str(path.resolve())) for line in lines)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux lists what is mapped")
def test_graphs_of_one_folder_share_the_mapping_and_drop_it(web) -> None:
    one, two = GraphFolder(web), GraphFolder(web / ".." / web.name)
    files = [web / f"{name}.npy" for name in ("features", "pointer", "source")]
    assert [mappings(file) for file in files] == [1, 1, 1]
    assert one.features is not None
    assert two.features is not None
    assert one.features.data_ptr() == two.features.data_ptr()
    assert np.shares_memory(one.edges.source, two.edges.source)
    del one, two
    gc.collect()
    assert [mappings(file) for file in files] == [0, 0, 0]


def test_copies_and_pickles_have_memory_of_their_own(web) -> None:
    graph = GraphFolder(web)
    assert graph.features is not None
    for other in (copy.deepcopy(graph), pickle.loads(pickle.dumps(graph))):
        assert torch.equal(other.features, graph.features)
        assert other.features.data_ptr() != graph.features.data_ptr()
        other.features.zero_()
    assert graph.features.count_nonzero() == graph.features.numel()


def test_a_file_that_was_written_anew_is_mapped_anew(web) -> None:
    before = GraphFolder(web)
    file = web / "features.npy"
    aside = file.with_name("aside.npy")
    np.save(aside, np.full((N, 4), 7, np.float32))
    aside.replace(file)
    after = GraphFolder(web)
    assert after.features is not None
    assert before.features is not None
    assert after.features.unique().tolist() == [7.0]
    assert not torch.equal(before.features, after.features)
    assert len([key for key in module._MAPPED if key[0] == str(file.resolve())]) == 2
