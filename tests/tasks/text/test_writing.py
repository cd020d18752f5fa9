"""What `plait generate` is asked for: what excludes what, and the pieces of the texts."""

import re

import pytest

from plait.errors import InputError
from plait.tasks.text.config import TextConfig
from plait.tasks.text.model import TextModel
from plait.tasks.text.vocabulary import Characters
from plait.tasks.text.writing import LONG, TextRequest


@pytest.fixture(scope="module")
def model() -> TextModel:
    return TextModel(Characters.of("abc\n"), TextConfig(hidden_size=4)).eval()


def test_a_single_text_has_no_heading_and_several_are_numbered(model):
    one = model.generate("ab", 5, seed=3)
    assert list(TextRequest(prompts=["ab"], length=5, seed=3).write(model)) == [f"{one}\n"]
    two = model.generate("ab", 5, seed=3, count=2)
    pieces = list(TextRequest(prompts=["ab"], length=5, seed=3, count=2).write(model))
    assert pieces == ["--- 0\n", f"{two[0]}\n", "--- 1\n", f"{two[1]}\n"]


def test_a_streamed_or_long_text_is_the_same_in_pieces(model):
    whole = model.generate("ab\r\n", 70, seed=1)
    pieces = list(TextRequest(prompts=["ab\r\n"], length=70, seed=1, stream=True).write(model))
    assert len(pieces) == 72  # the prompt, every symbol, the line end
    assert "".join(pieces) == f"{whole}\n"
    long = TextRequest(prompts=[""], length=LONG + 1).write(model)
    assert [len(next(long)) for _ in range(3)] == [0, 64, 64]


def test_beams_are_those_of_the_model(model):
    found = model.beam_search("a", 4, beams=3)
    assert list(TextRequest(prompts=["a"], length=4, beams=3).write(model)) == [f"{found}\n"]
    found = model.contrastive_search("a", 4, alpha=0.5, candidates=2)
    request = TextRequest(prompts=["a"], length=4, contrastive=0.5, sampling={"top_k": 2})
    assert list(request.write(model)) == [f"{found}\n"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stream": True, "beams": 2}, "give one of --stream and --beams"),
        ({"stream": True, "prompts": ["a", "b"]}, "--stream writes one text to its end"),
        ({"listing": True, "stop": ["."]}, "--listing writes one text to its end"),
        ({"listing": True, "weights": "int8"}, "leave out --weights"),
        ({"contrastive": 0.5, "beams": 2}, "give one of --beams and --contrastive"),
        ({"contrastive": 0.5, "sampling": {"beta": 1}}, "but with no other sampling option"),
        ({"contrastive": 0.5, "mix": True}, "but with no other sampling option, --mix or --cache"),
        ({"listing": True, "cache": True}, "leave out --cache"),
        ({"beams": 2, "sampling": {"top_k": 1}}, "cannot be combined with sampling options"),
    ],
)
def test_options_that_exclude_each_other_are_refused(options, message):
    with pytest.raises(InputError, match=re.escape(message)):
        TextRequest(**{"prompts": ["a"], **options})


def test_options_left_at_their_defaults_exclude_nothing():
    TextRequest(prompts=["a"], beams=2, sampling={"top_k": None, "greedy": False})
