"""The loop, on a task of ten weights that knows nothing of texts: it goes on bit for bit."""

import contextlib
import math
import os
import re
import signal
import threading
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from plait.errors import InputError
from plait.training.checkpoint import load_tensors
from plait.training.config import TrainingConfig
from plait.training.loop import Interrupted, train
from plait.training.progress import Progress
from plait.training.random import seed_all
from plait.training.run import Run
from plait.training.schedule import learning_rate


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


class Toy:
    """Guess the sum of three numbers; the carry is a running mean of the guesses."""

    name, unit, monitor, lower_is_better, units_per_step = "toy", "points", "error", True, 4
    without_graph: ClassVar = {}
    prepares_ahead = False

    def __init__(self, config: TrainingConfig, dropout: float = 0.0, valid=None, at=None) -> None:
        self.config, self.scripted, self.at = config, valid, at or {}
        self.seen, self.validated, self.tested = [], [], []
        generator = torch.Generator().manual_seed(config.seed)
        self.model = nn.Sequential(nn.Linear(3, 2), nn.Dropout(dropout), nn.Linear(2, 1)).double()
        with torch.no_grad():
            for p in self.model.parameters():
                p.copy_(torch.randn(p.shape, generator=generator))

    def weights(self) -> dict[str, Tensor]:
        return {k: v.clone() for k, v in self.model.state_dict().items()}

    def start(self):
        return (torch.zeros((), dtype=torch.float64),)

    def batch(self, step: int):
        generator = torch.Generator().manual_seed(1000 + step)
        return step, torch.randn(4, 3, generator=generator, dtype=torch.float64)

    def loss(self, model, batch, carry):
        step, x = batch
        self.seen.append((step, self.model.training, self.weights()))
        if step in self.at:
            self.at.pop(step)()
        guess = model(x)[:, 0] + carry[0]
        error = ((guess - x.sum(-1)) ** 2).mean()
        return error, {"error": error.detach()}, (0.5 * carry[0] + 0.1 * guess.detach().mean(),)

    def validate(self):
        self.validated.append((self.seen[-1][0], self.model.training, self.weights()))
        x = torch.eye(3, dtype=torch.float64)
        error = ((self.model(x)[:, 0] - 1) ** 2).mean().item()
        return {"error": self.scripted[self.seen[-1][0] - 1] if self.scripted else error}

    def test(self):
        self.tested.append((self.model.training, self.weights()))
        return {"error": 0.0}

    def sample(self, step: int) -> str:
        return f"{step}: {self.model(torch.ones(1, 3, dtype=torch.float64)).item()}"

    def interpret(self, scores) -> str:
        return ""

    def draw(self, records, path) -> None:
        Path(path).write_text(str(len(records)))


def go(path: Path, config: TrainingConfig, *, resume: bool = False, progress=None, **toy) -> Toy:
    task = Toy(config, **toy)
    run = Run.open(path) if resume else Run.create(path, "toy", config, {})
    train(task, run, progress or Progress(), resume=resume)
    return task


def left(path: Path) -> tuple[dict[str, Tensor], list[dict], dict[str, Tensor]]:
    """What a run leaves, without the times: best weights, log, last checkpoint."""
    records = [{k: v for k, v in r.items() if k != "seconds"} for r in Run.open(path).records()]
    return load_tensors(path / "model.safetensors")[0], records, Run.open(path).load_checkpoint()[0]


def same(path: Path, other: Path) -> None:
    ours, theirs = left(path), left(other)
    assert ours[1] == theirs[1]
    for a, b in ((ours[0], theirs[0]), (ours[2], theirs[2])):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a)
    for name in ("samples.txt", "curves.png"):
        assert (path / name).read_text() == (other / name).read_text()
    assert Run.open(path).kept_steps() == Run.open(other).kept_steps()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {1: 2.0, 50: 2.0, 100: 2.0}),
        ({"warmup": 4}, {1: 0.5, 2: 1.0, 3: 1.5, 4: 2.0, 5: 2.0, 100: 2.0}),
        ({"schedule": "cosine"}, {25: 1 + math.sqrt(0.5), 50: 1.0, 75: 1 - math.sqrt(0.5), 100: 0}),
        ({"schedule": "cosine", "warmup": 20}, {10: 1.0, 20: 2.0, 40: 1 + math.sqrt(0.5)}),
        ({"schedule": "cosine", "warmup": 20}, {60: 1.0, 80: 1 - math.sqrt(0.5), 100: 0}),
        ({"schedule": "linear", "warmup": 20}, {10: 1.0, 20: 2.0, 60: 1.0, 100: 0}),
        ({"schedule": "cosine", "warmup": 200}, {50: 0.5, 100: 1.0}),
    ],
)
def test_the_learning_rate_at_stated_steps(options, expected):
    config = TrainingConfig(steps=100, lr=2.0, **options)
    for step, rate in expected.items():
        assert learning_rate(config, step) == pytest.approx(rate, rel=1e-12, abs=1e-12)


def by_hand(config: TrainingConfig) -> tuple[list[dict], list[dict], list[float]]:
    """AdamW (Loshchilov & Hutter 2019, algorithm 2), clipping and averaging, written out."""
    toy = Toy(config)
    weights = toy.weights()
    average = {k: w.clone() for k, w in weights.items()}
    m = {k: torch.zeros_like(w) for k, w in weights.items()}
    v = {k: torch.zeros_like(w) for k, w in weights.items()}
    raw, averaged, norms, carry = [], [], [], toy.start()
    for t in range(1, config.steps + 1):
        toy.model.load_state_dict(weights)
        toy.model.zero_grad()
        loss, _, carry = toy.loss(toy.model, toy.batch(t), carry)
        loss.backward()
        gradients = {k: p.grad for k, p in toy.model.named_parameters()}
        norm = math.sqrt(sum(float((g**2).sum()) for g in gradients.values()))
        norms.append(norm)
        scale = min(1.0, config.max_norm / (norm + 1e-6)) if config.max_norm else 1.0
        rate = learning_rate(config, t)
        factor = min(config.average, (1 + t) / (10 + t))
        for k, g in gradients.items():
            g = g * scale
            decay = config.weight_decay if g.ndim == 2 else 0.0
            m[k] = 0.9 * m[k] + 0.1 * g
            v[k] = 0.999 * v[k] + 0.001 * g**2
            step = m[k] / (1 - 0.9**t) / ((v[k] / (1 - 0.999**t)).sqrt() + 1e-8)
            weights[k] = weights[k] * (1 - rate * decay) - rate * step
            average[k] = factor * average[k] + (1 - factor) * weights[k]
        raw.append(dict(weights))
        averaged.append(dict(average))
    return raw, averaged, norms


def near(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for k, e in expected.items():
        torch.testing.assert_close(actual[k], e, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("max_norm", [0.0, 4.0])
@pytest.mark.parametrize("average", [0.0, 0.3])
def test_every_weight_is_where_the_equations_put_it(tmp_path, average, max_norm):
    config = TrainingConfig(
        steps=8, lr=0.1, warmup=3, schedule="cosine", weight_decay=0.2, max_norm=max_norm,
        average=average, validate_every=1,
    )  # fmt: skip
    toy = go(tmp_path / "run", config)
    raw, averaged, norms = by_hand(config)
    if max_norm:
        assert min(norms) < max_norm < max(norms)  # some are scaled, some are not
    logged = [r["gradient_norm"] for r in Run.open(tmp_path / "run").records("train")]
    assert logged == pytest.approx(norms, rel=1e-12)
    for t, (_, training, weights) in enumerate(toy.seen[1:]):
        assert training
        near(weights, raw[t])  # training goes on with the raw weights
    for t, (_, training, weights) in enumerate(toy.validated):
        assert not training
        near(weights, averaged[t] if average else raw[t])
    if average:  # the two are not the same thing
        assert not torch.allclose(averaged[-1]["0.weight"], raw[-1]["0.weight"], rtol=1e-3)


@pytest.mark.parametrize(
    ("lower", "scores", "best"),
    [(True, [3.0, 1.0, 2.0, 1.0], 2), (False, [3.0, 1.0, 4.0, 4.0], 3), (True, [4, 3, 2, 1], 4)],
)
def test_the_best_on_validation_is_kept_and_tested_once(tmp_path, monkeypatch, lower, scores, best):
    monkeypatch.setattr(Toy, "lower_is_better", lower)
    toy = go(tmp_path / "run", TrainingConfig(steps=4, lr=0.1, validate_every=1), valid=scores)
    weights, facts = load_tensors(tmp_path / "run" / "model.safetensors")
    assert facts == {"step": best}
    near(weights, toy.validated[best - 1][2])
    ((training, tested),) = toy.tested
    assert not training
    near(tested, weights)
    (record,) = Run.open(tmp_path / "run").records("test")
    assert record == {"step": 4, "kind": "test", "best_step": best, "error": 0.0}


@pytest.mark.parametrize(
    ("steps", "every", "expected"),
    [(20, 7, [7, 14, 20]), (20, 0, [2 * k for k in range(1, 11)]), (3, 0, [1, 2, 3]), (1, 5, [1])],
)
def test_when_it_validates_and_when_it_shows_what_it_can(tmp_path, steps, every, expected):
    config = TrainingConfig(steps=steps, validate_every=every, save_every=1000)
    toy = go(tmp_path / "run", config)
    run = Run.open(tmp_path / "run")
    assert [step for step, _, _ in toy.validated] == expected
    assert [r["step"] for r in run.records("valid")] == expected
    assert [r["step"] for r in run.records("train")] == list(range(1, steps + 1))
    thirds = sorted({max(1, steps * k // 3) for k in (1, 2, 3)})
    assert [r["step"] for r in run.records("sample")] == thirds == run.kept_steps()
    kept = sorted(int(p.stem[5:]) for p in (run.path / "checkpoint").iterdir())
    assert kept == [0, steps]  # the first and the last, and none between


def interrupt() -> None:
    raise KeyboardInterrupt


def crash() -> None:
    raise RuntimeError("the machine is on fire")


def control_c() -> None:
    signal.raise_signal(signal.SIGINT)


def terminate() -> None:
    assert threading.current_thread() is threading.main_thread()
    signal.raise_signal(signal.SIGTERM)


STOPS = {
    "a crash": (crash, RuntimeError),
    "an interrupt": (interrupt, KeyboardInterrupt),
    "Ctrl-C": (control_c, Interrupted),
    "Ctrl-C twice": (lambda: (control_c(), control_c()), KeyboardInterrupt),
    "SIGTERM": (terminate, Interrupted),
}


@pytest.mark.parametrize("save_every", [0.0, 1000.0])
@pytest.mark.parametrize("stop", STOPS)
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, stop, save_every):
    config = TrainingConfig(steps=9, lr=0.05, average=0.9, save_every=save_every, seed=3)
    options = {"dropout": 0.5, "valid": [9.0, 8.0, 1.0, 4.0, 3.0, 2.0, 2.0, 5.0, 6.0]}
    go(tmp_path / "whole", config, **options)
    action, error = STOPS[stop]
    path = tmp_path / "stopped"
    for step in (1, 2, 4, 5):
        with pytest.raises(error) as caught:
            go(path, config, at={step: action}, resume=path.exists(), **options)
        assert caught.type is error
    with contextlib.suppress(error):  # a signal in the last step changes nothing any more
        go(path, config, at={9: action}, resume=True, **options)
    go(path, config, resume=True, **options)
    same(path, tmp_path / "whole")


def test_dropout_and_the_seed_matter_to_the_last_bit(tmp_path):
    """Else the test above could not fail."""
    for name, seed, dropout in (("a", 0, 0.5), ("b", 1, 0.5), ("c", 0, 0.0), ("d", 0, 0.5)):
        go(tmp_path / name, TrainingConfig(steps=5, seed=seed), dropout=dropout)
    same(tmp_path / "a", tmp_path / "d")
    for other in "bc":
        assert left(tmp_path / "a")[1] != left(tmp_path / other)[1]


@pytest.mark.parametrize("action", [control_c, terminate])
def test_an_interrupted_run_says_where_it_stands(tmp_path, action):
    config = TrainingConfig(steps=9, save_every=1000)
    path = tmp_path / "run"
    with pytest.raises(
        Interrupted,
        match=f"at step 5, saved in {re.escape(f'{path}; to go on: plait resume {path}')}$",
    ):
        go(path, config, at={5: action})
    assert Run.open(path).load_checkpoint()[1]["step"] == 5
    assert [r["step"] for r in Run.open(path).records("train")] == [1, 2, 3, 4, 5]


def test_a_finished_run_is_left_as_it_is(tmp_path):
    go(tmp_path / "run", TrainingConfig(steps=3))
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    notices = []
    progress = Progress()
    progress.notice = notices.append
    toy = go(tmp_path / "run", TrainingConfig(steps=3), resume=True, progress=progress)
    assert (toy.seen, toy.tested) == ([], [])
    assert notices == [f"{tmp_path / 'run'} is finished: all 3 steps are done"]
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == before


def test_after_a_damaged_checkpoint_the_one_before_leads_to_the_same_end(tmp_path):
    config = TrainingConfig(steps=6, save_every=0)
    go(tmp_path / "whole", config, dropout=0.5)
    with pytest.raises(RuntimeError, match="on fire"):
        go(tmp_path / "run", config, dropout=0.5, at={5: crash})
    newest = max((tmp_path / "run" / "checkpoint").iterdir())
    newest.write_bytes(newest.read_bytes()[:-3])
    progress, notices = Progress(), []
    progress.notice = notices.append
    go(tmp_path / "run", config, dropout=0.5, resume=True, progress=progress)
    assert notices[0].startswith(f"{newest}: damaged")
    assert notices[0].endswith("going on from the checkpoint of step 3")
    same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("kind", ["loss", "gradient_norm", "error"])
def test_a_number_that_is_none_stops_with_the_step(tmp_path, monkeypatch, kind):
    config = TrainingConfig(steps=9, save_every=0, validate_every=5)
    path = tmp_path / "run"
    loss = Toy.loss

    def broken(self: Toy, model, batch, carry):
        step, _ = batch
        value, scores, carry = loss(self, model, batch, carry)
        if step == 5 and kind == "loss":
            value = value * math.nan
        if step == 5 and kind == "gradient_norm":  # a finite loss with a slope that is not
            value = value + (0 * next(self.model.parameters()).sum()).abs().sqrt()
        return value, scores, carry

    monkeypatch.setattr(Toy, "loss", broken)
    with pytest.raises(InputError) as caught:
        go(path, config, valid=[math.inf if kind == "error" else 1.0] * 9)
    value = "inf" if kind == "error" else "nan"
    assert str(caught.value) == (
        f"training diverged: {kind} is {value} at step 5; what was saved before is kept in "
        f"{path}; try a smaller --lr or --max-norm"
    )
    tensors, facts, _ = Run.open(path).load_checkpoint()
    assert facts["step"] == 4
    assert all(t.isfinite().all() for t in tensors.values())


def test_a_learning_rate_without_measure_breaks_down(tmp_path):
    config = TrainingConfig(steps=200, lr=1e200, max_norm=0, save_every=1000)
    with pytest.raises(InputError, match=r"^training diverged: \w+ is (nan|inf) at step \d+;"):
        go(tmp_path / "run", config)


def test_the_program_around_it_is_left_as_it_was(tmp_path):
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    config = TrainingConfig(steps=2)
    toy, run = Toy(config, dropout=0.5), Run.create(tmp_path / "run", "toy", config, {})
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(toy, run, Progress())
    assert torch.equal(torch.rand(3), expected)
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
    thread = threading.Thread(target=go, args=(tmp_path / "other", config))
    thread.start()
    thread.join()  # signals are the main thread's: here it does without
    assert Run.open(tmp_path / "other").records("test")


def test_a_seed_of_ones_own_for_every_step():
    draws = {}
    for seed in (0, 1, 2**63 - 1):
        for step in (0, 1, 2, 10**9):
            seed_all(seed, step)
            draws[seed, step] = torch.rand(2).tolist()
    assert len({tuple(d) for d in draws.values()}) == len(draws)
    seed_all(1, 2)
    assert torch.rand(2).tolist() == draws[1, 2]
