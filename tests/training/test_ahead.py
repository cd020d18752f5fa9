"""Batches computed ahead are those computed when they are wanted."""

import os
import threading

import pytest
import torch

from plait.api import make_task
from plait.errors import InputError
from plait.tasks import config_class
from plait.training import learning
from plait.training.ahead import Ahead
from plait.training.followed import create_run
from plait.training.loop import Loop
from plait.training.progress import Progress


def test_each_batch_is_computed_during_the_step_before_and_none_after_the_last() -> None:
    asked = list[tuple[int, str]]()
    began = {step: threading.Event() for step in range(1, 9)}

    def batch(step: int) -> int:
        asked.append((step, threading.current_thread().name))
        began[step].set()
        return 10 * step

    with Ahead(batch, last=7) as batches:
        assert batches(4) == 40
        assert batches(5) == 50
        assert began[6].wait(5)
        assert batches(7) == 70  # after another than was computed, as after a stop
    steps, threads = zip(*asked, strict=True)
    assert steps == (4, 5, 6, 7)
    main = threading.current_thread().name
    assert [name == main for name in threads] == [True, False, False, True]


def test_a_mistake_is_raised_where_its_batch_is_wanted() -> None:
    def batch(step: int) -> int:
        if step == 2:
            raise InputError("no such batch")
        return step

    with Ahead(batch, last=9) as batches:
        assert batches(1) == 1
        with pytest.raises(InputError, match=r"^no such batch$"):
            batches(2)


def test_the_thread_is_one_and_torch_keeps_its_number() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with Ahead(lambda step: torch.get_num_threads(), last=5) as batches:
            assert batches(1) == 2
            assert batches(2) in (1, 2)  # 2 where torch has no OpenMP of GNU's
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


SAMPLED = {"data": "karate", "hidden_size": 4, "sample": "3,2", "batch_size": 5, "layers": 2,
           "steps": 4, "validate_every": 2}  # fmt: skip


@pytest.mark.parametrize("task", ["nodes", "links", "communities"])
def test_a_training_with_batches_ahead_is_the_one_without(task, tmp_path, monkeypatch) -> None:
    computed, weights = list[int](), list[dict[str, torch.Tensor]]()

    class Noted(Ahead):
        def __call__(self, step: int) -> object:
            computed.append(step)
            return super().__call__(step)

    monkeypatch.setattr(learning, "Ahead", Noted)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    before = torch.get_num_threads()
    try:
        for threads in (2, 1):
            torch.set_num_threads(threads)
            config = config_class(task).of(SAMPLED)
            run = create_run(tmp_path / str(threads), task, config, {})
            training = Loop(make_task(task, config), run, Progress())
            training.progress.start(0, 0.0, [])
            training.learn(threading.Event())
            weights.append(training.model.state_dict())
    finally:
        torch.set_num_threads(before)
    assert computed == [1, 2, 3, 4]
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=0, atol=1e-6)
