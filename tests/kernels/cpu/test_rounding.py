"""Weights of 16 and 8 bits: how near they are, and products with them packed."""

import pytest
import torch
from numba import njit

from plait.kernels.cpu.matmul import LAYOUTS, _products, product_as
from plait.kernels.cpu.rounding import pack, rounded


@njit
def _product(layout, a, stride, rows, packed, K, out, columns):
    product_as(layout, a, stride, rows, packed, K, out, columns)


def test_bfloat16_is_the_nearest_of_eight_bits():
    weight = torch.randn(7, 50)
    near = rounded(weight, "bfloat16")
    assert ((near - weight).abs() <= weight.abs() * 2**-8).all()
    assert (near.view(torch.int32) & 0xFFFF == 0).all()


def test_int8_is_the_nearest_step_of_each_row():
    weight = torch.randn(7, 50) * torch.logspace(-3, 3, 7)[:, None]
    weight[3] = 0
    near, step = rounded(weight, "int8"), weight.abs().amax(1, keepdim=True) / 127
    assert ((near - weight).abs() <= 0.5001 * step).all()
    assert (near.abs().amax(1) == weight.abs().amax(1)).all()
    assert max(len(row.unique()) for row in near) <= 255


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "int8"])
def test_rounding_twice_is_rounding_once(kind):
    once = rounded(torch.randn(7, 50), kind)
    torch.testing.assert_close(rounded(once, kind), once, rtol=2e-7, atol=0)


@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8, 17])
@pytest.mark.parametrize("columns", [1, 33, 128, 200])
@pytest.mark.parametrize("K", [1, 40])
def test_products_are_those_of_the_rounded_matrix_in_float64(kind, rows, columns, K):
    a, weight = torch.randn(rows, K), rounded(torch.randn(columns, K), kind)
    out = torch.full((rows + 1, columns), 7.0)
    packed = pack(weight.T, kind)
    _product(LAYOUTS[kind], a.data_ptr(), K, rows, packed.data_ptr(), K, out.data_ptr(), columns)
    assert torch.allclose(out[:rows].double(), a.double() @ weight.double().T, atol=1e-5)
    assert (out[rows] == 7).all()


def test_every_product_has_a_name_of_its_own():
    """Kernels kept on the disk are linked by name: two of one name would run one code."""
    assert len({p.py_func.__qualname__ for p in _products.values()}) == len(LAYOUTS)
