"""Blocks of work are handed out to threads."""

import threading

import pytest
import torch

from plait.kernels.cpu import jit as module
from plait.kernels.cpu.jit import parallel_for


@pytest.fixture(params=["torch's threads", "a pool"])
def two_threads(request, monkeypatch):
    if request.param == "a pool":
        monkeypatch.setattr(module, "_openmp", None)
    elif module._openmp is None:
        pytest.skip("this torch brings no OpenMP of GNU's")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_every_block_is_called_once_and_by_two_threads(two_threads):
    called, meet = [], threading.Barrier(2)

    def call(block):
        if block < 2:
            meet.wait(60)  # the first two blocks wait for each other
        called.append((block, threading.get_ident()))

    parallel_for(call, range(7))
    assert sorted(block for block, _ in called) == list(range(7))
    assert len({thread for _, thread in called}) == 2


@pytest.mark.parametrize("error", [ValueError, IndexError, KeyboardInterrupt])
def test_what_a_block_raises_reaches_who_called(two_threads, error):
    def call(block):
        if block == 3:
            raise error("of block 3")

    with pytest.raises(error, match="of block 3"):
        parallel_for(call, range(6))
    parallel_for(lambda block: None, range(6))  # and the threads are as good as before
