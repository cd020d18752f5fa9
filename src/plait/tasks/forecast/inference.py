"""A trained forecaster on other data: a table of what comes, scores, and what to try it on."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from plait.errors import InputError
from plait.news import remark
from plait.tasks.forecast.backtest import backtest as backtest_folds
from plait.tasks.forecast.backtest import summary
from plait.tasks.forecast.bands import bands
from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.data import NAMED, own_series, read_data
from plait.tasks.forecast.figure import draw_backtest
from plait.tasks.forecast.inputs import carried_forward
from plait.tasks.forecast.model import Forecaster
from plait.tasks.forecast.scores import METRICS, Forecasts
from plait.tasks.forecast.series import Series, following, listed, same_ids
from plait.tasks.forecast.task import ForecastTask
from plait.tasks.forecast.windows import windows_of
from plait.training.files import write_aside

PROBED = 32
"""Windows on which `plait inspect` tries a network."""


@torch.no_grad()
def predict_forecast(
    model: Forecaster,
    config: ForecastConfig,
    facts: Mapping[str, Any],
    data: str | None = None,
    *,
    encoding: str | None = None,
) -> pd.DataFrame:
    """Forecast what comes after a series.

    Parameters
    ----------
    model : Forecaster
    config, facts
        Of its run folder.
    data : str
        A table as the one trained on, with the same nodes in any order, of which the last
        `history` steps are its input. None: the series that the run was trained on.
    encoding : str
        Of `data`. None: that of the run's own table.

    Returns
    -------
    DataFrame
        A row for each step ahead and node: `time` (without times `step`, 1 the first after the
        data), `id`, `forecast` (with quantiles the median, with a likelihood the mean, and a column
        for each quantile, such as `q0.1`),
        with --coverage the ends of the band, `low` and `high`,
        and `missing`: how many of the node's values in the input were missing, so that the
        last one before was used.

    Raises
    ------
    InputError
        For a table that cannot be read, has too few steps, steps of another length, or other
        nodes.
    """
    series = recent_series(model, config, facts, data, encoding)
    P, H = config.history, config.horizon
    season = 0 if model.season is None else model.season.steps
    steps = min(len(series.values), max(P, season))  # a season before the steps that are forecast
    recent = series.rows(slice(len(series.values) - steps, None))
    to_come: Any = range(1, H + 1)
    if recent.times is not None:
        assert model.frequency is not None
        to_come = following(recent.times, model.frequency, H)
    require_known(recent, config)
    covariates = None if model.covariates is None else model.covariates.cpu().numpy()
    profile = model.profile
    windows = windows_of(
        config, recent if profile is None else profile.removed(recent),
        model.mean.cpu().numpy(), model.scale.cpu().numpy(), model.output.weight.device,
        model.frequency, covariates, model.season,
    )  # fmt: skip
    window = windows.at(torch.tensor([steps]), steps)
    answer = model.unscaled(model.predict_windows(window.x, window.calendar))  # [H, 1, N, (Q)]
    if profile is not None:
        answer += profile.ahead_of(recent, np.array([steps]), answer)
    answer = answer[:, 0]
    columns: dict[str, Any] = {
        "step" if recent.times is None else "time": pd.Index(to_come).repeat(len(model.ids)),
        "id": np.tile(np.array(model.ids, dtype=object), H),
    }
    levels = config.levels
    found = Forecasts(np.array([steps]), answer, np.empty(0), levels)
    columns["forecast"] = found.middle.reshape(-1)
    quantiles = found.quantiles
    columns |= {f"q{level:g}": quantiles[..., k].reshape(-1) for k, level in enumerate(levels)}
    if model.margin is not None:
        margin = (model.margin * model.scale).cpu().numpy()
        low, high = bands(quantiles, levels, margin)
        columns |= {"low": low.reshape(-1), "high": high.reshape(-1)}
    columns["missing"] = np.tile(np.isnan(recent.values[-P:]).sum(0), H)
    return pd.DataFrame(columns)


def require_known(series: Series, config: ForecastConfig) -> None:
    """Refuse a series whose covariates that are known ahead do not go on over the horizon."""
    if not config.known_names or series.covariates is None:
        return
    ahead = series.covariates[len(series.values) :][: config.horizon]
    for k, name in enumerate(
        config.known_names, len(config.covariate_names) - len(config.known_names)
    ):
        rows = int(np.cumprod(~np.isnan(ahead[..., k]).any(1)).sum())
        if rows < config.horizon:
            raise InputError(
                f"{series.source}: {name!r} is known for {rows} steps after the last value, and "
                f"{config.horizon} are forecast; add rows with {name!r} and empty values"
            )


def recent_series(
    model: Forecaster,
    config: ForecastConfig,
    facts: Mapping[str, Any],
    data: str | None,
    encoding: str | None,
) -> Series:
    """Read the series to continue, its columns in the order of the model's nodes."""
    if data is None or data in NAMED:
        series = read_data(replace(config, data=data or config.data)).series
    elif Path(data).exists():
        series = own_series(config, Path(data), model.frequency, encoding or "")
    else:
        raise InputError(f"no series {data!r}: there is no such file")
    remark("read", series.notes)
    missing, more = same_ids(model.ids, series.ids)
    if missing or more:
        what = "has no column" if missing else "has the unknown columns"
        raise InputError(
            f"{series.source} {what} {listed(missing or more)}; the table must have the "
            f"{len(model.ids)} nodes that the run was trained on, and no other"
        )
    if len(series.values) < config.history:
        raise InputError(
            f"{series.source} has {len(series.values)} steps; the model takes {config.history} "
            "before it forecasts"
        )
    if (series.times is None) != (model.frequency is None):
        has, had, fix = ("no times", "with", "add the column of times")
        if series.times is not None:
            has, had, fix = ("times", "without", "leave their column out")
        raise InputError(f"{series.source} has {has}, and the run was trained {had} them; {fix}")
    place = {name: k for k, name in enumerate(series.ids)}
    order = [place[name] for name in model.ids]
    return series.by_clock(facts).of_nodes(order, model.ids)


def score_forecast(
    model: Forecaster,
    config: ForecastConfig,
    facts: Mapping[str, Any],
    data: str | None = None,
    *,
    encoding: str | None = None,
    backtest: int = 0,
    refit: bool = False,
    table: str | None = None,
) -> dict[str, Any]:
    """Score a model for `plait score`, and what forecasts without a model.

    Parameters
    ----------
    model : Forecaster
    config, facts
        Of its run folder.
    data : str
        A table with the same nodes, of which everything after the first `history` steps is
        forecast. Baselines are fitted on the run's own training data, and none knows the season.
        None: the run's own test set.
    encoding : str
        Of `data`. None: that of the run's own table.
    backtest : int
        Folds of the test set, each forecast with baselines fitted on all before it
        (`plait.tasks.forecast.backtest`); 0: none.
    refit : bool
        Whether a back-test also trains the network anew for each fold.
    table : str
        A new file for the errors of every fold, method, node and step ahead, as CSV; next to it a
        picture of the same name, `.png`.

    Returns
    -------
    dict
        The network's errors over all steps and at some, and each baseline's over all.

    Raises
    ------
    InputError
        For data that cannot be read or is too short, or training data that is gone or has changed.
    """
    if not backtest and (refit or table):
        raise InputError("--refit and --table belong to --backtest FOLDS; give that too")
    if backtest and data is not None:
        raise InputError("--backtest is of the run's own test set; leave --data out")
    task = ForecastTask.restore(model, config, facts)
    if backtest:
        return _backtest(task, backtest, refit, table)
    other = None if data is None else recent_series(model, config, facts, data, encoding)
    scores = dict(task.test() if other is None else task.score_other(other))
    records = scores.pop("table")
    ours = records.pop("combination" if "combination" in records else "network")
    for metric in METRICS:
        values = {h: ours[f"{metric}_at"][h - 1] for h in config.shown}
        scores |= {f"{metric}_at_{h}": v for h, v in values.items() if v is not None}
    for name, record in records.items():
        label = name.replace(", ", "_with_").replace(" ", "_")
        scores |= {f"{label}_{m}": record[f"{m}_to"][-1] for m in ("mae", "rmse")}
    return scores


def _backtest(task: ForecastTask, folds: int, refit: bool, table: str | None) -> dict[str, Any]:
    """Test from rolling origins, and write the table."""
    path = None if table is None else Path(table)
    drawn = None if path is None else path.with_suffix(".png")
    if path is not None and path.exists():
        raise InputError(f"--table {table} exists already; name a new file")
    if path is not None and not path.parent.is_dir():
        raise InputError(f"--table {table}: {path.parent} is no folder; name one that is")
    if drawn is not None and (drawn.exists() or drawn == path):
        raise InputError(f"--table {table}: its picture {drawn} exists; name a new CSV file")
    found: Any = backtest_folds(task, folds, refit)
    if path is not None and drawn is not None:
        found["mae"] = found["absolute"] / found["count"].where(found["count"] > 0)
        found["rmse"] = (found["squared"] / found["count"].where(found["count"] > 0)) ** 0.5
        text = found.drop(columns=["absolute", "squared"]).to_csv(index=False)
        write_aside(path, text.encode())
        draw_backtest(found, drawn)
    return summary(found)


def probe(
    model: Forecaster, config: ForecastConfig, facts: Mapping[str, Any]
) -> tuple[Tensor, ...]:
    """Return windows of the validation set, their calendar, and what came, for `plait inspect`."""
    task = ForecastTask.restore(model, config, facts)
    first = torch.arange(task.splits.valid, task.splits.test - config.horizon + 1)[:PROBED]
    x, y, calendar, _ = task.windows.at(first, task.splits.test)
    y = carried_forward(torch.cat([x, y]))[len(x) :]  # a loss needs a number everywhere
    several = bool(config.levels)
    return x, calendar, y[..., None].expand(*y.shape, config.outputs) if several else y
