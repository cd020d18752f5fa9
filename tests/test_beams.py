"""Beam search, against every text there is and against the same written out in Python."""

import itertools
import math

import pytest
import torch

from plait.errors import InputError
from plait.tasks.text.config import TextConfig
from plait.tasks.text.model import TextModel
from plait.tasks.text.vocabulary import Characters

SYMBOLS = "abc"


@pytest.fixture(scope="module", params=["lstm", "gru", "rnn"])
def model(request) -> TextModel:
    torch.manual_seed(3)
    config = TextConfig(cell=request.param, hidden_size=7, embedding_size=5, layers=2, dropout=0.3)
    made = TextModel(Characters.of(SYMBOLS), config).double().eval()
    with torch.no_grad():
        made.output.weight *= 6
        made.output.bias.normal_()
    return made


@torch.no_grad()
def log_probability(model: TextModel, prompt: str, text: str) -> float:
    """Of a text after a prompt, symbol by symbol from the beginning."""
    state, logits, total = None, model.first_logits(1)[0], 0.0
    for place, symbol in enumerate(prompt + text):
        number = SYMBOLS.index(symbol)
        if place >= len(prompt):
            total += math.log(torch.softmax(logits, -1)[number].item())
        answer, state = model(torch.tensor([[number]]), state)
        logits = answer[0, 0]
    return total


@pytest.mark.parametrize("prompt", ["", "a", "cab"])
def test_with_room_for_all_texts_the_likeliest_is_found(model, prompt):
    every = ["".join(text) for text in itertools.product(SYMBOLS, repeat=5)]
    likeliest = max(every, key=lambda text: log_probability(model, prompt, text))
    assert model.beam_search(prompt, 5, beams=3**4) == prompt + likeliest
    assert model.beam_search(prompt, 5, beams=1000) == prompt + likeliest


@pytest.mark.parametrize("beams", [1, 2, 3, 5])
@pytest.mark.parametrize("prompt", ["", "bb"])
def test_the_kept_are_the_likeliest_so_far(model, beams, prompt):
    kept = [""]
    for _ in range(7):
        longer = [text + symbol for text in kept for symbol in SYMBOLS]
        longer.sort(key=lambda text: -log_probability(model, prompt, text))
        kept = longer[:beams]
    assert model.beam_search(prompt, 7, beams=beams) == prompt + kept[0]


def test_one_beam_is_greedy_writing(model):
    for prompt in ("", "a", "cabba"):
        greedy = model.generate(prompt, 60, greedy=True)
        assert model.beam_search(prompt, 60, beams=1) == greedy


def test_what_looks_worse_at_first_may_be_better_in_the_end(model):
    """Somewhere, else nothing is gained by looking."""
    prompts = ["".join(text) for text in itertools.product(SYMBOLS, repeat=3)]
    gains = []
    for prompt in prompts:
        greedy, found = (model.beam_search(prompt, 6, beams=b)[3:] for b in (1, 27))
        gains.append(log_probability(model, prompt, found) - log_probability(model, prompt, greedy))
    assert max(gains) > 1e-3


def test_equals_go_to_the_lowest_numbers():
    made = TextModel(Characters.of(SYMBOLS), TextConfig(hidden_size=4, layers=1)).eval()
    with torch.no_grad():
        made.output.weight.zero_()
        made.output.bias.zero_()
    assert [made.beam_search("c", 4, beams=b) for b in (1, 2, 9)] == ["caaaa"] * 3


def test_what_it_takes_and_leaves(model):
    assert model.beam_search("ab", 0) == "ab"
    assert model.beam_search("aXb", 6, skip_unknown=True) == model.beam_search("ab", 6)
    for options, message in (
        ({"beams": 0}, "beams must be at least 1, not 0"),
        ({"length": -1}, "length must be at least 0, not -1"),
        ({"prompt": "aX"}, "never seen 'X'"),
    ):
        with pytest.raises(InputError, match=message):
            model.beam_search(**options)
    expected = model.beam_search("ab", 20)
    model.train()
    try:
        assert model.beam_search("ab", 20) == expected  # without dropout
        assert model.training
    finally:
        model.eval()


def contrastive(model: TextModel, prompt: str, length: int, alpha: float, k: int) -> str:
    """Search by the definition, each candidate read from the text's beginning."""

    def read(text: str) -> tuple[torch.Tensor, torch.Tensor]:
        if not text:
            return torch.softmax(model.first_logits(1)[0], -1), torch.zeros(0, 7)
        h, _ = model.hidden(torch.tensor([[SYMBOLS.index(c)] for c in text]))
        return torch.softmax(model.output(h[-1, 0]), -1), h[:, 0]

    text = prompt
    with torch.no_grad():
        for _ in range(length):
            p, before = read(text)
            scores = {}
            for symbol in sorted(SYMBOLS, key=lambda c: -p[SYMBOLS.index(c)])[:k]:
                h = read(text + symbol)[1][-1]
                alike = [torch.cosine_similarity(h, other, 0).item() for other in before]
                penalty = alpha * max(alike) if alike else 0.0
                scores[symbol] = (1 - alpha) * p[SYMBOLS.index(symbol)].item() - penalty
            text += max(scores, key=scores.__getitem__)
    return text


@pytest.mark.parametrize("prompt", ["", "abc"])
@pytest.mark.parametrize(("alpha", "candidates"), [(0.0, 3), (0.6, 2), (1.0, 3)])
def test_a_contrastive_search_is_the_definition(model, prompt, alpha, candidates):
    found = model.contrastive_search(prompt, 12, alpha=alpha, candidates=candidates)
    assert found == contrastive(model, prompt, 12, alpha, candidates)
    if alpha == 0:
        assert found == model.generate(prompt, 12, greedy=True)
    with pytest.raises(InputError, match=r"alpha must be from 0 to 1, not 1\.5"):
        model.contrastive_search(alpha=1.5)
