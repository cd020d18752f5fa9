"""A large text, which is numbered once into a file, is the text in memory."""

import os
import random
import resource
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import plait
from plait import text_pieces
from plait.cli import run as command
from plait.errors import InputError
from plait.tasks.text import baselines, byte_pairs, data, encoded, number_file, numbering
from plait.tasks.text.batches import StatefulStreams, Windows
from plait.tasks.text.config import TextConfig
from plait.tasks.text.data import read_data
from plait.tasks.text.words import split_words

WORDS = ["the", "cat", "Hund's", "well-known", "naïve", "猫", "it", "x" * 9, "42"]
UNKNOWN = [*WORDS, "<unk>"]
MARKS = [" ", " ", " ", ", ", ".\n", "\n\n", " (", ") ", "! ", "  ", "…", "'", " <", "> "]

OPTIONS: dict[str, dict[str, Any]] = {
    "chars": {},
    "bytes": {},
    "bpe": {"vocabulary": 300},
    "words": {"vocabulary": 6},
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr("plait.tasks.text.encoded.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(number_file, "BLOCK", 100)
    return tmp_path / "cache" / "encoded"


def prose(seed: int, length: int = 3000, words: list[str] = WORDS) -> str:
    draw = random.Random(seed)
    return "".join(draw.choice(words) + draw.choice(MARKS) for _ in range(length // 6))[:length]


@pytest.fixture
def book(tmp_path) -> Path:
    path = tmp_path / "a.book.txt"
    path.write_text(prose(0), "utf-8")
    return path


def large(monkeypatch, piece: int = 50) -> None:
    """From here on every text is large, and read in small pieces."""
    monkeypatch.setattr(encoded, "LARGE", 0)
    monkeypatch.setattr(text_pieces, "BOOK", 0)
    monkeypatch.setattr(text_pieces, "PIECE", piece)
    monkeypatch.setattr(byte_pairs, "CHUNK", 70)
    monkeypatch.setattr(numbering, "CHUNK", 70)


def same(ours: data.TextData, theirs: data.TextData) -> None:
    assert ours.vocabulary.facts == theirs.vocabulary.facts
    for a, b in zip(ours.splits, theirs.splits, strict=True):
        assert torch.equal(a.long(), b)
    assert (ours.name, ours.sha256, ours.characters) == (
        theirs.name, theirs.sha256, theirs.characters,
    )  # fmt: skip
    np.testing.assert_equal(ours.symbols_per_character, theirs.symbols_per_character)


@pytest.mark.parametrize("units", OPTIONS)
@pytest.mark.parametrize("piece", [1, 53])
def test_the_numbers_are_those_of_the_text_in_memory(units, piece, book, monkeypatch) -> None:
    if units == "bpe":
        pytest.importorskip("tokenizers")
    monkeypatch.setattr(byte_pairs, "LEAST_OCCURRENCES", 5)
    monkeypatch.setattr(byte_pairs, "CHUNK", 70)
    config = TextConfig(data=str(book), units=units, **OPTIONS[units])
    small = read_data(config, {})
    large(monkeypatch, piece)
    same(read_data(config, {}), small)
    monkeypatch.setattr(encoded, "_write", None)  # it is not read again
    again = read_data(config, {})
    same(again, small)
    assert again.splits.train.element_size() < 8


@pytest.mark.parametrize("units", ["chars", "words"])
def test_parts_and_known_symbols(units, tmp_path, monkeypatch, cache) -> None:
    monkeypatch.setenv("PLAIT_DATA", str(tmp_path))
    (tmp_path / "text").mkdir()
    for k, part in enumerate(("train", "valid", "test")):
        (tmp_path / "text" / f"mine.{part}.txt").write_text(prose(k, 400), "utf-8")
    config = TextConfig(data="mine", units=units, **OPTIONS[units])
    other = {"chars": "aäz€", "words": {"words": ["<unk>", "zebra", "the"], "prepared": False}}
    knowns = [{}, {"vocabulary": other[units], "sha256": "other"}]
    small = [read_data(config, known) for known in knowns]
    large(monkeypatch)
    for known, theirs in zip(knowns, small, strict=True):
        same(read_data(config, known), theirs)
    folders = sorted(p for p in cache.iterdir() if p.is_dir())
    read_data(config, {"vocabulary": small[0].vocabulary.facts})  # of a run that goes on
    assert sorted(p for p in cache.iterdir() if p.is_dir()) == folders
    assert len(folders) == 2


def test_pieces_are_cut_between_words() -> None:
    for seed in range(30):
        text = prose(seed, 300, UNKNOWN)
        for prepared in (False, True):
            cutting = numbering.WordNumbering(9, {"words": [], "prepared": prepared})
            for size in (1, 7, 40):
                pieces = [text[k : k + size] for k in range(0, len(text), size)]
                cut = list(cutting.pieces(iter(pieces)))
                assert "".join(cut) == text
                symbols = [word for piece in cut for word in split_words(piece, prepared)]
                assert symbols == split_words(text, prepared)


def test_more_than_256_symbols_and_bounded_words(tmp_path, monkeypatch) -> None:
    path = tmp_path / "wide.txt"
    path.write_text("ab\n" * 50 + "".join(map(chr, range(0x4E00, 0x4E00 + 700))) * 2, "utf-8")
    config = TextConfig(data=str(path))
    small = read_data(config, {})
    large(monkeypatch)
    wide = read_data(config, {})
    same(wide, small)
    assert wide.splits.train.dtype == torch.int16
    path.write_text("a <unk> b\nc <unk> d\n" * 20)
    found = read_data(TextConfig(data=str(path), units="words"), {}).vocabulary
    assert found.facts == {"words": ["<unk>", "\n", "a", "b", "c", "d"], "prepared": True}
    monkeypatch.setattr(numbering, "DISTINCT", 3)
    path.write_text("one two three four\n" * 100)
    words = read_data(TextConfig(data=str(path), units="words"), {}).vocabulary
    assert words.symbols == ["<unk>", "one", "two"]


def test_held_out_sets_are_bounded_and_a_run_says_so(book, monkeypatch) -> None:
    monkeypatch.setattr(data, "HELD_OUT", 40)
    large(monkeypatch)
    found = read_data(TextConfig(data=str(book)), {})
    assert [len(part) for part in found.splits] == [2920, 40, 40]
    run = plait.train("text", data=str(book), **SMALL, out=book.parent / "run")
    assert run.facts["held_out"] == 40


def test_batches_are_those_of_the_text_in_memory(book) -> None:
    numbers = torch.arange(200)
    for kind in (Windows, StatefulStreams):
        options: dict[str, Any] = {"length": 5, "batch_size": 3, "seed": 1}
        x, y, fresh = kind(numbers, **options).batch(2)
        narrow = kind(numbers.to(torch.int16), **options, device="cpu").batch(2)
        assert torch.equal(x, narrow[0])
        assert torch.equal(y, narrow[1])
        assert fresh == narrow[2]


SMALL: dict[str, Any] = {
    "hidden_size": 4, "embedding_size": 4, "layers": 1, "length": 5, "batch_size": 3, "steps": 2,
    "threads": 1,
}  # fmt: skip


def test_a_run_is_that_of_the_text_in_memory(book, monkeypatch, tmp_path) -> None:
    small = plait.train("text", data=str(book), **SMALL, out=tmp_path / "small")
    large(monkeypatch)
    monkeypatch.setattr(baselines, "COUNTED", 2000)
    mapped = plait.train("text", data=str(book), **SMALL, out=tmp_path / "mapped")
    assert mapped.facts == small.facts
    a, b = (dict(run.records("test")[0]) for run in (small, mapped))
    assert b.pop("ngram_symbols") == 2000
    kept = [k for k in a if not k.startswith(("ngram", "mix", "seconds"))]
    assert {k: a[k] for k in kept} == {k: b[k] for k in kept}
    assert plait.score(small)["loss"] == a["loss"]
    assert plait.score(mapped)["ngram_symbols"] == 2000


def test_a_changed_text_is_read_again_and_a_damaged_file_too(book, monkeypatch, cache) -> None:
    large(monkeypatch)
    config = TextConfig(data=str(book))
    before = read_data(config, {})
    numbers = next(cache.glob("*/numbers"))
    numbers.write_bytes(numbers.read_bytes()[:-3])
    for a, b in zip(read_data(config, {}).splits, before.splits, strict=True):
        assert torch.equal(a, b)
    left = cache / f".{numbers.parent.name}.left"
    left.mkdir()
    book.write_text("abc " * 100)
    after = read_data(config, {})
    assert (after.characters, after.vocabulary.facts) == (400, " abc")
    assert not left.exists()
    assert len(list(cache.glob("*/numbers"))) == 1
    book.write_text("")
    with pytest.raises(InputError, match=r"a\.book\.txt is empty; give a file with some text"):
        read_data(config, {})


def test_an_interrupt_leaves_what_was_there(book, monkeypatch, cache) -> None:
    large(monkeypatch)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(numbering.CharacterNumbering, "finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            read_data(TextConfig(data=str(book)), {})
    assert [p.suffix for p in cache.iterdir()] == [".lock"]


def test_a_full_disk_is_one_line(book, monkeypatch, cache, capsys, tmp_path) -> None:
    large(monkeypatch)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        words = ["train", "text", "--data", str(book), "--out", str(tmp_path / "run")]
        assert command(words) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "File too large; the text is kept there in numbers: make room, or set XDG_CACHE" in said
    assert [p.suffix for p in cache.iterdir()] == [".lock"]
    assert not (tmp_path / "run").exists()
