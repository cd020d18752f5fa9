"""Names of version 0.1.0 still work, and each names its successor and when it goes."""

from importlib import import_module
from pathlib import Path

import pytest

import plait
from plait import GRU, Graph, Recurrent
from plait.graph_data import named_labelled_graph
from plait.nn.filters import Filter
from plait.renamed import REMOVED_IN
from plait.training.config import TrainingConfig

MOVED = {
    "plait.networks.Network": "plait.graph_data.LabelledGraph",
    "plait.networks.read_network": "plait.graph_data.read_labelled_graph",
    "plait.networks.named_network": "plait.graph_data.named_labelled_graph",
    "plait.networks.NETWORKS": "plait.graph_data.NAMED_GRAPHS",
    "plait.generation.WritesText": "plait.generation.TextGenerator",
    "plait.nn.cells.Hear": "plait.nn.cell.RecurrentSide",
    "plait.nn.cells.CELLS": "plait.nn.registry.CELLS",
    "plait.nn.cells.cell_named": "plait.nn.registry.cell_named",
}


def named(path):
    home, _, name = path.rpartition(".")
    return getattr(import_module(home), name)


@pytest.mark.parametrize("old", MOVED)
def test_an_old_name_of_a_module_is_the_new_one(old):
    new = MOVED[old]
    with pytest.warns(DeprecationWarning, match=f"{old} is now {new}; .* will be removed"):
        found = named(old)
    assert found is named(new)


def test_what_never_was_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'plait\.networks' has no attribute 'Graph'"):
        named("plait.networks.Graph")


ATTRIBUTES = [
    (lambda: Graph([[0], [1]]), "Graph", "one_way", "asymmetric_edge"),
    (lambda: Graph([[0], [1]], [-1.0]), "Graph", "negative", "negative_edge"),
    (lambda: Graph([[0], [1]]), "Graph", "keep", "cached"),
    (lambda: Recurrent(GRU(), 2, 3), "Recurrent", "strands", "directions"),
    (lambda: named_labelled_graph("karate"), "LabelledGraph", "parts", "split"),
    (TrainingConfig, "TrainingConfig", "criterion", "monitor"),
]


@pytest.mark.parametrize(("make", "owner", "old", "new"), ATTRIBUTES)
def test_an_old_attribute_is_the_new_one(make, owner, old, new):
    one = make()
    with pytest.warns(DeprecationWarning, match=f"{owner}.{old} is now {owner}.{new}"):
        found = getattr(one, old)
    assert found == getattr(one, new)


def test_a_filter_may_use_its_old_attribute():
    with pytest.warns(DeprecationWarning, match="hears_itself is now Filter.includes_identity"):

        class Others(Filter):
            hears_itself = False

    assert Others.includes_identity is False


def test_the_changelog_lists_every_old_name_and_when_it_goes():
    text = (Path(__file__).parents[1] / "CHANGELOG.md").read_text("utf-8")
    listed = text.partition("### Deprecated")[2].partition("\n## ")[0]
    assert f"version {REMOVED_IN}" in listed
    for old in [*MOVED, *(f"{owner}.{name}" for _, owner, name, _ in ATTRIBUTES)]:
        assert f"`{old}`" in listed, old


def test_versions_agree():
    root = Path(__file__).parents[1]
    assert f'\nversion = "{plait.__version__}"\n' in (root / "pyproject.toml").read_text("utf-8")
    assert f"\nversion: {plait.__version__}\n" in (root / "CITATION.cff").read_text("utf-8")
    assert f"\n## {plait.__version__}, " in (root / "CHANGELOG.md").read_text("utf-8")
