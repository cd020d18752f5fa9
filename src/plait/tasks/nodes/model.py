"""The model of the nodes task: layers over a graph."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.kernels.sparse import multiply
from plait.nn.convolution import GraphConv
from plait.nn.graph import Graph
from plait.nn.neighbours import Adjacency, NeighbourSampler, hops_of
from plait.nn.operators import Dense, basis_of, for_mode
from plait.nn.registry import GraphOptions
from plait.tasks.nodes.config import NetworkConfig, NodesConfig

INITIAL = 0.1
"""Share of the first layer's output in those of the others, with the skips "initial", "gcnii"."""

LEARNT = 0.5
"""λ of GCNII: the weight of hidden layer l + 1 is a share ln(λ/l + 1) of what is learnt."""


class NodesModel(nn.Module):
    """Computes for every node the logits of its class.

    h_0 = x,  h_l = σ(norm(W_l * drop(h_{l−1}) + b_l)),  p = softmax(W_L * drop(h_{L−1}) + b_L)

    with `*` the operator. Nodes without features have a learnt vector each for x, `hidden_size`
    wide. Attention has `heads` heads side by side, and one in the last layer.

    `skip` adds to z_l = W_l * drop(h_{l−1}) + b_l before the norm: "residual" h_{l−1}, where it is
    as wide; "linear" V_l h_{l−1}; "initial" makes it 0.9 z_l + 0.1 h_1 from the second layer on
    (the initial residual of GCNII); "gcnii" makes it W'_l (0.9 * drop(h_{l−1}) + 0.1 h_1) + b_l
    there, with W'_l = (1 − β_l) I + β_l W_l, β_l = ln(0.5 / (l − 1) + 1). With another `readout`
    than "convolution" all L layers have hidden outputs, and p = softmax(W drop(r) + b) with r = h_L
    ("linear"), all h_l side by side ("cat") or the largest of them ("max"; jumping knowledge).
    `node_dropout` leaves out the features x of whole nodes.

    Source: Kipf & Welling (2017); Chen et al. (2020), equation 5 ("gcnii"); Xu et al. (2018);
    Rong et al. (2020) for `edge_dropout`.

    Shapes: features `[N, F]`, dense or sparse (or None), and a graph to logits `[N, classes]`.

    Example
    -------
    >>> from plait.graph_data import named_labelled_graph
    >>> from plait.tasks.nodes.config import NetworkConfig, NodesConfig
    >>> from plait.tasks.nodes.model import NodesModel
    >>> karate = named_labelled_graph("karate")
    >>> model = NodesModel(NodesConfig(hidden_size=8), nodes=34, features=0, classes=2)
    >>> model(None, karate.graph).shape
    torch.Size([34, 2])
    """

    def __init__(
        self,
        config: NodesConfig,
        *,
        nodes: int,
        features: int,
        classes: int,
        relations: int = 1,
        edge_size: int = 0,
    ) -> None:
        super().__init__()
        self.dropout, self.activation = config.dropout, getattr(F, config.activation)
        self.strength, self.penalised = config.penalty, config.penalty_on
        self.skip, self.readout = config.skip, config.readout
        self.edge_dropout, self.node_dropout = config.edge_dropout, config.node_dropout
        self.own = None if features else nn.Parameter(torch.empty(nodes, config.hidden_size))
        if self.own is not None:
            nn.init.normal_(self.own)
        inner = replace(config.graph_options, relations=relations, edge_size=edge_size)
        last = replace(inner, heads=1)
        count = config.layers - (self.readout == "convolution")
        widths = [features or config.hidden_size, *[config.hidden_size] * count]
        read = widths[-1] * (count if self.readout == "cat" else 1)
        if self.readout != "convolution":
            last = GraphOptions("dense")
        self.layers: Any = nn.ModuleList(
            GraphConv(options.make(), inputs, outputs)
            for options, inputs, outputs in [
                *((inner, *pair) for pair in pairwise(widths)), (last, read, classes)
            ]
        )  # fmt: skip
        linear = self.skip == "linear"
        self.skips: Any = nn.ModuleList(
            GraphConv(Dense(), *pair, bias=False) for pair in pairwise(widths) if linear
        )
        norm = {"none": None, "layer": nn.LayerNorm, "batch": nn.BatchNorm1d}[config.norm]
        self.norms: Any = nn.ModuleList(norm(width) for width in widths[1:] if norm)

    @classmethod
    def from_facts(cls, config: NodesConfig, facts: Mapping[str, Any]) -> Self:
        """Rebuild the model that a run folder describes, without its weights."""
        return cls(
            config,
            nodes=facts["nodes"],
            features=facts["features"],
            classes=len(facts["classes"]),
            relations=len(facts.get("relations", ())) or 1,
            edge_size=facts.get("edge_size", 0),
        )

    def forward(self, x: Tensor | None, graph: Graph, nodes: Tensor | None = None) -> Tensor:
        """Return the logits of every node, `[N, classes]`; of a sample, those of its `nodes`."""
        if self.training and self.edge_dropout:
            graph = drop_edges(graph, self.edge_dropout)
        h = drop(self.represent(x, graph, nodes), self.dropout, self.training)
        return convolve(self.layers[-1], h, graph)

    def represent(self, x: Tensor | None, graph: Graph, nodes: Tensor | None = None) -> Tensor:
        """Return the input of the last layer, `[N, width]`; of the only one, the features."""
        h = self.features(x)
        h = h if nodes is None else h.index_select(0, nodes.to(h.device))
        if self.training and self.node_dropout:
            h = drop_rows(h, self.node_dropout)
        outputs: list[Tensor] = []
        for k in range(len(self.layers) - 1):
            h = drop(h, self.dropout, self.training)
            h = self._finish(k, convolve(self.layers[k], h, graph, self._near_one(k)), h, outputs)
            outputs.append(h)
        return self._read(h, outputs)

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
        before: list[Tensor] = []  # the outputs of the layers so far, of the rows of h
        for k, (layer, sampler, targets) in enumerate(zip(layers, samplers, wanted, strict=True)):
            y = h.new_empty(len(targets), layer.outputs, layout=torch.strided)
            if k == len(self.layers) - 1:
                h = self._read(h, before)
            own = targets if rows is None else torch.searchsorted(rows, targets)
            outputs = [z.index_select(0, own.to(z.device)) for z in before]
            for at, some in zip(range(0, len(targets), size), targets.split(size), strict=True):
                sources, graph = sampler.sample(some)
                sources = sources if rows is None else torch.searchsorted(rows, sources)
                sources = sources.to(h.device)
                own_graph, near = graph.to(h.device), self._near_one(k)
                z = convolve(layer, h.index_select(0, sources), own_graph, near)[: len(some)]
                if k < len(self.layers) - 1:
                    own_inputs = h.index_select(0, sources[: len(some)])  # the seeds come first
                    z = self._finish(k, z, own_inputs, [o[at : at + size] for o in outputs])
                y[at : at + size] = z
            h, rows, before = y, targets, [*outputs, y]
        return self._read(h, before) if to_last else h

    def _finish(self, k: int, z: Tensor, h: Tensor, outputs: Sequence[Tensor]) -> Tensor:
        """Return a hidden layer's output of its convolution z, its input h and earlier outputs."""
        if self.skips:
            z = z + convolve(self.skips[k], h, None)
        elif self.skip == "residual" and z.shape == h.shape:
            z = z + h
        elif self.skip == "initial" and outputs:
            z = torch.lerp(z, outputs[0], INITIAL)
        elif (weight := self._near_one(k)) is not None:
            z = torch.lerp(z, F.linear(outputs[0], weight, self.layers[k].bias), INITIAL)
        return self.activation(self.norms[k](z) if self.norms else z)

    def _near_one(self, k: int) -> Tensor | None:
        """Return W'_l of a layer after the first with the skip "gcnii", else None."""
        if self.skip != "gcnii" or not 0 < k < len(self.layers) - 1:
            return None
        weight = self.layers[k].weights["weight"]
        identity = torch.eye(len(weight), dtype=weight.dtype, device=weight.device)
        return torch.lerp(identity, weight, math.log(LEARNT / k + 1))

    def _read(self, h: Tensor, outputs: Sequence[Tensor]) -> Tensor:
        """Return what the last layer reads, of the hidden layers' outputs, h being the last."""
        if self.readout == "cat":
            return torch.cat(list(outputs), -1)
        return torch.stack(list(outputs)).amax(0) if self.readout == "max" else h

    def penalty(self) -> Tensor:
        """Return penalty/2 · Σ w² over the first layer's weights, or all; biases are left out."""
        end = 1 if self.penalised == "first" else None
        layers = (*self.layers[:end], *self.skips[:end])
        weights = [w for layer in layers for w in layer.parameters() if w.ndim > 1]
        if self.own is not None:
            weights.append(self.own)
        return self.strength / 2 * torch.stack([w.square().sum() for w in weights]).sum()


def convolve(
    conv: GraphConv, x: Tensor, graph: Graph | None, weight: Tensor | None = None
) -> Tensor:
    """Return what `conv` returns of x, dense or sparse, or with another weight."""
    if weight is not None:
        h = for_mode(conv.operator, conv.training).apply(x, {"weight": weight}, graph)
        return h if conv.bias is None else h + conv.bias
    by_products = getattr(conv.operator, "through_products", basis_of(conv.operator) is not None)
    if x.is_sparse and by_products:
        return convolve_sparse(conv, x, graph)
    return conv(x.to_dense() if x.is_sparse else x, graph)


def convolve_sparse(conv: GraphConv, x: Tensor, graph: Graph | None) -> Tensor:
    """Return what `conv` returns of the dense x, in time proportional to the non-zero entries.

    The operator reads x through its products with the matrices of its weight alone, so it may be
    given these products, and a weight that picks each from among them.
    """
    weight = conv.weights["weight"]  # [outputs, (M,) F]
    products = multiply(x, weight.flatten(0, -2).T)  # [N, outputs·M]
    picks = torch.eye(products.shape[1], dtype=weight.dtype, device=weight.device)
    weights = {**conv.weights, "weight": picks.view(*weight.shape[:-1], -1)}
    h = for_mode(conv.operator, conv.training).apply(products, weights, graph)
    return h if conv.bias is None else h + conv.bias


def drop_edges(graph: Graph, share: float) -> Graph:
    """Drop a share of the edges, both directions of a pair of nodes together."""

    def kept(graph: Graph) -> Tensor:
        (source, target), N = graph.edge_index, graph.num_nodes

        def find() -> tuple[int, Tensor]:
            key = torch.minimum(source, target) * N + torch.maximum(source, target)
            distinct, pair = key.unique(return_inverse=True)
            return len(distinct), pair

        count, pair = graph.cached(("pairs of nodes",), find)
        return (torch.rand(count, device=pair.device) >= share)[pair]

    return graph.select_edges(kept)


def sparse(indices: Tensor, values: Tensor, shape: torch.Size) -> Tensor:
    """Make a sparse matrix of entries that are in order, each once."""
    return torch.sparse_coo_tensor(
        indices, values, shape, is_coalesced=True, check_invariants=False
    )


def drop_rows(x: Tensor, share: float) -> Tensor:
    """Drop a share of the rows, the others scaled up."""
    kept = (torch.rand(len(x), 1, device=x.device) >= share).to(x.dtype) / (1 - share)
    if x.is_sparse:
        return sparse(x.indices(), x.values() * kept[x.indices()[0], 0], x.shape)
    return x * kept


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


def encoder_of(config: NetworkConfig, *, nodes: int, features: int, outputs: int) -> NodesModel:
    """Return layers for another task, with the options that it has in common with this one."""
    names = ("operator", "hidden_size", "layers", "heads", "k", "dropout")
    shared = NodesConfig(**{name: getattr(config, name) for name in names})
    return NodesModel(shared, nodes=nodes, features=features, classes=outputs)
