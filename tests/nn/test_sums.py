"""SAGE, SAGEMax, GIN and RGCN against PyTorch Geometric, alone and inside a recurrence."""

import pytest
import torch

from plait import GIN, GRU, RGCN, RNN, SAGE, Graph, GraphConv, InputError, Recurrent, SAGEMax
from plait.kernels.cpu.kernel import CompiledLoops
from plait.nn import NeighbourSampler
from plait.testing import check_kernel, check_operator

EDGES = [(0, 1), (1, 0), (2, 1), (3, 1), (1, 3), (3, 3), (0, 4)]
"""Directed, with a loop; nodes 2 and 5 have no edges into them."""

OPERATORS = {"sage": SAGE(), "sage-max": SAGEMax(), "gin": GIN(0.25)}
every_operator = pytest.mark.parametrize("name", OPERATORS)


@pytest.fixture
def graph() -> Graph:
    return Graph.from_edges(EDGES, num_nodes=6)


def pyg_layer(pyg, name: str, weight: torch.Tensor):
    """Make PyTorch Geometric's layer, without a bias, of our weight."""
    outputs, inputs = weight.shape[0], weight.shape[-1]
    with torch.no_grad():
        if name == "gin":
            layer = pyg.GINConv(torch.nn.Linear(inputs, outputs, bias=False), eps=0.25).double()
            layer.nn.weight.copy_(weight)
        else:
            kind = "max" if name == "sage-max" else "mean"
            layer = pyg.SAGEConv(inputs, outputs, aggr=kind, bias=False).double()
            layer.lin_r.weight.copy_(weight[:, 0])
            layer.lin_l.weight.copy_(weight[:, 1])
    return layer


def pyg_gradient(layer, name: str) -> torch.Tensor:
    """Return the gradient of its weights, laid out as ours."""
    if name == "gin":
        return layer.nn.weight.grad
    return torch.stack([layer.lin_r.weight.grad, layer.lin_l.weight.grad], 1)


@every_operator
@pytest.mark.parametrize(("inputs", "outputs"), [(3, 5), (5, 3)])
def test_values_and_gradients_are_pytorch_geometrics(
    name, inputs, outputs, graph, pyg, assert_near
):
    ours = GraphConv(OPERATORS[name], inputs, outputs, bias=False).double()
    weight = ours.weights["weight"]
    theirs = pyg_layer(pyg, name, weight)
    x = torch.randn(6, inputs).double()
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, expected = ours(a, graph), theirs(b, graph.edge_index)
    assert_near(y, expected, 1e-13)
    weighting = torch.randn(6, outputs).double()
    (y * weighting).sum().backward()
    (expected * weighting).sum().backward()
    assert_near(a.grad, b.grad, 1e-13)
    assert_near(weight.grad, pyg_gradient(theirs, name), 1e-13)


@every_operator
def test_a_recurrence_is_that_of_pytorch_geometrics_layers(name, graph, pyg, assert_near):
    layer = Recurrent(RNN(), 3, 4, operator=OPERATORS[name]).double()
    own = dict(layer.named_parameters())
    on_x, on_h = (
        next(p for n, p in own.items() if side in n and n.endswith("weight"))
        for side in ("input", "recurrent")
    )
    bias = next(p for n, p in own.items() if n.endswith("bias"))
    of_x, of_h = pyg_layer(pyg, name, on_x), pyg_layer(pyg, name, on_h)
    x = torch.randn(4, 1, 6, 3).double()
    y, _ = layer(x, graph=graph)
    h, steps = torch.zeros(6, 4).double(), []
    for inputs in x[:, 0]:
        h = torch.tanh(
            of_x(inputs, graph.edge_index) + of_h(h, graph.edge_index) + bias.detach().flatten()
        )
        steps.append(h)
    expected = torch.stack(steps)
    assert_near(y[:, 0], expected, 1e-13)
    weighting = torch.randn(expected.shape).double()
    (y[:, 0] * weighting).sum().backward()
    (expected * weighting).sum().backward()
    assert_near(on_x.grad, pyg_gradient(of_x, name), 1e-12)
    assert_near(on_h.grad, pyg_gradient(of_h, name), 1e-12)


@every_operator
def test_gradients_stacking_order_of_nodes_and_basis(name, graph):
    check_operator(OPERATORS[name], graph)


@pytest.mark.parametrize("operator", [SAGE(), GIN()], ids=repr)
def test_compiled_loops_run_the_linear_ones(operator, graph):
    assert check_kernel(CompiledLoops(), GRU(), operator=operator, graph=graph)


def test_weights_count_in_sums_and_means(assert_near):
    graph = Graph.from_edges([(0, 2), (1, 2)], [1.0, 3.0])
    x = torch.tensor([[1.0], [2.0], [5.0]]).double()
    mean = SAGE().apply(x, {"weight": torch.tensor([[[0.0], [1.0]]]).double()}, graph)
    total = GIN(0.5).apply(x, {"weight": torch.ones(1, 1).double()}, graph)
    assert_near(mean, torch.tensor([[0.0], [0.0], [7 / 4]]).double(), 1e-15)
    assert_near(total, torch.tensor([[1.5], [3.0], [7.0 + 7.5]]).double(), 1e-15)


@every_operator
def test_a_sample_of_all_neighbours_is_the_whole_graph(name, graph, assert_near):
    conv = GraphConv(OPERATORS[name], 3, 2).double()
    x = torch.randn(6, 3).double()
    nodes, part = NeighbourSampler(graph, [-1]).sample(torch.tensor([1, 3, 5]))
    assert_near(conv(x[nodes], part)[:3], conv(x, graph)[[1, 3, 5]], 1e-13)


def test_negative_weights_are_for_sums_alone():
    graph = Graph.from_edges([(0, 1)], [-1.0])
    x = torch.ones(2, 1)
    assert GraphConv(GIN(), 1, 1, bias=False)(x, graph).isfinite().all()
    with pytest.raises(InputError, match="needs edge weights of at least 0"):
        GraphConv(SAGE(), 1, 1)(x, graph)


RELATIONS = [[(0, 1), (1, 0), (2, 1)], [(3, 1), (1, 3), (0, 1)], [(3, 3), (0, 4)]]
"""The edges by kind; 0 → 1 is of two kinds."""


@pytest.fixture
def related() -> Graph:
    return Graph.of_relations([Graph.from_edges(edges, num_nodes=6) for edges in RELATIONS])


def pyg_relations(graph: Graph) -> tuple[torch.Tensor, torch.Tensor]:
    """Return edges and their types as PyTorch Geometric takes them."""
    edges = [one.edge_index for one in graph.relations]
    kinds = [torch.full((e.shape[1],), k) for k, e in enumerate(edges)]
    return torch.cat(edges, 1), torch.cat(kinds)


def pyg_rgcn(pyg, weight: torch.Tensor):
    """Make PyTorch Geometric's layer, without a bias, of our weight `[outputs, 1 + R, inputs]`."""
    outputs, terms, inputs = weight.shape
    layer = pyg.RGCNConv(inputs, outputs, terms - 1, bias=False).double()
    with torch.no_grad():
        layer.root.copy_(weight[:, 0].T)
        layer.weight.copy_(weight[:, 1:].permute(1, 2, 0))
    return layer


def rgcn_gradient(layer) -> torch.Tensor:
    """Return the gradient of its weights, laid out as ours."""
    return torch.cat([layer.root.grad.T[:, None], layer.weight.grad.permute(2, 0, 1)], 1)


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 5), (5, 3)])
def test_relations_are_pytorch_geometrics(inputs, outputs, related, pyg, assert_near):
    ours = GraphConv(RGCN(3), inputs, outputs, bias=False).double()
    weight = ours.weights["weight"]
    theirs = pyg_rgcn(pyg, weight)
    x = torch.randn(6, inputs).double()
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, expected = ours(a, related), theirs(b, *pyg_relations(related))
    assert_near(y, expected, 1e-13)
    weighting = torch.randn(6, outputs).double()
    (y * weighting).sum().backward()
    (expected * weighting).sum().backward()
    assert_near(a.grad, b.grad, 1e-13)
    assert_near(weight.grad, rgcn_gradient(theirs), 1e-13)


def test_a_recurrence_over_relations_is_that_of_pytorch_geometrics_layers(
    related, pyg, assert_near
):
    layer = Recurrent(RNN(), 3, 4, operator=RGCN(3)).double()
    own = dict(layer.named_parameters())
    on_x, on_h = (
        next(p for n, p in own.items() if side in n and n.endswith("weight"))
        for side in ("input", "recurrent")
    )
    bias = next(p for n, p in own.items() if n.endswith("bias"))
    of_x, of_h = pyg_rgcn(pyg, on_x), pyg_rgcn(pyg, on_h)
    x, edges = torch.randn(4, 1, 6, 3).double(), pyg_relations(related)
    y, _ = layer(x, graph=related)
    h, steps = torch.zeros(6, 4).double(), []
    for inputs in x[:, 0]:
        h = torch.tanh(of_x(inputs, *edges) + of_h(h, *edges) + bias.detach().flatten())
        steps.append(h)
    expected = torch.stack(steps)
    assert_near(y[:, 0], expected, 1e-13)
    weighting = torch.randn(expected.shape).double()
    (y[:, 0] * weighting).sum().backward()
    (expected * weighting).sum().backward()
    assert_near(on_x.grad, rgcn_gradient(of_x), 1e-12)
    assert_near(on_h.grad, rgcn_gradient(of_h), 1e-12)


def test_relations_in_check_operator_and_in_compiled_loops(related):
    check_operator(RGCN(3), related)
    assert check_kernel(CompiledLoops(), GRU(), operator=RGCN(3), graph=related)


def test_one_relation_is_sage(graph, assert_near):
    weights = {"weight": torch.randn(2, 2, 3).double()}
    x = torch.randn(6, 3).double()
    assert_near(RGCN(1).apply(x, weights, graph), SAGE().apply(x, weights, graph), 1e-15)


def test_a_graph_of_other_relations_is_refused_with_the_operator_that_fits(related):
    with pytest.raises(InputError, match=r"for 2 relations, and the graph has 3; take RGCN\(3\)"):
        GraphConv(RGCN(2), 1, 1)(torch.ones(6, 1), related)
    nodes, part = NeighbourSampler(related, [-1]).sample(torch.tensor([1]))
    with pytest.raises(InputError, match="a sample of a graph does not keep its relations"):
        GraphConv(RGCN(3), 1, 1)(torch.ones(len(nodes), 1), part)
