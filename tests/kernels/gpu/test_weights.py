"""Weights in one block: by a stand-in for cuDNN's own layout, and on a GPU by cuDNN."""

import copy

import pytest
import torch
from torch import nn

from plait import GRU, LSTM, RNN, Recurrent
from plait.kernels.gpu.weights import in_block
from plait.kernels.torch_native import weights_of

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


class Joined:
    """Lays weights behind one another, and counts how often."""

    def __init__(self):
        self.calls = 0

    def __call__(self, weights):
        self.calls += 1
        block = torch.cat([w.flatten() for w in weights])
        for w, part in zip(weights, block.split([w.numel() for w in weights]), strict=True):
            w.set_(part.view(w.shape))


def storages(weights):
    return {w.untyped_storage().data_ptr() for w in weights}


@pytest.mark.parametrize("cell", [LSTM(), GRU(), RNN()], ids=repr)
def test_a_block_holds_the_same_numbers_and_is_laid_once(cell, make_layer):
    layer, join = make_layer(cell, 3, 4, layers=2, bidirectional=True), Joined()
    before = [w.clone() for one in layer.directions for w in weights_of(one)]
    values = in_block(list(layer.directions), join)
    assert all(map(torch.equal, values, before))
    assert len(storages(values)) == 1
    assert storages(values) == storages(layer.parameters())
    in_block(list(layer.directions), join)
    assert join.calls == 1


def test_what_changes_weights_in_place_changes_the_block(make_layer):
    layer, join = make_layer(GRU(), 3, 4), Joined()
    in_block(list(layer.directions), join)
    layer.load_state_dict(make_layer(GRU(), 3, 4, seed=5).state_dict())
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    layer(torch.randn(3, 2, 3).double())[0].sum().backward()
    optimizer.step()
    values = in_block(list(layer.directions), join)
    assert all(map(torch.equal, values, weights_of(layer.directions[0])))
    assert join.calls == 1


def test_weights_that_moved_are_laid_again(make_layer):
    layer, join = make_layer(GRU(), 3, 4), Joined()
    in_block(list(layer.directions), join)
    other = copy.deepcopy(layer)
    in_block(list(other.directions), join)
    assert storages(other.parameters()).isdisjoint(storages(layer.parameters()))
    layer.float()
    assert len(storages(in_block(list(layer.directions), join))) == 1
    layer.load_state_dict(make_layer(GRU(), 3, 4).float().state_dict(), assign=True)
    in_block(list(layer.directions), join)
    assert join.calls == 4


def test_gradients_reach_the_second_bias(make_layer, assert_near):
    layer = make_layer(GRU(), 3, 4)
    x, start = torch.randn(5, 2, 3).double(), torch.zeros(1, 2, 4).double()
    found = []
    for weights in (weights_of(layer.directions[0]), in_block(list(layer.directions), Joined())):
        y, _ = torch.gru(x, start, weights, True, 1, 0.0, True, False, False)
        found.append(torch.autograd.grad(y.square().sum(), list(layer.parameters())))
    assert_near(found[1], found[0])


def test_computed_weights_are_in_no_block():
    layer = Recurrent(LSTM(), 3, 4)
    nn.utils.parametrizations.weight_norm(layer.directions[0].inputs, "weight")
    assert in_block(list(layer.directions), Joined()) is None


@cuda
@pytest.mark.parametrize("cell", [LSTM(), GRU(), RNN()], ids=repr)
def test_cudnn_takes_the_block_without_a_copy_or_a_warning(cell):
    layer = Recurrent(cell, 3, 4, layers=2, bidirectional=True).cuda()
    x = torch.randn(5, 2, 3, device="cuda")
    layer(x)
    assert len(storages(layer.parameters())) == 1
    torch.cuda.reset_peak_memory_stats()
    layer(x, lengths=torch.tensor([5, 3]))
    optimizer = torch.optim.Adam(layer.parameters())
    layer(x)[0].sum().backward()
    optimizer.step()
    layer(x)
