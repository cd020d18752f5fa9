"""`Adaptive`: a graph that is learnt, from node embeddings."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.nn.operators import Operator, check_nodes, drawn_by, for_mode, not_recorded

ROWS = 1024
"""Nodes whose scores against all others are computed at a time, to find the largest."""

WHOLE = 1024
"""Nodes up to which a few edges into each are multiplied as a whole matrix, which is faster."""


class Adaptive(nn.Module):
    r"""A directed graph learnt from two embeddings of every node (Graph WaveNet, Wu et al. 2019).

    y = x W_0ᵀ + Σ_{j=1..k} Sʲ x W_jᵀ,  S = softmax(relu(E Fᵀ)) over the sources, row by row

    The node embeddings E and F `[N, size]` are parameters of the operator, S_ij the weight of the
    edge j → i. With
    `largest`, row i keeps its largest scores e_i · f_j alone, and its softmax is over these (MTGNN,
    Wu et al. 2020): memory grows with N · largest, not with N². With `given` that operator over the
    given graph is added, and has the term in x itself.

    The nodes are fixed, so that it cannot be used on a graph of other nodes.

    Parameters
    ----------
    nodes : int
        N.
    k : int
        Powers of S.
    size : int
        Dimension of the node embeddings.
    largest : int
        Edges into each node; 0: from all nodes.
    given : Operator
        Over the given graph, such as `Diffusion(2)`; None: the learnt graph alone.

    Shapes
    ------
    x : `[..., N, inputs]`; y : `[..., N, outputs]`

    weight : `[outputs, k + 1, inputs]`; with `given` its weights, and learnt : `[outputs, k,
    inputs]`

    Raises
    ------
    ValueError
        For sizes below 1, for `largest` above N, and for x of other nodes.

    Example
    -------
    >>> import torch
    >>> from plait import GRU, Adaptive, Recurrent
    >>> layer = Recurrent(GRU(), 1, 8, operator=Adaptive(nodes=50, k=2, largest=5))
    >>> y, h = layer(torch.randn(12, 4, 50, 1))                           # no graph is needed
    >>> y.shape, layer.operator.shift()[1].shape
    (torch.Size([12, 4, 50, 8]), torch.Size([50, 5]))
    """

    def __init__(
        self,
        nodes: int,
        k: int = 2,
        size: int = 10,
        largest: int = 0,
        given: Operator | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("nodes", nodes), ("k", k), ("size", size)):
            if value < 1:
                raise ValueError(f"Adaptive needs {name} of at least 1, not {value}")
        if not 0 <= largest <= nodes:
            raise ValueError(f"largest must be from 0 to the {nodes} nodes, not {largest}")
        self.nodes, self.k, self.size, self.largest, self.given = nodes, k, size, largest, given
        self.targets = nn.Parameter(torch.randn(nodes, size))
        self.sources = nn.Parameter(torch.randn(nodes, size))
        self._found: tuple[Tensor, Tensor, tuple[int, int, bool], Tensor] | None = None

    def weight_shapes(self, inputs: int, outputs: int) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of the matrices of the terms."""
        if self.given is None:
            return {"weight": (outputs, self.k + 1, inputs)}
        shapes = dict(self.given.weight_shapes(inputs, outputs))
        return {**shapes, "learnt": (outputs, self.k, inputs)}

    def check(self, x: Tensor, graph: Any) -> None:
        """Refuse features of other nodes, and what the given graph's operator refuses."""
        check_nodes(self, x, self.nodes)
        check = getattr(self.given, "check", None)
        if check is not None:
            check(x, graph)

    def shift(self) -> tuple[Tensor | None, Tensor]:
        """Return the learnt edges: sources and weights, `[N, largest]`; or None and S, `[N, N]`."""
        if not self.largest:
            return None, torch.softmax(torch.relu(self.targets @ self.sources.T), -1)
        source = self._largest_sources(learning=torch.is_grad_enabled())
        scores = torch.einsum("nd,nkd->nk", self.targets, self.sources[source])
        return source, torch.softmax(torch.relu(scores), -1)

    @torch.no_grad()
    def _largest_sources(self, *, learning: bool) -> Tensor:
        """Return the sources of the largest scores, `[N, largest]`."""
        E, F = self.targets, self.sources
        if torch.compiler.is_compiling():
            return _largest(E, F, self.largest)
        # what inference mode makes cannot be differentiated through outside of it
        state = E._version, F._version, learning
        if self._found is None or not (
            self._found[0] is E and self._found[1] is F and self._found[2] == state
        ):
            self._found = E, F, state, _largest(E, F, self.largest)
        return self._found[3]

    def draw(self, batch: int, graph: Any) -> Tensor | None:
        """Return what the operator over the given graph draws at random, or None."""
        given = self._acting_given()
        return None if given is None else drawn_by(given, batch, graph)

    def apply(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, x: Tensor, weights: Mapping[str, Tensor], graph: Any, drawn: Tensor | None = None
    ) -> Tensor:
        """Return the terms of x, each by its matrix, summed; `drawn` is for the given graph's."""
        check_nodes(self, x, self.nodes)
        source, S = self.shift()
        S, terms = S.to(x.dtype), [x]
        if source is not None and self.nodes <= WHOLE:
            S, source = S.new_zeros(self.nodes, self.nodes).scatter(1, source, S), None
        for _ in range(self.k):
            last = terms[-1]
            if source is None:
                terms.append(S @ last)
            else:
                terms.append(torch.einsum("nk,...nkf->...nf", S, last[..., source, :]))
        given: Any = self._acting_given()
        if given is None:
            return F.linear(torch.cat(terms, -1), weights["weight"].flatten(1))
        own = {name: weight for name, weight in weights.items() if name != "learnt"}
        learnt = F.linear(torch.cat(terms[1:], -1), weights["learnt"].flatten(1))
        return given.apply(x, own, graph, *([] if drawn is None else [drawn])) + learnt

    def _acting_given(self) -> Operator | None:
        return None if self.given is None else for_mode(self.given, self.training)

    def not_recorded(self, outputs: int) -> str | None:
        """Return why a GPU's work cannot be recorded: only that of the given graph's operator."""
        return None if self.given is None else not_recorded(self.given, outputs)

    @property
    def on_edges(self) -> bool:
        """Whether numbers are kept for every edge of the given graph."""
        return getattr(self.given, "on_edges", False)

    @torch.no_grad()
    def edges(self, most: int) -> tuple[Tensor, Tensor]:
        """Return the strongest learnt edges into each node: `edge_index [2, E]` and weights `[E]`.

        Parameters
        ----------
        most : int
            Edges into a node; the node itself is left out.
        """
        source, S = self.shift()
        if source is None:
            source = torch.arange(self.nodes, device=S.device).expand_as(S)
        target = torch.arange(self.nodes, device=S.device)[:, None].expand_as(S)
        order = S.masked_fill(source == target, -1.0).sort(dim=-1, descending=True, stable=True)
        weight, place = order.values[:, :most], order.indices[:, :most]
        kept = weight >= 0
        index = torch.stack([source.gather(1, place)[kept], target.gather(1, place)[kept]])
        return index, weight[kept]

    def explain(self, inputs: int, outputs: int, graph: Any = None) -> str:
        """Return in words what is learnt."""
        edges = f"{self.largest} edges into each" if self.largest else "edges between all"
        text = f"a graph learnt from node embeddings of {self.size}: {self.nodes} nodes, {edges}"
        return text if self.given is None else f"{text}; next to {self.given!r}"

    def __repr__(self) -> str:
        more = f", largest={self.largest}" * bool(self.largest)
        more += f", given={self.given!r}" * (self.given is not None)
        return f"Adaptive({self.nodes}, k={self.k}, size={self.size}{more})"


def _largest(targets: Tensor, sources: Tensor, count: int) -> Tensor:
    """Return the sources of the largest scores of each target, `[N, count]`."""
    rows = [(part @ sources.T).topk(count, -1).indices for part in targets.split(ROWS)]
    return torch.cat(rows)
