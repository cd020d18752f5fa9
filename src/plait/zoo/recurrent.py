"""Papers that are a cell × an operator."""

from typing import Any

from torch import Tensor, nn

from plait.nn.adaptive import Adaptive
from plait.nn.cell import State
from plait.nn.cells import GRU, LSTM
from plait.nn.convolution import GraphConv
from plait.nn.filters import GCN, Chebyshev, Diffusion
from plait.nn.graph import Graph
from plait.nn.per_node import PerNode
from plait.nn.recurrent import Recurrent


def gcrn(input_size: int, hidden_size: int, k: int = 3, **options: Any) -> Recurrent:
    r"""GCRN, Model 2 (Seo et al. 2016): a peephole LSTM whose products are graph filters.

    i = σ(W_i * x + U_i * h + p_i ⊙ c + b_i),  f likewise

    c' = f ⊙ c + i ⊙ tanh(W_c * x + U_c * h + b_c)

    o = σ(W_o * x + U_o * h + p_o ⊙ c' + b_o),  h' = o ⊙ tanh(c'),  with * `Chebyshev(k)`

    λmax is taken as 2, as in the authors' code. PyTorch Geometric Temporal's `GConvLSTM` is this
    layer, with three biases per gate, whose sum is ours.

    Parameters
    ----------
    input_size, hidden_size : int
    k : int
        Terms of the filter.
    **options
        Of `Recurrent`.

    Example
    -------
    >>> from plait.zoo import gcrn
    >>> sum(p.numel() for p in gcrn(16, 256).parameters())    # 4·3·(16·256 + 256²) + 4·256 + 3·256
    837376
    """
    return Recurrent(LSTM(peephole=True), input_size, hidden_size, operator=Chebyshev(k), **options)


class GCRN1(nn.Module):
    """GCRN, Model 1; see `gcrn_m1`."""

    def __init__(
        self, input_size: int, hidden_size: int, num_nodes: int, k: int, **options: Any
    ) -> None:
        super().__init__()
        self.filter = GraphConv(Chebyshev(k), input_size, input_size)
        self.recurrent = Recurrent(
            LSTM(peephole=True), num_nodes * input_size, hidden_size, **options
        )

    def forward(
        self, x: Tensor, state: State | None = None, *, graph: Graph, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor | State]:
        """Return y `[T, B, H]` for `x [T, B, N, F]`, and the state, as `Recurrent` does."""
        return self.recurrent(self.filter(x, graph).flatten(-2), state, lengths=lengths)


def gcrn_m1(input_size: int, hidden_size: int, num_nodes: int, k: int = 3, **options: Any) -> GCRN1:
    r"""GCRN, Model 1 (Seo et al. 2016): first the graph filter, then a peephole LSTM.

    x^G_t = W *_G x_t,  h_t, c_t = LSTM(flatten(x^G_t), h_{t−1}, c_{t−1}), with *_G `Chebyshev(k)`

    Its state is one for the whole graph, `[B, H]`, and depends on the order of the nodes: unlike
    Model 2 it is not equivariant to permutations of them, and its weights depend on the number of
    nodes.

    Parameters
    ----------
    input_size, hidden_size : int
    num_nodes : int
    k : int
        Terms of the filter.
    **options
        Of `Recurrent`.

    Example
    -------
    >>> import torch
    >>> from plait import Graph
    >>> from plait.zoo import gcrn_m1
    >>> path = Graph([[0, 1], [1, 2]]).to_undirected()
    >>> y, (h, c) = gcrn_m1(2, 8, num_nodes=3)(torch.randn(12, 4, 3, 2), graph=path)
    >>> y.shape
    torch.Size([12, 4, 8])
    """
    return GCRN1(input_size, hidden_size, num_nodes, k, **options)


def gconv_gru(input_size: int, hidden_size: int, k: int = 3, **options: Any) -> Recurrent:
    r"""The graph GRU of GCRN (Seo et al. 2016).

    r = σ(W_r * x + U_r * h + b_r),  z likewise,  n = tanh(W_n * x + U_n * (r ⊙ h) + b_n)

    h' = z ⊙ h + (1 − z) ⊙ n, with * `Chebyshev(k)`

    PyTorch Geometric Temporal's `GConvGRU` is this layer, with two biases per gate, whose sum is
    ours.

    Parameters
    ----------
    input_size, hidden_size : int
    k : int
        Terms of the filter.
    **options
        Of `Recurrent`.

    Example
    -------
    >>> from plait.zoo import gconv_gru
    >>> gconv_gru(2, 64).operator
    Chebyshev(k=3, lambda_max=2)
    """
    return Recurrent(GRU("before"), input_size, hidden_size, operator=Chebyshev(k), **options)


def dcrnn(input_size: int, hidden_size: int, k: int = 2, **options: Any) -> Recurrent:
    r"""DCRNN's layer (Li et al. 2018): a GRU whose products are diffusions along and against edges.

    r = σ(g_r([x, h]) + b_r),  z likewise,  n = tanh(g_n([x, r ⊙ h]) + b_n)

    h' = z ⊙ h + (1 − z) ⊙ n

    with g the operator `Diffusion(k)`, and b_r, b_z initially 1, as in the authors' code. The
    code differs from the paper twice: it uses Chebyshev polynomials of the walks where equation 2
    has their powers (the same filters with other weights; so do we), and it starts the second
    walk from the first's second-last term, an overwritten variable, instead of from x (as we do).

    The paper's model has two such layers as encoder and two as decoder: `plait train forecast
    --decoder recurrent`.

    Parameters
    ----------
    input_size, hidden_size : int
    k : int
        Steps of diffusion, each way.
    **options
        Of `Recurrent`.

    Example
    -------
    >>> from plait.zoo import dcrnn
    >>> dcrnn(2, 64, layers=2).operator
    Diffusion(k=2)
    """
    cell = GRU("before", gate_bias=1.0)
    return Recurrent(cell, input_size, hidden_size, operator=Diffusion(k), **options)


def tgcn(input_size: int, hidden_size: int, **options: Any) -> Recurrent:
    r"""T-GCN (Zhao et al. 2019): a GRU whose products are graph convolutions.

    r = σ(Â [x, h] W_r + b_r),  z likewise,  n = tanh(Â [x, r ⊙ h] W_n + b_n)

    h' = z ⊙ h + (1 − z) ⊙ n

    with Â of `GCN`, and b_r, b_z initially 1. This is what the authors' code computes. The paper
    differs: there two graph convolutions read only x, and h enters without aggregation.

    Parameters
    ----------
    input_size, hidden_size : int
    **options
        Of `Recurrent`.

    Example
    -------
    >>> from plait.zoo import tgcn
    >>> sum(p.numel() for p in tgcn(1, 100).parameters())               # 3·(1·100 + 100² + 100)
    30600
    """
    return Recurrent(
        GRU("before", gate_bias=1.0), input_size, hidden_size, operator=GCN(), **options
    )


def agcrn(
    input_size: int, hidden_size: int, num_nodes: int, size: int = 10, k: int = 1, **options: Any
) -> Recurrent:
    r"""AGCRN's layer (Bai et al. 2020): a GRU over a learnt graph, the weights each node's own.

    z = σ([x, h] * W_z + b_z),  r likewise,  n = tanh([x, z ⊙ h] * W_n + b_n)

    h' = r ⊙ h + (1 − r) ⊙ n,  ([x, h] * W)_n = Σ_j (Sʲ [x, h])_n Σ_d E_nd W_jd

    with S = softmax(relu(E Eᵀ)) and b = E B: `PerNode(Adaptive(…))` whose three embeddings of the
    nodes are one, E. Our `GRU("before")` calls z r, and r z; of the bias there are two, one on each
    side and one more that all nodes share, whose sum is the paper's. The authors' code has
    Chebyshev polynomials of S where k is above 1, the same filters with other weights.

    Parameters
    ----------
    input_size, hidden_size : int
    num_nodes : int
    size : int
        Dimension of the node embeddings.
    k : int
        Powers of the learnt graph; 1 in the paper.
    **options
        Of `Recurrent`.

    Example
    -------
    >>> import torch
    >>> from plait.zoo import agcrn
    >>> y, h = agcrn(1, 64, num_nodes=7)(torch.randn(12, 4, 7, 1))         # no graph is needed
    >>> y.shape
    torch.Size([12, 4, 7, 64])
    """
    graph = Adaptive(num_nodes, k, size)
    graph.sources = graph.targets
    operator = PerNode(graph, num_nodes, size, graph.targets)
    return Recurrent(GRU("before"), input_size, hidden_size, operator=operator, **options)
