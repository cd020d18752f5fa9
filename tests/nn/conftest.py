"""Graphs of every kind, the operators written out as dense matrices, and the oracle."""

import warnings
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from plait import Attention, Chebyshev, Dense, Diffusion, Graph


def random_graph(nodes: int, edges: int, *, directed=False, loops=0, seed=0) -> Graph:
    """Make a weighted graph; its last node is isolated, and the loops stand at the first."""
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.combinations(torch.arange(nodes - 1)).T
    index = pairs[:, torch.randperm(pairs.shape[1], generator=generator)[:edges]]
    if directed:
        flip = torch.rand(index.shape[1], generator=generator) < 0.5
        index = torch.where(flip, index.flip(0), index)
    index = torch.cat([index, torch.arange(loops).repeat(2, 1)], 1)
    weight = 0.5 + torch.rand(index.shape[1], generator=generator, dtype=torch.float64)
    graph = Graph(index, weight, nodes)
    return graph if directed else graph.to_undirected()


GRAPHS = {
    "undirected": random_graph(16, 12),
    "with loops": random_graph(16, 9, loops=3),
    "directed": random_graph(16, 20, directed=True, loops=2),
    "dense": random_graph(5, 6, loops=1),
    "dense and directed": random_graph(6, 10, directed=True),
    "no edges": Graph([], num_nodes=3).to(torch.float64),
    "one node": Graph([[0], [0]], torch.tensor([0.7]).double()),
}


@pytest.fixture(params=GRAPHS)
def graph(request) -> Graph:
    return GRAPHS[request.param]


@pytest.fixture(params=["undirected", "with loops", "dense", "no edges", "one node"])
def undirected(request) -> Graph:
    return GRAPHS[request.param]


@pytest.fixture(scope="session")
def make_graph() -> Callable[..., Graph]:
    return random_graph


@pytest.fixture(scope="session")
def pyg() -> ModuleType:
    """PyTorch Geometric's layers; its import warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("torch_geometric.nn")


@pytest.fixture(scope="session")
def permuted() -> Callable[[Graph, Tensor], Graph]:
    """Return the graph with node n called place[n]."""

    def permute(graph: Graph, place: Tensor) -> Graph:
        return Graph(place[graph.edge_index], graph.edge_weight, graph.num_nodes)

    return permute


def adjacency(graph: Graph) -> Tensor:
    A = torch.zeros(graph.num_nodes, graph.num_nodes, dtype=torch.float64)
    A[tuple(graph.edge_index)] = graph.edge_weight.double()
    return A  # [source, target]


def over(numerator: Tensor, degree: Tensor) -> Tensor:
    """Divide rows by degrees, and where the degree is zero give zero."""
    return torch.where(degree > 0, numerator / degree, 0.0)


def polynomials(S: Tensor, count: int) -> list[Tensor]:
    """T_0(S) … T_count(S)."""
    T = [torch.eye(len(S), dtype=S.dtype), S]
    while len(T) <= count:
        T.append(2 * S @ T[-1] - T[-2])
    return T[: count + 1]


def gcn_matrix(graph: Graph) -> Tensor:
    A = adjacency(graph)
    looped = torch.zeros(graph.num_nodes, dtype=torch.bool)
    looped[graph.edge_index[0, graph.edge_index[0] == graph.edge_index[1]]] = True
    A = (A + torch.diag((~looped).double())).T  # [target, source]
    root = A.sum(1).sqrt()
    return A / root[:, None] / root


def chebyshev_matrices(operator: Chebyshev, graph: Graph) -> list[Tensor]:
    A = adjacency(graph)
    A = A - A.diag().diag()
    eye = torch.eye(len(A), dtype=A.dtype)
    root = A.sum(1).sqrt()
    L = eye - over(over(A, root[:, None]), root)
    largest = operator.lambda_max
    if largest == "exact":
        largest = float(torch.linalg.eigvalsh(L)[-1])
    return polynomials(2 * L / largest - eye, operator.k - 1)


def diffusion_matrices(operator: Diffusion, graph: Graph) -> list[Tensor]:
    A = adjacency(graph)
    along = over(A, A.sum(1, keepdim=True)).T
    against = over(A.T, A.T.sum(1, keepdim=True)).T
    return polynomials(along, operator.k) + polynomials(against, operator.k)[1:]


def attention(operator: Attention, x: Tensor, weights: dict[str, Tensor], graph: Graph) -> Tensor:
    N, K = graph.num_nodes, operator.heads
    gates = weights["source" if operator.version == 1 else "vector"].shape[0] // K
    z = (x @ weights["weight"].T).unflatten(-1, (gates, K, -1))  # [..., N, gates, K, C]
    if operator.version == 1:
        source, target = (weights[n].unflatten(0, (gates, K)) for n in ("source", "target"))
        from_source, from_target = ((z * a).sum((-3, -1)) for a in (source, target))
        e = F.leaky_relu(from_source[..., None, :, :] + from_target[..., :, None, :], 0.2)
    else:
        own = (x @ weights["target"].T).unflatten(-1, (gates, K, -1))
        both = F.leaky_relu(z[..., None, :, :, :, :] + own[..., :, None, :, :, :], 0.2)
        e = (both * weights["vector"].unflatten(0, (gates, K))).sum((-3, -1))
    joined = torch.eye(N, dtype=torch.bool)  # [i, j]
    joined[tuple(graph.edge_index.flip(0))] = True
    alpha = torch.softmax(e.masked_fill(~joined[..., None], -torch.inf), -2)  # [..., i, j, K]
    return torch.einsum("...ijk,...jgkc->...igkc", alpha, z).flatten(-3)


@pytest.fixture(scope="session")
def by_formula() -> Callable[..., Tensor]:
    """Apply any operator by its formula with dense matrices."""

    def apply(operator, x: Tensor, weights: dict[str, Tensor], graph: Graph) -> Tensor:
        if isinstance(operator, Attention):
            return attention(operator, x, weights, graph)
        weight = weights["weight"]
        if isinstance(operator, Dense):
            matrices = [torch.eye(graph.num_nodes, dtype=x.dtype)]
        elif isinstance(operator, Chebyshev):
            matrices = chebyshev_matrices(operator, graph)
        elif isinstance(operator, Diffusion):
            matrices = diffusion_matrices(operator, graph)
        else:
            matrices = [gcn_matrix(graph)]
        weight = weight.view(len(weight), len(matrices), -1)
        return sum(B @ x @ weight[:, m].T for m, B in enumerate(matrices))  # pyright: ignore

    return apply


@pytest.fixture(scope="session")
def answers_of() -> Callable[..., tuple[Tensor, tuple[Tensor, ...]]]:
    """Return a layer's output, and gradients of a fixed weighting of it by x and weights."""

    def run(module, x: Tensor, *rest) -> tuple[Tensor, tuple[Tensor, ...]]:
        x = x.clone().requires_grad_()
        y = module(x, *rest)
        generator = torch.Generator().manual_seed(1)
        weighting = torch.randn(y.shape, generator=generator, dtype=y.dtype)
        of = [x, *module.parameters()]
        return y, torch.autograd.grad((y * weighting).sum(), of)

    return run
