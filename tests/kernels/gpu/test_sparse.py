"""Sparse products in Triton against dense ones in float64."""

import weakref

import pytest
import torch
from torch.nn import functional as F

from plait import Chebyshev, Diffusion, Graph
from plait.kernels.gpu import products, sparse
from plait.kernels.gpu.products import fold, shifted, terms
from plait.kernels.gpu.segments import cut
from plait.kernels.gpu.sparse import SparseRows
from plait.kernels.sparse import propagate, shift

pytest.importorskip("triton")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("kind", [torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("segment", [256, 2], ids=["whole", "cut"])
def test_products_are_those_of_the_dense_matrix(segment, kind, monkeypatch, assert_near):
    """Rows of no entry, of one and of all; 300 columns are more than a block."""
    monkeypatch.setattr(sparse, "SEGMENT", segment)
    matrix = torch.randn(5, 5).double() * torch.tensor([[0], [1], [1], [0], [1]])
    matrix[1, 1:] = 0
    found = matrix.float().to_sparse_csr()
    parts = found.crow_indices().to(kind), found.col_indices().to(kind), found.values()
    rows = SparseRows.of(torch.sparse_csr_tensor(*parts, (5, 5)).to(DEVICE))
    x, plus, minus = torch.randn(3, 2, 5, 300).double()
    single = [t.float().to(DEVICE) for t in (x, plus, minus)]
    assert_near(rows.multiply(single[0]).double().cpu(), matrix @ x, 1e-6)
    right = 2 * matrix @ x + plus - minus
    assert_near(rows.multiply(*single, 2.0).double().cpu(), right, 1e-6)
    out = torch.empty_like(single[0])
    assert rows.multiply(single[0], single[1], out=out) is out
    assert_near(out.double().cpu(), matrix @ x + plus, 1e-6)


def test_rows_go_with_their_matrix():
    matrix = torch.eye(3).to_sparse_csr()
    SparseRows.of(matrix)
    there = weakref.ref(matrix)
    del matrix
    assert there() is None


@pytest.mark.parametrize("minus", [False, True])
def test_shifts_of_features_are_made_here_and_so_is_their_gradient(minus, monkeypatch, assert_near):
    """Also with what is added, of nodes whose features are two axes; no gradient of the matrix."""
    monkeypatch.setattr(sparse, "can_run", lambda matrix: matrix.dtype == torch.float32)
    edges = torch.tensor([[0, 1, 2, 3, 3], [1, 2, 0, 0, 1]], device=DEVICE)
    values, found = torch.randn(5, device=DEVICE), []
    x, plus = torch.randn(2, 4, 3, 2, device=DEVICE)
    for kind in (torch.float32, torch.float64):
        one = shift(edges[0], edges[1], values.to(kind), 6)
        assert not one.dense
        given = [F.pad(t.to(kind), (0, 0, 0, 0, 0, 2)).requires_grad_() for t in (x, plus)]
        y = propagate(one, *given, times=2.0, minus=minus) + propagate(one, given[0])
        grads = torch.autograd.grad(y.square().sum(), given, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in grads), given)
        found.append(tuple(t.detach().double() for t in (y, *grads, *second)))
    assert_near(*found, 1e-5)


def test_nothing_is_multiplied_by_nothing():
    rows = SparseRows.of(torch.eye(3).to_sparse_csr().to(DEVICE))
    assert rows.multiply(torch.ones(1, 3, 0, device=DEVICE)).shape == (1, 3, 0)


def test_a_long_row_is_cut_and_lists_begin_where_they_should():
    parts = cut(torch.tensor([0, 600, 600, 601], dtype=torch.int32), 256)
    assert parts.table[:, :3].tolist() == [
        [0, 0, 256], [0, 256, 512], [0, 512, 600], [1, 600, 600], [2, 600, 601],
    ]  # fmt: skip
    assert parts.table.dtype == torch.int32
    assert parts.starts.tolist() == [0, 3, 4, 5]


@pytest.mark.parametrize("operator", [Chebyshev(4), Diffusion(3)], ids=repr)
def test_terms_and_their_gradient_are_those_of_dense_matrices(operator, monkeypatch, assert_near):
    """Of one shift and of two, over several steps; T₃ is reached through T₂ and T₁."""
    ring = Graph.from_edges([(k, (k + 1) % 6) for k in range(6)])
    ring = (ring.to_undirected() if isinstance(operator, Chebyshev) else ring).to(DEVICE)
    basis = operator.basis(ring, torch.float32)
    dense = terms(basis, 6)
    monkeypatch.setattr(products, "SMALL", 0)
    monkeypatch.setattr(products, "DENSE", 2.0)
    ours = terms(basis, 6)
    assert ours.stacked is None
    assert (ours.count, ours.shifted) == (dense.count, dense.shifted)
    x = torch.randn(2, 6, 5, device=DEVICE)
    assert_near(shifted(ours, x), shifted(dense, x), 1e-6)
    dz = torch.randn(ours.count, 6 * 5, 1, device=DEVICE)
    assert_near(fold(ours, dz), fold(dense, dz), 1e-6)
