"""Packed sequences and one sequence alone, as `torch.nn` takes and gives them."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence

from plait import GCN, GRU, LSTM, Graph, Recurrent

T, B, F, H = 4, 3, 3, 5


def tensors(state) -> tuple:
    return state if isinstance(state, tuple) else (state,)


def pairs(kind):
    """torch's layer and ours, in float64, in every order and number of directions."""
    for batch_first, bidirectional in itertools.product((False, True), (False, True)):
        theirs = kind(
            F, H, num_layers=2, bidirectional=bidirectional, batch_first=batch_first
        ).double()
        state = torch.randn(2 * (1 + bidirectional), B, H).double()
        yield (
            theirs,
            Recurrent.from_torch(theirs),
            ((state, state + 1) if kind is nn.LSTM else state),
        )


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("lengths", [[4, 3, 1], [1, 4, 3]], ids=["sorted", "unsorted"])
def test_a_packed_batch_is_that_of_torch(kind, lengths, assert_near):
    for theirs, ours, state in pairs(kind):
        x = [torch.randn(n, F).double().requires_grad_() for n in lengths]
        packed = pack_sequence(x, enforce_sorted=False)
        for start in (None, state):
            found, final = ours(packed, start)
            expected, last = theirs(packed, start)
            assert isinstance(found, PackedSequence)
            assert_near(found.data, expected.data)
            assert torch.equal(found.batch_sizes, expected.batch_sizes)
            assert torch.equal(found.sorted_indices, expected.sorted_indices)
            assert torch.equal(found.unsorted_indices, expected.unsorted_indices)
            assert_near(tensors(final), tensors(last))
            grads = torch.autograd.grad(found.data.square().sum(), x, retain_graph=True)
            right = torch.autograd.grad(expected.data.square().sum(), x, retain_graph=True)
            assert_near(grads, right)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_one_sequence_is_that_of_torch(kind, assert_near):
    for theirs, ours, state in pairs(kind):
        x = torch.randn(T, F).double()
        alone = tuple(s[:, 0] for s in tensors(state))
        for start in (None, alone if kind is nn.LSTM else alone[0]):
            found, final = ours(x, start)
            expected, last = theirs(x, start)
            assert_near(found, expected)
            assert_near(tensors(final), tensors(last))


def test_a_packed_batch_sorted_before_has_no_indices():
    packed = pack_padded_sequence(torch.randn(T, B, F), torch.tensor([4, 3, 1]))
    y, _ = Recurrent(GRU(), F, H)(packed)
    assert y.sorted_indices is None
    assert y.data.shape == (8, H)


def test_what_does_not_fit_is_refused():
    packed = pack_padded_sequence(torch.randn(T, B, F), torch.tensor([4, 3, 1]))
    layer = Recurrent(LSTM(), F, H)
    with pytest.raises(ValueError, match="a packed sequence knows its lengths; leave out lengths="):
        layer(packed, lengths=torch.tensor([4, 3, 1]))
    on_graph = Recurrent(LSTM(), F, H, operator=GCN())
    with pytest.raises(ValueError, match=r"packed sequences have no nodes; pass the padded batch"):
        on_graph(packed, graph=Graph([[0], [1]]))
    with pytest.raises(ValueError, match=r"unbatched sequence \[T, F\] has no lengths="):
        layer(torch.randn(T, F), lengths=torch.tensor([3]))
    with pytest.raises(ValueError, match=r"are \[layers·directions, H\]; got shape \[1, 1, 5\]"):
        layer(torch.randn(T, F), (torch.zeros(1, 1, H), torch.zeros(1, 1, H)))
    with pytest.raises(ValueError, match=r"got shape \[4, 3\]"):
        on_graph(torch.randn(T, F), graph=Graph([[0], [1]]))
