"""Edge lists in the forms in which they are published."""

import pytest

from plait.errors import InputError
from plait.graph_data.edges import read_edges


@pytest.fixture
def read(tmp_path):
    def of(content: str, **columns):
        path = tmp_path / "edges.txt"
        path.write_text(content)
        return read_edges(path, **columns)

    return of


SNAP = "# Directed graph\n# FromNodeId\tToNodeId\n0\t1\n1\t2\n"


@pytest.mark.parametrize(
    ("content", "columns", "said"),
    [
        (SNAP, {"source": "1", "target": "2"}, "source = '1', target = '2'"),
        ("0 1\n1  2\n", {"source": "1", "target": "2"}, "source = '1', target = '2'"),
        (
            "from,to\n0,1\n1,2\n",
            {"source": "from", "target": "to"},
            "source = 'from', target = 'to'",
        ),
        ("SOURCE,Target\n0,1\n1,2\n", {}, "source = 'SOURCE', target = 'Target'"),
        ("source,since,target\n0,9,1\n1,9,2\n", {}, "source, target, ignored: 'since'"),
    ],
)
def test_which_columns_are_the_ends(read, content, columns, said):
    edges = read(content, **columns)
    assert edges.ends == (["0", "1"], ["1", "2"])
    assert (edges.weight, edges.columns) == (None, said)
    assert edges.at(0).endswith(f"line {content[: content.rindex('1')].count(chr(10))}")


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ("source,target,Weight\na,b,5\nb,c,0.5\n", {}),
        ("source;target;WEIGHT\na;b;5\nb;c;0,5\n", {}),
        ("from,to,cost\na,b,5\nb,c,0.5\n", {"source": "from", "target": "to", "weight": "cost"}),
        ("b,a,5\nc,b,0.5\n", {"source": "2", "target": "1", "weight": "3"}),
    ],
)
def test_which_column_is_the_weight(read, content, columns):
    edges = read(content, **columns)
    assert (edges.ends, edges.weight.tolist()) == ((["a", "b"], ["b", "c"]), [5, 0.5])


def test_relations_are_read_where_they_are_wanted(read):
    content = "source,target,weight,Relation\na,b,5,likes\nb,c,1,knows\n"
    edges = read(content, relation="")
    assert edges.relation == ["likes", "knows"]
    assert edges.columns == "source, target, weight, relation = 'Relation'"
    assert read(content).relation is None
    assert read(content.replace("Relation", "kind"), relation="kind").relation == edges.relation


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        (SNAP, {}, "has no column 'source'; its first line has 0, 1; name the column of the "
         "source with --source NAME, or --source 1 for its number if the table has no header"),
        ("from,to,cost\na,b,5\n", {}, "has no column 'source'; its first line has from, to, cost"),
        ("source,target\na,b\n", {"weight": "cost"}, "has no column 'cost'; its first line has"),
        ("source,target,Weight,WEIGHT\na,b,1,2\n", {}, "'Weight' and 'WEIGHT' both may be the wei"),
        ("source,target\na,b\n", {"relation": ""}, "has no column 'relation'; its first line"),
        ("source,target,kind\na,b,x\nb,c,\n", {"relation": "kind"},
         "line 3: the relation of 'b' → 'c' is missing"),
        ("source,target,weight\na,b,1e39\n", {}, "line 2: the weight of 'a' → 'b' is beyond ±1"),
    ],
)  # fmt: skip
def test_what_is_not_said_is_asked_for(read, content, columns, message):
    with pytest.raises(InputError) as caught:
        read(content, **columns)
    assert message in str(caught.value)
