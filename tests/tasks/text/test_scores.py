"""Held-out scores, against a loop of one character at a time and against known figures."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.nn.registry import CELLS
from plait.tasks.text.config import TextConfig
from plait.tasks.text.model import TextModel
from plait.tasks.text.scores import LANES, WARM_UP, score_stream
from plait.tasks.text.vocabulary import Bytes, Characters

BOUNDED = [name for name in CELLS if name != "ind-rnn"]
"""Cells whose states do not grow without bound, or are all 0, from weights drawn at random."""

SYMBOLS = Characters.of("abcdefg")
SIZES = [2, 3, 256, 257, 512, 513, 514, 1000, 8192, 8193, 8194, 9000, 20011]


def text(size: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(len(SYMBOLS), (size,), generator=generator)


def model(cell: str = "lstm", layers: int = 2) -> TextModel:
    torch.manual_seed(0)
    config = TextConfig(cell=cell, hidden_size=6, embedding_size=4, layers=layers)
    made = TextModel(SYMBOLS, config).double().eval()
    with torch.no_grad():
        made.output.weight.mul_(5)  # so that probabilities differ
    return made


def naive(made: TextModel, numbers: Tensor) -> dict[str, float]:
    """One character at a time, the state carried from the first to the last."""
    state, nats, right = None, 0.0, 0
    with torch.no_grad():
        for now, after in pairwise(numbers):
            logits, state = made(now.view(1, 1), state)
            p = torch.softmax(logits[0, 0], -1)
            nats -= math.log(p[after])
            right += int(p.argmax() == after)
    n = len(numbers) - 1
    return {"loss": nats / n, "bits_per_character": nats / n / math.log(2),
            "perplexity": math.exp(nats / n), "accuracy": right / n}  # fmt: skip


@pytest.mark.parametrize("cell", BOUNDED)
@pytest.mark.parametrize("size", [2, 300])
def test_a_short_text_is_scored_as_by_the_naive_loop(cell, size):
    made, numbers = model(cell), text(size)
    assert score_stream(made, numbers) == pytest.approx(naive(made, numbers), rel=1e-12)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", ["lstm", "gru-before"])
def test_a_long_text_in_lanes_is_scored_almost_as_by_the_naive_loop(cell, layers):
    made, numbers = model(cell, layers), text(1500)
    expected = naive(made, numbers)
    scores = score_stream(made, numbers)
    assert scores == pytest.approx(expected, rel=1e-6)  # 256 before are nearly all there are
    cold = score_stream(made, numbers[500:])["loss"]
    assert abs(cold - expected["loss"]) > 1e-4


class Bigram(nn.Module):
    """Probabilities that depend on one character; the state counts those read so far."""

    def __init__(self) -> None:
        super().__init__()
        self.vocabulary = SYMBOLS
        generator = torch.Generator().manual_seed(1)
        self.table = torch.randn(7, 7, generator=generator, dtype=torch.float64)
        self.counts: list[Tensor] = []

    def forward(self, numbers: Tensor, state=None):
        before = torch.zeros(1, numbers.shape[1], 1) if state is None else state[0]
        self.counts.append(before[0, :, 0])
        return self.table[numbers], (before + len(numbers),)


@pytest.mark.parametrize("size", SIZES)
def test_every_character_but_the_first_is_scored_once(size):
    made, numbers = Bigram(), text(size)
    nats = -torch.log_softmax(made.table, -1)[numbers[:-1], numbers[1:]]
    scores = score_stream(made, numbers)
    assert scores["loss"] == pytest.approx(nats.mean().item(), rel=1e-12)
    right = (made.table.argmax(-1)[numbers[:-1]] == numbers[1:]).double().mean().item()
    assert scores["accuracy"] == pytest.approx(right, rel=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_every_character_is_predicted_from_256_before_it_or_all_there_are(size):
    made = Bigram()
    score_stream(made, text(size))
    lanes = len(made.counts[-1])
    first = made.counts[0 if lanes == 1 else 1]  # before it, all lanes but one warm up
    assert first[0] == 0  # the first lane begins where the text does
    assert all(first[1:] == WARM_UP)
    assert lanes == len(first) == max(1, min(LANES, (size - 1) // WARM_UP))


def test_equal_probabilities_cost_the_logarithm_of_their_number():
    made = model()
    with torch.no_grad():
        made.output.weight.zero_()
        made.output.bias.zero_()
    scores = score_stream(made, text(700))
    assert scores["bits_per_character"] == pytest.approx(math.log2(7), rel=1e-14)
    assert scores["loss"] == pytest.approx(math.log(7), rel=1e-14)
    assert scores["perplexity"] == pytest.approx(7, rel=1e-13)


def test_the_unigram_distribution_costs_its_cross_entropy():
    made = model()
    numbers = text(3000) * text(3000, seed=1) // 6  # not uniform
    p = torch.bincount(numbers, minlength=7).double() + 1
    p /= p.sum()
    with torch.no_grad():
        made.output.weight.zero_()
        made.output.bias.copy_(p.log())
    scores = score_stream(made, numbers)
    share = torch.bincount(numbers[1:], minlength=7).double() / (len(numbers) - 1)
    bits = -(share * p.log2()).sum().item()
    assert scores["bits_per_character"] == pytest.approx(bits, rel=1e-12)
    assert bits < math.log2(7) - 0.2
    assert scores["accuracy"] == pytest.approx(share[p.argmax()].item(), rel=1e-14)


def test_float32_is_near_float64():
    made, numbers = model(), text(2000)
    exact = score_stream(made, numbers)
    assert score_stream(made.float(), numbers) == pytest.approx(exact, rel=1e-6)


def test_bytes_are_scored_per_character():
    torch.manual_seed(0)
    made = TextModel(Bytes(), TextConfig(hidden_size=6, embedding_size=4, layers=1)).double()
    with torch.no_grad():
        made.output.weight.zero_()
        made.output.bias.zero_()
    numbers = torch.from_numpy(Bytes().encode("a" + "é漢😀!" * 9))  # 2 + 3 + 4 + 1 bytes
    scores = score_stream(made.eval(), numbers)
    assert scores["bits_per_character"] == pytest.approx(8 * 10 / 4, rel=1e-14)
    assert scores["loss"] == pytest.approx(math.log(256), rel=1e-14)  # of a byte


def test_hopeless_probabilities_have_a_perplexity_that_json_can_hold():
    made = Bigram()
    made.table = F.one_hot(torch.arange(7), 7).double() * 2000  # sure of the same once more
    scores = score_stream(made, torch.tensor([0, 1, 2, 3]))
    assert scores["loss"] == pytest.approx(2000)
    assert scores["perplexity"] == math.exp(700)
