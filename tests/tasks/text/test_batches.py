"""Batch t is a pure function of (seed, t), and every character has its turn."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from plait.errors import InputError
from plait.tasks.text.batches import StatefulStreams, Windows

# The text is 0, 1, 2, …, so a number says which place of the text was read.


@pytest.mark.parametrize("reader", [StatefulStreams, Windows])
def test_a_batch_depends_on_the_seed_and_its_number_alone(reader):
    def make(seed: int):
        return reader(torch.arange(500), length=7, batch_size=5, seed=seed)

    steps = [1, 2, 14, 15, 40, 1000]
    expected = {step: make(3).batch(step) for step in steps}
    other, again = make(4), make(3)
    torch.manual_seed(99)  # nobody's generator but its own
    for step in reversed(steps):
        for ours, theirs in zip(again.batch(step), expected[step], strict=True):
            assert torch.equal(torch.as_tensor(ours), torch.as_tensor(theirs))
        assert not torch.equal(other.batch(step)[0], expected[step][0])
    firsts = {tuple(x[0].tolist()) for x, _, _ in expected.values()}
    assert len(firsts) == len(steps)


@pytest.mark.parametrize("reader", [StatefulStreams, Windows])
@settings(deadline=None, derandomize=True, max_examples=60)
@given(data=st.data())
def test_y_is_the_character_after_x(reader, data):
    length, batch_size = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 6))
    size = data.draw(st.integers((length + 1) * batch_size, 200))
    text = torch.arange(size)
    x, y, _ = reader(text, length=length, batch_size=batch_size, seed=0).batch(
        data.draw(st.integers(1, 50))
    )
    assert x.shape == y.shape == (length, batch_size)
    assert torch.equal(y, (x + 1) % size)
    assert torch.equal(x[1:], y[:-1])
    if reader is Windows:  # the end of the text is not joined to its beginning
        assert torch.equal(y, x + 1)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(data=st.data())
def test_a_pass_of_the_lanes_reads_every_character_once(data):
    length, batch_size = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 6))
    size = data.draw(st.integers(length * batch_size, 300))
    lanes = StatefulStreams(torch.arange(size), length=length, batch_size=batch_size, seed=1)
    steps = size // batch_size // length
    for number in range(2):
        targets, before = [], None
        for k in range(steps):
            x, y, fresh = lanes.batch(1 + number * steps + k)
            assert fresh == (k == 0)
            if before is not None:  # each lane goes on where it stopped
                assert torch.equal(x[0], before)
            before = y[-1]
            targets += y.flatten().tolist()
        assert len(set(targets)) == len(targets)  # none twice
        # left out: less than a batch of whole sequences, and what no lane could share
        assert size - len(targets) < length * batch_size + batch_size
    assert lanes.batch(1 + 2 * steps)[2]


def test_lanes_share_the_text_evenly_and_begin_each_pass_elsewhere():
    lanes = StatefulStreams(torch.arange(1003), length=10, batch_size=4, seed=0)
    begins = []
    for number in range(20):
        x, _, fresh = lanes.batch(1 + 25 * number)
        assert fresh
        assert torch.equal((x[0] - x[0, 0]) % 1003, torch.tensor([0, 250, 500, 750]))
        begins.append(int(x[0, 0]))
    assert len(set(begins)) == 20


def test_windows_begin_anywhere_equally_often():
    size, length = 60, 10  # 50 places: 0 … 49
    windows = Windows(torch.arange(size), length=length, batch_size=64, seed=5)
    starts = torch.cat([windows.batch(step)[0][0] for step in range(1, 501)]).numpy()
    counts = np.bincount(starts, minlength=size - length)
    assert len(counts) == size - length
    assert chisquare(counts).pvalue > 0.01
    pairs = np.bincount(starts[::2] // 5 * 10 + starts[1::2] // 5, minlength=100)
    assert chisquare(pairs).pvalue > 0.01  # neighbours in a batch know nothing of each other
    assert windows.batch(1)[2]
    assert windows.batch(2)[2]


def test_a_text_that_is_just_long_enough():
    assert Windows(torch.arange(5), length=4, batch_size=3, seed=0).batch(1)[0].T.tolist() == (
        [[0, 1, 2, 3]] * 3
    )
    x, y, _ = StatefulStreams(torch.arange(12), length=4, batch_size=3, seed=0).batch(1)
    assert sorted(x.flatten().tolist()) == sorted(y.flatten().tolist()) == list(range(12))


@pytest.mark.parametrize(
    ("reader", "size", "message"),
    [
        (Windows, 10, "the training set has 10 characters, fewer than a sequence of length 10 "),
        (StatefulStreams, 29, "the training set has 29 characters, too few for 3 streams of 10; "),
    ],
)
def test_a_text_that_is_too_short_is_refused(reader, size, message):
    reader(torch.arange(size + 1), length=10, batch_size=3, seed=0)
    with pytest.raises(InputError, match=message):
        reader(torch.arange(size), length=10, batch_size=3, seed=0)
