"""Windows of a series as tensors: the input, and what is to be forecast."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from plait.errors import InputError
from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.seasonal import Season
from plait.tasks.forecast.series import Series, listed
from plait.tasks.forecast.steps import DAY, steps_from

CALENDAR = {"none": 0, "day": 2, "week": 9}
"""Numbers for a step's place in time."""


class Window(NamedTuple):
    """A batch of windows, in scaled units, NaN where nothing was measured.

    x : Tensor `[P, B, N]`, the input
        With a season `[H + P, B, N]`: before it the value a season before each of the H steps.

    y : Tensor `[H, B, N]`, to be forecast

    calendar : Tensor `[P + H, B, (N or 1,) C]`
        Of every step the place in time, then the covariates, scaled; those that are not known ahead
        are 0 in the last H steps. Where steps have a place in the season it is the first number.

    means : Tensor `[P + H, B, N]`, or None
        To train on: the means at the steps' places of all seasons but their own.
    """

    x: Tensor
    y: Tensor
    calendar: Tensor
    means: Tensor | None = None


class Windows:
    """Cuts windows out of a scaled series.

    `calendar [T + H, (N or 1,) C]` are the columns that are known of every step; those in `hidden`
    are not known ahead. `season` is its length in steps; 0: there is none.

    Example
    -------
    >>> import numpy as np, torch
    >>> from plait.tasks.forecast.windows import Windows
    >>> windows = Windows(np.arange(8.0)[:, None], np.zeros((11, 0)), history=2, horizon=3)
    >>> window = windows.at(torch.tensor([2, 5]), end=7)               # forecasts of 2… and 5…
    >>> window.x[:, :, 0].tolist(), window.y[:, :, 0].tolist()
    ([[0.0, 3.0], [1.0, 4.0]], [[2.0, 5.0], [3.0, 6.0], [4.0, nan]])
    """

    def __init__(
        self,
        values: np.ndarray,
        calendar: np.ndarray,
        *,
        history: int,
        horizon: int,
        device: torch.device | str = "cpu",
        hidden: slice = slice(0),
        season: int = 0,
    ) -> None:
        self.history, self.horizon, self.hidden = history, horizon, hidden
        self.season = season
        beyond = np.full((horizon, values.shape[1]), np.nan)
        self.values = torch.from_numpy(np.concatenate([values, beyond])).float().to(device)
        self.means: Tensor | None = None  # of other seasons, `[S, N]`, of so many first steps
        self.calendar = torch.from_numpy(calendar).float().to(device)

    def at(self, first: Tensor, end: int) -> Window:
        """Cut the windows whose forecasts begin at the steps `first [B]` and stop before `end`."""
        first = first.to(self.values.device)
        past = first - torch.arange(self.history, 0, -1, device=first.device)[:, None]  # [P, B]
        ahead = first + torch.arange(self.horizon, device=first.device)[:, None]  # [H, B]
        y = self.values[ahead].masked_fill((ahead >= end)[..., None], torch.nan)
        calendar = self.calendar[torch.cat([past, ahead])]
        calendar[self.history :, ..., self.hidden] = 0
        x = self.values[past]
        if self.season:
            back = torch.arange(1, self.horizon + 1, device=first.device) / self.season
            before = ahead - (back.ceil().long() * self.season)[:, None]
            seasonal = self.values[before.clamp(min=0)]
            x = torch.cat([seasonal.masked_fill((before < 0)[..., None], torch.nan), x])
        means = None
        if self.means is not None and end <= len(self.means):
            means = self.means[torch.cat([past, ahead]).clamp(max=end - 1)]
        return Window(x, y, calendar, means)


def truth_of(values: np.ndarray, first: np.ndarray, horizon: int, end: int) -> np.ndarray:
    """Cut what came after the steps `first [W]`, before `end`, out of a series: `[H, W, N]`.

    >>> import numpy as np
    >>> from plait.tasks.forecast.windows import truth_of
    >>> truth_of(np.arange(4.0)[:, None], np.array([1, 2]), 2, end=3)[:, :, 0].tolist()
    [[1.0, 2.0], [2.0, nan]]
    """
    ahead = first + np.arange(horizon)[:, None]
    truth = values[np.minimum(ahead, len(values) - 1)]
    truth[ahead >= end] = np.nan
    return truth


def scaling(values: np.ndarray, how: str, series: Series) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation `[N]` of what was measured in the training set.

    Raises `InputError` for a node where nothing was, or always the same.
    """
    seen = ~np.isnan(values)
    empty = np.flatnonzero(~seen.any(0))
    if empty.size:
        names, has, it = _columns(series, empty, "has", "have")
        raise InputError(
            f"{series.source}: {names} {has} no value in the training set; take {it} out"
        )
    wide = np.nanmax(values, axis=0) > np.nanmin(values, axis=0)
    if how == "all":
        wide = np.broadcast_to(wide.any(), wide.shape)
    constant = np.flatnonzero(~wide)
    if constant.size:
        names, be, it = _columns(series, constant, "is", "are")
        always = f"always {np.nanmin(values[:, constant[0]]):g}"
        raise InputError(
            f"{series.source}: {names} {be} constant in the training set"
            + (f", {always}" if constant.size == 1 else "")
            + f"; take {it} out"
            + ("" if how == "all" else ", or give all one scale with --scale all")
        )
    if how == "all":
        N = values.shape[1]
        mean, scale = np.full(N, np.nanmean(values)), np.full(N, np.nanstd(values))
    else:
        mean, scale = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    for n in np.flatnonzero(scale < np.finfo(np.float32).tiny):
        raise InputError(
            f"{series.source}: the values of column {series.ids[n]!r} differ by less than "
            f"{np.finfo(np.float32).tiny:.0e}; give them in a smaller unit"
        )
    return mean, scale


def _columns(
    series: Series, places: np.ndarray, singular: str, plural: str
) -> tuple[str, str, str]:
    """Name columns, with the verb and the pronoun that go with them."""
    names = listed([series.ids[n] for n in places])
    return (f"column {names}", singular, "it") if places.size == 1 else (
        f"columns {names}", plural, "them"
    )  # fmt: skip


def calendar_of(times: pd.DatetimeIndex | None, steps: int, kind: str) -> np.ndarray:
    """Return the place of every step in the day (sine, cosine) and the week (one of seven).

    >>> import pandas as pd
    >>> from plait.tasks.forecast.windows import calendar_of
    >>> calendar_of(pd.DatetimeIndex(["2024-01-01 00:00"]), 1, "day").tolist()
    [[0.0, 1.0]]
    """
    if kind == "none" or times is None:
        return np.zeros((steps, 0))
    times = times.tz_localize(None)  # the place in the day is by the clock of the times
    seconds = (times.to_numpy() - times.normalize().to_numpy()) / np.timedelta64(1, "s")
    turn = 2 * np.pi * seconds / DAY
    parts = [np.sin(turn)[:, None], np.cos(turn)[:, None]]
    if kind == "week":
        parts.append(np.eye(7)[times.day_of_week])
    return np.concatenate(parts, 1)


def covariate_scaling(series: Series, names: tuple[str, ...], training: int) -> np.ndarray:
    """Return mean and standard deviation of every covariate over the training set, `[2, K]`.

    A constant one has the standard deviation 1. Raises `InputError` for one without a value.
    """
    if series.covariates is None:
        return np.zeros((2, 0))
    past = series.covariates[:training].reshape(-1, len(names))
    for name in (n for n, column in zip(names, past.T, strict=True) if np.isnan(column).all()):
        raise InputError(
            f"{series.source}: the covariate {name!r} has no value in the training set; leave it "
            "out"
        )
    spread = np.nanstd(past, axis=0)
    return np.stack([np.nanmean(past, axis=0), np.where(spread > 0, spread, 1.0)])


def windows_of(
    config: ForecastConfig,
    series: Series,
    mean: np.ndarray,
    scale: np.ndarray,
    device: torch.device | str,
    frequency: str | None = None,
    covariates: np.ndarray | None = None,
    season: Season | None = None,
) -> Windows:
    """Make the windows of a series, whose calendar goes on over the horizon.

    `frequency` is the length of a step, where the series is too short to find it;
    `covariates [2, K]` are the means and standard deviations that covariates are scaled by.
    """
    T, H, times = len(series.values), config.horizon, series.times
    length = frequency or series.frequency
    if times is not None:
        assert length is not None
        times = steps_from(times[0], T + H, length)
    given, hidden = calendar_of(times, T + H, config.calendar), slice(0)
    if season is not None and season.placed:
        assert times is not None
        assert length is not None
        given = np.concatenate([season.places(times, length)[:, None], given], 1)
    if series.covariates is not None and covariates is not None:
        C, known = given.shape[1], len(config.known_names)
        extra = np.zeros((T + H, *series.covariates.shape[1:]))
        rows = (series.covariates[: T + H] - covariates[0]) / covariates[1]
        extra[: len(rows)] = np.nan_to_num(rows)
        places = np.broadcast_to(given[:, None], (*extra.shape[:2], C))
        given = np.concatenate([places, extra], -1)
        hidden = slice(C, given.shape[-1] - known)
    return Windows(
        (series.values - mean) / scale, given, history=config.history, horizon=H, device=device,
        hidden=hidden, season=0 if season is None else season.steps,
    )  # fmt: skip
