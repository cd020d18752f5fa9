"""Samples of neighbours: exact with all of them, unbiased with some, the same wherever drawn."""

import copy
import pickle
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from plait import GCN, Attention, Chebyshev, Dense, Diffusion, Graph, GraphConv
from plait.errors import InputError
from plait.nn import Adjacency, NeighbourSampler, hops_of

N = 40


@pytest.fixture(scope="module")
def directed() -> Graph:
    """A graph with weights, loops, a hub, and nodes without edges in or out."""
    random = np.random.default_rng(0)
    index = random.integers(0, N - 2, (2, 150))
    index = np.concatenate([index, [[5, 7, 9], [5, 7, 9]], [np.arange(30), np.full(30, 3)]], 1)
    index = np.unique(index, axis=1)
    return Graph(index, torch.from_numpy(random.random(index.shape[1]) + 0.1).float(), N)


@pytest.fixture(scope="module")
def undirected(directed) -> Graph:
    return directed.to_undirected()


OPERATORS = [GCN(), Chebyshev(3), Attention(2), Attention(2, version=2), Dense()]


@pytest.mark.parametrize("operator", OPERATORS, ids=repr)
def test_with_all_edges_the_outputs_are_those_of_the_whole_graph(operator, undirected, directed):
    graph = undirected if isinstance(operator, Chebyshev) else directed
    torch.manual_seed(0)
    layers = [GraphConv(operator, 3, 4).double(), GraphConv(operator, 4, 2).double()]
    x = torch.randn(N, 3, dtype=torch.float64)
    whole = layers[1](layers[0](x, graph).tanh(), graph)
    sampler = NeighbourSampler(graph, [-1] * hops_of([operator, operator]))
    for seeds in ([3], [39, 0, 7], range(N), []):
        nodes, part = sampler.sample(list(seeds))
        y = layers[1](layers[0](x[nodes], part).tanh(), part)[: len(seeds)]
        torch.testing.assert_close(y, whole[list(seeds)], rtol=0, atol=1e-6)
        assert nodes[: len(seeds)].tolist() == list(seeds)


def test_the_nodes_are_those_within_reach(directed, pyg):
    from torch_geometric.utils import k_hop_subgraph

    for hops in (1, 2, 3):
        nodes, _ = NeighbourSampler(directed, [-1] * hops).sample([3, 17])
        within, *_ = k_hop_subgraph([3, 17], hops, directed.edge_index, num_nodes=N)
        assert sorted(nodes.tolist()) == within.tolist()


@pytest.mark.parametrize("replace", [False, True])
def test_the_mean_over_samples_is_the_sum_over_all(replace, directed):
    torch.manual_seed(0)
    x = torch.randn(N, 2, dtype=torch.float64)
    conv = GraphConv(GCN(), 2, 2, bias=False).double()
    with torch.no_grad():
        whole = conv(x, directed)
        sampler = NeighbourSampler(directed, [2], replace=replace)
        found = []
        for number in range(3000):
            nodes, part = sampler.sample(range(N), number)
            found.append(conv(x[nodes], part)[:N])
    values = torch.stack(found)
    error = values.std(0) / len(found) ** 0.5
    assert ((values.mean(0) - whole).abs() <= 4.5 * error + 1e-6).all()
    assert (error > 1e-4).any()


def test_without_replacement_every_set_is_as_likely():
    star = Graph([[1, 2, 3, 4, 5], [0] * 5])
    counts = dict.fromkeys(combinations(range(1, 6), 2), 0)
    sampler = NeighbourSampler(star, [2])
    for number in range(4000):
        nodes, _ = sampler.sample([0], number)
        counts[tuple(sorted(nodes[1:].tolist()))] += 1
    assert chisquare(list(counts.values())).pvalue > 1e-4


def test_with_replacement_an_edge_weighs_as_often_as_it_is_drawn():
    star = Graph([[1, 2, 3], [0] * 3], [1.0, 2.0, 4.0])
    seen = set()
    for number in range(200):
        nodes, part = NeighbourSampler(star, [3], replace=True).sample([0], number)
        given = torch.tensor([0.0, 1.0, 2.0, 4.0])[nodes[part.edge_index[0]]]
        times = part.edge_weight / given
        assert times.sum() == 3
        seen |= set(times.tolist())
    assert seen == {1.0, 2.0, 3.0}


def edges_of(sample, of):
    """The edges into one node of the whole graph, by the whole graph's numbers."""
    source, target = sample.nodes[sample.graph.edge_index]
    return sorted(
        (int(s), float(w))
        for s, t, w in zip(source, target, sample.graph.edge_weight, strict=True)
        if t == of
    )


def test_what_is_drawn_into_a_node_does_not_depend_on_the_others(directed, monkeypatch):
    sampler = NeighbourSampler(directed, [2, 2], seed=4)
    alone, among = sampler.sample([3], 8), sampler.sample([12, 3, 20], 8)
    assert edges_of(alone, 3) == edges_of(among, 3)
    monkeypatch.setattr("plait.kernels.cpu.neighbours.BLOCK", 1)
    again = sampler.sample([12, 3, 20], 8)
    assert torch.equal(again.nodes, among.nodes)
    assert torch.equal(again.graph.edge_weight, among.graph.edge_weight)
    others = [sampler.sample([3], 9), NeighbourSampler(directed, [2, 2], seed=5).sample([3], 8)]
    assert any(edges_of(alone, 3) != edges_of(other, 3) for other in others)


def test_edges_are_sorted_and_loops_are_kept(directed):
    nodes, part = NeighbourSampler(directed, [1, 1]).sample([5, 7, 3])
    place = part.edge_index[1] * len(nodes) + part.edge_index[0]
    assert (place.diff() > 0).all()
    loops = part.edge_index[0] == part.edge_index[1]
    assert set(nodes[part.edge_index[0, loops]].tolist()) >= {5, 7}
    kept = part.edge_weight[loops][0].item()
    assert kept == pytest.approx(directed.loops[5].item())


def test_copies_know_the_whole(directed):
    _, part = NeighbourSampler(directed, [2]).sample([3, 8])
    others = (
        copy.deepcopy(part), pickle.loads(pickle.dumps(part)), part.to(torch.float64),
        part.to("cpu"),
    )  # fmt: skip
    for other in others:
        assert torch.equal(other.in_degree, part.in_degree)
        assert torch.equal(other.loops.isnan(), part.loops.isnan())
        assert other.asymmetric_edge == directed.asymmetric_edge
    assert part.in_degree[0] == pytest.approx(directed.in_degree[3].item())
    assert part.to_undirected().whole is None


def test_arrays_of_a_file_are_read_as_they_lie(directed, tmp_path):
    whole = Adjacency.of(directed)
    for name, column in (("source", whole.source.astype(np.int32)), ("weight", whole.weight)):
        np.save(tmp_path / f"{name}.npy", column)
    mapped = whole._replace(
        **{n: np.load(tmp_path / f"{n}.npy", mmap_mode="r") for n in ("source", "weight")}
    )
    ours, theirs = (NeighbourSampler(e, [3, 2]).sample([3, 5]) for e in (directed, mapped))
    assert torch.equal(ours.nodes, theirs.nodes)
    assert torch.equal(ours.graph.edge_weight, theirs.graph.edge_weight)


def test_what_cannot_be_is_refused(directed):
    for fanouts in ([0], [-2], [2, 0], [True]):
        with pytest.raises(InputError, match=r"^fan-outs must be at least 1, or -1 for all, not"):
            NeighbourSampler(directed, fanouts)
    sampler = NeighbourSampler(directed, [2])
    for seeds, message in (
        ([40], "there is no node 40; nodes are 0 … 39"),
        ([-1], "there is no node -1; nodes are 0 … 39"),
        ([3, 3], "hold one of them twice; give each once"),
        ([0.5], "must be whole numbers"),
        (torch.tensor([[1]]), "must be whole numbers"),
    ):
        with pytest.raises(InputError, match=message):
            sampler.sample(seeds)
    with pytest.raises(InputError, match="Diffusion cannot be computed on samples of neighbours"):
        hops_of([Diffusion(2)])
    _, part = sampler.sample([3])
    x = torch.randn(part.num_nodes, 2)
    with pytest.raises(InputError, match="Diffusion goes against the edges too, and a sample has"):
        GraphConv(Diffusion(2), 2, 2)(x, part)
    _, part = NeighbourSampler(directed.to_undirected(), [-1, -1]).sample([3])
    with pytest.raises(InputError, match="a sample of a graph does not know λmax of the whole"):
        GraphConv(Chebyshev(2, "exact"), 2, 2)(torch.randn(part.num_nodes, 2), part)


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("fanouts", [(2,), (3, 2), (2, 3, 2), (-1, 2, 1)])
def test_parts_of_a_sample_draw_what_the_whole_does(fanouts, replace, directed) -> None:
    graph = directed
    sampler = NeighbourSampler(graph, fanouts, replace=replace, seed=3)
    seeds = torch.arange(0, graph.num_nodes, 3)

    def rows(sample):
        """The weighted sources of the edges into each node."""
        index = sample.nodes[sample.graph.edge_index]
        found: dict[int, dict[int, float]] = {}
        for (source, target), weight in zip(
            index.T.tolist(), sample.graph.edge_weight.tolist(), strict=True
        ):
            found.setdefault(target, {})[source] = weight
        return found

    whole = rows(sampler.sample(seeds, 5))
    met: dict[int, dict[int, float]] = {}
    for part in seeds.split(4):
        own = rows(sampler.sample(part, 5, among=seeds))
        assert all(own[node] == whole[node] for node in own)
        met |= own
    assert met == whole
