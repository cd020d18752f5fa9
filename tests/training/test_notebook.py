"""What a notebook shows of a run and of a training."""

import html
import io
import re
import sys
import types
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.image import imread

import plait
from plait.training.notebook import NotebookProgress, default_progress, title_of
from plait.training.progress import Progress
from plait.training.run import Run

HOSTILE = "<script>alert('x')</script>&\u202e\x1b[31m"
VOID = {"img", "br"}


class Balanced(HTMLParser):
    """Check that every element that opens is closed; collect the names of elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.seen = [], set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.seen.add(tag)
        self.open += [] if tag in VOID else [tag]

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    out = tmp_path_factory.mktemp("notebook") / "run"
    return plait.train("nodes", data="karate", steps=6, validate_every=2, out=out)


def test_a_figure_has_the_learning_curves_and_the_pictures_of_the_task(run: Run) -> None:
    figure = run.plot()
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels == ["loss", "accuracy", ""]
    history = run.history
    (line,) = [line for line in figure.axes[0].lines if line.get_label() == "validation"]
    assert dict(line.get_xydata()) == history["valid_loss"].dropna().to_dict()
    graph = imread(run.path / "graph.png")
    assert (figure.axes[2].images[0].get_array() == graph).all()


def test_a_notebook_without_a_backend_shows_the_figure(run: Run) -> None:
    figure = run.plot()
    shown = imread(io.BytesIO(figure._repr_png_()))
    assert shown.shape[1] == round(figure.get_figwidth() * 80)
    assert len(figure._repr_png_()) < 100_000


def test_a_run_shows_its_scores_and_its_curves(run: Run) -> None:
    shown = run._repr_html_()
    assert {"div", "table", "img"} <= Balanced(shown).seen
    row = r'<td style="text-align:left">accuracy</td><td>(.*?)</td>'
    assert float(re.search(row, shown)[1]) == pytest.approx(
        run.scores["value"]["accuracy"], abs=1e-4
    )
    assert str(run.path) in html.unescape(shown)


@pytest.mark.parametrize(
    ("options", "title"),
    [
        ({"edges": "in/friends.csv", "data": "karate"}, "nodes: friends"),
        ({"edges": "", "data": "karate"}, "nodes: karate"),
        ({}, "nodes"),
    ],
)
def test_a_title_names_the_data(tmp_path: Path, options, title) -> None:
    assert title_of(Run(tmp_path, "nodes", options, {})) == title


def test_a_run_without_a_test_says_how_far_it_is(tmp_path: Path) -> None:
    config = {"data": HOSTILE, "cell": HOSTILE}
    run = Run(tmp_path, "text", config, {})
    run.log("train", 3, {"loss": 1.0})
    shown = run._repr_html_()
    assert "not tested yet: step 3" in shown
    assert "script" not in Balanced(shown).seen
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert html.escape("<script>alert('x')</script>&") in shown


def test_progress_shows_texts_as_they_stand() -> None:
    shown = NotebookProgress()
    shown.handle = False  # draws nowhere
    shown.announce(HOSTILE, {HOSTILE: HOSTILE}, steps=10, rate=4, unit="rows")
    shown.start(0, 0.0, [])
    shown.step(1, {"loss": 2.0, "gradient_norm": 1.0})
    shown.step(2, {"loss": 1.0, "gradient_norm": 1.0})
    shown.validated(2, {"loss": 0.25}, best=True)
    shown.sampled(2, HOSTILE)
    shown.tested(2, {"loss": 0.125})
    shown.notice(HOSTILE)
    text = shown.as_html()
    assert "script" not in Balanced(text).seen
    assert text.count("&lt;script&gt;") == 5
    assert re.findall(r"<td>([\d.]+)</td>", text) == ["1.5000", "0.2500", "0.1250"]
    assert "<progress max='10' value='2'>" in text


def test_a_notebook_shows_progress_and_a_script_does_not(monkeypatch) -> None:
    class ZMQInteractiveShell:
        pass

    assert type(default_progress()) is Progress
    notebook = types.ModuleType("IPython")
    notebook.get_ipython = ZMQInteractiveShell
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    assert type(default_progress()) is NotebookProgress
