"""The matrices over a graph's nodes that linear operators multiply by.

Rows are targets and columns sources, so that (S x)_i sums over the edges j → i. They are computed
in float64, once for each graph and type, and cached with the graph.
"""

from typing import Literal

import numpy as np
import scipy.sparse
import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor

from plait.errors import InputError
from plait.kernels.sparse import Shift, shift
from plait.kernels.transforms import wide
from plait.nn.graph import Graph


def gcn(graph: Graph, dtype: torch.dtype) -> Shift:
    """Return Â = D̃^-1/2 (A + I)ᵀ D̃^-1/2, self-loops added (Kipf & Welling 2017).

    They have weight 1, and are added to nodes without one; others keep their weights. D̃ is the
    in-degree, self-loops included. A node of degree 0 (with a self-loop of weight 0) gets zeros.
    """

    def make() -> Shift:
        source, target, weight = _edges(graph)
        bare = graph.loops.isnan()
        loops = bare.nonzero().flatten()
        root = _inverse(graph.in_degree + bare).sqrt()
        source, target = torch.cat([source, loops]), torch.cat([target, loops])
        weight = torch.cat([weight, weight.new_ones(len(loops))])
        values = root[source] * root[target] * weight
        return shift(target, source, values.to(wide(dtype)), graph.num_nodes)

    return graph.cached(("gcn", dtype), make)


def chebyshev(graph: Graph, lambda_max: float | Literal["exact"], dtype: torch.dtype) -> Shift:
    """Return L~ = 2 L / λmax − I with L = I − D^-1/2 A D^-1/2 (Defferrard et al. 2016).

    Self-loops are dropped. D is the out-degree. An isolated node has L_ii = 1.
    """

    def make() -> Shift:
        source, target, values = laplacian(graph)
        scale = 2 / _lambda_max(graph, lambda_max)  # [N]
        values = scale[target] * values
        values[source == target] -= 1
        full = values != 0  # for λmax = 2 the diagonal is empty
        return shift(target[full], source[full], values[full].to(wide(dtype)), graph.num_nodes)

    return graph.cached(("chebyshev", lambda_max, dtype), make)


def laplacian(graph: Graph) -> tuple[Tensor, Tensor, Tensor]:
    """Return L = I − D^-1/2 A D^-1/2 as source, target and value of its entries, in float64."""
    source, target, weight = _edges(graph)
    apart = source != target
    source, target, weight = source[apart], target[apart], weight[apart]
    root = _inverse(graph.out_degree - graph.loops.nan_to_num(0.0)).sqrt()
    nodes = torch.arange(graph.num_nodes, device=graph.device)
    values = torch.cat([-(root[source] * root[target]) * weight, weight.new_ones(len(nodes))])
    return torch.cat([source, nodes]), torch.cat([target, nodes]), values


def walks(graph: Graph, dtype: torch.dtype) -> tuple[Shift, Shift]:
    """Return S1 = (D_out^-1 A)ᵀ along the edges, S2 = (D_in^-1 Aᵀ)ᵀ against them (Li 2018).

    Self-loops count like other edges. 1/0 is taken as 0. `InputError` for a sample, which has not
    all edges out of its nodes.
    """
    if graph.whole is not None:
        raise InputError(
            "Diffusion goes against the edges too, and a sample has only edges into its nodes; "
            "take another operator, or the whole graph"
        )

    def make() -> tuple[Shift, Shift]:
        source, target, weight = _edges(graph)
        N = graph.num_nodes
        along = _inverse(graph.out_degree)[source] * weight
        against = _inverse(graph.in_degree)[target] * weight
        return (
            shift(target, source, along.to(wide(dtype)), N),
            shift(source, target, against.to(wide(dtype)), N),
        )

    return graph.cached(("walks", dtype), make)


def mean(graph: Graph, dtype: torch.dtype) -> Shift:
    """Return S: (S x)_i = Σ_j w_ji x_j / Σ_j w_ji, self-loops included; 0 without edges into i."""

    def make() -> Shift:
        source, target, weight = _edges(graph)
        values = _inverse(graph.in_degree)[target] * weight
        return shift(target, source, values.to(wide(dtype)), graph.num_nodes)

    return graph.cached(("mean", dtype), make)


def total(graph: Graph, eps: float, dtype: torch.dtype) -> Shift:
    """Return S: (S x)_i = (1 + ε) x_i + Σ_j w_ji x_j, self-loops included."""

    def make() -> Shift:
        source, target, weight = _edges(graph)
        apart = source != target
        nodes = torch.arange(graph.num_nodes, device=graph.device)
        own = 1 + eps + graph.loops.nan_to_num(0.0)
        source, target = torch.cat([source[apart], nodes]), torch.cat([target[apart], nodes])
        values = torch.cat([weight[apart], own])
        return shift(target, source, values.to(wide(dtype)), graph.num_nodes)

    return graph.cached(("total", eps, dtype), make)


def _edges(graph: Graph) -> tuple[Tensor, Tensor, Tensor]:
    source, target = graph.edge_index
    return source, target, graph.edge_weight.double()


def _inverse(degree: Tensor) -> Tensor:
    return torch.where(degree > 0, 1 / degree, 0.0)


def _lambda_max(graph: Graph, given: float | Literal["exact"]) -> Tensor:
    """Return λmax for every node: the given number, or that of the node's own graph in a union."""
    N = graph.num_nodes
    if given != "exact":
        return torch.full((N,), float(given), dtype=torch.float64, device=graph.device)
    if graph.whole is not None:
        raise InputError(
            "a sample of a graph does not know λmax of the whole; take Chebyshev(k, lambda_max=2)"
        )
    source, target, values = (part.cpu().numpy() for part in laplacian(graph))
    matrix = scipy.sparse.csr_array((values, (target, source)), (N, N))
    members = np.zeros(N, int) if graph.batch is None else graph.batch.cpu().numpy()
    largest = np.ones(N)
    for k in np.unique(members):
        of = np.flatnonzero(members == k)
        part = matrix if len(of) == N else matrix[of][:, of]
        largest[of] = _largest_eigenvalue(part)
    return torch.from_numpy(largest).to(graph.device)


def _largest_eigenvalue(matrix: scipy.sparse.csr_array) -> float:
    (n, _) = matrix.shape  # pyright: ignore[reportGeneralTypeIssues]
    if n < 256:
        return float(np.linalg.eigvalsh(matrix.toarray())[-1])
    start = np.random.default_rng(0).standard_normal(n)  # so that the result is reproducible
    return float(eigsh(matrix, 1, which="LA", v0=start, return_eigenvectors=False)[0])
