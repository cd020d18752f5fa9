"""Rows that arrive one after another, and the forecasts from each: `plait predict --follow`."""

import csv
import io
import os
import select
import sys
import threading
import time as clock
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from plait.columns import read_numbers
from plait.errors import InputError
from plait.news import LOGGER
from plait.tasks.forecast.bands import bands
from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.model import Forecaster
from plait.tasks.forecast.scores import Forecasts
from plait.tasks.forecast.series import Series, following, listed, same_ids
from plait.tasks.forecast.sources import TIME_NAMES
from plait.tasks.forecast.streaming import Streamed
from plait.times import read_times, time_text

POLL = 0.1
"""Seconds between two looks at a file that may grow."""


def arriving(source: str, encoding: str, stop: threading.Event) -> Iterator[str]:
    """Yield the lines of a file as they are completed, or of the standard input for "-".

    A file is read on until `stop` is set, the standard input also until its end.
    """
    if source == "-":
        file = sys.stdin.fileno()
    else:
        try:
            file = os.open(source, os.O_RDONLY)
        except OSError as error:
            raise InputError(f"cannot read {source}: {error.strerror}") from None
    rest = b""
    while not stop.is_set():
        ready = select.select([file], [], [], POLL)[0]
        part = os.read(file, 2**16) if ready else b""
        *lines, rest = (rest + part).split(b"\n")
        yield from (_decoded(line, source, encoding) for line in lines)
        if ready and not part:
            if source == "-":
                break
            stop.wait(POLL)
    if rest and not stop.is_set():
        yield _decoded(rest, source, encoding)


def _decoded(line: bytes, source: str, encoding: str) -> str:
    try:
        return line.decode(encoding).removeprefix("\ufeff").rstrip("\r")
    except UnicodeDecodeError:
        raise InputError(f"{source} is not in {encoding}; give --encoding") from None


class Feed:
    """Turns rows of a table into forecasts, with the state that it carries on.

    Parameters
    ----------
    model : Forecaster
    config : ForecastConfig
    recent : Series
        What comes before the first row, in the order of the model's nodes; None: nothing, and
        forecasts begin after `history` rows.
    name : str
        Of the rows' source, for messages.
    """

    def __init__(
        self, model: Forecaster, config: ForecastConfig, recent: Series | None, name: str
    ) -> None:
        if config.known_names:
            raise InputError(
                f"a run with --known {config.known} cannot follow rows: what is known ahead would "
                "have to come before its time; use --data"
            )
        self.model, self.config, self.name = model, config, name
        self.columns: dict[str, int] = {}
        self.line, self.rows, self.taken, self.before, self.seconds = 0, 0, 0, 0, 0.0
        self.time: Any = None
        self.state: Streamed | None = None
        if recent is not None:
            self._warm_up(recent)

    def _warm_up(self, recent: Series) -> None:
        """Take the last steps of a series: as many as the history has, and the season before."""
        P, season = self.config.history, self.model.season
        steps = max(P, 0 if season is None else season.steps)
        for t in range(max(0, len(recent.values) - steps), len(recent.values)):
            given = {}
            if recent.covariates is not None:
                names = self.config.covariate_names
                given = {name: recent.covariates[t, :, k] for k, name in enumerate(names)}
                given = {n: v if len(v) > 1 else v[0] for n, v in given.items()}
            self._take(recent.values[t], None if recent.times is None else recent.times[t], given)
        self.before = self.taken

    def lines(self, arriving: Iterator[str]) -> Iterator[str]:
        """Yield CSV: a line of names, then for each row a line for each step ahead and node."""
        for text in arriving:
            self.line += 1
            if not text.strip():
                continue
            cells = [cell.strip() for cell in next(csv.reader([text]))]
            if not self.columns:
                yield self._header(cells)
                continue
            begin = clock.perf_counter()
            found = self._row(cells)
            if found is not None:
                yield found
                self.rows += 1
                self.seconds += clock.perf_counter() - begin
        if self.rows:
            each = 1000 * self.seconds / self.rows
            LOGGER.warning("rows followed: %s, %.1f ms each", f"{self.rows:,}", each)

    def _where(self) -> str:
        return f"{self.name}, line {self.line}"

    def _header(self, cells: Sequence[str]) -> str:
        """Find the columns by their names; return the names of those that are written."""
        timed, config = self.model.frequency is not None, self.config
        time = config.time or next((n for n in cells if n.lower() in TIME_NAMES), "")
        named = [name for name in cells if name != time]
        shared = config.covariate_names
        missing, more = same_ids((*self.model.ids, *shared), named)
        if missing or more or (timed and time not in cells):
            what = (
                f"has no column {listed(missing)}"
                if missing
                else f"has the unknown columns {listed(more)}"
            )
            what = what if missing or more else f"has no column {time or 'time'!r}"
            raise InputError(
                f"{self._where()} {what}; the first line must name the time, the run's "
                f"{len(self.model.ids)} nodes" + f" and {listed(shared)}" * bool(shared)
            )
        self.columns = {name: k for k, name in enumerate(cells)}
        self.time_column = cells.index(time) if timed else -1
        levels = [f"q{level:g}" for level in config.levels]
        band = ["low", "high"] if self.model.margin is not None else []
        return ",".join(["after", "time" if timed else "step", "id", "forecast", *levels, *band])

    def _row(self, cells: Sequence[str]) -> str | None:
        """Take a row; return its forecasts, None where it is passed over or they begin later."""
        if len(cells) != len(self.columns):
            raise InputError(
                f"{self._where()}: {len(cells)} cells, and the first line names "
                f"{len(self.columns)} columns"
            )
        names = (*self.model.ids, *self.config.covariate_names)
        texts = np.array([[cells[self.columns[name]] for name in names]], dtype=object)
        missing = [part.strip() for part in self.config.missing.split(",") if part.strip()]
        read = read_numbers(texts, names, lambda _: self._where(), missing)
        for _, k in np.argwhere(read.bad)[:1].tolist():
            raise InputError(f"{self._where()}, column {names[k]!r}: {texts[0, k]!r} is no number")
        N = len(self.model.ids)
        values, given = read.values[0, :N], read.values[0, N:]
        time = None
        if self.time_column >= 0:
            time = self._next_time(cells[self.time_column])
            if time is None:
                return None
        answer = self._take(values, time, dict(zip(names[N:], given, strict=True)))
        return self._written(answer) if self.taken >= self.config.history else None

    def _next_time(self, text: str) -> Any:
        """Read a time; take the steps without a row before it; None where it is no later one."""
        name, frequency = "time", self.model.frequency
        assert frequency is not None
        time: Any = read_times([text], lambda _: self._where(), name)[0][0]
        if (time.tz is None) != (self.model.clock is None):
            has, had = ("no offset", "one") if time.tz is None else ("an offset", "none")
            raise InputError(
                f"{self._where()}: {text!r} has {has} from UTC, and the run was trained with {had}"
            )
        time = time.tz_convert(self.model.clock) if self.model.clock is not None else time
        if self.time is None:
            return time
        if time <= self.time:
            LOGGER.warning(
                "%s: %s does not come after %s; left out", self._where(), time_text(time),
                time_text(self.time),
            )  # fmt: skip
            return None
        steps = [following(pd.DatetimeIndex([self.time]), frequency, 1)[0]]
        while steps[-1] < time:
            steps.append(following(pd.DatetimeIndex([steps[-1]]), frequency, 1)[0])
        if steps[-1] != time:
            raise InputError(
                f"{self._where()}: {time_text(time)} is no step of {frequency} after "
                f"{time_text(self.time)}; round the times"
            )
        if len(steps) > 1:
            LOGGER.warning(
                "%s: %d steps before it have no row, read as missing", self._where(), len(steps) - 1
            )
        for step in steps[:-1]:
            empty = dict.fromkeys(self.config.covariate_names, np.nan)
            self._take(np.full(len(self.model.ids), np.nan), step, empty)
        return time

    def _take(self, values: np.ndarray, time: Any, given: Mapping[str, Any]) -> np.ndarray:
        answer, self.state = self.model.step(values, self.state, time, given or None)
        self.time, self.taken = time, self.taken + 1
        return answer

    def _written(self, answer: np.ndarray) -> str:
        """Write forecasts `[H, N, (Q)]` as lines of CSV."""
        model, levels = self.model, self.config.levels
        H, N = answer.shape[:2]
        after: Any = self.taken - self.before
        ahead: Any = range(1, H + 1)
        if self.time is not None:
            assert model.frequency is not None
            after, ahead = self.time, following(pd.DatetimeIndex([self.time]), model.frequency, H)
        found = Forecasts(np.zeros(1), answer, np.zeros(0), levels)
        parts = [found.middle.reshape(H * N, 1)]
        if levels:
            parts.append(found.quantiles.reshape(H * N, -1))
        if model.margin is not None:
            margin = (model.margin * model.scale).cpu().numpy()
            parts += [end.reshape(H * N, 1) for end in bands(found.quantiles, levels, margin)]
        text = io.StringIO()
        rows = np.concatenate(parts, 1).tolist()
        keys = ((after, step, name) for step in ahead for name in model.ids)
        csv.writer(text, lineterminator="\n").writerows(
            (*key, *(f"{value:.9g}" for value in row)) for key, row in zip(keys, rows, strict=True)
        )
        return text.getvalue().rstrip("\n")


def follow_rows(
    model: Forecaster,
    config: ForecastConfig,
    facts: Mapping[str, Any],
    source: str,
    stop: threading.Event,
    data: str | None = None,
    *,
    encoding: str | None = None,
) -> Iterator[str]:
    """Yield lines of CSV, the forecasts from every row that arrives, until `stop` is set.

    Parameters
    ----------
    model : Forecaster
    config, facts
        Of its run folder.
    source : str
        A file that may grow, or "-", the standard input: CSV with a column for each node, whose
        first line names them.
    stop : Event
    data : str
        A table of what comes before, so that forecasts begin with the first row. None: they begin
        after `history` rows.
    encoding : str
        Of both. None: that of the run's own table.

    Raises
    ------
    InputError
        For rows that cannot be read, naming the line.
    """
    from plait.tasks.forecast.inference import recent_series

    if source != "-" and not Path(source).is_file():
        raise InputError(f"--follow {source}: there is no such file; - is the standard input")
    recent = None if data is None else recent_series(model, config, facts, data, encoding)
    feed = Feed(model, config, recent, "the standard input" if source == "-" else source)
    return feed.lines(arriving(source, encoding or config.encoding, stop))
