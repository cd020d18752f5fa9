"""What `--minutes` chooses for a text."""

import pytest

from plait.api import make_task
from plait.tasks.text import task as module
from plait.tasks.text.config import TextConfig
from plait.tasks.text.sizes import WIDE, dropout_for, sizes_for
from plait.training.budget import planned
from plait.training.pacing import Pace

LARGE = {"hidden_size": 256, "embedding_size": 64}


def chosen(*, read=1e6, symbols=10**6, half=False, fixed=(), **options):
    config = TextConfig(**{**LARGE, **options})
    return sizes_for(config, fixed, read=read, symbols=symbols, half=half)


def test_a_text_that_is_read_often_has_dropout():
    rates = [chosen(read=read, symbols=10**5)["dropout"] for read in (1e5, 1e6, 3e6, 1e9)]
    assert rates == sorted(rates)
    assert rates[0] == 0
    assert rates[-1] == dropout_for(1e9) == 0.3


def test_a_wider_network_reads_the_text_less_often():
    narrow, wide = (chosen(read=read, symbols=2 * 10**5) for read in (5.9e6, 6.1e6))
    assert narrow["hidden_size"] < wide["hidden_size"]
    assert narrow["dropout"] > wide["dropout"]
    kept = chosen(read=6.1e6, symbols=2 * 10**5, fixed={"hidden_size"})
    assert kept["dropout"] == narrow["dropout"]


def test_products_in_bfloat16_make_more_readings():
    often = {"read": 5e6, "symbols": 3 * 10**5}
    assert "precision" not in chosen(**often)
    assert chosen(**often, half=True)["precision"] == "bfloat16"
    assert chosen(**often, half=True)["dropout"] > chosen(**often)["dropout"]
    given = chosen(**often, half=True, fixed={"precision"})  # the pace was that of its type
    assert given == chosen(**often)


@pytest.mark.parametrize("given", ["hidden_size", "embedding_size", "tied"])
def test_words_have_wide_tied_layers_unless_a_width_is_given(given):
    assert WIDE.items() <= chosen(units="words").items()
    assert WIDE.keys().isdisjoint(chosen(units="words", fixed={given}))


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
