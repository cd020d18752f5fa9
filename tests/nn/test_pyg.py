"""`Data` and `Batch` of PyTorch Geometric as graphs of our layers, and its loader."""

import warnings

import pytest
import torch

from plait import GCN, GRU, LSTM, Attention, Chebyshev, Diffusion, Graph, GraphConv, Recurrent
from plait.nn.graph import as_graph

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("torch_geometric")
    from torch_geometric.data import Batch, Data, HeteroData
    from torch_geometric.loader import DataLoader

T, F = 5, 2


def small(seed: int, *, attribute: bool = False) -> Data:
    """A connected graph of 3 to 6 nodes with a series at each."""
    generator = torch.Generator().manual_seed(seed)
    nodes = 3 + seed % 4
    there = torch.stack([torch.arange(nodes - 1), torch.arange(1, nodes)])
    index = torch.cat([there, there.flip(0)], 1)
    weight = torch.rand(nodes - 1, generator=generator).repeat(2) + 0.1
    x = torch.randn(nodes, T, F, generator=generator, dtype=torch.float64)
    named = {"edge_attr": weight[:, None]} if attribute else {"edge_weight": weight}
    return Data(x=x, edge_index=index, **named)


@pytest.mark.parametrize("operator", [GCN(), Chebyshev(3), Diffusion(2), Attention(2)], ids=repr)
def test_a_batch_of_a_loader_gives_what_each_graph_alone_does(operator):
    data = [small(seed, attribute=True) for seed in range(7)]
    layer = Recurrent(LSTM(), F, 4, operator=operator, layers=2).double()
    found = []
    for batch in DataLoader(data, batch_size=3):
        x = batch.x.transpose(0, 1)[:, None]  # [T, 1, N, F]
        y, _ = layer(x, graph=batch)
        y.square().mean().backward()
        found += [y[:, 0, batch.batch == k] for k in range(batch.num_graphs)]
    assert len(found) == len(data)
    for one, y in zip(data, found, strict=True):
        graph = Graph(one.edge_index, one.edge_attr[:, 0], one.num_nodes)
        alone, _ = layer(one.x.transpose(0, 1)[:, None], graph=graph)
        torch.testing.assert_close(y, alone[:, 0], rtol=0, atol=1e-12)
    assert all(p.grad is not None for p in layer.parameters())


def test_gradients_of_a_batch_are_the_sum_of_those_of_its_graphs():
    data = [small(seed) for seed in range(4)]
    layer = Recurrent(GRU(), F, 3, operator=GCN()).double()
    batch = Batch.from_data_list(data)
    weights = list(layer.parameters())
    y, _ = layer(batch.x.transpose(0, 1)[:, None], graph=batch)
    together = torch.autograd.grad(y.square().sum(), weights)
    alone = [torch.zeros_like(w) for w in weights]
    for one in data:
        y, _ = layer(one.x.transpose(0, 1)[:, None], graph=one)
        grads = torch.autograd.grad(y.square().sum(), weights)
        alone = [a + g for a, g in zip(alone, grads, strict=True)]
    torch.testing.assert_close(list(together), alone, rtol=1e-10, atol=1e-12)


def test_a_convolution_takes_data_as_it_takes_our_graph():
    data = small(3)
    conv = GraphConv(Diffusion(2), F, 3).double()
    ours = Graph(data.edge_index, data.edge_weight, data.num_nodes)
    assert torch.equal(conv(data.x[:, 0], data), conv(data.x[:, 0], ours))
    assert conv.explain(data) == conv.explain(ours)


def test_data_is_converted_again_when_its_edges_change():
    data = small(1)
    first = as_graph(data)
    assert as_graph(data) is first
    data.edge_weight.mul_(2)
    assert torch.equal(as_graph(data).edge_weight, first.edge_weight * 2)
    data.edge_index = data.edge_index[:, :2]
    data.edge_weight = data.edge_weight[:2]
    assert as_graph(data).num_edges == 2
    data.num_nodes = 9
    assert as_graph(data).num_nodes == 9


def test_a_list_of_data_is_one_for_each_step():
    first, second = small(0), small(4)
    layer = Recurrent(GRU(), F, 3, operator=GCN()).double()
    x = torch.randn(3, 2, 3, F, dtype=torch.float64)
    ours = [Graph.from_pyg(first), Graph.from_pyg(first), Graph.from_pyg(second)]
    assert first.num_nodes == second.num_nodes == 3
    y, _ = layer(x, graph=[first, first, second])
    torch.testing.assert_close(y, layer(x, graph=ours)[0], rtol=0, atol=1e-12)


def test_what_is_no_graph_is_refused():
    layer = Recurrent(GRU(), F, 3, operator=GCN())
    with pytest.raises(TypeError, match="graph must be a Graph, not HeteroData"):
        layer(torch.randn(2, 1, 3, F), graph=HeteroData())
    several = Data(edge_index=torch.tensor([[0], [1]]), edge_attr=torch.ones(1, 2), num_nodes=3)
    with pytest.raises(ValueError, match=r"edge_attr is \[1, 2\], and an edge has one weight"):
        layer(torch.randn(2, 1, 3, F), graph=several)
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    with pytest.raises(Exception, match=r"pass Graph\.from_pyg\(data\), made before the call"):
        compiled(torch.randn(2, 1, 3, F), graph=small(0))
