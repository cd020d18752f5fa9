"""Vectors: the two functions of the gates, and products, against float64."""

import numpy as np
import pytest
import torch
from numba import njit

from plait.kernels.cpu import simd_functions
from plait.kernels.cpu.matmul import product
from plait.kernels.cpu.rounding import pack
from plait.kernels.cpu.simd import LANES, load, store


@njit
def _sigmoid(x, y, count):
    for j in range(0, count, LANES):
        store(y, j, count - j, simd_functions.sigmoid(load(x, j, count - j)))


@njit
def _tanh(x, y, count):
    for j in range(0, count, LANES):
        store(y, j, count - j, simd_functions.tanh(load(x, j, count - j)))


@njit
def _exp(x, y, count):
    for j in range(0, count, LANES):
        store(y, j, count - j, simd_functions.exp(load(x, j, count - j)))


@njit
def _product(a, stride, rows, packed, K, out, columns):
    product(a, stride, rows, packed, K, out, columns)


def applied(function, x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float32)
    y = np.full(len(x) + 1, 7, np.float32)
    function(x.ctypes.data, y.ctypes.data, len(x))
    assert y[-1] == 7  # nothing is written past the end
    return y[:-1]


def ulps(y: np.ndarray, exact: np.ndarray) -> float:
    return float(np.max(np.abs(y - exact) / np.spacing(np.abs(exact).astype(np.float32))))


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 0.1, 1, 10, 80])
def test_the_gates_functions_are_right_to_three_ulps(scale):
    x = np.random.default_rng(0).uniform(-scale, scale, 20_003).astype(np.float32)
    exact = x.astype(np.float64)
    assert ulps(applied(_sigmoid, x), 1 / (1 + np.exp(-exact))) < 3
    assert ulps(applied(_tanh, x), np.tanh(exact)) < 3
    assert ulps(applied(_exp, x), np.exp(exact)) < 3


def test_the_gates_functions_far_out():
    x = np.array([0, np.inf, -np.inf, 1e30, -1e30, np.nan])
    assert np.array_equal(applied(_sigmoid, x)[[0, 1, 3]], [0.5, 1, 1])
    assert (applied(_sigmoid, x)[[2, 4]] < 1e-37).all()
    assert np.array_equal(applied(_tanh, x)[:5], [0, 1, -1, 1, -1])
    assert np.isnan(applied(_sigmoid, x)[5])
    assert np.isnan(applied(_tanh, x)[5])


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 5, 6, 7, 8, 17, 31])
@pytest.mark.parametrize("columns", [0, 1, 31, 33, 200])
@pytest.mark.parametrize("K", [0, 1, 40])
def test_products_are_those_of_float64(rows, columns, K):
    a, b = torch.randn(rows, K + 3), torch.randn(K, columns)
    out = torch.full((rows + 1, columns), 7.0)
    packed = pack(b)
    _product(a.data_ptr() + 8, K + 3, rows, packed.data_ptr(), K, out.data_ptr(), columns)
    expected = a[:, 2 : 2 + K].double() @ b.double()
    assert torch.allclose(out[:rows].double(), expected, atol=1e-5)
    assert (out[rows] == 7).all()


def test_a_rows_product_does_not_depend_on_the_others():
    a, packed = torch.randn(13, 40), pack(torch.randn(40, 50))
    whole, one = torch.empty(13, 50), torch.empty(1, 50)
    _product(a.data_ptr(), 40, 13, packed.data_ptr(), 40, whole.data_ptr(), 50)
    for row, expected in zip(a, whole, strict=True):
        _product(row.data_ptr(), 40, 1, packed.data_ptr(), 40, one.data_ptr(), 50)
        assert torch.equal(one[0], expected)
