"""Pictures on disk; what they look like is for the eye."""

import os

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from plait.errors import InputError
from plait.figures import picture, save_figure


@pytest.fixture
def figure() -> Figure:
    made = Figure(figsize=(1, 1))
    FigureCanvasAgg(made)
    return made


@pytest.mark.parametrize(
    ("name", "begin"),
    [("a.png", b"\x89PNG"), ("a", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.PDF", b"%PDF")],
)
def test_a_picture_is_what_its_name_says(figure, tmp_path, name, begin):
    save_figure(figure, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(begin)
    assert os.listdir(tmp_path) == [name]  # noqa: PTH208 - nothing aside is left


def test_a_picture_of_no_known_kind_is_refused(figure, tmp_path):
    with pytest.raises(InputError, match=r"a\.docx: \.docx is not a figure format; use \.png"):
        save_figure(figure, tmp_path / "a.docx")
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_written_leaves_the_old_one(figure, tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        save_figure(figure, path)
    assert path.read_bytes() == b"old"


def test_postscript_has_what_is_transparent_put_on_white(tmp_path, caplog):
    with picture(tmp_path / "a.eps", 3, 2) as figure:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=(1, 0, 0), alpha=0.5, label="line")
        axes.fill_between([0, 1], [0, 0], [1, 1], color="blue", alpha=0.2)
        axes.scatter([0, 1], [1, 0], c=["red", "blue"], alpha=0.5)
        axes.legend()
    assert not caplog.records  # matplotlib logs what it cannot draw
    assert figure.axes[0].lines[0].get_color()[:3] == pytest.approx((1, 0.5, 0.5))
    assert (tmp_path / "a.eps").read_bytes().startswith(b"%!PS")
