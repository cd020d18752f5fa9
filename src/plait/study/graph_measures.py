"""Measurements of graph layers: receptive fields, memory of the adjacency, attention weights."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.comparison.results import Result
from plait.kernels.attention import SLOPE
from plait.nn.attention import neighbourhood_of
from plait.nn.convolution import GraphConv
from plait.nn.filters import GCN
from plait.nn.graph import Graph
from plait.study.runs import model_of

DEGREE = 6
"""Mean number of neighbours in the graphs whose memory is measured."""

ALLOCATED = 5000
"""Nodes up to which the dense adjacency is allocated; above, its size is 4 N² bytes."""


def influence(graph: Graph, source: int, target: int, most: int) -> list[float]:
    """Return ‖∂h(target)/∂x(source)‖ in stacks of 0 … `most` graph layers with random weights."""
    torch.manual_seed(0)
    layers = nn.ModuleList(GraphConv(GCN(), 8, 8) for _ in range(most)).double()
    with torch.enable_grad():
        x = torch.randn(graph.num_nodes, 8, dtype=torch.float64, requires_grad=True)
        h, found = x, []
        for k in range(most + 1):
            (gradient,) = torch.autograd.grad(h[target].sum(), x, retain_graph=True)
            found.append(float(gradient[source].norm()))
            if k < most:
                h = torch.tanh(layers[k](h, graph))
    return found


def adjacency_bytes(nodes: int) -> tuple[int, int]:
    """Return the bytes of a random graph's adjacency, dense and as a list of weighted edges."""
    random = np.random.default_rng(0)
    index = random.integers(nodes, size=(2, nodes * DEGREE // 2))
    index = np.unique(index[:, index[0] != index[1]], axis=1)
    graph = Graph(index, num_nodes=nodes).to_undirected()
    edges = graph.edge_index.nbytes + graph.edge_weight.nbytes
    if nodes > ALLOCATED:
        return 4 * nodes * nodes, edges
    dense = torch.zeros(nodes, nodes)
    dense[graph.edge_index[1], graph.edge_index[0]] = graph.edge_weight
    return dense.nbytes, edges


@torch.no_grad()
def attention_of(result: Result, graph: Graph) -> tuple[Tensor, float]:
    """Return the last layer's coefficients, and their distance from the plain average.

    The distance is the mean over the nodes i of ½ Σ_j |α_ij − 1/|N(i)||: the share of the weight
    that attention moves between neighbours.
    """
    model = model_of(result)
    conv = model.layers[-1]
    alpha = coefficients(conv, model.represent(None, graph), graph)
    targets = neighbourhood_of(graph).targets.long()
    average = 1 / torch.bincount(targets, minlength=graph.num_nodes)[targets]
    return alpha, float((alpha - average).abs().sum() / 2 / graph.num_nodes)


def coefficients(conv: GraphConv, x: Tensor, graph: Graph) -> Tensor:
    """Return α of a layer of attention (version 1, one head), by the neighbourhood's edges, `[E]`.

    α_i = softmax over j of LeakyReLU(aᵀ z_j + bᵀ z_i), z = x Wᵀ.
    """
    weights = conv.weights
    z = F.linear(x, weights["weight"])
    hood = neighbourhood_of(graph)
    sources, targets = hood.sources.long(), hood.targets.long()
    left, right = z @ weights["source"][0], z @ weights["target"][0]
    e = F.leaky_relu(left[sources] + right[targets], SLOPE).double().exp()
    total = e.new_zeros(graph.num_nodes).index_add_(0, targets, e)
    return e / total[targets]
