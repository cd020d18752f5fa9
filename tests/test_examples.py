"""The examples run, and what they compute is right."""

import math
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
TINY = [
    "--hidden-size",
    "16",
    "--layers",
    "1",
    "--length",
    "16",
    "--batch-size",
    "8",
    "--lr",
    "0.02",
]


@pytest.fixture(scope="module")
def example():
    spec = spec_from_file_location("char_lstm", ROOT / "examples" / "char_lstm.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_model_learns_what_bigrams_cannot(example, tmp_path, capsys):
    file = tmp_path / "text.txt"
    file.write_text("aabb" * 500)  # after either letter both are equally frequent
    example.main([str(file), "--steps", "80", "--prompt", "aab", "--sample", "9", *TINY])
    said = capsys.readouterr().out
    found = re.search(r"LSTM ([\d.]+), bigram counts ([\d.]+)", said)
    assert found is not None
    assert float(found[1]) < 0.2
    assert float(found[2]) == pytest.approx(1, abs=0.01)
    assert "greedy:\naabbaabbaabb\n" in said
    assert "step 80/80: training loss 0." in said


def test_scores_are_those_of_the_definition(example):
    torch.manual_seed(0)
    model = example.CharLSTM("abc", 4, 1)
    text = torch.tensor(np.random.default_rng(0).integers(0, 3, 2500))
    with torch.no_grad():
        p = torch.softmax(model(text[:-1, None])[0][:, 0], -1)
    expected = -np.log2(p.numpy()[np.arange(2499), text[1:].numpy()]).mean()
    assert example.bits_per_character(model, text) == pytest.approx(expected, rel=1e-5)
    training = torch.tensor([0, 1, 0, 1, 0, 2])  # after 0: 1 twice, 2 once; plus one each
    bits = example.bigram_bits(training, torch.tensor([0, 1]), 3)
    assert bits == pytest.approx(-math.log2(3 / 6))


def test_targets_follow_their_characters(example):
    x, target = example.batch_of(torch.arange(40), 5, 6, seed=1)
    assert x.shape == (5, 6)
    assert torch.equal(target, x + 1)
    assert torch.equal(example.batch_of(torch.arange(40), 5, 6, seed=1)[0], x)


def test_a_sample_is_decided_by_its_seed(example):
    torch.manual_seed(0)
    model = example.CharLSTM("abcdefgh", 8, 2)
    texts = [model.sample("ab", 20, temperature=2.0, seed=s) for s in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]
    assert {len(text) for text in texts} == {22}


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("short", [], "is too short: 5 characters"),
        ("aabb" * 50, ["--prompt", "x"], "--prompt has characters that the text has not: ['x']"),
    ],
)
def test_bad_input_is_one_line(example, tmp_path, capsys, text, options, message):
    (tmp_path / "text.txt").write_text(text)
    with pytest.raises(SystemExit) as stopped:
        example.main([str(tmp_path / "text.txt"), *options])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_what_is_public_is_enough(example):
    code = (ROOT / "examples" / "char_lstm.py").read_text("utf-8")
    assert re.findall(r"(?:from|import) plait.*", code) == ["from plait import LSTM, Recurrent"]
    assert len(code.splitlines()) < 170
