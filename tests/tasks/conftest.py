"""A fuzzer for what reads files of users."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from plait.errors import InputError

ODD = (
    b"", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\n", b"\r", b"\r\n", b"\t", b" ", b'"',
    b"'", b",", b";", b"{", b"}", b"[", b"]", b"[[[[", b":", b"\\", b"\\ud83d", b"\\u0000",
    b"null", b"true", b"NaN", b"Infinity", b"-inf", b"0", b"-1", b"1.5", b"1e400", b"1e308",
    b"1e39", b"1e-320", b"-0.0", b"0x10", b"1_000", b"1,5", b"10.0", b"007",
    b"9223372036854775808", b"99999999999999999999999", b"9" * 400, b"0001-01-01", b"9999-12-31",
    b"1e5-01-01", b"2020-02-30", b"24:00", b"2020-03-01T00:00+99:99", b"Z",
    b"\xe5\x8c\x97\xe4\xba\xac", b"\xe2\x80\xae", b"\x1b[31m", b"\x00\x00\x08\x03",
    b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff",
)  # fmt: skip
"""Pieces that readers stumble over."""


def mutate(content: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """Change a file in one to four places: bytes, pieces, numbers, lines."""
    for _ in range(draw.choice((1, 1, 2, 4))):
        begin = draw.randrange(len(content) + 1)
        end = min(len(content), begin + draw.choice((0, 1, 1, 2, 4, 8, 64)))
        kind = draw.randrange(7)
        if kind == 0:  # a byte
            content = content[:begin] + bytes([draw.randrange(256)]) + content[begin + 1 :]
        elif kind == 1:  # an odd piece for another, or between two
            content = content[:begin] + draw.choice(ODD) + content[end:]
        elif kind == 2:  # an odd piece for a word or a number
            words = [k for k in range(len(content)) if content[k : k + 1].isalnum()
                     and not content[max(k - 1, 0) : k].isalnum()]  # fmt: skip
            begin = draw.choice(words or [0])
            end = begin
            while content[end : end + 1].isalnum() or content[end : end + 1] in (b".", b"-"):
                end += 1
            content = content[:begin] + draw.choice(ODD) + content[end:]
        elif kind == 3:  # less
            content = content[:begin] + content[end:]
        elif kind == 4:  # a piece of itself or of another once more
            other = draw.choice([content, *others])
            start = draw.randrange(len(other) + 1)
            content = content[:begin] + other[start : start + draw.randrange(64)] + content[begin:]
        elif kind == 5:  # an end
            content = content[:begin]
        else:  # lines in another order, or twice
            lines = content.split(b"\n")
            lines.insert(draw.randrange(len(lines) + 1), draw.choice(lines))
            del lines[draw.randrange(len(lines))]
            content = b"\n".join(lines)
    return content


@pytest.fixture
def fuzz(tmp_path) -> Callable[..., tuple[int, int]]:
    """Give mutated files to a reader, and count how many it read and how many it refused.

    Anything but an answer or an `InputError` of one line fails, and so does a warning; the case is
    told by its bytes.
    """

    def run(
        read: Callable[[Path], Any], valid: Sequence[bytes], count: int, name: str
    ) -> tuple[int, int]:
        draw, path, refused = random.Random(0), tmp_path / name, 0
        for content in valid:
            path.write_bytes(content)
            read(path)
        for _ in range(count):
            content = mutate(draw.choice(valid), valid, draw)
            path.write_bytes(content)
            try:
                read(path)
            except InputError as error:
                refused += 1
                lines = str(error).count("\n") + 1
                if lines > 1:
                    pytest.fail(f"{lines} lines: {error}: {content!r}")
            except Exception as error:
                raise AssertionError(f"{type(error).__name__}: {error}: {content!r}") from error
        return count - refused, refused

    return run
