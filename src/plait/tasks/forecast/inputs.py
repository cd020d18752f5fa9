"""What a forecaster is given next to the values: the calendar and covariates of steps to come."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from plait.errors import InputError
from plait.kernels.scan import scan
from plait.kernels.transforms import exporting
from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.profile import Profile
from plait.tasks.forecast.steps import following
from plait.tasks.forecast.windows import calendar_of


class KnownAhead(nn.Module):
    """What is added to the forecast of step t + k for what is known of it ahead.

    W relu(U [h_t, z_{t+k}] + u), with z the calendar's numbers and the covariates known ahead. W
    begins as 0.

    Shapes
    ------
    h : `[B, N, H]`; calendar : `[K, B, N or 1, C]`, see `plait.tasks.forecast.windows.Window`;
    answer : `[K, B, N, Q]`
    """

    def __init__(self, hidden_size: int, places: int, known: int, outputs: int) -> None:
        super().__init__()
        self.places, self.known = places, known
        self.inner = nn.Linear(hidden_size + places + known, hidden_size)
        self.outer = nn.Linear(hidden_size, outputs, bias=False)
        nn.init.zeros_(self.outer.weight)

    def forward(self, h: Tensor, calendar: Tensor) -> Tensor:
        """Return what is added to every step."""
        columns = calendar[..., : self.places], calendar[..., calendar.shape[-1] - self.known :]
        given, steps = torch.cat(columns, -1), (len(calendar), *h.shape[:-1])
        joined = torch.cat([h.expand(*steps, -1), given.expand(*steps, -1)], -1)
        return self.outer(torch.relu(self.inner(joined)))


def calendar_after(
    time: Any, config: ForecastConfig, frequency: str | None, clock: str | None
) -> Tensor:
    """Return the calendar's numbers of a time and the H steps after it, `[1 + H, 1, C]`."""
    kind, steps = config.calendar, 1 + config.horizon
    if kind == "none":
        return torch.zeros(steps, 1, 0)
    times = times_after(time, f"--calendar {kind}", frequency, clock, steps)
    return torch.from_numpy(calendar_of(times, steps, kind))[:, None]


def profile_after(
    time: Any, profile: Profile | None, config: ForecastConfig, clock: str | None
) -> np.ndarray:
    """Return the seasonal profile of a time and the H steps after it, `[1 + H, N]`; else zeros."""
    steps = 1 + config.horizon
    if profile is None:
        return np.zeros((steps, 1))
    return profile.at(times_after(time, "--seasonal", profile.frequency, clock, steps))


def times_after(
    time: Any, option: str, frequency: str | None, clock: str | None, steps: int
) -> pd.DatetimeIndex:
    """Return a time and those of the steps after it; `option` is what needs them, for an error."""
    if time is None:
        raise InputError(f"the network was trained with {option}: give the time")
    assert frequency is not None
    now = pd.DatetimeIndex([time])
    if now.tz is not None and clock is not None:
        now = now.tz_convert(clock)
    if steps == 1:
        return now
    return pd.DatetimeIndex([*now, *following(now, frequency, steps - 1)])


def covariates_after(
    given: Mapping[str, Any] | None, config: ForecastConfig, ids: Sequence[str], scales: Tensor
) -> Tensor:
    """Return the covariates of a step and those known of H more, scaled, `[1 + H, 1, N, K]`.

    What is missing, or not known ahead, is 0, the mean.
    """
    nodes, given = len(ids), given or {}
    columns = np.zeros((1 + config.horizon, nodes, len(config.covariate_names)))
    mean, scale = scales.cpu().numpy()
    for k, name in enumerate(config.covariate_names):
        if name not in given:
            raise InputError(f"the network was trained with the covariate {name!r}: give it")
        steps = 1 + config.horizon if name in config.known_names else 1
        values = np.asarray(given[name], dtype=np.float64)
        if values.shape not in ((steps,), (steps, nodes)) and not (
            steps == 1 and values.shape in ((), (nodes,))
        ):
            shapes = "a number, or [N]" if steps == 1 else "[1 + H], or [1 + H, N]"
            raise ValueError(f"the covariate {name!r} must be {shapes}; got {list(values.shape)}")
        columns[:steps, :, k] = (values.reshape(steps, -1) - mean[k]) / scale[k]
    return torch.from_numpy(np.nan_to_num(columns))[:, None]


def carried_forward(x: Tensor) -> Tensor:
    """Put the last value that was measured where none was, and 0, the mean, where none was yet.

    >>> import torch
    >>> from plait.tasks.forecast.inputs import carried_forward
    >>> carried_forward(torch.tensor([[[torch.nan]], [[2.0]], [[torch.nan]]])).flatten().tolist()
    [0.0, 2.0, 2.0]
    """
    if exporting():  # a loop over any number of steps
        first = (torch.zeros_like(x[0]),)
        return scan(lambda s, x_t: (torch.where(x_t[0].isnan(), s[0], x_t[0]),), first, (x,))[1][0]
    if not x.isnan().any():
        return x
    last, filled = torch.zeros_like(x[0]), []
    for x_t in x:
        last = torch.where(x_t.isnan(), last, x_t)
        filled.append(last)
    return torch.stack(filled)
