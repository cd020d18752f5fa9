"""`Adaptive`: against NumPy from the papers' formulas, with gradients, in every cell."""

import copy
import re

import numpy as np
import pytest
import torch

import plait
from plait import GRU, LSTM, Adaptive, Attention, Diffusion, Graph, GraphConv, Recurrent
from plait.kernels.reference import Reference

N, F, H = 6, 3, 4


def operator(**options) -> Adaptive:
    return Adaptive(N, size=2, **options).double()


def graph() -> Graph:
    edges = Graph.from_edges([(0, 1), (1, 2), (3, 2), (4, 5)], num_nodes=N)
    return edges.to(torch.float64)


def softmax(scores: np.ndarray) -> np.ndarray:
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def numpy_shift(own: Adaptive) -> np.ndarray:
    scores = own.targets.detach().numpy() @ own.sources.detach().numpy().T
    if not own.largest:
        return softmax(np.maximum(scores, 0))
    S = np.zeros((N, N))
    for i, row in enumerate(scores):
        kept = np.argsort(-row, kind="stable")[: own.largest]
        S[i, kept] = softmax(np.maximum(row[kept], 0))
    return S


@pytest.mark.parametrize("largest", [0, 2, N])
@pytest.mark.parametrize("k", [1, 3])
def test_it_is_the_formula(k, largest, assert_near):
    own = operator(k=k, largest=largest)
    x, W = torch.randn(2, N, F).double(), torch.randn(H, k + 1, F).double()
    S = numpy_shift(own)
    expected = sum(
        np.linalg.matrix_power(S, j) @ x.numpy() @ W[:, j].numpy().T for j in range(k + 1)
    )
    assert_near(own.apply(x, {"weight": W}, None), torch.from_numpy(expected))


@pytest.mark.parametrize("whole", [0, N])
def test_a_few_edges_are_the_same_as_a_matrix_and_one_by_one(assert_near, monkeypatch, whole):
    monkeypatch.setattr("plait.nn.adaptive.WHOLE", whole)
    own = operator(largest=3)
    x, W = torch.randn(2, N, F).double(), torch.randn(H, 3, F).double()
    S = torch.from_numpy(numpy_shift(own))
    expected = torch.stack([x, S @ x, S @ S @ x], 2).flatten(2) @ W.flatten(1).T
    assert_near(own.apply(x, {"weight": W}, None), expected)


@pytest.mark.parametrize(("largest", "whole"), [(0, N), (2, N), (2, 0)])
def test_its_gradients_are_the_numerical_ones(monkeypatch, largest, whole):
    monkeypatch.setattr("plait.nn.adaptive.WHOLE", whole)
    own = operator(k=2, largest=largest)
    shapes = own.weight_shapes(F, H)

    def apply(x, W, E, S):
        own.targets, own.sources = E, S
        return own.apply(x, {"weight": W}, None)

    E, S = own.targets.detach().clone(), own.sources.detach().clone()
    del own.targets, own.sources
    given = [torch.randn(2, N, F), torch.randn(shapes["weight"]), E, S]
    assert torch.autograd.gradcheck(apply, [t.double().requires_grad_() for t in given])


def test_with_a_given_graph_it_is_the_sum(assert_near):
    own = operator(k=2, given=Diffusion(2))
    shapes = own.weight_shapes(F, H)
    assert shapes == {"weight": (H, 5, F), "learnt": (H, 2, F)}
    weights = {name: torch.randn(shape).double() for name, shape in shapes.items()}
    x = torch.randn(3, N, F).double()
    S = torch.from_numpy(numpy_shift(own))
    alone = Diffusion(2).apply(x, {"weight": weights["weight"]}, graph())
    learnt = S @ x @ weights["learnt"][:, 0].T + S @ S @ x @ weights["learnt"][:, 1].T
    assert_near(own.apply(x, weights, graph()), alone + learnt)


@pytest.mark.parametrize("given", [None, Diffusion(1)])
def test_two_gates_stacked_are_each_alone(assert_near, given):
    own, x, g = operator(given=given), torch.randn(2, N, F).double(), graph()
    shapes = own.weight_shapes(F, H)
    first, second = ({n: torch.randn(s).double() for n, s in shapes.items()} for _ in range(2))
    both = {name: torch.cat([first[name], second[name]]) for name in shapes}
    alone = [own.apply(x, weights, g) for weights in (first, second)]
    assert_near(own.apply(x, both, g), torch.cat(alone, -1))


def test_renaming_the_nodes_with_their_vectors_renames_the_outputs(assert_near):
    own, place = operator(largest=3), torch.randperm(N)
    other = copy.deepcopy(own)
    with torch.no_grad():
        other.targets[place], other.sources[place] = own.targets, own.sources
    x, W = torch.randn(2, N, F).double(), {"weight": torch.randn(H, 3, F).double()}
    moved = torch.empty_like(x)
    moved[:, place] = x
    assert_near(other.apply(moved, W, None)[:, place], own.apply(x, W, None))


@pytest.mark.parametrize("cell", [GRU(), LSTM(peephole=True)], ids=repr)
@pytest.mark.parametrize("options", [{}, {"largest": 2}, {"given": Diffusion(1)}], ids=str)
def test_kernels_give_the_same_with_gradients_of_its_own(cell, options):
    layer = Recurrent(cell, F, H, operator=Adaptive(N, size=3, **options))
    x, g = torch.randn(5, 2, N, F), graph().to(torch.float32) if "given" in options else None
    found = {}
    for name, kernels in (("fast", layer.kernels), ("plain", [Reference()])):
        layer.kernels = kernels
        y, _ = layer(x, graph=g)
        gradients = torch.autograd.grad(y.square().sum(), list(layer.parameters()))
        found[name] = [y.detach(), *gradients]
    for fast, plain in zip(found["fast"], found["plain"], strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5 * float(plain.abs().max()))
        assert plain.abs().max() > 0


def test_the_largest_are_found_anew_as_the_vectors_change(assert_near):
    own = operator(largest=2)
    x, W = torch.randn(1, N, F).double(), {"weight": torch.randn(H, 3, F).double()}
    before = own.apply(x, W, None)
    with torch.no_grad():
        own.sources.neg_()
    fresh = operator(largest=2)
    fresh.load_state_dict(own.state_dict())
    assert_near(own.apply(x, W, None), fresh.apply(x, W, None))
    assert not torch.allclose(own.apply(x, W, None), before)


def test_the_given_graphs_operator_drops_in_training_alone(assert_near):
    own, x = operator(given=Attention(2, dropout=0.5)), torch.randn(2, N, F).double()
    weights = {n: torch.randn(s).double() for n, s in own.weight_shapes(F, H).items()}
    torch.manual_seed(1)
    dropped = own.apply(x, weights, graph())
    torch.manual_seed(1)
    drawn = own.draw(2, graph())
    assert_near(own.apply(x, weights, graph(), drawn), dropped)
    own.eval()
    assert own.draw(2, graph()) is None
    kept = own.apply(x, weights, graph())
    assert torch.equal(kept, own.apply(x, weights, graph()))
    assert not torch.allclose(kept, dropped)


def test_what_was_found_in_inference_mode_can_be_differentiated():
    own, x = operator(largest=2), torch.randn(N, F).double()
    weights = {"weight": torch.randn(H, 3, F).double()}
    with torch.inference_mode():
        own.apply(x, weights, None)
    own.apply(x, weights, None).sum().backward()
    assert own.targets.grad is not None


def test_the_strongest_edges():
    own = operator()
    with torch.no_grad():
        own.sources.copy_(torch.arange(2.0 * N).view(N, 2))
        own.targets.fill_(0.1)
    index, weight = own.edges(2)
    pairs = list(zip(*index.tolist(), strict=True))
    assert pairs[:2] == [(5, 0), (4, 0)]  # j → i, the strongest first
    assert pairs[-2:] == [(4, 5), (3, 5)]  # not from itself
    assert weight[0] == pytest.approx(numpy_shift(own)[0, 5], rel=1e-12)
    sparse = operator(largest=1)
    sparse.load_state_dict(own.state_dict())
    assert sparse.edges(3)[0].tolist() == [[5] * 5, [0, 1, 2, 3, 4]]


def test_it_explains_itself():
    conv = GraphConv(Adaptive(N, size=2, largest=3, given=Diffusion(2)), F, H)
    assert conv.explain() == (
        "a graph learnt from vectors of 2: 6 nodes, 3 edges into each; next to Diffusion(k=2)"
    )
    assert "Adaptive(6, k=2, size=2, largest=3, given=Diffusion(k=2))" in repr(conv)
    assert plait.nn.Adaptive is Adaptive


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nodes": 0}, "nodes of at least 1, not 0"),
        ({"nodes": 3, "k": 0}, "k of at least 1, not 0"),
        ({"nodes": 3, "size": 0}, "size of at least 1, not 0"),
        ({"nodes": 3, "largest": 4}, "largest must be from 0 to the 3 nodes, not 4"),
    ],
)
def test_sizes_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Adaptive(**options)


def test_other_nodes_are_refused():
    message = re.escape("x must be [..., 6, F], for the 6 nodes of Adaptive; got shape [2, 5, 3]")
    with pytest.raises(ValueError, match=message):
        GraphConv(Adaptive(N), F, H)(torch.randn(2, 5, F))
