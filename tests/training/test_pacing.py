"""A training of so many minutes plans its steps again while it runs, and ends with its time."""

import threading
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

import plait
from plait.api import load_kept, make_task
from plait.tasks import config_class
from plait.training.config import TrainingConfig
from plait.training.loop import Loop
from plait.training.pacing import Clock, Pace, Parts
from plait.training.progress import Progress
from plait.training.run import Run
from plait.training.schedule import learning_rate, schedule_share
from plait.training.signals import Interrupted

SMALL = {
    "problem": "recall", "length": 3, "hidden_size": 4, "batch_size": 4, "threads": 1,
    "save_every": 1e9, "schedule": "cosine", "warmup": 5,
}  # fmt: skip


class Training:
    """A training whose clock shows what its steps and validations are said to take."""

    def __init__(self, monkeypatch, folder, seconds_per_step, *, planned=0.1, **options):
        self.now, self.seconds_per_step = 0.0, seconds_per_step
        for module in ("learning", "pacing"):
            monkeypatch.setattr(f"plait.training.{module}.time.monotonic", lambda: self.now)
        config = config_class("memory")(**SMALL, minutes=0.25, **options)
        self.task = make_task("memory", Pace(planned, 0.2, 0.1).plan(14, config))
        self.task.pace = Pace(planned, 0.2, 0.1, measuring=1.0)
        self.planned, self.rates = self.task.config.steps, []
        run = Run.create(folder, "memory", self.task.config, self.task.facts())
        self.loop = Loop(self.task, run, Progress())
        self.watch()

    def watch(self):
        batch, validate = self.task.batch, self.task.validate

        def timed_batch(step):
            self.now += self.seconds_per_step(step)
            self.rates.append(self.loop.optimizer.param_groups[0]["lr"])
            return batch(step)

        def timed_validate():
            self.now += 0.2
            return validate()

        self.loop.batches, self.task.validate = timed_batch, timed_validate
        self.loop.progress.start(0, 0.0, [])

    def learn(self):
        self.loop.learn(threading.Event())
        return self


@pytest.mark.parametrize(
    "seconds_per_step",
    [
        lambda _: 0.16,  # slower than planned
        lambda step: 0.05 if step < 70 else 0.2,  # others begin to use the machine
        lambda step: 0.1 + 0.09 * (-1) ** (step // 5),
    ],
)
def test_it_ends_with_its_time_at_the_bottom_of_its_schedule(
    monkeypatch, tmp_path, seconds_per_step
):
    training = Training(monkeypatch, tmp_path / "run", seconds_per_step).learn()
    assert training.now == pytest.approx(
        14, rel=0.05
    )  # a quarter of a minute without its measuring
    assert training.rates[-1] < 1e-9 < training.rates[-2]
    steps = training.loop.now.step
    assert steps == training.loop.config.steps == Run.open(tmp_path / "run").config["steps"]
    assert len(training.loop.run_folder.kept_steps()) == 3
    after = training.rates[5:]
    assert after == sorted(after, reverse=True)
    assert max(a - b for a, b in pairwise(after)) < 0.1 * max(after)


def test_as_planned_the_steps_stay_as_they_are(monkeypatch, tmp_path):
    training = Training(monkeypatch, tmp_path / "run", lambda _: 0.1).learn()
    assert training.loop.now.step == pytest.approx(training.planned, abs=4)


def test_a_stopped_run_goes_on_bit_for_bit(monkeypatch, tmp_path):
    whole = Training(monkeypatch, tmp_path / "whole", lambda _: 0.15).learn()
    stopped = Training(monkeypatch, tmp_path / "stopped", lambda _: 0.15)
    stop, batch = threading.Event(), stopped.loop.batches
    stopped.loop.batches = lambda step: (stop.set() if step == 52 else None, batch(step))[1]
    with pytest.raises(Interrupted, match="stopped at step 52"):
        stopped.loop.learn(stop)
    config = config_class("memory").from_dict(Run.open(tmp_path / "stopped").config)
    other = stopped.task = make_task("memory", config)
    stopped.loop = Loop(other, Run.open(tmp_path / "stopped"), Progress())
    torch.nn.init.zeros_(next(other.model.parameters()))
    stopped.loop._restore()
    assert stopped.loop.now.since[0] > 5  # planned again after the warm-up
    assert stopped.loop.config.steps == stopped.loop.now.steps != stopped.planned
    stopped.watch()
    stopped.learn()

    def records(training: Training) -> list:
        return [r for r in training.loop.run_folder.records() if r["kind"] in ("train", "plan")]

    ours, theirs = records(stopped), records(whole)
    until = next(k for k, r in enumerate(theirs) if r["kind"] == "plan" and r["step"] >= 52)
    assert until > 50
    assert ours[:until] == theirs[:until]


def test_a_clock_counts_validations_and_milestones_apart_from_steps(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("plait.training.pacing.time.monotonic", lambda: now[0])
    clock = Clock(Pace(1.0, 1.0, 1.0), seconds=100)

    def takes(seconds: float) -> None:
        now[0] += seconds

    now[0] += 10 * 0.5
    clock.time("validation", lambda: takes(3.0))
    clock.time("milestone", lambda: takes(2.0))
    # 90 s: two milestones of 2 s, then steps of 0.5 s and every 50 of them a validation of 3 s
    left = clock.steps_left(10, now[0], validate_every=50, milestones=2)
    count = (10 + int(left)) // 50 + 1
    assert left * 0.5 + count * 3.0 == pytest.approx(86, abs=3.1)
    assert clock.steps_left(20, 100.0, 50, 0) == 0


def test_the_rate_has_no_jump_where_the_steps_are_changed():
    config = TrainingConfig(steps=100, lr=1.0, schedule="cosine", warmup=10)
    share = schedule_share(config, 40)
    longer = replace(config, steps=400)
    assert learning_rate(longer, 40, (40, share)) == learning_rate(config, 40)
    assert learning_rate(longer, 400, (40, share)) == pytest.approx(0, abs=1e-15)
    assert learning_rate(longer, 8, (4, 0.9)) == 0.8  # in the warm-up
    assert learning_rate(longer, 10, (4, 0.9)) == 1.0
    assert schedule_share(replace(config, steps=40), 40, (40, share)) == 1.0
    linear = replace(config, schedule="linear")
    assert [learning_rate(linear, step) for step in (5, 10, 55, 100)] == [0.5, 1.0, 0.5, 0.0]
    stable = replace(linear, schedule="wsd")
    rates = [learning_rate(stable, step) for step in (5, 10, 70, 85, 100)]
    assert rates == pytest.approx([0.5, 1, 1, 0.5, 0])


def test_ends_of_parts_are_each_reached_once_also_where_steps_change():
    sixths = Parts(6)
    reached = [step for step in range(1, 31) if sixths.reached(step, 60 if step < 20 else 30)]
    assert reached == [10, 20, 25, 30]  # at 20 the second, third and fourth have ended
    few = Parts(6)
    assert [step for step in (1, 2, 3) if few.reached(step, 3)] == [1, 2, 3]


def test_the_listing_finds_thirds_where_steps_have_changed(tmp_path):
    run = plait.train(
        "memory", **{k: v for k, v in SMALL.items() if k != "save_every"}, steps=30,
        out=tmp_path / "run",
    )  # fmt: skip
    kept = sorted((tmp_path / "run" / "kept").iterdir())
    kept[1].rename(kept[1].with_name("step-00000021.safetensors"))
    assert list(load_kept(run)) == [10, 21, 30]
