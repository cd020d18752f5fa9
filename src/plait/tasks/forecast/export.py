"""A trained forecaster as a form: measurements in, forecasts out, in the units of the data."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from plait.errors import InputError
from plait.export_formats.form import Form
from plait.export_formats.layers import (
    graph_facts,
    state_inputs,
    state_outputs,
    state_shapes,
)
from plait.nn.forms import as_state
from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.likelihood import COUNTS, positive
from plait.tasks.forecast.model import Forecaster
from plait.tasks.forecast.windows import CALENDAR


def forecast_form(
    model: Forecaster, config: ForecastConfig, facts: Mapping[str, Any], *, step: bool = False
) -> Form:
    """Return the form of a run's model.

    `values [P, B, N]`, float64, NaN where nothing was measured, to `forecast [H, B, N]`, with
    quantiles `[H, B, N, Q]`, and with a coverage also `low` and `high [H, B, N]`. With `step`,
    `values [B, N]` of one more step, the last values `window [P, B, N]` and the states to the
    forecast, the next window and the next states; start from a window of NaN and states of zeros.

    Further inputs, where the run has them, of these steps and the H that follow: `calendar [P + H,
    B, C]`, the sine and cosine of the time of day and with "week" seven numbers, 1 for the day of
    the week from Monday; `covariates [P + H, B, N, K]`; `place [B]`, the steps of the first value
    since `season_start`. With a season that the simple forecasts know: `before [H, B, N]`, the
    values a season before each step ahead, NaN where they are not known; and with times
    `season_place [B]`, the place of the first value in it, steps since `season_start`.
    """
    if config.likelihood != "none" and model.margin is not None:
        raise InputError(
            "a run with --likelihood and --coverage cannot be exported: its bands lie around "
            "quantiles that are counted; train without --coverage"
        )
    if step and config.instance_norm:
        raise InputError(
            "a network with --instance-norm takes whole windows, no steps; export without --step"
        )
    N, K = len(model.ids), len(config.covariate_names)
    steps = (1 if step else config.history) + config.horizon
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    values = model.mean + model.scale * drawn(*([] if step else [config.history]), 2, N)
    values[..., 0, 0] = torch.nan
    inputs, free = {"values": values}, {"values": {0 if step else 1: "batch"}}
    if CALENDAR[config.calendar]:
        inputs["calendar"] = drawn(steps, 2, CALENDAR[config.calendar]).float()
    if model.covariates is not None:
        inputs["covariates"] = drawn(steps, 2, N, K) * model.covariates[1] + model.covariates[0]
    if model.seasonal is not None:
        inputs["place"], free["place"] = torch.tensor([0, 5]), {0: "batch"}
    if model.season is not None and model.season.steps:
        inputs["before"] = model.mean + model.scale * drawn(config.horizon, 2, N)
    if model.placed:
        inputs["season_place"], free["season_place"] = torch.tensor([0, 5]), {0: "batch"}
    for name in ("calendar", "covariates", "before"):
        free[name] = {1: "batch"}
    outputs = ["forecast"] + ["low", "high"] * (model.margin is not None)
    states: dict[str, Tensor] = {}
    if step:
        layer = model.recurrent
        states, axes = state_inputs(layer.cell, (layer.layers, 2, N, layer.hidden_size))
        window = drawn(config.history, 2, N).float()
        window[:, 0] = torch.nan  # a stream that begins
        inputs |= {"window": window, **states}
        free |= {"window": {1: "batch"}, **axes}
        outputs += ["next_window", *state_outputs(layer.cell)]
    return Form(
        _Forecast(model, step=step), inputs, outputs, free, _metadata(model, config, states)
    )


def _metadata(
    model: Forecaster, config: ForecastConfig, states: Mapping[str, Tensor]
) -> Mapping[str, Any]:
    season: dict[str, Any] = {} if model.seasonal is None else {"season_start": model.season_start}
    if model.season is not None and model.season.steps:
        season |= {"season": model.season.steps}
    if model.placed and model.season is not None:
        season |= {"season_start": model.season.start}
    return {
        "ids": list(model.ids),
        "frequency": model.frequency,
        "clock": model.clock,
        "mean": model.mean.tolist(),
        "scale": model.scale.tolist(),
        "quantiles": list(config.levels),
        "covariates": list(config.covariate_names),
        "state_shapes": state_shapes(states),
        **season,
        **graph_facts(model.graph),
    }


class _Forecast(nn.Module):
    def __init__(self, model: Forecaster, *, step: bool) -> None:
        super().__init__()
        self.model, self.step, self.graph = model, step, model.graph

    def forward(self, values: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
        model, config, given = self.model, self.model.config, list(more)
        values = values[None] if self.step else values
        P, B, N = values.shape
        steps = P + config.horizon
        calendar = values.new_zeros(steps, B, 0, dtype=torch.float32)
        if CALENDAR[config.calendar]:
            calendar = given.pop(0)
        if model.covariates is not None:
            scaled = (given.pop(0) - model.covariates[0]) / model.covariates[1]
            known = torch.ones(steps, scaled.shape[-1], dtype=torch.bool)
            known[P:, : scaled.shape[-1] - len(config.known_names)] = False
            scaled = torch.where(scaled.isnan() | ~known[:, None, None], 0.0, scaled).float()
            calendar = torch.cat([calendar[:, :, None].expand(steps, B, N, -1), scaled], -1)
        ahead = None
        if model.seasonal is not None:
            place = given.pop(0) + torch.arange(steps)[:, None]  # [P + H, B]
            profile = model.seasonal[place % len(model.seasonal)]
            values, ahead = values - profile[:P], profile[P:]
        x, past = ((values - model.mean) / model.scale).float(), values.new_zeros(0, B, N).float()
        if model.season is not None and model.season.steps:
            before = given.pop(0) if ahead is None else given.pop(0) - ahead
            past = ((before - model.mean) / model.scale).float()  # [H, B, N]
        places = values.new_zeros(config.history + config.horizon, B, 0).float()
        if model.season is not None and model.placed:
            first = given.pop(0) - (config.history - 1 if self.step else 0)
            steps = first + torch.arange(config.history + config.horizon)[:, None]
            places = model.season.place(steps).float()[..., None]  # [P + H, B, 1]
        if not self.step:
            column = places if calendar.dim() == 3 else places[:, :, None].expand(-1, -1, N, -1)
            calendar = torch.cat([column, calendar], -1)
            return self._in_units(model.predict_windows(torch.cat([past, x]), calendar), ahead)
        window, *states = given
        begins = window[-1:].isnan()
        before = torch.where(window[-1:].isnan(), 0.0, window[-1:])
        filled = torch.where(x.isnan(), before, x)
        window = torch.cat([torch.where(window.isnan(), filled, window)[1:], filled])
        answer, new = model.advance(
            filled, torch.where(begins, filled, before), x.isnan(), window, calendar,
            as_state(states), long=torch.cat([past, window]), places=places,
        )  # fmt: skip
        return *self._in_units(answer, ahead), window, *new

    def _in_units(self, answer: Tensor, ahead: Tensor | None) -> tuple[Tensor, ...]:
        model, levels = self.model, self.model.config.levels
        if model.config.likelihood != "none":
            answer, levels = model.middle(answer), ()
        by_node = (-1, 1) if levels else (-1,)
        found = answer.double() * model.scale.view(by_node) + model.mean.view(by_node)
        if model.config.likelihood in COUNTS:
            found = positive(found, model.scale)
        if ahead is not None:
            found = found + (ahead[..., None] if levels else ahead)
        if model.margin is None:
            return (found,)
        wide = (model.margin * model.scale)[:, None]  # [H, 1, N]
        low, middle, high = found, found, found
        if levels:
            low, middle, high = found[..., 0], found[..., levels.index(0.5)], found[..., -1]
        return found, torch.minimum(low - wide, middle), torch.maximum(high + wide, middle)
