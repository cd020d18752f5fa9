"""Forecasts beside what came, and every node's error on the graph."""

from pathlib import Path
from typing import Any

import networkx
import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from plait.figures import COLOURS, STYLE, save_figure
from plait.tasks.forecast.data import Measured
from plait.tasks.forecast.scores import Forecasts, node_errors
from plait.tasks.forecast.series import Series

SHOWN = 300
"""Steps of the test part, its last, that are drawn."""

INTERVAL = 0.8
"""Of the errors that the interval of one forecast number holds."""

LAID_OUT = 2000
"""Nodes without places that are laid out for a picture, at most."""


def draw_forecasts(forecasts: Forecasts, series: Series, path: Path) -> None:
    """Draw what came and what was forecast for it, for the best, the median and the worst node.

    Each forecast is the one made as many steps before as the horizon has. Around it the outermost
    quantiles; where one number is forecast, the node's own errors on the test part, their middle
    80 %.
    """
    H, errors = len(forecasts.truth), node_errors(forecasts.middle, forecasts.truth)
    order = np.argsort(np.where(np.isnan(errors), -1, errors))[np.isnan(errors).sum() :]
    chosen = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    steps = forecasts.first[: len(forecasts.first) - H + 1][-SHOWN:] + H - 1
    at = slice(len(forecasts.first) - H + 1 - len(steps), len(forecasts.first) - H + 1)
    x: Any = steps if series.times is None else series.times[steps]
    with rc_context(STYLE):
        figure = Figure(figsize=(10, 7.5))
        FigureCanvasAgg(figure)
        for axes, (which, n) in zip(
            figure.subplots(3, 1, sharex=True), chosen.items(), strict=True
        ):
            middle, truth = forecasts.middle[-1, at, n], forecasts.truth[-1, at, n]
            low, high, band = _interval(forecasts, n, at)
            axes.fill_between(x, low, high, color=COLOURS[1], alpha=0.2, linewidth=0, label=band)
            axes.plot(x, truth, color="0.25", linewidth=1, label="measured")
            label = f"forecast {H} step{'s' * (H > 1)} before"
            axes.plot(x, middle, color=COLOURS[1], linewidth=1, label=label)
            axes.set_title(f"{which} node, {series.ids[n]}: RMSE {errors[n]:.3g} over all steps")
            axes.set_ylabel("value")
        figure.legend(
            *figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3
        )
        if series.times is None:
            axes.set_xlabel("step")
        else:
            axes.tick_params(axis="x", rotation=20)
        figure.suptitle(f"{series.name}: the last {len(steps)} steps of the test part")
        save_figure(figure, path)


def _interval(forecasts: Forecasts, n: int, at: slice) -> tuple[np.ndarray, np.ndarray, str]:
    """Give the lower and upper end around a node's last step ahead, and what they are."""
    if forecasts.levels:
        band = f"quantiles {forecasts.levels[0]:g} to {forecasts.levels[-1]:g}"
        return forecasts.values[-1, at, n, 0], forecasts.values[-1, at, n, -1], band
    off = forecasts.truth[-1, :, n] - forecasts.values[-1, :, n]
    low, high = np.nanquantile(off, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
    middle = forecasts.values[-1, at, n]
    return middle + low, middle + high, f"the middle {INTERVAL:.0%} of its errors here"


def draw_nodes(forecasts: Forecasts, measured: Measured, path: Path) -> None:
    """Draw the graph, every node coloured by its root mean squared error on the test part.

    Nodes stand at their places where these are known, else by springs (Fruchterman & Reingold
    1991), and there is no picture of more than `LAID_OUT` nodes, whose springs would take minutes.
    """
    series, joined = measured.series, measured.joined
    errors = node_errors(forecasts.middle, forecasts.truth)
    places, edges = joined.places, joined.graph.edge_index.cpu().numpy().T
    if places is None and len(errors) > LAID_OUT:
        return
    if places is None:
        net = networkx.Graph([(int(s), int(t)) for s, t in edges if s != t])
        net.add_nodes_from(range(len(series.ids)))
        layout = networkx.spring_layout(net, seed=0)
        places = np.stack([layout[n] for n in range(len(series.ids))])
    own = np.nanstd(series.values, axis=0)
    spread = np.divide(errors, own, out=np.full_like(errors, np.nan), where=own > 0)
    with rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(11, 5))
        FigureCanvasAgg(figure)
        for axes, values, label in zip(
            figure.subplots(1, 2), (errors, spread),
            ("RMSE over all steps ahead, in the data's units", "the same in the node's own spread"),
            strict=True,
        ):  # fmt: skip
            axes.add_collection(
                LineCollection(list(places[edges]), colors="0.6", linewidths=0.4, alpha=0.5)
            )
            dots = axes.scatter(
                *places.T, c=values, cmap="viridis", zorder=2,
                s=float(np.clip(6000 / len(values), 10, 110)),
            )  # fmt: skip
            figure.colorbar(dots, ax=axes, label=label, shrink=0.8)
            axes.set_axis_off()
            if len(values) <= 30:
                for n, (a, b) in enumerate(places):
                    axes.annotate(
                        series.ids[n], (a, b), xytext=(4, 4), textcoords="offset points", fontsize=7
                    )
        figure.suptitle(f"{series.name}: error of every node on the test part")
        save_figure(figure, path)
