"""`plait.networks` of version 0.1.0 still works, and names its successor."""

import pytest

import plait.networks
from plait import graph_data


@pytest.mark.parametrize("name", plait.networks.RENAMED)
def test_an_old_name_is_the_new_one_with_a_warning(name):
    new = plait.networks.RENAMED[name]
    with pytest.warns(DeprecationWarning, match=f"{name} is now plait.graph_data.{new}"):
        assert getattr(plait.networks, name) is getattr(graph_data, new)


def test_what_never_was_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Graph'"):
        plait.networks.Graph  # noqa: B018


def test_a_labelled_graph_has_its_split_under_the_old_name_too():
    karate = graph_data.named_labelled_graph("karate")
    assert karate.parts is karate.split
