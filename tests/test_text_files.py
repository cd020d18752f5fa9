"""Texts of users: encodings, pipes, devices, and what is larger than the memory."""

import contextlib
import gzip
import os
import threading
from pathlib import Path

import pytest

from plait import text_files
from plait.data import read_text
from plait.errors import InputError
from plait.text_files import guess_encoding, read_content, read_text_file

RUSSIAN = "Все счастливые семьи похожи друг на друга. " * 3
SENTENCES = {
    "cp1252": "“Naïve café” – déjà vu, she said; and nothing more was heard of it.",
    "cp1251": RUSSIAN,
    "koi8_r": RUSSIAN,
    "shift_jis": "吾輩は猫である。名前はまだ無い。",
    "euc_jp": "吾輩は猫である。名前はまだ無い。",
    "gb18030": "道可道非常道名可名非常名",
    "utf-16": "Call me Ishmael.",
    "utf-16-le": "Call me Ishmael.",
    "utf-16-be": "Call me Ishmael.",
    "utf-32": "Call me Ishmael.",
}


@pytest.mark.parametrize("encoding", SENTENCES)
def test_the_likely_encoding_is_named_and_reads_the_text(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(SENTENCES[encoding].encode(encoding))
    assert guess_encoding(file.read_bytes()) == encoding
    message = rf"^{file} is not UTF-8 text: .*; it may be {encoding}: give --encoding {encoding}$"
    with pytest.raises(InputError, match=message):
        read_text(str(file))
    assert read_text(str(file), encoding=encoding).characters == SENTENCES[encoding]


def test_a_text_in_utf8_is_known_where_another_encoding_is_given(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("é" * 300)
    with pytest.raises(InputError, match=r"is not ascii text: .* may be utf-8: give --encoding ut"):
        read_text(str(tmp_path / "a.txt"), encoding="ascii")


def test_accents_between_latin_letters_are_not_cyrillic() -> None:
    for text in ("Köln Jörg säure größe " * 20, "déjà été créé élevée " * 20, "über öl " * 9):
        assert guess_encoding(text.encode("cp1252")) == "cp1252"


@pytest.mark.parametrize(
    "name", ["klingon", "idna", "undefined", "unicode-escape", "rot13", "base64", "hex", "", "a\0b"]
)
def test_what_is_no_encoding_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.txt").write_text("abc")
    with pytest.raises(
        InputError, match=r"^--encoding .*: there is no such encoding; some are utf"
    ):
        read_text(str(tmp_path / "a.txt"), encoding=name)


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(b"one\r\ntwo\rthree"))
    writer.start()
    assert read_text_file(pipe) == "one\ntwo\nthree"
    writer.join()


def test_a_pipe_without_a_writer_is_refused(tmp_path: Path, monkeypatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(text_files, "PATIENCE", 0.0)
    with pytest.raises(InputError, match=r"pipe: it is a pipe that nothing writes to; give a file"):
        read_text_file(tmp_path / "pipe")


def test_an_endless_pipe_ends_with_the_memory(tmp_path: Path, monkeypatch) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setattr(text_files, "SMALL", 2**20)
    monkeypatch.setattr(text_files, "free_memory", lambda: 2**22)

    def endless() -> None:
        with contextlib.suppress(BrokenPipeError), pipe.open("wb") as file:
            while True:
                file.write(b"y\n" * 1000)

    writer = threading.Thread(target=endless)
    writer.start()
    with pytest.raises(
        InputError, match=r"pipe holds 3.15 MB or more, which takes about 6.29 MB of"
    ):
        read_content(pipe, 2.0)
    writer.join()


def test_a_file_that_unfolds_beyond_the_memory_is_refused(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "zeros.txt.gz"
    file.write_bytes(gzip.compress(bytes(2**23)))
    monkeypatch.setattr(text_files, "SMALL", 2**20)
    monkeypatch.setattr(text_files, "free_memory", lambda: 2**22)
    with pytest.raises(InputError, match=r"zeros.txt.gz holds 5.24 MB or more, which takes about"):
        read_text_file(file)


def test_a_folder_beyond_the_memory_is_refused_unread(tmp_path: Path, monkeypatch) -> None:
    with (tmp_path / "large.txt").open("wb") as file:
        file.truncate(2**30)
    monkeypatch.setattr("plait.memory.free_memory", lambda: 2**33)
    monkeypatch.setattr("plait.text_pieces.read_text_file", None)
    with pytest.raises(
        InputError, match=r"^.*, of 1.1 GB, needs about 17 GB of memory, and 8.6 GB are"
    ):
        read_text(str(tmp_path))


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/urandom"])
def test_a_device_is_no_file(device: str) -> None:
    with pytest.raises(InputError, match=f"^{device} is a device, not a file; give a file$"):
        read_text(device)
