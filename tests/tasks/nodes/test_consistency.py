"""Several answers to a node that are to agree, and nodes whose features are left out."""

import torch
from torch.nn import functional as F

from plait.tasks.nodes.config import NodesConfig
from plait.tasks.nodes.consistency import VIEWS, disagreement
from plait.tasks.nodes.model import drop_rows
from plait.tasks.nodes.task import NodesTask


def test_disagreement_is_the_distance_from_the_sharpened_mean(assert_near):
    logits = torch.randn(3, 5, 4).double().requires_grad_()
    p = logits.softmax(-1)
    mean = p.detach().mean(0)
    q = mean**2 / (mean**2).sum(1, keepdim=True)
    expected = sum(((p[v, i] - q[i]) ** 2).sum() for v in range(3) for i in range(5)) / 15
    found = disagreement(p)
    assert_near(found, expected, 1e-14)
    (ours,) = torch.autograd.grad(found, logits, retain_graph=True)
    (theirs,) = torch.autograd.grad(expected, logits)
    assert_near(ours, theirs, 1e-13)


def test_the_loss_is_that_of_all_views_and_their_disagreement():
    config = NodesConfig(data="karate", hidden_size=4, consistency=0.7, penalty=0.0, threads=1)
    task = NodesTask(config, torch.device("cpu"))
    task.model.train()
    torch.manual_seed(0)
    loss, _, _ = task.loss(task.model, task.batch(1), ())
    torch.manual_seed(0)
    views = [task.model(task.x, task.graph) for _ in range(VIEWS)]
    labels = torch.tensor([0, 1])
    reported = torch.stack([F.cross_entropy(z[[0, 33]], labels) for z in views]).mean()
    apart = disagreement(torch.stack(views).softmax(-1))
    assert apart > 0
    torch.testing.assert_close(loss, reported + 0.7 * apart)


def test_rows_are_dropped_whole_sparse_or_not(assert_near):
    x = torch.randn(400, 3).double() * (torch.rand(400, 3) < 0.5)
    torch.manual_seed(1)
    dropped = drop_rows(x, 0.25)
    torch.manual_seed(1)
    assert_near(drop_rows(x.to_sparse().coalesce(), 0.25).to_dense(), dropped, 1e-15)
    kept = (dropped != 0).any(1) | (x == 0).all(1)
    assert_near(dropped[kept], x[kept] / 0.75, 1e-15)
    assert 0.65 < (dropped != 0).any(1).double().sum() / (x != 0).any(1).double().sum() < 0.85
