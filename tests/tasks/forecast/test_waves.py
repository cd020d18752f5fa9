"""The generated process: its best possible forecast, against a derivation that knows no modes."""

import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

from plait.nn.shifts import laplacian
from plait.tasks.forecast import waves as process
from plait.tasks.forecast.waves import Waves


@pytest.fixture(scope="module")
def waves() -> Waves:
    return Waves.drawn(steps=3000)


def by_conditioning(waves: Waves, P: int, H: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights `[H·N, P·N]` and covariance of the best forecast, from the whole state space.

    The state is (u_t, u_{t−1}) of all nodes, its covariance that which a step leaves as it is;
    what comes, given what was measured, is Gaussian conditioning.
    """
    N = len(waves.places)
    source, target, value = (part.numpy() for part in laplacian(waves.graph))
    L, eye, zero = np.zeros((N, N)), np.eye(N), np.zeros((N, N))
    L[target, source] = value
    move = (2 - process.DAMPING - process.RETURN) * eye - process.SPEED * L
    A = np.block([[move, (process.DAMPING - 1) * eye], [eye, zero]])
    S = solve_discrete_lyapunov(A, np.block([[process.KICK**2 * eye, zero], [zero, zero]]))
    lagged = [S[:N, :N]]  # Cov(u_{t+k}, u_t)
    power = np.eye(2 * N)
    for _ in range(P + H):
        power = A @ power
        lagged.append((power @ S)[:N, :N])

    def covariance(s, t):
        C = lagged[s - t] if s >= t else lagged[t - s].T
        return C + process.NOISE**2 * eye * (s == t)

    past, ahead = range(P), range(P, P + H)
    K = np.block([[covariance(s, t) for t in past] for s in past])
    k = np.block([[covariance(s, t) for t in past] for s in ahead])
    weights = np.linalg.solve(K, k.T).T
    left = np.block([[covariance(s, t) for t in ahead] for s in ahead]) - weights @ k.T
    return weights, left


def test_the_best_forecast_is_the_conditional_mean(waves):
    P, H, N = 6, 4, len(waves.places)
    weights, left = by_conditioning(waves, P, H)
    window = waves.values[100 : 100 + P]
    expected = (weights @ window.ravel()).reshape(H, N)
    np.testing.assert_allclose(waves.best_forecast(window, H), expected, rtol=0, atol=1e-9)
    errors = np.sqrt(left.diagonal().reshape(H, N).mean(1))
    np.testing.assert_allclose(waves.best_errors(P, H), errors, rtol=1e-10)


def test_the_drawn_series_is_of_that_process(waves):
    """Errors of the best forecast on it are those that are known, within what chance allows."""
    P, H = 12, 12
    given = np.lib.stride_tricks.sliding_window_view(waves.values, P, 0)[:-H].transpose(0, 2, 1)
    truth = np.stack([waves.values[P + h : len(given) + P + h] for h in range(H)], 1)
    found = np.sqrt(((waves.best_forecast(given, H) - truth) ** 2).mean((0, 2)))
    np.testing.assert_allclose(found, waves.best_errors(P, H), rtol=0.02)


def test_more_history_never_hurts_and_more_horizon_never_helps(waves):
    short, long = waves.best_errors(2, 8), waves.best_errors(12, 8)
    assert (long < short).all()
    assert (np.diff(long) > 0).all()
    assert long[0] > np.sqrt(process.KICK**2 + process.NOISE**2)


def test_it_is_the_same_every_time():
    assert np.array_equal(Waves.drawn(50).values, Waves.drawn(50).values)
    assert not np.array_equal(Waves.drawn(50).values, Waves.drawn(50, seed=1).values)
