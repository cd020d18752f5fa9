"""The season of a series, and means at its places: of all seasons, and of all but a step's own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from plait.tasks.forecast.series import Series
from plait.tasks.forecast.steps import DAY, MONTHS, seconds_between

NODES = 64
"""Nodes whose means are computed at a time."""

GAIN = 0.01
"""Share by which other means must fit better than simpler ones to be taken."""

TRIED = 256
"""Nodes by which the kind of means is chosen, at most."""


@dataclass(frozen=True)
class Season:
    """The rhythm of a series.

    Attributes
    ----------
    steps : int
        Its length; 0: none is known.
    start : str
        A time at its first place; empty: the series has no times, and no step a place.
    monday : int
        Of a day whose steps have other places on weekends: the whole steps of the start since
        Monday 0 o'clock. -1: all days are alike.
    width : int
        How far means reach to each side, in places; see `seasonal_means`.
    """

    steps: int
    start: str
    monday: int = -1
    width: int = 0

    @classmethod
    def of(cls, series: Series, steps: int, training: int) -> "Season":
        """Return that of a series; none where it does not fit twice into the training set."""
        first: Any = None if series.times is None else series.times[0]
        start = "" if first is None else first.isoformat()
        if 2 * steps > training or not steps:
            return cls(0, start)
        return cls(steps, start, _since_monday(series, steps))

    @property
    def placed(self) -> bool:
        """Whether the steps have places in it."""
        return bool(self.steps and self.start)

    @property
    def count(self) -> int:
        """How many places there are; twice the steps where weekends have places of their own."""
        return self.steps * (1 if self.monday < 0 else 2)

    def place(self, number: Any) -> Any:
        """Return the places of steps, an integer array or tensor, that are counted from the start.

        >>> import numpy as np
        >>> from plait.tasks.forecast.seasonal import Season
        >>> Season(2, "", monday=8).place(np.arange(-1, 6)).tolist()       # from Friday on
        [1, 0, 1, 2, 3, 2, 3]
        """
        place = number % self.steps
        if self.monday < 0:
            return place
        return place + self.steps * ((number + self.monday) // self.steps % 7 >= 5)

    def number_of(self, time: Any, frequency: str) -> int:
        """Return how many steps after the start a time is."""
        return place_of(time, pd.Timestamp(self.start), frequency)

    def places(self, times: pd.DatetimeIndex, frequency: str) -> np.ndarray:
        """Return the places in the season of times that go on step by step."""
        return self.place(self.number_of(times[0], frequency) + np.arange(len(times)))


def seasonal_means(values: np.ndarray, season: Season) -> tuple[np.ndarray, np.ndarray]:
    r"""Return a node's means at the places of a season, and at each step the mean of other seasons.

    The second is what is known of a step from all seasons but its own. A model that is fitted to
    the first would learn to trust means that hold the very value it is to forecast: with five days,
    a fifth of it. Of `season.width` w, a mean is over the places p − w … p + w; of places by kind
    of day (`Season`), over days of that kind. Where no season has a value, the node's mean counts.

    Parameters
    ----------
    values : float array `[T, N]`
        From the season's start on; NaN where nothing was measured.
    season : Season
        Of at least one step.

    Returns
    -------
    means : float array `[season.count, N]`
    others : float array `[T, N]`

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.forecast.seasonal import Season, seasonal_means
    >>> means, others = seasonal_means(np.array([[1.0], [5.0], [3.0], [7.0]]), Season(2, ""))
    >>> means.ravel().tolist(), others.ravel().tolist()
    ([2.0, 6.0], [3.0, 7.0, 1.0, 5.0])
    """
    T, N = values.shape
    number, S, count = np.arange(T), season.steps, season.count
    cell = number // S * count + season.place(number)  # of the season, then the place
    seasons = (T - 1) // S + 1
    means, others = np.empty((count, N)), np.empty((T, N))
    for begin in range(0, N, NODES):
        own = values[:, begin : begin + NODES]
        seen = ~np.isnan(own)
        sums, counts = np.zeros((2, seasons * count, own.shape[1]))
        sums[cell], counts[cell] = np.where(seen, own, 0.0), seen
        shape = (seasons, count // S, S, own.shape[1])
        sums, counts = (_around(part.reshape(shape), season.width) for part in (sums, counts))
        overall = np.where(seen, own, 0.0).sum(0) / np.maximum(seen.sum(0), 1)
        total, of = sums.sum(0), counts.sum(0)
        means[:, begin : begin + NODES] = _mean(total, of, overall).reshape(count, -1)
        rest = _mean(total - sums, of - counts, overall)
        others[:, begin : begin + NODES] = rest.reshape(seasons * count, -1)[cell]
    return means, others


def _around(x: np.ndarray, width: int) -> np.ndarray:
    """Sum over the places within a distance, along the last axis but one, which is a circle."""
    return sum((np.roll(x, k, -2) for k in range(-width, width + 1)), np.zeros_like(x))


def _mean(total: np.ndarray, count: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    return np.where(count > 0.5, total / np.maximum(count, 1.0), otherwise)


def fitted_season(values: np.ndarray, season: Season) -> Season:
    """Return the season with the kind of means that tells most of seasons which it leaves out.

    Days of the week and of the weekend are apart, and means are over neighbouring places, where
    the squared error of the mean of other seasons is smaller so by at least 1 %.

    Parameters
    ----------
    values : float array `[T, N]`
        To train on, from the season's start on.
    season : Season
        Whose `monday` says whether its days may be of two kinds.
    """
    values = values[:, :: -(-values.shape[1] // TRIED)]
    spread = np.nanstd(values, axis=0)
    scaled = values / np.where(spread > 0, spread, 1.0)
    best, least = replace(season, monday=-1), np.inf
    for choice in _choices(season, len(values)):
        error = float(np.nanmean(np.square(scaled - seasonal_means(scaled, choice)[1])))
        if error < (1 - GAIN) * least:
            best, least = choice, error
    return best


def _choices(season: Season, steps: int) -> Sequence[Season]:
    """List what may be chosen, the simplest first."""
    widths = [0, *(2**k for k in range(10) if 2**k <= season.steps // 32)]
    plain = replace(season, monday=-1)
    kinds = [plain]
    if season.monday >= 0:
        places = season.place(np.arange(steps)).reshape(-1)
        enough = [len(np.unique(np.flatnonzero(places // season.steps == kind) // season.steps))
                  for kind in (0, 1)]  # fmt: skip
        kinds += [season] * (min(enough) > 1)
    return [replace(kind, width=width) for kind in kinds for width in widths]


def _since_monday(series: Series, steps: int) -> int:
    """Return the whole steps of the first time since Monday 0 o'clock; -1: a season is no day."""
    if series.times is None:
        return -1
    step = float(np.median(seconds_between(series.times)))
    if step * steps != DAY:
        return -1
    first: Any = series.times[0].tz_localize(None)
    monday = first.normalize() - pd.Timedelta(days=first.day_of_week)
    return int((first - monday).total_seconds() // step)


def place_of(time: Any, start: Any, frequency: str) -> int:
    """Return how many steps after the time `start` another is; before it, a negative number.

    >>> import pandas as pd
    >>> from plait.tasks.forecast.seasonal import place_of
    >>> place_of(pd.Timestamp("2024-02-01"), pd.Timestamp("2024-01-01"), "h")
    744
    """
    if time.tz is not None:
        start = start.tz_convert(time.tz)
    early, late = sorted([time, start])
    months = MONTHS.fullmatch(frequency)
    if months is None:
        offset = pd.tseries.frequencies.to_offset(frequency)
        if isinstance(offset, pd.offsets.Tick):
            return round((time - start) / offset)
        between = len(pd.date_range(early, late, freq=frequency)) - 1
    else:
        between = (late.year - early.year) * 12 + late.month - early.month
        between //= int(months[1])
    return between if time >= start else -between
