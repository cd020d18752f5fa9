"""The page: sections of text, tables and pictures, written as one self-contained file."""

import base64
import csv
import datetime
import io
import re
import shutil
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from plait.comparison.results import interval
from plait.figures import STYLE, picture
from plait.study.verdicts import Finding
from plait.training.files import write_aside


@dataclass(frozen=True)
class Number:
    """A measured number, its format, and the files that it came from.

    Attributes
    ----------
    value : number or None
        None is written as a dash.
    form : str
        As in Python's format strings.
    sources : sequence of str
        Paths from the page, or a table on it (`#name`). One: the number is the link. Several: a
        dot after it for each.
    spread : float or None
        Standard deviation over the seeds.
    interval : (float, float) or None
        The 95 % interval of a difference.
    """

    value: float | None
    form: str = ".3f"
    sources: Sequence[str] = ()
    spread: float | None = None
    interval: tuple[float, float] | None = None

    def __str__(self) -> str:
        if self.value is None:
            return "–"
        spread = "" if self.spread is None else f" ± {self.spread:{self.form}}"
        ends = "" if self.interval is None else " (95 % interval {:{form}} … {:{form}})"
        ends = ends.format(*self.interval or (), form=self.form)
        return typeset(f"{self.value:{self.form}}{spread}{ends}")

    def __html__(self) -> Markup:
        if len(self.sources) == 1:
            link = '<a class="n" href="{}">{}</a>'
            return Markup(link).format(quote(self.sources[0], "/#"), str(self))
        dot = Markup('<a href="{}" title="{}">•</a>')
        dots = [dot.format(quote(s), Path(s).parent.name) for s in self.sources]
        after = Markup('<span class="dots">{}</span>').format(Markup("").join(dots))
        return Markup('<span class="n">{}</span>').format(str(self)) + (after if dots else "")


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def typeset(number: str) -> str:
    """Return a number as in print: a true minus, powers of ten.

    >>> from plait.study.page import typeset
    >>> typeset("-2.5"), typeset("3.2e+05"), typeset("1e-12"), typeset("0e+00")
    ('−2.5', '3.2·10⁵', '1·10⁻¹²', '0')
    """

    def power(found: re.Match[str]) -> str:
        return "·10" + str(int(found[1])).translate(_RAISED)

    number = re.sub(r"\b0e[+]00", "0", number)
    return re.sub(r"e([+-]\d+)", power, number).replace("-", "−")


def mean_of(values: Sequence[float], form: str, sources: Iterable[str]) -> Number:
    """Return the mean and, of two or more, the standard deviation (n − 1).

    >>> from plait.study.page import mean_of
    >>> str(mean_of([1.0, 2.0, 3.0], ".1f", []))
    '2.0 ± 1.0'
    """
    mean = statistics.fmean(values) if values else None
    return Number(mean, form, tuple(sources), statistics.stdev(values) if len(values) > 1 else None)


def difference_of(differences: Sequence[float], form: str, sources: Iterable[str]) -> Number:
    """Return the mean of differences and, of two or more, its 95 % interval.

    >>> from plait.study.page import difference_of
    >>> str(difference_of([1.0, 2.0, 3.0], "+.1f", [])), str(difference_of([1.0], "+.1f", []))
    ('+2.0 (95 % interval −0.5 … +4.5)', '+1.0')
    """
    if not differences:
        return Number(None)
    mean, low, high = interval(differences)
    ends = None if low is None or high is None else (low, high)
    return Number(mean, form, tuple(sources), interval=ends)


_FILE_LINK = re.compile(
    r'<span class="dots">.*?</span>|<a class="file".*?</a>|<a class="n" href="(?!#).*?">(.*?)</a>'
)
"""A link to a file of the study; the group is what stays without it."""


def _without_link(found: re.Match[str]) -> str:
    return "" if found[1] is None else f'<span class="n">{found[1]}</span>'


TableCell = str | int | Number | Markup | None


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; `Markup` where it has numbers with links."""

    text: str | Markup
    kind = "paragraph"


@dataclass(frozen=True)
class Formula:
    """An equation in MathML, with its text for screen readers."""

    mathml: Markup
    spoken: str
    kind = "formula"


@dataclass(frozen=True)
class Listing:
    """Verbatim texts: a title, and pairs of a label and a text."""

    title: str
    entries: Sequence[tuple[Markup | str, str]]
    kind = "listing"


@dataclass(frozen=True)
class Table:
    """A table; its name is that of the CSV file."""

    name: str
    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[TableCell]]
    published: Sequence[int] = ()
    """Columns of published figures of others, which are in italics."""
    kind = "table"

    def write(self, folder: Path) -> None:
        """Write the CSV: numbers in full, spreads and intervals in columns of their own."""
        columns: list[list[Any]] = []
        for head, cells in zip(self.heads, zip(*self.rows, strict=True), strict=True):
            columns.append([head, *map(_plain, cells)])
            numbers = [c if isinstance(c, Number) else Number(None) for c in cells]
            ends = [n.interval or (None, None) for n in numbers]
            for what, values in (
                ("sd", [n.spread for n in numbers]),
                ("low", [low for low, _ in ends]),
                ("high", [high for _, high in ends]),
            ):
                if any(value is not None for value in values):
                    columns.append([f"{head} ({what})", *values])
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(zip(*columns, strict=True))
        write_aside(folder / f"{self.name}.csv", text.getvalue().encode())


def _plain(cell: TableCell) -> Any:
    """Return the value of a table cell without its markup."""
    if isinstance(cell, Number):
        return cell.value
    return cell.striptags() if isinstance(cell, Markup) else cell


@dataclass(frozen=True)
class Picture:
    """A picture; its name is that of the PNG file, which `write` makes."""

    name: str
    caption: str
    write: Callable[[Path], None]
    as_seen: bool = False
    """Its colours are data: they are not inverted on a dark page."""
    kind = "picture"


def drawing(width: float, height: float, draw: Callable[[Figure], None]) -> Callable[[Path], None]:
    """Return a function that writes a picture of this size, in inches, in the common style."""

    def write(path: Path) -> None:
        with picture(path, width, height) as figure:
            draw(figure)

    return write


def copied(source: Path) -> Callable[[Path], None]:
    """Return a function that copies a picture from a run folder."""

    def write(path: Path) -> None:
        shutil.copyfile(source, path)

    return write


Block = Paragraph | Formula | Listing | Table | Picture


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes
    ----------
    number : int
        Its position in the study.
    name, title : str
    report_claim : str
        What the report says, in our words.
    blocks : sequence
        What was measured.
    findings : sequence of Finding
    seeds_note : str
        How many seeds the numbers rest on.
    seconds : mapping of float
        Training time of each of its runs, by folder.
    """

    number: int
    name: str
    title: str
    report_claim: Markup
    blocks: Sequence[Block]
    findings: Sequence[Finding]
    seeds_note: str
    seconds: Mapping[Path, float]


@dataclass
class Page:
    """The content of a study's folder: index.html, standalone.html, tables/ and figures/."""

    folder: Path
    quick: bool
    notes: Sequence[str | Markup]
    sections: list[Section] = field(default_factory=list)

    def add(self, section: Section) -> None:
        """Write a section's tables and pictures, and the page with all sections so far."""
        for kind in ("tables", "figures"):
            (self.folder / kind).mkdir(exist_ok=True)
        for block in section.blocks:
            if isinstance(block, Table):
                block.write(self.folder / "tables")
            elif isinstance(block, Picture):
                block.write(self.folder / "figures" / f"{block.name}.png")
        self.sections = sorted([*self.sections, section], key=lambda s: s.number)
        self.write()

    def write(self) -> None:
        """Write the page, and one that can leave the folder: without links to its files."""
        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters |= {"data_uri": self._data_uri, "inches": self._inches}
        style = Markup((Path(__file__).parent / "style.css").read_text(encoding="utf-8"))
        verdicts = [a.verdict for s in self.sections for a in s.findings]
        render = partial(
            environment.get_template("page.html").render,
            page=self,
            style=style,
            version=version("plait"),
            date=datetime.date.today(),
            counts={v: verdicts.count(v) for v in dict.fromkeys(verdicts)},
            seconds=sum({k: v for s in self.sections for k, v in s.seconds.items()}.values()),
        )
        write_aside(self.folder / "index.html", render(linked=True).encode())
        alone = _FILE_LINK.sub(_without_link, render(linked=False))
        write_aside(self.folder / "standalone.html", alone.encode())

    def _inches(self, name: str) -> float:
        """Return a picture's width; the eight bytes after 16 are its width and height in pixels."""
        with (self.folder / "figures" / f"{name}.png").open("rb") as file:
            return int.from_bytes(file.read(20)[16:]) / float(STYLE["savefig.dpi"])

    def _data_uri(self, name: str) -> str:
        content = (self.folder / "figures" / f"{name}.png").read_bytes()
        return "data:image/png;base64," + base64.b64encode(content).decode()
