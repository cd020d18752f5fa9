"""Output to whatever it goes to: a terminal of any encoding, a pipe, a file."""

import contextlib
import io
import re
import sys
from pathlib import Path
from typing import TextIO

CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but for tab and new line, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that turn the direction of a line
    "\ud800-\udfff]"  # halves of characters
)


def printable(text: str) -> str:
    r"""Write a text so that a terminal shows it and does nothing else.

    Escape sequences, other control characters and marks that reverse a line become visible: `\x1b`.

    >>> from plait.terminal import printable
    >>> print(printable("a\x1b[31mred\r\n\tb"))
    a\x1b[31mred\x0d
            b
    """
    return CONTROLS.sub(lambda mark: _escaped(ord(mark[0])), text)


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun.

    >>> from plait.terminal import counted
    >>> counted(1, "layer"), counted(2000, "class", "classes")
    ('1 layer', '2,000 classes')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def from_here(text: str) -> str:
    """Return a text in which files below the working folder are named from there.

    >>> from pathlib import Path
    >>> from plait.terminal import from_here
    >>> from_here(f"{Path.cwd()}/in/book.txt: 9 characters")
    'in/book.txt: 9 characters'
    """
    try:
        here = Path.cwd()
    except OSError:  # it is gone
        return text
    if here == here.parent:  # the root
        return text
    return re.sub(rf"(?<![\w.\-/\\]){re.escape(str(here))}[/\\](?=.)", "", text)


def show(text: str = "", stream: TextIO | None = None, *, end: str = "\n") -> None:
    """Print a text at once: `printable` on a terminal, as it is in a pipe or a file.

    What learnt labels, names of files or generated text hold is data in a pipe, and must not steer
    the terminal of whoever looks at it.
    """
    stream = stream or sys.stdout
    if stream is None:  # a program without any
        return
    print(printable(text) if stream.isatty() else text, file=stream, end=end, flush=True)


def tolerate_encodings(*streams: TextIO) -> None:
    r"""Let streams write what their encoding does not have as `\xe9` or `\u221a`, not fail."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(ValueError):  # closed
                stream.reconfigure(errors="backslashreplace")


def _escaped(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
