"""Papers by name: each is a cell × an operator, and so a few lines.

Each docstring names where the reference code differs from the paper.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from plait.nn.cell import Cell, State
from plait.nn.cells import GRU, LSTM
from plait.nn.convolution import GraphConv
from plait.nn.filters import GCN, Chebyshev, Diffusion
from plait.nn.graph import Graph
from plait.nn.operators import Operator
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
    Model 2 it is not equivariant to renaming them, and its weights depend on the number of nodes.

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


STAYS = 3.0
"""Initial w/2 and −b of RGNN: it predicts that present labels stay and no others come."""


class RGNN(nn.Module):
    """A model after RGNN; see `rgnn`."""

    def __init__(
        self,
        codes: int,
        outputs: int,
        hidden_size: int,
        *,
        cell: Cell,
        operator: Operator,
        relations: int,
        layers: int,
        periods: int,
        view: Literal["both", "sequence", "graph"],
        dropout: float,
    ) -> None:
        super().__init__()
        self.codes = nn.Embedding(codes + 1, hidden_size)  # the last is for a period itself
        sizes = hidden_size, hidden_size
        self.recurrent = Recurrent(cell, *sizes, init="orthogonal") if view != "graph" else None
        self.lags = nn.Embedding(periods, hidden_size) if view != "sequence" else None
        self.own, self.relations = nn.ModuleList(), nn.ModuleList()
        for _ in range(layers if self.lags else 0):
            self.own.append(nn.Linear(hidden_size, hidden_size))
            convs = (GraphConv(operator, *sizes, bias=False) for _ in range(relations))
            self.relations.append(nn.ModuleList(convs))
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden_size * (2 if view == "both" else 1), outputs)
        nn.init.constant_(self.output.bias, -STAYS)  # few of the labels hold at once
        self.stays = nn.Parameter(torch.full((outputs,), 2 * STAYS))
        for table in (self.codes, self.lags):
            if table is not None:  # small, since codes are summed
                nn.init.normal_(table.weight, std=0.1)

    def forward(
        self, x: Tensor, asked: Tensor, nodes: Tensor, lags: Tensor, graphs: Sequence[Graph]
    ) -> Tensor:
        """Return logits `[Q, outputs]` of the labels after each of Q periods.

        Parameters
        ----------
        x : Tensor `[T, B, codes]`
            1 if a code is present in a patient's period, else 0.
        asked : integer Tensor `[2, Q]`
            Period and patient of each query.
        nodes, lags : integer Tensor `[N]`
            The code of every node, or `codes` for the node of a period itself, and its distance in
            periods before the queried one.
        graphs : sequence of Graph
            For each relation a disjoint union of Q graphs, in the order of `asked`.
        """
        views = []
        if self.recurrent is not None:
            states = self.dropout(x @ self.codes.weight[:-1])  # [T, B, H]
            views.append(self.recurrent(states)[0][asked[0], asked[1]])
        if self.lags is not None:
            h = self.dropout(self.codes(nodes) + self.lags(lags))  # [N, H]
            for own, convs in zip(self.own, self.relations, strict=True):
                aggregated = [
                    conv(h, graph) for conv, graph in zip(convs.children(), graphs, strict=True)
                ]
                h = torch.relu(own(h) + torch.stack(aggregated).sum(0))
            views.append(graphs[0].readout(h, "sum"))  # [Q, H]
        logits = self.output(self.dropout(torch.cat(views, -1)))
        return logits + self.stays * x[asked[0], asked[1], : len(self.stays)]

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Load weights; version 0.1.0 called the relations' convolutions heard."""
        for name in [n for n in state_dict if n.startswith(f"{prefix}heard.")]:
            state_dict[name.replace("heard.", "relations.", 1)] = state_dict.pop(name)
        super()._load_from_state_dict(state_dict, prefix, *args)


def rgnn(
    codes: int,
    outputs: int,
    hidden_size: int = 64,
    *,
    cell: Cell = GRU(),  # noqa: B008 - frozen, so one for all is safe
    operator: Operator = Chebyshev(2),  # noqa: B008
    relations: int = 2,
    layers: int = 2,
    periods: int = 3,
    view: Literal["both", "sequence", "graph"] = "both",
    dropout: float = 0.0,
) -> RGNN:
    r"""A model after RGNN (Liu et al. 2020): a history of events as a sequence and as a graph.

    s_t = Σ_{codes c of period t} E[c],  h_t = Recurrent(s_t, h_{t−1})

    v_0 = E[code] + P[lag],  v_{l+1} = relu(W_l v_l + b_l + Σ_r V_{l,r} *_r v_l),  g_t = Σ_nodes v_L

    logits = U [h_t, g_t] + w ⊙ x_t + b, where *_r is `operator` on the graph of relation r, such as
    "in the same period" or "the same code in the next period", and x_t are the present
    labels, the first of the codes. The publication only says that these two views are combined; the
    rest is ours, and does not reproduce its figures.

    Parameters
    ----------
    codes, outputs : int
        The number of codes, and how many of them, the first ones, are labels to predict.
    hidden_size : int
    cell : Cell
    operator : Operator
    relations, layers : int
        The number of graphs, and of layers over them.
    periods : int
        Periods covered by a graph, including the queried one.
    view : "both", "sequence" or "graph"
        "sequence" omits g_t, "graph" omits h_t.
    dropout : float
        Share of the states, of the nodes' features and of [h_t, g_t] dropped in training.

    Example
    -------
    >>> import torch
    >>> from plait import Graph
    >>> from plait.zoo import rgnn
    >>> model = rgnn(codes=5, outputs=3, relations=1)
    >>> x = torch.zeros(2, 1, 5)                                # one patient, two periods
    >>> x[0, 0, 4] = x[1, 0, 4] = x[1, 0, 0] = 1
    >>> nodes, lags = torch.tensor([4, 4, 0]), torch.tensor([1, 0, 0])
    >>> graph = Graph([[0, 1], [1, 2]]).to_undirected()
    >>> model(x, torch.tensor([[1], [0]]), nodes, lags, [graph]).shape
    torch.Size([1, 3])
    """
    return RGNN(
        codes, outputs, hidden_size, cell=cell, operator=operator, relations=relations,
        layers=layers, periods=periods, view=view, dropout=dropout,
    )  # fmt: skip
