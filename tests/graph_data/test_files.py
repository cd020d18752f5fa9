"""Tables of edges and nodes: what they become, and what is refused, with file, line and id."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch

from plait.errors import InputError
from plait.graph_data import read_labelled_graph

EDGES = "source,target\nann,bob\nbob,cem\n"
NODES = "id,age,town,club\nann,31,x,red\nbob,40,y,blue\ncem,22,,\n"


@pytest.fixture
def read(tmp_path):
    """Read a network from the content of its tables."""

    def of(edges=EDGES, nodes=None, **options):
        paths = [tmp_path / "edges.csv", tmp_path / "nodes.csv"]
        for path, content in zip(paths, (edges, nodes), strict=True):
            if content is not None:
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_labelled_graph(paths[0], None if nodes is None else paths[1], **options)

    return of


def edges_of(network) -> dict[tuple[str, str], float]:
    ids, graph = network.ids, network.graph
    return {
        (ids[s], ids[t]): float(w)
        for s, t, w in zip(*graph.edge_index.tolist(), graph.edge_weight, strict=True)
    }


def test_nodes_and_edges_are_what_the_tables_say(read):
    network = read(EDGES, NODES, label="club")
    assert network.ids == ("ann", "bob", "cem")
    assert edges_of(network) == {
        ("ann", "bob"): 1, ("bob", "ann"): 1, ("bob", "cem"): 1, ("cem", "bob"): 1,
    }  # fmt: skip
    age = np.array([31, 40, 22])
    expected = np.stack([(age - age.mean()) / age.std(), [1, 0, 0], [0, 1, 0]], 1)
    torch.testing.assert_close(network.features, torch.tensor(expected, dtype=torch.float32))
    assert (network.labels.tolist(), network.classes) == ([1, 0, -1], ("blue", "red"))
    assert (network.name, network.notes, network.split) == ("edges", (), None)


def test_edges_alone_name_their_nodes_as_they_come(read):
    network = read("weight;target;source\n2;c;b\n0.5;a;c\n", directed=True)
    assert network.ids == ("b", "c", "a")
    assert edges_of(network) == {("b", "c"): 2, ("c", "a"): 0.5}
    assert (network.features, network.labels, network.classes) == (None, None, ())


def test_nodes_may_be_given_in_an_order(read):
    network = read("source\ttarget\n7\t007\n", ids=["007", "7", "8"])
    assert edges_of(network) == {("007", "7"): 1, ("7", "007"): 1}
    assert network.graph.num_nodes == 3
    with pytest.raises(InputError, match=r"edges\.csv, line 2: .* 'ann' in the nodes given"):
        read(EDGES, ids=["bob", "cem"])


def test_of_two_ways_the_larger_weight_and_of_the_same_the_sum(read):
    network = read("source,target,weight\na,b,2\nb,a,5\nb,c,1\n\nb,c,3\n")
    assert edges_of(network)["a", "b"] == edges_of(network)["b", "a"] == 5
    assert edges_of(network)["b", "c"] == 4
    (note,) = network.notes
    assert note == "1 duplicate edge merged, the weights summed; the first, 'b' → 'c', on line 6"


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfsource,target\r\nann,bob\r\nbob,cem\r\n",
        b'source, target\n"ann",bob\n\n\nbob , cem',
        b"source;target;since\nann;bob;1999\nbob;cem;\n;;\n",
    ],
)
def test_tables_as_other_programs_write_them(read, content):
    assert set(edges_of(read(content, directed=True))) == {("ann", "bob"), ("bob", "cem")}


def test_ids_and_labels_are_texts_whatever_they_look_like(read):
    network = read("source,target\nNA,01\n1,nan\n", "name,label\nNA,1\n01,01\n1,NA\nnan,1.0\n",
                   label="label")  # fmt: skip
    assert network.ids == ("NA", "01", "1", "nan")
    assert (network.classes, network.labels.tolist()) == (("01", "1", "1.0"), [1, 0, -1, 2])
    assert network.features is None


def test_the_hash_distinguishes_networks(read):
    first = read(EDGES, NODES, label="club").sha256
    assert read(EDGES, NODES, label="club").sha256 == first
    others = [
        read(EDGES + "ann,cem\n", NODES, label="club"), read(EDGES, NODES, label="town"),
        read(EDGES, NODES.replace("31", "32"), label="club"), read(EDGES, NODES), read(EDGES),
        read(EDGES.replace("ann", "amy"), NODES.replace("ann", "amy"), label="club"),
    ]  # fmt: skip
    assert len({first, *(other.sha256 for other in others)}) == 7


BAD_EDGES = {
    "a missing node": (EDGES + "cem,dan\n", "edges.csv, line 4: there is no node 'dan' in .*nodes"),
    "no end": (EDGES + "cem,\n", "edges.csv, line 4: there is no node '' in "),
    "no header": (
        "ann,bob\nbob,cem\n",
        "edges.csv has no column 'source'; its first line has ann, bob",
    ),
    "no target": ("source,to\na,b\n", "edges.csv has no column 'target'; .* source, to"),
    "no weight": ("source,target,weight\nann,bob,1\nbob,cem,x\n", "line 3: the weight of 'bob' → "),
    "an endless weight": ("source,target,weight\nann,bob,inf\n", "line 2: the weight of 'ann' → "),
    "a long row": (EDGES + "ann,cem,1\n", "edges.csv, line 4 has 3 columns, and line 1 names 2"),
    "a long first row": (
        "source,target\na,b,c\n",
        "edges.csv, line 2 has 3 columns, and line 1 names 2",
    ),
    "no edges": ("source,target\n", "edges.csv has no rows under its first line"),
    "nothing": ("", "edges.csv, line 1: the header is empty; it must name the columns"),
    "a column twice": ("source,source\na,b\n", "edges.csv, line 1: the column 'source' occurs twi"),
    "an open quote": (
        'source,target\n"a,b\n',
        "edges.csv, line 2: no table: unexpected end of data",
    ),
    "not text": (b"source,target\n\xff,a\n", "edges.csv is not UTF-8 text: byte 14 is 0xff"),
}
BAD_NODES = {
    "no label": (
        NODES,
        {"label": "klub"},
        "nodes.csv has no column 'klub'; .* id, age, town, club",
    ),
    "no number": (
        NODES.replace("31", "NaN").replace("40", "").replace("22", ""),
        {},
        "nodes.csv: the column 'age' is empty; remove it",
    ),
    "infinity": (
        NODES.replace("40", "inf"),
        {},
        "nodes.csv, line 3: the 'age' of node 'bob' is inf",
    ),
    "text and numbers": (
        NODES.replace("40", "old"),
        {},
        "line 3: .*'bob' is 'old', and that of others is a number; .* say with --missing what sta",
    ),
    "a node twice": (NODES + "ann,1,x,red\n", {}, "line 5: node 'ann' is a duplicate of l"),
    "no id": (NODES + ",1,x,red\n", {}, r"nodes.csv, line 5: the node has no id \(column 'id'\)"),
    "a long row": (NODES + "dan,1,x,red,\n", {}, "nodes.csv, line 5 has 5 columns, and line 1 nam"),
}


@pytest.mark.parametrize("case", BAD_EDGES)
def test_bad_edges_are_refused_in_one_line(read, case):
    content, message = BAD_EDGES[case]
    with pytest.raises(InputError, match=message) as caught:
        read(content, NODES)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", BAD_NODES)
def test_bad_nodes_are_refused_in_one_line(read, case):
    content, options, message = BAD_NODES[case]
    with pytest.raises(InputError, match=message) as caught:
        read(EDGES, content, **options)
    assert "\n" not in str(caught.value)


def test_a_column_of_too_many_texts_is_refused(read, monkeypatch):
    monkeypatch.setattr("plait.graph_data.encodings.MOST_TEXTS", 1)
    with pytest.raises(InputError, match="the column 'town' has 2 different texts, more than the"):
        read(EDGES, NODES)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*edges\.csv: No such file"):
        read_labelled_graph(tmp_path / "edges.csv")


def test_the_index_of_a_table_is_no_feature(read):
    rows = [("ann", 31, "red"), ("bob", 40, "blue"), ("cem", 22, "red")]
    for head, first in (
        (",id,age,club", 0),
        ("Unnamed: 0,id,age,club", 0),
        ("index,id,age,club", 1),
    ):
        nodes = f"{head}\n" + "".join(
            f"{first + k},{name},{age},{club}\n" for k, (name, age, club) in enumerate(rows)
        )
        network = read(EDGES, nodes, label="club")
        assert network.features.shape == (3, 1)
        assert "which only numbers the rows" in network.columns
    assert network.columns == (
        "edges: source, target; nodes: id = 'id', label = 'club' (2 classes), numbers: 'age', left "
        "out: 'index', which only numbers the rows"
    )
    assert network.feature_names == ("age",)


def test_an_index_that_the_edges_name_is_the_id(read):
    network = read("source,target\n0,1\n1,2\n", ",age,club\n0,31,a\n1,40,b\n2,22,a\n", label="club")
    assert network.ids == ("0", "1", "2")
    assert network.features.shape == (3, 1)
    with pytest.raises(InputError, match=r"nodes\.csv, line 1: column 2 has no name; name it, or"):
        read(EDGES, "id,,club\nann,5,a\nbob,7,b\ncem,5,a\n")


def test_a_constant_feature_is_0(read):
    network = read(EDGES, "id,t\nann,0.1\nbob,0.1\ncem,0.1\n")
    assert network.features.tolist() == [[0.0], [0.0], [0.0]]


def test_german_tables(read):
    nodes = "id;h;w\nann;1,75;1.200\nbob;50,0;900\ncem;0,5;1.500\n"
    h, w = np.array([1.75, 50, 0.5]), np.array([1200, 900, 1500.0])
    expected = np.stack([(x - x.mean()) / x.std() for x in (h, w)], 1)
    network = read(EDGES, nodes)
    torch.testing.assert_close(network.features, torch.tensor(expected, dtype=torch.float32))
    assert network.columns.endswith("numbers: 'h', 'w', decimal commas")


def test_what_means_missing_is_said_and_the_mean_may_stand_in(read):
    ids = [f"n{k}" for k in range(8)]
    edges = "source,target\n" + "".join(f"{a},{b}\n" for a, b in pairwise(ids))
    ages = [20, 999, 24, 22, 999, 30, 25, 21]
    nodes = "id,age\n" + "".join(f"{i},{age}\n" for i, age in zip(ids, ages, strict=True))
    (note,) = read(edges, nodes).notes
    assert note == (
        "2 values are 999 in 'age', far from all others: if they mean missing, --missing=999"
    )
    network = read(edges, nodes, missing=["999"])
    known = np.array([20, 24, 22, 30, 25, 21])
    assert network.features[[1, 4]].tolist() == [[0.0], [0.0]]
    assert network.features[5].item() == pytest.approx((30 - known.mean()) / known.std())
    assert network.notes == ("2 of 'age' missing, replaced by the mean",)


def test_texts_of_too_many_kinds_are_refused(read):
    ids = [f"n{k}" for k in range(30)]
    edges = "source,target\n" + "".join(f"{a},{b}\n" for a, b in pairwise(ids))
    nodes = "id,name\n" + "".join(f"{i},person {i}\n" for i in ids)
    with pytest.raises(
        InputError, match=r"'name' has 30 different texts in 30 rows, such as 'pers"
    ):
        read(edges, nodes)
    few = "id,name\n" + "".join(f"{i},kind {k % 15}\n" for k, i in enumerate(ids))
    assert read(edges, few).features.shape == (30, 15)


@pytest.mark.parametrize("age", ["1e200", "-1e31"])
def test_numbers_that_cannot_be_computed_with(read, age):
    with pytest.raises(InputError, match=r"line 3: the 'age' of node 'bob' is beyond ±1e\+30"):
        read(EDGES, NODES.replace("40", age))


def test_a_gap_among_numbers_is_the_mean(read):
    network = read(EDGES, NODES.replace("40", ""), label="club")
    assert network.features[:, 0].tolist() == [1.0, 0.0, -1.0]
    assert network.notes == ("1 of 'age' missing, replaced by the mean",)


MIXED = [
    ("ann", "31", "2020-01-31", "likes old maps and long trains", "red"),
    ("bob", "", "2021-05-01", "long trains and short poems", "blue"),
    ("cem", "22", "", "old poems", "red"),
    *(
        (f"n{k}", "26", f"2022-03-{k + 10}", f"maps and trains and poems in{k}", "")
        for k in range(12)
    ),
]


def test_mixed_columns_are_numbers_times_and_words(read):
    nodes = "id,age,joined,about,club\n" + "".join(",".join(row) + "\n" for row in MIXED)
    network = read(EDGES, nodes, label="club")
    assert network.columns.endswith(
        "label = 'club' (2 classes, 12 missing), numbers: 'age', times: 'joined', words: 'about' "
        "(6)"
    )
    number, time, words = network.encodings
    assert (number["kind"], number["column"], time["kind"], words["kind"]) == (
        "number", "age", "time", "words",
    )  # fmt: skip
    assert words["words"] == ["and", "long", "maps", "old", "poems", "trains"]
    assert json.loads(json.dumps(network.encodings)) == list(network.encodings)
    days = [(np.datetime64(row[2]) - np.datetime64("1970-01-01")).astype(int) for row in MIXED
            if row[2]]  # fmt: skip
    assert (time["mean"], time["spread"]) == pytest.approx((np.mean(days), np.std(days)))
    x = network.features
    assert x[0, 1].item() == pytest.approx((days[0] - np.mean(days)) / np.std(days))
    angle = 2 * np.pi * 31 / 365.25
    assert x[0, 2:4].tolist() == pytest.approx([np.sin(angle), np.cos(angle)])
    assert x[2, 1:4].tolist() == [0.0, 0.0, 0.0]  # no time
    assert x[:, 4:].norm(dim=1).tolist() == pytest.approx([1.0] * 15)
    assert (x[2, 4:] > 0).tolist() == [word in ("old", "poems") for word in words["words"]]


def test_relations_are_the_kinds_of_edges(read):
    edges = "source,target,kind\nann,bob,likes\nann,bob,knows\nbob,cem,knows\nbob,cem,knows\n"
    network = read(edges, NODES, label="club", relation="kind")
    assert network.relations == ("knows", "likes")
    assert [one.num_edges for one in network.graph.relations] == [4, 2]
    assert network.graph.num_edges == 4
    assert network.notes == (
        "of the relation 'knows': 1 duplicate edge merged, the weights summed; the first, "
        "'bob' → 'cem', on line 5",
    )
    alike = read(edges, NODES, label="club")
    assert (alike.relations, alike.graph.relations) == ((), ())
    assert alike.sha256 != network.sha256


ROADS = "source,target,km,kind\nann,bob,3,road\nbob,cem,5,rail\ncem,bob,7,road\nann,bob,5,rail\n"


def test_columns_of_edges_become_their_features_as_those_of_nodes_do(read):
    network = read(ROADS, NODES, label="club", edge_features=["km", "kind"])
    ids, graph = network.ids, network.graph
    rows = zip(*graph.edge_index.tolist(), graph.edge_features.tolist(), strict=True)
    scaled = dict(zip((3, 5, 7), (-(2**0.5), 0.0, 2**0.5), strict=True))
    between = [(scaled[3] + scaled[5]) / 2, 0.5, 0.5]  # of duplicates the mean
    expected = {
        ("ann", "bob"): between, ("bob", "ann"): between,  # the reverse is as the edge
        ("bob", "cem"): [scaled[5], 1, 0], ("cem", "bob"): [scaled[7], 0, 1],
    }  # fmt: skip
    found = {(ids[s], ids[t]): row for s, t, row in rows}
    assert found == {pair: pytest.approx(row) for pair, row in expected.items()}
    assert "features of edges: numbers: 'km', texts: 'kind' (2)" in network.columns
    assert network.notes[0] == (
        "1 duplicate edge merged, the weights summed, the features averaged; "
        "the first, 'ann' → 'bob', on line 5"
    )
    assert [e["column"] for e in network.edge_encodings] == ["km", "kind"]
    weighed = read(ROADS, NODES, label="club", weight="km", edge_features=["km"]).graph
    assert weighed.edge_size == 1  # the weight may be a feature too
    assert sorted(weighed.edge_weight.tolist()) == [7, 7, 8, 8]
    assert network.sha256 != read(ROADS, NODES, label="club", edge_features=["km"]).sha256


@pytest.mark.parametrize(
    ("edges", "columns", "said"),
    [
        (ROADS, ["miles"], "has no column 'miles'; its first line has source, target, km, kind; "),
        (ROADS, ["km", "Target"], "the column 'Target' of --edge-features is the target; leave"),
        (ROADS, ["km", "km"], "the column 'km' of --edge-features occurs twice; leave it out"),
        (
            ROADS.replace("5,rail\ncem", "far,rail\ncem"),
            ["km"],
            "line 3: the 'km' of edge 'bob' → 'cem' is 'far', and that of others is a number",
        ),
    ],
)
def test_features_of_edges_that_are_none_are_refused(read, edges, columns, said):
    with pytest.raises(InputError) as refused:
        read(edges, NODES, label="club", edge_features=columns)
    assert said in str(refused.value)
