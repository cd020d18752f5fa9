"""Sums over edges on a GPU: against dense products in float64, and none in the order of chance."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from plait import GINE, Adaptive, Attention, Graph, GraphConv, SAGEMax
from plait.kernels import attention, edge_sums
from plait.kernels.edge_sums import add_at, sorted_ends, take, total
from plait.kernels.gpu import graphs, sparse
from plait.kernels.sparse import multiply

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NODES = torch.tensor([3, 0, 3, 1, 3, 3])  # node 2 has no edge, node 3 four


def as_a_gpu_does(monkeypatch):
    """Sum as on a GPU, where torch's own sums are in no order."""
    monkeypatch.setattr(edge_sums, "in_order", lambda x: False)
    monkeypatch.setattr(attention, "has_loops", lambda like: False)


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    as_a_gpu_does(monkeypatch)


def incidence(kind):
    return torch.nn.functional.one_hot(NODES, 4).to(kind)  # [E, N]


def test_rows_are_taken_and_summed_and_each_is_the_others_gradient(as_on_a_gpu, assert_near):
    """To the second gradient, over any axis, without edges too."""
    M, ends = incidence(torch.float64), sorted_ends(NODES, 4)
    x, e = torch.randn(2, 4, 3).double(), torch.randn(2, 6, 3).double()
    assert_near(take(x, ends, 1), M @ x)
    assert_near(total(e, ends, -2), M.T @ e)
    assert_near(total(e.movedim(1, 2), ends, 2), (M.T @ e).movedim(1, 2))
    for run, given in ((take, x), (total, e)):

        def square(t, run=run):
            return run(t, ends, 1).square()

        given = given[:1].clone().requires_grad_()
        assert torch.autograd.gradcheck(square, given)
        assert torch.autograd.gradgradcheck(square, given)
    none = sorted_ends(NODES[:0], 4)
    assert torch.equal(total(e[:, :0], none, 1), torch.zeros(2, 4, 3).double())
    assert take(x, none, 1).shape == (2, 0, 3)
    one = sorted_ends(NODES[:1], 4)
    assert torch.equal(total(torch.ones(1), one, 0), torch.tensor([0.0, 0, 0, 1]))


@pytest.mark.parametrize(("segment", "width"), [(256, 300), (2, 1)], ids=["whole", "cut"])
def test_in_float32_triton_sums(segment, width, as_on_a_gpu, monkeypatch, assert_near):
    """One column and more than a block; half precision is summed in float32."""
    pytest.importorskip("triton")
    monkeypatch.setattr(sparse, "SEGMENT", segment)
    monkeypatch.setattr(sparse, "can_sum", lambda rows: rows.dtype == torch.float32)
    M, ends = incidence(torch.float64), sorted_ends(NODES.to(DEVICE), 4)
    for kind, bound in ((torch.float32, 1e-6), (torch.float16, 1e-3)):
        e = torch.randn(1, 6, width).to(kind)
        found = total(e.to(DEVICE), ends, 1).cpu()
        assert found.dtype == kind
        assert_near(found.double(), M.T @ e.double(), bound)


def test_sparse_features_are_multiplied_in_order_too(monkeypatch, assert_near):
    """A row and a column without entries; by torch's own product in float64, with gradients."""
    pytest.importorskip("triton")
    x = torch.tensor([[0.0, 2, 0], [0, 0, 0], [1, 3, 0], [4, 0, 0]])
    weight, found = torch.randn(3, 2), []
    for kind, ours in ((torch.float64, False), (torch.float32, True)):
        monkeypatch.setattr(sparse, "can_sum", lambda rows, ours=ours: ours)
        own = weight.to(DEVICE, kind).requires_grad_()
        with Unordered() as unordered:
            y = multiply(x.to(DEVICE, kind).to_sparse(), own.T.contiguous().T)
            (change,) = torch.autograd.grad(y.square().sum(), own)
        assert unordered.found == []
        found.append([t.detach().cpu().double() for t in (y, change)])
    assert_near(found[1], found[0], 1e-6)


def test_sums_that_are_made_once_are_those_of_torch(as_on_a_gpu):
    x = torch.randn(2, 6, 3)
    found = add_at(torch.ones(2, 4, 3), NODES, x, -2)
    assert torch.allclose(found, torch.ones(2, 4, 3).index_add(-2, NODES, x))


class Unordered(TorchDispatchMode):
    """Notes operations of torch that add in no order on a GPU; whole numbers are exact in any."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::").rstrip("_")
        if name in ("index_add", "scatter_add", "scatter_reduce", "index_reduce", "put"):
            values = args[3]
            if "amax" not in args and not torch.equal(values, values.round()):
                self.found.append(str(func))
        return func(*args, **(kwargs or {}))


def test_what_adds_in_no_order_is_found():
    x = torch.randn(4, requires_grad=True)
    with Unordered() as unordered:
        torch.autograd.grad(x.index_select(0, NODES).square().sum(), x)
    assert len(unordered.found) == 1


OPERATORS = [
    GINE(), GINE(2), SAGEMax(), Attention(2), Attention(2, 2), Attention(2, edge_size=2),
    Attention(2, 2, edge_size=2), Adaptive(4, largest=2),
]  # fmt: skip


@pytest.mark.parametrize("operator", OPERATORS, ids=repr)
def test_no_operator_adds_in_no_order_or_waits_for_the_gpu(operator, monkeypatch, assert_near):
    """Forward and backward, by what runs where Triton's kernels do not."""
    edges = [[0, 1, 2, 0, 3], [1, 2, 0, 3, 3]]
    graph = Graph(edges, edge_features=torch.randn(5, 2)).to(torch.float64)
    layer, x = GraphConv(operator, 3, 4).double(), torch.randn(2, 4, 3).double().requires_grad_()
    wanted = [x, *layer.parameters()]

    def trained():
        y = layer(x, graph)
        return y.detach(), *torch.autograd.grad(y.square().sum(), wanted)

    right = trained()
    as_a_gpu_does(monkeypatch)
    trained()  # makes what is made once for a graph
    with Unordered() as unordered, graphs.Watch() as watch:
        found = trained()
    assert unordered.found == watch.found == []
    assert_near(found, right)
