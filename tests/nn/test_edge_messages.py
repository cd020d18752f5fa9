"""GINE, and attention that reads features of edges, against PyTorch Geometric; graphs with them."""

import pickle

import pytest
import torch

from plait import GCN, GINE, RNN, Attention, Graph, GraphConv, InputError, Recurrent
from plait.nn import Adjacency, NeighbourSampler
from plait.testing import check_operator

EDGES = [(0, 1), (1, 0), (2, 1), (3, 1), (1, 3), (3, 3), (0, 4)]
"""Directed, with a loop; nodes 2 and 5 have no edges into them."""

OPERATORS = {
    "gine": GINE(2, eps=0.25),
    "GAT": Attention(2, edge_size=2),
    "GATv2": Attention(2, 2, edge_size=2),
}
every_operator = pytest.mark.parametrize("name", OPERATORS)


@pytest.fixture
def graph() -> Graph:
    return Graph(
        torch.tensor(EDGES).T, num_nodes=6,
        edge_features=torch.randn(len(EDGES), 2).double(),
    )  # fmt: skip


def pyg_layer(pyg, name: str, weights, inputs: int):
    """Make PyTorch Geometric's layer, without a bias, of our weights; and its gradients as ours."""
    outputs = len(weights["weight"])
    if name == "gine":
        own = torch.nn.Linear(inputs, outputs, bias=False)
        layer = pyg.GINEConv(own, eps=0.25, edge_dim=2).double()
        pairs = {
            "weight": layer.nn.weight, "edge": layer.lin.weight, "edge_bias": layer.lin.bias,
        }  # fmt: skip
    elif name == "GAT":
        layer = pyg.GATConv(inputs, outputs // 2, 2, edge_dim=2, bias=False).double()
        pairs = {"weight": layer.lin.weight, "source": layer.att_src, "target": layer.att_dst}
    else:
        layer = pyg.GATv2Conv(inputs, outputs // 2, 2, edge_dim=2, bias=False).double()
        pairs = {
            "weight": layer.lin_l.weight, "target": layer.lin_r.weight, "vector": layer.att,
            "edge": layer.lin_edge.weight,
        }  # fmt: skip
    with torch.no_grad():
        for of, theirs in pairs.items():
            theirs.copy_(weights[of].view(theirs.shape))
        if name == "GAT":  # it has a matrix and a vector for the product that is ours
            layer.att_edge.zero_()[..., 0] = 1
            layer.lin_edge.weight.zero_()[:: outputs // 2] = weights["edge"]

    def gradients() -> dict[str, torch.Tensor]:
        found = {of: theirs.grad.view(weights[of].shape) for of, theirs in pairs.items()}
        if name == "GAT":
            found["edge"] = layer.lin_edge.weight.grad[:: outputs // 2]
        return found

    return layer, gradients


@every_operator
def test_values_and_gradients_are_pytorch_geometrics(name, graph, pyg, assert_near):
    ours = GraphConv(OPERATORS[name], 3, 4, bias=False).double()
    theirs, gradients = pyg_layer(pyg, name, ours.weights, 3)
    x = torch.randn(6, 3).double()
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, expected = ours(a, graph), theirs(b, graph.edge_index, graph.edge_features)
    assert_near(y, expected, 1e-13)
    weighting = torch.randn(6, 4).double()
    (y * weighting).sum().backward()
    (expected * weighting).sum().backward()
    assert_near(a.grad, b.grad, 1e-12)
    for of, grad in gradients().items():
        assert_near(ours.weights[of].grad, grad, 1e-12)


@every_operator
def test_first_and_second_derivatives_are_the_numerical_ones(name, graph):
    operator = OPERATORS[name]
    shapes = operator.weight_shapes(2, 2)
    weights = {of: torch.randn(s).double().requires_grad_() for of, s in shapes.items()}
    x = torch.randn(6, 2).double().requires_grad_()

    def answer(x, *given):
        return operator.apply(x, dict(zip(weights, given, strict=True)), graph)

    assert torch.autograd.gradcheck(answer, (x, *weights.values()))
    assert torch.autograd.gradgradcheck(answer, (x, *weights.values()))


def test_gine_stacks_gates_and_keeps_the_order_of_nodes(graph):
    check_operator(OPERATORS["gine"], graph)


@every_operator
def test_a_recurrence_is_that_of_pytorch_geometrics_layers(name, graph, pyg, assert_near):
    layer = Recurrent(RNN(), 3, 4, operator=OPERATORS[name]).double()
    (direction,) = layer.directions
    sides = direction.inputs, direction.recurrent
    of_x, of_h = (
        pyg_layer(pyg, name, weights, inputs) for weights, inputs in zip(sides, (3, 4), strict=True)
    )
    x = torch.randn(4, 1, 6, 3).double()
    y, _ = layer(x, graph=graph)
    h, steps, edges = torch.zeros(6, 4).double(), [], (graph.edge_index, graph.edge_features)
    for inputs in x[:, 0]:
        h = torch.tanh(of_x[0](inputs, *edges) + of_h[0](h, *edges) + direction.bias.detach())
        steps.append(h)
    expected = torch.stack(steps)
    assert_near(y[:, 0], expected, 1e-12)
    weighting = torch.randn(expected.shape).double()
    (y[:, 0] * weighting).sum().backward()
    (expected * weighting).sum().backward()
    for weights, (_, gradients) in zip(sides, (of_x, of_h), strict=True):
        for of, grad in gradients().items():
            assert_near(weights[of].grad, grad, 1e-11)


def test_weights_count_in_the_messages_of_gine(assert_near):
    graph = Graph([[0, 1], [2, 2]], [2.0, -1.0], edge_features=[[1.0], [5.0]])
    weights = {"weight": [[1.0]], "edge": [[2.0]], "edge_bias": [-1.0]}
    weights = {of: torch.tensor(w).double() for of, w in weights.items()}
    x = torch.tensor([[1.0], [-20.0], [7.0]]).double()
    y = GINE(1).apply(x, weights, graph)
    assert_near(y, torch.tensor([[1.0], [-20.0], [7 + 2 * (1 + 2 - 1)]]).double(), 1e-15)


@every_operator
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float32])
def test_other_precisions_and_batches_agree(name, precision, graph):
    operator = OPERATORS[name]
    conv = GraphConv(operator, 3, 4).double()
    x = torch.randn(2, 6, 3).double()
    expected = conv(x, graph)
    y = conv.to(precision)(x.to(precision), graph)
    assert y.dtype == precision
    assert torch.allclose(y.double(), expected, atol=0.1 if precision == torch.bfloat16 else 1e-5)


@every_operator
def test_dropout_of_training_and_samples_of_all_neighbours(name, graph, assert_near):
    conv = GraphConv(OPERATORS[name], 3, 4).double()
    x = torch.randn(6, 3).double()
    nodes, part = NeighbourSampler(graph, [-1, -1]).sample(torch.tensor([4, 1, 3]))
    assert part.edge_size == 2
    assert_near(conv(x[nodes], part)[:3], conv(x, graph)[[4, 1, 3]], 1e-13)


def test_edges_of_which_some_have_no_features_are_refused(graph):
    whole = Adjacency.of(graph)
    short = whole._replace(features=whole.features[1:])
    with pytest.raises(InputError, match=r"^the features are not those of the graph's edges; "):
        NeighbourSampler(short, [-1]).sample(torch.tensor([4]))


def test_operators_without_features_of_edges_ignore_them(graph, assert_near):
    conv = GraphConv(GCN(), 3, 4).double()
    x = torch.randn(6, 3).double()
    assert_near(conv(x, graph), conv(x, Graph(graph.edge_index, num_nodes=6)), 0)
    assert GINE().weight_shapes(3, 4) == {"weight": (4, 3)}


@every_operator
def test_other_numbers_of_features_are_refused_with_the_fix(name, graph):
    conv, x = GraphConv(OPERATORS[name], 3, 4), torch.randn(6, 3)
    bare = Graph(graph.edge_index, num_nodes=6)
    with pytest.raises(InputError, match=r"for 2 features per edge, and the graph has 0"):
        conv(x, bare)


def features_by_edge(graph: Graph) -> dict[tuple[int, int], float]:
    assert graph.edge_features is not None
    pairs = zip(graph.edge_index.T.tolist(), graph.edge_features[:, 0].tolist(), strict=True)
    return {(s, t): value for (s, t), value in pairs}


def test_features_follow_their_edges():
    with pytest.warns(UserWarning, match="the features averaged"):
        graph = Graph([[2, 0, 1, 0], [0, 1, 0, 1]], edge_features=[[5.0], [1.0], [7.0], [3.0]])
    assert features_by_edge(graph) == {(0, 1): 2, (1, 0): 7, (2, 0): 5}
    assert repr(graph) == "Graph(num_nodes=3, num_edges=3, edge_features=1)"
    both = {(0, 1): 2, (1, 0): 7, (2, 0): 5, (0, 2): 5}
    assert features_by_edge(graph.to_undirected()) == both
    kept = graph.select_edges(lambda g: g.edge_index[0] > 0)
    assert features_by_edge(kept) == {(1, 0): 7, (2, 0): 5}
    joined = Graph.join([kept, graph.to(torch.float64)])
    assert features_by_edge(joined) == {
        (1, 0): 7, (2, 0): 5, (3, 4): 2, (4, 3): 7, (5, 3): 5,
    }  # fmt: skip
    other = Graph([[0], [2]], num_nodes=3, edge_features=[[9.0]])
    assert features_by_edge(Graph.of_relations([graph, other]))[0, 2] == 9
    assert features_by_edge(pickle.loads(pickle.dumps(graph))) == features_by_edge(graph)
    again = Graph.from_pyg(graph.to_pyg(), features="edge_attr")
    assert features_by_edge(again) == features_by_edge(graph)


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ([[1.0]], r"edge_features must be \[2, D\], one row per edge; got \[1, 1\]"),
        ([1.0, 2.0], r"edge_features must be \[2, D\]"),
        ([[1.0], [float("nan")]], "feature 0 of edge 1, 1 → 2, is nan"),
        (torch.ones(2, 1, requires_grad=True), r"pass edge_features.detach\(\)"),
    ],
)
def test_features_that_do_not_fit_are_refused(features, said):
    with pytest.raises(InputError, match=said):
        Graph([[0, 1], [1, 2]], edge_features=features)


def test_graphs_to_join_have_equally_many_features():
    with pytest.raises(InputError, match=r"equally many edge features, not \[0, 1\]"):
        Graph.join([Graph([[0], [1]]), Graph([[0], [1]], edge_features=[[1.0]])])
