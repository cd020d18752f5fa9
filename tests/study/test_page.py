"""The page: what it holds is in itself, and what it links to is there."""

import base64
import csv
import io
import json
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from markupsafe import Markup, escape
from PIL import Image

from plait import LSTM, RNN
from plait.study import SECTIONS
from plait.study.page import Number, Table, difference_of, mean_of
from plait.training.run import Run

pytestmark = pytest.mark.xdist_group("study")  # one process makes the study


class Read(HTMLParser):
    """Collects tags, ids, links and what is loaded."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        given = dict(attrs)
        if "id" in given:
            self.ids.add(given["id"])
        if tag == "a":
            self.links.append(given["href"])
        if tag not in ("link", "meta", "img"):
            self.open.append(tag)
        self.loaded += [given[name] for name in ("src", "srcset", "poster") if name in given]
        if tag == "link":
            self.loaded.append(given["href"])

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


def words_of(text: str) -> set[str]:
    """Return the words between tags."""
    return set(re.sub("<[^>]*>", " ", text).split())


@pytest.fixture(scope="module")
def text(study) -> str:
    return (study / "index.html").read_text()


@pytest.fixture(scope="module")
def page(text) -> Read:
    return Read(text)


def test_every_section_is_there_and_every_tag_is_closed(page):
    assert set(SECTIONS) <= page.ids
    assert page.open == []


def test_the_baselines_of_waves_have_no_network(study):
    with (study / "tables" / "9-plain.csv").open(newline="") as file:
        names = [row[0] for row in csv.reader(file)]
    assert {"last value", "linear, graph", "lowest possible"} <= set(names)
    assert not {"combination", "network"} & set(names)


def test_nothing_is_loaded_from_elsewhere(page, text):
    assert page.loaded
    assert all(what.startswith("data:") for what in page.loaded)
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert "url(" not in text
    assert "<script" not in text


def test_every_picture_decodes_and_is_the_png_next_to_the_page(page, study):
    pictures = [w.removeprefix("data:image/png;base64,") for w in page.loaded if "png" in w]
    content = {path.read_bytes() for path in (study / "figures").iterdir()}
    assert len(pictures) == len(content) >= len(SECTIONS) - 1
    for picture in pictures:
        decoded = base64.b64decode(picture)
        with Image.open(io.BytesIO(decoded)) as opened:
            opened.verify()
        assert decoded in content


def test_every_link_leads_to_a_file_or_a_place_on_the_page(page, study):
    assert len(page.links) > 200
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert (study / unquote(link)).is_file(), link


def test_the_page_to_publish_has_all_of_it_but_links_to_files(text, study):
    alone = (study / "standalone.html").read_text()
    read = Read(alone)
    assert read.open == []
    assert all(link[0] == "#" and link[1:] in read.ids for link in read.links)
    assert set(SECTIONS) <= read.ids
    assert read.loaded == Read(text).loaded
    left_out = words_of(text) - words_of(alone)
    assert "inspect" in left_out
    assert not [word for word in left_out if any(sign.isdigit() for sign in word)]
    assert words_of(alone) <= words_of(text)


def test_every_run_is_an_ordinary_run_folder_and_is_linked_to(page, study):
    linked = {unquote(link).split("/")[1] for link in page.links if link.startswith("runs/")}
    there = {path.name for path in (study / "runs").iterdir()}
    assert linked == there
    for name in there:
        (test,) = Run.open(study / "runs" / name).records("test")
        assert test["step"] >= 1


def test_the_tables_hold_what_the_runs_logged(study):
    with (study / "tables" / "4-heldout.csv").open() as file:
        rows = list(csv.DictReader(file))
    (path,) = (study / "runs").glob("text-democracy-lstm-seed-*")
    (test,) = Run.open(path).records("test")
    assert float(rows[0]["bits per character"]) == test["bits_per_character"]
    assert float(rows[1]["bits per character"]) == test["ngram_bits_per_character"]


def test_the_page_says_that_it_is_the_quick_one_and_which_texts_it_has(text, study):
    assert "This is the quick study" in text
    assert "Tocqueville" in text
    assert json.loads((study / "study.json").read_text())["sections"] == list(SECTIONS)


def test_a_number_links_to_its_run_or_has_a_dot_for_each():
    one = Number(0.5, ".1f", ["runs/a b/metrics.jsonl"]).__html__()
    assert one == '<a class="n" href="runs/a%20b/metrics.jsonl">0.5</a>'
    several = mean_of([1.0, 3.0], ".1f", ["runs/a/m", "runs/b/m"]).__html__()
    assert "2.0 ± 1.4" in several
    assert several.count("•") == 2
    assert str(Number(None)) == "–"


def test_a_csv_has_numbers_in_full_and_spreads_next_to_them(tmp_path):
    rows = [["a", mean_of([1.0, 2.0], ".0f", [])], [Markup("<i>b</i>"), Number(1 / 3)]]
    Table("t", "", ["name", "score"], rows).write(tmp_path)
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines == ["name,score,score (sd)", f"a,1.5,{0.5**0.5}", f"b,{1 / 3},"]


def test_a_difference_has_its_interval_in_the_csv_too(tmp_path):
    found = difference_of([1.0, 2.0, 3.0], "+.1f", ["runs/a/m"])
    assert "+2.0 (95 % interval −0.5 … +4.5)</a>" in found.__html__()
    Table("t", "", ["length", "difference"], [["4", found], ["5", None]]).write(tmp_path)
    head, row, last = (tmp_path / "t.csv").read_text().splitlines()
    assert head == "length,difference,difference (low),difference (high)"
    assert [round(float(v), 3) for v in row.split(",")] == [4, 2, -0.484, 4.484]
    assert last == "5,,,"


def test_what_a_name_holds_is_escaped():
    assert "<b>" not in Number(1.0, ".0f", ['runs/"><b>/x', "runs/b/x"]).__html__()


def test_a_png_is_as_wide_as_it_was_drawn(study):
    with Image.open(study / "figures" / "1-flow.png") as picture:
        width = picture.width
    assert f"width: {width / 25 * 6:.1f}rem" in (study / "index.html").read_text()


def test_the_derived_gradient_stands_on_the_page_as_it_is(text):
    assert f"<dd>{escape(RNN().equations().split(chr(10) * 2)[1])}</dd>" in text
    assert f"<dd>{escape(LSTM().equations().split(chr(10) * 2)[1])}</dd>" in text
