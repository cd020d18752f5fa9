"""What pages are made of: values of controls, and blocks."""

import numpy as np
import pytest

from plait.errors import InputError
from plait.pages import TABLE_ROWS, Control, Page, chart, graph, line, table

NUMBER = Control("n", "N", "number", 3, least=1, most=10)
SHARE = Control("share", "Share", "number", 0.5, most=1, step=0.1)
NAMES = Control("names", "Names", "several", ["a"], choices=["a", "b", "c"], most=2)
TEXT = Control("text", "Text", "text", "", most=5)


@pytest.mark.parametrize(
    ("control", "given", "read"),
    [
        (NUMBER, 4, 4),
        (NUMBER, 4.0, 4),
        (SHARE, 1, 1.0),
        (NAMES, ["b", "a", "b"][:2], ["b", "a"]),
        (TEXT, "a\nb", "a\nb"),
        (Control("one", "One", "choice", "a", choices=["a", "b"]), "b", "b"),
    ],
)
def test_a_value_is_read_as_its_kind(control, given, read) -> None:
    value = control.read(given)
    assert value == read
    assert type(value) is type(read)


@pytest.mark.parametrize(
    ("control", "given", "message"),
    [
        (NUMBER, 0, "N: give a number from 1 to 10"),
        (NUMBER, 2.5, "N: give a whole number"),
        (NUMBER, "2", "N: give a number from 1 to 10"),
        (NUMBER, True, "N: give a number from 1 to 10"),
        (SHARE, float("inf"), "Share: give a number from 0 to 1"),
        (NAMES, ["d"], "Names: choose from a, b, c"),
        (NAMES, "a", "Names: choose from a, b, c"),
        (NAMES, [], "Names: choose 1 to 2"),
        (NAMES, ["a", "b", "c"], "Names: choose 1 to 2"),
        (NAMES, [["a"]], "Names: choose from a, b, c"),
        (TEXT, "123456", "Text: at most 5 characters"),
        (TEXT, 5, "Text: give a text"),
    ],
)
def test_another_value_is_refused_in_a_line(control, given, message) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        control.read(given)


def test_what_is_left_out_has_its_default() -> None:
    page = Page("", [NUMBER, NAMES], lambda **_: iter(()))
    assert page.read({"n": 7}) == {"n": 7, "names": ["a"]}
    with pytest.raises(InputError, match="there is no control 'm'"):
        page.read({"m": 7})


def test_numbers_that_are_not_finite_are_left_out() -> None:
    low = {"name": "band", "low": [np.nan, 1.0], "high": [np.inf, 2.0]}
    block = chart("t", np.arange(2), [line("a", [np.nan, 1])], "c", x_label="x", band=low)
    assert block["lines"][0]["values"] == [None, 1.0]
    assert block["band"] == {"name": "band", "low": [None, 1.0], "high": [None, 2.0]}
    rows = table("t", ["n", "v"], [[np.int64(3), np.float64(np.nan)]], "t")["rows"]
    assert rows == [[3, None]]
    assert [type(cell) for cell in rows[0]] == [int, type(None)]


def test_a_long_table_says_that_it_is_a_part() -> None:
    block = table("t", ["n"], [[k] for k in range(1000)], "t")
    assert len(block["rows"]) == TABLE_ROWS
    assert block["title"] == "t (the first 200 of 1,000 rows)"


def test_an_edge_is_drawn_once_and_a_loop_never() -> None:
    edges = [(0, 1), (1, 0), (2, 2), (2, 1)]
    block = graph("g", "abc", edges, "g", strong={(1, 0): 0.5}, places=np.eye(3)[:, :2])
    assert block["edges"] == [[0, 1, 0.5], [1, 2, 0.0]]
    assert block["places"] == [[1, 0], [0, 1], [0, 0]]
