"""Several processes train as one does with the batch of all of them."""

import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from plait.errors import InputError
from plait.tasks import config_class, task_class
from plait.training.checkpoint import load_tensors
from plait.training.followed import create_run, open_run
from plait.training.loop import Loop, train
from plait.training.progress import Progress
from plait.training.random import seed_all
from plait.training.ranks import ALONE, Ranks, as_ranks
from plait.training.run import Run
from plait.training.signals import Interrupted

_spec = importlib.util.spec_from_file_location("in_threads", Path(__file__).with_name("in_threads.py"))
assert _spec is not None and _spec.loader is not None
in_threads = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(in_threads)
side_by_side = in_threads.side_by_side

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


SMALL = {"hidden_size": 6, "steps": 4, "validate_every": 2}
CASES = {
    "text": {**SMALL, "data": "book.txt", "embedding_size": 5, "length": 7, "layers": 1},
    "text, windows": {**SMALL, "data": "book.txt", "batches": "windows", "length": 7},
    "memory": {**SMALL, "embedding_size": 4, "length": 4},
    "nodes": {**SMALL, "data": "karate"},
    "nodes, samples": {
        **SMALL, "data": "karate", "split": "most", "sample": "3,2,2", "layers": 3, "dropout": 0.0,
    },
    "links, samples": {**SMALL, "data": "karate", "sample": "3,2", "dropout": 0.0},
    "visits": {**SMALL, "patients": 30, "dropout": 0.0},
    "forecast": {**SMALL, "history": 4, "horizon": 3},
    "digits": {**SMALL, "frame": 16, "history": 4, "horizon": 3},
    "scenes": {**SMALL, "scenes": 30},
    "structure": {**SMALL, "nodes": 12},
}  # fmt: skip
WHOLE = {"nodes"}
"""Where all processes make the same step."""


def made(case: str, ranks: Ranks, batch_size: int):
    name = case.split(",")[0]
    config = config_class(name).of({**CASES[case], "batch_size": batch_size, "threads": 1})
    with as_ranks(ranks):
        seed_all(config.seed, 0)
        return task_class(name)(config, CPU)


class Recording(Loop):
    """A loop without a folder that keeps the gradients, before they are clipped, and the scores."""

    def __init__(self, task) -> None:
        super().__init__(task, None, Progress())  # pyright: ignore[reportArgumentType]

    def go(self):
        gradients, scores = [], []
        for step in range(1, self.config.steps + 1):
            batch = self.task.batch(step)
            self.model.train().zero_grad()
            seed_all(self.config.seed, step)
            loss, values, self.now.carry = self.task.loss(self.model, batch, self.now.carry)
            loss.backward()
            [mean] = self.ranks.average_gradients(
                self.parameters, loss.detach()[None], self.task.terms(batch)
            )
            flat = torch.cat([p.grad.reshape(-1) for p in self.parameters if p.grad is not None])
            gradients.append(torch.cat([flat, mean[None]]).clone())
            self.optimizer.step()
            if step % 2 == 0:
                self.model.eval()
                with torch.no_grad():
                    scores.append(self.task.validate())
        return gradients, scores


@pytest.mark.parametrize("case", CASES)
def test_gradients_and_scores_are_those_of_one_process_with_all_examples(
    case, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("book.txt").write_text("It was the best of times, it was the worst of times. " * 20)
    monkeypatch.setattr("plait.tasks.digits.data.BATCHES", {0: 1, 1: 1, 2: 1, 3: 1})
    gradients, scores = Recording(made(case, ALONE, 6)).go()

    tasks = [made(case, Ranks(rank, 2), 3) for rank in range(2)]

    def go(ranks):
        task = tasks[ranks.rank]
        task.ranks = ranks
        return Recording(task).go()

    for theirs in side_by_side(2, go):
        if isinstance(theirs, Exception):
            raise theirs
        for ours, other in zip(gradients, theirs[0], strict=True):
            assert float((ours - other).abs().max() / ours.abs().max()) < 1e-6
        for ours, other in zip(scores, theirs[1], strict=True):
            assert other == pytest.approx(ours, rel=1e-5)
