"""What scores a pair, against the formula in NumPy."""

import networkx
import numpy as np
import pytest
import torch

from plait.graph_data import named_labelled_graph
from plait.nn.graph import Graph
from plait.tasks.links.config import LinksConfig
from plait.tasks.links.model import LinksModel

PAIRS = torch.tensor([[0, 5, 33, 2], [1, 5, 0, 30]])


def made(features: int = 0, **options) -> LinksModel:
    torch.manual_seed(0)
    config = LinksConfig(hidden_size=8, embedding_size=6, heads=2, **options)
    model = LinksModel(config, nodes=34, features=features).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_()
    return model


@pytest.mark.parametrize("scorer", ["dot", "mlp", "ncn"])
def test_a_pair_s_score_is_the_formula_s(scorer):
    model, graph = made(scorer=scorer), named_labelled_graph("karate").graph
    z = model.encoder(None, graph).detach().numpy()
    u, v = PAIRS.numpy()
    product = z[u] * z[v]
    if scorer == "ncn":
        club = networkx.karate_club_graph()
        shared = [sum(z[w] for w in networkx.common_neighbors(club, a, b)) + np.zeros(6)
                  for a, b in zip(u, v, strict=True) if a != b]  # fmt: skip
        shared.insert(1, sum(z[w] for w in club[5]))
        product = np.concatenate([product, np.stack(shared)], 1)
    if scorer == "dot":
        expected = product.sum(1) + model.scorer.bias.item()
    else:
        W1, b1, w2, b2 = (p.detach().numpy() for p in model.scorer.parameters())
        expected = (np.maximum(product @ W1.T + b1, 0) @ w2.T + b2)[:, 0]
    found = model(None, graph, PAIRS)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-12)
    assert torch.equal(model(None, graph, PAIRS.flip(0)), found)


@pytest.mark.parametrize("scorer", ["dot", "mlp", "ncn"])
@pytest.mark.parametrize("operator", ["gcn", "attention", "chebyshev", "diffusion", "dense"])
def test_other_numbers_for_the_nodes_change_nothing(operator, scorer):
    graph = named_labelled_graph("karate").graph
    x = torch.randn(34, 5, dtype=torch.float64)
    model = made(5, operator=operator, scorer=scorer)
    order = torch.randperm(34)
    place = order.argsort()
    other = Graph(place[graph.edge_index], graph.edge_weight, 34)
    torch.testing.assert_close(
        model(x[order], other, place[PAIRS]), model(x, graph, PAIRS), rtol=1e-11, atol=1e-11
    )
    alone = model(x, Graph(torch.empty(2, 0, dtype=torch.long), num_nodes=34), PAIRS)
    assert torch.equal(alone, model(x, graph, PAIRS)) == (operator == "dense")


@pytest.mark.parametrize("scorer", ["dot", "mlp", "ncn"])
def test_gradients(scorer):
    model, graph = made(3, scorer=scorer), named_labelled_graph("karate").graph
    x = torch.randn(34, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: model(x, graph, PAIRS), x)


def test_a_run_s_facts_rebuild_it():
    config = LinksConfig(scorer="mlp", hidden_size=8)
    model = LinksModel.from_facts(config, {"nodes": 34, "features": 0, "sha256": ""})
    assert model(None, named_labelled_graph("karate").graph, PAIRS).shape == (4,)
