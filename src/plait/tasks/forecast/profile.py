"""The profile of a series: each node's mean at every place in its season, which is taken off."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from plait.errors import InputError
from plait.tasks.forecast.seasonal import Season, place_of, seasonal_means
from plait.tasks.forecast.series import Series
from plait.tasks.forecast.steps import following


@dataclass(frozen=True)
class Profile:
    """Means at the places of a season, `[S, N]`, of which the first is that of the time `start`.

    A network that forecasts what is left of a series without its profile, to which the profile is
    added again, learns what differs from it; with the skip "none" it begins with the historical
    mean.

    Example
    -------
    >>> import numpy as np, pandas as pd
    >>> from plait.tasks.forecast.profile import Profile
    >>> profile = Profile(np.arange(24.0)[:, None], pd.Timestamp("2024-01-01"), "h")
    >>> profile.at(pd.date_range("2024-02-03 22:00", periods=3, freq="h")).tolist()
    [[22.0], [23.0], [0.0]]
    """

    values: np.ndarray
    start: Any
    frequency: str

    @classmethod
    def of(cls, series: Series, training: int, season: int) -> "Profile":
        """Compute the profile of so many first steps.

        Raises `InputError` for a series without times or season, or shorter than a season.
        """
        if series.times is None or series.frequency is None:
            raise InputError(
                f"--seasonal needs times, and {series.source} has no column of them; name it with "
                "--time"
            )
        if not season or season > training:
            raise InputError(
                f"--seasonal needs a season of at most the {training} steps to train on, and that "
                f"of {series.source} is {season or 'not known'}; give --season"
            )
        values, _ = seasonal_means(series.values[:training], Season(season, ""))
        return cls(values, series.times[0], series.frequency)

    def at(self, times: pd.DatetimeIndex) -> np.ndarray:
        """Return the profile at times that go on step by step, `[T, N]`."""
        place = place_of(times[0], self.start, self.frequency)
        return self.values[(place + np.arange(len(times))) % len(self.values)]

    def ahead_of(self, series: Series, first: np.ndarray, forecasts: np.ndarray) -> np.ndarray:
        """Return the profile of forecasts `[H, W, N, (Q)]` that begin at the steps `first [W]`."""
        H, Q = len(forecasts), forecasts.shape[3:]
        assert series.times is not None
        times = pd.DatetimeIndex([*series.times, *following(series.times, self.frequency, H)])
        steps = self.at(times)[first + np.arange(H)[:, None]]  # [H, W, N]
        return steps.reshape(*steps.shape, *[1] * len(Q))

    def removed(self, series: Series) -> Series:
        """Return what is left of a series without it."""
        assert series.times is not None
        return replace(series, values=series.values - self.at(series.times))

    def facts(self) -> Mapping[str, Any]:
        """Return what a run keeps of it next to the values."""
        return {"season": len(self.values), "season_start": self.start.isoformat()}
