"""A model of a history of events, as a sequence and as a graph."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from plait.nn.cell import Cell
from plait.nn.cells import GRU
from plait.nn.convolution import GraphConv
from plait.nn.filters import Chebyshev
from plait.nn.graph import Graph
from plait.nn.operators import Operator
from plait.nn.recurrent import Recurrent

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
        nn.init.constant_(self.output.bias, -STAYS)  # few of the labels are present at once
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
            The code of every node, or `codes` for the node of a period itself; and its lag, in
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
        """Load weights; version 0.1.0 had other names for the relations."""
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
