"""Drawing, against distributions written out by hand; writing, the same from every side."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from plait.errors import InputError
from plait.generation import TextGenerator
from plait.sampling import Sampler, Sampling, first_largest
from plait.tasks.text.config import TextConfig
from plait.tasks.text.model import TextModel
from plait.tasks.text.vocabulary import Bytes, Characters


def by_definition(logits: np.ndarray, beta=1.0, top_k=None, top_p=None, min_p=None) -> np.ndarray:
    """One distribution, filter after filter, each on what the one before left."""
    if beta == math.inf:
        return np.eye(len(logits))[np.argmax(logits)]
    p = np.exp(beta * (logits - logits.max()))
    p /= p.sum()
    ranks = sorted(range(len(p)), key=lambda i: (-p[i], i))  # equals: the lower number first
    if top_k is not None:
        for i in ranks[top_k:]:
            p[i] = 0
        p /= p.sum()
    if top_p is not None and top_p < 1:
        total = 0.0
        for i in ranks:
            if total >= top_p:
                p[i] = 0
            total += p[i]
        p /= p.sum()
    if min_p is not None:
        p[p < min_p * p.max()] = 0
        p /= p.sum()
    return p


OPTIONS = [
    {"beta": beta, "top_k": k, "top_p": p, "min_p": m}
    for beta, k, p, m in itertools.product(
        [0.0, 0.5, 1.0, 3.0, math.inf], [None, 1, 3, 99], [None, 0.3, 0.9, 1.0], [None, 0.2]
    )
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(map(str, o.values())))
def test_probabilities_are_those_of_the_definition(options):
    logits = torch.randn(20, 9, generator=torch.Generator().manual_seed(0)) * 3
    p = Sampling.of(**options).probabilities(logits)
    assert p.dtype == torch.float64
    expected = np.stack([by_definition(row, **options) for row in logits.double().numpy()])
    np.testing.assert_allclose(p.numpy(), expected, rtol=1e-12, atol=1e-15)
    assert ((p == 0).numpy() == (expected == 0)).all()


def test_the_filters_act_in_their_order():
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).double().log()
    both = Sampling.of(top_k=2, top_p=0.55).probabilities(logits)
    assert both.tolist()[0] == pytest.approx([1, 0, 0, 0])  # 4/7 of what is left by k = 2
    alone = Sampling.of(top_p=0.55).probabilities(logits)
    assert alone.tolist()[0] == pytest.approx([4 / 7, 3 / 7, 0, 0])
    last = Sampling.of(top_p=0.85, min_p=0.6).probabilities(logits)
    assert last.tolist()[0] == pytest.approx([4 / 7, 3 / 7, 0, 0])


@pytest.mark.parametrize("top", [{"top_k": 2}, {"top_p": 0.4}])
def test_of_equals_the_lower_number_stays(top):
    logits = torch.tensor([[0.0, 1.0, 1.0, 1.0, 1.0]])
    p = Sampling.of(**top, beta=50).probabilities(logits)
    assert p.tolist()[0] == pytest.approx([0, 0.5, 0.5, 0, 0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_greedy_ties_go_to_the_lowest_number(dtype):
    logits = torch.tensor([[1, 3, 3, 2], [5, 5, 5, 5], [0, 0, 0, 1]], dtype=dtype)
    for sampling in (Sampling.of(greedy=True), Sampling.of(temperature=0), Sampling.of(top_k=1)):
        for u in (0.0, 0.5, 1 - 2**-53):
            drawn = sampling.draw(logits, torch.full((3,), u, dtype=torch.float64))
            assert drawn.tolist() == [1, 0, 3]
    assert first_largest(logits).tolist() == [1, 0, 3]


def test_draw_is_the_inverse_of_the_distribution_function():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(1, 7, generator=generator)
    u = torch.rand(5000, generator=generator, dtype=torch.float64)
    for options in ({}, {"top_k": 3}, {"min_p": 0.3, "beta": 2.0}):
        sampling = Sampling.of(**options)
        total = sampling.probabilities(logits)[0].cumsum(0).numpy()
        u[: len(total) - 1] = torch.from_numpy(total[:-1]).clamp(max=1 - 2**-53)  # on the steps
        drawn = sampling.draw(logits.expand(len(u), -1), u)
        assert drawn.tolist() == np.searchsorted(total, u.numpy(), side="right").tolist()


def test_what_is_impossible_is_never_drawn():
    tenths = torch.zeros(1, 12).double()
    tenths[0, [0, 11]] = -math.inf
    p = Sampling.of().probabilities(tenths)
    assert p.cumsum(-1)[0, -1] < 1  # by rounding: that is the case to mind
    for u, expected in ((0.0, 1), (1 - 2**-53, 10)):
        drawn = Sampling.of().draw(tenths, torch.tensor([u], dtype=torch.float64))
        assert drawn.tolist() == [expected]


@pytest.mark.parametrize(
    "options", [{}, {"beta": 0.5}, {"temperature": 0.4, "top_k": 4}, {"top_p": 0.8, "min_p": 0.1}]
)
def test_a_hundred_thousand_draws(options):
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(1, 8, generator=generator)
    sampling = Sampling.of(**options)
    u = torch.rand(100_000, generator=generator, dtype=torch.float64)
    counts = torch.bincount(sampling.draw(logits.expand(len(u), -1), u), minlength=8)
    p = sampling.probabilities(logits)[0]
    assert counts[p == 0].sum() == 0
    possible = p > 0
    assert chisquare(counts[possible], p[possible] * len(u)).pvalue > 0.01


def test_one_over_temperature_is_beta():
    logits = torch.randn(3, 6, generator=torch.Generator().manual_seed(3))
    for temperature in (0.25, 1.0, 3.0):
        by_temperature = Sampling.of(temperature=temperature).probabilities(logits)
        by_beta = Sampling.of(beta=1 / temperature).probabilities(logits)
        assert torch.equal(by_temperature, by_beta)
    divided = torch.softmax(logits.double() / 3, -1)
    torch.testing.assert_close(by_temperature, divided, rtol=1e-12, atol=0)
    assert Sampling.of(beta=0).probabilities(logits).tolist() == [[pytest.approx(1 / 6)] * 6] * 3
    greedy = {Sampling.of(greedy=True), Sampling.of(temperature=0), Sampling.of(beta=math.inf)}
    assert len(greedy) == 1
    assert Sampling.of(temperature=math.inf) == Sampling.of(beta=0)


@pytest.mark.parametrize("mass", [0.1, 0.5, 0.95, 1.0])
def test_typical_symbols_have_a_surprise_near_the_entropy(mass):
    logits = torch.randn(20, 9, generator=torch.Generator().manual_seed(0)) * 3
    found = Sampling.of(typical_p=mass).probabilities(logits).numpy()
    for row, kept in zip(logits.double().numpy(), found, strict=True):
        p = np.exp(row) / np.exp(row).sum()
        entropy = -(p * np.log(p)).sum()
        total, expected = 0.0, np.zeros(9)
        for i in sorted(range(9), key=lambda i: abs(-np.log(p[i]) - entropy)):
            if total < mass:
                expected[i] = p[i]
                total += p[i]
        np.testing.assert_allclose(kept, expected / expected.sum(), rtol=1e-12)


def test_mirostat_keeps_the_mean_surprise_near_its_target():
    logits = torch.tensor([1.5, 1, 0.5, 0, 0, -0.5, -0.5, -1]).repeat(50, 1)
    p = torch.softmax(logits[0].double(), -1)
    generator = torch.Generator().manual_seed(0)
    for tau in (1.7, 2.2):
        sampler, bits = Sampler(Sampling.of(mirostat=tau), torch.zeros(0, 50)), []
        limit = np.full(50, 2 * tau)
        for _ in range(200):
            drawn = sampler.draw(logits, torch.rand(50, generator=generator).double())
            surprise = -p[drawn].log2().numpy()
            assert ((surprise <= limit + 1e-9) | (drawn == 0).numpy()).all()
            limit -= 0.1 * (surprise - tau)
            bits.append(surprise.mean())
        np.testing.assert_allclose(sampler.limit.numpy(), limit, rtol=1e-9)
        assert np.mean(bits[100:]) == pytest.approx(tau, abs=0.05)


def test_a_penalty_multiplies_the_log_probability_of_recent_symbols():
    logits = torch.randn(1, 9, generator=torch.Generator().manual_seed(0)).double()
    past = torch.cat([torch.tensor([7]), torch.arange(64) % 3])[:, None]  # 7 is 65 symbols ago
    p = torch.softmax(logits[0], -1)
    expected = torch.cat([p[:3] ** 1.5, p[3:]])
    for shift in (0, 5):  # the logits' offset means nothing
        found = Sampling.of(repetition_penalty=1.5).probabilities(logits + shift, past)[0]
        torch.testing.assert_close(found, expected / expected.sum(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_no_string_is_repeated_unless_there_is_no_other_symbol(model, n):
    for text in model.generate("abab", 60, count=3, no_repeat=n, beta=2):
        for k in range(5, len(text) + 1):
            earlier = {text[j : j + n] for j in range(k - n)}
            possible = {text[k - n : k - 1] + c for c in "abcdefgh"}
            assert text[k - n : k] not in earlier or possible <= earlier
    greedy = model.generate("a", 60, no_repeat=4, greedy=True)
    assert len({greedy[k : k + 4] for k in range(58)}) == 58


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"typical_p": 0}, "typical_p must be more than 0 and at most 1, not 0"),
        ({"mirostat": 0}, "mirostat must be more than 0 bits, not 0"),
        ({"mirostat": 1, "greedy": True}, "greedy decoding has none; leave one out"),
        ({"no_repeat": 0}, "no_repeat must be at least 1, not 0"),
        ({"repetition_penalty": 0.9}, "repetition_penalty must be at least 1, not 0.9"),
        ({"beta": 1, "temperature": 1}, "give temperature or beta, not both"),
        ({"beta": 1, "greedy": True}, "give beta or greedy, not both"),
        ({"temperature": 0, "greedy": True}, "give temperature or greedy, not both"),
        ({"beta": -1}, "beta must be at least 0, not -1"),
        ({"beta": math.nan}, "beta must be at least 0, not nan"),
        ({"temperature": -0.5}, "temperature must be at least 0, not -0.5"),
        ({"temperature": math.nan}, "temperature must be at least 0, not nan"),
        ({"top_k": 0}, "top_k must be at least 1, not 0"),
        ({"top_p": 0}, "top_p must be more than 0 and at most 1, not 0"),
        ({"top_p": 1.1}, "top_p must be more than 0 and at most 1, not 1.1"),
        ({"min_p": -0.1}, "min_p must be from 0 to 1, not -0.1"),
        ({"min_p": 1.1}, "min_p must be from 0 to 1, not 1.1"),
        ({"length": -1}, "length must be at least 0, not -1"),
        ({"count": 0}, "count must be at least 1, not 0"),
        ({"seed": -1}, r"seed must be at least 0 and less than 2\*\*63, not -1"),
        (
            {"seed": 2**63},
            r"less than 2\*\*63, not 9223372036854775808",
        ),
        ({"prompt": "abX"}, r"never seen 'X' \(U\+0058\)"),
    ],
)
def test_what_cannot_be_is_refused(model, options, message):
    with pytest.raises(InputError, match=message):
        model.generate(**options)
    if "count" not in options:
        with pytest.raises(InputError, match=message):
            model.stream(**options)  # at once, not with the first symbol


@pytest.fixture(scope="module")
def model() -> TextModel:
    torch.manual_seed(0)
    config = TextConfig(hidden_size=10, embedding_size=6, layers=2, dropout=0.3)
    made = TextModel(Characters.of("abcdefgh"), config).eval()
    with torch.no_grad():
        made.output.weight *= 4
        made.output.bias.normal_()
    return made


class Chain(TextGenerator):
    """A chain whose next symbol depends on the one before by a table."""

    def __init__(self) -> None:
        super().__init__()
        self.vocabulary = Characters.of("abcd")
        p = torch.tensor([[1, 2, 3, 4], [4, 3, 2, 1], [1, 1, 1, 1], [5, 1, 0, 2]]).double()
        self.table = torch.nn.Parameter(p / p.sum(-1, keepdim=True))

    def forward(self, numbers, state=None):
        return self.table[numbers].log(), numbers.new_zeros(1, numbers.shape[1], 1)

    def first_logits(self, count: int):
        return self.table[:1].log().expand(count, -1)


def test_texts_of_a_known_chain_have_its_frequencies():
    texts = Chain().generate("a", 1000, count=100, seed=4)
    counts = np.zeros((4, 4))
    for text in texts:
        for one, other in itertools.pairwise(text):
            counts["abcd".index(one), "abcd".index(other)] += 1
    assert counts.sum() == 100_000
    assert counts[3, 2] == 0
    for row, p in zip(counts, Chain().table.detach().numpy(), strict=True):
        possible = p > 0
        assert chisquare(row[possible], p[possible] * row.sum()).pvalue > 0.01
    firsts = np.bincount(["abcd".index(t[0]) for t in Chain().generate("", 1, count=1000)])
    assert chisquare(firsts, [100, 200, 300, 400]).pvalue > 0.01


@pytest.mark.parametrize("prompt", ["", "abba"])
def test_a_text_is_the_same_alone_and_next_to_others(model, prompt):
    together = model.generate(prompt, 600, count=3, seed=7)
    assert len(set(together)) == 3
    for k, text in enumerate(together):
        assert prompt + "".join(model.stream(prompt, 600, seed=7, sample=k)) == text
    assert model.generate(prompt, 600, seed=7) == together[0]
    assert model.generate(prompt, 600, count=2, seed=7) == together[:2]


def test_a_seed_is_a_text(model):
    texts = [model.generate("a", 100, seed=seed) for seed in (0, 1, 2, 2**63 - 1)]
    torch.manual_seed(5)
    assert [model.generate("a", 100, seed=seed) for seed in (0, 1, 2, 2**63 - 1)] == texts
    assert len(set(texts)) == 4
    greedy = {model.generate("a", 50, seed=seed, greedy=True) for seed in (0, 1)}
    assert len(greedy) == 1


def naive(model: TextModel, prompt: str, length: int, seed: int, k: int, **sampling) -> str:
    """Read and write one character at a time."""
    stream = np.random.Generator(np.random.Philox(key=[seed, k]))
    sampler, text, state = Sampling.of(**sampling), prompt, None
    logits = model.first_logits(1)
    with torch.no_grad():
        for place in range(len(prompt) + length):
            if place >= len(prompt):
                u = torch.tensor([stream.random()], dtype=torch.float64)
                text += model.vocabulary.decode(sampler.draw(logits, u).tolist())
            number = torch.from_numpy(model.vocabulary.encode(text[place]))
            logits, state = model(number.view(1, 1), state)
            logits = logits[0]
    return text


@pytest.mark.parametrize("prompt", ["", "a", "hag" * 20])
@pytest.mark.parametrize("sampling", [{}, {"beta": 3}, {"greedy": True}, {"top_p": 0.7}], ids=str)
def test_a_prompt_read_at_once_is_one_read_character_by_character(model, prompt, sampling):
    expected = naive(model, prompt, 300, 11, 2, **sampling)
    assert model.generate(prompt, 300, seed=11, count=3, **sampling)[2] == expected


def test_what_comes_back(model):
    assert model.generate("abc", 0) == "abc"
    assert model.generate("abc", 0, count=1) == ["abc"]
    assert model.generate("", 0, count=3) == ["", "", ""]
    text = model.generate("abc", 25)
    assert isinstance(text, str)
    assert len(text) == 28
    assert text.startswith("abc")
    endless = model.stream("abc")
    assert "abc" + "".join(itertools.islice(endless, 700)) == model.generate("abc", 700)
    assert list(model.stream("abc", 0)) == []


def test_unknown_characters_of_a_prompt_can_be_left_out(model):
    assert model.generate("aXbéc", 40, skip_unknown=True) == model.generate("abc", 40)
    assert list(model.stream("aXbéc", 9, skip_unknown=True)) == list(model.stream("abc", 9))
    assert model.generate("Xé", 9, skip_unknown=True) == model.generate("", 9)


def test_a_text_ends_before_a_stop_string(model):
    whole = model.generate("a", 400, seed=3)
    for stops in ([whole[40:43]], [whole[1]], [whole[90:100], whole[60:62], "", "X"]):
        written = whole[1:]
        for end in range(1, 400):
            found = [s for s in stops if s and whole[1:end].endswith(s)]
            if found:
                written = whole[1:end].removesuffix(max(found, key=len))
                break
        assert model.generate("a", 400, seed=3, stop=stops) == "a" + written != whole
    assert model.generate("a", 400, seed=3, stop=["X", ""]) == whole
    assert model.generate("abab", 0, stop=["ab"]) == "abab"  # the prompt is not written
    many = model.generate("", 300, count=4, stop=["ca"])
    assert many == [t.split("ca")[0] for t in model.generate("", 300, count=4)]


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_in_its_mode(model, training):
    expected = model.eval().generate("abc", 60)
    model.train(training)
    try:
        assert model.generate("abc", 60) == expected  # and writes without dropout in either
        stream = model.stream("abc", 60)
        assert "abc" + next(stream) == expected[:4]
        assert model.training == model.recurrent.training == training
        with pytest.raises(InputError):
            model.generate("X")
        assert model.training == training
    finally:
        model.eval()


def test_bytes_make_characters_when_they_are_whole():
    torch.manual_seed(1)
    made = TextModel(Bytes(), TextConfig(hidden_size=4, embedding_size=4, layers=1)).eval()
    with torch.no_grad():  # 0xC3 and 0xA9 make é, each alone is no character
        made.output.weight.zero_()
        made.output.bias.fill_(-50.0)
        made.output.bias[[0xC3, 0xA9]] = 0.0
    text = made.generate("ü漢", 200, seed=1)
    assert text.startswith("ü漢")
    assert set(text[2:]) == {"é", "\ufffd"}
    streamed = "".join(made.stream("ü漢", 200, seed=1))
    assert text[2:] in (streamed, streamed + "\ufffd")  # the last byte may begin a character


def test_a_stream_drawn_by_blocks_is_the_same(model):
    one_by_one = list(model.stream("abc", 100, seed=3))
    for at_once in (7, 64, 1000):
        assert list(model.stream("abc", 100, seed=3, at_once=at_once)) == one_by_one
    endless = model.stream("abc", seed=3, at_once=7)
    assert list(itertools.islice(endless, 100)) == one_by_one


def test_a_prompt_of_other_line_ends_is_read_as_texts_are():
    torch.manual_seed(1)
    made = TextModel(Characters.of("ab\n"), TextConfig(hidden_size=4, embedding_size=4, layers=1))
    expected = made.generate("a\nb\n\n", 9)
    assert made.generate("a\r\nb\r\r", 9) == expected
    assert "".join(made.stream("a\r\nb\n\r\n", 9)) == expected.removeprefix("a\nb\n\n")
    assert made.beam_search("a\rb", 3) == made.beam_search("a\nb", 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 10**13}, r"length 10{13} needs about 240,0\d\d GB of memory, and 17 GB are "
                             "free; make it smaller, or stream"),
        ({"count": 10**10}, r"count 10{10} of length 200 needs about .* make it smaller"),
    ],
)  # fmt: skip
def test_what_the_memory_does_not_hold_is_refused_at_once(model, monkeypatch, options, message):
    monkeypatch.setattr("plait.memory.free_memory", lambda: 2**34)
    with pytest.raises(InputError, match=f"^{message}$"):
        model.generate("abc", **options)
    with pytest.raises(InputError, match=r"^beams 10{20} of length 5 needs about"):
        model.beam_search("abc", 5, beams=10**20)
