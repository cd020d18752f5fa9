"""Every reader of tables reads a file that is damaged in any way, or refuses it in one line."""

from pathlib import Path

import pytest

from plait.graph_data import read_labelled_graph
from plait.tables import read_table
from plait.tasks.forecast.graphs import read_graph
from plait.tasks.forecast.series import read_series

EDGES = [
    b"source,target\na,b\nb,c\nc,a\n",
    b"# from to\nsource\ttarget\tWeight\na\tb\t2\nb\tc\t0.5\n",
    b"source target\na b\nc b\n",
]
NODES = [
    b"id,x,town,y\na,1,p,r\nb,2.5,q,s\nc,-3,p,\n",
    b",id,x\n0,a,0\n1,b,1\n2,c,5\n",
    b"id;x;z\na;1,75;1.000\nb;50,0;2\nc;0,5;3\n",
]
HOURS = [f"2024-01-0{1 + k // 24}T{k % 24:02}:00" for k in range(6)]
SERIES = [
    b"a,b\n1,2\n3,4\n5,6.5\n,8\n",
    ("time,a,b\n" + "".join(f"{t}+09:00,{k},{k * k}\n" for k, t in enumerate(HOURS))).encode(),
    ("time;a;b\n" + "".join(f"{t};{k},5;\n" for k, t in enumerate(HOURS))).encode(),
    b"date,a\n2024-01-01,1\n2024-02-01,2\n2024-03-01,3\n2024-04-01,4\n",
    b"time,id,value\n2024-01-01,a,1\n2024-01-01,b,2\n2024-01-02,a,3\n2024-01-02,b,4\n",
    b",a\n0,5\n1,6\n2,7\n",
    b"Datum;a\n30.12.2024;1,5\n31.12.2024;2\n01.01.2025;3\n",
]
PLACES = [
    b"id,lat,lon\na,34.1,-118.3\nb,34.2,-118.2\nc,-10,179\n",
    b"id;x;y\nc;0;3,5\na;0;0\nb;0;1,25\n",
    b"id,a,b,c\na,0,1,0\nb,1,0,0.5\nc,0,0.5,0\n",
    b"0,2,0\n2,0,0.5\n0,0.5,0\n",
    b"source,target,weight\na,b,2\nc,b,0.5\n",
]

READERS = {
    "table": (read_table, [*EDGES[:1], *NODES, *SERIES]),
    "numbers": (lambda path: read_table(path, texts=lambda names: names[:1]), NODES),
    "edges": (read_labelled_graph, EDGES),
    "edges by number": (lambda path: read_labelled_graph(path, source="1", target="2"), EDGES),
    "nodes": (lambda path: read_labelled_graph(path.with_name("edges.csv"), path), NODES),
    "series": (read_series, SERIES[:-1]),
    "series with gaps": (lambda path: read_series(path, missing=["-9999"], fill=True), SERIES[:-1]),
    "series with German days": (lambda path: read_series(path, "Datum"), SERIES[-1:]),
    "graph": (lambda path: read_graph(path, ["a", "b", "c"], 1), PLACES),
}


@pytest.fixture
def try_all(fuzz, contents):
    def run(name: str, cases: int) -> None:
        read, valid = READERS[name]
        path = Path("table.csv")
        contents[Path("edges.csv")] = EDGES[0]

        def of(content: bytes) -> None:
            contents[path] = content
            read(path)

        found = fuzz(of, valid, cases)
        assert found.total() == cases
        assert min(found["read"], found["refused"]) > 0.05 * cases

    return run


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_table_is_read_or_refused(try_all, name):
    try_all(name, 10_000)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_million_damaged_tables_are_read_or_refused(try_all, name):
    try_all(name, 10**6)
