"""The task and its commands, the baselines, and that no test digit is trained on."""

import gzip
import os
import struct

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import plait
from plait.cli import run as run_command
from plait.tasks.digits.baselines import Baselines, score_baselines
from plait.tasks.digits.config import DigitsConfig
from plait.tasks.digits.data import BATCHES, FITTING, TEST, TRAINING, VALIDATION, sequences
from plait.tasks.digits.scores import score
from plait.tasks.digits.task import DigitsTask

CPU = torch.device("cpu")
TINY = {
    "frame": 16, "hidden_size": 8, "history": 4, "horizon": 3, "batch_size": 4, "threads": 1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(autouse=True)
def few_sequences(monkeypatch):
    for stream in BATCHES:
        monkeypatch.setitem(BATCHES, stream, 1)


def numbered_digits(path, count=200) -> str:
    """An IDX file whose every image has a grey level of its own."""
    greys = np.arange(1, count + 1, dtype=np.uint8)
    images = np.broadcast_to(greys[:, None, None], (count, 7, 7))
    path.write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, count, 7, 7) + images.tobytes())
    return str(path)


def test_no_digit_of_validation_or_test_is_trained_on(tmp_path):
    config = DigitsConfig.of(TINY | {"digits": numbered_digits(tmp_path / "idx"), "batch_size": 50})
    task = DigitsTask(config, CPU)

    def greys(drawn):
        return set((torch.cat(drawn) * 255).round().int().unique().tolist()) - {0}

    def met(images, stream):
        return greys([sequences(images, config, n, stream, 50) for n in range(1, 21)])

    train = met(task.training, TRAINING)
    others = [met(task.validation, VALIDATION), met(task.testing, TEST)]
    assert len(train) == 160
    assert [len(part) for part in others] == [20, 20]
    assert not any(train & part for part in others)
    assert not others[0] & others[1]
    assert greys(task.to_validate) == others[0]
    assert greys(list(task.to_test())) == others[1]


def test_batches_are_found_again_by_seed_and_number():
    config, images = DigitsConfig(**TINY), np.random.default_rng(0).random((9, 7, 7))
    one, two, again = (sequences(images, config, n, TRAINING, 5) for n in (1, 2, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, two)
    other = DigitsConfig(**TINY, seed=1)
    assert not torch.equal(sequences(images, other, 1, TRAINING, 5), one)
    for stream in (VALIDATION, TEST):  # the same for every seed, and nobody's training
        drawn = sequences(images, config, 1, stream, 5)
        assert torch.equal(drawn, sequences(images, other, 1, stream, 5))
        assert not torch.equal(drawn, one)


def nats(p, y):
    """The binary cross-entropy a sequence, as it is written."""
    p, y = p.double().numpy(), y.double().numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(y > 0, y * np.log(p), 0) + np.where(y < 1, (1 - y) * np.log1p(-p), 0)
    return -each.sum() / y.shape[1]


def test_scores_are_sums_over_pixels():
    task = DigitsTask(DigitsConfig(**TINY), CPU)
    config, model = task.config, task.model.double()
    tested = [sequences(task.testing, config, n, TEST, 6).double() for n in (1, 2)]
    given, truth = torch.cat(tested, 1).split([4, 3])
    with torch.no_grad():
        expected = nats(model(given).sigmoid(), truth)
    scores = score(model, tested)
    assert scores["cross_entropy"] == pytest.approx(expected, rel=1e-12)
    assert scores["loss"] == pytest.approx(expected / (3 * 16 * 16), rel=1e-12)
    shares = torch.tensor([0.5, 0.2, 0.0], dtype=torch.float64)
    plain = score_baselines(Baselines(torch.full_like(truth[0, 0], 0.25), shares), tested, config)
    assert plain["mean_frame_cross_entropy"] == pytest.approx(
        nats(0 * truth + 0.25, truth), rel=1e-12
    )
    shares = shares.view(3, 1, 1, 1)
    expected = nats(shares * given[-1] + (1 - shares) * 0.25, truth)
    assert plain["last_frame_cross_entropy"] == pytest.approx(expected, rel=1e-12)
    assert plain["least_cross_entropy"] == pytest.approx(nats(truth, truth), rel=1e-12)
    assert plain["least_cross_entropy"] < min(expected, scores["cross_entropy"])


def test_baselines_are_the_best_of_their_kind():
    """On what they are fitted on: the mean has the least of all constants, each share too."""
    task = DigitsTask(DigitsConfig(**TINY), CPU)
    frames = sequences(task.training, task.config, 1, FITTING, 40)
    given, truth = frames.split([4, 3])
    fitted = Baselines.fit([frames[:, :20], frames[:, 20:]], task.config)
    torch.testing.assert_close(fitted.mean, frames.mean((0, 1)), rtol=1e-5, atol=1e-6)
    assert fitted.shares[0] > fitted.shares[-1] > 0  # what comes next is nearest
    own = F.binary_cross_entropy(fitted.predict(given)["last_frame"], truth).item()
    for k in range(3):
        for share in fitted.shares[k] + torch.tensor([-0.05, 0.05]):
            shares = fitted.shares.clone()
            shares[k] = share
            other = fitted._replace(shares=shares).predict(given)["last_frame"]
            assert own <= F.binary_cross_entropy(other, truth).item() + 1e-7


def test_a_run_its_scores_and_its_pictures(tmp_path, capsys):
    out = tmp_path / "run"
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    assert run_command(["train", "digits", *flags, "--steps", "2", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "16 patches of 4 × 4" in printed
    assert "the model does not beat this baseline" in printed  # two steps teach nothing
    (test,) = plait.resume(out).records("test")
    assert (out / "curves.png").stat().st_size > 10_000
    assert (out / "frames.png").stat().st_size > 10_000
    again = plait.score(out)
    assert all(test[name] == pytest.approx(value, rel=1e-6) for name, value in again.items())
    other = plait.score(out, numbered_digits(tmp_path / "idx"))
    assert other["cross_entropy"] != again["cross_entropy"]
    assert run_command(["inspect", str(out)]) == 0
    assert run_command(["predict", str(out)]) == 2
    capsys.readouterr()


@pytest.mark.parametrize("network", ["gcrn", "lstm"])
def test_a_resumed_run_ends_where_an_unbroken_one_does(tmp_path, monkeypatch, network):
    monkeypatch.setattr(DigitsTask, "draw", lambda *_: None)
    options = TINY | {"network": network, "steps": 4, "validate_every": 2}
    run = plait.train("digits", out=tmp_path / "run", **options)
    logs = [{k: v for k, v in r.items() if k != "seconds"} for r in run.records()]
    (run.path / "checkpoint" / "step-00000004.safetensors").unlink()
    run.truncate_log(3)
    plait.resume(run)
    assert [{k: v for k, v in r.items() if k != "seconds"} for r in run.records()] == logs


def test_a_run_begins_with_another_of_smaller_frames(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(DigitsTask, "draw", lambda *_: None)
    runs = {}
    for network in ("gcrn", "lstm"):
        path = tmp_path / network
        runs[network] = plait.train("digits", out=path, **TINY, network=network, steps=1)
    larger = {**TINY, "frame": 24, "steps": 1}
    begun = plait.train("digits", out=tmp_path / "more", from_run=runs["gcrn"], **larger)
    assert begun.facts["began_with"] == str(runs["gcrn"].path)
    command = ["train", "digits", "--from", str(runs["lstm"].path), "--frame", "24"]
    assert run_command([*command, "--out", str(tmp_path / "none")]) == 2
    assert "a fully connected network takes no others" in capsys.readouterr().err


def test_a_small_network_learns_more_than_the_baselines_know(tmp_path, learn):
    """Bright squares on 16 × 16: where they are going is all there is to know."""
    path = tmp_path / "squares"
    shape = (10, 7, 7)
    path.write_bytes(gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, *shape) + b"\xff" * 490))
    options = TINY | {"hidden_size": 24, "patch": 2, "batch_size": 8, "neighbours": 8}
    config = DigitsConfig.of(options | {"digits": str(path), "lr": 0.02, "steps": 100})
    task = DigitsTask(config, CPU)
    learn(task)
    with torch.no_grad():
        scores = task.test()
    plain = [scores[f"{name}_cross_entropy"] for name in ("mean_frame", "last_frame")]
    assert scores["cross_entropy"] < 0.9 * min(plain)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--patch", "5"], "plait: --patch 5 must divide --frame 32: a frame is cut into whole"),
        (["--order", "0"], "plait: --order must be at least 1, not 0"),
        (["--frame", "8"], "plait: --frame must be at least 16, not 8"),
        (["--horizon", "99999999999"], "plait: --horizon must be less than 10001, not"),
        (["--frame", "16", "--patch", "8"], "plait: --neighbours 8 must be less than the 4 patch"),
        (["--size", "large"], "plait: Invalid value"),
        (["--digits", "nine"], "plait: no digits 'nine'"),
        (["--digits", __file__], f"plait: {__file__} is no IDX file of images: it begins with"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, arguments, message):
    out = tmp_path / "run"
    assert run_command(["train", "digits", "--out", str(out), *arguments]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(message)
    assert printed.count("\n") == 1
    assert not out.exists()
