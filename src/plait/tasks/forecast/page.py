"""`plait serve` of a forecast run: history, forecast with its band, a baseline, and what came."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from plait.pages import Blocks, Control, Page, chart, graph, line, note
from plait.tasks.forecast.baselines import baselines
from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.model import Forecaster
from plait.tasks.forecast.scores import Errors, Forecasts
from plait.tasks.forecast.task import ForecastTask

WINDOWS = 64
"""Beginnings of forecasts in the test part that can be chosen."""

CHOSEN, OFFERED = 6, 1000
"""Nodes at most that are shown together, and that can be chosen from."""

DRAWN = 300
"""Nodes at most of a graph that is drawn."""


def page(model: Forecaster, config: ForecastConfig, facts: Mapping[str, Any]) -> Page:
    """Return the page: nodes and a place in the test part."""
    task = ForecastTask.restore(model, config, facts)
    series, splits, horizon = task.data.series, task.splits, config.horizon
    last = max(splits.test, splits.end - horizon)
    first = np.unique(np.linspace(splits.test, last, WINDOWS).astype(int))
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
            baselines(series, task.data.joined.graph, splits, first, horizon=horizon,
                      season=task.rhythm, mean=task.mean, scale=task.scale)
        )  # fmt: skip

    names = ["last value", *(["seasonal value"] if task.season else []), "historical mean",
             "autoregression",
             *(["linear, neighbours"] if task.data.joined.graph.num_edges else [])]  # fmt: skip

    def answer(nodes: list[str], place: int, baseline: str) -> Blocks:
        k = min(place, len(first)) - 1
        found, band = forecasts()
        compared = others()[baseline]
        begin = int(first[k])
        steps = np.arange(begin - config.history, begin + horizon)
        times = [] if series.times is None else [str(t) for t in _times(series.times, steps)]
        gaps = np.full(config.history, np.nan)
        for name in nodes:
            n = number[name]
            measured = series.values[begin - config.history : begin, n]
            around = None
            if band is not None:
                low, high = (np.concatenate([gaps, end[:, k, n]]) for end in band)
                around = {"name": f"band fitted to hold {config.coverage:.0%}", "low": low,
                          "high": high}  # fmt: skip
            came = np.concatenate([[measured[-1]], found.truth[:, k, n]])
            yield chart(
                f"{series.name}: {name}", steps,
                [line("history", np.concatenate([measured, np.full(horizon, np.nan)])),
                 line("what came", np.concatenate([gaps[1:], came]), "dots"),
                 line("forecast", np.concatenate([gaps, found.middle[:, k, n]])),
                 line(baseline, np.concatenate([gaps, compared[:, k, n]]), "dashes")],
                f"node {name}", x_label="time" if times else "step", y_label=series.name,
                band=around, x_names=times,
            )  # fmt: skip
        if band is None:
            yield note("This run has no band: train with --coverage 0.9 for one.", "band")
        chosen = [number[name] for name in nodes]
        errors = [Errors.of(values[:, [k]][..., chosen], found.truth[:, [k]][..., chosen])
                  for values in (found.middle, compared)]  # fmt: skip
        ours, theirs = (e.overall()["mae"] for e in errors)
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
        Control("place", "Forecast, of the test part", "number", len(first), least=1,
                most=len(first)),
        Control("baseline", "Baseline", "choice", names[-1], choices=names),
    )  # fmt: skip
    about = "Forecasts of the test part, which the model was not trained on, and what came."
    return Page(about, controls, answer)


def _ahead(values: np.ndarray, begin: int, horizon: int, end: int) -> np.ndarray:
    """Return what came from a step on, NaN after the end."""
    found = np.full((horizon, values.shape[1]), np.nan)
    part = values[begin : min(begin + horizon, end)]
    found[: len(part)] = part
    return found


def _times(times: Any, steps: np.ndarray) -> Any:
    """Return the times of steps; a step after the last has none."""
    return [times[s] if s < len(times) else "" for s in steps]
