"""The loop over time by itself."""

import torch

from plait.kernels import reference


def count_up(x_t, recurrent, state, vectors):
    """A state that adds what comes in, and one that counts the steps."""
    total, steps = state
    return total + vectors["scale"] * recurrent(x_t), steps + 1


def test_it_feeds_every_step_to_the_cell_and_keeps_every_state():
    x = torch.tensor([[[1.0], [10.0]], [[2.0], [20.0]], [[3.0], [30.0]]])  # T = 3, B = 2
    start = (torch.tensor([[0.5], [0.0]]), torch.zeros(2, 1))
    outputs, final, states = reference.run(
        count_up, x, lambda tensor: -tensor, start, {"scale": torch.tensor([2.0])}, None
    )
    assert outputs[..., 0].tolist() == [[-1.5, -20.0], [-5.5, -60.0], [-11.5, -120.0]]
    assert torch.equal(states[0], outputs)
    assert states[1][..., 0].tolist() == [[1, 1], [2, 2], [3, 3]]
    assert torch.equal(final[0], outputs[-1])
    assert torch.equal(final[1], states[1][-1])


def test_a_sequence_that_has_ended_keeps_its_state_and_gives_zero():
    x = torch.ones(3, 2, 1)
    keep = torch.tensor([[[True], [True]], [[True], [False]], [[True], [False]]])
    start = (torch.zeros(2, 1), torch.zeros(2, 1))
    outputs, final, states = reference.run(
        count_up, x, lambda tensor: tensor, start, {"scale": torch.tensor([1.0])}, keep
    )
    assert outputs[..., 0].tolist() == [[1, 1], [2, 0], [3, 0]]
    assert states[0][..., 0].tolist() == [[1, 1], [2, 1], [3, 1]]
    assert final[0][..., 0].tolist() == [3, 1]
    assert final[1][..., 0].tolist() == [3, 1]
