"""Text and bytes that users give: bounded by memory, whatever the path leads to."""

import codecs
import contextlib
import errno
import gzip
import io
import os
import re
import select
import stat
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from plait.errors import InputError
from plait.memory import SMALL, bytes_text, free_memory

Cost = float | Callable[[bytes], float]
"""Bytes of memory that a byte takes, or a function of how a content begins that returns them."""

CHUNK = 2**20
PATIENCE = 10.0
"""Seconds in which a pipe must find someone who writes to it."""

SAMPLE = 2**16
"""Bytes from which an encoding is guessed."""

FEW = 4
"""Characters of a script that may occur in a text by chance."""

KANA, CYRILLIC, IDEOGRAPHS = "ぁ-ヿ", "а-я", "一-鿿"
SCRIPTS = {
    "shift_jis": (KANA, 0.3), "euc_jp": (KANA, 0.3), "cp1251": (CYRILLIC, 0.6),
    "koi8_r": (CYRILLIC, 0.6), "gb18030": (IDEOGRAPHS, 0.8),
}  # fmt: skip
"""Encodings, a script, and the least share of it in a text of theirs, in the order of trial."""


NOT_OF_FILES = ("undefined", "idna", "punycode", "unicode_escape", "raw_unicode_escape")
"""What Python calls encodings and no file of text has."""


def require_path(path: Path) -> None:
    r"""Refuse, with `InputError`, what cannot be a path on any system.

    >>> from pathlib import Path
    >>> from plait.text_files import require_path
    >>> require_path(Path("runs/a\0b"))
    Traceback (most recent call last):
        ...
    plait.errors.InputError: 'runs/a\x00b' holds a null byte, which no path can; leave it out
    """
    if "\0" in str(path):
        raise InputError(f"{str(path)!r} holds a null byte, which no path can; leave it out")


def read_content(path: Path, cost: Cost = 1.0) -> bytes:
    """Read all bytes of a file or a pipe, decompressed if the name ends in `.gz`.

    Parameters
    ----------
    path : Path
    cost : float, or callable
        Bytes of memory that a byte of the content will take where it is used; or a function that
        returns them, given how the content begins. What needs more than is free is refused: a file
        before all of it is read, a pipe or a gzipped file when it has given too much.

    Raises
    ------
    InputError
        For what cannot be read, holds too much, or is a device.
    """
    with opened(path) as (file, size):
        return _read_all(path, file, size, cost)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[Any, int | None]]:
    """Open a file or a pipe, decompressed if the name ends in `.gz`; with its size, if known.

    `InputError` is raised as by `read_content`, also for what is read of it.
    """
    require_path(path)
    try:
        about = path.stat()
        if stat.S_ISCHR(about.st_mode) or stat.S_ISBLK(about.st_mode):
            raise InputError(f"{path} is a device, not a file; give a file")
        zipped = path.suffix == ".gz"
        size = about.st_size if stat.S_ISREG(about.st_mode) and not zipped else None
        with _opened(path, pipe=stat.S_ISFIFO(about.st_mode)) as file:
            yield gzip.GzipFile(fileobj=file) if zipped else file, size
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise InputError(f"{path} is not gzipped, or damaged; copy it again") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None


def read_text_file(
    path: Path, encoding: str = "utf-8", *, cost: Cost = 1.0, flag: str | None = None
) -> str:
    r"""Read a text, with every line end as \n.

    Parameters
    ----------
    path : Path
        A file or a pipe; decompressed if the name ends in `.gz`.
    encoding : str
        One that Python knows. A byte-order mark stays.
    cost : float, or callable
        As in `read_content`.
    flag : str
        The option by which a user names the encoding, offered where the text is in another.

    Raises
    ------
    InputError
        For what cannot be read or is no text in the encoding: the message says at which byte, and
        which encoding it is likely to be.

    Example
    -------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from plait.text_files import read_text_file
    >>> path = Path(tempfile.mkdtemp()) / "cafe.txt"
    >>> _ = path.write_bytes(b"caf\xe9")
    >>> read_text_file(path, "cp1252")
    'café'
    """
    require_encoding(encoding, flag)
    return as_text(path, read_content(path, cost), encoding, flag)


def as_text(path: Path, content: bytes, encoding: str = "utf-8", flag: str | None = None) -> str:
    """Return what was read of a file as text; `InputError` as `read_text_file` raises it."""
    try:
        text = content.decode(encoding)
    except UnicodeError as error:
        raise not_decoded(path, content, error, encoding, flag) from None
    if "\0" in text:
        raise not_text(path, content, text, encoding, flag)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def not_decoded(
    path: Path, content: bytes, error: UnicodeError, encoding: str, flag: str | None,
    before: int = 0,
) -> InputError:  # fmt: skip
    """Return what is wrong with content that is in another encoding; `before` bytes precede it."""
    at = error.start if isinstance(error, UnicodeDecodeError) else 0
    if _cut_short(content, encoding):
        return InputError(
            f"{path} ends within a character, byte {before + at} is 0x{content[at]:02x}; copy it "
            "again"
        )
    name = "UTF-8" if codecs.lookup(encoding).name == "utf-8" else encoding
    likely = "utf-8" if _is_utf8(content) else guess_encoding(content)
    return InputError(
        f"{path} is not {name} text: byte {before + at} is 0x{content[at]:02x}; it may be "
        f"{likely}: {_fix(likely, flag)}"
    )


def not_text(
    path: Path, content: bytes, text: str, encoding: str, flag: str | None, before: int = 0
) -> InputError:
    """Return what is wrong with content that has a zero; `before` bytes precede it."""
    likely = guess_encoding(content)
    if likely.startswith("utf-16"):
        return InputError(
            f"{path} is not UTF-8 text: byte {before + content.index(0)} is 0x00; it may be "
            f"{likely}: {_fix(likely, flag)}"
        )
    offset = before + len(text[: text.index("\0")].encode(encoding))
    return InputError(f"{path} is a binary file, not a text: byte {offset} is 0")


def require_encoding(name: str, flag: str | None = None) -> None:
    """Refuse, with `InputError`, a name that is no encoding of texts."""
    try:
        if codecs.lookup(name).name.replace("-", "_") in NOT_OF_FILES:
            raise LookupError
        io.TextIOWrapper(io.BytesIO(), encoding=name)  # knows which codecs are of texts
    except (LookupError, ValueError):
        raise InputError(
            f"{flag or 'encoding'} {name}: there is no such encoding; some are utf-8, utf-16, "
            "cp1252, latin-1, cp1251, shift_jis, gb18030"
        ) from None


def guess_encoding(content: bytes) -> str:
    """Name the likely encoding of a text that is not UTF-8.

    A byte-order mark decides, then zeros in every second byte, then how much of the text is in one
    script; a text in Latin letters is cp1252.

    >>> from plait.text_files import guess_encoding
    >>> guess_encoding("naïve".encode("cp1252")), guess_encoding("Привет, мир".encode("cp1251"))
    ('cp1252', 'cp1251')
    >>> guess_encoding("これはペンです".encode("shift_jis")), guess_encoding("a".encode("utf-16"))
    ('shift_jis', 'utf-16')
    """
    sample = content[:SAMPLE]
    if sample.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if abs(even - odd) > len(sample) // 4:
        return "utf-16-le" if odd > even else "utf-16-be"
    for name, (script, least) in SCRIPTS.items():
        if _share(sample, name, script) >= least:
            return name
    return "cp1252"


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeError:
        return False
    return True


def _fix(encoding: str, flag: str | None) -> str:
    if flag:
        return f"give {flag} {encoding}"
    return f"convert it, for example with iconv -f {encoding} -t utf-8"


def _cut_short(content: bytes, encoding: str) -> bool:
    """Return whether a text with characters beyond ASCII is whole but for its last character."""
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        return not decoder.decode(content).isascii()
    except UnicodeError:
        return False


def _share(sample: bytes, encoding: str, script: str) -> float:
    """Return the share of the characters beyond ASCII that are of a script, two or more in a row.

    Alone between Latin letters are those with accents, read in a wrong encoding.
    """
    text = sample.decode(encoding, errors="replace")
    beyond = sum(c > "\x7f" for c in text)
    within = sum(map(len, re.findall(f"[{script}]{{2,}}", text)))
    return within / beyond if within >= FEW else 0.0


def _opened(path: Path, *, pipe: bool) -> io.BufferedReader:
    """Open a file; a pipe without waiting for ever for someone who writes to it."""
    if not pipe:
        return path.open("rb")
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        ready = select.poll()
        ready.register(descriptor, select.POLLIN)
        began = time.monotonic()
        while not ready.poll(100):
            if time.monotonic() - began > PATIENCE:
                raise OSError(errno.EPIPE, "it is a pipe that nothing writes to; give a file")
        os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _read_all(path: Path, file: io.BufferedIOBase, size: int | None, cost: Cost) -> bytes:
    """Read to the end, as far as memory is free; `size` is the whole, where it is known."""
    content, free, each = bytearray(), None, 0.0
    while chunk := file.read(CHUNK):
        if not content:
            each = max(1.0, cost(chunk) if callable(cost) else cost)
        content += chunk
        count = max(size or 0, len(content))
        if count * each <= SMALL:
            continue
        free = free_memory() if free is None else free
        if free is not None and count * each > free:
            holds = bytes_text(count) + (" or more" if size is None else "")
            raise InputError(
                f"{path} holds {holds}, which takes about {bytes_text(count * each)} of memory to "
                f"use, and {bytes_text(free)} are free; give a part of it"
            )
    return bytes(content)
