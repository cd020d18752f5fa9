"""What a graph keeps stays in its process: copies, pickles and workers compute their own."""

import copy
import functools
import gc
import io
import multiprocessing
import pickle
import subprocess
import sys
import textwrap
import warnings
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import torch

from plait import (
    GCN,
    GRU,
    LSTM,
    Attention,
    Chebyshev,
    Diffusion,
    Graph,
    GraphConv,
    Recurrent,
)
from plait.nn.cache import Cache
from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.model import Forecaster


class Holder(torch.nn.Module):
    """A module that holds a graph and its layer."""

    def __init__(self, graph: Graph, layer: torch.nn.Module) -> None:
        super().__init__()
        self.graph, self.layer = graph, layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x, graph=self.graph)
        return y[0] if isinstance(y, tuple) else y


LAYERS = {
    "compiled loops": lambda: Recurrent(GRU("before"), 3, 4, operator=GCN()),
    "two shifts": lambda: Recurrent(LSTM(), 3, 4, operator=Diffusion(2)),
    "sparse": lambda: GraphConv(Chebyshev(3), 3, 4),
    "attention": lambda: GraphConv(Attention(2), 3, 4),
    "attention 2": lambda: GraphConv(Attention(2, version=2), 3, 4),
}


def use(name: str) -> tuple[Holder, torch.Tensor]:
    """Run once over a path long enough for sparse matrices, so that everything is kept."""
    graph = Graph.from_edges([(k, k + 1) for k in range(39)], num_nodes=41).to_undirected()
    holder = Holder(graph, LAYERS[name]())
    x = torch.randn(2, 5, 41, 3)
    assert graph.asymmetric_edge is None
    with torch.no_grad():
        holder(x)
    assert graph._cache
    return holder, x


@pytest.fixture(params=LAYERS)
def used(request) -> tuple[Holder, torch.Tensor]:
    return use(request.param)


def torch_saved(thing: object) -> object:
    file = io.BytesIO()
    torch.save(thing, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "torch.save": torch_saved,
}


@pytest.mark.parametrize("way", COPIES)
def test_a_used_graph_is_copied_without_what_it_keeps(way, used):
    holder, x = used
    expected = holder(x)
    graph = COPIES[way](holder.graph)
    assert not graph._cache
    assert holder.graph._cache
    assert torch.equal(graph.edge_index, holder.graph.edge_index)
    assert torch.equal(graph.edge_weight, holder.graph.edge_weight)
    assert (graph.num_nodes, graph.num_graphs) == (41, 1)
    holder.graph = graph
    gc.collect()
    assert torch.equal(holder(x), expected)


def test_a_used_module_that_holds_a_graph_is_copied_and_averaged(used):
    holder, x = used
    expected = holder(x)
    averaged = torch.optim.swa_utils.AveragedModel(holder)
    averaged.update_parameters(holder)
    twin = copy.deepcopy(holder)
    del holder
    gc.collect()
    assert torch.equal(averaged(x), expected)
    assert torch.equal(twin(x), expected)


def test_used_graphs_are_loaded_in_another_process(tmp_path):
    used = [(holder.layer, holder.graph, x, holder(x)) for holder, x in map(use, LAYERS)]
    torch.save(used, tmp_path / "used.pt")
    code = """
        import sys, torch
        torch.set_num_threads(1)
        for layer, graph, x, expected in torch.load(sys.argv[1], weights_only=False):
            assert not graph._cache
            y = layer(x, graph=graph)
            assert torch.equal(y[0] if isinstance(y, tuple) else y, expected)
    """
    run = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "used.pt")]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def used_layer() -> tuple[Recurrent, Graph, torch.Tensor, torch.Tensor]:
    """Make a layer that has run over a graph, what it ran on, and its answer."""
    graph = Graph.from_edges([(k, k + 1) for k in range(39)]).to_undirected()
    layer, x = LAYERS["compiled loops"]().requires_grad_(False), torch.randn(2, 5, 40, 3)
    return layer, graph, x, layer(x, graph=graph)[0]


def test_a_worker_that_is_spawned_answers_as_its_parent():
    layer, graph, x, expected = used_layer()
    assert graph._cache
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as workers:
        assert workers.submit(len, graph._cache).result(120) == 0
        y, _ = workers.submit(functools.partial(layer, x, graph=graph)).result(120)
    assert torch.equal(y, expected)


def test_a_worker_that_is_forked_answers_as_its_parent():
    layer, graph, x, expected = used_layer()
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()

    def answer() -> None:
        torch.set_num_threads(1)
        queue.put((len(graph._cache), layer(x, graph=graph)[0].numpy()))

    worker = context.Process(target=answer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        worker.start()
    worker.join(60)
    assert worker.exitcode == 0
    kept, y = queue.get()
    assert kept > 0  # the addresses are those of its parent
    assert torch.equal(torch.from_numpy(y), expected)


def test_a_forecaster_that_has_predicted_is_copied():
    model = Forecaster(ForecastConfig(history=4, horizon=2, hidden_size=4), "abc", 4)
    model.place(Graph([[0, 1], [1, 2]]).to_undirected(), np.zeros(3), np.ones(3))
    x = torch.randn(4, 5, 3)
    with torch.no_grad():
        expected = model(x)
        assert model.graph._cache
        for way in ("deepcopy", "pickle", "torch.save"):
            twin = COPIES[way](model)
            gc.collect()
            assert torch.equal(twin(x), expected)
            assert twin.graph is not model.graph


def test_a_pickle_of_the_first_version_loses_what_it_kept():
    graph = Graph([[0], [1]])
    state = {k: v for k, v in vars(graph).items() if k != "_cache"}
    old = object.__new__(Graph)
    old.__setstate__({**state, "_kept": {"filters": 12345}, "one_way": (0, 1), "negative": None})
    assert set(vars(old)) == set(vars(graph))
    assert old._cache == {}
    assert old.asymmetric_edge == (0, 1)


def test_a_cache_is_a_dict_of_its_own_process():
    kept = Cache(address=1)
    for way in COPIES.values():
        other = way(kept)
        assert type(other) is Cache
        assert other == {}
    assert copy.deepcopy([kept, kept])[0] == {}
    assert kept == {"address": 1}
