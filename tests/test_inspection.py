"""`plait inspect` on real tiny runs."""

import os

import pytest
import torch
from matplotlib.figure import Figure

import plait
from plait import GRU, Cell, Recurrent
from plait.api import make_task
from plait.cli import run as run_command
from plait.inspection import _draw_column, _equations, _initial
from plait.tasks import config_class

TINY = {"hidden_size": 8, "embedding_size": 4, "batch_size": 8, "steps": 2, "threads": 1}


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


def recall(path, cell: str, **options):
    return plait.train("memory", problem="recall", length=60, cell=cell, out=path, **TINY | options)


def test_a_plain_network_forgets_what_a_gated_one_keeps(tmp_path, capsys):
    runs = [recall(tmp_path / cell, cell) for cell in ("rnn", "gru")]
    assert run_command(["inspect", *(str(r.path) for r in runs)]) == 0
    printed = capsys.readouterr().out
    assert "layer 0: vanishing" in printed
    assert "spectral radius" in printed
    assert "kernels\nlayer 0: plait-cpu" in printed
    assert (runs[0].path / "inspect.png").stat().st_size > 10_000
    rnn, gru = plait.inspect(runs, out=tmp_path / "flow.png")
    assert rnn.trained.layers[0].memory < 15
    assert (gru.trained.layers[0].memory or 61) > 2 * rnn.trained.layers[0].memory
    assert (tmp_path / "flow.png").stat().st_size > 10_000


@pytest.mark.parametrize("options", [{"bidirectional": True, "layers": 2}, {"init": "kaiming"}])
def test_the_start_is_where_the_run_began(tmp_path, options):
    run = recall(tmp_path / "run", "lstm-course", **options)
    config = config_class("memory").from_dict(run.config)
    expected = make_task("memory", config).model.state_dict()
    ours = _initial(run, config).state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in ours.items())
    (found,) = plait.inspect(run)
    assert len(found.start.layers) == (4 if "layers" in options else 1)


def test_a_run_that_began_with_another_s_weights_has_no_start_of_its_own(tmp_path):
    first = recall(tmp_path / "a", "gru")
    second = plait.train(
        "memory", from_run=first, length=70, out=tmp_path / "b", batch_size=8, steps=1, threads=1
    )
    (found,) = plait.inspect(second)
    assert found.start is None
    assert found.trained is not None


@pytest.mark.parametrize("length", [1, 2, 3])
def test_few_steps_are_counted_in_whole_numbers_and_each_is_seen(tmp_path, length):
    text = tmp_path / "a.txt"
    text.write_text("to be or not to be, that is the question. " * 20)
    run = plait.train("text", data=str(text), length=length, out=tmp_path / "run", **TINY)
    (found,) = plait.inspect(run)
    above, below = (Figure().subplots() for _ in range(2))
    _draw_column(above, below, found)
    low, high = below.get_xlim()
    ticks = [tick for tick in below.get_xticks() if low <= tick <= high]
    assert ticks == list(range(length))
    assert all(line.get_marker() == "." for line in [*above.lines[:-1], *below.lines])
    assert len(below.texts) == (length == 1)


def test_a_text_run_too_and_without_its_text_only_what_the_run_knows(tmp_path):
    text = tmp_path / "a.txt"
    text.write_text("to be or not to be, that is the question. " * 40)
    run = plait.train("text", data=str(text), length=6, layers=2, out=tmp_path / "run", **TINY)
    (found,) = plait.inspect(run)
    assert [len(layer.flow) for layer in found.trained.layers] == [6, 6]
    text.unlink()
    (found,) = plait.inspect(run)
    assert found.trained is None
    assert found.without_flow in str(found)
    assert found.parameters.total == sum(p.numel() for p in plait.load(run).parameters())


def test_what_is_no_run_is_refused(tmp_path, capsys):
    assert run_command(["inspect", str(tmp_path)]) == 2
    assert "is not a run folder" in capsys.readouterr().err


def test_the_equations_of_a_run_s_cells_are_printed_once(tmp_path, capsys):
    run = recall(tmp_path / "run", "gru", layers=2, bidirectional=True)
    path = str(run.path)
    assert run_command(["inspect", path, "--equations"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("equations of GRU(reset='after')\n") == 1
    assert printed.endswith(f"equations of {GRU()!r}\n{GRU().equations()}\n")
    for first in (["--equations"], ["--equations", "text"], ["--threads", "1", "--equations"]):
        assert run_command(["inspect", *first, path]) == 0
        assert capsys.readouterr().out == printed
    assert run_command(["inspect", path, "--equations", "latex"]) == 0
    assert capsys.readouterr().out.endswith(f"{GRU().equations('latex')}\n")
    assert run_command(["inspect", path]) == 0
    assert "equations of" not in capsys.readouterr().out


def test_equations_say_what_a_product_means_over_a_graph(tmp_path):
    run = plait.train(
        "forecast", data="waves", operator="chebyshev", cell="gru-before", hidden_size=4, steps=1,
        history=4, horizon=2, decoder="recurrent", threads=1, out=tmp_path / "run",
    )  # fmt: skip
    (found,) = plait.inspect(run, equations=True)
    title, note, *lines = found.equations.splitlines()
    assert title == "equations of GRU(reset='before') × Chebyshev(k=3, lambda_max=2)"
    assert note.startswith("W v is this operator with the weights W, applied to v")
    assert "\n".join(lines) == GRU("before").equations()


def test_what_has_no_equations_says_so(tmp_path, capsys):
    run = plait.train("nodes", data="karate", steps=1, threads=1, out=tmp_path / "run")
    (found,) = plait.inspect(run, equations="latex")
    assert found.equations == "no equations: the model has no recurrent cell"
    with pytest.raises(plait.InputError, match="equations must be 'text' or 'latex', not 'tex'"):
        plait.inspect(run, equations="tex")
    assert run_command(["inspect", str(run.path), "--equations", "tex"]) == 2
    assert 'Invalid value "tex" for --equations' in capsys.readouterr().err


def test_a_cell_that_cannot_be_traced_says_why_instead_of_equations():
    class Branching(Cell):
        gates = "h"

        def step(self, x_gates, recurrent, state, vectors):
            (h,) = state
            return (torch.tanh(x_gates + recurrent(h)) if h > 0 else h,)

    text = _equations([Recurrent(Branching(), 3, 4)], "text")
    assert "a branch that depends on data" in text
    assert "Branching has no equations to print" in text
