"""The baselines of a forecast: forecasts without a network, from the series alone."""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csr_array

from plait.nn.graph import Graph
from plait.tasks.forecast.seasonal import Season, seasonal_means
from plait.tasks.forecast.series import Series
from plait.tasks.forecast.smoothing import smoothed
from plait.tasks.forecast.splits import TimeSplits

ROWS = 2**16
"""Windows × nodes whose equations are summed at a time."""

HOPS = 8
"""How far the linear filter over the graph reaches."""

EXAMPLES = 2**19
"""Windows × nodes that linear models are fitted to; more make no difference to so few weights."""


def baselines(
    series: Series,
    graph: Graph,
    splits: TimeSplits,
    first: np.ndarray,
    *,
    horizon: int,
    season: Season,
    mean: np.ndarray,
    scale: np.ndarray,
    boosting: bool = False,
) -> Iterator[tuple[str, np.ndarray]]:
    """Forecast without a network; what is fitted is fitted on what is before the test.

    - "last value": what was measured last.
    - "seasonal value": what was measured a season before the step that is forecast, or where that
      is still to come, two.
    - "historical mean": of the node at that place in the season (`plait.tasks.forecast.seasonal`);
      of the node where there is no season.
    - "autoregression": a constant and the node's last P values, the weights shared by the nodes,
      each step ahead fitted by itself, by least squares.
    - "seasonal AR": the same of what differs from the historical mean, which is added
      again.
    - "differenced AR": the change from the last value, by the P − 1 changes before.
    - "exponential smoothing": a level and a damped trend of what differs from the historical mean
      (`plait.tasks.forecast.smoothing`).
    - "linear, neighbours": an autoregression with the neighbours' weighted mean of the last P steps
      too; "seasonal, neighbours" likewise.
    - "linear, graph": an autoregression with `filtered` values, up to `HOPS` edges away.
    - "gradient boosting", if asked for: trees on the same and the historical mean
      (`plait.tasks.forecast.boosting`).

    Where nothing was measured, the last value that was is used.

    Parameters
    ----------
    series : Series
    graph : Graph
    splits : TimeSplits
    first : integer array `[W]`
        The steps at which the forecasts begin.
    horizon : int
    season : Season
        From the first step on; of 0 steps: none, and no seasonal value.
    mean, scale : float array `[N]`
        The linear models are fitted on (value − mean) / scale.
    boosting : bool

    Yields
    ------
    str, float array `[H, W, N]`
    """
    P, H, T = splits.history, horizon, len(series.values)
    filled = _carried(series.values, mean)
    ahead = first + np.arange(H)[:, None]  # [H, W]
    yield "last value", np.broadcast_to(filled[first - 1], (H, *filled[first].shape))
    past = series.values[: splits.test]
    if season.steps:
        S = season.steps
        back = -(-(np.arange(H)[:, None] + 1) // S) * S  # seasons back to what is past
        yield "seasonal value", filled[np.maximum(ahead - back, 0)]
        means, others = seasonal_means(past, season)
        means = means[season.place(np.arange(T + H))]
    else:
        means = others = np.broadcast_to(np.nanmean(past, axis=0), (T + H, past.shape[1]))
    yield "historical mean", means[ahead]
    x = (filled - mean) / scale
    y = (series.values - mean) / scale
    yield "autoregression", _linear(x[..., None], y, splits, first, H) * scale + mean
    left, fit, target = (
        (part - of) / scale
        for part, of in (
            (filled, means[:T]), (filled[: splits.test], others[: splits.test]),
            (past, others[: splits.test]),
        )
    )  # fmt: skip
    if season.steps:
        weights = fit_linear(fit[..., None], target, P, splits.test, H, P)
        yield "seasonal AR", means[ahead] + _apply(weights, left[..., None], first, P) * scale
    changes = np.diff(x, axis=0, prepend=x[:1])[..., None]
    weights = fit_linear(changes, y, P, splits.test, H, P - 1, x)
    found = _apply(weights, changes, first, P - 1) + x[first - 1]
    yield "differenced AR", found * scale + mean
    yield "exponential smoothing", means[ahead] + smoothed(fit, left, first, H) * scale
    around = x[..., None]
    if graph.num_edges:
        around = np.stack([x, aggregated(x, graph)], -1)
        yield "linear, neighbours", _linear(around, y, splits, first, H) * scale + mean
        weights = fit_linear(x[..., None], y, P, splits.test, H, P, over=graph)
        found = _apply(weights, x[..., None], first, P, graph)
        yield "linear, graph", found * scale + mean
        if season.steps:
            both = np.stack([fit, aggregated(fit, graph)], -1)
            weights = fit_linear(both, target, P, splits.test, H, P)
            both = np.stack([left, aggregated(left, graph)], -1)
            yield "seasonal, neighbours", means[ahead] + _apply(weights, both, first, P) * scale
    if boosting:
        from plait.tasks.forecast.boosting import boosted  # scikit-learn takes a second

        fit = splits.history, splits.test
        known = np.concatenate([others[: splits.test], means[splits.test :]])
        found = boosted(around, y, (known - mean) / scale, fit, first, H)
        yield "gradient boosting", found * scale + mean


def _carried(values: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Put the last value that was measured where none was."""
    filled = values.copy()
    filled[0] = np.where(np.isnan(filled[0]), mean, filled[0])
    for t in np.flatnonzero(np.isnan(filled).any(1)):
        filled[t] = np.where(np.isnan(filled[t]), filled[t - 1], filled[t])
    return filled


def aggregated(x: np.ndarray, graph: Graph) -> np.ndarray:
    """Return the weighted mean of each node's neighbours, itself left out, of `x [T, N]`."""
    source, target = graph.edge_index.cpu().numpy()
    weight = np.where(source == target, 0.0, graph.edge_weight.cpu().numpy())
    N = graph.num_nodes
    total = np.bincount(target, weight, N)
    weight = weight / np.where(total == 0, 1.0, total)[target]
    return csr_array((weight, (target, source)), shape=(N, N)).dot(x.T).T


def filtered(x: np.ndarray, graph: Graph) -> np.ndarray:
    """Return x and its Chebyshev polynomials T_1 … T_K of the graph, `[..., N, 1 + K]`.

    Of S with S_ij = w_ij / √(d_i d'_j), d and d' the sums of |w| into and out of a node, w_ij the
    weight of j → i and itself left out; K is `HOPS`.
    """
    source, target, weight = normalised(graph)
    S = csr_array((weight, (target, source)), shape=(graph.num_nodes, graph.num_nodes))
    terms = [x.reshape(-1, graph.num_nodes).T]  # [N, …]
    while len(terms) <= HOPS:
        shifted = S.dot(terms[-1])
        terms.append(shifted if len(terms) == 1 else 2 * shifted - terms[-2])
    return np.stack(terms, -1).transpose(1, 0, 2).reshape(*x.shape, -1)


def normalised(graph: Graph) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return source, target and value of the entries of S; see `filtered`."""
    source, target = graph.edge_index.cpu().numpy()
    weight = np.where(source == target, 0.0, graph.edge_weight.cpu().numpy())
    into, out = (np.bincount(end, np.abs(weight), graph.num_nodes) for end in (target, source))
    root = np.sqrt(into[target] * out[source])
    return source, target, weight / np.where(root == 0, 1.0, root)


def fit_linear(
    x: np.ndarray,
    y: np.ndarray,
    begin: int,
    end: int,
    H: int,
    lags: int,
    origin: np.ndarray | None = None,
    over: Graph | None = None,
) -> np.ndarray:
    """Fit each step ahead by least squares to the last `lags` steps of `x [T, N, K]`.

    To the steps of `y [T, N]` from `begin` on and before `end`; with `origin [T, N]`, to what they
    differ from its last step. Where there are more than `EXAMPLES` of steps × nodes, as many steps
    as give so many, evenly spaced. With a graph `over` the steps of x are `filtered`. Returns the
    weights `[H, 1 + lags·K]`: a constant, then K for each step, the latest first.
    """
    size, N = lags * x.shape[2] * (1 if over is None else 1 + HOPS) + 1, x.shape[1]
    gram, cross = np.zeros((H, size, size)), np.zeros((size, H))
    count = min(end - begin, max(1, EXAMPLES // N))
    for steps in _chunks(np.linspace(begin, end - 1, count).round().astype(int), N):
        rows = _rows(x, steps, lags, over).reshape(-1, size)
        ahead = steps + np.arange(H)[:, None]  # [H, W]
        targets = y[np.minimum(ahead, end - 1)]
        targets[ahead >= end] = np.nan
        if origin is not None:
            targets = targets - origin[steps - 1]
        targets = targets.reshape(H, -1)  # [H, W·N]
        missing = np.isnan(targets)
        cross += rows.T @ np.where(missing, 0.0, targets).T
        whole = rows.T @ rows
        for h, out in enumerate(missing):
            if out.mean() > 0.5:
                gram[h] += rows[~out].T @ rows[~out]
            else:
                gram[h] += whole - rows[out].T @ rows[out]
    return np.stack(
        [np.linalg.lstsq(g, c, rcond=None)[0] for g, c in zip(gram, cross.T, strict=True)]
    )


def _linear(
    x: np.ndarray, y: np.ndarray, splits: TimeSplits, first: np.ndarray, H: int
) -> np.ndarray:
    """Fit to what is before the test, and forecast `[H, W, N]`."""
    P = splits.history
    return _apply(fit_linear(x, y, P, splits.test, H, P), x, first, P)


def _apply(
    weights: np.ndarray, x: np.ndarray, first: np.ndarray, lags: int, over: Graph | None = None
) -> np.ndarray:
    """Forecast with the weights of `fit_linear`, `[H, W, N]`."""
    parts = [_rows(x, part, lags, over) @ weights.T for part in _chunks(first, x.shape[1])]
    return np.concatenate(parts).transpose(2, 0, 1)


def _chunks(steps: np.ndarray, nodes: int) -> list[np.ndarray]:
    """Cut steps into parts of at most `ROWS` steps × nodes."""
    size = max(1, ROWS // nodes)
    return np.split(steps, range(size, len(steps), size))


def _rows(x: np.ndarray, first: np.ndarray, lags: int, over: Graph | None = None) -> np.ndarray:
    """Return a constant and the steps before each, `[W, N, 1 + lags·K]`."""
    windows = x[first[:, None] - np.arange(1, lags + 1)]  # [W, lags, N, K]
    if over is not None:
        windows = filtered(windows[..., 0], over)
    size = lags * windows.shape[3]
    flat = windows.transpose(0, 2, 1, 3).reshape(len(first), x.shape[1], size)
    return np.concatenate([np.ones((*flat.shape[:2], 1)), flat], -1)
