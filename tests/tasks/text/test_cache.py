"""The neural cache, against the formula in NumPy."""

import math

import numpy as np
import pytest
import torch

from plait.tasks.text import cache as module
from plait.tasks.text.cache import SHARPNESS, Cache, cache_probabilities, read_states
from plait.tasks.text.config import TextConfig
from plait.tasks.text.model import TextModel
from plait.tasks.text.scores import log_probabilities, score_stream
from plait.tasks.text.vocabulary import Characters

PROSE = "Call me Ishmael. Some years ago, never mind how long precisely. " * 4


@pytest.fixture(scope="module")
def model() -> TextModel:
    torch.manual_seed(0)
    return TextModel(Characters.of(PROSE), TextConfig(hidden_size=6, layers=2)).double().eval()


@pytest.fixture(scope="module")
def numbers(model) -> torch.Tensor:
    return torch.from_numpy(model.vocabulary.encode(PROSE))


def formula(states: np.ndarray, following: np.ndarray, sharpness: float, window: int) -> np.ndarray:
    """Return p_cache of the symbol after each state, NaN after the first."""
    p = np.full(len(states), np.nan)
    for t in range(1, len(states)):
        past = range(max(0, t - window), t)
        weights = np.array([math.exp(sharpness * (states[t] @ states[i])) for i in past])
        right = np.array([following[i] == following[t] for i in past])
        p[t] = weights[right].sum() / weights.sum()
    return p


@pytest.mark.parametrize(("window", "block"), [(1, 7), (20, 7), (50, 64), (1000, 1000)])
def test_probabilities_are_the_formula_in_blocks_of_any_size(monkeypatch, window, block):
    monkeypatch.setattr(module, "WINDOW", window)
    monkeypatch.setattr(module, "BLOCK", block)
    generator = np.random.default_rng(0)
    states, following = generator.normal(size=(150, 3)), generator.integers(4, size=150)
    log_p = cache_probabilities(torch.from_numpy(states), torch.from_numpy(following), 0.7)
    expected = formula(states, following, 0.7, window)
    np.testing.assert_allclose(log_p.exp().numpy(), expected, rtol=1e-10)


def test_the_states_are_those_that_the_symbols_are_predicted_from(model, numbers):
    log_p, states = read_states(model, numbers)
    expected = torch.log_softmax(model.output(states), -1).gather(1, numbers[1:, None])[:, 0]
    torch.testing.assert_close(log_p, expected.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(log_p, log_probabilities(model, numbers), rtol=1e-6, atol=1e-6)


def test_a_text_that_repeats_itself_is_scored_better_by_the_formula_as_fitted(model, numbers):
    scores = Cache.fit(model, numbers).score(model, numbers)
    network, states = (x.detach().numpy() for x in read_states(model, numbers))
    following = numbers[1:].numpy()

    def bits(sharpness: float, weight: float) -> float:
        p = formula(states, following, sharpness, 2000)
        p[0] = math.exp(network[0])
        return float(-np.log2((1 - weight) * np.exp(network) + weight * p).mean())

    sharpness, weight = scores["cache_sharpness"], scores["cache_weight"]
    best = bits(sharpness, weight)
    assert scores["cache_bits_per_character"] == pytest.approx(best, rel=1e-10)
    assert best < score_stream(model, numbers)["bits_per_character"] - 0.3
    others = [bits(s, w) for s in SHARPNESS for w in np.linspace(0, 1, 21)[:-1]]
    assert best < min(others) + 1e-4
