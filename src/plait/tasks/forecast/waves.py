"""Waves on a graph: a generated process, of which the best possible forecast is known."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_discrete_lyapunov, toeplitz

from plait.nn.graph import Graph
from plait.nn.shifts import laplacian

NODES, NEIGHBOURS, STEPS = 48, 4, 12000
DAMPING, RETURN, SPEED = 0.05, 0.1, 0.8
KICK, NOISE = 1.0, 1.0
"""Standard deviations of what strikes every node at every step, and of every measurement."""


@dataclass(frozen=True)
class Waves:
    r"""Damped waves that random blows raise, measured with noise.

    u_{t+1} = u_t + (1 − γ)(u_t − u_{t−1}) − κ u_t − c L u_t + ε_t,  y_t = u_t + η_t

    with L = I − D^-1/2 A D^-1/2 the Laplacian of a graph of 48 places and their nearest four,
    γ = 0.05, κ = 0.1, c = 0.8, and ε, η normal with variance 1, independent at every node and step.

    Along each eigenvector of L this is a process by itself, Gaussian and stationary, so the best
    forecast from P measurements of all nodes is a linear one, and its error is known exactly:
    with r the autocovariance of u along the eigenvector, K = (r_{|i−j|} + [i=j]) of the P steps
    and k_h = (r_h, …, r_{h+P−1}), the weights are K⁻¹ k_h and the squared error
    r_0 + 1 − k_hᵀ K⁻¹ k_h. The mean over the eigenvectors is the mean over the nodes.

    Attributes
    ----------
    places : float array `[N, 2]`
    graph : Graph
    values : float array `[T, N]`

    Example
    -------
    >>> from plait.tasks.forecast.waves import Waves
    >>> waves = Waves.drawn(steps=100)
    >>> waves.values.shape, waves.best_errors(12, 3).round(3).tolist()
    ((100, 48), [1.723, 2.046, 2.3])
    """

    places: np.ndarray
    graph: Graph
    values: np.ndarray

    @classmethod
    def drawn(cls, steps: int = STEPS, seed: int = 0) -> "Waves":
        """Draw places, and a history that begins in the stationary state."""
        generator = np.random.default_rng(seed)
        places = generator.random((NODES, 2))
        graph = Graph.from_points(places, NEIGHBOURS)
        eigenvalues, vectors = _modes(graph)
        moves = [_companion(value) for value in eigenvalues]
        z = np.stack([  # u_0 and u_{−1} along every eigenvector
            np.linalg.cholesky(_stationary(A)) @ generator.standard_normal(2) for A in moves
        ])  # fmt: skip
        blows = KICK * generator.standard_normal((steps, NODES))
        A = np.stack(moves)
        u = np.empty((steps, NODES))
        for t in range(steps):
            z = np.einsum("nij,nj->ni", A, z)
            z[:, 0] += blows[t]
            u[t] = z[:, 0]
        noise = NOISE * generator.standard_normal((steps, NODES))
        return cls(places, graph, u @ vectors.T + noise)

    def best_errors(self, history: int, horizon: int) -> np.ndarray:
        """Return the RMSE of the best forecast 1 … horizon steps ahead, `[horizon]`."""
        squared = [_best(value, history, horizon)[1] for value in _modes(self.graph)[0]]
        return np.sqrt(np.mean(squared, axis=0))

    def best_forecast(self, windows: np.ndarray, horizon: int) -> np.ndarray:
        """Forecast as well as can be: `[..., P, N]`, the earliest first, to `[..., horizon, N]`."""
        eigenvalues, vectors = _modes(self.graph)
        weights = np.stack([_best(v, windows.shape[-2], horizon)[0] for v in eigenvalues])
        along = windows[..., ::-1, :] @ vectors  # the latest first
        return np.einsum("...pn,nhp->...hn", along, weights) @ vectors.T


def _modes(graph: Graph) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues and eigenvectors of L."""
    source, target, value = (part.numpy() for part in laplacian(graph))
    L = np.zeros((graph.num_nodes, graph.num_nodes))
    L[target, source] = value
    return np.linalg.eigh(L)


def _companion(eigenvalue: float) -> np.ndarray:
    """Return what carries (u_t, u_{t−1}) along an eigenvector one step on."""
    return np.array([[2 - DAMPING - RETURN - SPEED * eigenvalue, DAMPING - 1], [1.0, 0.0]])


def _stationary(A: np.ndarray) -> np.ndarray:
    """Return the covariance of (u_t, u_{t−1}): that which a step does not change."""
    return solve_discrete_lyapunov(A, np.diag([KICK**2, 0.0]))


def _best(eigenvalue: float, history: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Return weights `[horizon, P]` of the last measurements, latest first, and squared errors."""
    A = _companion(eigenvalue)
    covariance, r = _stationary(A), []
    for _ in range(history + horizon):
        r.append(covariance[0, 0])
        covariance = A @ covariance
    K = toeplitz(r[:history]) + NOISE**2 * np.eye(history)
    k = np.stack([r[h : h + history] for h in range(1, horizon + 1)])
    weights = np.linalg.solve(K, k.T).T
    return weights, r[0] + NOISE**2 - (weights * k).sum(1)
