"""`minutes`: the steps follow from a measurement; a run of them is a run of as many steps."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

import plait
from plait.api import make_task
from plait.errors import InputError
from plait.tasks.text.config import TextConfig
from plait.training.budget import Pace, measure, planned
from plait.training.config import TrainingConfig

SMALL = {"problem": "recall", "length": 3, "hidden_size": 8, "batch_size": 8, "threads": 1}


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("all work and no play makes jack a dull boy. " * 60)
    return str(path)


@pytest.mark.parametrize(
    ("pace", "options", "expected"),
    [
        (Pace(0.1, 0.6, 0.0), {}, (540, 54)),  # ten validations
        (Pace(0.1, 0.6, 2.0), {}, (480, 48)),  # and three milestones
        (Pace(0.1, 3.0, 0.0), {}, (540, 270)),  # two take a tenth of the time
        (Pace(0.1, 30.0, 0.0), {}, (300, 300)),  # one there is always
        (Pace(0.1, 5.0, 0.0), {"validate_every": 50}, (300, 50)),
        (Pace(0.1, 0.0, 0.0), {}, (600, 60)),
        (Pace(0.1, 0.6, 0.0), {"warmup": 1000}, (540, 54)),
        (Pace(100.0, 100.0, 0.0), {}, (1, 1)),
    ],
)
def test_a_minute_is_filled_with_steps_and_validations(pace, options, expected):
    config = pace.plan(60, TrainingConfig(**options), fixed=options)
    assert (config.steps, config.validate_every) == expected
    assert config.warmup == options.get("warmup", 0)


def test_few_steps_have_little_warm_up():
    config = Pace(0.1, 0.6, 0.0).plan(6, TrainingConfig(warmup=100))
    assert (config.steps, config.warmup) == (54, 10)


def test_a_measurement_leaves_the_task_as_it_was():
    task = make_task("memory", plait.tasks.config_class("memory")(**SMALL, optimizer="muon"))
    before = {k: v.clone() for k, v in task.model.state_dict().items()}
    config, random = task.config, torch.random.get_rng_state()
    pace = measure(task, 0.02)
    assert pace.step > 0
    assert pace.validation > 0
    assert task.config is config
    assert torch.equal(torch.random.get_rng_state(), random)
    assert all(torch.equal(v, before[k]) for k, v in task.model.state_dict().items())


def test_a_run_of_minutes_is_the_run_of_its_steps(tmp_path):
    run = plait.train("memory", **SMALL, minutes=0.002, schedule="cosine", out=tmp_path / "a")
    chosen = {name: run.config[name] for name in ("steps", "validate_every")}
    assert run.records("test")[0]["step"] == chosen["steps"]
    other = plait.train("memory", **SMALL, **chosen, schedule="cosine", out=tmp_path / "b")
    ours, theirs = (
        [{k: v for k, v in record.items() if k != "seconds"} for record in r.records()]
        for r in (run, other)
    )
    assert ours == theirs


def test_a_resumed_run_keeps_its_steps(tmp_path):
    run = plait.train("memory", **SMALL, minutes=0.002, out=tmp_path / "run")
    steps = run.config["steps"]
    for left in ("metrics.jsonl", "model.safetensors"):
        (tmp_path / "run" / left).unlink()
    for checkpoint in (tmp_path / "run" / "checkpoint").iterdir():
        checkpoint.unlink()
    again = plait.resume(tmp_path / "run")  # from the beginning
    assert again.config["steps"] == again.records("test")[0]["step"] == steps


def test_a_comparison_gives_each_run_the_time(tmp_path):
    grid = plait.compare(
        "memory", {"optimizer": ["adamw", "muon"]}, seeds=1, out=tmp_path / "grid", minutes=0.002,
        **SMALL,
    )  # fmt: skip
    assert not grid.failures
    assert len(grid.results) == 2


def test_minutes_and_steps_exclude_each_other():
    message = "^--minutes chooses the steps; leave out --minutes or --steps$"
    with pytest.raises(InputError, match=message):
        TrainingConfig.of({"minutes": 3, "steps": 10})
    assert TrainingConfig.of({"minutes": 0, "steps": 10}).steps == 10
    assert TextConfig.of({"minutes": 3}, "good").minutes == 3  # in place of the recipe's steps


def test_longer_texts_have_more_steps(book):
    task = make_task("text", TextConfig(data=book, hidden_size=4, batch_size=2))
    assert task.default_steps() == 3000
    task.training = torch.zeros(2_500_000, dtype=torch.long)
    assert task.default_steps() == 7500
    task.config = replace(task.config, steps=900)
    assert planned(task, set(), make_task).config.steps == 2250
    task.config = replace(task.config, steps=900)
    assert planned(task, {"steps"}, make_task).config.steps == 900


def text_task(book: str, **options):
    return make_task("text", TextConfig(data=book, threads=1, **options))


def test_the_width_follows_from_time_and_speed(book):
    task = text_task(book, hidden_size=16, layers=1)
    wide = [task.sizes_for(1.0, seconds, ())["hidden_size"] for seconds in (1e9, 1e-3, 1e-9)]
    assert wide == sorted(set(wide))
    assert task.sizes_for(2.0, 1e-3, ()) == task.sizes_for(1.0, 5e-4, ())
    larger = text_task(book, hidden_size=64, layers=2)
    assert larger.sizes_for(1.0, 1e-3, ())["hidden_size"] > wide[1]  # a step of it is more work


@pytest.fixture
def a_step_takes(monkeypatch):
    """Set the measured seconds of a step; measuring takes 1.5 seconds."""

    def set_to(seconds):
        clock = SimpleNamespace(now=0.0)

        def measured(*_):
            clock.now += 1.5
            return Pace(seconds, 0.0, 0.0)

        monkeypatch.setattr("plait.training.budget.measure", measured)
        monkeypatch.setattr(
            "plait.training.budget.time", SimpleNamespace(perf_counter=lambda: clock.now)
        )

    return set_to


def test_measuring_is_part_of_the_time(a_step_takes):
    a_step_takes(0.01)
    task = make_task("memory", plait.tasks.config_class("memory")(**SMALL, minutes=0.1))
    found = planned(task, set(), make_task)
    assert found.config.steps == 450
    assert found.pace.measuring == pytest.approx(1.5)


def test_what_is_given_is_kept(book, a_step_takes):
    a_step_takes(0.01)
    config = TextConfig(data=book, threads=1, minutes=0.1, lr=0.5, hidden_size=8, batch_size=2)
    given = {"lr", "hidden_size", "batch_size"}
    chosen = planned(make_task("text", config), given, lambda c: make_task("text", c)).config
    assert (chosen.lr, chosen.hidden_size, chosen.batch_size) == (0.5, 8, 2)
    assert (chosen.schedule, chosen.length, chosen.steps) == ("linear", 60, 300)


def test_an_exact_recipe_keeps_its_options(book, a_step_takes, tmp_path):
    a_step_takes(0.03)
    run = plait.train("text", data=book, recipe="report", minutes=0.027, out=tmp_path / "run")
    expected = TextConfig.of({"data": book}, "report")
    names = ("hidden_size", "lr", "schedule", "length", "batch_size", "warmup")
    assert [run.config[name] for name in names] == [getattr(expected, name) for name in names]
    assert run.config["steps"] == 4
