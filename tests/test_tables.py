import gzip

import numpy as np
import pytest

from plait.errors import InputError
from plait.tables import filled_rows, read_cells, read_rows, read_table


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_table_as_any_program_writes_it(tmp_path, separator, end, mark, zipped):
    rows = (["id", " of ", "x"], ["NA", '"a\n, ;\tb"', "1"], ["", "c ", ""], ["7", " d", "2.5"])
    content = (mark + end.join(map(separator.join, rows)) + end * 3).encode()
    path = tmp_path / ("table.csv.gz" if zipped else "table.csv")
    path.write_bytes(gzip.compress(content) if zipped else content)
    table = read_table(path, texts=lambda names: names[:2])
    assert table["id"].tolist() == ["NA", "", "7"]
    assert table["of"].tolist() == ["a\n, ;\tb", "c", "d"]
    np.testing.assert_array_equal(table["x"], [1, np.nan, 2.5])
    assert table.index.tolist() == [2, 4, 5]  # the second row has two lines
    assert read_table(path)["x"].tolist() == ["1", "", "2.5"]
    assert [row.line for row in read_rows(path)] == [1, 2, 4, 5]


def test_rows_without_anything_keep_their_place_until_they_are_left_out(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n\n,\n 3 ,x\n")
    assert read_table(path).index.tolist() == [2, 3, 4, 5]
    assert filled_rows(path, read_table(path), "a").index.tolist() == [2, 5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: the header is empty; it must name the columns"),
        (b",,\n1,2,3\n", "line 1: the header is empty; it must name the columns"),
        (b"a,b, a\n", "line 1: the column 'a' occurs twice"),
        (b"a,b\n1,2\n\n1\n", "line 4 has 1 columns, and line 1 names 2"),
        (b"a,b\n1,2,3\n", "line 2 has 3 columns, and line 1 names 2"),
        (b'a,b\n1,2\n"1,2\n', "line 3: no table: unexpected end of data"),
        (b"a,b\n1,\xe4\n", "is not UTF-8 text: byte 6 is 0xe4"),
        (b"a,b\n", "has no rows under its first line"),
        (b"a,c\n1,2\n", "has no column 'b'; its columns are a, c"),
    ],
)
def test_what_is_no_table_is_refused_by_its_line(tmp_path, content, message):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        filled_rows(path, read_table(path), "b")
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"a,b\n", gzip.compress(b"a,b\n1,2\n" * 99)[:-9]], ids=["no archive", "cut short"]
)
def test_a_damaged_archive_is_reported(tmp_path, content):
    path = tmp_path / "table.csv.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"table\.csv\.gz is not gzipped, or damaged"):
        read_table(path)


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz"])
def test_what_there_is_no_memory_for_is_not_read(tmp_path, monkeypatch, name):
    monkeypatch.setattr("plait.text_files.SMALL", 10)
    monkeypatch.setattr("plait.text_files.free_memory", lambda: 1_000_000)
    path = tmp_path / name
    content = b"a,b\n" + b"1,2\n" * 5_000
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(
        InputError, match=r"holds 0\.02 MB( or more)?, which takes about 1\.56 MB of memory"
    ):
        read_table(path)
    path.write_bytes(gzip.compress(content[:4000]) if name.endswith("gz") else content[:4000])
    assert len(read_table(path)) == 999


def test_a_row_of_separators_is_an_empty_row(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a\n2\n,\n0\n")
    assert read_table(path)["a"].tolist() == ["2", "", "0"]


def test_columns_without_anything_and_counters_without_a_name_are_left_out(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(",a,,b\n0,x,,y\n1,z,,\n")
    assert list(read_table(path)) == ["a", "b"]
    path.write_text(",a\n5,x\n")
    with pytest.raises(InputError, match="line 1: column 1 has no name; name it"):
        read_table(path)


def test_names_are_the_same_however_their_characters_are_composed(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("cafe\u0301,a\nx,1\n")
    assert read_cells(path).column("caf\u00e9") == read_cells(path).column("cafe\u0301") == 0
    path.write_text("caf\u00e9,cafe\u0301\nx,1\n")
    with pytest.raises(InputError, match="line 1: the column 'café' occurs twice"):
        read_cells(path)


def test_byte_order_marks_of_files_put_together_are_left_out(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("\ufeff\ufeffa,b\n1,2\n\ufeff3,4\n")
    assert read_table(path)["a"].tolist() == ["1", "3"]
