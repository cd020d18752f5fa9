"""What tests of readers share: small files changed at random, and what may come of reading them."""

import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from plait import text_files
from plait.errors import InputError

WORDS = [
    b"", b"nan", b"inf", b"-Infinity", b"NA", b"null", b"0", b"-1", b"-9999", b"1e400", b"1e200",
    b"1e39", b"-1e-320", b"9" * 25, b"1,75", b"1.234,5", b"1,234", b"0x1p3", b"True", b"now",
    b"2024-01-01", b"2024-02-30", b"2024-01-01T00:00+09:00", b"2024-01-01 25:00Z", b"0001-01-01",
    b"9999-12-31", b"12.03.2024", b"id", b"time", b"source", b"weight", b"lat", b"a", b"b", b'"',
    b'""', b'"a\n"', b"'", b"#", b"%", b"\n", b"\r", b"\n\n", b"\t", b",", b";", b" ", b"\\", b"\0",
    b"\x1b[31m", b"\x0c", b"\x85", b"\xff", b"\xef\xbb\xbf",
    "é北京\u202e\u00a0".encode(), b"{", b"[",
    b"<", b"--", b"=1+1", b"$_$",
    b"", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\n", b"\r", b"\r\n", b"\t", b" ", b'"',
    b"'", b",", b";", b"{", b"}", b"[", b"]", b"[[[[", b":", b"\\", b"\\ud83d", b"\\u0000",
    b"null", b"true", b"NaN", b"Infinity", b"-inf", b"0", b"-1", b"1.5", b"1e400", b"1e308",
    b"1e39", b"1e-320", b"-0.0", b"0x10", b"1_000", b"1,5", b"10.0", b"007",
    b"9223372036854775808", b"99999999999999999999999", b"9" * 400, b"0001-01-01", b"9999-12-31",
    b"1e5-01-01", b"2020-02-30", b"24:00", b"2020-03-01T00:00+99:99", b"Z",
    b"\xe5\x8c\x97\xe4\xba\xac", b"\xe2\x80\xae", b"\x1b[31m", b"\x00\x00\x08\x03",
    b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff",
]  # fmt: skip
"""What a file may hold by mistake."""

SEPARATORS = b",;\t "


def mutated(rng: random.Random, content: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Change a file in one to four places: bytes, words, fields, lines, separators, encoding."""
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        change = rng.choice(CHANGES)
        content = change(rng, content, others) if change is _splice else change(rng, content)
    return content


def _splice(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Put in a piece of the file, or of another, once more."""
    other, at = rng.choice([content, *others]), rng.randrange(len(content) + 1)
    begin = rng.randrange(len(other) + 1)
    return content[:at] + other[begin : begin + rng.randrange(64)] + content[at:]


def _word(rng: random.Random, content: bytes) -> bytes:
    """Put an odd word for a word or a number."""
    found = rng.choice(list(re.finditer(rb"[\w.-]+", content)) or [None])
    if found is None:
        return rng.choice(WORDS)
    return content[: found.start()] + rng.choice(WORDS) + content[found.end() :]


def _flip(rng: random.Random, content: bytes) -> bytes:
    k = rng.randrange(len(content) + 1)
    flipped = bytes(byte ^ (1 << rng.randrange(8)) for byte in content[k : k + 1])
    return content[:k] + flipped + content[k + 1 :]


def _insert(rng: random.Random, content: bytes) -> bytes:
    k = rng.randrange(len(content) + 1)
    return content[:k] + rng.choice(WORDS) + content[k + rng.choice((0, 0, 1, 3)) :]


def _cut(rng: random.Random, content: bytes) -> bytes:
    k = rng.randrange(len(content) + 1)
    return content[:k] + content[k + rng.choice((1, 2, 5, 64, len(content))) :]


def _line(rng: random.Random, content: bytes) -> bytes:
    lines = content.split(b"\n")
    k = rng.randrange(len(lines))
    change = rng.randrange(4)
    if change == 0:
        del lines[k]
    elif change == 1:
        lines.insert(rng.randrange(len(lines) + 1), lines[k])
    elif change == 2:
        rng.shuffle(lines)
    else:
        lines[k] = rng.choice(WORDS)
    return b"\n".join(lines)


def _field(rng: random.Random, content: bytes) -> bytes:
    separator = rng.choice([bytes([s]) for s in SEPARATORS])
    lines = content.split(b"\n")
    k = rng.randrange(len(lines))
    rows = range(len(lines)) if rng.random() < 0.3 else [k]  # a field of a line, or a column
    at, change, word = rng.randrange(6), rng.randrange(3), rng.choice(WORDS)
    for row in rows:
        fields = lines[row].split(separator)
        place = at % len(fields)
        if change == 0:
            fields[place] = word
        elif change == 1:
            fields.insert(place, fields[place])
        else:
            del fields[place]
        lines[row] = separator.join(fields)
    return b"\n".join(lines)


def _separators(rng: random.Random, content: bytes) -> bytes:
    old, new = (bytes([rng.choice(SEPARATORS)]) for _ in range(2))
    return content.replace(old, new, rng.choice((-1, 1, 3)))


def _encoding(rng: random.Random, content: bytes) -> bytes:
    text = content.decode("latin-1")
    return rng.choice(
        [text.encode("utf-16"), b"\xef\xbb\xbf" + content, content.upper(), content.lower(),
         content.replace(b"\n", b"\r\n"), content.replace(b"\n", b"\r"), content * 2, b""]
    )  # fmt: skip


CHANGES = [_flip, _insert, _insert, _cut, _line, _field, _field, _separators, _encoding,
           _splice, _word]  # fmt: skip


@pytest.fixture
def contents(monkeypatch: pytest.MonkeyPatch) -> dict[Path, bytes]:
    """Files that are in memory alone: to write them would take longer than to read them."""
    files: dict[Path, bytes] = {}
    read = text_files.read_content

    def content_of(path: Path, cost: Any = 1.0) -> bytes:
        return files[path] if path in files else read(path, cost)

    for module in [m for name, m in sys.modules.items() if name.startswith("plait.")]:
        if getattr(module, "read_content", None) is read:
            monkeypatch.setattr(module, "read_content", content_of)
    return files


@pytest.fixture(scope="session")
def fuzz() -> Callable[..., Counter[str]]:
    """Read files changed at random; all must be read, or refused by an `InputError` of one line.

    Called with a function that reads bytes, and valid files. Returns how many were read and how
    many refused. Warnings are errors, as in all tests. Whatever else comes of a file fails, and
    the message has the file.
    """

    def run(
        read: Callable[[bytes], Any], valid: Sequence[bytes], cases: int, seed: int = 0
    ) -> Counter[str]:
        rng = random.Random(seed)
        outcomes: Counter[str] = Counter()
        for content in valid:
            read(content)
        for case in range(cases):
            content = mutated(rng, rng.choice(valid), valid)
            try:
                read(content)
                outcomes["read"] += 1
            except InputError as error:
                outcomes["refused"] += 1
                if "\n" in str(error):
                    raise AssertionError(f"case {case}: {content!r}: {error}") from error
            except Exception as error:
                raise AssertionError(f"case {case}: {content!r}: {error!r}") from error
        return outcomes

    return run
