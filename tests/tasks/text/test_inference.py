"""`plait score`: other texts, characters never seen, and weights that go on learning."""

import copy
import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import plait
from plait.errors import InputError
from plait.tasks.text.baselines import ngram_baseline
from plait.tasks.text.data import split
from plait.tasks.text.dynamic import SEGMENT, score_dynamic
from plait.tasks.text.inference import CHOOSING, RATES
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


def test_without_a_text_it_is_the_test_part_with_the_scores_of_the_run(run):
    scores = plait.score(run)
    (logged,) = run.records("test")
    assert scores["characters"] == len(split(encoded(plait.load(run), PROSE))[2]) - 1
    for name in ("loss", "bits_per_character", "accuracy", "perplexity", "ngram_order",
                 "ngram_bits_per_character", "ngram_accuracy"):  # fmt: skip
        assert scores[name] == logged[name]


def test_another_text_is_scored_whole_beside_the_n_gram_of_the_training_text(run, write):
    text = "Some precisely long years ago, Ishmael. " * 3
    model = plait.load(run)
    scores = plait.score(run, write(text))
    expected = score_stream(model, encoded(model, text))
    train, valid, _ = split(encoded(model, PROSE))
    beside = ngram_baseline(train, valid, encoded(model, text), model.vocabulary)
    assert scores == {"characters": len(text) - 1, **expected, **beside}


def test_characters_never_seen_are_named_or_skipped_and_counted(run, write):
    text = "Some §long¶ years ago."
    with pytest.raises(InputError, match=r"§.*¶"):
        plait.score(run, write(text))
    skipped = plait.score(run, write(text), skip_unknown=True)
    plain = plait.score(run, write(text.replace("§", "").replace("¶", "")))
    assert skipped == {"characters_skipped": 2, **plain}
    with pytest.raises(InputError, match="fewer than two characters"):
        plait.score(run, write("§¶§"), skip_unknown=True)


def test_without_the_training_text_there_is_no_n_gram_and_no_test_part(run, write):
    other = write("Some years ago.")
    data = Path(run.config["data"])
    try:
        data.write_text(PROSE[1:])
        assert not [name for name in plait.score(run, other) if name.startswith("ngram")]
        for arguments in ({}, {"data": other, "dynamic": True}):
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


def test_the_rate_of_dynamic_evaluation_is_chosen_on_the_validation_part(run):
    model = plait.load(run)
    scores = plait.score(run, dynamic=True)
    _, valid, test = split(encoded(model, PROSE))
    bits = {lr: score_dynamic(model, valid[:CHOOSING], lr) for lr in RATES}
    assert scores["dynamic_rate"] == min(bits, key=bits.__getitem__)
    assert scores["dynamic_bits_per_character"] == score_dynamic(
        model, test, scores["dynamic_rate"]
    )
    assert scores["dynamic_bits_per_character"] < scores["bits_per_character"]
