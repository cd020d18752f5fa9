"""`plait score`: other texts, characters never seen, and weights that go on learning."""

import copy
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import plait
from plait.errors import InputError
from plait.tasks.text.baselines import ngram_baseline
from plait.tasks.text.cache import Cache
from plait.tasks.text.data import split
from plait.tasks.text.dynamic import (
    DECAYS,
    FLOOR,
    RATES,
    RMS_RATES,
    SEGMENT,
    mean_squares,
    score_dynamic,
)
from plait.tasks.text.inference import CHOOSING
from plait.tasks.text.scores import score_stream
from plait.training.run import Run

PROSE = "Call me Ishmael. Some years ago, never mind how long precisely. " * 40


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("heldout")
    (folder / "prose.txt").write_text(PROSE)
    return plait.train(
        "text", data=str(folder / "prose.txt"), out=folder / "run", steps=20, lr=0.01,
        hidden_size=8, embedding_size=8, layers=1, length=10, batch_size=4, threads=1,
    )  # fmt: skip


@pytest.fixture
def write(tmp_path):
    def make(text: str) -> str:
        (tmp_path / "other.txt").write_text(text)
        return str(tmp_path / "other.txt")

    return make


def encoded(model, text: str) -> torch.Tensor:
    return torch.from_numpy(model.vocabulary.encode(text))


def test_without_a_text_it_is_the_test_set_with_the_scores_of_the_run(run):
    scores = plait.score(run)
    (logged,) = run.records("test")
    assert scores["characters"] == len(split(encoded(plait.load(run), PROSE))[2]) - 1
    for name in ("loss", "bits_per_character", "accuracy", "perplexity", "ngram_order",
                 "ngram_bits_per_character", "ngram_accuracy"):  # fmt: skip
        assert scores[name] == logged[name]


def test_another_text_is_scored_whole_next_to_the_n_gram_of_the_training_text(run, write):
    text = "Some precisely long years ago, Ishmael. " * 3
    model = plait.load(run)
    scores = plait.score(run, write(text))
    expected = score_stream(model, encoded(model, text))
    train, valid, _ = split(encoded(model, PROSE))
    baseline = ngram_baseline(train, valid, encoded(model, text), model.vocabulary)
    assert scores == {"characters": len(text) - 1, **expected, **baseline}


def test_characters_never_seen_are_named_or_skipped_and_counted(run, write):
    text = "Some §long¶ years ago."
    with pytest.raises(InputError, match=r"§.*¶"):
        plait.score(run, write(text))
    skipped = plait.score(run, write(text), skip_unknown=True)
    plain = plait.score(run, write(text.replace("§", "").replace("¶", "")))
    assert skipped == {"characters_skipped": 2, **plain}
    with pytest.raises(InputError, match="fewer than two characters"):
        plait.score(run, write("§¶§"), skip_unknown=True)


def test_without_the_training_text_there_is_no_n_gram_and_no_test_set(run, write):
    other = write("Some years ago.")
    data = Path(run.config["data"])
    try:
        data.write_text(PROSE[1:])
        assert not [name for name in plait.score(run, other) if name.startswith("ngram")]
        for arguments in (
            {},
            *({"data": other, name: True} for name in ("mix", "cache", "dynamic")),
        ):
            with pytest.raises(InputError, match="no longer what the run was trained on"):
                plait.score(run, **arguments)
    finally:
        data.write_text(PROSE)


def naive_dynamic(model, numbers: torch.Tensor, lr: float) -> float:
    """Bits a character: segments of 50 predicted, then learned from, by the definition."""
    model = copy.deepcopy(model)
    state, bits = None, 0.0
    for begin in range(0, len(numbers) - 1, SEGMENT):
        losses = []
        for now, after in pairwise(numbers[begin : begin + SEGMENT + 1]):
            logits, state = model(now.view(1, 1), state)
            losses.append(F.cross_entropy(logits[0], after.view(1)))
        bits += sum(loss.item() for loss in losses) / math.log(2)
        gradients = torch.autograd.grad(torch.stack(losses).mean(), list(model.parameters()))
        norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt().item()
        with torch.no_grad():
            for p, g in zip(model.parameters(), gradients, strict=True):
                p -= lr * g * min(1.0, 1.0 / norm)
        state = tuple(s.detach() for s in state)
    return bits / (len(numbers) - 1)


@pytest.mark.parametrize("lr", [0.0, 0.5])
def test_dynamic_evaluation_is_the_definition_and_leaves_the_model_alone(run, lr):
    model = plait.load(run).double()
    before = copy.deepcopy(model.state_dict())
    numbers = encoded(model, PROSE[:130])
    bits = score_dynamic(model, numbers, lr)
    assert bits == pytest.approx(naive_dynamic(model, numbers, lr), rel=1e-5)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    if lr == 0:
        static = score_stream(model, numbers)["bits_per_character"]
        assert bits == pytest.approx(static, rel=1e-12)


def gradients_of(model, segment: torch.Tensor, state) -> tuple[list, float, tuple]:
    """Return gradients in NumPy of a segment's mean loss, the loss, and the state after it."""
    logits, state = model(segment[:-1, None], state)
    loss = F.cross_entropy(logits[:, 0], segment[1:])
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    return [g.numpy() for g in gradients], loss.item(), tuple(s.detach() for s in state)


def naive_rms(model, training: torch.Tensor, numbers: torch.Tensor, lr, decay) -> float:
    """Bits a character by Krause et al. (2018), equations 5 to 7, in NumPy."""
    model = copy.deepcopy(model)
    state, squares = None, []
    for begin in range(0, len(training) - 1, SEGMENT):
        segment = training[begin : begin + SEGMENT + 1]
        gradients, _, state = gradients_of(model, segment, state)
        squares.append([g**2 for g in gradients])
    roots = [np.sqrt(np.mean(several, 0)) for several in zip(*squares, strict=True)]
    mean = np.mean(np.concatenate([r.ravel() for r in roots]))
    trained = [p.detach().numpy().copy() for p in model.parameters()]
    state, bits = None, 0.0
    for begin in range(0, len(numbers) - 1, SEGMENT):
        segment = numbers[begin : begin + SEGMENT + 1]
        gradients, loss, state = gradients_of(model, segment, state)
        bits += loss * (len(segment) - 1) / math.log(2)
        for p, g, s, start in zip(model.parameters(), gradients, roots, trained, strict=True):
            now = p.detach().numpy()
            pull = np.minimum(decay * s / mean, 1)
            after = now - lr * g / (s + FLOOR * mean) + pull * (start - now)
            p.data.copy_(torch.from_numpy(after))
    return bits / (len(numbers) - 1)


@pytest.mark.parametrize(("lr", "decay"), [(0.0, 0.1), (1e-2, 0.0), (1e-2, 0.2)])
def test_the_rms_form_is_the_definition_and_leaves_the_model_alone(run, lr, decay):
    model = plait.load(run).double()
    before = copy.deepcopy(model.state_dict())
    training, numbers = encoded(model, PROSE[:170]), encoded(model, PROSE[200:330])
    squares = mean_squares(model, training)
    bits = score_dynamic(model, numbers, lr, squares=squares, decay=decay)
    assert bits == pytest.approx(naive_rms(model, training, numbers, lr, decay), rel=1e-9)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    if lr == 0:
        static = score_stream(model, numbers)["bits_per_character"]
        assert bits == pytest.approx(static, rel=1e-12)


def test_rate_and_decay_of_the_rms_form_are_chosen_on_the_validation_set(run):
    model = plait.load(run)
    scores = plait.score(run, dynamic=True)
    train, valid, test = split(encoded(model, PROSE))
    squares = mean_squares(model, train[-CHOOSING:])

    def bits(part: torch.Tensor, rate: float, decay: float) -> float:
        return score_dynamic(model, part, rate, squares=squares, decay=decay)

    rates = {rate: bits(valid[:CHOOSING], rate, DECAYS[0]) for rate in RMS_RATES}
    rate = min(rates, key=rates.__getitem__)
    decays = {decay: bits(valid[:CHOOSING], rate, decay) for decay in DECAYS}
    decay = min(decays, key=decays.__getitem__)
    assert (scores["rms_rate"], scores["rms_decay"]) == (rate, decay)
    assert scores["rms_bits_per_character"] == bits(test, rate, decay)
    assert scores["rms_bits_per_character"] < scores["bits_per_character"]


def test_the_cache_is_fitted_on_the_validation_set(run):
    model = plait.load(run)
    scores = plait.score(run, cache=True)
    _, valid, test = split(encoded(model, PROSE))
    fitted = Cache.fit(model, valid[:CHOOSING]).score(model, test)
    assert {name: scores[name] for name in fitted} == fitted
    assert scores["cache_bits_per_character"] < scores["bits_per_character"]


def test_the_rate_of_dynamic_evaluation_is_chosen_on_the_validation_set(run):
    model = plait.load(run)
    scores = plait.score(run, dynamic=True)
    _, valid, test = split(encoded(model, PROSE))
    bits = {lr: score_dynamic(model, valid[:CHOOSING], lr) for lr in RATES}
    assert scores["dynamic_rate"] == min(bits, key=bits.__getitem__)
    assert scores["dynamic_bits_per_character"] == score_dynamic(
        model, test, scores["dynamic_rate"]
    )
    assert scores["dynamic_bits_per_character"] < scores["bits_per_character"]
