"""Forecasts next to what came, and every node's error on the graph."""

from pathlib import Path
from typing import Any, NamedTuple

import networkx
import numpy as np
from matplotlib.collections import LineCollection

from plait.figures import COLOURS, drawable, label, name_places, picture
from plait.tasks.forecast.data import Measured
from plait.tasks.forecast.scores import Forecasts, node_errors
from plait.tasks.forecast.series import Series

SHOWN = 300
"""Steps of the test set, its last, that are drawn."""

NAMED = 40
"""Nodes up to which their ids are written next to them."""

LEARNT = 3
"""Edges into each node of a learnt graph that are drawn and listed."""

INTERVAL = 0.8
"""Of the errors that the interval of one forecast number holds."""

LAID_OUT = 2000
"""Nodes without places that are laid out for a picture, at most."""


class Band(NamedTuple):
    """The lower and upper ends of bands `[H, W, N]`, and what they are called."""

    low: np.ndarray
    high: np.ndarray
    name: str


def draw_forecasts(
    forecasts: Forecasts, series: Series, path: Path, fitted: Band | None = None
) -> None:
    """Draw what came and what was forecast for it, for the best, the median and the worst node.

    Each forecast is the one made as many steps before as the horizon has. Around it the band that
    was fitted; without one the outermost quantiles, or, where one number is forecast, the middle
    80 % of the node's own errors on the test set. The axis is named for the table and the node,
    where a unit would be. Nothing is drawn where no node has a value in the test set.
    """
    H, errors = len(forecasts.truth), node_errors(forecasts.middle, forecasts.truth)
    order = np.argsort(np.where(np.isnan(errors), -1, errors))[np.isnan(errors).sum() :]
    if not len(order):
        return
    chosen: dict[int, str] = {}
    for which, n in (("best", order[0]), ("median", order[len(order) // 2]), ("worst", order[-1])):
        chosen[n] = f"{chosen[n]} and {which}" if n in chosen else which
    if len(errors) == 1:
        chosen = {order[0]: "the only"}
    steps = forecasts.first[: len(forecasts.first) - H + 1][-SHOWN:] + H - 1
    at = slice(len(forecasts.first) - H + 1 - len(steps), len(forecasts.first) - H + 1)
    # a clock's own time, which matplotlib would turn into UTC
    x: Any = steps if series.times is None else series.times[steps].tz_localize(None)
    with picture(path, 10, 1.2 + 2.1 * len(chosen)) as figure:
        panels = figure.subplots(len(chosen), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (n, which) in zip(panels, chosen.items(), strict=True):
            middle = drawable(forecasts.middle[-1, at, n])
            truth = drawable(forecasts.truth[-1, at, n])
            if fitted is None:
                low, high, band = _interval(forecasts, n, at)
            else:
                low, high = (drawable(end[-1, at, n]) for end in fitted[:2])
                band = fitted.name
            axes.fill_between(x, low, high, color=COLOURS[1], alpha=0.2, linewidth=0, label=band)
            axes.plot(x, truth, color="0.25", linewidth=1, label="measured")
            before = f"forecast {H} step{'s' * (H > 1)} before"
            axes.plot(x, middle, color=COLOURS[1], linewidth=1, label=before)
            node = label(series.ids[n])
            axes.set_title(f"{which} node, {node}: RMSE {errors[n]:.3g} over all steps")
            axes.set_ylabel(f"{label(series.name, 14)}: {label(series.ids[n], 16)}")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        if series.times is None:
            panels[-1].set_xlabel("step")
        else:
            panels[-1].tick_params(axis="x", rotation=20)
            if series.times.tz is not None:
                panels[-1].set_xlabel(f"time, {series.times.tz}")
        figure.suptitle(f"{label(series.name)}: the last {len(steps)} steps of the test set")


def _interval(forecasts: Forecasts, n: int, at: slice) -> tuple[np.ndarray, np.ndarray, str]:
    """Return the lower and upper end around a node's last step ahead, and what they are."""
    if forecasts.levels:
        band = f"quantiles {forecasts.levels[0]:g} to {forecasts.levels[-1]:g}"
        low, high = forecasts.quantiles[-1, at, n, 0], forecasts.quantiles[-1, at, n, -1]
        return drawable(low), drawable(high), band
    off = drawable(forecasts.truth[-1, :, n]) - drawable(forecasts.values[-1, :, n])
    off = off[~np.isnan(off)]
    low, high = np.quantile(off if len(off) else 0, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
    middle = drawable(forecasts.values[-1, at, n])
    return middle + low, middle + high, f"the middle {INTERVAL:.0%} of its errors here"


def draw_nodes(forecasts: Forecasts, measured: Measured, path: Path) -> None:
    """Draw the graph, every node coloured by its root mean squared error on the test set.

    Nodes are drawn at their places where these are known, else by springs (Fruchterman & Reingold
    1991), and there is no picture of more than `LAID_OUT` nodes, whose springs would take minutes.
    """
    series, joined = measured.series, measured.joined
    errors = node_errors(forecasts.middle, forecasts.truth)
    places, edges = joined.places, joined.graph.edge_index.cpu().numpy().T
    if places is None and len(errors) > LAID_OUT:
        return
    places = _laid_out(places, edges, len(errors))
    own = np.ma.masked_invalid(series.values).std(axis=0).filled(0.0)
    spread = np.divide(errors, own, out=np.full_like(errors, np.nan), where=own > 0)
    with picture(path, 11, 5, grid=False) as figure:
        panels = figure.subplots(1, 2)
        for axes, values, measure in zip(
            panels, (drawable(errors), drawable(spread)),
            ("RMSE over all steps ahead, in the data's units", "RMSE / standard deviation"),
            strict=True,
        ):  # fmt: skip
            axes.add_collection(
                LineCollection(list(places[edges]), colors="0.6", linewidths=0.4, alpha=0.5)
            )
            dots = axes.scatter(
                *places.T, c=values, cmap="viridis", zorder=2,
                s=float(np.clip(6000 / len(values), 10, 110)),
            )  # fmt: skip
            figure.colorbar(dots, ax=axes, label=measure, shrink=0.8)
            axes.margins(0.1, 0.05)
            axes.set_axis_off()
        figure.suptitle(f"{label(series.name)}: error of every node on the test set")
        if len(errors) <= NAMED:
            for axes in panels:
                name_places(axes, series.ids, places, size=7)


def draw_backtest(table: Any, path: Path) -> None:
    """Draw the root mean squared error of each method by steps ahead and by fold.

    `table` is what `plait.tasks.forecast.backtest.backtest` returns. Methods that are more than
    three times as far off as the best are left out of the picture, and named in its title.
    """
    sums = table.groupby("method", sort=False)[["count", "squared"]].sum()
    overall = np.sqrt(sums["squared"] / sums["count"])
    methods = [m for m in overall.index if overall[m] <= 3 * overall.min()]
    left_out = [m for m in overall.index if m not in methods]
    with picture(path, 10, 4.4) as figure:
        panels = figure.subplots(1, 2)
        for axes, by, name in zip(panels, ("step", "fold"), ("steps ahead", "fold"), strict=True):
            sums = table.groupby(["method", by])[["count", "squared"]].sum()
            for k, method in enumerate(methods):
                own = sums.loc[method]
                own = own[own["count"] > 0]
                strong = method in ("combination", "network")
                axes.plot(
                    own.index, np.sqrt(own["squared"] / own["count"]), marker="o", markersize=3,
                    linewidth=2 if strong else 1, color=COLOURS[k % len(COLOURS)],
                    linestyle="-" if k < len(COLOURS) else "--", label=method,
                )  # fmt: skip
            axes.set_xlabel(name)
            axes.xaxis.get_major_locator().set_params(integer=True)
        panels[0].set_ylabel("RMSE, in the data's units")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
        more = f"; not shown: {', '.join(left_out)}" if left_out else ""
        figure.suptitle(f"rolling origins, {table['fold'].nunique()} folds{more}")


def draw_learnt(measured: Measured, index: np.ndarray, weight: np.ndarray, path: Path) -> None:
    """Draw learnt edges as arrows, `index [2, E]`, the darker the larger the weight.

    Nodes are where `draw_nodes` draws them; there is no picture where it has none.
    """
    ids, places, edges = measured.series.ids, measured.joined.places, index.T
    if places is None and len(ids) > LAID_OUT:
        return
    places = _laid_out(places, edges, len(ids))
    with picture(path, 7, 6, grid=False) as figure:
        axes = figure.subplots()
        begin, end = places[index[0]], places[index[1]]
        arrows = axes.quiver(
            *begin.T, *(end - begin).T, weight, angles="xy", scale_units="xy", scale=1,
            cmap="Blues", width=0.003, clim=(0.0, float(weight.max(initial=0.0)) or 1.0),
        )  # fmt: skip
        axes.scatter(*places.T, s=float(np.clip(6000 / len(ids), 10, 80)), color="0.4", zorder=2)
        figure.colorbar(arrows, ax=axes, label="learnt weight of an edge", shrink=0.8)
        axes.margins(0.1, 0.05)
        axes.set_axis_off()
        figure.suptitle(f"{label(measured.series.name)}: the strongest learnt edges into each node")
        if len(ids) <= NAMED:
            name_places(axes, ids, places, size=7)


def _laid_out(places: np.ndarray | None, edges: np.ndarray, nodes: int) -> np.ndarray:
    """Return places in the plane, `[N, 2]`: those given, or by springs along edges `[E, 2]`."""
    if places is None:
        net = networkx.Graph([(int(s), int(t)) for s, t in edges if s != t])
        net.add_nodes_from(range(nodes))
        layout = networkx.spring_layout(net, seed=0)
        places = np.stack([layout[n] for n in range(nodes)])
    if places.shape[1] == 1:  # along a line
        places = np.pad(places, ((0, 0), (0, 1)))
    return places[:, :2]
