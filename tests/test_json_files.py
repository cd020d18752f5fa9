"""JSON of users and run folders: what is read, and what is refused in one line."""

import json
from pathlib import Path

import numpy as np
import pytest

from plait.errors import InputError
from plait.json_files import parse_json, read_json
from plait.text_files import guess_encoding


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_encodings_of_json(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"größe": [1, 2.5, null]}', encoding)
    assert read_json(file) == {"größe": [1, 2.5, None]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "{} is not JSON: Expecting value, line 1, column 1"),
        (b'{"a": 1,\n "b" 2}', "{} is not JSON: Expecting ':' delimiter, line 2, column 6"),
        (b'{"a": "\xff"}', "{} is not JSON: byte 7 is 0xff, which is not utf-8"),
        (b"[" * 10**5, "{} is not JSON: it is nested too deep to be read; flatten it"),
        (b'{"a":' * 10**5, "{} is not JSON: it is nested too deep to be read; flatten it"),
        (
            b"1" * 5000,
            "{} is not JSON: it holds a whole number of thousands of digits; write it as 1e99",
        ),
    ],
)
def test_what_is_not_json_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_json(file)
    assert str(error.value) == message.format(file)


def test_json_larger_than_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(list(range(100))))
    monkeypatch.setattr("plait.text_files.SMALL", 1000)
    monkeypatch.setattr("plait.text_files.free_memory", lambda: 16 * 389)
    with pytest.raises(
        InputError, match=r"a.json holds 0.00039 MB, which takes about 0.00624 MB of"
    ):
        read_json(file)
    monkeypatch.setattr("plait.text_files.free_memory", lambda: 16 * 390)
    assert read_json(file) == list(range(100))


def test_places_that_are_no_files(tmp_path: Path) -> None:
    for place, message in (
        (tmp_path / "absent", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (Path("a\0b"), r"'a\\x00b' holds a null byte, which no path can"),
        (Path("/dev/zero"), "/dev/zero is a device, not a file; give a file"),
    ):
        with pytest.raises(InputError, match=message):
            read_json(place)


def mutated(content: bytes, draw: np.random.Generator) -> bytes:
    """The content with bytes changed, doubled, taken out or exchanged."""
    changed = bytearray(content)
    for _ in range(int(draw.integers(1, 5))):
        at, until = sorted(draw.integers(len(changed) + 1, size=2).tolist())
        kind = draw.integers(4)
        if kind == 0 and at < len(changed):
            changed[at] = int(draw.integers(256))
        elif kind == 1:
            changed[at:at] = changed[at : min(until, at + 9)]
        elif kind == 2:
            del changed[at : min(until, at + 9)]
        else:
            changed[at:at] = MARKS[int(draw.integers(len(MARKS)))]
    return bytes(changed)


MARKS = [b"[" * 3000, b"{", b"}", b'"', b"\\u", b"\xff\xfe", b"\xef\xbb\xbf", b"\0", b"9" * 5000,
         b"1e999", b"NaN", b"\xed\xa0\x80", b",", b"\r"]  # fmt: skip


def refused_or_read(count: int) -> None:
    """Whatever is given is read, or an `InputError` of one line."""
    draw = np.random.default_rng(count)
    whole = json.dumps({"a": [1, 2.5, None], "ä": {"b": "naïve", "c": True}}).encode()
    refused = 0
    for _ in range(count):
        content = mutated(whole, draw)
        said = ""
        try:
            parse_json(content, "a.json")
        except InputError as error:
            said = str(error)
        refused += bool(said)
        assert not said or (said.startswith("a.json is not JSON: ") and "\n" not in said)
        assert b"a".decode(guess_encoding(content), "replace")
    assert count / 10 < refused < count


def test_ten_thousand_mutations_are_read_or_refused() -> None:
    refused_or_read(10_000)


@pytest.mark.slow
def test_a_million_mutations_are_read_or_refused() -> None:
    refused_or_read(1_000_000)
