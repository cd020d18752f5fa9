"""Writing on in one compiled loop: the same texts as symbol by symbol through the model."""

import pytest
import torch

from plait.errors import InputError
from plait.tasks.text.config import TextConfig
from plait.tasks.text.model import TextModel
from plait.tasks.text.vocabulary import Characters

CELLS = ["rnn", "rnn-relu", "lstm", "lstm-peephole", "gru", "gru-before"]
SAMPLINGS = {
    "plain": {},
    "beta": {"beta": 2.5},
    "uniform": {"beta": 0},
    "greedy": {"greedy": True},
    "top k": {"top_k": 4, "beta": 0.3},
    "top k above all": {"top_k": 1000},
    "top p": {"top_p": 0.6},
    "top p of all": {"top_p": 1.0},
    "all": {"top_k": 9, "top_p": 0.9, "min_p": 0.1, "temperature": 1.4},
    "typical p": {"typical_p": 0.7},
    "mirostat": {"mirostat": 2.0},
    "no repeat": {"no_repeat": 2},
    "no repeat of any symbol": {"no_repeat": 1},
    "no repeat, greedy": {"no_repeat": 5, "greedy": True},
    "penalty": {"repetition_penalty": 1.7},
    "penalty, greedy": {"repetition_penalty": 1.7, "greedy": True},
    "all but greedy": {
        "top_k": 9, "top_p": 0.95, "typical_p": 0.9, "min_p": 0.02, "mirostat": 3.0,
        "no_repeat": 3, "repetition_penalty": 1.2, "beta": 0.7,
    },
}  # fmt: skip


@pytest.fixture
def model():
    """Make a model with every weight drawn at random."""

    def make(cell: str, hidden_size: int = 21, layers: int = 2, **options) -> TextModel:
        config = TextConfig(cell=cell, hidden_size=hidden_size, layers=layers, **options)
        model = TextModel(Characters.of("abcdefghijklm nopq"), config)
        for p in model.parameters():
            torch.nn.init.normal_(p, 0, 0.2)
        return model

    return make


@pytest.fixture
def by_the_model(monkeypatch):
    """Write without the compiled loop."""

    def write(model: TextModel, *args, **options):
        with monkeypatch.context() as patch:
            patch.setattr(TextModel, "compiled", lambda *_: None)
            return model.generate(*args, **options)

    return write


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_writes_what_the_model_does(cell, model, by_the_model):
    one = model(cell)
    assert one.compiled(None, 1) is not None
    for prompt in ("", "abc"):
        expected = by_the_model(one, prompt, 130, count=3)
        assert one.generate(prompt, 130, count=3) == expected
        assert len(set(expected)) == 3


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_every_way_of_sampling_draws_the_same(sampling, model, by_the_model):
    one, options = model("gru"), SAMPLINGS[sampling]
    assert one.generate("a", 130, **options) == by_the_model(one, "a", 130, **options)
    together = one.generate("abcabc", 70, count=2, **options)
    assert together == by_the_model(one, "abcabc", 70, count=2, **options)
    assert together[0] == one.generate("abcabc", 70, **options)


@pytest.mark.parametrize("options", [{"layers": 1}, {"layers": 3}, {"tied": True}], ids=str)
def test_any_stack_writes_the_same(options, model, by_the_model):
    if "tied" in options:
        options |= {"embedding_size": 21}
    one = model("gru", **options)
    assert one.generate("a", 90) == by_the_model(one, "a", 90)


def test_many_texts_on_many_threads_are_those_of_one(model, monkeypatch):
    one = model("gru")
    expected = one.generate("ab", 70, count=50)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert one.generate("ab", 70, count=50) == expected
    assert one.generate("ab", 70, count=7) == expected[:7]
    assert "".join(one.stream("ab", 70, sample=4)) == expected[4][2:]


def test_texts_end_at_a_stop_string(model, by_the_model):
    one = model("gru")
    written = one.generate("", 200)
    stop = written[100:103]
    cut = one.generate("", 200, stop=[stop])
    assert cut == written[: written.index(stop)] == by_the_model(one, "", 200, stop=[stop])


def test_weights_that_change_are_heeded(model, by_the_model):
    one = model("gru")
    before = one.generate("a", 60)
    with torch.no_grad():
        one.output.bias.neg_()
    assert before != one.generate("a", 60) == by_the_model(one, "a", 60)


def test_in_float64_the_model_itself_writes(model):
    one = model("gru").double()
    assert one.compiled(None, 1) is None
    assert len(one.generate("a", 20)) == 21


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
@pytest.mark.parametrize("cell", ["lstm", "gru-before"])  # once read, and twice
def test_rounded_weights_write_what_the_rounded_model_does(cell, weights, model, by_the_model):
    one = model(cell)
    rounded = one.with_weights(weights)
    for count in (1, 11):  # rows that fill a tile, and those that do not
        expected = by_the_model(rounded, "abc", 100, count=count)
        assert rounded.generate("abc", 100, count=count) == expected
        assert one.generate("abc", 100, count=count, weights=weights) == expected


@pytest.mark.parametrize("tied", [False, True])
def test_every_matrix_is_rounded_but_an_embedding_of_its_own(tied, model):
    one = model("lstm-peephole", 16, embedding_size=16, tied=tied)
    before = {name: p.clone() for name, p in one.named_parameters()}
    rounded = one.with_weights("int8")
    assert rounded.weights == "int8"
    for name, p in rounded.named_parameters():
        changed = p.ndim == 2 and (tied or name != "embedding.weight")
        assert torch.equal(p, before[name]) != changed
    assert all(torch.equal(p, before[name]) for name, p in one.named_parameters())
    assert one.with_weights("float32") is one
    assert rounded.with_weights("int8") is rounded
    with pytest.raises(InputError, match="are int8; round the original"):
        rounded.with_weights("bfloat16")
    with pytest.raises(InputError, match="float32, bfloat16 or int8, not int4"):
        one.generate("a", weights="int4")
