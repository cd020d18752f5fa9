"""Learning words: parts, scores, runs and commands, as for characters."""

import json
import math
import os
import re

import numpy as np
import pytest
import torch

import plait
from plait.cli import run as command
from plait.data import read_text
from plait.errors import InputError
from plait.tasks.text.baselines import ngram_baseline
from plait.tasks.text.config import TextConfig
from plait.tasks.text.data import encode_splits, split, vocabulary_of
from plait.tasks.text.dynamic import score_dynamic
from plait.tasks.text.scores import score_stream
from plait.tasks.text.task import TextTask
from plait.tasks.text.words import UNKNOWN, Words, split_words
from plait.training.checkpoint import load_tensors
from plait.training.progress import Progress
from plait.training.run import Run

PROSE = "It was the best of times, it was the worst of times; the age of wisdom was the age. " * 30
SMALL = {
    "units": "words", "hidden_size": 6, "embedding_size": 5, "layers": 1, "length": 7,
    "batch_size": 3, "threads": 1, "steps": 12, "lr": 0.02,
}  # fmt: skip


@pytest.fixture
def prose(tmp_path, monkeypatch) -> str:
    monkeypatch.setattr("plait.tasks.text.task.SAMPLE_LENGTH", 10)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prose.txt").write_text(PROSE + "The end is never seen twice.")
    return "prose.txt"


@pytest.fixture
def in_parts(tmp_path, monkeypatch) -> str:
    """A prepared text in three parts under $PLAIT_DATA."""
    monkeypatch.setenv("PLAIT_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / "text").mkdir(parents=True)
    texts = {"train": " a <unk> b c \n" * 20 + " once a \n", "valid": " b a \n c \n", "test": "a z"}
    for part, text in texts.items():
        (tmp_path / "data" / "text" / f"tree.{part}.txt").write_text(text)
    return "tree"


def complaint(capsys, *words: str) -> str:
    """The one line on stderr of a command that ends with code 2."""
    capsys.readouterr()
    assert command(list(words)) == 2
    out, errors = capsys.readouterr()
    assert (out, errors.count("\n")) == ("", 1)
    return errors


def task(data: str, **options) -> TextTask:
    return TextTask(TextConfig(data=data, **{**SMALL, **options}), torch.device("cpu"))


def test_the_vocabulary_is_of_the_training_set_and_others_are_unk(prose):
    made = task(prose)
    symbols = split_words(read_text(prose).characters)
    training, _, _ = split(symbols)
    assert set(made.vocabulary.symbols) == {UNKNOWN, *training}
    assert [len(p) for p in (made.training, made.validation, made.testing)] == [
        len(p) for p in split(symbols)
    ]
    assert made.vocabulary.decode(made.testing.tolist()).endswith(" ".join([UNKNOWN] * 7))
    scores = made.test()
    share = (made.testing[1:] == 0).double().mean().item()
    assert scores["unknown_share"] == share > 0
    assert "bits_per_character" not in scores
    assert scores["perplexity"] == pytest.approx(math.exp(scores["loss"]), rel=1e-12)
    ngram = ngram_baseline(made.training, made.validation, made.testing, made.vocabulary)
    assert scores["ngram_perplexity"] == ngram["ngram_perplexity"]
    assert len(task(prose, vocabulary=4).vocabulary) == 4


def test_what_only_the_end_of_a_text_repeats_is_unknown(tmp_path):
    path = tmp_path / "raven.txt"
    path.write_text(PROSE + "raven " * 5)
    assert task(str(path)).vocabulary.unknown("age raven") == ["raven"]


def test_a_batch_reports_its_perplexity(prose):
    made = task(prose)
    loss, scores, _ = made.loss(made.model, made.batch(1), made.start())
    assert set(scores) == {"perplexity", "accuracy"}
    assert scores["perplexity"].item() == pytest.approx(loss.detach().exp().item(), rel=1e-6)


def test_a_text_in_three_parts_keeps_them(in_parts):
    text = read_text(in_parts)
    assert text.source.endswith("tree.*.txt")
    config = TextConfig(data=in_parts, **SMALL)
    vocabulary = vocabulary_of(text, config, {})
    assert isinstance(vocabulary, Words)
    assert vocabulary.symbols == [UNKNOWN, "\n", "a", "b", "c", "once"]
    training, validation, testing = encode_splits(text, vocabulary)
    assert len(training) == 20 * 5 + 3
    assert vocabulary.decode(validation.tolist()) == "b a\nc\n"
    assert vocabulary.decode(testing.tolist()) == "a <unk>"
    letters = TextTask(TextConfig(data=in_parts, length=5, batch_size=2), torch.device("cpu"))
    assert letters.vocabulary.decode(letters.validation.tolist()) == text.parts[1]
    assert text.characters == "\n".join(text.parts)


@pytest.mark.parametrize("options", [{}, {"word_graph": 3, "dropout": 0.2, "k": 2}])
def test_a_stopped_run_goes_on_bit_for_bit(prose, options):
    def stopping(step: int, record: object) -> None:
        if step == 7:
            raise KeyboardInterrupt

    progress = Progress()
    progress.step = stopping
    whole = plait.train("text", data=prose, out="whole", **SMALL, **options)
    with pytest.raises(KeyboardInterrupt):
        plait.train("text", data=prose, out="cut", progress=progress, **SMALL, **options)
    cut = plait.resume("cut")
    ours, theirs = load_tensors(cut.model_path), load_tensors(whole.model_path)
    assert ours[1] == theirs[1]
    assert all(torch.equal(ours[0][k], theirs[0][k]) for k in theirs[0])
    assert cut.records("test") == whole.records("test")
    assert whole.records("valid")[-1]["perplexity"] < whole.records("valid")[0]["perplexity"]


def test_a_run_writes_scores_and_is_looked_into(prose, capsys):
    run = plait.train("text", data=prose, out="run", word_graph=2, **SMALL)
    model = plait.load(run)
    assert model.generate("the age ", 20, greedy=True).startswith("the age ")
    texts = model.generate("the age", 60, seed=2, count=2, stop=["times"])
    assert all("times" not in text for text in texts)
    written = model.generate("the age", 60, seed=2)
    assert "".join(model.stream("the age", 60, seed=2)) == written.removeprefix("the age")
    assert model.beam_search("the age", 5, beams=1) == model.generate("the age", 5, greedy=True)
    scores = plait.score(run)
    (logged,) = run.records("test")
    for name in ("perplexity", "unknown_share", "ngram_perplexity"):
        assert scores[name] == logged[name]
    (found,) = plait.inspect(run, repetition=True)
    assert "filter" in str(found.parameters)
    assert found.without_flow == ""
    assert "repeated pieces" in str(found.repetition)
    error = complaint(capsys, "generate", "run", "--prompt", "the xyzzy age, quux")
    assert error == (
        "plait: the model has never seen 'quux', 'xyzzy'; write <unk> instead, or --skip-unknown "
        "leaves them out\n"
    )
    assert command(["generate", "run", "--prompt", "the xyzzy age", "--length", "3",
                    "--skip-unknown"]) == 0  # fmt: skip
    assert capsys.readouterr().out.startswith("the age")
    assert command(["compare", "text", "--data", prose, "--vary", "cell=rnn,gru", "--seeds", "1",
                    "--out", "grid", "--steps", "2", "--units", "words", "--hidden-size", "4",
                    "--length", "7", "--batch-size", "3"]) == 0  # fmt: skip
    assert "perplexity" in capsys.readouterr().out


def test_words_never_seen_in_another_text_are_unk_or_skipped(prose, tmp_path):
    run = plait.train("text", data=prose, out="run", **SMALL)
    model = plait.load(run)
    (tmp_path / "other.txt").write_text("the age of xyzzy was the worst of times")
    scores = plait.score(run, "other.txt", dynamic=True)
    numbers = torch.from_numpy(model.vocabulary.read("the age of <unk> was the worst of times"))
    assert (scores["words"], scores["unknown_share"]) == (8, 1 / 8)
    assert scores["perplexity"] == score_stream(model, numbers)["perplexity"]
    assert scores["dynamic_perplexity"] == score_dynamic(model, numbers, scores["dynamic_rate"])
    skipped = plait.score(run, "other.txt", skip_unknown=True)
    assert (skipped["characters_skipped"], skipped["words"]) == (len(" xyzzy"), 7)
    assert skipped["unknown_share"] == 0


def test_the_words_of_a_run_to_begin_with_stay_known(prose, tmp_path):
    options = {k: v for k, v in SMALL.items() if "size" not in k and k not in ("layers", "units")}
    options |= {"batch_size": 3, "lr": 0}
    first = plait.train("text", data=prose, out="first", word_graph=2, **SMALL)
    (tmp_path / "new.txt").write_text("a brave new world, a new age of the brave. " * 40)
    run = plait.train("text", data="new.txt", out="run", from_run=first, **options)
    model, before = plait.load(run), plait.load(first)
    assert model.vocabulary.symbols[: len(before.vocabulary)] == before.vocabulary.symbols
    assert "brave" in model.vocabulary.symbols
    rows = len(before.vocabulary)
    assert torch.equal(model.embedding.weight[:rows], before.embedding.weight)
    assert torch.equal(model.filter.weights["weight"], before.filter.weights["weight"])
    assert model.graph.num_nodes == len(model.vocabulary) > before.graph.num_nodes


BAD = {
    "a short text": (["--data", "short.txt"], "short.txt has 6 words; at least 40 are needed"),
    "one line": (["--data", "line.txt"], "the training set has 54 words, too few for 16 streams"),
    "long sequences": (["--data", "line.txt", "--batches", "windows", "--length", "99"],
                       "the training set has 54 words, fewer than a sequence of length 99"),
    "no word twice": (["--data", "once.txt"], "once.txt: no word occurs twice in the training"),
    "unknown words alone": (["--data", "unk.txt"], "unk.txt: no word is there but <unk> in the tr"),
    "too many neighbours": (["--word-graph", "14", "--length", "5"],
                            "--word-graph 14 is too many neighbours for a vocabulary of 14 words"),
    "a negative graph": (["--word-graph", "-1"], "--word-graph must be at least 0, not -1"),
    "a vocabulary of one": (["--vocabulary", "1"], "--vocabulary must be at least 2, not 1"),
    "a graph of characters": (["--units", "chars", "--word-graph", "4"],
                              "--word-graph is for --units words alone"),
    "terms for bytes": (["--units", "bytes", "--k", "2"], "--k is for --units words alone"),
    "chosen characters": (["--units", "chars", "--vocabulary", "9"],
                          "--vocabulary is for --units words or bpe alone"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_used_is_refused_in_a_line(prose, tmp_path, capsys, case):
    (tmp_path / "short.txt").write_text("one two one two.\n")
    (tmp_path / "line.txt").write_text("one two " * 30)
    (tmp_path / "unk.txt").write_text(f"{UNKNOWN} " * 100)
    (tmp_path / "once.txt").write_text(" ".join(map(str, range(100))))
    options, message = BAD[case]
    given = {"--data": prose, "--units": "words", "--out": "run", "--batch-size": "16"}
    given |= dict(zip(options[::2], options[1::2], strict=True))
    error = complaint(capsys, "train", "text", *[word for pair in given.items() for word in pair])
    assert message in error
    assert not (tmp_path / "run").exists()


def test_the_penn_treebank_is_found_with_its_parts_or_its_terms_are_named(tmp_path, monkeypatch):
    folder = os.environ.get("PLAIT_DATA", "")
    monkeypatch.setenv("PLAIT_DATA", str(tmp_path))
    monkeypatch.setattr("plait.data.cache_folder", lambda: tmp_path / "cache")
    for ask in (read_text, plait.data.get_data):
        with pytest.raises(InputError, match=r"ptb.*Linguistic Data Consortium; put ptb\.train"):
            ask("ptb")
    if not os.path.exists(f"{folder}/text/ptb.train.txt"):  # noqa: PTH110
        pytest.skip("no ptb under $PLAIT_DATA")
    monkeypatch.setenv("PLAIT_DATA", folder)
    text = read_text("ptb")
    vocabulary = vocabulary_of(text, TextConfig(data="ptb", units="words"), {})
    parts = encode_splits(text, vocabulary)
    assert len(vocabulary) == 10_000
    assert [len(part) for part in parts] == [929_589, 73_760, 82_430]
    assert np.bincount(parts[0].numpy())[[0, vocabulary.number("\n")]].tolist() == [45_020, 42_068]
    assert vocabulary.decode(parts[2][:6].tolist()) == "no it was n't black monday"


def test_a_run_folder_keeps_the_words(prose):
    run = plait.train("text", data=prose, out="run", **SMALL)
    facts = json.loads((run.path / "config.json").read_text())["facts"]
    assert facts["vocabulary"]["words"][0] == UNKNOWN
    assert Run.open(run.path).facts == run.facts
    assert re.search(r"perplexity", json.dumps(run.records("train")[0]))
