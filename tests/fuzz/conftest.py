"""What tests of readers share: small files changed at random, and what may come of reading them."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

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
]  # fmt: skip
"""What a file may hold by mistake."""

SEPARATORS = b",;\t "


def mutated(rng: random.Random, content: bytes) -> bytes:
    """Change a file in one to four places: bytes, words, fields, lines, separators, encoding."""
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        content = rng.choice(CHANGES)(rng, content)
    return content


def _flip(rng: random.Random, content: bytes) -> bytes:
    k = rng.randrange(len(content) + 1)
    flipped = bytes(byte ^ (1 << rng.randrange(8)) for byte in content[k : k + 1])
    return content[:k] + flipped + content[k + 1 :]


def _insert(rng: random.Random, content: bytes) -> bytes:
    k = rng.randrange(len(content) + 1)
    return content[:k] + rng.choice(WORDS) + content[k + rng.choice((0, 0, 1, 3)) :]


def _cut(rng: random.Random, content: bytes) -> bytes:
    k = rng.randrange(len(content) + 1)
    return content[:k] + content[k + rng.choice((1, 2, 5, len(content))) :]


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


CHANGES = [_flip, _insert, _insert, _cut, _line, _field, _field, _separators, _encoding]


@pytest.fixture(scope="session")
def fuzz() -> Callable[..., Counter[str]]:
    """Read files changed at random; all must be read, or refused by an `InputError`.

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
            content = mutated(rng, rng.choice(valid))
            try:
                read(content)
                outcomes["read"] += 1
            except InputError:
                outcomes["refused"] += 1
            except Exception as error:
                raise AssertionError(f"case {case}: {content!r}: {error!r}") from error
        return outcomes

    return run
