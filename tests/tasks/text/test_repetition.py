"""How much is repeated: by brute force, and compared with the text itself."""

import math
import random
import re
from pathlib import Path

import pytest

import plait
from plait.cli import run as run_command
from plait.errors import InputError
from plait.tasks.text.config import TextConfig
from plait.tasks.text.repetition import measure_repetition, repeated_share

TINY = {
    "hidden_size": 8, "embedding_size": 4, "layers": 1, "length": 10, "batch_size": 4, "steps": 2,
    "threads": 1, "device": "cpu",
}  # fmt: skip


def naive(text: str, span: int) -> float:
    """Look back from every piece."""
    places = range(len(text) - span + 1)
    before = [any(text[j : j + span] == text[k : k + span] for j in range(k)) for k in places]
    return sum(before) / len(before)


@pytest.mark.parametrize("span", [1, 3, 10])
def test_the_share_is_what_looking_back_finds(span):
    draw = random.Random(span)
    for symbols in ("a", "ab", "abcdefgh"):
        text = "".join(draw.choices(symbols, k=60)) * draw.choice([1, 2])
        assert repeated_share(text, span) == pytest.approx(naive(text, span), abs=1e-12)


def test_what_is_too_short_to_repeat_repeats_nothing():
    assert repeated_share("") == repeated_share("too short") == 0
    assert repeated_share("aaaaaaaaaa") == 0
    assert repeated_share("a" * 11) == 0.5


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on random words, with a test set of 400 characters."""
    folder = tmp_path_factory.mktemp("text")
    draw = random.Random(0)
    words = [" ".join(draw.choices(["so", "it", "goes", "on", "and"], k=3000))]
    (folder / "a.txt").write_text(words[0][:8000])
    return plait.train("text", data=str(folder / "a.txt"), out=folder / "run", **TINY)


def measured(run, **options):
    config = TextConfig.from_dict(run.config)
    return measure_repetition(plait.load(run), config, run.facts, **options)


def test_every_share_is_of_a_text_that_can_be_written_again(run):
    model, config = plait.load(run), TextConfig.from_dict(run.config)
    found = measured(run, betas=(0.5, 2.0, math.inf), texts=3, length=90)
    for beta in (0.5, 2.0):
        texts = model.generate("", 90, beta=beta, count=3, seed=config.seed)
        assert found.written[beta] == pytest.approx([naive(text, 10) for text in texts])
    greedy = [model.generate(c, 90, greedy=True)[1:] for c in run.facts["vocabulary"][::4]]
    assert found.written[math.inf] == pytest.approx([naive(text, 10) for text in greedy])
    heldout = Path(run.config["data"]).read_text()[-400:]
    stretches = [heldout[b : b + 90] for b in (0, 155, 310)]
    assert found.heldout == pytest.approx([naive(text, 10) for text in stretches])


def test_a_test_set_shorter_than_the_texts_makes_all_as_short(run):
    found = measured(run, betas=(1.0,), texts=2, length=1000)
    assert (found.length, len(found.heldout), len(found.written[1.0])) == (400, 1, 2)
    assert "in texts of 400\n" in str(found)


def test_the_command_prints_a_table_and_is_for_text_alone(run, tmp_path, capsys):
    assert run_command(["inspect", str(run.path), "--repetition"]) == 0
    table = capsys.readouterr().out.split("repeated pieces of 10 characters")[1]
    rows = re.findall(r"^(\S.*?) +([\d.]+)%", table, re.M)
    names = ["β = 0.5", "β = 1", "β = 2", "β = 3", "β = 5", "greedy", "held-out text"]
    assert [name for name, _ in rows] == names
    shares = dict(rows)
    assert float(shares["greedy"]) > float(shares["β = 0.5"])
    assert run_command(["inspect", str(run.path)]) == 0
    assert "repeated pieces" not in capsys.readouterr().out
    memory = plait.train("memory", problem="recall", length=3, out=tmp_path / "memory",
                         hidden_size=4, batch_size=4, steps=1, threads=1)  # fmt: skip
    for several in ([str(memory.path)], [str(run.path), str(memory.path)]):
        assert run_command(["inspect", *several, "--repetition"]) == 2
        out, errors = capsys.readouterr()
        assert out == ""
        assert errors == "plait: --repetition is for runs that write text, not for 'memory' runs\n"


def test_without_its_text_there_is_nothing_to_is_reported_too(tmp_path):
    (tmp_path / "b.txt").write_text("to be or not to be " * 50)
    run = plait.train("text", data=str(tmp_path / "b.txt"), out=tmp_path / "run", **TINY)
    (tmp_path / "b.txt").write_text("to be or not to bee " * 50)
    with pytest.raises(InputError, match="no longer what the run was trained on"):
        plait.inspect(run, repetition=True)
