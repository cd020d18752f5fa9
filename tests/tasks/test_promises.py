"""Every task keeps the promises that `check_task` states; and what breaks one is found."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from plait.tasks import TASKS, task_class
from plait.tasks.digits.data import BATCHES
from plait.tasks.memory import scores as memory_scores
from plait.tasks.nodes.task import NodesTask
from plait.tasks.structure import task as structure_task
from plait.testing import check_task


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


def never(*_: object, **__: object) -> None:
    raise AssertionError("the part to test on is read")


def no_text(task, monkeypatch) -> None:
    task.testing[:] = 0


def no_strings(task, monkeypatch) -> None:
    draw = memory_scores.draw

    def drawn(problem, seed, number, stream, *rest):
        return (
            never() if stream == memory_scores.TEST else draw(problem, seed, number, stream, *rest)
        )

    monkeypatch.setattr(memory_scores, "draw", drawn)
    monkeypatch.setattr("plait.tasks.memory.task.draw", drawn)


def no_labels(task, monkeypatch) -> None:
    task.labels[task.splits.test] = 0


def no_links(task, monkeypatch) -> None:
    task.splits.test[:], task.splits.test_non[:] = 0, 0


def no_classes(task, monkeypatch) -> None:
    task.network.labels[:] = 0


def no_histories(task, monkeypatch) -> None:
    for patient in task.splits.test:
        task.histories.periods[patient] = [np.array([0])] * len(task.histories.periods[patient])


def no_measurements(task, monkeypatch) -> None:
    task.windows.values[task.splits.test :] = 1e6
    task.data.series.values[task.splits.test :] = 1e6


def no_images(task, monkeypatch) -> None:
    task.testing[:] = 1


def no_relations(task, monkeypatch) -> None:
    for scene in task.splits.test.scenes:
        scene.relations[:, 1], scene.boxes[:], scene.classes[:] = 0, 1, 0


def no_graphs(task, monkeypatch) -> None:
    drawn = structure_task.drawn

    def draw(config, number, stream, *rest):
        return never() if stream == structure_task.TEST else drawn(config, number, stream, *rest)

    monkeypatch.setattr(structure_task, "drawn", draw)


SMALL = {"hidden_size": 6, "batch_size": 4}
CASES = {
    "text": (no_text, {**SMALL, "data": "book.txt", "embedding_size": 5, "length": 7}),
    "memory": (no_strings, {**SMALL, "embedding_size": 4, "length": 4}),
    "nodes": (no_labels, {"data": "karate", "hidden_size": 8}),
    "links": (no_links, {"data": "karate", "hidden_size": 8, "embedding_size": 8}),
    "communities": (no_classes, {"data": "karate", "hidden_size": 8}),
    "visits": (no_histories, {**SMALL, "patients": 30}),
    "forecast": (no_measurements, {**SMALL, "history": 4, "horizon": 3}),
    "digits": (no_images, {**SMALL, "frame": 16, "history": 4, "horizon": 3}),
    "scenes": (no_relations, {**SMALL, "scenes": 30}),
    "structure": (no_graphs, {**SMALL, "nodes": 12}),
}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_keeps_its_promises(name, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("book.txt").write_text("It was the best of times, it was the worst of times. " * 20)
    for stream in BATCHES:
        monkeypatch.setitem(BATCHES, stream, 1)
    spoil, options = CASES[name]
    check_task(name, spoil=lambda task: spoil(task, monkeypatch), **options)


def test_batches_that_depend_on_earlier_ones_are_found(monkeypatch) -> None:
    monkeypatch.setattr(NodesTask, "batch", lambda self, step: torch.rand(3))
    with pytest.raises(AssertionError, match=r"^not so: batch\(2\) is the same where"):
        check_task("nodes", spoil=lambda task: None, data="karate")


def test_scores_of_chance_are_found(monkeypatch) -> None:
    monkeypatch.setattr(NodesTask, "own_scores", lambda self: {"loss": float(torch.rand(()))})
    with pytest.raises(AssertionError, match=r"^not so: own_scores: twice the same scores"):
        check_task("nodes", spoil=lambda task: None, data="karate")


def test_what_is_not_resumed_is_found(monkeypatch) -> None:
    loss = NodesTask.loss

    def of_the_process(self, model, batch, carry):
        self.calls = getattr(self, "calls", 0) + 1
        value, scores, carry = loss(self, model, batch, carry)
        return value * self.calls, scores, carry

    monkeypatch.setattr(NodesTask, "loss", of_the_process)
    with pytest.raises(AssertionError, match=r"^not so: a resumed run ends as one without a stop"):
        check_task("nodes", spoil=lambda task: None, data="karate")


def test_a_look_at_the_test_set_is_found(monkeypatch) -> None:
    batch = task_class("nodes").batch

    def looks(self, step):
        drawn = batch(self, step)
        return drawn._replace(seeds=torch.cat([drawn.seeds, self.splits.test]))

    monkeypatch.setattr(NodesTask, "batch", looks)
    with pytest.raises(AssertionError, match=r"^not so: training reads nothing of the part to"):
        check_task("nodes", spoil=lambda task: no_labels(task, monkeypatch), data="karate", lr=0.1)


def test_training_on_samples_keeps_the_promises(monkeypatch) -> None:
    options = {
        "data": "karate",
        "hidden_size": 8,
        "split": "most",
        "sample": "3,2",
        "batch_size": 8,
    }
    check_task("nodes", spoil=lambda task: no_labels(task, monkeypatch), **options)
