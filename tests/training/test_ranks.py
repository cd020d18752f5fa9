"""Several processes train as one does with the batch of all of them."""

import importlib.util
import os
import re
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed as dist

import plait
from plait.errors import InputError
from plait.tasks import config_class, task_class
from plait.tasks.digits.data import BATCHES
from plait.training.checkpoint import load_tensors
from plait.training.followed import create_run, open_run
from plait.training.loop import Loop, train
from plait.training.progress import Progress
from plait.training.random import seed_all
from plait.training.ranks import ALONE, Ranks, as_ranks, current_ranks
from plait.training.run import Run
from plait.training.signals import Interrupted

_file = Path(__file__).with_name("in_threads.py")
_spec: Any = importlib.util.spec_from_file_location("in_threads", _file)
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
    "nodes": {**SMALL, "data": "karate", "dropout": 0.0},
    "nodes, samples": {
        **SMALL, "data": "karate", "split": "most", "sample": "3,2,2", "layers": 3, "dropout": 0.0,
    },
    "links, samples": {**SMALL, "data": "karate", "sample": "3,2", "dropout": 0.0},
    "communities": {**SMALL, "data": "karate", "dropout": 0.0},
    "visits": {**SMALL, "patients": 30, "dropout": 0.0},
    "forecast": {**SMALL, "history": 4, "horizon": 3},
    "digits": {**SMALL, "frame": 16, "history": 4, "horizon": 3},
    "scenes": {**SMALL, "scenes": 30},
    "structure": {**SMALL, "nodes": 12},
}  # fmt: skip


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
            loss, _, self.now.carry = self.task.loss(self.model, batch, self.now.carry)
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
    for stream in BATCHES:
        monkeypatch.setitem(BATCHES, stream, 1)
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


def text_task(tmp_path: Path, ranks: Ranks):
    file = tmp_path / "book.txt"
    letters = np.random.default_rng(0).choice(list("abcdefgh \n"), 1000)
    file.write_text("".join(letters))
    options = {**CASES["text"], "data": str(file), "batch_size": 3, "threads": 1, "save_every": 0.0}
    config = config_class("text").of({**options, "steps": 6, "average": 0.9})
    with as_ranks(ranks):
        seed_all(config.seed, 0)
        return task_class("text")(config, CPU)


def trained(tmp_path: Path, name: str, monkeypatch, *, count: int = 2, stop_at: int = 0):
    """Train in threads; the last one is asked to stop at a step, then all resume."""
    path, outcomes = tmp_path / name, []
    for resume in (False, True) if stop_at else (False,):
        tasks = [text_task(tmp_path, Ranks(rank, count)) for rank in range(count)]
        stops = [threading.Event() for _ in range(count)]
        monkeypatch.setattr(
            "plait.training.loop.stop_signals",
            lambda stops=stops: nullcontext(stops[current_ranks().rank]),
        )
        for task in tasks:
            task.test = lambda: {"untested": 0.0}
            task.interpret = lambda scores: ""
            task.draw = lambda records, path: None

        def go(ranks, tasks=tasks, resume=resume, stops=stops):
            task = tasks[ranks.rank]
            task.ranks = ranks

            class Stop(Progress):
                def step(self, step, record) -> None:
                    if step == stop_at and ranks.rank == count - 1:
                        stops[ranks.rank].set()

            facts = {"processes": count}
            if resume:
                run = open_run(lambda: Run.open(path))
            else:
                run = create_run(path, "text", task.config, facts)
            train(task, run, Stop(), resume=resume)

        outcomes += side_by_side(count, go)
    return path, outcomes


def left(path: Path):
    run = Run.open(path)
    records = [{k: v for k, v in r.items() if k != "seconds"} for r in run.records()]
    return load_tensors(run.model_path)[0], run.load_checkpoint()[0], records


def test_a_stop_asked_of_one_process_stops_all_and_resumes_bit_for_bit(tmp_path, monkeypatch):
    whole, outcomes = trained(tmp_path, "whole", monkeypatch)
    assert outcomes == [None, None]
    stopped, outcomes = trained(tmp_path, "stopped", monkeypatch, stop_at=3)
    assert [type(o) for o in outcomes] == [Interrupted, Interrupted, type(None), type(None)]
    assert "at step 3" in str(outcomes[0])
    assert str(outcomes[0]).endswith("(again in 2 processes)")
    for ours, theirs in zip(left(whole)[:2], left(stopped)[:2], strict=True):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[k], theirs[k]) for k in ours)
    assert left(whole)[2] == left(stopped)[2]
    tensors = left(whole)[1]
    assert tensors["carry.0"].shape == tensors["carry-1.0"].shape == (1, 3, 6)
    assert not torch.equal(tensors["carry.0"], tensors["carry-1.0"])


def test_a_run_goes_on_in_as_many_processes(tmp_path, monkeypatch) -> None:
    path, _ = trained(tmp_path, "run", monkeypatch, stop_at=0)
    with pytest.raises(InputError) as error:
        plait.resume(path)
    assert str(error.value) == (
        f"{path} was trained by 2 processes and goes on with as many, not with 1: "
        f"torchrun --nproc-per-node 2 -m plait resume {path}"
    )
    errors = side_by_side(3, lambda ranks: plait.resume(path))
    assert {str(e) for e in errors} == {str(error.value).replace("with 1", "with 3")}


def test_gradients_are_averaged_over_terms() -> None:
    values = np.array([[1.0, 2.0], [5.0, -1.0]])
    weights = [3.0, 1.0]

    def go(ranks):
        seen, unseen = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
        some = torch.nn.Parameter(torch.zeros(1))
        seen.grad = torch.tensor(values[ranks.rank], dtype=torch.float32)
        if ranks.rank:
            some.grad = torch.tensor([8.0])
        loss = torch.tensor([float(ranks.rank)])
        [mean] = ranks.average_gradients([seen, unseen, some], loss, weights[ranks.rank])
        return seen.grad, unseen.grad, some.grad, mean

    for seen, unseen, some, mean in side_by_side(2, go):
        assert seen.tolist() == [2.0, 1.25]
        assert unseen is None
        assert (some.tolist(), float(mean)) == ([2.0], 0.25)


def test_running_statistics_are_those_of_the_first_process(tmp_path, monkeypatch) -> None:
    seen = []

    def go(ranks):
        task = tasks[ranks.rank]
        task.ranks = ranks
        loop = Recording(task)
        task.model.norm.running_mean.fill_(ranks.rank + 1.0)
        loop._share_buffers()
        seen.append(task.model.norm.running_mean.tolist())

    tasks = [text_task(tmp_path, Ranks(rank, 2)) for rank in range(2)]
    for task in tasks:
        task.model.norm = torch.nn.BatchNorm1d(2)
    assert side_by_side(2, go) == [None, None]
    assert seen == [[1.0, 1.0]] * 2


def test_what_the_first_process_finds_all_have() -> None:
    weights = torch.arange(3.0)

    def go(ranks):
        found = ranks.first_with_tensors(lambda: ({"w": weights + ranks.rank}, [ranks.rank, "é"]))
        inner = ranks.first(lambda: ranks.first(lambda: ranks.rank))  # the others are not asked
        return found[0]["w"].tolist(), found[1], inner, ranks.largest(ranks.rank, -ranks.rank)

    assert side_by_side(3, go) == [([0.0, 1.0, 2.0], [0, "é"], 0, [2, 0])] * 3


def test_over_gloo_the_same_is_exchanged() -> None:
    dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    try:
        ranks = Ranks(0, 1)
        ranks._by_itself = False  # so that all goes through torch.distributed
        p = torch.nn.Parameter(torch.zeros(2))
        p.grad = torch.tensor([1.0, 3.0])
        loss = ranks.average_gradients([p], torch.tensor([5.0]), 4.0)
        assert (p.grad.tolist(), loss.tolist()) == ([1.0, 3.0], [5.0])
        assert ranks.largest(True, 0.1) == [1.0, 0.1]
        tensors, value = ranks.first_with_tensors(lambda: ({"a": torch.eye(2)}, {"b": [1, None]}))
        assert (tensors["a"].tolist(), value) == ([[1.0, 0.0], [0.0, 1.0]], {"b": [1, None]})
        assert ranks._broadcast(b"\0end") == b"\0end"
        [[same]] = ranks.gather_tensors([torch.arange(3)])
        assert same.tolist() == [0, 1, 2]
        [(twice,)] = ranks.map(lambda x: (torch.tensor(2 * x),), [4])
        assert int(twice) == 8
        ranks.require_same({"--lr": 0.1}, "options")
        with ranks.together():
            pass
    finally:
        dist.destroy_process_group()


def test_a_process_that_ended_is_one_line(monkeypatch) -> None:
    def closed(*_: object) -> None:
        raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer")

    monkeypatch.setattr(dist, "all_reduce", closed)
    with pytest.raises(InputError, match=r"^another process of this training has ended; start all"):
        Ranks(0, 2).largest(1.0)


def test_processes_that_cannot_connect_are_one_line(monkeypatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match=r"^the 2 processes cannot connect \(.*MASTER_ADDR"):
        plait.train("memory", steps=1, out="run")
    assert not Path("run").exists()


def test_a_mistake_that_the_first_process_finds_is_raised_in_all() -> None:
    def fails():
        raise InputError("no such file")

    found = side_by_side(2, lambda ranks: ranks.first(fails))
    assert [(type(e), str(e)) for e in found] == [(InputError, "no such file")] * 2


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_work_is_shared_and_all_have_the_results_in_order(count) -> None:
    done = []

    def squared(x: int):
        done.append(x)
        return torch.full((x,), x * x), torch.tensor(x)

    found = side_by_side(3, lambda ranks: ranks.map(squared, range(count)))
    expected = [([x * x] * x, x) for x in range(count)]
    assert [[(a.tolist(), int(b)) for a, b in f] for f in found] == [expected] * 3
    assert sorted(done) == list(range(count))


def test_processes_that_disagree_are_named() -> None:
    def given(ranks):
        options = {"--lr": 0.1 + (ranks.rank == 2), "--seed": 3}
        ranks.require_same(options, "options")

    errors = side_by_side(3, given)
    expected = "process 2 of 3 has other options than process 0 (--lr); give all processes the same"
    assert [str(e) for e in errors] == [expected] * 3


def test_a_mistake_of_one_process_is_raised_in_all_with_its_number() -> None:
    def read(ranks):
        with ranks.together():
            if ranks.rank == 1:
                raise InputError("no text 'a.txt'")

    errors = side_by_side(2, read)
    for error in errors:
        assert re.fullmatch(
            r"process 1 of 2, on .+ \(process id \d+\): no text 'a\.txt'", str(error)
        )

    def all_fail(ranks):
        with ranks.together():
            raise InputError("no text 'a.txt'")

    assert [str(e) for e in side_by_side(2, all_fail)] == ["no text 'a.txt'"] * 2


def test_every_process_needs_an_example() -> None:
    assert [Ranks(r, 3).part(7) for r in range(3)] == [slice(0, 2), slice(2, 4), slice(4, 7)]
    with pytest.raises(InputError, match=r"^2 patients .+ for 3 processes; start at most 2$"):
        Ranks(0, 3).part(2, "patients")


def test_each_process_draws_its_own_dropout() -> None:
    drawn = []
    for rank in (0, 1, 2):
        seed_all(0, 5, rank)
        drawn.append(torch.rand(3).tolist())
    seed_all(0, 5)
    assert torch.rand(3).tolist() == drawn[0]
    assert len({tuple(numbers) for numbers in drawn}) == 3
