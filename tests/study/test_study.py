"""Making it: runs are made once, what was stopped goes on, and what cannot be is refused."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from plait import Attention, Graph, GraphConv
from plait.cli import run
from plait.comparison import running
from plait.errors import InputError
from plait.nn.attention import neighbourhood_of
from plait.nn.cells import LSTM
from plait.nn.recurrent import Recurrent
from plait.study import SECTIONS, make_study, sizes
from plait.study.build import section_module
from plait.study.command import _sections_of
from plait.study.duration import DurationEstimate, StepTimes, time_steps
from plait.study.gate_activations import RecordingLSTM
from plait.study.graph_measures import coefficients
from plait.study.runs import RunRequest, RunStore
from plait.training.loop import Interrupted

pytestmark = pytest.mark.xdist_group("study")  # one process makes the study

REQUEST = RunRequest(
    "memory",
    {"problem": "recall", "length": 4, "hidden_size": 4, "batch_size": 4, "steps": 4},
    {"cell": ("rnn", "gru")},
    (0, 1),
)


def stamps(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_a_second_study_makes_no_run_and_the_same_numbers(study, small, messages, tmp_path):
    shutil.copytree(study / "runs", tmp_path / "runs")
    (tmp_path / "study.json").write_text('{"format": 1, "quick": true, "sections": ["memory"]}')
    before = stamps(tmp_path / "runs")
    make_study(["8"], quick=True, out=tmp_path, threads=1, progress=messages)
    assert messages.lines[0] == "0 runs to train"
    assert stamps(tmp_path / "runs") == before
    tables = list((tmp_path / "tables").iterdir())
    assert {p.name.split("-")[0] for p in tables} == {"3", "8"}
    assert all(p.read_text() == (study / "tables" / p.name).read_text() for p in tables)


def test_sections_share_the_runs_of_the_same_configuration(study):
    names = [p.name.rsplit("-", 1)[0] for p in (study / "runs").iterdir()]
    assert names.count("text-democracy-lstm-seed-0") == 1
    assert names.count("memory-baum-sweet-lstm-course-seed-0") == 1


def test_what_was_stopped_goes_on(tmp_path, monkeypatch):
    store = RunStore(tmp_path / "runs", 1, lambda line: None)
    train, made = running.train, []

    def stopped(task, **options):
        if len(made) == 2:
            raise Interrupted("stopped")
        made.append(options["out"])
        return train(task, **options)

    monkeypatch.setattr(running, "train", stopped)
    with pytest.raises(Interrupted):
        store.train([REQUEST])
    monkeypatch.setattr(running, "train", train)
    before = stamps(tmp_path)
    assert len(store.unfinished([REQUEST])["memory"]) == 2
    store.train([REQUEST])
    assert store.unfinished([REQUEST]) == {}
    assert before.items() <= stamps(tmp_path).items()
    found = store.read(REQUEST)
    assert len(found.values("test_accuracy", cell="gru")) == 2
    assert len(found.differences("test_accuracy", {"cell": "gru"}, {"cell": "rnn"})) == 2


def test_a_run_belongs_to_its_configuration_and_to_no_number_of_threads(tmp_path):
    def path(**options) -> Path:
        request = RunRequest("memory", {**REQUEST.options, **options}, {"cell": ["gru"]})
        return request.grid(tmp_path).plans[0].path

    assert path() == path(threads=3)
    assert path() != path(steps=5)


def test_a_run_that_fails_is_named(tmp_path, monkeypatch):
    store = RunStore(tmp_path / "runs", 1, lambda line: None)

    def broken(task, **options):
        raise InputError("the text is gone")

    monkeypatch.setattr(running, "train", broken)
    with pytest.raises(InputError, match=r"memory-recall-rnn-seed-0-\w+ failed: the text is gone"):
        store.train([REQUEST])


@pytest.mark.slow
def test_a_cluster_trains_the_runs_that_this_machine_trains(tmp_path) -> None:
    pytest.importorskip("ray")
    script = f"""
from pathlib import Path
from plait.study.runs import RunRequest, RunStore
request = {REQUEST!r}
found = []
for name, ray in (("here", None), ("there", "auto")):
    store = RunStore(Path(name), 1, print, ray)
    store.train([request])
    assert store.unfinished([request]) == {{}}
    rows = [r.row for r in store.read(request).results]
    found.append([{{k: v for k, v in row.items() if k != "seconds"}} for row in rows])
assert len(found[0]) == 4 and found[0] == found[1], found
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("4/4 ") == 2


def test_a_cluster_that_is_not_there_is_one_line_and_nothing_is_written(tmp_path, capsys) -> None:
    pytest.importorskip("ray")
    words = ["study", "memory", "--quick", "--out", str(tmp_path / "s"), "--ray", "here"]
    assert run(words) == 2
    said = capsys.readouterr().err
    assert said == ("plait: --ray here: give HOST:PORT, such as 10.0.0.1:6379, or no address\n")
    assert not (tmp_path / "s").exists()


def test_how_long_it_will_take_is_planned_then_what_others_of_the_kind_took(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "plait.study.duration.time_steps", lambda task, config: StepTimes(5.0, 30.0, 10.0)
    )
    store = RunStore(tmp_path / "runs", 1, lambda line: None)
    # each of the two cells, with two seeds: 5 + 4 · 30 + 3 · 10 seconds, and little to validate
    assert str(DurationEstimate(store.planned([REQUEST]), 1)) == "about 10 minutes"
    assert str(DurationEstimate(store.planned([REQUEST]), 2)) == "about 5 minutes"
    early = replace(REQUEST, options={**REQUEST.options, "until_converged": True})
    estimate = DurationEstimate(store.planned([early]), 1)
    assert str(estimate) == "at most 10 minutes"
    store.train([replace(early, seeds=(0,))])
    assert str(estimate) == "about a minute"
    store.train([early])
    assert str(estimate) == ""


def test_the_quick_study_says_how_long_its_sections_take(small, messages, tmp_path):
    make_study(["memory"], quick=True, out=tmp_path / "s", threads=1, progress=messages)
    assert messages.lines[0] == "4 runs to train; about a minute on two cores"
    tasks = {
        request.task
        for name in SECTIONS
        for request in section_module(name).required_runs(sizes.QUICK[name]).values()
    }
    assert tasks <= set(sizes.QUICK_SECONDS)


def test_the_full_study_says_beforehand_and_after_every_run(small, messages, tmp_path, monkeypatch):
    monkeypatch.setattr(sizes, "FULL", sizes.QUICK)
    make_study(["memory"], out=tmp_path / "s", threads=1, progress=messages)
    assert messages.lines[0].startswith("4 runs to train; a few steps of each kind are timed first")
    assert messages.lines[1] == "at most a minute on this machine: time per step × planned steps"
    ends = [line.rsplit("; ", 1)[-1] for line in messages.lines[2:6]]
    assert ends[:3] == ["at most a minute left", "about a minute left", "about a minute left"]
    assert "left" not in messages.lines[5]


def test_a_section_that_was_requested_and_never_rendered_is_not_added_later(
    small, tmp_path, monkeypatch
):
    def stopped(*_, **__):
        raise Interrupted("stopped")

    folder = tmp_path / "s"
    monkeypatch.setattr(RunStore, "train", stopped)
    with pytest.raises(Interrupted):
        make_study(quick=True, out=folder, threads=1)
    monkeypatch.undo()
    assert json.loads((folder / "study.json").read_text())["sections"] == []


def test_a_section_that_is_on_the_page_stays(small, messages, tmp_path):
    folder = tmp_path / "s"
    make_study(["memory"], quick=True, out=folder, threads=1)
    make_study(["structure"], quick=True, out=folder, threads=1, progress=messages)
    assert json.loads((folder / "study.json").read_text())["sections"] == ["memory", "structure"]
    assert 'id="memory"' in (folder / "index.html").read_text()


def test_how_long_a_run_takes_is_measured(tmp_path):
    (plan, *_) = REQUEST.grid(tmp_path).plans
    times = time_steps("memory", plan.config)
    assert times.start > 0
    assert times.step > 0
    assert times.validation > 0


def test_a_run_is_found_by_its_configuration_whatever_hash_its_folder_has(tmp_path):
    store = RunStore(tmp_path / "runs", 1, lambda line: None)
    request = replace(REQUEST, vary={"cell": ("gru",)}, seeds=(0,))
    store.train([request])
    (path,) = (tmp_path / "runs").iterdir()
    other = path.rename(path.with_name(path.name.rpartition("-")[0] + "-0123abcd"))
    content = json.loads((other / "config.json").read_text())
    del content["config"]["average"]  # as if that option had come later
    (other / "config.json").write_text(json.dumps(content))
    assert store.unfinished([request]) == {}
    assert [r.plan.path for r in store.read(request).results] == [other]
    assert store.unfinished([replace(request, options={**request.options, "steps": 5})]) != {}


def test_a_study_of_the_first_edition_keeps_its_sections(tmp_path, small, messages):
    for names, today in ((["tales"], ["fairy_tales"]), (["both"], ["sequences_over_graphs"])):
        folder = tmp_path / names[0]
        folder.mkdir()
        listed = {"format": 1, "quick": True, "sections": names}
        (folder / "study.json").write_text(json.dumps(listed))
        assert _sections_of(folder, quick=True) == today
    make_study(["fairy-tales"], quick=True, out=tmp_path / "tales", threads=1, progress=messages)
    there = json.loads((tmp_path / "tales" / "study.json").read_text())
    assert there["sections"] == ["fairy_tales"]
    listing = (tmp_path / "tales" / "index.html").read_text().partition("Listing 6")[2]
    assert listing.partition("</dl>")[0].count("<dt>") == 6  # one for each sixth


def test_the_page_says_where_there_is_one_seed_only(small, tmp_path):
    make_study(["memory", "graphs"], quick=True, out=tmp_path / "s", threads=1)
    page = (tmp_path / "s" / "index.html").read_text()
    sections = {name: page.partition(f'id="{name}"')[2] for name in ("memory", "graphs")}
    assert (
        "Every network was trained with 2 seeds." in sections["memory"].partition("<h2>")[2][:900]
    )
    assert "Trained with one seed only" in sections["graphs"]


@pytest.mark.parametrize("name", ["figures", "0", "10", "Text"])
def test_an_unknown_section_is_refused_with_those_that_there_are(name, tmp_path, capsys):
    assert run(["study", name, "--out", str(tmp_path / "s")]) == 2
    said = capsys.readouterr().err
    assert f"no section '{name}'" in said
    assert "9 sequences_over_graphs" in said
    assert not (tmp_path / "s").exists()


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "letter.txt").write_text("Dear")
    with pytest.raises(InputError, match="exists already and is no study"):
        make_study(["memory"], quick=True, out=tmp_path)
    with pytest.raises(InputError, match="exists already and is no study"):
        make_study(["memory"], quick=True, out=tmp_path / "letter.txt")


def test_quick_and_full_do_not_mix(study, small):
    with pytest.raises(InputError, match="holds a quick study; add --quick"):
        make_study(["memory"], out=study)


def test_a_damaged_or_newer_folder_is_refused(tmp_path):
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        make_study(out=tmp_path)
    (tmp_path / "study.json").write_text('{"format": 1, "quick": true, "sections": null}')
    with pytest.raises(InputError, match="damaged"):
        make_study(out=tmp_path, quick=True)
    newer = {"format": 99, "quick": True, "sections": []}
    (tmp_path / "study.json").write_text(json.dumps(newer))
    with pytest.raises(InputError, match="newer Plait"):
        make_study(out=tmp_path, quick=True)


def test_without_jinja_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("plait.study.command.importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install jinja2"):
        make_study(quick=True, out=tmp_path / "s")


def test_the_command_line_asks_for_help_without_torch():
    code = (
        "import sys; from plait.cli import run; run(['study', '--help']); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--quick" in done.stdout


def test_recorded_gates_are_those_of_the_lstm(make_layer):
    layer = make_layer(LSTM(), 3, 5)
    x = torch.randn(7, 2, 3, dtype=torch.float64)
    y, (_, c) = layer(x)
    cell = RecordingLSTM({})
    layer.cell = layer.directions[0].cell = cell
    again, (_, other) = layer(x)
    torch.testing.assert_close(again, y, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(other, c, rtol=1e-12, atol=1e-12)
    i, f, g, o = cell.activations[-1]
    before = torch.zeros(2, 5, dtype=torch.float64)
    for step in cell.activations[:-1]:
        before = step[1] * before + step[0] * step[2]
    now = f * before + i * g
    torch.testing.assert_close(now, c[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(o * now.tanh(), y[-1], rtol=1e-12, atol=1e-12)


def test_a_held_gate_has_the_value_it_is_held_at(make_layer):
    layer = make_layer(LSTM(), 3, 5)
    cell = RecordingLSTM({"f": torch.ones(5, dtype=torch.float64)})
    layer.cell = layer.directions[0].cell = cell
    layer(torch.randn(4, 2, 3, dtype=torch.float64))
    assert all((step[1] == 1).all() for step in cell.activations)
    assert isinstance(layer, Recurrent)


def test_the_coefficients_are_those_that_the_layer_uses():
    graph = Graph.from_edges([(0, 1), (1, 2), (2, 3), (0, 3), (1, 3)]).to_undirected()
    conv = GraphConv(Attention(1), 3, 4).double()
    x = torch.randn(4, 3, dtype=torch.float64)
    alpha = coefficients(conv, x, graph)
    hood = neighbourhood_of(graph)
    dense = torch.zeros(4, 4, dtype=torch.float64)
    dense[hood.targets.long(), hood.sources.long()] = alpha.detach()
    expected = dense @ (x @ conv.weights["weight"].T) + conv.bias
    torch.testing.assert_close(conv(x, graph), expected, rtol=1e-12, atol=1e-12)
