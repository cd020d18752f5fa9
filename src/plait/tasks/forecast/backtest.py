"""Back-testing: forecasts from rolling origins, next to baselines fitted at the same steps."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from plait.errors import InputError
from plait.news import LOGGER
from plait.tasks.forecast.baselines import baselines
from plait.tasks.forecast.scores import Forecasts
from plait.tasks.forecast.splits import TimeSplits
from plait.tasks.forecast.task import ForecastTask
from plait.training.ablation import train_alone


def backtest(task: ForecastTask, folds: int, refit: bool = False) -> pd.DataFrame:
    """Cut the test set into folds, one after the other, and forecast each from what is before it.

    The baselines, gradient boosting among them, are fitted anew on all steps before each fold. The
    network is the run's; with `refit` it is trained anew, as the run was, on the steps before the
    fold, of which the last share is its validation set. Scales are the run's.

    Parameters
    ----------
    task : ForecastTask
        Of a trained run, with its data.
    folds : int
    refit : bool

    Returns
    -------
    DataFrame
        A row for each fold, method, node and step ahead: `fold` (1, 2, …), `begin` (its first time
        or step), `method`, `id`, `step`, `count` (values that were measured), and the sums over
        them `absolute` and `squared`, of the error in the data's units.

    Raises
    ------
    InputError
        For folds shorter than the horizon.
    """
    splits, horizon, series = task.splits, task.config.horizon, task.data.series
    if folds < 1 or (splits.end - splits.test) // folds < horizon:
        raise InputError(
            f"--backtest {folds}: the test set of {splits.end - splits.test} steps has at most "
            f"{(splits.end - splits.test) // horizon} folds of --horizon {horizon} steps; give "
            "fewer, from 1"
        )
    bounds = np.linspace(splits.test, splits.end, folds + 1).astype(int).tolist()
    tables = []
    for fold, (begin, end) in enumerate(pairwise(bounds), 1):
        LOGGER.info(f"fold {fold} of {folds}: steps {begin + 1} to {end}")
        cut = replace(splits, test=begin, end=end)
        network = _refitted(task, cut) if refit else _forecast(task, cut)
        plain = baselines(
            series, task.data.joined.graph, cut, network.first, horizon=horizon,
            season=task.rhythm, mean=task.mean, scale=task.scale, boosting=True,
        )  # fmt: skip
        start = begin + 1 if series.times is None else series.times[begin]
        ours = [("network", network.own.middle)]
        if task.model.simple is not None:
            ours.insert(0, ("combination", network.middle))
        for method, values in [*ours, *plain]:
            tables.append(_errors(values, network.truth, series.ids, (fold, start, method)))
    return pd.concat(tables, ignore_index=True)


def _forecast(task: ForecastTask, cut: TimeSplits) -> Forecasts:
    return task.forecasts(task.windows, task.data.series, cut.test, cut.end)


def _refitted(task: ForecastTask, cut: TimeSplits) -> Forecasts:
    """Train anew on what is before a fold, and forecast it."""
    share = task.config.validation
    valid = cut.history + int((cut.test - cut.history) * (1 - share))
    found: list[Forecasts] = []

    class Fold(ForecastTask):
        """The task with the series cut at the end of the fold."""

        cut_to = replace(cut, valid=valid)

        def own_scores(self) -> dict[str, Any]:
            found.append(self.tested)
            return super().own_scores()

    train_alone(Fold, task.config, task.device)
    return found[0]


def _errors(
    values: np.ndarray, truth: np.ndarray, ids: tuple[str, ...], of: tuple[int, Any, str]
) -> pd.DataFrame:
    """Sum the errors of forecasts `[H, W, N]` over the windows."""
    seen = ~np.isnan(truth)
    off = np.where(seen, np.abs(values - truth), 0.0)
    H, _, N = truth.shape
    fold, start, method = of
    return pd.DataFrame({
        "fold": fold, "begin": start, "method": method, "id": np.tile(np.array(ids, object), H),
        "step": np.arange(1, H + 1).repeat(N), "count": seen.sum(1).ravel(),
        "absolute": off.sum(1).ravel(), "squared": (off**2).sum(1).ravel(),
    })  # fmt: skip


def summary(table: Any) -> dict[str, Any]:
    """Return each method's errors over all folds, its worst fold, and where it is the best.

    Returns
    -------
    dict
        By method `…_mae`, `…_rmse`, `…_worst_fold_rmse`, and the number of folds, of steps ahead
        and of nodes at which its RMSE is the smallest: `…_folds_won`, `…_steps_won`, `…_nodes_won`.

    Example
    -------
    >>> import pandas as pd
    >>> from plait.tasks.forecast.backtest import summary
    >>> table = pd.DataFrame({"fold": 1, "method": ["network", "last value"], "id": "a", "step": 1,
    ...                       "count": 2, "absolute": [2.0, 4.0], "squared": [2.0, 10.0]})
    >>> found = summary(table)
    >>> found["network_rmse"], found["last_value_mae"], found["network_folds_won"]
    (1.0, 2.0, 1)
    """
    rmse = {by: _rmse(table, by) for by in ("fold", "step", "id")}
    total = table.groupby("method", sort=False)[["count", "absolute", "squared"]].sum()
    found: dict[str, Any] = {}
    for method, row in total.iterrows():
        label = str(method).replace(", ", "_with_").replace(" ", "_")
        found[f"{label}_mae"] = float(row["absolute"] / row["count"])
        found[f"{label}_rmse"] = float(np.sqrt(row["squared"] / row["count"]))
        found[f"{label}_worst_fold_rmse"] = float(rmse["fold"][method].max())
        for by, name in (("fold", "folds"), ("step", "steps"), ("id", "nodes")):
            best = rmse[by].dropna(how="all").idxmin(axis=1)
            found[f"{label}_{name}_won"] = int((best == method).sum())
    return found


def _rmse(table: Any, by: str) -> Any:
    """Return root mean squared errors, a row for each value of a column, a column for a method."""
    methods = list(dict.fromkeys(table["method"]))
    sums: Any = table.groupby([by, "method"], sort=False)[["count", "squared"]].sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.sqrt(sums["squared"] / sums["count"])
    return mean.unstack("method")[methods]
