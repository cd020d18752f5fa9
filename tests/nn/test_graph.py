"""`Graph`: building it, what is refused, hops, several graphs joined, to and from others."""

import copy
import sys

import networkx
import numpy as np
import pytest
import scipy.sparse
import torch

from plait import GCN, Graph, GraphConv, InputError

# the report's graph: A–B, A–E, A–F, B–D, C–D, D–F
A, B, C, D, E, F_ = range(6)
REPORT = [(A, B), (A, E), (A, F_), (B, D), (C, D), (D, F_)]


@pytest.fixture
def report() -> Graph:
    return Graph.from_edges(REPORT).to_undirected()


def entries(graph: Graph) -> dict[tuple[int, int], float]:
    pairs = map(tuple, graph.edge_index.T.tolist())
    return dict(zip(pairs, graph.edge_weight.tolist(), strict=True))


def test_the_reports_adjacency_with_loops(report):
    expected = torch.tensor(
        [
            [1, 1, 0, 0, 1, 1],
            [1, 1, 0, 1, 0, 0],
            [0, 0, 1, 1, 0, 0],
            [0, 1, 1, 1, 0, 1],
            [1, 0, 0, 0, 1, 0],
            [1, 0, 0, 1, 0, 1],
        ]
    )
    weights = {"weight": torch.eye(6).double()}
    reached = GCN().apply(torch.eye(6).double(), weights, report)  # Â
    assert torch.equal(reached != 0, expected == 1)
    assert torch.allclose(reached, reached.T, rtol=1e-14)
    # degrees with loops are A 4, B 3, C 2, D 4, E 2, F 3
    assert reached[A, E].item() == pytest.approx(1 / np.sqrt(4 * 2), rel=1e-14)
    assert reached[C, D].item() == pytest.approx(1 / np.sqrt(2 * 4), rel=1e-14)
    assert reached[F_, F_].item() == pytest.approx(1 / 3, rel=1e-14)


def test_from_c_to_e_takes_four_updates(report):
    assert report.hops(C, E) == report.hops(E, C) == 4
    assert report.hops(C, C) == 0
    assert [report.receptive_field(E, layers).tolist() for layers in range(5)] == [
        [E],
        [A, E],
        [A, B, E, F_],
        [A, B, D, E, F_],
        [A, B, C, D, E, F_],
    ]


@pytest.mark.parametrize("layers", [3, 4])
def test_a_network_of_gcns_reaches_as_far_as_it_has_layers(report, layers):
    x = torch.randn(6, 3).double().requires_grad_()
    h = x
    for _ in range(layers):
        h = torch.tanh(GraphConv(GCN(), 3, 3).double()(h, report))
    (gradient,) = torch.autograd.grad(h[E].sum(), x)
    reached = gradient.abs().sum(1).nonzero().flatten()
    assert reached.tolist() == report.receptive_field(E, layers).tolist()
    assert (C in reached) == (layers == 4)


def test_hops_follow_the_edges_and_not_their_weights():
    graph = Graph([[0, 1, 2], [1, 2, 0]], [0.0, 5.0, -1.0], num_nodes=4)
    assert (graph.hops(0, 2), graph.hops(2, 1), graph.hops(0, 3)) == (2, 2, None)
    assert graph.receptive_field(2, 1).tolist() == [1, 2]


def test_every_way_to_build_gives_the_same_graph():
    expected = {(0, 1): 2.0, (1, 0): 1.0, (2, 1): 0.5}
    dense = np.array([[0, 2, 0, 0], [1, 0, 0, 0], [0, 0.5, 0, 0], [0, 0, 0, 0]])
    theirs = networkx.DiGraph()
    theirs.add_nodes_from("abcd")
    theirs.add_weighted_edges_from([("a", "b", 2.0), ("c", "b", 0.5)])
    theirs.add_edge("b", "a")
    built = [
        Graph([[2, 0, 1], [1, 1, 0]], [0.5, 2, 1], 4),
        Graph(np.array([[2, 0, 1], [1, 1, 0]]), torch.tensor([0.5, 2, 1]), 4),
        Graph.from_edges([(1, 0), (0, 1), (2, 1)], [1, 2, 0.5], 4),
        Graph.from_adjacency(dense),
        Graph.from_adjacency(dense.tolist()),
        Graph.from_adjacency(torch.from_numpy(dense)),
        Graph.from_adjacency(torch.from_numpy(dense).to_sparse_coo()),
        Graph.from_adjacency(scipy.sparse.csr_array(dense)),
        Graph.from_adjacency(scipy.sparse.coo_matrix(dense)),
        Graph.from_networkx(theirs),
    ]
    for graph in built:
        assert graph.num_nodes == 4
        assert entries(graph) == expected


def test_networks_of_networkx_undirected_with_loops_and_twice_the_same_edge():
    theirs = networkx.MultiGraph([(0, 1), (0, 1), (2, 2)])
    with pytest.warns(UserWarning, match="2 duplicate edges merged"):
        graph = Graph.from_networkx(theirs)
    assert entries(graph) == {(0, 1): 2.0, (1, 0): 2.0, (2, 2): 1.0}
    karate = networkx.karate_club_graph()
    dense = networkx.to_numpy_array(karate)
    assert entries(Graph.from_networkx(karate)) == entries(Graph.from_adjacency(dense))
    plain = Graph.from_networkx(karate, weight="none such")
    assert set(plain.edge_weight.tolist()) == {1.0}


def test_data_of_pytorch_geometric(pyg):
    from torch_geometric.data import Batch, Data

    index = torch.tensor([[0, 1], [1, 2]])
    plain, weighted = Data(edge_index=index, num_nodes=4), Data(edge_index=index, num_nodes=3)
    weighted.edge_attr = torch.tensor([[0.5], [2.0]])
    assert entries(Graph.from_pyg(plain)) == {(0, 1): 1.0, (1, 2): 1.0}
    assert Graph.from_pyg(plain).num_nodes == 4
    assert entries(Graph.from_pyg(weighted)) == {(0, 1): 0.5, (1, 2): 2.0}
    joined = Graph.from_pyg(Batch.from_data_list([weighted, weighted]))
    ours = Graph.join([Graph.from_pyg(weighted)] * 2)
    assert entries(joined) == entries(ours)
    assert joined.batch.tolist() == ours.batch.tolist() == [0, 0, 0, 1, 1, 1]
    assert joined.num_graphs == ours.num_graphs == 2


def test_a_weight_is_chosen_among_the_columns_of_edge_attr(pyg):
    from torch_geometric.data import Data

    index = torch.tensor([[0, 1], [1, 2]])
    data = Data(edge_index=index, edge_attr=torch.tensor([[0.5, 3.0], [2.0, 4.0]]), num_nodes=3)
    data.distance = torch.tensor([7.0, 8.0])
    message = (
        r"^edge_attr is \[2, 2\], and an edge has one weight; from_pyg\(data, weight=0\) takes the "
        r"first column of edge_attr, features='edge_attr' all as features; `del data.edge_attr` "
        r"ignores it$"
    )
    with pytest.raises(InputError, match=message):
        Graph.from_pyg(data)
    assert entries(Graph.from_pyg(data, weight=1)) == {(0, 1): 3.0, (1, 2): 4.0}
    assert entries(Graph.from_pyg(data, weight="distance")) == {(0, 1): 7.0, (1, 2): 8.0}
    with pytest.raises(InputError, match="weight=2: edge_attr has 2 columns, from 0"):
        Graph.from_pyg(data, weight=2)
    with pytest.raises(InputError, match="weight='length': this Data has no length"):
        Graph.from_pyg(data, weight="length")
    del data.edge_attr
    assert entries(Graph.from_pyg(data)) == {(0, 1): 1.0, (1, 2): 1.0}
    data.edge_weight = torch.tensor([5.0, 6.0])
    assert entries(Graph.from_pyg(data)) == {(0, 1): 5.0, (1, 2): 6.0}


def test_what_has_no_one_edge_index_is_refused(pyg):
    from torch_geometric.data import Data, HeteroData

    data = HeteroData()
    data["a"].num_nodes, data["b"].num_nodes = 2, 1
    data["a", "to", "b"].edge_index = torch.tensor([[0, 1], [0, 0]])
    message = (
        "^from_pyg takes a Data or Batch with one edge_index, not HeteroData; "
        r"of HeteroData, data.to_homogeneous\(\) gives one$"
    )
    with pytest.raises(InputError, match=message):
        Graph.from_pyg(data)
    assert entries(Graph.from_pyg(data.to_homogeneous())) == {(0, 2): 1.0, (1, 2): 1.0}
    with pytest.raises(InputError, match="one edge_index, not Data"):
        Graph.from_pyg(Data(num_nodes=3))


def same(ours: Graph, theirs: Graph) -> bool:
    return (
        entries(ours) == entries(theirs)
        and (ours.num_nodes, ours.num_graphs) == (theirs.num_nodes, theirs.num_graphs)
        and (ours.batch is None) == (theirs.batch is None)
        and (ours.batch is None or torch.equal(ours.batch, theirs.batch))
    )


ROUND = {
    "weights, a loop, isolated nodes": Graph([[1, 2, 2], [2, 2, 1]], [0.5, -2.0, 3.0], 5),
    "no edges": Graph([], num_nodes=3),
    "no nodes": Graph([], num_nodes=0),
}


@pytest.mark.parametrize("name", ROUND)
def test_graphs_go_to_pytorch_geometric_and_networkx_and_come_back(name, pyg):
    graph = ROUND[name]
    assert same(Graph.from_pyg(graph.to_pyg()), graph)
    assert same(Graph.from_networkx(graph.to_networkx()), graph)


def test_joined_graphs_go_to_pytorch_geometric_as_a_batch(pyg):
    parts = [*ROUND.values(), Graph([[0], [1]], [7.0])]
    joined = Graph.join(parts)
    batch = joined.to_pyg()
    assert same(Graph.from_pyg(batch), joined)
    for theirs, ours in zip(batch.to_data_list(), parts, strict=True):
        assert same(Graph.from_pyg(theirs), ours)
    nodes = joined.to_networkx().nodes(data="batch")
    assert [whose for _, whose in nodes] == joined.batch.tolist()
    joined.batch = joined.batch.flip(0)
    with pytest.raises(InputError, match="nodes of a disjoint union in the order of"):
        joined.to_pyg()


def test_without_pytorch_geometric_to_pyg_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_geometric.data", None)
    with pytest.raises(InputError, match=r"^to_pyg needs .*: pip install torch_geometric$"):
        Graph([[0], [1]]).to_pyg()


def test_a_weight_of_networkx_that_is_no_number_is_named():
    theirs = networkx.Graph()
    theirs.add_edge("a", "b", weight="far")
    message = "the weight of edge 'a' → 'b' is 'far', not a number; .*weight=NAME"
    with pytest.raises(InputError, match=message):
        Graph.from_networkx(theirs)


def test_points_join_the_nearest_by_a_gaussian():
    xy = torch.tensor([[0.0, 0], [1, 0], [0, 2], [9, 9]]).double()
    graph = Graph.from_points(xy, k=2)
    d = torch.cdist(xy, xy)
    width = d.sort(1).values[:, 2].mean()
    near = torch.zeros(4, 4, dtype=torch.bool)
    near[torch.arange(4)[:, None], d.argsort(1)[:, 1:3]] = True
    expected = torch.exp(-((d / width) ** 2)) * (near | near.T)
    dense = torch.zeros(4, 4).double()
    dense[tuple(graph.edge_index)] = graph.edge_weight
    assert torch.allclose(dense, expected, rtol=1e-12)
    assert graph.asymmetric_edge is None


def test_points_on_one_another_have_no_loops():
    graph = Graph.from_points(np.zeros((5, 2)), k=2)
    assert (graph.edge_index[0] != graph.edge_index[1]).all()
    assert set(graph.edge_weight.tolist()) == {1.0}
    # every node has its k neighbours, or more by the symmetry
    assert torch.bincount(graph.edge_index[1], minlength=5).min() >= 2


def test_edges_are_kept_by_target_then_source():
    graph = Graph([[2, 0, 1, 0], [0, 2, 0, 1]], [1, 2, 3, 4])
    assert graph.edge_index.tolist() == [[1, 2, 0, 0], [0, 0, 1, 2]]
    assert graph.edge_weight.tolist() == [3, 1, 4, 2]


def test_duplicates_are_merged_by_sum_with_one_warning():
    with pytest.warns(UserWarning, match="duplicate") as said:
        graph = Graph([[0, 0, 1, 0], [1, 1, 0, 1]], [1.0, 2, 5, 4])
    assert [str(w.message) for w in said] == [
        "2 duplicate edges merged, the weights summed; the first is 0 → 1"
    ]
    assert said[0].filename == __file__
    assert entries(graph) == {(0, 1): 7.0, (1, 0): 5.0}


def test_undirected_takes_the_larger_weight_and_changes_nothing_a_second_time():
    graph = Graph([[0, 1, 1, 2], [1, 0, 2, 2]], [1.0, 3.0, -2.0, 4.0])
    assert graph.asymmetric_edge == (1, 2)
    both = graph.to_undirected()
    assert entries(both) == {
        (0, 1): 3.0, (1, 0): 3.0, (1, 2): -2.0, (2, 1): -2.0, (2, 2): 4.0,
    }  # fmt: skip
    assert both.asymmetric_edge is None
    assert entries(both.to_undirected()) == entries(both)
    assert graph.num_edges == 4


def test_one_way_is_found_by_edge_and_by_weight():
    assert Graph([[0, 1, 1], [1, 0, 2]]).asymmetric_edge == (1, 2)
    assert Graph([[0, 1], [1, 0]], [1.0, 1.0 + 1e-7]).asymmetric_edge is None
    assert Graph([[0, 1], [1, 0]], [1.0, 1.1]).asymmetric_edge is not None
    assert Graph([[1], [1]]).asymmetric_edge is None


def test_joined_graphs_keep_their_edges_and_members():
    one, two = Graph([[0], [1]], [2.0], 3), Graph([[1], [0]], [3.0])
    inner = Graph.join([one, two])
    assert entries(inner) == {(0, 1): 2.0, (4, 3): 3.0}
    assert repr(inner) == "Graph(num_nodes=5, num_edges=2, num_graphs=2)"
    outer = Graph.join([two, inner])
    assert outer.batch.tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert outer.num_graphs == 3
    with pytest.raises(InputError, match="no graphs to join"):
        Graph.join([])


@pytest.mark.parametrize("how", ["mean", "max", "sum"])
def test_readout_is_that_of_each_graph_alone(how, assert_near):
    empty = Graph([], num_nodes=0)
    graphs = [Graph([[0], [2]]), empty, Graph([[0], [0]])]
    joined = Graph.join(graphs)
    x = torch.randn(2, 4, 5).double().requires_grad_()
    read = joined.readout(x, how)
    parts = x.split([3, 0, 1], 1)
    alone = {"mean": torch.mean, "sum": torch.sum, "max": torch.amax}[how]
    zero = torch.zeros(2, 5).double()
    expected = torch.stack([alone(p, 1) if p.shape[1] else zero for p in parts], 1)
    assert_near(read, expected)
    weighting = torch.randn(2, 3, 5).double()
    (gradient,) = torch.autograd.grad((read * weighting).sum(), x)
    (expected_gradient,) = torch.autograd.grad((expected * weighting).sum(), x)
    assert_near(gradient, expected_gradient)
    # a graph that was not joined is one graph
    assert_near(graphs[0].readout(parts[0], how), expected[:, :1])


def test_a_graph_goes_to_another_type_and_device_and_keeps_its_members():
    graph = Graph.join([Graph([[0], [1]], [0.5])] * 2)
    assert graph.to(torch.float64).edge_weight.dtype == torch.float64
    moved = graph.to("meta")
    assert moved.device.type == moved.batch.device.type == "meta"
    assert graph.to(torch.float64).batch.tolist() == graph.batch.tolist()


def test_whole_numbers_weigh_as_floats():
    assert Graph([[0], [1]], [3]).edge_weight.dtype == torch.get_default_dtype()
    counts = scipy.sparse.csr_array(np.array([[0, 2], [0, 0]]))
    assert entries(Graph.from_adjacency(counts)) == {(0, 1): 2.0}


REFUSED = {
    "index too large": (
        lambda: Graph([[0, 1], [1, 5]], num_nodes=3),
        r"edge 1, 1 → 5, names node 5; nodes are 0 … 2 \(num_nodes=3\)",
    ),
    "index below zero": (lambda: Graph([[-1], [1]]), "edge 0, -1 → 1, names node -1"),
    "weight not finite": (
        lambda: Graph([[0, 1], [1, 2]], [1.0, float("nan")]),
        "the weight of edge 1, 1 → 2, is nan",
    ),
    "infinite in a matrix": (
        lambda: Graph.from_adjacency([[0, float("inf")], [0, 0]]),
        "edge 0, 0 → 1, is inf",
    ),
    "too few weights": (
        lambda: Graph([[0], [1]], [1, 2]),
        r"must be \[1\], one per edge; got \[2\]",
    ),
    "learned weights": (
        lambda: Graph([[0], [1]], torch.ones(1, requires_grad=True)),
        r"pass edge_weight.detach\(\)",
    ),
    "no pair of rows": (lambda: Graph([[0, 1, 2]]), r"must be \[2, E\].*got \[1, 3\]"),
    "fractions": (lambda: Graph([[0.5], [1.0]]), "must be integers, not torch.float32"),
    "not square": (lambda: Graph.from_adjacency(np.ones((2, 3))), r"square; got shape \[2, 3\]"),
    "a vector": (lambda: Graph.from_adjacency([1, 0]), r"square; got shape \[2\]"),
    "k of all points": (
        lambda: Graph.from_points([[0.0], [1.0]], k=2),
        "k must be at least 1 and less than the 2 points, not 2",
    ),
    "a point that is nowhere": (
        lambda: Graph.from_points([[0.0], [float("nan")]], k=1),
        r"point 1 is not finite: \[nan\]",
    ),
    "no such node": (lambda: Graph([[0], [1]]).hops(0, 2), "no node 2; nodes are 0 … 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_by_name(case):
    make, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        make()


def test_other_things_are_refused_too():
    with pytest.raises(TypeError, match="a graph of networkx, not list"):
        Graph.from_networkx([])
    graph = Graph([[0], [1]])
    with pytest.raises(ValueError, match="'mean', 'max' or 'sum', not 'min'"):
        graph.readout(torch.ones(2, 1), "min")
    with pytest.raises(ValueError, match=r"\[..., 2 nodes, F\]; got shape \[3, 1\]"):
        graph.readout(torch.ones(3, 1))
    with pytest.raises(ValueError, match="layers must be at least 0"):
        graph.receptive_field(0, -1)


def edges_of(graph: Graph) -> list[tuple[int, int]]:
    return [tuple(edge) for edge in graph.edge_index.T.tolist()]


def test_what_changes_a_graph_changes_its_relations_alike():
    likes, knows = Graph([[0], [1]], num_nodes=3), Graph([[0, 1], [1, 2]], [2.0, 4.0])
    both = Graph.of_relations([likes, knows])
    assert (edges_of(both), both.edge_weight.tolist()) == ([(0, 1), (1, 2)], [3.0, 4.0])
    changed = [
        both.to_undirected(),
        both.to(torch.float64),
        both.select_edges(lambda one: one.edge_index[0] == 0),
        Graph.join([both, both]),
        copy.deepcopy(both),
    ]
    assert [[edges_of(one) for one in graph.relations] for graph in changed] == [
        [[(1, 0), (0, 1)], [(1, 0), (0, 1), (2, 1), (1, 2)]],
        [[(0, 1)], [(0, 1), (1, 2)]],
        [[(0, 1)], [(0, 1)]],
        [[(0, 1), (3, 4)], [(0, 1), (1, 2), (3, 4), (4, 5)]],
        [[(0, 1)], [(0, 1), (1, 2)]],
    ]
    assert changed[1].relations[1].edge_weight.dtype == torch.float64


def test_relations_that_do_not_fit_are_refused():
    one, two = Graph([[0], [1]]), Graph([[0], [2]])
    with pytest.raises(InputError, match=r"must have the same nodes, not \[2, 3\]"):
        Graph.of_relations([one, two])
    with pytest.raises(InputError, match=r"the same number of relations, not \[0, 1\]"):
        Graph.join([one, Graph.of_relations([one])])
