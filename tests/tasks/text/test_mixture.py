"""Network and n-gram mixed: weights at the maximum, scores and texts of the one distribution."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import plait
from plait.cli import run as run_cli
from plait.errors import InputError
from plait.tasks.text.cache import Cache
from plait.tasks.text.config import TextConfig
from plait.tasks.text.data import split
from plait.tasks.text.dynamic import mean_squares, read_dynamic
from plait.tasks.text.inference import CHOOSING, mixed_model
from plait.tasks.text.mixture import MixedModel, Mixture
from plait.tasks.text.model import TextModel
from plait.tasks.text.ngram import Ngram
from plait.tasks.text.scores import log_probabilities, score_stream
from plait.tasks.text.task import TextTask
from plait.tasks.text.vocabulary import Characters
from plait.tasks.text.weights import PRIOR, fit_weights, mixed
from plait.training.run import Run

PROSE = "Call me Ishmael. Some years ago, never mind how long precisely. " * 40


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("mixture")
    words = np.random.default_rng(0).permutation(PROSE.split(" "))
    (folder / "prose.txt").write_text(" ".join(words.tolist()))
    return plait.train(
        "text", data=str(folder / "prose.txt"), out=folder / "run", steps=100, lr=0.02,
        hidden_size=8, embedding_size=8, layers=1, length=10, batch_size=4, threads=1,
    )  # fmt: skip


def mixed_of(run: Run) -> MixedModel:
    return mixed_model(plait.load(run), TextConfig.from_dict(run.config), run.facts)


def places(seed: int, models: int = 2, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return np.log(generator.random((models, 400))), generator.integers(classes, size=400)


@pytest.mark.parametrize("models", [2, 3])
def test_weights_of_one_class_are_at_the_maximum_where_the_gradient_is_level(models):
    log_p, classes = places(0, models, 1)
    (w,) = fit_weights(log_p, classes, 1)
    assert w.sum() == pytest.approx(1, rel=1e-12)
    p = np.exp(log_p)
    gradient = (p / (w @ p)).mean(1)  # at the maximum: 1 where w > 0, at most 1 where w = 0
    assert (gradient < 1 + 1e-2).all()
    np.testing.assert_allclose(w * gradient, w, atol=1e-3)


def test_each_class_has_its_own_weights_drawn_to_those_of_all():
    log_p = np.log([[0.8, 0.2], [0.2, 0.8]])
    classes = np.repeat([0, 1, 2], [900, 900, 1])
    log_p = log_p[:, np.where(classes == 1, 1, 0)]
    w = fit_weights(log_p, classes, 4)
    assert w[0, 0] > 0.95 > 0.05 > w[1, 0]
    assert w[2, 0] == pytest.approx(0.5, abs=0.1)  # one place against PRIOR
    assert w[3, 0] == pytest.approx(0.5, abs=0.01)  # no place at all
    assert PRIOR == 10


@pytest.mark.parametrize("seed", range(4))
def test_the_mixture_is_never_worse_than_a_model_alone_where_it_was_fitted(seed):
    log_p, classes = places(seed)
    log_p[seed % 2] -= 5 * (seed // 2)  # one of them hopeless
    score = mixed(log_p, classes, fit_weights(log_p, classes, 3)).sum()
    assert score >= log_p.sum(1).max() - 1e-9
    assert mixed(log_p, classes, np.eye(2)[[0, 0, 0]]) == pytest.approx(log_p[0], rel=1e-12)


def test_a_model_that_is_always_right_gets_all_the_weight():
    log_p = np.stack([np.zeros(50), np.full(50, -900.0)])
    weights = fit_weights(log_p, np.zeros(50, dtype=int), 1)
    assert weights[0].tolist() == [1, 0]


def test_the_three_scores_are_in_the_run_folder_and_the_best_is_named(run):
    (logged,) = run.records("test")
    scores = plait.score(run, mix=True)
    names = ["bits_per_character", "ngram_bits_per_character", "mix_bits_per_character"]
    assert [scores[name] for name in names] == [logged[name] for name in names]
    assert scores["mix_network_weight"] == logged["mix_network_weight"]
    assert "mix_bits_per_character" not in plait.score(run)
    assert logged["mix_bits_per_character"] <= min(logged[name] for name in names[:2])


@pytest.mark.parametrize(
    ("own", "ngram", "mix", "verdict"),
    [
        (2.0, 2.1, 1.9, "the network wins by 0.100. Mixed, they have 1.9000 bits per character. "
         "Best: the mixture (--mix)"),
        (2.2, 2.1, 2.15, "and wins by 0.100: train longer, or a larger network. Mixed, they have "
         "2.1500 bits per character. Best: the 6-gram"),
        (2.0, 2.1, 2.05, "Best: the network"),
        (2.2, 2.1, 2.1, "Best: the 6-gram"),
    ],
)  # fmt: skip
def test_the_printed_verdict_names_the_best(run, own, ngram, mix, verdict):
    scores = {
        "bits_per_character": own, "ngram_bits_per_character": ngram, "ngram_order": 6,
        "mix_bits_per_character": mix,
    }  # fmt: skip
    task = TextTask.restore(plait.load(run), TextConfig.from_dict(run.config), run.facts)
    assert task.interpret(scores).startswith("an interpolated 6-gram has 2.1000 bits per character")
    assert task.interpret(scores).endswith(verdict)
    del scores["mix_bits_per_character"]  # as 0.1.0 scored
    assert "Mixed" not in task.interpret(scores)


def test_its_score_is_by_the_formula_from_weights_of_the_validation_set(run):
    model = plait.load(run)
    text = torch.from_numpy(model.vocabulary.encode(run_text(run)))
    train, valid, test = (part.numpy() for part in split(text))
    scores = plait.score(run, mix=True)
    ngram = Ngram(train, len(model.vocabulary), int(scores["ngram_order"]))

    def both(part: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        p, classes = ngram.probability(part)
        network = log_probabilities(model, torch.from_numpy(part)).exp().numpy()
        return network, p[1:], classes[1:]

    network, p, classes = both(valid)
    w = fit_weights(np.log([network, p]), classes, ngram.classes)[:, 0]
    network, p, classes = both(test)
    bits = -np.log2(w[classes] * network + (1 - w[classes]) * p).mean()
    assert scores["mix_bits_per_character"] == pytest.approx(bits, rel=1e-12)
    assert scores["mix_network_weight"] == pytest.approx(w[classes].mean(), rel=1e-12)


def run_text(run: Run) -> str:
    return Path(run.config["data"]).read_text()


def test_the_model_that_writes_is_the_mixture_that_is_scored(run):
    mix = mixed_of(run)
    ngram = mix.mixture.ngram
    text = torch.from_numpy(mix.vocabulary.encode(run_text(run)))
    train, _, test = split(text)
    logits, _ = mix(torch.cat([train[-ngram.order :], test])[:, None])
    p = logits[ngram.order :, 0].exp()
    assert p.sum(-1).detach().numpy() == pytest.approx(np.ones(len(test)), rel=1e-12)
    network = mix.network(torch.cat([train[-ngram.order :], test])[:, None])[0]
    network = network[ngram.order :, 0].double().softmax(-1)[:-1].gather(1, test[1:, None])[:, 0]
    theirs, classes = ngram.probability(test.numpy())
    w = mix.mixture.weights[classes[1:], 0]
    expected = w * network.detach().numpy() + (1 - w) * theirs[1:]
    assert p[:-1].gather(1, test[1:, None])[:, 0].detach().numpy() == pytest.approx(expected)


def test_its_state_is_carried_in_lanes_and_symbol_by_symbol(run):
    mix = mixed_of(run)
    numbers = torch.from_numpy(mix.vocabulary.encode(PROSE[:90]))[:, None]
    whole, _ = mix(numbers)
    state, pieces = None, []
    for piece in numbers.split([1, 30, 59]):
        logits, state = mix(piece, state)
        pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces), whole)
    text = torch.from_numpy(mix.vocabulary.encode(PROSE[:1500]))
    loss = score_stream(mix, text)["loss"]  # in five lanes
    alone = mix(text[:-1, None])[0][:, 0].log_softmax(-1).gather(1, text[1:, None])
    assert loss == pytest.approx(-alone.mean().item(), rel=1e-3)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_at_the_corners_it_writes_as_one_of_both(run, weight):
    mix = mixed_of(run)
    ngram = mix.mixture.ngram
    corner = MixedModel(
        mix.network, Mixture(np.tile([weight, 1 - weight], (ngram.classes, 1)), ngram)
    )
    if weight == 1:
        assert corner.generate("Call", 40, seed=1) == mix.network.generate("Call", 40, seed=1)
        return
    text = corner.generate("Call", 10, greedy=True)
    numbers = mix.vocabulary.encode(text)
    ids = ngram.start(1)
    for k, symbol in enumerate(numbers):
        assert k < 4 or symbol == ngram.distribution(ids).argmax()
        ids = ngram.read(ids, numbers[k : k + 1])


def test_all_ways_of_writing_draw_from_the_mixture(run):
    mix = mixed_of(run)
    assert mix.generate("", 12, count=3, seed=2)[0] == mix.generate("", 12, seed=2)
    assert "".join(mix.stream("Some", 9, seed=1)) == mix.generate("Some", 9, seed=1)[4:]
    assert mix.beam_search("Some", 9, beams=1) == mix.generate("Some", 9, greedy=True)
    assert mix.generate("Some", 9, seed=1, weights="int8").startswith("Some")


def test_generate_takes_mix_on_the_command_line(run, capsys):
    arguments = ["generate", str(run.path), "--prompt", "Some", "--length", "30", "--threads", "1"]
    assert run_cli([*arguments, "--mix"]) == 0
    text = capsys.readouterr().out
    assert text == mixed_of(run).generate("Some", 30) + "\n"
    assert run_cli(arguments) == 0
    assert capsys.readouterr().out != text


@pytest.mark.parametrize("window", [5, 2000])
def test_the_cache_that_writes_is_the_cache_that_is_scored(run, monkeypatch, window):
    monkeypatch.setattr("plait.tasks.text.cache.WINDOW", window)
    network = plait.load(run)
    numbers = torch.from_numpy(network.vocabulary.encode(PROSE[:90]))
    cache = Cache(0.8, 0.0)
    mix = MixedModel(network, Mixture(np.array([[0.3, 0.7]]), None, cache))
    logits, _ = mix(numbers[:, None])
    assert logits.exp().sum(-1).detach().numpy() == pytest.approx(np.ones((90, 1)), rel=1e-12)
    own = log_probabilities(network, numbers).exp().numpy()
    expected = 0.3 * own + 0.7 * np.exp(cache.log_probabilities(network, numbers))
    found = logits[:-1, 0].gather(1, numbers[1:, None])[:, 0].exp().detach().numpy()
    assert found == pytest.approx(expected, rel=1e-5)


def test_network_ngram_and_cache_write_as_one_whose_state_is_carried(run):
    network, config = plait.load(run), TextConfig.from_dict(run.config)
    mix = mixed_model(network, config, run.facts, cache=True)
    assert mix.mixture.names == ["network", "ngram", "cache"]
    numbers = torch.from_numpy(mix.vocabulary.encode(PROSE[:90]))[:, None].repeat(1, 2)
    whole, _ = mix(numbers)
    state, pieces = None, []
    for piece in numbers.split([1, 1, 30, 58]):
        logits, state = mix(piece, state)
        pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces), whole)
    assert mix.generate("", 12, count=3, seed=2)[0] == mix.generate("", 12, seed=2)
    assert mix.beam_search("Some", 9, beams=1) == mix.generate("Some", 9, greedy=True)


def test_all_models_in_one_mixture_are_by_the_formula_and_best(run):
    model = plait.load(run)
    scores = plait.score(run, mix=True, cache=True, dynamic=True)
    train, valid, test = split(torch.from_numpy(model.vocabulary.encode(run_text(run))))
    ngram = Ngram(train.numpy(), len(model.vocabulary), int(scores["ngram_order"]))
    cache = Cache.fit(model, valid)
    squares = mean_squares(model, train[-CHOOSING:])

    def rows(part: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        p, classes = ngram.probability(part.numpy())
        rms = {"squares": squares, "decay": scores["rms_decay"]}
        return np.stack([
            log_probabilities(model, part).numpy(), np.log(p[1:]),
            cache.log_probabilities(model, part),
            read_dynamic(model, part, scores["dynamic_rate"]),
            read_dynamic(model, part, scores["rms_rate"], **rms),
        ]), classes[1:]  # fmt: skip

    weights = fit_weights(*rows(valid), ngram.classes)
    log_p, classes = rows(test)
    bits = -mixed(log_p, classes, weights).mean() / math.log(2)
    assert scores["together_bits_per_character"] == pytest.approx(bits, rel=1e-9)
    names = ["network", "ngram", "cache", "dynamic", "rms"]
    found = [scores[f"together_{name}_weight"] for name in names]
    assert found == pytest.approx(weights[classes].mean(0), rel=1e-9)
    alone = ["", "ngram_", "mix_", "cache_", "dynamic_", "rms_"]
    best = min(scores[f"{name}bits_per_character"] for name in alone)
    assert scores["together_bits_per_character"] <= best


def test_generate_takes_the_cache_on_the_command_line(run, capsys):
    network, config = plait.load(run), TextConfig.from_dict(run.config)
    arguments = ["generate", str(run.path), "--prompt", "Some", "--length", "30", "--threads", "1"]
    for flags, mix in ((["--cache"], False), (["--cache", "--mix"], True)):
        assert run_cli([*arguments, *flags]) == 0
        model = mixed_model(network, config, run.facts, mix=mix, cache=True)
        assert capsys.readouterr().out == model.generate("Some", 30) + "\n"
    assert run_cli([*arguments[:-4], "--cache", "--listing"]) == 2
    assert capsys.readouterr().err == (
        "plait: --listing shows the network as it was trained; leave out --cache\n"
    )


def test_without_the_training_text_nothing_is_mixed(run):
    model = plait.load(run)
    config = TextConfig.from_dict({**run.config, "data": "absent.txt"})
    with pytest.raises(InputError, match=r"absent\.txt"):
        mixed_model(model, config, run.facts)


def test_a_network_of_one_state_and_a_unigram_mix_too():
    network = TextModel(Characters.of("ab"), TextConfig(hidden_size=4, cell="rnn", layers=1))
    ngram = Ngram(np.array([0, 1, 1, 1] * 5), 2, 1)
    mix = MixedModel(network.eval(), Mixture(np.tile([0.0, 1.0], (ngram.classes, 1)), ngram))
    with torch.no_grad():
        logits, state = mix(torch.zeros(3, 2, dtype=torch.long))
    expected = (15 + 2 / 2) / (20 + 2)
    assert logits[..., 1].exp().numpy() == pytest.approx(np.full((3, 2), expected), rel=1e-12)
    assert [s.shape for s in state] == [(1, 2, 4), (1, 2, 1)]
    assert math.isfinite(score_stream(mix, torch.zeros(600, dtype=torch.long))["loss"])
