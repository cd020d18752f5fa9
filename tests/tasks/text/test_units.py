"""Channels that keep track of the text: chosen on one half, measured on the other."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import plait
from plait.cli import run as run_command
from plait.errors import InputError
from plait.tasks.text.config import TextConfig
from plait.tasks.text.structure import positions, structure_of
from plait.tasks.text.units import find_units, read_all_states
from plait.training.run import Run

TINY = {
    "hidden_size": 6, "embedding_size": 4, "layers": 2, "length": 10, "batch_size": 4, "steps": 2,
    "threads": 1, "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Iterator[Run]:
    """A run on random words in lines, some of them quoted."""
    folder = tmp_path_factory.mktemp("units")
    draw = random.Random(0)
    words = [draw.choice(["so", '"it goes"', "on", "and"]) for _ in range(6000)]
    lines = [" ".join(words[k : k + 6]) for k in range(0, 6000, 6)]
    (folder / "a.txt").write_text("\n".join(lines)[:24_000])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plait.tasks.text.units.LENGTH", 90)
        patch.setattr("plait.tasks.text.units.ROWS", 1)
        yield plait.train("text", data=str(folder / "a.txt"), out=folder / "run", **TINY)


def test_the_channel_is_the_best_of_one_half_and_its_correlation_that_of_the_other(run, tmp_path):
    model, config = plait.load(run), TextConfig.from_dict(run.config)
    found = find_units(model, config, run.facts, tmp_path / "units.png")
    assert (tmp_path / "units.png").read_bytes()[:4] == b"\x89PNG"
    assert [u.feature for u in found.units] == [
        "in quotes", "position in line", "position in sentence", "position in word"
    ]  # there are no brackets, and no indentation  # fmt: skip
    text = Path(run.config["data"]).read_text()[-1200:]  # the test set: 3 streams of 400
    streams = [text[k : k + 400] for k in (0, 400, 800)]
    numbers = torch.stack([torch.from_numpy(model.vocabulary.encode(s)) for s in streams], 1)
    states = read_all_states(model, numbers)
    for unit in found.units:
        values = np.stack([positions(s)[unit.feature] for s in streams], 1)[100:]
        r = {
            (name, k, c): (
                np.corrcoef(values[:, :2].ravel(), s[100:, :2, k, c].ravel())[0, 1],
                np.corrcoef(values[:, 2], s[100:, 2, k, c])[0, 1],
            )
            for name, s in states.items() for k in range(2) for c in range(6)
        }  # fmt: skip
        best = max(r, key=lambda place: abs(r[place][0]))
        assert (unit.state, unit.layer - 1, unit.channel - 1) == best
        assert unit.correlation == pytest.approx(r[best][1], rel=1e-6)
    written = model.generate("", 90, beta=2.0, count=8, seed=config.seed)
    assert str(found.written["β = 2"]) == str(structure_of(written))
    assert list(found.written) == ["β = 1", "β = 2", "greedy", "held-out text"]


def test_states_are_those_of_every_layer_symbol_by_symbol(run):
    model = plait.load(run)
    numbers = torch.arange(10).view(5, 2) % len(model.vocabulary)
    states = read_all_states(model, numbers)
    _, (h, c) = model(numbers)
    for name, last in (("h", h), ("c", c)):
        assert states[name].shape == (5, 2, 2, 6)
        expected = last.transpose(0, 1).detach().numpy()
        np.testing.assert_allclose(states[name][-1], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("units", ["words", "bytes"])
def test_other_symbols_have_positions_too(run, tmp_path, units):
    other = plait.train(
        "text",
        data=run.config["data"],
        out=tmp_path / "run",
        **{**TINY, "cell": "gru"},
        units=units,
    )
    (found,) = plait.inspect(other, units=True)
    assert "in quotes" in [unit.feature for unit in found.units.units]
    assert (tmp_path / "run" / "units.png").exists()


def test_the_command_prints_them_and_is_for_text_alone(run, tmp_path, capsys):
    assert run_command(["inspect", str(run.path), "--units", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert "channels that keep track of the text" in out
    assert "held-out text" in out
    memory = plait.train("memory", problem="recall", length=3, out=tmp_path / "memory",
                         hidden_size=4, batch_size=4, steps=1, threads=1)  # fmt: skip
    with pytest.raises(InputError, match="--units is for runs of texts, not for 'memory' runs"):
        plait.inspect([run, memory], units=True)
