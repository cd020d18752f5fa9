"""The model of the nodes task: layers over a graph."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.nn.convolution import GraphConv
from plait.nn.graph import Graph
from plait.nn.neighbours import Adjacency, NeighbourSampler, hops_of
from plait.nn.operators import for_mode
from plait.nn.registry import GraphOptions
from plait.tasks.nodes.config import NodesConfig


class NodesModel(nn.Module):
    """Computes for every node the logits of its class.

    h_0 = x,  h_l = σ(W_l * drop(h_{l−1}) + b_l),  p = softmax(W_L * drop(h_{L−1}) + b_L)

    with `*` the operator. Nodes without features have a learnt vector each for x, `hidden_size`
    wide. Attention has `heads` heads side by side, and one in the last layer.

    Shapes: features `[N, F]`, dense or sparse (or None), and a graph to logits `[N, classes]`.

    Example
    -------
    >>> from plait.graph_data import named_labelled_graph
    >>> from plait.tasks.nodes.config import NodesConfig
    >>> from plait.tasks.nodes.model import NodesModel
    >>> karate = named_labelled_graph("karate")
    >>> model = NodesModel(NodesConfig(hidden_size=8), nodes=34, features=0, classes=2)
    >>> model(None, karate.graph).shape
    torch.Size([34, 2])
    """

    def __init__(self, config: NodesConfig, *, nodes: int, features: int, classes: int) -> None:
        super().__init__()
        self.dropout, self.activation = config.dropout, getattr(F, config.activation)
        self.strength, self.penalised = config.penalty, config.penalty_on
        self.own = None if features else nn.Parameter(torch.empty(nodes, config.hidden_size))
        if self.own is not None:
            nn.init.normal_(self.own)
        hidden = [config.hidden_size] * (config.layers - 1)
        widths = [features or config.hidden_size, *hidden, classes]
        inner, last = config.graph_options, replace(config.graph_options, heads=1)
        operators: list[GraphOptions] = [inner] * (config.layers - 1) + [last]
        self.layers: Any = nn.ModuleList(
            GraphConv(options.make(), inputs, outputs)
            for options, (inputs, outputs) in zip(operators, pairwise(widths), strict=True)
        )

    @classmethod
    def from_facts(cls, config: NodesConfig, facts: Mapping[str, Any]) -> Self:
        """Rebuild the model that a run folder describes, without its weights."""
        classes = len(facts["classes"])
        return cls(config, nodes=facts["nodes"], features=facts["features"], classes=classes)

    def forward(self, x: Tensor | None, graph: Graph, nodes: Tensor | None = None) -> Tensor:
        """Return the logits of every node, `[N, classes]`; of a sample, those of its `nodes`."""
        return self._layer(self.layers[-1], self.represent(x, graph, nodes), graph)

    def represent(self, x: Tensor | None, graph: Graph, nodes: Tensor | None = None) -> Tensor:
        """Return the input of the last layer, `[N, hidden_size]`; of the only one, the features."""
        h = self.features(x)
        h = h if nodes is None else h.index_select(0, nodes.to(h.device))
        for layer in self.layers[:-1]:
            h = self.activation(self._layer(layer, h, graph))
        return h

    def features(self, x: Tensor | None) -> Tensor:
        """Return x, or the learnt vectors of nodes without features."""
        h = self.own if x is None else x
        assert h is not None
        return h

    def in_slices(
        self, x: Tensor | None, edges: Adjacency, nodes: Tensor | None = None, *,
        to_last: bool = False, size: int = 2**14,
    ) -> Tensor:  # fmt: skip
        """Return what `forward`, or `represent`, returns of some nodes, by slices of nodes.

        Each layer is computed before the next, for the nodes that the next wants, each with all its
        neighbours; so memory holds the features of those nodes, not the edges.
        """
        layers = list(self.layers[:-1] if to_last else self.layers)
        samplers = [NeighbourSampler(edges, [-1] * hops_of([one.operator])) for one in layers]
        wanted = [torch.arange(edges.num_nodes) if nodes is None else nodes.cpu()]
        for sampler in reversed(samplers[1:]):
            met = torch.zeros(edges.num_nodes, dtype=torch.bool)
            for some in wanted[0].split(size):
                met[sampler.sample(some).nodes] = True
            wanted.insert(0, met.nonzero()[:, 0])
        h, rows = self.features(x), None
        if not layers:
            return h if nodes is None else h.index_select(0, nodes.to(h.device))
        for layer, sampler, targets in zip(layers, samplers, wanted, strict=True):
            y = h.new_empty(len(targets), layer.outputs, layout=torch.strided)
            for at, some in zip(range(0, len(targets), size), targets.split(size), strict=True):
                sources, graph = sampler.sample(some)
                sources = sources if rows is None else torch.searchsorted(rows, sources)
                z = h.index_select(0, sources.to(h.device))
                z = self._layer(layer, z, graph.to(h.device))[: len(some)]
                y[at : at + size] = z if layer is self.layers[-1] else self.activation(z)
            h, rows = y, targets
        return h

    def _layer(self, layer: GraphConv, h: Tensor, graph: Graph) -> Tensor:
        h = drop(h, self.dropout, self.training)
        return convolve_sparse(layer, h, graph) if h.is_sparse else layer(h, graph)

    def penalty(self) -> Tensor:
        """penalty/2 · Σ w² over the weights, not the biases, of the first layer or of all."""
        layers = self.layers[:1] if self.penalised == "first" else self.layers
        weights = [w for layer in layers for w in layer.parameters() if w.ndim > 1]
        if self.own is not None:
            weights.append(self.own)
        return self.strength / 2 * torch.stack([w.square().sum() for w in weights]).sum()


def convolve_sparse(conv: GraphConv, x: Tensor, graph: Graph) -> Tensor:
    """Return what `conv` returns of the dense x, in time proportional to the non-zero entries.

    Every operator here takes x through its products with the matrices of its weight alone, so it
    may be given these products, and a weight that picks each from among them.
    """
    weight = conv.weights["weight"]  # [outputs, (M,) F]
    products = torch.sparse.mm(x, weight.flatten(0, -2).T)  # [N, outputs·M]
    picks = torch.eye(products.shape[1], dtype=weight.dtype, device=weight.device)
    weights = {**conv.weights, "weight": picks.view(*weight.shape[:-1], -1)}
    h = for_mode(conv.operator, conv.training).apply(products, weights, graph)
    return h if conv.bias is None else h + conv.bias


def sparse(indices: Tensor, values: Tensor, shape: torch.Size) -> Tensor:
    """Make a sparse matrix of entries that are in order, each once."""
    return torch.sparse_coo_tensor(
        indices, values, shape, is_coalesced=True, check_invariants=False
    )


def drop(x: Tensor, share: float, training: bool) -> Tensor:
    """Drop a share of the entries in training, the others scaled up.

    As `F.dropout`, whose random numbers on a CPU cost more than a layer over word counts: four
    entries share a number of 64 bits, so that a share is a multiple of 2⁻¹⁶.
    """
    if not (training and share):
        return x
    if x.is_sparse:  # where it is 0 there is nothing to drop
        return sparse(x.indices(), drop(x.values(), share, training), x.shape)
    numbers = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
    drawn = numbers.random_(-(2**63), None).view(torch.int16)[: x.numel()].view(x.shape)
    dropped = round(share * 2**16)
    return (x * (drawn >= dropped - 2**15)).mul_(2**16 / (2**16 - dropped))
