"""A text in numbers, in a file that is mapped into memory: for texts that are larger than it.

The file lies in the user's cache, and is made anew where the text has changed.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from plait.data import cache_folder
from plait.errors import InputError
from plait.memory import bytes_text
from plait.news import LOGGER
from plait.tasks.text.config import TextConfig
from plait.tasks.text.number_file import NumberFile
from plait.tasks.text.numbering import numbering_of
from plait.tasks.text.vocabulary import Vocabulary
from plait.text_pieces import TextFiles
from plait.training.files import write_json

FORMAT, ABOUT, NUMBERS = 1, "text.json", "numbers"

LARGE = 2**26
"""Bytes of a text from which on it is read from a file that is mapped."""

GZIPPED = 4
"""How many bytes one of a gzipped text is taken for."""

LEARNT_FROM = 2**26
"""Characters at the beginning of the training set from which byte pairs are learnt."""

Cut = Callable[[int], Sequence[int]]
"""The lengths of the parts of a text of so many symbols."""


class EncodedText(NamedTuple):
    """A text in numbers.

    Attributes
    ----------
    vocabulary : Vocabulary
    numbers : Tensor `[n]`, mapped
    lengths : sequence of int
        Of its parts; one alone, where it is cut by its symbols.
    characters, sha256
        As those of `plait.data.Text`.
    """

    vocabulary: Vocabulary
    numbers: Tensor
    lengths: Sequence[int]
    characters: int
    sha256: str


def is_large(files: TextFiles) -> bool:
    """Return whether a text is read from a file that is mapped."""
    weights = (GZIPPED if file.suffix == ".gz" else 1 for file in files.files)
    sizes = (file.stat().st_size for file in files.files)
    return sum(w * size for w, size in zip(weights, sizes, strict=True)) >= LARGE


def encoded_text(
    files: TextFiles,
    config: TextConfig,
    known: Any,
    cut: Cut,
    from_facts: Callable[[Any], Vocabulary],
) -> EncodedText:
    """Return a text in numbers; the first time it is read, which may take minutes.

    Other processes that want the same text wait meanwhile.

    Parameters
    ----------
    files : TextFiles
    config : TextConfig
    known : JSON value
        The vocabulary of a run whose weights are loaded; None: there is none.
    cut : callable
        Cuts a text that does not come in parts, or of byte pairs its characters, in three.
    from_facts : callable
        Makes a vocabulary from its JSON value.

    Raises
    ------
    InputError
        For a text that cannot be read or is empty, and where the file cannot be written.
    """
    folder = cache_folder() / "encoded"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path, about = _find(files, config, known, folder)
        if about is None:
            with FileLock(folder / f"{path.name}.lock"):
                about = _read_about(path, files) or _write(files, config, known, cut, path)
        mapped = np.memmap(path / NUMBERS, about["kind"], "c")
    except OSError as error:
        place = error.filename or folder
        raise InputError(
            f"{place}: {error.strerror or error}; the text is kept there in numbers: make room, or "
            "set XDG_CACHE_HOME to a folder on another disk"
        ) from None
    return EncodedText(
        from_facts(about["vocabulary"]), torch.from_numpy(mapped), about["lengths"],
        about["characters"], about["sha256"],
    )  # fmt: skip


def _find(
    files: TextFiles, config: TextConfig, known: Any, folder: Path
) -> tuple[Path, dict[str, Any] | None]:
    """Return the folder of an encoded file, and what is known of it where it is there.

    That of a text's own vocabulary serves where no symbol is known beyond it.
    """
    keys = dict.fromkeys((None, json.dumps(known) if known else None))
    paths = [folder / f"{files.name[:40]}-{_key(files, config, key)}" for key in keys]
    for path in paths:
        about = _read_about(path, files)
        if about is not None and _serves(about["vocabulary"], known, config):
            return path, about
    return paths[-1], None


def _key(files: TextFiles, config: TextConfig, known: str | None) -> str:
    """Identify a text and what its numbers depend on."""
    vocabulary = config.vocabulary if config.units in ("words", "bpe") else 0
    places = [str(file.resolve()) for part in files.parts for file in part]
    own = [FORMAT, places, files.encoding, config.keep_boilerplate, config.units, vocabulary, known]
    return hashlib.sha256(json.dumps(own).encode()).hexdigest()[:16]


def _stamps(files: TextFiles) -> list[list[int]]:
    """Return what changes when a file does."""
    about = [file.stat() for file in files.files]
    return [[a.st_size, a.st_mtime_ns] for a in about]


def _read_about(path: Path, files: TextFiles) -> dict[str, Any] | None:
    """Return what is known of an encoded file; None where it is not there, whole and current."""
    try:
        about = json.loads((path / ABOUT).read_text("utf-8"))
        size = sum(about["lengths"]) * np.dtype(about["kind"]).itemsize
        whole = (path / NUMBERS).stat().st_size == size
        return about if whole and about["files"] == _stamps(files) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _serves(own: Any, known: Any, config: TextConfig) -> bool:
    """Return whether a text's own vocabulary is the one that it has with known symbols."""
    if not known:
        return True
    return set(known) <= set(own) if config.units == "chars" else own == known


def _write(
    files: TextFiles, config: TextConfig, known: Any, cut: Cut, path: Path
) -> dict[str, Any]:
    """Read a text and write its numbers; return what is known of them."""
    stamps = _stamps(files)
    for left in path.parent.glob(f".{path.name}.*"):  # by a process that was killed
        shutil.rmtree(left)
    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as aside:
        about = _encode(files, config, known, cut, Path(aside) / NUMBERS)
        with (Path(aside) / NUMBERS).open("rb") as file:
            os.fsync(file.fileno())
        path.mkdir(exist_ok=True)
        (path / ABOUT).unlink(missing_ok=True)
        (Path(aside) / NUMBERS).replace(path / NUMBERS)
    about = {"source": files.source, "files": stamps, **about}
    write_json(path / ABOUT, about)  # last: without it the numbers do not count
    return about


def _encode(
    files: TextFiles, config: TextConfig, known: Any, cut: Cut, out: Path
) -> dict[str, Any]:
    reading = _Reading(files, config.keep_boilerplate)
    lengths = None
    if config.units == "bpe" and not files.in_parts:  # cut by its characters
        lengths = cut(sum(len(piece) for part in reading.parts() for piece in part))

    def beginning() -> str:
        most = LEARNT_FROM if lengths is None else min(LEARNT_FROM, lengths[0])
        text = ""
        for piece in files.pieces(0, keep_boilerplate=config.keep_boilerplate):
            text += piece
            if len(text) >= most:
                break
        return text[:most]

    numbering = numbering_of(config, known, beginning)
    counted = list[int]()
    with NumberFile(out) as numbers:
        for part in reading.parts(lengths):
            before = numbers.count
            for piece in numbering.pieces(part):
                numbers.append(numbering.read(piece))
            counted.append(numbers.count - before)
        if not reading.characters:
            raise InputError(f"{files.source} is empty; give a file with some text in it")
        training = cut(counted[0])[0] if len(counted) == 1 else counted[0]
        vocabulary, table = numbering.finish(lambda most: numbers.counts(training, most))
        if table is not None:
            numbers.renumber(table, len(vocabulary))
        kind = np.dtype(numbers.kind).str
    return {
        "kind": kind, "lengths": counted, "characters": reading.characters,
        "sha256": reading.sha256, "vocabulary": vocabulary.facts,
    }  # fmt: skip


class _Reading:
    """Reads a text in its parts, and finds its hash and length."""

    def __init__(self, files: TextFiles, keep_boilerplate: bool) -> None:
        self.files, self.keep = files, keep_boilerplate
        self.sha256, self.characters = "", 0

    def parts(self, lengths: Sequence[int] | None = None) -> Iterator[Iterator[str]]:
        """Yield the pieces of every part; `lengths`, in characters, cut one part into several."""
        hashed, self.characters = hashlib.sha256(), 0
        size, reported = self.files.size, 0

        def with_progress(pieces: Iterator[str]) -> Iterator[str]:
            nonlocal reported
            for piece in pieces:
                hashed.update(piece.encode())
                self.characters += len(piece)
                if self.characters - reported >= 2**27:
                    reported = self.characters
                    LOGGER.info(
                        "%s: %s characters read, of %s on the disk; encoded once for all runs",
                        self.files.source, f"{reported:,}", bytes_text(size),
                    )  # fmt: skip
                yield piece

        for k in range(len(self.files.parts)):
            if k:
                hashed.update(b"\n")
                self.characters += 1
            pieces = with_progress(self.files.pieces(k, keep_boilerplate=self.keep))
            if lengths is None:
                yield pieces
            else:
                yield from _cut(pieces, lengths)
        self.sha256 = hashed.hexdigest()


def _cut(pieces: Iterator[str], lengths: Sequence[int]) -> Iterator[Iterator[str]]:
    """Yield the pieces of stretches of these lengths, which follow one another."""
    rest = ""

    def stretch(length: int) -> Iterator[str]:
        nonlocal rest
        while length > 0:
            piece = rest or next(pieces)
            rest = piece[length:]
            yield piece[:length]
            length -= len(piece) - len(rest)

    for length in lengths:
        yield stretch(length)
    for _ in pieces:  # to its end, where its hash is known
        pass
