"""What a notebook shows of a run: its figure, its page in a cell, its progress."""

import base64
import html
import io
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from plait.terminal import from_here, printable
from plait.training.config import TrainingConfig
from plait.training.progress import Progress, as_clock, as_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from plait.training.run import Run

REFRESH = 0.25
"""Seconds between two drawings of the progress."""

SHARED = frozenset(TrainingConfig.__dataclass_fields__)
"""The options of every training."""


def title_of(run: "Run") -> str:
    """Return the task of a run, and what it was trained on, in a word."""
    named = (run.config.get(option) for option in ("edges", "data", "problem"))
    subject = Path(str(next(filter(None, named), ""))).stem
    return f"{run.task}: {subject}" if subject else run.task


def pictures_of(run: "Run") -> list[Path]:
    """List the pictures that a task drew after the test, without the learning curves."""
    known = {"curves.png", "inspect.png"}
    return sorted(path for path in run.path.glob("*.png") if path.name not in known)


def run_figure(run: "Run") -> "Figure":
    """Draw the learning curves of a run, and under them the pictures that its task drew."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    from plait.figures import Curve, plot_curves, styled

    class Drawing(Figure):
        """A figure that a notebook shows, whatever else is loaded there."""

        def _repr_png_(self) -> bytes:
            content = io.BytesIO()
            self.savefig(content, format="png", dpi=80)
            return small_png(content)

    records = run.records()
    train, valid = ({n for r in records if r["kind"] == kind for n in r}
                    for kind in ("train", "valid"))  # fmt: skip
    names = [name for name in dict.fromkeys(n for r in records for n in r)
             if name in train & valid and name not in ("step", "kind", "seconds")]  # fmt: skip
    curves = [Curve(name, name.replace("_", " ")) for name in names[:3] or ["loss"]]
    width = max(6.5, 5.0 * len(curves))
    drawn = [imread(path) for path in pictures_of(run)]
    heights = [3.6, *(width * image.shape[0] / image.shape[1] for image in drawn)]
    with styled():
        figure = Drawing(figsize=(width, sum(heights)), layout="constrained")
        FigureCanvasAgg(figure)
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        plot_curves(parts[0], records, curves, title=title_of(run))
        for part, image in zip(parts[1:], drawn, strict=True):
            axes = part.subplots()
            axes.imshow(image)
            axes.set_axis_off()
    return figure


def small_png(picture: Path | io.BytesIO) -> bytes:
    """Return a picture in 256 colours, so that a notebook that holds it stays small."""
    from PIL import Image

    content = io.BytesIO()
    with Image.open(picture) as opened:
        opened.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
            content, format="png", optimize=True
        )
    return content.getvalue()


def run_html(run: "Run") -> str:
    """Return a run as HTML: its task and options, the scores of the test, the learning curves."""
    own = {k: v for k, v in run.config.items() if k not in SHARED and v not in ("", None)}
    options = " · ".join(f"{_shown(k.replace('_', ' '))} {_shown(v)}" for k, v in own.items())
    scores = {k: v for r in run.records("test")[:1] for k, v in r.items()
              if type(v) in (int, float) and k != "step"}  # fmt: skip
    rows = "".join(
        f'<tr><td style="text-align:left">{_shown(str(name).replace("_", " "))}</td>'
        f"<td>{_cell(value)}</td></tr>"
        for name, value in scores.items()
    )
    table = f"<table>{rows}</table>" if rows else f"<p>{_shown(_state(run))}</p>"
    curves, drawn = run.path / "curves.png", ""
    if curves.is_file():
        content = base64.b64encode(small_png(curves)).decode()
        drawn = f'<img alt="learning curves" width="600" src="data:image/png;base64,{content}">'
    return (
        f"<div><strong>{_shown(title_of(run))}</strong> <code>{_shown(run.path)}</code>"
        f"<details><summary>options</summary>{options}</details>{table}{drawn}</div>"
    )


def _state(run: "Run") -> str:
    """Return how far a run without a test has come."""
    records = run.records()
    return f"not tested yet: step {records[-1]['step'] if records else 0}"


def _shown(value: object) -> str:
    """Return a text as HTML that shows it, whatever it holds."""
    return html.escape(printable(from_here(str(value))))


def in_notebook() -> bool:
    """Return whether this code runs in a notebook, which shows HTML."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


def default_progress() -> Progress:
    """Return the progress of a call that was given none: shown in a notebook, silent elsewhere."""
    return NotebookProgress() if in_notebook() else Progress()


class NotebookProgress(Progress):
    """A bar, the scores and the last sample, drawn again a few times a second in one output."""

    def __init__(self) -> None:
        self.handle: Any = None
        self.drawn = 0.0
        self.work, self.text, self.notices = "", "", list[str]()
        self.parts: dict[str, Mapping[str, float]] = {}

    def announce(self, title: str, lines: Mapping[str, str], *, steps: int, rate: float,
                 unit: str) -> None:  # fmt: skip
        """Show what will be done."""
        super().announce(title, lines, steps=steps, rate=rate, unit=unit)
        super().start(0, 0.0, [])
        self._draw()

    def __enter__(self) -> Self:
        self._draw()
        return self

    def __exit__(self, *exception: object) -> None:
        self.work = ""
        self._draw()

    def step(self, step: int, record: Mapping[str, float]) -> None:
        """Receive the record of a step."""
        super().step(step, record)
        self.work = ""
        if time.monotonic() - self.drawn > REFRESH:
            self._draw()

    def working(self, text: str) -> None:
        """Receive what begins now and takes a while."""
        self.work = text
        if self.handle is not None:
            self._draw()

    def validated(self, step: int, scores: Mapping[str, float], *, best: bool) -> None:
        """Receive the scores of a validation."""
        self.parts[f"validation, step {step:,}"] = scores
        for name in [n for n in self.parts if n.startswith("validation")][:-1]:
            del self.parts[name]

    def sampled(self, step: int, text: str) -> None:
        """Receive a sample."""
        self.text = f"sample at step {step:,}:\n{text}"

    def tested(self, step: int, scores: Mapping[str, float]) -> None:
        """Receive the test scores."""
        self.parts[f"test, weights of step {step:,}"] = scores

    def notice(self, text: str) -> None:
        """Receive a message to the user."""
        if text:
            self.notices.append(text)
            self._draw()

    def _draw(self) -> None:
        from IPython.display import HTML, display

        self.drawn = time.monotonic()
        if self.handle is None:
            self.handle = display(HTML(self.as_html()), display_id=True)
        elif self.handle:
            self.handle.update(HTML(self.as_html()))

    def as_html(self) -> str:
        """Return what is known now as HTML."""
        going = self.step_now > self.first_step
        state = [f"{self.step_now:,}/{self.steps:,} steps"] if self.steps else []
        if self.work:
            state.append(f"{self.work} …")
        elif going:
            state += [f"{self.speed():,.0f} {self.unit}/s", f"{as_clock(self.seconds_left())} left"]
        lines = "".join(f"<tr><td style='text-align:left'>{_shown(k)}</td><td "
                        f"style='text-align:left'>{_shown(v)}</td></tr>"
                        for k, v in self.lines.items())  # fmt: skip
        averages = self.averages()
        averages.pop("gradient_norm", None)
        parts = {f"training, mean of {len(self.recent)} steps": averages, **self.parts}
        rows = "".join(
            f"<tr><td style='text-align:left'>{_shown(part)}</td>"
            + "".join(f"<td>{_cell(scores.get(name))}</td>" for name in averages)
            + "</tr>"
            for part, scores in parts.items()
        )
        head = "".join(f"<th>{_shown(name.replace('_', ' '))}</th>" for name in averages)
        return (
            f"<div><strong>{_shown(self.title)}</strong><details><summary>what is trained</summary>"
            f"<table>{lines}</table></details>"
            f"<progress max='{self.steps}' value='{self.step_now}'></progress> "
            f"{_shown(' · '.join(state))}"
            + (f"<table><tr><th></th>{head}</tr>{rows}</table>" if averages else "")
            + (f"<pre>{_shown(self.text)}</pre>" if self.text else "")
            + "".join(f"<pre>{_shown(text)}</pre>" for text in self.notices)
            + "</div>"
        )


def _cell(value: Any) -> str:
    return as_number(value) if isinstance(value, int | float) else ""
