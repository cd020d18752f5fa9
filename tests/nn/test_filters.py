"""GCN, Chebyshev and Diffusion against PyTorch Geometric, their formulas, numerical gradients."""

import pytest
import torch

from plait import (
    GCN,
    GRU,
    Chebyshev,
    Diffusion,
    Graph,
    GraphConv,
    InputError,
    Propagation,
    Recurrent,
)
from plait.nn import shifts
from plait.testing import check_operator

WIDTHS = {"shift first": (3, 4), "product first": (5, 2)}
FILTERS = {
    "GCN": GCN(),
    "Chebyshev 1": Chebyshev(1),
    "Chebyshev 2": Chebyshev(2, lambda_max=1.7),
    "Chebyshev 5": Chebyshev(5),
    "Chebyshev exact": Chebyshev(3, lambda_max="exact"),
    "Diffusion 1": Diffusion(1),
    "Diffusion 2": Diffusion(2),
    "Diffusion 4": Diffusion(4),
}
every_filter = pytest.mark.parametrize("name", FILTERS)
both_ways = pytest.mark.parametrize("way", WIDTHS)


def fit(operator, graph: Graph) -> Graph:
    return graph.to_undirected() if isinstance(operator, Chebyshev) else graph


def draw(operator, way: str) -> tuple[int, dict[str, torch.Tensor]]:
    inputs, outputs = WIDTHS[way]
    assert operator.explain(inputs, outputs).startswith(way)
    shapes = operator.weight_shapes(inputs, outputs)
    return inputs, {n: torch.randn(s).double().requires_grad_() for n, s in shapes.items()}


def gradients(y: torch.Tensor, of: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    weighting = torch.randn(y.shape, generator=generator, dtype=y.dtype)
    return torch.autograd.grad((y * weighting).sum(), of)


@every_filter
@both_ways
def test_a_filter_is_its_formula_in_dense_matrices(name, way, graph, by_formula, assert_near):
    operator = FILTERS[name]
    graph = fit(operator, graph)
    inputs, weights = draw(operator, way)
    x = torch.randn(2, 3, graph.num_nodes, inputs).double().requires_grad_()
    y, expected = operator.apply(x, weights, graph), by_formula(operator, x, weights, graph)
    assert_near(y, expected, 1e-13)
    of = [x, *weights.values()]
    assert_near(gradients(y, of), gradients(expected, of), 1e-13)


@every_filter
@both_ways
def test_gradients_are_the_numerical_ones_twice(name, way, graph):
    operator = FILTERS[name]
    graph = fit(operator, graph)
    inputs, weights = draw(operator, way)
    x = torch.randn(graph.num_nodes, inputs).double().requires_grad_()

    def answer(x, *tensors):
        return operator.apply(x, dict(zip(weights, tensors, strict=True)), graph)

    of = (x, *weights.values())
    assert torch.autograd.gradcheck(answer, of, fast_mode=True)
    assert torch.autograd.gradgradcheck(answer, of, fast_mode=True)


@pytest.mark.parametrize("way", WIDTHS)
def test_gcn_is_pytorch_geometrics(way, graph, pyg, answers_of, assert_near):
    inputs, outputs = WIDTHS[way]
    ours, theirs = GraphConv(GCN(), inputs, outputs).double(), pyg.GCNConv(inputs, outputs).double()
    with torch.no_grad():
        theirs.bias.normal_()
        ours.weights["weight"].copy_(theirs.lin.weight)
        ours.bias.copy_(theirs.bias)
    x = torch.randn(graph.num_nodes, inputs).double()
    y, grads = answers_of(ours, x, graph)  # by x, bias, weight
    expected, expected_grads = answers_of(theirs, x, graph.edge_index, graph.edge_weight)
    assert_near(y, expected)
    assert_near(grads, expected_grads)


@pytest.mark.parametrize("way", WIDTHS)
@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("largest", [2, "exact"])
def test_chebyshev_is_pytorch_geometrics(way, k, largest, undirected, pyg, answers_of, assert_near):
    inputs, outputs = WIDTHS[way]
    ours = GraphConv(Chebyshev(k, largest), inputs, outputs).double()
    theirs = pyg.ChebConv(inputs, outputs, k).double()
    with torch.no_grad():
        theirs.bias.normal_()
        weight = torch.stack([lin.weight for lin in theirs.lins], 1)
        ours.weights["weight"].copy_(weight.view(ours.weights["weight"].shape))
        ours.bias.copy_(theirs.bias)
    lambda_max = None
    if largest == "exact":
        lambda_max = torch.linalg.eigvalsh(dense_laplacian(undirected))[-1]
    x = torch.randn(undirected.num_nodes, inputs).double()
    y, (x_grad, bias, weight) = answers_of(ours, x, undirected)
    expected, (their_x, their_bias, *terms) = answers_of(
        theirs, x, undirected.edge_index, undirected.edge_weight, None, lambda_max
    )
    assert_near(y, expected)
    assert_near((x_grad, bias), (their_x, their_bias))
    assert_near(weight.view(outputs, k, inputs), torch.stack(terms, 1))


def dense_laplacian(graph: Graph) -> torch.Tensor:
    source, target, values = shifts.laplacian(graph)
    L = torch.zeros(graph.num_nodes, graph.num_nodes).double()
    return L.index_put_((source, target), values)


def test_the_laplacian_divides_by_the_out_degree_as_pytorch_geometrics(graph, pyg):
    from torch_geometric.utils import get_laplacian, remove_self_loops, to_dense_adj

    edges, weight = remove_self_loops(graph.edge_index, graph.edge_weight)
    edges, weight = get_laplacian(edges, weight, "sym", torch.float64, graph.num_nodes)
    expected = to_dense_adj(edges, edge_attr=weight, max_num_nodes=graph.num_nodes)[0]
    torch.testing.assert_close(dense_laplacian(graph), expected, rtol=1e-13, atol=1e-14)


def test_exact_is_the_largest_eigenvalue_of_a_large_sparse_graph_too(make_graph):
    graph = make_graph(400, 1500)
    L = dense_laplacian(graph)
    expected = 2 * L / torch.linalg.eigvalsh(L)[-1] - torch.eye(400).double()
    shift = shifts.chebyshev(graph, "exact", torch.float64)
    torch.testing.assert_close(shift.matrix.to_dense(), expected, rtol=0, atol=1e-12)


@every_filter
@pytest.mark.parametrize("way", WIDTHS)
def test_renaming_the_nodes_renames_the_answer(name, way, graph, permuted, assert_near):
    operator = FILTERS[name]
    graph = fit(operator, graph)
    place = torch.randperm(graph.num_nodes)
    inputs, weights = draw(operator, way)
    x = torch.randn(2, graph.num_nodes, inputs).double()
    renamed = torch.empty_like(x)
    renamed[:, place] = x
    y = operator.apply(renamed, weights, permuted(graph, place))
    assert_near(y[:, place], operator.apply(x, weights, graph), 1e-14)


@every_filter
def test_the_order_of_the_edges_does_not_matter(name, graph):
    operator = FILTERS[name]
    graph = fit(operator, graph)
    order = torch.randperm(graph.num_edges)
    shuffled = Graph(graph.edge_index[:, order], graph.edge_weight[order], graph.num_nodes)
    inputs, weights = draw(operator, "shift first")
    x = torch.randn(graph.num_nodes, inputs).double()
    assert torch.equal(operator.apply(x, weights, shuffled), operator.apply(x, weights, graph))


@every_filter
def test_joined_graphs_answer_as_each_alone(name, make_graph, assert_near):
    operator = FILTERS[name]
    graphs = [make_graph(6, 7, loops=1), Graph([], num_nodes=2), make_graph(9, 5, seed=1)]
    inputs, weights = draw(operator, "product first")
    x = torch.randn(17, inputs).double()
    alone = [operator.apply(p, weights, g) for p, g in zip(x.split([6, 2, 9]), graphs, strict=True)]
    assert_near(operator.apply(x, weights, Graph.join(graphs)), torch.cat(alone))


@every_filter
def test_the_type_is_that_of_the_features(name, make_graph, by_formula):
    operator = FILTERS[name]
    graph = make_graph(16, 12)  # weights in float64
    inputs, weights = draw(operator, "shift first")
    x = torch.randn(16, inputs)
    single = {n: w.detach().float() for n, w in weights.items()}
    y = operator.apply(x, single, graph)
    assert y.dtype == torch.float32
    double = {n: w.double() for n, w in single.items()}
    expected = by_formula(operator, x.double(), double, graph)
    assert (y - expected).abs().max() <= 1e-6 * expected.abs().max()


def test_duplicates_count_as_often_as_they_stand():
    with pytest.warns(UserWarning, match="1 duplicate edge merged"):
        twice = Graph([[0, 0, 1], [1, 1, 0]], num_nodes=3)
    heavy = Graph([[0, 1], [1, 0]], [2.0, 1.0], num_nodes=3)
    weights = {"weight": torch.randn(2, 3).double()}
    x = torch.randn(3, 3).double()
    assert torch.equal(GCN().apply(x, weights, twice), GCN().apply(x, weights, heavy))


def test_what_was_normalised_is_kept(make_graph):
    graph = make_graph(16, 12)
    for make in (shifts.gcn, shifts.walks):
        assert make(graph, torch.float64) is make(graph, torch.float64)
        assert make(graph, torch.float64) is not make(graph, torch.float32)
    two, exact = (shifts.chebyshev(graph, which, torch.float64) for which in (2, "exact"))
    assert two is shifts.chebyshev(graph, 2, torch.float64)
    assert two is not exact


def test_a_directed_graph_is_refused_by_chebyshev_and_the_fix_works():
    graph = Graph([[0, 1], [1, 2]])
    x, weights = torch.randn(3, 2), {"weight": torch.randn(4, 3, 2)}
    message = r"Chebyshev needs an undirected graph.*edge 0 → 1.*graph.to_undirected\(\)"
    with pytest.raises(InputError, match=message):
        Chebyshev(3).apply(x, weights, graph)
    assert Chebyshev(3).apply(x, weights, graph.to_undirected()).isfinite().all()


@pytest.mark.parametrize("operator", [GCN(), Chebyshev(2), Diffusion(1)], ids=repr)
def test_negative_weights_are_refused(operator):
    graph = Graph([[0, 1], [1, 0]], [1.0, -0.5])
    shapes = operator.weight_shapes(2, 2)
    weights = {name: torch.randn(shape) for name, shape in shapes.items()}
    with pytest.raises(InputError, match=r"at least 0, and that of 1 → 0 is negative; .*absolute"):
        operator.apply(torch.randn(2, 2), weights, graph)


def test_arguments_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="at least 1 term, not 0"):
        Chebyshev(0)
    with pytest.raises(ValueError, match="positive or 'exact', not 'max'"):
        Chebyshev(2, lambda_max="max")
    with pytest.raises(ValueError, match="positive or 'exact', not 0"):
        Chebyshev(2, lambda_max=0)
    with pytest.raises(ValueError, match="each direction, not 0"):
        Diffusion(0)


def test_explain_says_how_and_why(make_graph):
    sparse, dense = make_graph(16, 12), make_graph(5, 10)
    assert GCN().explain(128, 64, sparse) == (
        "product first, because 64 outputs are fewer than 128 inputs; "
        "sparse shift: 15.6 % of 16² entries are not zero, under 20 %"
    )
    assert Diffusion(1).explain(2, 8, dense) == (
        "shift first, because 2 inputs are no more than 8 outputs; "
        "dense shift: 48.0 % of 5² entries are not zero, from 20 %"
    )
    layer = Recurrent(GRU(), 9, 2, operator=Chebyshev(2), layers=2, bidirectional=True)
    reported = [line for line in layer.explain(sparse).splitlines() if not line.startswith("  not")]
    assert reported == [
        "layer 0: plait-cpu - compiled loops for GRU(reset='after') × "
        "Chebyshev(k=2, lambda_max=2) in float32",
        "  input side: product first, because 6 outputs are fewer than 9 inputs; "
        "sparse shift: 9.4 % of 16² entries are not zero, under 20 %",
        "  recurrent side: shift first, because 2 inputs are no more than 6 outputs; "
        "sparse shift: 9.4 % of 16² entries are not zero, under 20 %",
        "layer 1: plait-cpu - compiled loops for GRU(reset='after') × "
        "Chebyshev(k=2, lambda_max=2) in float32",
        "  input side: shift first, because 4 inputs are no more than 6 outputs; "
        "sparse shift: 9.4 % of 16² entries are not zero, under 20 %",
        "  recurrent side: shift first, because 2 inputs are no more than 6 outputs; "
        "sparse shift: 9.4 % of 16² entries are not zero, under 20 %",
    ]


@both_ways
def test_propagation_is_the_mean_of_the_powers_of_gcn_s_matrix(way, graph, assert_near):
    inputs, outputs = WIDTHS[way]
    W = torch.randn(outputs, inputs).double()
    x = torch.randn(2, graph.num_nodes, inputs).double()
    S = shifts.gcn(graph, torch.float64).matrix.to_dense()
    powers = [torch.linalg.matrix_power(S, j) for j in range(4)]
    expected = sum(P @ x for P in powers) @ W.T / 4
    assert_near(Propagation(3).apply(x, {"weight": W}, graph), expected, 1e-13)
    check_operator(Propagation(3), graph)
    with pytest.raises(ValueError, match="Propagation needs at least 1 hop, not 0"):
        Propagation(0)
