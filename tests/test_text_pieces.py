"""Texts in pieces: what is read whole, and the same messages."""

import gzip
from pathlib import Path

import pytest

from plait import text_pieces as module
from plait.data import find_text, read_text
from plait.errors import InputError
from plait.text_files import read_text_file
from plait.text_pieces import text_pieces

TEXTS = {
    "utf-8": "naïve\r\n… 猫\r\r\n𝄞 end\r",
    "utf-16": "naïve\r\n… 猫\r\r\n𝄞 end",
    "utf-8-sig": "one\r\ntwo",
    "cp1252": "naïve\rcafé\n\r\n",
    "shift_jis": "これはペンです\r\n" * 3,
}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("encoding", TEXTS)
def test_pieces_of_any_size_are_the_whole(encoding, size, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "PIECE", size)
    content = TEXTS[encoding].encode(encoding)
    (tmp_path / "a.txt").write_bytes(content)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(content))
    for path in tmp_path.iterdir():
        assert "".join(text_pieces(path, encoding)) == read_text_file(path, encoding)


@pytest.mark.parametrize("size", [16, 1000])
@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("abc é ".encode() * 5 + b"\xe9 d", "utf-8"),
        ("abc é ".encode() * 5 + "猫".encode()[:-1], "utf-8"),
        (b"abc " * 9 + b"\xff", "utf-8"),
        (b"abc" * 10 + bytes(5) + b"abc" * 5, "utf-8"),
        (b"abc" * 10 + b"\x81", "cp1252"),
    ],
)
def test_what_is_no_text_is_refused_alike(content, encoding, size, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "PIECE", size)
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(InputError) as whole:
        read_text_file(path, encoding, flag="--encoding")
    with pytest.raises(InputError) as pieces:
        list(text_pieces(path, encoding, "--encoding"))
    assert str(pieces.value) == str(whole.value)


def test_a_folder_in_pieces_is_the_folder(tmp_path, monkeypatch) -> None:
    books = tmp_path / "books"
    (books / "more").mkdir(parents=True)
    head, foot = ("*** START OF THE PROJECT GUTENBERG EBOOK X ***\n\n",
                  "\n*** END OF THE PROJECT GUTENBERG EBOOK X ***\nLicence\n")  # fmt: skip
    (books / "a.txt").write_text("\ufeffTitle\n" + head + "Once.\n" + foot)
    (books / "more" / "b.txt").write_text("\ufeffTwice.")
    (books / ".hidden").write_text("no")
    files = find_text(str(books))
    assert files is not None
    for keep in (False, True):
        text = "".join(files.pieces(0, keep_boilerplate=keep))
        assert text == read_text(str(books), keep_boilerplate=keep).characters
    monkeypatch.setattr(module, "BOOK", 10)  # larger than any of Project Gutenberg
    assert "".join(files.pieces(0)).startswith("Title\n***")
    assert "".join(files.pieces(0)).endswith("\nTwice.")
    (books / "a.txt").unlink()
    with pytest.raises(InputError, match=r"cannot read .*a\.txt: No such file"):
        _ = files.size
    assert find_text("python-docs") is None
    assert Path(files.source) == books
