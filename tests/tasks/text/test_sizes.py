"""What `--minutes` chooses for a text."""

import pytest

from plait.api import make_task
from plait.tasks.text import task as module
from plait.tasks.text.config import TextConfig
from plait.tasks.text.sizes import WIDE, dropout_for, sizes_for
from plait.training.budget import planned
from plait.training.pacing import Pace

GOOD = TextConfig.recipes["good"]


def chosen(words=False, *, read=1e6, symbols=10**6, half=False, fixed=()):
    sizes = {"read": read, "weights": 854_016, "symbols": symbols}
    return sizes_for(GOOD, words, **sizes, half=half, fixed=fixed)


def test_a_text_that_is_read_often_has_dropout():
    rates = [chosen(read=read, symbols=10**5)["dropout"] for read in (1e5, 1e6, 3e6, 1e9)]
    assert rates == sorted(rates)
    assert rates[0] == 0
    assert rates[-1] == dropout_for(1e9) == 0.3


def test_a_wider_network_reads_the_text_less_often():
    narrow, wide = chosen(read=5.9e6, symbols=10**6), chosen(read=6.1e6, symbols=10**6)
    assert narrow["hidden_size"] < wide["hidden_size"]
    assert narrow["dropout"] > wide["dropout"]


def test_products_in_bfloat16_make_more_readings():
    assert "precision" not in chosen()
    assert chosen(half=True)["precision"] == "bfloat16"
    assert chosen(half=True, read=5e6)["dropout"] > chosen(read=5e6)["dropout"]


@pytest.mark.parametrize("given", ["hidden_size", "embedding_size", "tied"])
def test_words_have_wide_tied_layers_unless_a_width_is_given(given):
    assert WIDE.items() <= chosen(words=True).items()
    assert WIDE.keys().isdisjoint(chosen(words=True, fixed={given}))


@pytest.mark.parametrize(
    ("options", "multiplies", "expected"),
    [({}, True, "bfloat16"), ({}, False, "float32"), ({"cell": "gru"}, True, "float32")],
)
def test_products_are_in_bfloat16_where_that_is_faster(
    tmp_path, monkeypatch, options, multiplies, expected
):
    monkeypatch.setattr(module, "MULTIPLIES", multiplies)
    monkeypatch.setattr("plait.training.budget.measure", lambda *_: Pace(0.01, 0.0, 0.0))
    path = tmp_path / "book.txt"
    path.write_text("all work and no play makes jack a dull boy. " * 60)
    config = TextConfig(data=str(path), threads=1, minutes=0.1, hidden_size=8, **options)
    task = planned(make_task("text", config), {"hidden_size"}, lambda c: make_task("text", c))
    assert task.config.precision == expected
