"""Products with a matrix over nodes: sparse and dense, to any derivative."""

import pytest
import torch

from plait.kernels import sparse
from plait.kernels.sparse import propagate, shift

N = 12


def make(entries: int, *, symmetric: bool = False, dtype=torch.float64):
    """Make a shift and the same matrix, dense."""
    generator = torch.Generator().manual_seed(entries)
    places = torch.randperm(N * N, generator=generator)[:entries]
    rows, columns = places // N, places % N
    if symmetric:
        keep = rows < columns
        rows, columns = (
            torch.cat([a[keep], b[keep]]) for a, b in ((rows, columns), (columns, rows))
        )
    values = torch.randn(len(rows), generator=generator, dtype=dtype)
    if symmetric:
        values = values[: len(rows) // 2].repeat(2)
    dense = torch.zeros(N, N, dtype=dtype)
    dense[rows, columns] = values
    return shift(rows, columns, values, N), dense


@pytest.mark.parametrize("entries", [0, 10, 28, 29, 144])
@pytest.mark.parametrize("behind", [(), (3,), (2, 3), (0,)], ids=str)
def test_products_are_those_of_the_dense_matrix(entries, behind, assert_near):
    S, dense = make(entries)
    assert S.dense == (entries >= 0.2 * N * N)
    x, plus = torch.randn(2, N, *behind).double()
    if not behind:
        x, plus = x[:, None], plus[:, None]
    product = torch.einsum("ij,j...->i...", dense, x)
    assert_near(propagate(S, x), product)
    assert_near(propagate(S, x, times=2.0), 2 * product)
    assert_near(propagate(S, x, plus, times=2.0), 2 * product + plus)
    assert_near(propagate(S, x, plus, minus=True), product - plus)


@pytest.mark.parametrize("entries", [10, 100])
def test_gradients_are_the_numerical_ones_twice(entries):
    S, _ = make(entries)
    x, plus = torch.randn(2, N, 2).double().requires_grad_()

    def answer(x, plus):  # not linear, so that the second derivative is not zero
        return propagate(S, propagate(S, x).square(), plus, times=3.0, minus=True)

    assert torch.autograd.gradcheck(answer, (x, plus))
    assert torch.autograd.gradgradcheck(answer, (x, plus))


def test_what_is_not_contiguous_is_carried_as_it_is(assert_near):
    S, dense = make(10)
    x = torch.randn(3, N, 4).double().movedim(1, 0)
    assert not x.is_contiguous()
    assert_near(propagate(S, x), torch.einsum("ij,jbf->ibf", dense, x))


def test_a_symmetric_matrix_is_its_own_transpose():
    S, _ = make(20, symmetric=True)
    assert not S.dense
    assert S.transposed is S.matrix
    other, _ = make(20)
    assert other.transposed is not other.matrix


def test_indices_are_of_32_bits_where_they_fit():
    S, _ = make(10)
    assert S.matrix.col_indices().dtype == S.matrix.crow_indices().dtype == torch.int32
    assert sparse.index_type(2**31 - 1, 5) == torch.int32
    assert sparse.index_type(5, 2**31) == torch.int64


def test_half_precision_is_multiplied_in_the_matrix_s_type(assert_near):
    S, dense = make(10, dtype=torch.float32)
    x = torch.randn(N, 3).bfloat16()
    y = propagate(S, x, x, times=2.0)
    assert y.dtype == torch.bfloat16
    assert_near(y, (2 * dense @ x.float() + x.float()).bfloat16())
    assert propagate(S, x, x.float()).dtype == torch.float32
    narrow, _ = make(10, dtype=torch.bfloat16)  # a matrix of somebody's own
    assert narrow.matrix.dtype == torch.float32
    assert propagate(narrow, x).dtype == torch.bfloat16


def test_a_negative_bit_is_heeded(assert_near):
    S, dense = make(10)
    x = torch.randn(N, 3).double()
    negative = torch.complex(torch.zeros_like(x), -x).conj().imag
    assert negative.is_neg()
    assert torch.equal(negative, x)
    assert_near(propagate(S, negative), dense @ x)


def test_what_does_not_fit_the_matrix_is_refused_with_both_sides_named():
    S, _ = make(10)
    x = torch.randn(N, 3).double()
    refused = {
        "x is torch.float32, the matrix torch.float64": (x.float(), None),
        "plus is torch.float32, the matrix torch.float64": (x, x.float()),
        "x is torch.bfloat16, the matrix torch.float64": (x.bfloat16(), None),
        "plus is on meta, the matrix on cpu": (x, x.to("meta")),
        r"x must be \[12, 3\]; got shape \[11, 3\]": (x[1:], None),
        r"plus must be \[12, 3\]; got shape \[12, 2\]": (x, x[:, 1:]),
    }
    for message, given in refused.items():
        with pytest.raises(ValueError, match=message):
            propagate(S, *given)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("entries", [10, 100])
def test_transforms_of_torch_func_see_through(entries, assert_near):
    S, dense = make(entries)
    x, plus = torch.randn(2, N, 2).double()

    def answer(x: torch.Tensor) -> torch.Tensor:
        return propagate(S, x.square(), plus, times=3.0, minus=True)

    by_hand = torch.einsum("ij,jg,fg->ifjg", 6 * dense, x, torch.eye(2).double())
    jacobian = torch.autograd.functional.jacobian(answer, x)
    assert_near(jacobian, by_hand)
    assert_near(torch.func.jacrev(answer)(x), jacobian)
    assert_near(torch.func.jacfwd(answer)(x), jacobian)
    assert_near(torch.autograd.functional.jacobian(answer, x, vectorize=True), jacobian)
    batch = torch.randn(3, N, 2).double()
    assert_near(torch.func.vmap(answer)(batch), torch.stack([answer(b) for b in batch]))
