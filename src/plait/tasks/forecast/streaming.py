"""One step at a time: what a forecaster carries from step to step, and what it answers."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from plait.errors import InputError
from plait.nn.forms import as_state
from plait.tasks.forecast import inputs

if TYPE_CHECKING:
    from plait.tasks.forecast.model import Forecaster


class Streamed(NamedTuple):
    """What `Forecaster.step` hands on: the recurrent states, and the last values.

    window : Tensor `[P, 1, N]`, what is missing replaced by the value before

    season : Tensor `[S, 1, N]`, of a season as they were measured
    """

    states: tuple[Tensor, ...]
    window: Tensor
    season: Tensor


def step(
    model: "Forecaster",
    observation: np.ndarray | Sequence[float],
    state: Streamed | None,
    time: Any,
    covariates: Mapping[str, Any] | None,
) -> tuple[np.ndarray, Streamed]:
    """Take one more step and forecast from there; see `Forecaster.step`."""
    config = model.config
    if config.instance_norm:
        raise InputError(
            "a network with --instance-norm takes whole windows, no steps; take `plait predict "
            "--data`, or train without it"
        )
    P, H = config.history, config.horizon
    values = torch.as_tensor(np.array(observation, dtype=np.float64), device=model.mean.device)
    if values.shape != model.mean.shape:
        raise ValueError(f"an observation has {len(model.ids)} numbers, not {values.shape}")
    profile = inputs.profile_after(time, model.profile, config, model.clock)  # [1 + H, N]
    values = values - torch.from_numpy(profile[0]).to(values)
    x = ((values - model.mean) / model.scale).to(model.output.weight.dtype)[None, None]
    before = torch.zeros_like(x) if state is None else state.window[-1:]  # [1, 1, N], as x
    filled = torch.where(x.isnan(), before, x)
    before = filled if state is None else before
    window = filled.expand(P, -1, -1) if state is None else state.window
    window = torch.cat([window[1:], filled])
    season = 0 if model.season is None else model.season.steps
    past = x.new_full((season, *x.shape[1:]), torch.nan) if state is None else state.season
    past = torch.cat([past, x])[1:] if season else past
    calendar = inputs.calendar_after(time, config, model.frequency, model.clock).to(x)
    if model.covariates is not None:
        given = inputs.covariates_after(covariates, config, model.ids, model.covariates)
        places = calendar[:, :, None].expand(*given.shape[:3], -1)
        calendar = torch.cat([places, given.to(x)], -1)
    long = torch.cat([past[torch.arange(H) % season], window]) if season else window
    places = _places(model, time).to(x)  # [P + H, 1, 0 or 1]
    states = None if state is None else as_state(state.states)
    answer, new = model.advance(
        filled, before, x.isnan(), window, calendar, states, long=long, places=places
    )
    found = model.unscaled(answer)[:, 0]
    added = profile[1:, :, None] if config.levels else profile[1:]
    return found + added, Streamed(new, window, past)


def _places(model: "Forecaster", time: Any) -> Tensor:
    """Return the places in the season of P steps to a time and H after it, `[P + H, 1, 1]`."""
    P, H = model.config.history, model.config.horizon
    if model.season is None or not model.placed:
        return torch.zeros(P + H, 1, 0)
    assert model.frequency is not None
    now = inputs.times_after(time, "a season", model.frequency, model.clock, 1)
    number = model.season.number_of(now[0], model.frequency) + torch.arange(1 - P, H + 1)
    return model.season.place(number)[:, None, None]
