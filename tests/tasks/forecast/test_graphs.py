"""The graph, in every form a user may have it."""

import numpy as np
import pytest
import torch

from plait import Graph
from plait.errors import InputError
from plait.tasks.forecast.graphs import correlated, read_graph

IDS = ("a", "b", "c")


@pytest.fixture
def write(tmp_path):
    def make(text: str):
        path = tmp_path / "roads.csv"
        path.write_text(text)
        return path

    return make


def dense(graph: Graph) -> list[list[float]]:
    matrix = torch.zeros(graph.num_nodes, graph.num_nodes)
    matrix[tuple(graph.edge_index)] = graph.edge_weight.float()
    return matrix.tolist()


ROADS = [[0, 2, 0], [2, 0, 0.5], [0, 0.5, 0]]


@pytest.mark.parametrize(
    "text",
    [
        "source,target,weight\na,b,2\nc,b,0.5\n",
        "target;source;weight\nc;b;0.5\na;b;2\n",
        "0,2,0\n2,0,0.5\n0,0.5,0\n",
        "id,c,a,b\nb,0.5,2,0\na,0,0,2\nc,0,0,0.5\n",
        ",a,b,c\na,0,2,0\nb,0,0,0.5\nc,0,0,0\n",
    ],
    ids=["edges", "edges in another order", "matrix", "matrix with names", "upper triangle"],
)
def test_every_form_is_the_same_graph(write, text):
    joined = read_graph(write(text), IDS, 1)
    assert dense(joined.graph) == ROADS
    assert joined.places is None


def test_directed_edges_go_from_source_to_target(write):
    for text in ("source,target\na,b\nb,c\n", "0,1,0\n0,0,1\n0,0,0\n"):
        graph = read_graph(write(text), IDS, 1, directed=True).graph
        assert graph.edge_index.tolist() == [[0, 1], [1, 2]]


def test_places_join_the_nearest(write):
    joined = read_graph(write("id,x,y\nc,0,3\na,0,0\nb,0,1\n"), IDS, 1)
    expected = Graph.from_points([[0.0, 0.0], [0.0, 1.0], [0.0, 3.0]], 1)
    assert dense(joined.graph) == dense(expected)
    np.testing.assert_array_equal(joined.places, [[0, 0], [0, 1], [0, 3]])


def test_degrees_are_of_the_earth(write):
    """Across the date line, and near the pole, where a degree of longitude is short."""
    joined = read_graph(write("id,lat,lon\na,0,179.9\nb,0,-179.9\nc,0,178\n"), IDS, 1)
    assert dense(joined.graph)[0][1] > dense(joined.graph)[0][2] > 0
    joined = read_graph(write("id,Longitude,Latitude\na,0,89\nb,40,89\nc,0,87\n"), IDS, 1)
    assert dense(joined.graph)[0][1] > dense(joined.graph)[0][2] > 0


def test_correlation_joins_those_that_go_together():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((200, 5))
    x[:, 1] += 2 * x[:, 0]
    x[:, 2] -= 3 * x[:, 3]  # against one another: not joined
    x[:20, 0] = np.nan
    graph = correlated(x, 2, 0.3).graph
    expected = np.corrcoef(x[20:, :2].T)[0, 1]
    assert graph.edge_index.tolist() == [[1, 0], [0, 1]]
    torch.testing.assert_close(graph.edge_weight, torch.full((2,), float(expected)))


def test_each_node_keeps_its_nearest_only():
    generator = np.random.default_rng(0)
    common = generator.standard_normal((300, 1))
    x = common + generator.standard_normal((300, 12)) * np.linspace(0.2, 2, 12)
    graph = correlated(x, 3, 0.0).graph
    C = np.corrcoef(x.T) - np.eye(12)
    wanted = {(i, j) for i in range(12) for j in np.argsort(-C[i])[:3]}
    wanted |= {(j, i) for i, j in wanted}
    assert {tuple(edge) for edge in graph.edge_index.T.tolist()} == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source,target\na,b\nb,z\n", "roads.csv names 'z', which the series has no column for"),
        ("source,target\na,b\n", "roads.csv does not name 'c', which the series has"),
        ("id,x,y\na,0,0\nb,1,1\n", "roads.csv does not name 'c', which the series has"),
        ("id,x,y\na,0,0\nb,1,1\nc,2,2\nd,3,3\n", "roads.csv names 'd', which the series has no"),
        ("id,x,y\na,0,0\nb,1,1\nc,2,2\na,3,3\n", "roads.csv: node 'a' occurs twice"),
        ("id,x,y\na,0,0\nb,1,\nc,2,2\n", "line 3: '' is no finite number"),
        ("id,a,b,d\na,0,1,0\nb,1,0,0\nd,0,0,0\n", "roads.csv names 'd', which the series has no"),
        ("0,1\n1,0\n", "roads.csv has 2 rows and 2 columns, and the series 3 nodes"),
        ("0,1,0\n1,0\n0,0,0\n", "line 2: the line before has more or fewer columns"),
        ("0,1,0\n1,0,x\n0,0,0\n", "line 2: 'x' is no finite number"),
        ("", "roads.csv has 0 rows and 0 columns, and the series 3 nodes"),
        (
            "id\na\nb\nc\n",
            "roads.csv has no coordinates next to the id; give lat and lon, or x and y",
        ),
        (
            "id,lat,lon\na,-118.3,34.1\nb,-118.2,34.2\nc,-118.1,34.3\n",
            "line 2, column 'lat': -118.3 is beyond ±90 degrees; are latitude and longitude "
            "swapped?",
        ),
        (
            "id,lat,lon\na,34.1,10\nb,34.2,200\nc,34,9\n",
            "line 3, column 'lon': 200 is beyond ±180 degrees; give degrees",
        ),
        ("id,x,y\na,1e200,0\nb,1,1\nc,2,2\n", "line 2: 1e200 is beyond ±1e+30"),
        ("source,target,weight\na,b,1e39\nb,c,1\n", "line 2: the weight of 'a' → 'b' is beyond"),
        (
            "from,to\na,b\nb,c\n",
            "roads.csv: its first line, from, to, is not that of edges (source, ",
        ),
        ("a,b\nb,c\n", "say which columns edges have with --source and --target"),
    ],
)
def test_what_does_not_fit_the_series_is_named(write, text, message):
    with pytest.raises(InputError) as caught:
        read_graph(write(text), IDS, 1)
    assert message in str(caught.value)


def test_places_have_what_columns_they_need(write):
    text = ",id,name,lat,lon\n0,a,x,0,179.9\n1,b,y,0,-179.9\n2,c,z,0,178\n"
    plain = read_graph(write("id,lat,lon\na,0,179.9\nb,0,-179.9\nc,0,178\n"), IDS, 1)
    joined = read_graph(write(text), IDS, 1)
    assert dense(joined.graph) == dense(plain.graph)
    assert joined.source.endswith("roads.csv: places by 'lat' and 'lon', passed over: 'name'")
    german = read_graph(write("id;x;y\na;0;0\nb;0;1,25\nc;0;3,5\n"), IDS, 1)
    np.testing.assert_array_equal(german.places, [[0, 0], [0, 1.25], [0, 3.5]])


def test_columns_of_an_edge_list_may_be_named(write):
    columns = {"source": "from", "target": "to", "weight": "cost"}
    joined = read_graph(write("from,to,cost\na,b,2\nb,c,0.5\n"), IDS, 1, columns=columns)
    assert dense(joined.graph) == ROADS


def test_neighbours_must_be_there(write):
    with pytest.raises(InputError, match="--neighbours 3 must be less than the 3 nodes"):
        read_graph(write("id,x,y\na,0,0\nb,1,1\nc,2,2\n"), IDS, 3)
