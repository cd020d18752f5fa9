"""What a person sees while a run goes on: a live panel on a terminal, plain lines in a pipe."""

import contextlib
import math
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.measure import Measurement
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from plait.terminal import from_here, printable, show

WINDOW = 100
"""Steps over which the shown training scores are averaged."""

LINES, SECONDS = 10, 10.0
"""Plain lines of a training at least, where it validates so often, and seconds after which a
validation has a line however many there were."""


class Progress:
    """Print nothing; the base of the two that do, and what a program uses that wants silence."""

    steps = 0

    def announce(self, title: str, lines: Mapping[str, str], *, steps: int, rate: float,
                 unit: str) -> None:  # fmt: skip
        """Show what will be done: `rate` units of `unit` a step."""
        self.title, self.steps = title, steps
        self.lines = {name: from_here(value) for name, value in lines.items()}
        self.rate, self.unit = rate, unit

    def start(self, step: int, seconds: float, records: list[dict[str, Any]]) -> None:
        """Begin, or go on from a step that took `seconds` and left these records."""
        self.first_step = self.step_now = step
        self.earlier = seconds
        self.began = time.monotonic()
        self.recent: deque[Mapping[str, float]] = deque(maxlen=WINDOW)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def step(self, step: int, record: Mapping[str, float]) -> None:
        """Receive the record of a step."""
        self.step_now = step
        self.recent.append(record)

    def working(self, text: str) -> None:
        """Receive what begins now and takes a while, such as the test."""

    def validated(self, step: int, scores: Mapping[str, float], *, best: bool) -> None:
        """Receive the scores of a validation."""

    def sampled(self, step: int, text: str) -> None:
        """Receive a sample."""

    def tested(self, step: int, scores: Mapping[str, float]) -> None:
        """Receive the test scores, of the weights of `step`."""

    def notice(self, text: str) -> None:
        """Receive a message to the user."""

    def averages(self) -> dict[str, float]:
        """Return the mean of the last steps' scores."""
        names = self.recent[-1].keys() if self.recent else ()
        return {n: sum(r[n] for r in self.recent) / len(self.recent) for n in names}

    def speed(self) -> float:
        """Return units a second in this session."""
        seconds = time.monotonic() - self.began
        return self.rate * (self.step_now - self.first_step) / max(seconds, 1e-9)

    def seconds_left(self) -> float:
        """Return the time to the last step, at the speed so far."""
        return self.rate * (self.steps - self.step_now) / max(self.speed(), 1e-9)


class PlainProgress(Progress):
    """A line at validations, at every sample and test, for a pipe or a log file.

    Validations that follow one another fast are printed ten times in a training.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream if stream is not None else sys.stdout
        self.printed = -math.inf
        self.printed_step = 0

    def announce(self, title: str, lines: Mapping[str, str], *, steps: int, rate: float,
                 unit: str) -> None:  # fmt: skip
        super().announce(title, lines, steps=steps, rate=rate, unit=unit)
        self._print(title)
        for name, value in self.lines.items():
            self._print(f"  {name}: {value}")

    def working(self, text: str) -> None:
        self._print(f"{text} …")

    def validated(self, step: int, scores: Mapping[str, float], *, best: bool) -> None:
        now, part = time.monotonic(), max(1, self.steps // LINES)
        due = step // part > self.printed_step // part or step == self.steps
        if not due and now - self.printed < SECONDS:
            return
        self.printed, self.printed_step = now, step
        train = _scores(self.averages(), skip=("gradient_norm",))
        valid = _scores(scores)
        mark = " (best)" if best else ""
        self._print(
            f"step {step}/{self.steps}: training {train}; validation {valid}{mark}; "
            f"{self.speed():,.0f} {self.unit}/s, {as_clock(self.seconds_left())} left"
        )

    def sampled(self, step: int, text: str) -> None:
        self._print(f"--- sample at step {step}:\n{text}\n---")

    def tested(self, step: int, scores: Mapping[str, float]) -> None:
        self._print(f"test, with the weights of step {step}: {_scores(scores)}")

    def notice(self, text: str) -> None:
        self._print(text)

    def _print(self, text: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # nobody reads on: train to the end all the same
            show(text, self.stream)


class LiveProgress(Progress):
    """A panel that is drawn anew a few times a second."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.validation: Mapping[str, float] = {}
        self.validation_step = 0
        self.test: Mapping[str, float] = {}
        self.test_step = 0
        self.text, self.text_step = "", 0
        self.work, self.live_now = "", False
        self.verdict = list[str]()

    def announce(self, title: str, lines: Mapping[str, str], *, steps: int, rate: float,
                 unit: str) -> None:  # fmt: skip
        super().announce(title, lines, steps=steps, rate=rate, unit=unit)
        table = Table.grid(padding=(0, 2))
        for name, value in self.lines.items():
            table.add_row(Text(name, style="dim"), Text(self._plain(value)))
        self.console.print(Panel(table, title=title, title_align="left", border_style="cyan"))

    def start(self, step: int, seconds: float, records: list[dict[str, Any]]) -> None:
        super().start(step, seconds, records)
        for record in records:
            if record["kind"] == "valid":
                names = [k for k in record if k not in ("step", "kind", "seconds")]
                self.validation = {k: record[k] for k in names}
                self.validation_step = record["step"]
        self.live = Live(
            # below it an empty line for the terminal's ^C, which would push a full one down
            get_renderable=lambda: Group(self._render(), Text()),
            console=self.console,
            refresh_per_second=4,
            transient=True,
        )

    def __enter__(self) -> Self:
        self.live.start()
        self.live_now = True
        return self

    def __exit__(self, *exception: object) -> None:
        self.live_now, self.work = False, ""
        self.live.stop()
        if self.step_now > self.first_step:
            self.console.print(self._render())
        verdict, self.verdict = self.verdict, []
        for text in verdict:
            self.notice(text)

    def step(self, step: int, record: Mapping[str, float]) -> None:
        super().step(step, record)
        self.work = ""

    def working(self, text: str) -> None:
        self.work = text
        if not self.live_now:
            self.console.print(Text(self._plain(f"{text} …"), style="dim"))

    def validated(self, step: int, scores: Mapping[str, float], *, best: bool) -> None:
        self.validation, self.validation_step = dict(scores), step

    def sampled(self, step: int, text: str) -> None:
        self.text, self.text_step = self._plain(text), step

    def tested(self, step: int, scores: Mapping[str, float]) -> None:
        self.work = ""
        self.test, self.test_step = dict(scores), step

    def notice(self, text: str) -> None:
        if self.live_now and self.test:  # what the scores mean stands under them
            self.verdict.append(text)
        else:
            self.console.print(Text(self._plain(text), style="yellow"))

    def _plain(self, text: str) -> str:
        """Write a text as the terminal can show it, so that its width is known."""
        encoding = self.console.encoding
        return printable(text).encode(encoding, "backslashreplace").decode(encoding)

    def _render(self) -> Group:
        head = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=self.steps, completed=self.step_now, width=32)
        time_left = (
            f"{as_clock(self.seconds_left())} left" if self.step_now > self.first_step else ""
        )
        speed = f"{self.speed():,.0f} {self.unit}/s"
        steps = f"{self.step_now:,}/{self.steps:,} steps"
        work = Text(self._plain(f"{self.work} …"))
        head.add_row(bar, *([steps, work] if self.work else [steps, speed, time_left]))
        parts: list[Any] = [head, self._scores()]
        if self.text:
            title = f"sample at step {self.text_step:,}"
            parts.append(Panel(Text(self.text), title=title, title_align="left", style="dim"))
        return Group(*parts)

    def _scores(self) -> Table:
        """Lay the scores out with a part per line or, where they do not fit, a score per line."""
        averages = {k: v for k, v in self.averages().items() if k != "gradient_norm"}
        rows = [["", *(name.replace("_", " ") for name in averages)]]
        rows.append(
            [f"training, mean of {len(self.recent)} steps", *map(as_number, averages.values())]
        )
        for part, step, held_out in (
            ("validation, step", self.validation_step, self.validation),
            ("test, weights of step", self.test_step, self.test),
        ):
            if held_out:
                values = (held_out.get(n) for n in averages)
                cells = ("" if v is None else as_number(v) for v in values)
                rows.append([f"{part} {step:,}", *cells])
        wide = _table(rows)
        endless = self.console.options.update(max_width=10_000)
        needed = Measurement.get(self.console, endless, wide).maximum
        return wide if needed <= self.console.width else _table(list(zip(*rows, strict=True)))


def _table(rows: Sequence[Sequence[str]]) -> Table:
    """Lay rows out under the first one."""
    table = Table(box=None, padding=(0, 2), pad_edge=False, header_style="dim")
    for k, name in enumerate(rows[0]):
        table.add_column(Text(name), justify="right" if k else "left")
    for row in rows[1:]:
        table.add_row(*map(Text, row))
    return table


def progress_for(stream: TextIO) -> Progress:
    """Choose the live panel for a terminal, plain lines for anything else."""
    console = Console(file=stream)
    return LiveProgress(console) if console.is_terminal else PlainProgress(stream)


def _scores(scores: Mapping[str, float], skip: tuple[str, ...] = ()) -> str:
    numbers = ((k, v) for k, v in scores.items() if isinstance(v, int | float))
    named = ((k, v) for k, v in numbers if k not in skip)
    return ", ".join(f"{k.replace('_', ' ')} {as_number(v)}" for k, v in named)


def as_number(value: float) -> str:
    """Return a number as it is shown: whole ones with commas, others with four digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def as_clock(seconds: float) -> str:
    """Return a duration as minutes and seconds, with hours where there are any."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
