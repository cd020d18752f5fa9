"""The traffic data sets, from small files of their formats: HDF5, NPZ, CSV, road distances."""

import h5py
import numpy as np
import pandas as pd
import pytest

from plait import data
from plait.data import TRAFFIC, DataSet, get_data
from plait.errors import InputError
from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.data import read_data
from plait.tasks.forecast.hdf5 import read_hdf5
from plait.tasks.forecast.traffic import read_traffic

VALUES = np.random.default_rng(0).uniform(10, 70, (200, 3)).round(2)
VALUES[5, 1] = 0
TIMES = pd.date_range("2012-03-01", periods=200, freq="5min")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAIT_DATA", str(tmp_path))
    monkeypatch.setattr(data, "cache_folder", lambda: tmp_path / "cache")
    (tmp_path / "series").mkdir()
    return tmp_path


def write_hdf5(path, values=VALUES, names=(b"773869", b"767541", b"7"), **more) -> None:
    """Write what `DataFrame.to_hdf` writes in its format "fixed"."""
    with h5py.File(path, "w") as file:
        group = file.create_group("df")
        group["axis0"] = group["block0_items"] = np.array(names)
        group["axis1"] = TIMES.as_unit("ns").asi8[: len(values)]
        group["block0_values"] = values
        for name, content in more.items():
            del group[name]
            group[name] = content


def metr_la(here) -> None:
    frame = pd.DataFrame(VALUES, columns=["773869", "767541", "7"], index=TIMES)
    frame.to_csv(here / "series" / "metr-la.csv")
    (here / "series" / "metr-la-distances.csv").write_text(
        "from,to,cost\n773869,767541,100.0\n767541,773869,2000\n7,767541,1000.0\n7,7,0\n"
        "773869,999,5\n773869,7,90000\n"
    )


def test_metr_la_has_weights_by_distance_and_zeros_that_are_missing(here):
    metr_la(here)
    series, joined = read_traffic("metr-la")
    assert series.ids == ("773869", "767541", "7")
    assert np.argwhere(np.isnan(series.values)).tolist() == [[5, 1]]
    assert series.frequency == "5min"
    d = np.array([100.0, 2000, 1000, 0, 90000])
    weight = np.exp(-((d / d.std()) ** 2))
    assert (weight[:4] >= 0.1).all()
    assert weight[4] < 0.1
    assert joined.graph.num_edges == 4
    found = dict(zip(zip(*joined.graph.edge_index.tolist(), strict=True),
                     joined.graph.edge_weight.tolist(), strict=True))  # fmt: skip
    expected = dict(zip([(0, 1), (1, 0), (2, 1), (2, 2)], weight[:4].tolist(), strict=True))
    assert found == pytest.approx(expected, rel=1e-6)
    config = ForecastConfig.of({}, "metr-la")
    splits = read_data(config).splits
    assert (splits.history, splits.test, splits.valid) == (12, 162, 143)  # 70, 10, 20 %


def test_pems04_is_the_flow_with_roads_both_ways(here):
    flows = np.stack([VALUES, VALUES / 100, VALUES + 1], -1)
    np.savez(here / "series" / "pems04.npz", data=flows)
    (here / "series" / "pems04-distances.csv").write_text("from,to,cost\n0,1,310\n1,2,330\n")
    series, joined = read_traffic("pems04")
    np.testing.assert_array_equal(series.values, VALUES)
    assert (series.ids, str(series.times[0])) == (("0", "1", "2"), "2018-01-01 00:00:00")
    assert sorted(map(tuple, joined.graph.edge_index.T.tolist())) == [
        (0, 1), (1, 0), (1, 2), (2, 1),
    ]  # fmt: skip
    assert (joined.graph.edge_weight == 1).all()


def test_a_table_of_pandas_in_hdf5_is_read_as_one_in_csv(here):
    write_hdf5(here / "own.h5")
    frame = pd.DataFrame(VALUES, columns=["773869", "767541", "7"])
    frame.insert(0, "time", TIMES)
    frame.to_csv(here / "own.csv", index=False)
    tables = [
        read_data(ForecastConfig(data=str(here / name), operator="dense")).series
        for name in ("own.h5", "own.csv")
    ]
    assert tables[0].ids == tables[1].ids
    assert tables[0].times.equals(tables[1].times.as_unit(tables[0].times.unit))
    np.testing.assert_array_equal(tables[0].values, tables[1].values)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"block0_items": np.array([b"1", b"2"])}, "has columns of several types; write numbers"),
        ({"axis1": np.arange(7)}, "has columns of several types"),
    ],
)
def test_other_tables_in_hdf5_are_refused(here, more, message):
    write_hdf5(here / "own.h5", **more)
    with pytest.raises(InputError, match=message):
        read_hdf5(here / "own.h5")


def test_damaged_files_are_named(here):
    (here / "own.h5").write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    with pytest.raises(InputError, match=r"own.h5 is no table that pandas wrote, or damaged"):
        read_hdf5(here / "own.h5")
    with h5py.File(here / "two.h5", "w") as file:
        file["x"] = np.zeros(3)
    with pytest.raises(InputError, match=r"two.h5 has 0 tables of pandas; it must have one"):
        read_hdf5(here / "two.h5")
    with pytest.raises(InputError, match=r"pems08.npz is not on this machine; plait data get"):
        read_traffic("pems08")
    path = here / "series" / "pems08.npz"
    (here / "series" / "pems08-distances.csv").write_text("from,to,cost\n0,1,310\n")
    for content, message in (
        ({"flow": VALUES}, "has no array named data; it has flow"),
        ({"data": VALUES[0]}, r"must have numbers, steps × nodes \(× measurements\); it is \[3\]"),
    ):
        np.savez(path, **content)
        with pytest.raises(InputError, match=message):
            read_traffic("pems08")
    path.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(InputError, match=r"pems08.npz is no NPZ file, or damaged"):
        read_traffic("pems08")
    np.savez(path, data=VALUES)
    for text, message in (
        ("from,to,cost\n8,9,1\n", "has no road between two nodes"),
        ("from,to,cost\n0,1\n", "line 2: from, to and a distance are needed"),
        ("from,to,cost\n0,1,far\n", "line 2: 'far' is no distance"),
    ):
        (here / "series" / "pems08-distances.csv").write_text(text)
        with pytest.raises(InputError, match=message):
            read_traffic("pems08")


def test_both_files_of_a_data_set_are_fetched(here, monkeypatch):
    for name in ("values.csv", "roads.csv"):
        (here / name).write_text(name)
    parts = (
        DataSet("t", "series/t.csv", (here / "values.csv").as_uri(), "", 0, ""),
        DataSet("t-distances", "series/t-distances.csv", (here / "roads.csv").as_uri(), "", 0, ""),
    )
    monkeypatch.setitem(TRAFFIC, "t", parts)
    fetched = []
    monkeypatch.setattr(
        "pooch.retrieve", lambda url, known, fname, path: fetched.append((url, known, fname))
    )
    assert get_data("t") == here / "cache" / "series" / "t.csv"
    assert fetched == [(p.url, None, p.file.removeprefix("series/")) for p in parts]
    for name, (values, roads) in TRAFFIC.items():
        assert values.url.startswith("https://") or name == "t"
        assert roads.file == f"series/{name}-distances.csv"
