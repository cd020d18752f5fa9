"""`plait serve` of a forecast run: history, forecast with its band, a baseline, and true values."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from plait.errors import InputError
from plait.pages import Blocks, Control, Page, chart, graph, line, note
from plait.tasks.forecast.baselines import baselines
from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.inference import require_known
from plait.tasks.forecast.model import Forecaster
from plait.tasks.forecast.scores import Errors, Forecasts
from plait.tasks.forecast.series import Series
from plait.tasks.forecast.steps import following
from plait.tasks.forecast.task import ForecastTask
from plait.times import time_text

WINDOWS = 64
"""Starts of forecasts in the test set that can be chosen."""

CHOSEN, OFFERED = 6, 1000
"""Nodes at most that are shown together, and that can be chosen from."""

DRAWN = 300
"""Nodes at most of a graph that is drawn."""


def page(model: Forecaster, config: ForecastConfig, facts: Mapping[str, Any]) -> Page:
    """Return the page: nodes, and the time at which their forecasts start."""
    task = ForecastTask.restore(model, config, facts)
    series, splits, horizon = task.data.series, task.splits, config.horizon
    last = max(splits.test, splits.end - horizon)
    first = np.unique(np.linspace(splits.test, last, WINDOWS).astype(int))
    times = times_of(series, horizon)
    starts = [f"step {k:,}" if times is None else times[k] for k in first]
    newest = len(starts)
    try:
        require_known(series, config)
    except InputError:
        pass  # covariates of the steps to come are not in the table
    else:
        first = np.append(first, splits.end)
        starts.append("after the last value" if times is None else f"{times[splits.end]}, to come")
    ids = series.ids[:OFFERED]
    number = {name: k for k, name in enumerate(series.ids)}

    @cache
    def forecasts() -> tuple[Forecasts, Any]:
        parts = [task.forecasts(task.windows, series, k, k + 1) for k in first]
        joined = Forecasts(
            first,
            np.concatenate([part.values for part in parts], 1),
            np.stack([_ahead(series.values, k, horizon, splits.end) for k in first], 1),
            config.levels,
        )
        return joined, task._bands(joined)

    @cache
    def others() -> Mapping[str, np.ndarray]:
        return dict(
            baselines(longer(series, horizon), task.data.joined.graph, splits, first,
                      horizon=horizon, season=task.rhythm, mean=task.mean, scale=task.scale)
        )  # fmt: skip

    seasonal, edges = bool(task.season), bool(task.data.joined.graph.num_edges)
    names = ["last value", *["seasonal value"] * seasonal, "historical mean", "autoregression",
             *["seasonal AR"] * seasonal, "differenced AR", "exponential smoothing",
             *["linear, neighbours", "linear, graph"] * edges,
             *["seasonal, neighbours"] * (seasonal and edges)]  # fmt: skip
    best = task.base if task.base in names else names[-1]

    def answer(nodes: list[str], place: int, baseline: str) -> Blocks:
        k = place - 1
        found, band = forecasts()
        compared = others()[baseline]
        begin = int(first[k])
        steps = np.arange(begin - config.history, begin + horizon)
        shown = [] if times is None else [times[step] for step in steps]
        gaps = np.full(config.history, np.nan)
        for name in nodes:
            n = number[name]
            measured = series.values[begin - config.history : begin, n]
            around = None
            if band is not None:
                low, high = (np.concatenate([gaps, end[:, k, n]]) for end in band)
                around = {"name": f"band fitted to hold {config.coverage:.0%}", "low": low,
                          "high": high}  # fmt: skip
            lines = [line("history", np.concatenate([measured, np.full(horizon, np.nan)]))]
            if begin < splits.end:
                true = np.concatenate([[measured[-1]], found.truth[:, k, n]])
                lines.append(line("true values", np.concatenate([gaps[1:], true]), "dots"))
            lines += [
                line("forecast", np.concatenate([gaps, found.middle[:, k, n]])),
                line(baseline, np.concatenate([gaps, compared[:, k, n]]), "dashes"),
            ]
            yield chart(
                f"{series.name}: {name}", steps, lines, f"node {name}",
                x_label="time" if shown else "step", y_label=series.name,
                band=around, x_names=shown,
            )  # fmt: skip
        if band is None:
            yield note("This run has no band: train with --coverage 0.9 for one.", "band")
        chosen = [number[name] for name in nodes]
        truth = found.truth[:, [k]][..., chosen]
        if np.isfinite(truth).any():
            ours, theirs = (Errors.of(values[:, [k]][..., chosen], truth).overall()["mae"]
                            for values in (found.middle, compared))  # fmt: skip
            yield note(
                f"Mean absolute error of this forecast at these nodes: {ours:.4g}; "
                f"{baseline}: {theirs:.4g}.", "error",
            )  # fmt: skip
        graph_, places = task.data.joined.graph, task.data.joined.places
        if len(series.ids) <= DRAWN and (graph_.num_edges or places is not None):
            yield graph(
                "The graph, on a map" if places is not None else "The graph", series.ids,
                graph_.edge_index.T.tolist(), "graph", marked=chosen, places=places,
                groups=[0 if n in chosen else -1 for n in range(len(series.ids))],
                group_names=["chosen"],
            )  # fmt: skip

    controls = (
        Control("nodes", "Nodes", "several", list(ids[:2]), choices=ids, most=CHOSEN),
        Control("place", "Forecast from", "number", newest, least=1, most=len(first),
                choices=starts),
        Control("baseline", "Baseline", "choice", best, choices=names),
    )  # fmt: skip
    about = (
        f"Forecasts over {horizon} steps, in the test set of the data, which the model was not "
        "trained on, with the true values"
        + (", and after the end of the data." if len(first) > newest else ".")
    )
    return Page(about, controls, answer)


def _ahead(values: np.ndarray, begin: int, horizon: int, end: int) -> np.ndarray:
    """Return the values from a step on, NaN after the end."""
    found = np.full((horizon, values.shape[1]), np.nan)
    part = values[begin : min(begin + horizon, end)]
    found[: len(part)] = part
    return found


def longer(series: Series, horizon: int) -> Series:
    """Return a series with so many more steps, without values."""
    ahead = np.full((horizon, len(series.ids)), np.nan)
    return Series(series.name, series.source, series.ids, np.concatenate([series.values, ahead]))


def times_of(series: Series, horizon: int) -> list[str] | None:
    """Return the times of all steps and of so many after them as texts; None without times."""
    if series.times is None:
        return None
    assert series.frequency is not None
    ahead = following(series.times, series.frequency, horizon)
    return [time_text(time) for time in [*series.times, *ahead]]
