"""Attention against PyTorch Geometric, its formula, numerical gradients; dropout and memory."""

import pytest
import torch

from plait import GRU, Attention, Graph, GraphConv, Recurrent
from plait.kernels import attention_blocks as blocks

both_versions = pytest.mark.parametrize("version", [1, 2], ids=["GAT", "GATv2"])


def draw(operator: Attention, inputs: int, outputs: int, gates: int = 1) -> dict[str, torch.Tensor]:
    """Draw the weights of some gates, stacked."""
    shapes = operator.weight_shapes(inputs, outputs)
    stacked = {name: (gates * first, *rest) for name, (first, *rest) in shapes.items()}
    return {n: torch.randn(s).double().requires_grad_() for n, s in stacked.items()}


def gradients(y: torch.Tensor, of: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    weighting = torch.randn(y.shape, generator=generator, dtype=y.dtype)
    return torch.autograd.grad((y * weighting).sum(), of)


@both_versions
@pytest.mark.parametrize("gates", [1, 3])
@pytest.mark.parametrize("block", [blocks.BLOCK, 64, 1])
def test_attention_is_its_formula_whatever_the_blocks(
    version, gates, block, graph, by_formula, assert_near, monkeypatch
):
    monkeypatch.setattr(blocks, "BLOCK", block)
    operator = Attention(2, version)
    weights = draw(operator, 3, 4, gates)
    x = torch.randn(2, graph.num_nodes, 3).double().requires_grad_()
    y, expected = operator.apply(x, weights, graph), by_formula(operator, x, weights, graph)
    assert_near(y, expected)
    of = [x, *weights.values()]
    for ours, theirs in zip(gradients(y, of), gradients(expected, of), strict=True):
        # a node alone, or with one neighbour, has gradients of zero but for rounding
        assert (ours - theirs).abs().max() <= 1e-12 * max(1, theirs.abs().max())


@both_versions
def test_gradients_are_the_numerical_ones(version, graph):
    operator = Attention(2, version)
    weights = draw(operator, 2, 4)
    x = torch.randn(2, graph.num_nodes, 2).double().requires_grad_()

    def answer(x, *tensors):
        return operator.apply(x, dict(zip(weights, tensors, strict=True)), graph)

    assert torch.autograd.gradcheck(answer, (x, *weights.values()))


@both_versions
@pytest.mark.parametrize("heads", [1, 3])
def test_attention_is_pytorch_geometrics(version, heads, graph, pyg, answers_of, assert_near):
    inputs, channels = 5, 4
    ours = GraphConv(Attention(heads, version), inputs, heads * channels, bias=False).double()
    kind = pyg.GATConv if version == 1 else pyg.GATv2Conv
    theirs = kind(inputs, channels, heads, bias=False).double()
    with torch.no_grad():
        named = (
            {"weight": theirs.lin.weight, "source": theirs.att_src, "target": theirs.att_dst}
            if version == 1
            else {
                "weight": theirs.lin_l.weight,
                "target": theirs.lin_r.weight,
                "vector": theirs.att,
            }
        )
        for name, weight in named.items():
            ours.weights[name].copy_(weight.view(ours.weights[name].shape))
    x = torch.randn(3, graph.num_nodes, inputs).double()
    y, (x_grad, *grads) = answers_of(ours, x, graph)
    summed = dict.fromkeys(named, 0)
    weighting = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    for k, features in enumerate(x.clone().requires_grad_()):  # it takes one feature set at a time
        features = features.detach().requires_grad_()
        expected = theirs(features, graph.edge_index)
        assert_near(y[k], expected)
        of = [features, *named.values()]
        their_x, *their_grads = torch.autograd.grad((expected * weighting[k]).sum(), of)
        assert_near(x_grad[k], their_x)
        for name, grad in zip(named, their_grads, strict=True):
            summed[name] = summed[name] + grad
    for (name, weight), grad in zip(ours.weights.items(), grads, strict=True):
        expected = summed[name].view(weight.shape)
        assert (grad - expected).abs().max() <= 1e-12 * max(1, expected.abs().max())


@both_versions
def test_renaming_the_nodes_renames_the_answer(version, graph, permuted, assert_near):
    operator = Attention(2, version)
    weights = draw(operator, 3, 4)
    place = torch.randperm(graph.num_nodes)
    x = torch.randn(graph.num_nodes, 3).double()
    renamed = torch.empty_like(x)
    renamed[place] = x
    y = operator.apply(renamed, weights, permuted(graph, place))
    assert_near(y[place], operator.apply(x, weights, graph))


@both_versions
def test_joined_graphs_answer_as_each_alone(version, make_graph, assert_near):
    operator = Attention(2, version)
    graphs = [make_graph(6, 7, loops=1), Graph([], num_nodes=2), make_graph(9, 5, seed=1)]
    weights = draw(operator, 3, 4)
    x = torch.randn(17, 3).double()
    alone = [operator.apply(p, weights, g) for p, g in zip(x.split([6, 2, 9]), graphs, strict=True)]
    assert_near(operator.apply(x, weights, Graph.join(graphs)), torch.cat(alone))


@both_versions
def test_weights_loops_and_duplicates_of_edges_do_not_matter(version, make_graph):
    graph = make_graph(16, 20, loops=3)
    operator, x = Attention(2, version), torch.randn(16, 3).double()
    weights = draw(operator, 3, 4)
    expected = operator.apply(x, weights, graph)
    source, target = graph.edge_index
    bare = graph.edge_index[:, source != target]
    order = torch.randperm(bare.shape[1])
    others = [Graph(bare[:, order], -torch.ones(len(order)), 16)]
    with pytest.warns(UserWarning, match="duplicate"):
        others.append(Graph(torch.cat([graph.edge_index, bare], 1), num_nodes=16))
    for other in others:
        assert torch.equal(operator.apply(x, weights, other), expected)


@both_versions
def test_large_scores_do_not_overflow(version, make_graph):
    graph, operator = make_graph(16, 20), Attention(1, version)
    weights = {n: 1e3 * w.detach().abs() for n, w in draw(operator, 3, 4).items()}
    x = torch.arange(16.0).double()[:, None].expand(16, 3)
    y = operator.apply(x, weights, graph)
    # the score grows with the neighbour's number, so the last one takes it all
    joined = torch.eye(16, dtype=torch.bool)
    joined[tuple(graph.edge_index.flip(0))] = True
    last = torch.where(joined, torch.arange(16), -1).amax(1)
    assert torch.equal(y, (x @ weights["weight"].T)[last])


@both_versions
def test_dropout_draws_from_torchs_generator_and_drops_the_same_in_the_gradient(
    version, make_graph, monkeypatch
):
    monkeypatch.setattr(blocks, "BLOCK", 100)  # several blocks, so several masks
    graph, operator = make_graph(16, 30), Attention(2, version, dropout=0.4)
    weights = draw(operator, 2, 4)
    x = torch.randn(2, 16, 2).double().requires_grad_()

    def answer(x, *tensors):
        torch.manual_seed(3)
        return operator.apply(x, dict(zip(weights, tensors, strict=True)), graph)

    assert torch.autograd.gradcheck(answer, (x, *weights.values()))
    torch.manual_seed(3)
    first, second = (operator.apply(x, weights, graph) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(answer(x, *weights.values()), first)


def test_dropout_keeps_the_mean_and_its_share(make_graph):
    graph, operator = make_graph(16, 30), Attention(1, dropout=0.25)
    weights = draw(operator, 3, 4)
    # features of one, so that a node's answer is the sum of its coefficients, 1 without dropout
    weights["weight"] = torch.ones(4, 3).double() / 3
    x = torch.ones(16, 3).double()
    sums = torch.stack([operator.apply(x, weights, graph)[:, 0] for _ in range(4000)])
    spread = sums.std(0) / 4000**0.5
    assert ((sums.mean(0) - 1).abs() < 5 * spread).all()
    alone = sums[:, 15]  # isolated: its only coefficient is kept or not
    assert set(alone.tolist()) == {0.0, 1 / 0.75}
    assert abs((alone > 0).double().mean() - 0.75) < 5 * (0.75 * 0.25 / 4000) ** 0.5


def test_a_layer_drops_in_training_only(make_graph):
    graph = make_graph(16, 30)
    conv = GraphConv(Attention(2, dropout=0.5), 3, 4)
    x = torch.randn(16, 3)
    assert not torch.equal(conv(x, graph), conv(x, graph))
    conv.eval()
    plain = GraphConv(Attention(2), 3, 4)
    plain.load_state_dict(conv.state_dict())
    assert torch.equal(conv(x, graph), plain(x, graph))


@both_versions
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_second_gradients_of_a_layer_are_the_numerical_ones(version, dropout, make_graph):
    graph = make_graph(5, 4)
    layer = GraphConv(Attention(2, version, dropout), 3, 4).double()
    x = torch.randn(5, 3).double().requires_grad_()

    def answer(x):
        torch.manual_seed(3)
        return layer(x, graph)

    assert torch.autograd.gradcheck(answer, (x,))
    assert torch.autograd.gradgradcheck(answer, (x,))
    # the gradient's own gradient, with an incoming one that needs none
    assert torch.autograd.gradcheck(
        lambda x: torch.autograd.grad(answer(x).sum(), x, create_graph=True), (x,)
    )


@both_versions
def test_second_gradients_of_a_recurrence_are_the_numerical_ones(version, make_graph):
    graph = make_graph(4, 3)
    layer = Recurrent(GRU(), 2, 2, operator=Attention(2, version)).double()
    x = torch.randn(2, 1, 4, 2).double().requires_grad_()

    def answer(x):
        return layer(x, graph=graph)[0]

    assert torch.autograd.gradcheck(answer, (x,))
    assert torch.autograd.gradgradcheck(answer, (x,))


def test_nothing_is_kept_per_edge(make_graph):
    """What autograd keeps lies on nodes: as much for 15 times the edges."""
    N = 64
    kept = []
    for edges in (100, 1500):
        graph, sizes = make_graph(N, edges), []

        def note(tensor, sizes=sizes):
            sizes.append(tensor.numel())
            return tensor

        for version in (1, 2):
            conv = GraphConv(Attention(8, version), 5, 64)
            with torch.autograd.graph.saved_tensors_hooks(note, note):
                conv(torch.randn(N, 5), graph)
        kept.append(sizes)
        assert max(sizes) == N * 64
    assert kept[0] == kept[1]


def test_heads_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"3 heads do not divide 64 outputs; .*such as 66"):
        GraphConv(Attention(3), 5, 64)
    with pytest.raises(ValueError, match="at least 1 head, not 0"):
        Attention(0)
    with pytest.raises(ValueError, match="is 1 or 2, not 3"):
        Attention(1, version=3)
    with pytest.raises(ValueError, match="less than 1, not 1"):
        Attention(1, dropout=1)


def test_explain_counts_the_edges(make_graph):
    text = "product first; scores and coefficients are recomputed for gradients"
    conv = GraphConv(Attention(2), 3, 4)
    assert conv.explain() == text
    graph = make_graph(16, 12, loops=2)
    apart = int((graph.edge_index[0] != graph.edge_index[1]).sum())
    assert conv.explain(graph) == f"{text}; {apart + 16} edges, including one self-loop per node"
