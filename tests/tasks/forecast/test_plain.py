"""Large tables that are plain, read in pieces, are the tables read cell by cell."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from plait import text_pieces
from plait.errors import InputError
from plait.tasks.forecast import plain
from plait.tasks.forecast.series import Series, read_series

TIMES = "time,a,b é\n2024-01-01,1,2.5e-3\n2024-01-02,,-7\n2024-01-03,NA, 3\n2024-01-04,1e3,0.1\n"
PLAIN = {
    "times": TIMES,
    "carriage returns": TIMES.replace("\n", "\r\n"),
    "a mark": "\ufeff" + TIMES,
    "semicolons": TIMES.replace(",", ";"),
    "no times": "x,y\n" + "".join(f"{k * k},{k / 3!r}\n" for k in range(40)),
    "one column": "x\n1\n2.25\n7\n8",
    "offsets": "Date,x\n2024-01-01 00:00+0100,5\n2024-01-01 01:00+0100,6",
}
NOT_PLAIN = {
    "quotes": 'x,y\n1,"2"\n3,4\n5,6\n',
    "commas": "x;y\n1,5;2\n3;4,5\n5;6\n",
    "truth": "x,y\nTrue,2\nFalse,4\nTrue,6\n",
    "counted rows": "index,x\n0,5\n1,7\n2,9\n",
    "numbered times": "time,x\n0,5\n1,7\n2,9\n",
    "long": "time,id,value\n2024-01-01,a,1\n2024-01-01,b,2\n2024-01-02,a,3\n2024-01-02,b,4\n",
}


def large(monkeypatch) -> list[bool]:
    """Read every table in pieces of 16 bytes; note which were plain."""
    found, read = list[bool](), plain._read

    def noted(*arguments: object) -> object:
        found.append(False)
        table = read(*arguments)  # pyright: ignore[reportArgumentType]
        found[-1] = table is not None
        return table

    monkeypatch.setattr(plain, "LARGE", 0)
    monkeypatch.setattr(plain, "_read", noted)
    monkeypatch.setattr(text_pieces, "PIECE", 16)
    return found


def same(ours: Series, theirs: Series) -> None:
    np.testing.assert_array_equal(ours.values, theirs.values)
    assert (ours.ids, ours.columns, ours.notes) == (theirs.ids, theirs.columns, theirs.notes)
    assert (ours.times is None) == (theirs.times is None)
    assert ours.times is None or ours.times.equals(theirs.times)


@pytest.mark.parametrize("name", [*PLAIN, *NOT_PLAIN])
def test_a_table_in_pieces_is_the_table(name, tmp_path, monkeypatch) -> None:
    path = tmp_path / "s.csv"
    path.write_text({**PLAIN, **NOT_PLAIN}[name], "utf-8", newline="")
    whole = read_series(path)
    found = large(monkeypatch)
    same(read_series(path), whole)
    assert found == [name in PLAIN] or name == "numbered times"


def test_missing_values_and_columns_by_name(tmp_path, monkeypatch) -> None:
    path = tmp_path / "s.csv"
    path.write_text("day,x,y,z\n" + "".join(f"2024-01-{k:02},{k},-9,{k}\n" for k in range(1, 9)))
    options = {"time": "day", "missing": ("-9",), "covariates": ("z",)}
    whole = read_series(path, **options)
    assert np.isnan(whole.values[:, 1]).all()
    assert large(monkeypatch) == []
    again = read_series(path, **options)
    same(again, whole)
    assert again.covariates is not None
    np.testing.assert_array_equal(again.covariates, whole.covariates)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "time,x\n2024-01-01,1\nlately,2\n",
            "s.csv, line 3: 'lately' in column 'time' is no",
        ),
        ("time,x\n2024-01-01,1\n2024-01-02,two\n", "s.csv, line 3, column 'x': 'two' is no number"),
        ("x,y\n1,2\n3\n", "s.csv, line 3 has 1 columns, and line 1 names 2"),
    ],
)
def test_mistakes_are_the_same_lines(text, message, tmp_path, monkeypatch) -> None:
    path = tmp_path / "s.csv"
    path.write_text(text)
    large(monkeypatch)
    with pytest.raises(InputError) as error:
        read_series(path)
    assert message in str(error.value)


def test_small_and_gzipped_tables_are_left_alone(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0], "y": [3.0, 4.0]})
    for name in ("s.csv", "s.csv.gz"):
        frame.to_csv(tmp_path / name, index=False)
        assert plain.read_plain(tmp_path / name, "", ("time",), "utf-8") is None
