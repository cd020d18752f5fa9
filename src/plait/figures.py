"""One style for all figures, and drawing helpers that accept users' texts."""

import io
import math
import re
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cbook import strip_math
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure, FigureBase
from matplotlib.font_manager import fontManager
from matplotlib.ticker import LogFormatterSciNotation, MaxNLocator
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike

from plait.errors import InputError
from plait.training.files import write_aside

COLOURS = ("#0b6e99", "#d1495b", "#3c8d53", "#8d6a9f", "#c98a1b", "#5c677d")

FALLBACKS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "PingFang SC",
    "Hiragino Sans", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "WenQuanYi Zen Hei",
    "Arial Unicode MS", "Noto Sans", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari",
    "Noto Sans Thai", "Noto Sans Symbols", "Noto Sans Symbols 2", "Noto Emoji", "Segoe UI Symbol",
    "Apple Symbols",
)  # fmt: skip
"""Fallback fonts for glyphs that DejaVu Sans lacks; the installed ones are used."""

STYLE: dict[Any, Any] = {
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": "medium",
    "figure.constrained_layout.use": True,
    "font.family": ["DejaVu Sans", *sorted(
        {font.name for font in fontManager.ttflist} & {*FALLBACKS}, key=FALLBACKS.index
    )],
    "font.size": 10,
    "grid.alpha": 0.25,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
    "savefig.dpi": 150,
    "text.parse_math": False,  # a $ in a name is a $
    "text.usetex": False,
}  # fmt: skip

SHOWN = 40
"""The most characters of a name that are drawn."""

TURNED = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Control characters that change the writing direction."""

NAME = 24
"""The most characters of a name at a node."""

LIMIT = 1e100
"""The largest value that is drawn."""


@contextmanager
def picture(path: Path, width: float, height: float, *, grid: bool = True) -> Iterator[Figure]:
    r"""Make a figure of a size in inches in the common style; write it at the end without errors.

    Texts are drawn literally, never as mathematics; a glyph without a font becomes a box, without a
    warning. Pass users' strings through `label`.

    Parameters
    ----------
    path : Path
        As `save_figure` takes it.
    width, height : float
    grid : bool
        Draw grid lines.

    Raises
    ------
    InputError
        For a file ending that is not a figure format.

    Example
    -------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from plait.figures import picture
    >>> path = Path(tempfile.mkdtemp()) / "prices.png"
    >>> with picture(path, 2, 1, grid=False) as figure:
    ...     title = figure.suptitle("$50 to $60, 北京")
    >>> path.read_bytes()[:4]
    b'\x89PNG'
    """
    with styled(), rc_context({"axes.grid": grid}):
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        yield figure
        save_figure(figure, path)


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the common style for a block of code, without a warning about glyphs."""
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the path's ending, or as PNG.

    Raises `InputError` for an ending that is not a figure format.
    """
    kind = path.suffix[1:].lower() or "png"
    if kind not in figure.canvas.get_supported_filetypes():
        raise InputError(f"{path}: .{kind} is not a figure format; use .png, .svg or .pdf")
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "log":  # matplotlib writes its powers as mathematics
                axis.set_major_formatter(_Powers())
                axis.set_minor_formatter(_Powers())
    if kind in ("eps", "ps"):
        _make_opaque(figure)
    content = io.BytesIO()
    figure.savefig(content, format=kind)
    write_aside(path, content.getvalue())


def _make_opaque(figure: Figure) -> None:
    """Put on white what is transparent: PostScript knows nothing of the kind."""
    for artist in [*figure.findobj(), *(axes.patch for axes in figure.axes)]:
        for name in ("color", "facecolor", "edgecolor"):
            get, put = (getattr(artist, f"{verb}_{name}", None) for verb in ("get", "set"))
            if get is None or put is None or isinstance(artist, (Axes, Figure)):
                continue
            rgba = to_rgba_array(get())
            if artist.get_alpha() is not None:
                rgba[:, 3] = np.where(rgba[:, 3] > 0, artist.get_alpha(), 0.0)
            seen = rgba[:, 3] > 0
            rgba[seen, :3] = 1 - (1 - rgba[seen, :3]) * rgba[seen, 3:]
            rgba[seen, 3] = 1
            artist.set_alpha(None)
            put(rgba if len(rgba) != 1 else rgba[0])


def label(text: object, most: int = SHOWN) -> str:
    r"""Return a user's string as a label: one line, short, with only visible characters.

    White space becomes one space; control characters, changes of the writing direction and
    surrogates become U+FFFD; the middle of a longer text is replaced by an ellipsis.

    Example
    -------
    >>> from plait.figures import label
    >>> label("$50_$"), label("two\nlines\t"), label("\x1b[31mred"), label("0123456789", most=6)
    ('$50_$', 'two lines', '�[31mred', '012…89')
    """
    shown = "".join(_seen(c) for c in " ".join(str(text).split()))
    if len(shown) <= most:
        return shown
    end = (most - 1) // 2
    return f"{shown[: most - 1 - end]}…{shown[len(shown) - end :]}"


def drawable(values: ArrayLike) -> np.ndarray:
    """Return values with NaN, which is not drawn, for those too large or not finite.

    >>> from plait.figures import drawable
    >>> drawable([1, -1e200, float("inf")])
    array([ 1., nan, nan])
    """
    array = np.asarray(values, dtype=float)
    return np.where(np.abs(array) < LIMIT, array, np.nan)


def _seen(c: str) -> str:
    return "\ufffd" if c in TURNED or unicodedata.category(c) in ("Cc", "Cs") else c


class _Powers(LogFormatterSciNotation):
    """Format powers as 10⁻³, where matplotlib uses mathematics."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        text = strip_math(super().__call__(x, pos)).replace("x", "×")
        small = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
        return re.sub(r"\^(-?\d+)", lambda found: found[1].translate(small), text)


_SETTLED: WeakSet[Figure] = WeakSet()


def name_places(
    axes: Axes, names: Sequence[str], places: np.ndarray, *, size: float = 8, apart: float = 6
) -> None:
    """Write names near their points without covering points or other names.

    Call it last: it fixes the layout of the figure. A name without free space near its point is
    omitted.

    Parameters
    ----------
    axes : Axes
        Its limits contain all points.
    names : sequence of str
        As given by the user.
    places : array `[n, 2]`
    size : float
        Font size, in points.
    apart : float
        Distance from the point, in points.
    """
    figure: Any = axes.figure
    if figure not in _SETTLED:
        figure.draw_without_rendering()  # so that the size of a name is known,
        figure.set_layout_engine("none")  # and the layout is fixed
        _SETTLED.add(figure)
    point = figure.dpi / 72
    dots = axes.transData.transform(places)
    reach = apart * point * 0.8
    room = axes.get_window_extent()
    taken = [Bbox.from_extents(x - reach, y - reach, x + reach, y + reach) for x, y in dots]
    across, along = (apart, 2 * apart, -apart, -2 * apart), range(-32, 33, 4)
    away = sorted(product(across, along), key=lambda xy: math.hypot(*xy))
    for name, (x, y) in zip(names, places, strict=True):
        text = axes.annotate(
            label(name, NAME), (float(x), float(y)), (0, 0), textcoords="offset points",
            fontsize=size, va="center", zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
        )  # fmt: skip
        own, (a, b) = text.get_window_extent(), axes.transData.transform((float(x), float(y)))
        for offset in away:
            shift, below = a + offset[0] * point, b + offset[1] * point - own.height / 2
            left = shift if offset[0] > 0 else shift - own.width
            box = Bbox.from_bounds(left, below, own.width, own.height)
            inside = room.contains(box.x0, box.y0) and room.contains(box.x1, box.y1)
            if inside and not box.count_overlaps(taken):
                text.xyann = offset
                text.set_horizontalalignment("left" if offset[0] > 0 else "right")
                taken.append(box)
                break
        else:
            text.remove()


@dataclass(frozen=True)
class Curve:
    """A score by its name in the log, its axis label, and the level of a baseline."""

    score: str
    label: str
    baseline: tuple[float, str] | None = None


def draw_curves(
    records: Sequence[dict[str, Any]], curves: Sequence[Curve], path: Path, *, title: str
) -> None:
    """Write a PNG of scores over training steps, as `plot_curves` draws them."""
    with picture(path, 5 * len(curves), 3.6) as figure:
        plot_curves(figure, records, curves, title=title)


def plot_curves(
    figure: FigureBase, records: Sequence[dict[str, Any]], curves: Sequence[Curve], *, title: str
) -> None:
    """Draw scores over training steps: every step in pale, a running mean, validation as dots.

    The running mean is over a fiftieth of the training; the legend states its number of steps.
    """
    train = [r for r in records if r["kind"] == "train"]
    valid = [r for r in records if r["kind"] == "valid"]
    window = max(1, len(train) // 50)
    figure.suptitle(label(title, 60 * len(curves)))
    for axes, curve in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves,
                           strict=True):  # fmt: skip
        steps = np.array([r["step"] for r in train])
        values = drawable([r[curve.score] for r in train])
        held_out = [(r["step"], r[curve.score]) for r in valid if curve.score in r]
        held_out = [(step, value) for step, value in held_out if abs(value) < LIMIT]
        level = curve.baseline
        if level and not abs(level[0]) < LIMIT:
            level = None
        if len(values):
            axes.plot(steps, values, color=COLOURS[0], alpha=0.2, linewidth=0.6)
            mean = np.convolve(values, np.full(window, 1 / window), mode="valid")
            name = f"training, mean of {window} steps" if window > 1 else "training"
            axes.plot(steps[window - 1 :], mean, color=COLOURS[0], label=name)
            _limit(axes, values[len(values) // 50 :],
                   [*(v for _, v in held_out[1:]), *(level[:1] if level else ())])  # fmt: skip
        if held_out:
            axes.plot(*zip(*held_out, strict=True), "o-", color=COLOURS[1], label="validation")
        if level:
            axes.axhline(level[0], color=COLOURS[5], linestyle="--", label=label(level[1], 60))
        axes.set_xlabel("training step")
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.set_ylabel(curve.label)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()


def _limit(axes: Axes, values: np.ndarray, levels: Sequence[float]) -> None:
    """Set limits to the range of nearly all training steps, and to every level."""
    known = values[~np.isnan(values)]
    bounds = np.array([*(np.quantile(known, [0.002, 0.998]) if len(known) else ()), *levels])
    if len(bounds):
        margin = 0.05 * (bounds.max() - bounds.min()) or 0.1
        axes.set_ylim(bounds.min() - margin, bounds.max() + margin)
