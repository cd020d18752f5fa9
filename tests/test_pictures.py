"""Every picture of every task with any text and number a user may give; a warning is an error."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.dates import num2date
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

import plait
from plait import Graph
from plait.cli import run as run_command
from plait.comparison.figure import draw_grid
from plait.comparison.grid import Grid
from plait.comparison.results import Measure, read_result
from plait.figures import STYLE, Curve, draw_curves, label, name_places, picture
from plait.graph_data.labelled_graph import LabelledGraph, NodeSplit
from plait.inspection import draw_flows
from plait.study.page import drawing
from plait.tasks.digits.figure import draw_sequences
from plait.tasks.forecast.data import Measured
from plait.tasks.forecast.figure import Band, draw_forecasts, draw_nodes
from plait.tasks.forecast.graphs import Joined
from plait.tasks.forecast.scores import Forecasts
from plait.tasks.forecast.series import Series
from plait.tasks.forecast.splits import TimeSplits
from plait.tasks.nodes.figure import draw_network
from plait.tasks.scenes.figure import draw_scenes
from plait.tasks.scenes.scene import Scene, Scenes
from plait.tasks.visits.figure import draw_scores

NAMES = {
    "dollars": "$50_$",
    "one dollar": "$",
    "chinese": "北京",
    "escape": "\x1b[31mred",
    "lines": "two\nlines\r\nand\ttabs",
    "long": "x" * 300,
    "right to left": "שלום עולם \u202eabc",
    "emoji": "👩‍🔬 naïve",
    "backslash": r"\frac{1}{0} \$ ^_{",
    "half a character": "\ud83d",
    "nothing": " ",
    "all": "50$_$ 北京 \x1b[31m\nשלום \u202e👩‍🔬 \\frac \ud83d",
}
SOME = ("dollars", "long", "all")


@pytest.fixture(autouse=True)
def coarse(monkeypatch) -> None:
    monkeypatch.setitem(STYLE, "savefig.dpi", 30)


@pytest.fixture
def figures(monkeypatch) -> list[Figure]:
    """List the figures that are saved."""
    saved, save = [], Figure.savefig

    def remember(self: Figure, *args, **kwargs) -> None:
        save(self, *args, **kwargs)
        saved.append(self)

    monkeypatch.setattr(Figure, "savefig", remember)
    return saved


def texts(figure: Figure) -> list[str]:
    return [t.get_text() for t in figure.findobj(Text) if isinstance(t, Text) and t.get_visible()]


def check(figures: list[Figure], path: Path, name: str) -> None:
    """Check that a picture is there, and says a name as it may be said, and nothing else."""
    assert path.read_bytes().startswith(b"\x89PNG")
    (figure,) = figures
    said = texts(figure)
    assert not any(re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202e]", t) for t in said)
    written = [t for t in figure.findobj(Text) if isinstance(t, Text) and t.get_text()]
    assert not any(t.get_parse_math() for t in written)
    assert max(map(len, said)) < 140
    if name.strip():
        assert any(label(name, 5).split("…")[0] in t for t in said)


def graph_of(N: int, name: str) -> tuple[LabelledGraph, NodeSplit, torch.Tensor, torch.Tensor]:
    ids = tuple(f"{name}{n}" for n in range(N))
    labels = torch.arange(N) % 3 - 1
    ring = Graph.from_edges([(n, (n + 1) % N) for n in range(N)]).to_undirected()
    network = LabelledGraph(name, "", ids, ring, None, labels, (name, f"{name}2"))
    known = (labels >= 0).nonzero()[:, 0]
    parts = NodeSplit(known[:2], known[2:3], known[3:])
    torch.manual_seed(0)
    return network, parts, torch.randn(N, 4), torch.randn(N, 2)


@pytest.mark.parametrize("name", NAMES)
def test_curves(tmp_path, figures, name):
    records = [{"kind": "train", "step": k, "loss": 1 / k} for k in range(1, 5)]
    curve = Curve("loss", "loss", (0.5, NAMES[name]))
    draw_curves(records, [curve], tmp_path / "a.png", title=NAMES[name])
    check(figures, tmp_path / "a.png", NAMES[name])


@pytest.mark.parametrize("values", [[np.nan] * 3, [np.inf, 1.0, 2.0], [1e308, -1e308, 0.0], [7.0]])
def test_curves_of_any_numbers(tmp_path, values):
    records = [{"kind": kind, "step": k, "loss": value}
               for k, value in enumerate(values) for kind in ("train", "valid")]  # fmt: skip
    curve = Curve("loss", "loss", (values[0], "level"))
    draw_curves(records, [curve], tmp_path / "a.png", title="any")
    assert (tmp_path / "a.png").exists()


@pytest.mark.parametrize("name", SOME)
def test_nodes(tmp_path, figures, name):
    draw_network(*graph_of(20, NAMES[name]), tmp_path / "a.png", title=NAMES[name])
    check(figures, tmp_path / "a.png", NAMES[name])


def test_nodes_have_their_names_and_what_is_predicted(tmp_path, figures):
    network, parts, features, logits = graph_of(12, "n")
    draw_network(network, parts, features, logits, tmp_path / "a.png", title="t")
    (figure,) = figures
    assert network.labels is not None
    wrong = int((logits.argmax(1) != network.labels)[parts.test].sum())
    assert 0 < wrong < len(parts.test)
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == (
        "as labelled", f"as predicted: {wrong} of {len(parts.test)} test nodes wrong",
    )  # fmt: skip
    for axes in (left, right):
        assert {t.get_text() for t in axes.texts} == set(network.ids)
    rings = [c for c in right.collections if len(c.get_offsets()) == wrong and c.get_zorder() == 3]
    assert rings
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == [
        "no label given", "n", "n2", "trained on (2)", f"test, wrong ({wrong})",
    ]  # fmt: skip


def test_a_large_graph_names_a_few_mistakes_and_a_few_classes(tmp_path, figures):
    network, parts, features, _ = graph_of(60, "n")
    classes = tuple(f"class {k}" for k in range(30))
    labels = torch.arange(60) % 30
    logits = torch.nn.functional.one_hot(labels, 30).float()
    network, parts = replace(network, labels=labels, classes=classes), parts._replace()
    logits[parts.test[:2]] = logits[parts.test[:2]].roll(1, 1)
    draw_network(network, parts, features, logits, tmp_path / "a.png", title="t")
    left, right = figures[0].axes
    assert [t.get_text() for t in left.texts] == []
    assert {t.get_text() for t in right.texts} == {network.ids[n] for n in parts.test[:2]}
    entries = [t.get_text() for t in figures[0].legends[0].get_texts()]
    assert len(entries) == 23
    assert "and 10 more classes" in entries


def scenes_of(name: str, size=(200.0, 100.0)) -> tuple[Scenes, list[np.ndarray]]:
    boxes = np.array([[10.0, 10, 60, 40], [12, 11, 60, 40], [100, 20, 50, 50], [101, 21, 20, 20]])
    boxes *= np.array([*size, *size]) / np.array([200, 100, 200, 100])
    scene = Scene(
        7, size, (0, 1, 2, 3), boxes, np.array([0, 1, 0, 1]), np.ones(4), np.zeros((4, 0)),
        np.array([(0, 0, 1), (2, 0, 3)]),
    )  # fmt: skip
    return Scenes((name, f"{name}2"), (name, "never"), 0, (scene,)), [
        np.array([[0.5, -np.inf]] * 12)
    ]


@pytest.mark.parametrize("name", SOME)
def test_scenes(tmp_path, figures, name):
    scenes, p = scenes_of(NAMES[name])
    draw_scenes(scenes, p, tmp_path / "a.png", title=NAMES[name], folder=tmp_path)
    check(figures, tmp_path / "a.png", NAMES[name])


@pytest.mark.parametrize("size", [(1.0, 1e9), (1e9, 1.0), (1e-3, 1e-3)])
def test_a_scene_of_any_shape_has_a_picture_that_can_be_held(tmp_path, figures, size):
    scenes, p = scenes_of("x", size)
    draw_scenes(scenes, p, tmp_path / "a.png", title="t", folder=tmp_path)
    assert max(figures[0].get_size_inches()) < 20


def test_names_in_a_scene_cover_neither_one_another_nor_what_is_not_said(tmp_path, figures):
    scenes, p = scenes_of("person")
    p[0][2:] = -np.inf  # of objects 2 and 3 only what is labelled
    draw_scenes(scenes, p, tmp_path / "a.png", title="t", folder=tmp_path)
    (axes,) = figures[0].axes  # the predicate that never is has no panel
    boxes = [t.get_window_extent() for t in axes.texts]
    assert {t.get_text() for t in axes.texts} == {"person", "person2"}
    assert len(boxes) == 4
    assert not any(Bbox.intersection(a, b) for k, a in enumerate(boxes) for b in boxes[:k])
    assert all(axes.get_window_extent().count_contains(box.get_points()) == 2 for box in boxes)


def forecasts_of(name: str, N: int, H: int = 2, W: int = 12) -> tuple[Forecasts, Series]:
    random = np.random.default_rng(0)
    values = random.normal(size=(40, N))
    truth = random.normal(size=(H, W, N))
    found = Forecasts(np.arange(28, 28 + W), truth + 0.1 * np.arange(1, N + 1), truth)
    return found, Series(name, name, tuple(f"{name} {n}" for n in range(N)), values)


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("N", [1, 5])
def test_forecasts(tmp_path, figures, name, N):
    draw_forecasts(*forecasts_of(NAMES[name], N), tmp_path / "a.png")
    check(figures, tmp_path / "a.png", NAMES[name])


def test_a_fitted_band_is_the_one_that_is_drawn(tmp_path, figures):
    forecasts, series = forecasts_of("load", 1)
    low, high = forecasts.values - 3, forecasts.values + 4
    draw_forecasts(forecasts, series, tmp_path / "a.png", Band(low, high, "band of 90%"))
    (axes,) = figures[0].axes
    (band,) = axes.collections
    ends = band.get_paths()[0].vertices[:, 1]
    assert band.get_label() == "band of 90%"
    assert (ends.min(), ends.max()) == (low[-1].min(), high[-1].max())


def test_the_axis_of_forecasts_names_the_table_and_the_node(tmp_path, figures):
    draw_forecasts(*forecasts_of("load", 5), tmp_path / "a.png")
    draw_forecasts(*forecasts_of("load", 1), tmp_path / "a.png")
    several, one = ([(a.get_ylabel(), a.get_title()) for a in f.axes] for f in figures)
    assert several == [
        ("load: load 0", "best node, load 0: RMSE 0.1 over all steps"),
        ("load: load 2", "median node, load 2: RMSE 0.3 over all steps"),
        ("load: load 4", "worst node, load 4: RMSE 0.5 over all steps"),
    ]
    assert one == [("load: load 0", "the only node, load 0: RMSE 0.1 over all steps")]


def test_times_are_drawn_by_their_own_clock(tmp_path, figures):
    forecasts, series = forecasts_of("load", 1)
    times = pd.date_range("2024-01-01 09:00", periods=40, freq="h", tz="Asia/Tokyo")
    draw_forecasts(forecasts, replace(series, times=times), tmp_path / "a.png")
    (axes,) = figures[0].axes
    first = num2date(axes.lines[0].get_xdata(orig=False)[0])
    assert first.replace(tzinfo=None) == times[29].tz_localize(None)
    assert axes.get_xlabel() == "time, Asia/Tokyo"


def measured(series: Series, places: np.ndarray | None) -> Measured:
    N = len(series.ids)
    graph = Graph.from_edges([(n, n + 1) for n in range(N - 1)], num_nodes=N)
    return Measured(series, Joined(graph, "", places), TimeSplits(4, 10, 20, 40))


@pytest.mark.parametrize("name", SOME)
def test_errors_of_nodes(tmp_path, figures, name):
    forecasts, series = forecasts_of(NAMES[name], 5)
    draw_nodes(forecasts, measured(series, None), tmp_path / "a.png")
    check(figures, tmp_path / "a.png", NAMES[name])


@pytest.mark.parametrize("axes", [1, 2])
def test_errors_of_nodes_at_places_without_values_or_change(tmp_path, axes):
    forecasts, series = forecasts_of("n", 5)
    series.values[:, 0] = np.nan
    series.values[:, 1] = 3.0
    forecasts.truth[:, :, 0] = np.nan
    places = np.arange(5.0 * axes).reshape(5, axes)
    draw_nodes(forecasts, measured(series, places), tmp_path / "a.png")
    draw_forecasts(forecasts, series, tmp_path / "b.png")
    assert {p.name for p in tmp_path.iterdir()} == {"a.png", "b.png"}
    forecasts.truth[:] = np.nan
    draw_nodes(forecasts, measured(series, places), tmp_path / "a.png")
    draw_forecasts(forecasts, series, tmp_path / "c.png")
    assert not (tmp_path / "c.png").exists()  # nothing to draw


@pytest.mark.parametrize("name", SOME)
def test_scores_of_visits(tmp_path, figures, name):
    scores = dict.fromkeys(("jaccard", "f1", "pr_auc", "recall_at_5"), 0.5)
    test = {"tested_periods": 10, "tested_patients": 3, **scores}
    draw_scores(test, tmp_path / "a.png", 5, title=NAMES[name])
    check(figures, tmp_path / "a.png", NAMES[name])


@pytest.mark.parametrize("name", SOME)
def test_sequences(tmp_path, figures, name):
    frames = np.zeros((2, 1, 4, 4))
    draw_sequences(frames, frames, frames, tmp_path / "a.png", title=NAMES[name])
    check(figures, tmp_path / "a.png", NAMES[name])


@pytest.mark.parametrize("name", SOME)
def test_a_section_of_the_study(tmp_path, figures, name):
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.loglog([1, 100], [1e-9, 1])
        name_places(axes, [NAMES[name]], np.array([[5.0, 1e-6]]))

    drawing(6, 4, draw)(tmp_path / "a.png")
    check(figures, tmp_path / "a.png", NAMES[name])
    assert {"10⁻²", "10²"} <= {*texts(figures[0])}


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """Make a grid of four runs of a text whose name is a formula."""
    folder = tmp_path_factory.mktemp("grid")
    (folder / "$50_$.txt").write_text("abcabd " * 200)
    vary = {"cell": ("rnn", "gru"), "hidden_size": (3, 4)}
    options = {"data": str(folder / "$50_$.txt"), "layers": 1, "embedding_size": 2, "length": 5,
               "batch_size": 2, "steps": 4, "validate_every": 2}  # fmt: skip
    plait.compare("text", vary, seeds=2, out=folder / "grid", **options)
    return Grid.of("text", folder / "grid", vary, 2, None, options)


def test_a_grid_shows_the_test_scores_next_to_validation(tmp_path, figures, grid):
    measure = Measure("accuracy", False, None)
    results = [read_result(plan, measure) for plan in grid.plans]
    draw_grid(grid, results, measure, [], tmp_path / "a.png")
    (figure,) = figures
    above, *panels = figure.axes
    assert above.get_ylabel() == "test accuracy"
    assert [t.get_text() for t in above.get_xticklabels()] == ["hidden size 3", "hidden size 4"]
    dots = [line for line in above.lines if line.get_marker() == "o"]
    drawn = sorted(y for line in dots for y in np.asarray(line.get_ydata()))
    assert drawn == sorted(r.row["test_accuracy"] for r in results)
    means = [np.asarray(line.get_ydata())[0] for line in above.lines if line.get_marker() == "s"]
    by_point = np.array([r.row["test_accuracy"] for r in results]).reshape(2, 4).mean(0)
    assert sorted(means) == pytest.approx(sorted(by_point))
    assert [axes.get_title() for axes in panels] == ["hidden size 3", "hidden size 4"]
    assert panels[0].get_ylabel() == "accuracy on validation"
    lines = [line for axes in panels for line in axes.lines if len(line.get_xdata()) == 2]
    assert [np.asarray(line.get_xdata()).tolist() for line in lines] == [[2, 4]] * 4
    assert "text: $50_$" in texts(figure)


@pytest.mark.parametrize("name", SOME)
def test_gradient_flow(tmp_path, figures, grid, name):
    (found,) = plait.inspect(grid.plans[0].path, out=tmp_path / "b.png")
    figures.clear()
    title = f"{found.title.split(', ')[0]}, {NAMES[name]}"
    draw_flows([replace(found, title=title)] * 2, tmp_path / "a.png")
    check(figures, tmp_path / "a.png", NAMES[name])


def test_gradient_flow_of_very_many_runs_is_that_of_the_first(tmp_path, figures, grid):
    (found,) = plait.inspect(grid.plans[0].path, out=tmp_path / "b.png")
    draw_flows([found] * 500, tmp_path / "a.png")
    assert len(figures[-1].axes) == 24  # two panels for each of twelve


def test_a_warning_about_glyphs_is_all_that_is_not_said(tmp_path):
    with pytest.raises(UserWarning, match="mine"), picture(tmp_path / "a.png", 1, 1):  # noqa: PT012
        import warnings

        warnings.warn("mine", UserWarning, stacklevel=1)
    assert not (tmp_path / "a.png").exists()


def test_only_one_place_writes_pictures():
    source = Path(plait.__file__).parent
    writes = re.compile(r"savefig\(|rc_context|FigureCanvas|pyplot")
    found = {p.name for p in source.rglob("*.py") if writes.search(p.read_text("utf-8"))}
    assert found == {"figures.py", "notebook.py", "run.py"}  # the others: `run.plot`, in memory


def test_a_run_over_any_names_ends_and_warns_of_nothing(tmp_path, capfd):
    names = [f"{NAMES['all']!r} $50_$ 北京 {k}" for k in range(20)]
    edges = "".join(f'"{a}","{b}"\n' for a, b in zip(names, names[1:] + names[:1], strict=True))
    (tmp_path / "$e_$.csv").write_text(f"source,target\n{edges}")
    labels = "".join(f'"{name}",{"$50_$" if k < 10 else "x"}\n' for k, name in enumerate(names))
    (tmp_path / "n.csv").write_text(f"id,y\n{labels}")
    command = ["train", "nodes", "--edges", str(tmp_path / "$e_$.csv"), "--label", "y"]
    command += ["--nodes", str(tmp_path / "n.csv"), "--steps", "2", "--threads", "1"]
    assert run_command([*command, "--out", str(tmp_path / "run")]) == 0
    assert capfd.readouterr().err == ""
    assert (tmp_path / "run" / "graph.png").exists()
