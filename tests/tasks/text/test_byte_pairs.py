"""Byte pairs: symbols give their text back, and scores are per character whatever the units."""

import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import plait
from plait.cli.entry import run as command
from plait.errors import InputError
from plait.tasks.splits import Splits
from plait.tasks.text import byte_pairs
from plait.tasks.text.byte_pairs import BytePairs
from plait.tasks.text.config import TextConfig
from plait.tasks.text.data import encode_splits, text_of, vocabulary_of
from plait.tasks.text.scores import in_reported_units
from plait.training.run import Run

SENTENCE = "the cat, the dog and the cow went down the road — naïve. "
SMALL = {"units": "bpe", "hidden_size": 16, "layers": 1, "length": 8, "batch_size": 4, "threads": 1}


@pytest.fixture(scope="module")
def tokens() -> BytePairs:
    return BytePairs.of(SENTENCE * 120, most=280)


@pytest.fixture
def book(tmp_path) -> str:
    path = tmp_path / "book.txt"
    path.write_text(SENTENCE * 200 + "zyzzyva zyzzyva " * 110, encoding="utf-8")
    return str(path)


def test_the_symbols_are_bytes_and_the_most_frequent_pairs(tokens):
    assert tokens.symbols[0] == b"!"
    assert sorted(tokens.symbols[:256]) == [bytes([b]) for b in range(256)]
    assert tokens.symbols[256] in (b"th", b"he")  # equally frequent, and more than any other
    assert len(tokens) == 280
    text = SENTENCE.encode()
    assert all(text.count(symbol) for symbol in tokens.symbols[256:])


def test_rare_pairs_are_no_symbols():
    assert len(BytePairs.of("abcdef " * 99, most=1000)) == 256
    assert b"abcdef" in BytePairs.of("abcdef " * 100, most=1000).symbols


@pytest.mark.parametrize("text", ["", "the cat", " ", "\n\n\t x", "猫 naïve 🙂 \0", SENTENCE * 3])
def test_symbols_give_their_text_back(tokens, text):
    numbers = tokens.encode(text)
    assert numbers.dtype == np.int64
    assert tokens.decode(numbers) == text
    assert "".join(map(tokens.decoder(), numbers)) == text
    assert tokens.count_characters(numbers) == len(text)


def test_long_texts_are_numbered_in_pieces(tokens, monkeypatch):
    monkeypatch.setattr(byte_pairs, "CHUNK", 10)
    text = "the road, 猫, " * 9
    assert tokens.decode(tokens.encode(text)) == text


def test_a_character_in_two_symbols_is_shown_with_its_end(tokens):
    decode = tokens.decoder()
    pieces = [decode(n) for n in tokens.encode("猫")]
    assert len(pieces) > 1
    assert pieces == [""] * (len(pieces) - 1) + ["猫"]


def test_they_are_made_again_from_json(tokens):
    again = BytePairs(json.loads(json.dumps(tokens.facts)))
    assert again.symbols == tokens.symbols
    assert again.encode(SENTENCE).tolist() == tokens.encode(SENTENCE).tolist()


def test_scores_are_bits_per_character(tokens):
    numbers = torch.from_numpy(tokens.encode(SENTENCE))
    characters = len(SENTENCE) - len(tokens.symbols[numbers[0]].decode())
    expected = (len(numbers) - 1) / characters  # at one bit a symbol
    scores = in_reported_units(tokens, math.log(2), numbers)
    assert scores == {"bits_per_character": pytest.approx(expected, rel=1e-12)}


def test_the_training_set_alone_is_learnt_from(book):
    config = TextConfig(data=book, units="bpe")
    text = text_of(config)
    tokens = vocabulary_of(text, config, {})
    assert b"zyzzyva" not in tokens.symbols  # it is frequent, but at the end
    parts = Splits(*map(tokens.decode, encode_splits(text, tokens)))
    n = len(text.characters)
    assert parts.train == text.characters[: len(parts.train)]
    assert (len(parts.valid), len(parts.test)) == (int(n * 0.05), int(n * 0.05))
    assert "".join(parts) == text.characters


def test_a_run_trains_scores_generates_and_resumes(book, tmp_path, capsys):
    run = plait.train("text", data=book, **SMALL, steps=4, out=tmp_path / "run")
    (test,) = run.records("test")
    assert test["bits_per_character"] < test["loss"] / math.log(2)  # a symbol has more than one
    assert test["ngram_bits_per_character"] > 0
    assert plait.score(run)["bits_per_character"] == pytest.approx(test["bits_per_character"])
    model = plait.load(run.path)
    assert model.generate("naïve 猫", 5, seed=1).startswith("naïve 猫")
    assert command(["generate", str(run.path), "--prompt", "the cat", "--length", "9"]) == 0
    assert capsys.readouterr().out.startswith("the cat")
    more = plait.train("text", data=book, from_run=run, length=8, batch_size=4, threads=1, steps=1,
                       out=tmp_path / "more")  # fmt: skip
    assert more.facts["vocabulary"] == run.facts["vocabulary"]
    (tmp_path / "run" / "metrics.jsonl").write_text("")
    assert plait.resume(run.path).records("test")[0]["step"] == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": "bpe", "vocabulary": 256}, "--vocabulary 256 is too small for --units bpe, "
         "whose first 256 symbols are the bytes; give at least 257, or --units bytes"),
        ({"units": "bpe", "word_graph": 4}, "--word-graph is for --units words alone"),
        ({"units": "chars", "vocabulary": 300}, "--vocabulary is for --units words or bpe alone"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused(book, options, message):
    text = text_of(TextConfig(data=book))
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        vocabulary_of(text, TextConfig(data=book, **options), {})


def test_bytes_that_are_no_text_are_refused(tokens):
    with pytest.raises(InputError, match=r"is not text: it has bytes that are not UTF-8$"):
        tokens.encode("a\udcff")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    message = "^--units bpe needs the package tokenizers; install it: pip install 'plait\\[bpe\\]'$"
    with pytest.raises(InputError, match=message):
        BytePairs.of("abc", 300)


def test_a_damaged_tokenizer_is_named(book, tmp_path):
    plait.train("text", data=book, **SMALL, steps=1, out=tmp_path / "run")
    file = tmp_path / "run" / "config.json"
    content = json.loads(file.read_text("utf-8"))
    content["facts"]["vocabulary"] = {"model": 3}
    file.write_text(json.dumps(content), "utf-8")
    with pytest.raises(InputError, match=f"^{re.escape(str(file))} is damaged: "):
        plait.load(Run.open(Path(tmp_path, "run")).path)
