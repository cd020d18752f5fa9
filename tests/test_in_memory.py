"""DataFrames and texts in memory are data like files."""

import copy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import plait
from plait.errors import InputError
from plait.in_memory import as_files
from plait.tables import read_rows

TINY = {"steps": 3, "hidden_size": 4, "device": "cpu", "threads": 1}
FORECAST = {**TINY, "history": 6, "horizon": 3, "batch_size": 4}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def speeds() -> pd.DataFrame:
    hours = pd.date_range("2024-03-01", periods=200, freq="h")
    values = 10 + 3 * np.sin(np.arange(200)[:, None] / 4 + np.arange(3))
    values += np.random.default_rng(0).standard_normal(values.shape)
    return pd.DataFrame(values, index=hours, columns=["n1", "n2", "n3"])


ROADS = pd.DataFrame({"source": ["n1", "n2"], "target": ["n2", "n3"]})
SIX_LINES = """
import pandas as pd, plait
speeds = pd.read_csv("speeds.csv", index_col=0, parse_dates=True)
roads = pd.read_csv("roads.csv")
run = plait.train("forecast", data=speeds, graph=roads, **options)
model = plait.load(run)
forecast = model.predict(speeds)
"""


def test_from_a_dataframe_to_a_forecast_in_six_lines(speeds):
    speeds.to_csv("speeds.csv")
    ROADS.to_csv("roads.csv", index=False)
    assert len(SIX_LINES.strip().splitlines()) <= 6
    names: dict = {"options": FORECAST}
    exec(SIX_LINES, names)
    forecast = names["forecast"]
    assert list(forecast.columns) == ["time", "id", "forecast", "missing"]
    assert forecast["time"].iloc[0] == speeds.index[-1] + pd.Timedelta("1h")
    assert forecast["id"].tolist() == ["n1", "n2", "n3"] * 3


def test_a_dataframe_is_learnt_as_its_file_is(speeds):
    speeds.iloc[5, 1] = np.nan
    speeds.to_csv("speeds.csv", index_label="time")
    ROADS.to_csv("roads.csv", index=False)
    ours = plait.train("forecast", data=speeds, graph=ROADS, out="a", **FORECAST)
    theirs = plait.train("forecast", data="speeds.csv", graph="roads.csv", out="b", **FORECAST)
    assert ours.facts == theirs.facts
    assert ours.records("test") == theirs.records("test")
    other = speeds[["n3", "n1", "n2"]].iloc[40:]
    other.to_csv("other.csv", index_label="time")
    assert plait.score(ours, other) == plait.score(theirs, "other.csv")
    expected = plait.api.predictions(theirs, "other.csv")
    model = plait.load(ours)
    pd.testing.assert_frame_equal(model.predict(other), expected)
    pd.testing.assert_frame_equal(copy.deepcopy(model).predict(other), expected)
    assert plait.predict(ours, other, out="p.csv").read_text() == expected.to_csv(index=False)


def test_the_run_keeps_its_data(speeds):
    run = plait.train("forecast", data=speeds, graph=ROADS, **FORECAST)
    assert run.path == Path("runs/forecast-data")
    assert sorted(p.name for p in (run.path / "given").iterdir()) == ["data.csv", "graph.csv"]
    before = plait.score(run)
    del speeds
    assert plait.score(plait.resume(run.path)) == before


def test_a_run_that_was_moved_has_its_data(speeds):
    run = plait.train("forecast", data=speeds, graph=ROADS, out="here", **FORECAST)
    before = plait.score(run)
    Path("here").rename("there")
    assert plait.score("there") == before
    assert plait.resume("there").records("test") == run.open(Path("there")).records("test")


def test_files_are_written_in_the_encoding_that_they_are_read_in(speeds):
    umlauts = speeds.set_axis(["Köln", "Jülich", "Düren"], axis=1)
    roads = pd.DataFrame({"source": ["Köln", "Jülich"], "target": ["Jülich", "Düren"]})
    run = plait.train("forecast", data=umlauts, graph=roads, encoding="cp1252", **FORECAST)
    assert set(plait.load(run).predict(umlauts)["id"]) == {"Köln", "Jülich", "Düren"}
    assert plait.score(run, umlauts, encoding="utf-16") == plait.score(run, umlauts)
    with pytest.raises(InputError, match=r"^data cannot be written as 'ascii' .*; give utf-8$"):
        plait.train("forecast", data=umlauts, graph=roads, encoding="ascii", **FORECAST)
    assert [p.name for p in Path("runs").iterdir()] == [run.path.name]


def test_texts():
    prose = "Call me Ishmael.\nSome years ago, never mind how long.\n" * 40
    small = {**TINY, "embedding_size": 4, "layers": 1, "length": 10, "batch_size": 4}
    run = plait.train("text", data=prose, **small)
    assert run.facts["characters"] == len(prose)
    Path("prose.txt").write_text(prose)
    assert plait.score(run, prose) == plait.score(run, "prose.txt")


def test_nodes_and_links():
    ids = [f"n{k}" for k in range(24)]
    edges = pd.DataFrame({"source": ids, "target": [*ids[1:], ids[0]]})
    nodes = pd.DataFrame({"id": ids, "label": ["a", "b"] * 12}).set_index("id")
    run = plait.train("nodes", edges=edges, nodes=nodes, label="label", **TINY)
    assert plait.load(run).predict()["id"].tolist() == ids
    run = plait.train("links", edges=edges, **TINY)
    assert set(plait.load(run).predict(node="n3", top=2)["node"]) == {"n3"}


def test_visits():
    rows = [(f"p{p}", t, kind, f"{kind[0]}{(p + t) % 3}")
            for p in range(20) for t in range(3) for kind in ("drug", "diagnosis")]  # fmt: skip
    events = pd.DataFrame(rows, columns=["patient", "visit", "kind", "code"])
    run = plait.train("visits", data=events, **TINY)
    one = plait.load(run).predict(events[events["patient"] == "p7"])
    assert set(one["patient"]) == {"p7"}


def test_errors_name_the_table_and_the_row_and_leave_nothing(speeds):
    spoilt = speeds.astype(object)
    spoilt.iloc[10, 1] = "fast"
    with pytest.raises(
        InputError,
        match=r"^data \(a DataFrame\), row 10, column 'n2': 'fast' is no number; if it means",
    ):
        plait.train("forecast", data=spoilt, graph=ROADS, **FORECAST)
    with pytest.raises(InputError, match=r"^graph \(a DataFrame\) does not name 'n3', which"):
        plait.train("forecast", data=speeds, graph=ROADS[:1], **FORECAST)
    assert list(Path().iterdir()) == []
    run = plait.train("forecast", data=speeds, graph=ROADS, out="run", **FORECAST)
    with pytest.raises(InputError, match=r"^data \(a DataFrame\) has no column 'n2'; the table"):
        plait.load(run).predict(speeds.drop(columns="n2"))
    levels = speeds.set_axis(pd.MultiIndex.from_product([["n"], [1, 2, 3]]), axis=1)
    with pytest.raises(InputError, match=r"^data has columns of 2 levels; give each column one"):
        plait.train("forecast", data=levels, graph=ROADS, **FORECAST)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (pd.DataFrame({"a;b;c": [1], "d": [0.1]}), [["a;b;c", "d"], ["1", "0.1"]]),
        (pd.DataFrame({"a": [1, 2, 3]})[1:], [["a"], ["2"], ["3"]]),
        (pd.DataFrame([[0, 2], [2, 0]]), [["", "0", "1"], ["0", "0", "2"], ["1", "2", "0"]]),
        (pd.DataFrame({"a": ['x,"y"\nz']}), [["a"], ['x,"y"\nz']]),
        (pd.DataFrame({"a": [1]}, pd.period_range("2024-02", periods=1, freq="M", name="t")),
         [["t", "a"], ["2024-02-01", "1"]]),
        (pd.Series([1.5], name="a"), [["a"], ["1.5"]]),
    ],
)  # fmt: skip
def test_tables_read_back_as_they_are(table, expected, tmp_path):
    with as_files({"data": table}, tmp_path / "given") as files:
        assert [row.cells for row in read_rows(Path(files["data"]))] == expected
