"""Combinations: their weights by search, and what few steps leave of them."""

import numpy as np
import pytest

from plait.tasks.forecast.combination import CAUTION, fit_weights, gram

random = np.random.default_rng(0)
H, K = 2, 3
ERRORS = random.standard_normal((K, H, 40, 2)) * np.array([1.0, 1.5, 4.0])[:, None, None, None]
ERRORS[1] += 2 * ERRORS[0]
ERRORS[:, 0, :5, 1] = np.nan


def test_products_leave_out_what_was_not_measured():
    found = gram(ERRORS)
    for h in range(H):
        for k in range(K):
            for m in range(K):
                e = ERRORS[k, h] * ERRORS[m, h]
                assert found[h, k, m] == pytest.approx(np.nansum(e), rel=1e-12)


def test_with_many_steps_the_weights_are_the_best_of_each_step():
    products = gram(ERRORS)
    found = fit_weights(products, 10**9)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-12)
    grid = np.linspace(0, 1, 201)
    for h in range(H):
        a, b = np.meshgrid(grid, grid)
        w = np.stack([a, b, 1 - a - b]).reshape(3, -1)
        w = w[:, w[2] >= -1e-12]
        squared = np.einsum("kn,kl,ln->n", w, products[h], w)
        ours = found[h] @ products[h] @ found[h]
        assert ours <= squared.min() * (1 + 1e-9)
        np.testing.assert_allclose(found[h], w[:, squared.argmin()], atol=6e-3)
    assert (found >= 0).all()
    assert (found == 0).any()


def test_with_few_steps_they_are_by_the_errors_of_all():
    square = np.trace(gram(ERRORS), axis1=1, axis2=2)
    assert (square > 0).all()
    guess = np.diagonal(gram(ERRORS).sum(0)) ** -1.0
    found = fit_weights(gram(ERRORS), CAUTION * 1e-9)
    np.testing.assert_allclose(found, np.tile(guess / guess.sum(), (H, 1)), rtol=1e-4)


def test_a_forecast_without_error_is_the_answer():
    products = gram(np.stack([np.zeros((2, 4, 1)), np.ones((2, 4, 1)), np.zeros((2, 4, 1))]))
    np.testing.assert_array_equal(fit_weights(products, 4), [[0.5, 0, 0.5]] * 2)
