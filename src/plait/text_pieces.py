"""Texts in pieces: one of any size is read within bounded memory."""

import codecs
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from plait.errors import InputError
from plait.text_files import Cost, not_decoded, not_text, opened, read_text_file, require_encoding

PIECE = 2**22
"""Bytes that are read at a time."""

BOOK = 2**25
"""Bytes of a file that may be one of Project Gutenberg's, whose largest are smaller."""


@dataclass(frozen=True)
class TextFiles:
    """Where a text is.

    Attributes
    ----------
    name : str
    source : str
        What messages call it.
    parts : tuple of tuples of Path
        Its files, or those of its training, validation and test sets.
    encoding : str
        Of the user's own files.
    """

    name: str
    source: str
    parts: tuple[tuple[Path, ...], ...]
    encoding: str = "utf-8"

    @property
    def in_parts(self) -> bool:
        """Whether it comes in parts."""
        return len(self.parts) > 1

    @property
    def files(self) -> Sequence[Path]:
        """All files, in order."""
        return [file for part in self.parts for file in part]

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        try:
            return sum(file.stat().st_size for file in self.files)
        except OSError as error:
            raise InputError(f"cannot read {error.filename}: {error.strerror}") from None

    def read(self, file: Path, cost: Cost) -> str:
        """Read one of the files, as `plait.text_files.read_text_file` does."""
        return read_text_file(file, self.encoding, cost=cost, flag=self._flag)

    def pieces(self, part: int, *, keep_boilerplate: bool = False) -> Iterator[str]:
        """Yield a part in pieces, its files divided by line breaks.

        Put together the parts are those of `plait.data.read_text`, but that in files of more than
        32 MB no header of Project Gutenberg is looked for.
        """
        for k, file in enumerate(self.parts[part]):
            if k:
                yield "\n"
            if keep_boilerplate or file.stat().st_size > BOOK:
                pieces = text_pieces(file, self.encoding, self._flag)
                first = next(pieces, "")
                yield first if keep_boilerplate else first.removeprefix("\ufeff")
                yield from pieces
            else:
                yield without_boilerplate(self.read(file, 1.0))

    @property
    def _flag(self) -> str | None:
        return None if self.in_parts else "--encoding"


def text_pieces(path: Path, encoding: str = "utf-8", flag: str | None = None) -> Iterator[str]:
    r"""Yield a text in pieces, with every line end as \n.

    Put together they are what `plait.text_files.read_text_file` returns.

    Parameters
    ----------
    path : Path
        A file; decompressed if the name ends in `.gz`.
    encoding : str
        One that Python knows. A byte-order mark stays.
    flag : str
        The option by which a user names the encoding, offered where the text is in another.

    Raises
    ------
    InputError
        As by `read_text_file`; the encoding is guessed from the piece that is not in it.

    Example
    -------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from plait.text_pieces import text_pieces
    >>> path = Path(tempfile.mkdtemp()) / "lines.txt"
    >>> _ = path.write_bytes(b"one\r\ntwo")
    >>> list(text_pieces(path))
    ['one\ntwo']
    """
    require_encoding(encoding, flag)
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = io.IncrementalNewlineDecoder(None, translate=True)
    content, at = b"", 0  # a piece in bytes, and how many come before it
    with opened(path) as (file, _):
        ended = False
        while not ended:
            chunk = file.read(PIECE)
            ended = not chunk
            if chunk:
                pending = decoder.getstate()[0]
                at += len(content) - len(pending)
                content = pending + chunk
            try:
                text = decoder.decode(chunk, final=ended)
            except UnicodeError as error:
                if ended and isinstance(error, UnicodeDecodeError):  # counts from what is pending
                    error.start += len(content) - len(error.object)
                raise not_decoded(path, content, error, encoding, flag, at) from None
            if "\0" in text:
                raise not_text(path, content, text, encoding, flag, at)
            text = lines.decode(text, final=ended)
            if text:
                yield text


def without_boilerplate(text: str) -> str:
    r"""Cut the byte-order mark and, where there are any, Project Gutenberg's header and licence.

    >>> from plait.data import without_boilerplate
    >>> without_boilerplate(
    ...     "Title: X\n*** START OF THIS PROJECT GUTENBERG EBOOK X ***\n\nOnce.\n\n"
    ...     "*** END OF THIS PROJECT GUTENBERG EBOOK X ***\nLicence"
    ... )
    'Once.\n'
    """
    text = text.removeprefix("\ufeff")
    start = re.search(r"^\*\*\* ?START OF (?:THIS|THE) PROJECT GUTENBERG.*\n", text, re.M)
    if start is None:
        return text
    end = re.search(r"^\*\*\* ?END OF (?:THIS|THE) PROJECT GUTENBERG", text, re.M)
    return text[start.end() : end.start() if end else None].strip("\n") + "\n"
