"""The forecast task: its data, batches, loss and scores."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from plait.errors import InputError
from plait.figures import Curve
from plait.tasks.forecast.bands import bands, ends, margins, outside
from plait.tasks.forecast.baselines import baselines
from plait.tasks.forecast.combination import fit_weights
from plait.tasks.forecast.data import read_data
from plait.tasks.forecast.figure import LEARNT, Band, draw_forecasts, draw_learnt, draw_nodes
from plait.tasks.forecast.likelihood import COUNTS, require_counts
from plait.tasks.forecast.loss import losses, sampling
from plait.tasks.forecast.model import Forecaster
from plait.tasks.forecast.profile import Profile
from plait.tasks.forecast.report import in_words, summary_of
from plait.tasks.forecast.rolling import (
    answers,
    best_simple,
    combined,
    error_products,
    mean_loss,
)
from plait.tasks.forecast.scores import Errors, Forecasts, band_scores, quantile_scores
from plait.tasks.forecast.seasonal import Season, fitted_season
from plait.tasks.forecast.series import Series, season_of
from plait.tasks.forecast.simple import Simple
from plait.tasks.forecast.splits import TimeSplits
from plait.tasks.forecast.windows import (
    Window,
    Windows,
    covariate_scaling,
    scaling,
    truth_of,
    windows_of,
)
from plait.times import clock_of
from plait.training.streams import random_generator
from plait.training.task import Carry, Task

LATER = (
    "seasonal AR", "differenced AR", "linear, graph", "seasonal, neighbours",
    "exponential smoothing",
)  # fmt: skip
"""Baselines that version 0.1.0 did not have."""


class ForecastTask(Task):
    """Forecast every node's next steps; weights are chosen on validation, the test is the end."""

    name: ClassVar[str] = "forecast"
    model_class: ClassVar[type[Forecaster]] = Forecaster
    unit: str = "windows"
    splits_batches = True
    cut_to: ClassVar[TimeSplits | None] = None  # of a fold of a back-test, which ends there

    def read_data(self, known: Mapping[str, Any]) -> None:
        """Read the series and its graph, and split the steps."""
        config = self.config
        measured = read_data(config)
        if known and "clock" not in known:  # a run of version 0.1.0
            measured = replace(measured, series=measured.series.by_clock(known))
        if self.cut_to is not None:
            measured = measured.cut(self.cut_to)
        self.data, series = measured, measured.series
        self.sized = config.hidden_size == 0
        values = int((~np.isnan(measured.training)).sum())
        config = config.with_graph(measured.joined.graph.num_edges)
        self.config = config = config.with_size(values, known.get("hidden_size", 0))
        self.source, self.splits = series.source, measured.splits
        self.sha256 = series.sha256
        if config.data == "waves":  # its last digits depend on the processor that generates it
            self.sha256 = known.get("sha256", self.sha256)
        self.season = config.season or season_of(series.times)
        if config.likelihood in COUNTS:
            require_counts(series, config.likelihood)
        season = Season.of(series, self.season, self.splits.valid)
        self.rhythm = Season(self.season, "")  # as version 0.1.0 knew it
        self.profile = None
        if config.seasonal:
            self.profile = Profile.of(series, self.splits.valid, self.season)
            series = self.profile.removed(series)
        self.mean, self.scale = scaling(series.values[: self.splits.valid], config.scale, series)
        self.covariates = covariate_scaling(series, config.covariate_names, self.splits.valid)
        self.simple, self.base = None, ""
        if not known or "simple" in known:
            if season.steps:
                training = (series.values[: self.splits.valid] - self.mean) / self.scale
                season = self.rhythm = fitted_season(training, season)
            self.simple = self._fitted(series, season, self.splits.test)
            self.early = self._fitted(series, season, self.splits.valid)
        self.windows = windows_of(
            config, series, self.mean, self.scale, self.device, covariates=self.covariates,
            season=season if self.simple else None,
        )  # fmt: skip
        if self.simple is not None:
            first, graph = np.arange(self.splits.valid, self.splits.test), measured.joined.graph
            self.base = best_simple(self.early, self.windows, graph, first, self.splits.test)
            if self.early.others is not None:
                self.windows.means = torch.from_numpy(self.early.others).float().to(self.device)
        self.units_per_step = config.batch_size * self.ranks.count

    def _fitted(self, series: Series, season: Season, end: int) -> Simple:
        """Fit simple forecasts to the steps before `end`."""
        config, graph = self.config, self.data.joined.graph
        edges = config.reads_graph and graph.num_edges > 0
        simple = Simple(len(series.ids), config.history, config.horizon, season, edges)
        return simple.fit((series.values[:end] - self.mean) / self.scale, graph)

    def make_model(self) -> Forecaster:
        """Make the model and try it once, which refuses a graph that the operator cannot use."""
        model = super().make_model()
        model.place(
            self.data.joined.graph, self.mean, self.scale, self.data.static, self.covariates,
            self.profile, None if self.simple is None else (self.simple, self.early),
        )  # fmt: skip
        model.to(self.device)
        first = torch.tensor([self.config.history])
        window = self.windows.at(first, self.config.history + 1)
        with torch.no_grad():
            model(window.x, window.calendar)
        return model

    def facts(self) -> Mapping[str, Any]:
        """Return nodes and sizes, and what identifies the data."""
        series, graph = self.data.series, self.data.joined.graph
        return {
            "ids": list(series.ids),
            "edges": graph.num_edges,
            **({"hidden_size": self.config.hidden_size} if self.sized else {}),
            "gaps": bool(np.isnan(series.values).any()),
            "frequency": series.frequency,
            "clock": None if series.times is None else clock_of(series.times),
            "sha256": self.sha256,
            **({} if self.profile is None else self.profile.facts()),
            **({} if self.simple is None else {"simple": self.simple.facts(self.base)}),
            **({} if self.data.static is None else {"static": self.data.static.shape[1]}),
        }

    def load_pretrained(self, model: Forecaster) -> None:
        """Take over the weights of a model trained before, on another graph perhaps."""
        own, other = dict(self.model.named_parameters()), dict(model.named_parameters())
        config = self.config
        learnt = config.node_embedding or config.operator == "adaptive"
        if learnt and model.ids != self.model.ids:
            raise InputError(
                "--from: that run has learnt embeddings of other nodes; leave --from out, or start "
                "from a run with --node-embedding 0 and an operator other than adaptive"
            )
        if self.data.static is not None and (
            model.static is None or model.static.shape[1] != self.data.static.shape[1]
        ):
            raise InputError(
                "--from: that run was trained with other columns of --nodes; leave --from out, or "
                "give the same columns"
            )
        if any(own[name].shape != other[name].shape for name in own):
            raise InputError(
                "--from: that run's network has other inputs; missing values, a season or a graph "
                "are there in only one of the two series; leave --from out"
            )
        with torch.no_grad():
            for name, p in own.items():
                p.copy_(other[name])

    def summary(self) -> dict[str, str]:
        """Return what a user wants to know before training starts."""
        return summary_of(self)

    def batch(self, step: int) -> tuple[Window, float]:
        """Draw windows of the training set; with them how often the decoder is fed the truth."""
        splits, config = self.splits, self.config
        generator = random_generator(config.seed, step)
        first = generator.integers(splits.history, splits.valid, self.units_per_step)
        first = first[self.ranks.part(len(first))]
        window = self.windows.at(torch.from_numpy(first), splits.valid)
        return window, sampling(step, config.sampling) if config.decoder == "recurrent" else 0.0

    def loss(
        self, model: Forecaster, batch: tuple[Window, float], carry: Carry
    ) -> tuple[Tensor, Mapping[str, Tensor], Carry]:
        """Return the mean loss over what was measured."""
        (x, y, calendar, means), teach = batch
        answer = model(x, calendar, y, teach, means)
        error = losses(answer, y, self.config, self.model.mean, self.model.scale)
        return error.sum() / (~y.isnan()).sum().clamp(min=1), {}, ()

    def terms(self, batch: tuple[Window, float]) -> Tensor:
        """Return how many values were measured."""
        return (~batch[0][1].isnan()).sum()

    def validate(self) -> Mapping[str, float]:
        """Return loss and errors over the validation set, and fit to it.

        What is fitted are the weights of the combination, and the bands. So that neither the
        scores nor the bands are of forecasts whose weights have seen them, the forecasts of each
        half of the part are combined with weights that are fitted to the other half; the weights
        that are kept are fitted to both.
        """
        splits, model = self.splits, self.model
        first = np.arange(splits.valid, splits.test)
        answer = answers(model, self.windows, first, splits.test, early=True)
        network = values = self._in_units(answer, self.data.series, first)
        if model.simple is not None:
            half = len(first) // 2
            halves = [slice(0, half), slice(half, None)] if half else [slice(None)]
            products = [
                error_products(model, self.windows, answer[:, part], first[part], splits.test)
                for part in halves
            ]
            model.weights.copy_(self._weights(np.sum(products, 0), len(first)))
            parts = []
            for part, other in zip(halves, products[::-1], strict=True):
                weights = self._weights(other, max(half, 1))
                own = answer[:, part], first[part]
                parts.append(combined(model, self.windows, *own, weights, early=True))
            values = self._in_units(torch.cat(parts, 1), self.data.series, first)
        truth = truth_of(self.data.series.values, first, self.config.horizon, splits.test)
        loss = mean_loss(model, self.windows, answer, first, splits.test)
        found = Forecasts(first, values, truth, self.config.levels, network, loss)
        if model.margin is not None:
            low, _, high = ends(found.quantiles, found.levels)
            scores = outside(found.truth, low, high) / self.scale
            model.margin.copy_(torch.from_numpy(margins(scores, self.config.coverage)))
        return self._scores(found)[0]

    def _weights(self, products: np.ndarray, steps: int) -> Tensor:
        return torch.from_numpy(fit_weights(products, steps)).to(self.device)

    def own_scores(self) -> dict[str, Any]:
        """Return loss and errors over the test set."""
        return self._scores(self.tested)[0]

    def test(self) -> dict[str, Any]:
        """Return loss and errors over the test set, and those of what forecasts without a model.

        `table` holds the errors step by step, of the model and of each baseline.
        """
        found = self.tested
        return self.ranks.first(lambda: self._compare_all(found))

    def _compare_all(self, found: Forecasts) -> dict[str, Any]:
        scores = self._compare(found, self.data.series, self.splits, found.first, self.rhythm)
        if self.data.waves is not None:
            best = Errors.of(self._best_possible(found.first), found.truth)
            scores["table"]["best possible"] = best.record()
            scores["best_rmse"] = best.overall()["rmse"]
        return scores

    @cached_property
    def tested(self) -> Forecasts:
        """Forecasts of the test set, with the weights that the model has when first asked for."""
        splits = self.splits
        return self.forecasts(self.windows, self.data.series, splits.test, splits.end)

    def score_other(self, other: Series) -> dict[str, Any]:
        """Score all of another series of the same nodes, after the first `history` steps."""
        begin, steps = self.splits.test, len(other.values)
        plain = other if self.profile is None else self.profile.removed(other)
        windows = windows_of(
            self.config, plain, self.mean, self.scale, self.device, self.data.series.frequency,
            self.covariates, self.model.season,
        )  # fmt: skip
        if steps < self.config.history + self.config.horizon:
            raise InputError(
                f"{other.source} has {steps} steps; --history {self.config.history} and --horizon "
                f"{self.config.horizon} take more"
            )
        if np.isnan(other.values[self.config.history :]).all():
            raise InputError(
                f"{other.source} has no value after the first {self.config.history} steps, which "
                "are input; give a part with values to score"
            )
        forecasts = self.forecasts(windows, other, self.config.history, steps)
        # what is fitted is fitted on the run's own past, as if the other series came after it
        values = np.concatenate([self.data.series.values[:begin], other.values])
        joined = Series(other.name, other.source, other.ids, values)
        splits = replace(self.splits, end=len(values))
        return self._compare(forecasts, joined, splits, forecasts.first + begin, Season(0, ""))

    def _compare(
        self,
        forecasts: Forecasts,
        series: Series,
        splits: TimeSplits,
        first: np.ndarray,
        season: Season,
    ) -> dict[str, Any]:
        """Score forecasts, and the baselines' that begin at `first` in the series."""
        scores, errors = self._scores(forecasts)
        scores |= self._band_scores(forecasts)
        plain = {
            name: Errors.of(values, forecasts.truth)
            for name, values in baselines(
                series, self.data.joined.graph, splits, first, horizon=self.config.horizon,
                season=season, mean=self.mean, scale=self.scale,
            )
        }  # fmt: skip
        if self.model.simple is None:  # a run of version 0.1.0 keeps the baselines it was scored by
            plain = {name: e for name, e in plain.items() if name not in LATER}
        for metric in ("mae", "rmse"):
            scores[f"baseline_{metric}"] = min(e.overall()[metric] for e in plain.values())
        if zeros := int((forecasts.truth[0] == 0).sum()):
            scores["zeros"] = zeros
        network = {"network": Errors.of(forecasts.own.middle, forecasts.truth)}
        found = {"combination": errors, **network, **plain}
        if self.model.simple is None:
            del found["combination"]
        table: dict[str, Any] = {name: e.record() for name, e in found.items()}
        if self.model.simple is not None:
            names = ("network", *self.model.simple.names)
            weights = self.model.weights.T.tolist()
            table["combination"]["weights"] = dict(zip(names, weights, strict=True))
        return {**scores, "table": table}

    @torch.no_grad()
    def forecasts(self, windows: Windows, measured: Series, begin: int, end: int) -> Forecasts:
        """Forecast every window that begins in a part, in evaluation mode.

        `measured` has the windows' values in the units of the data, as they were given: the windows
        hold them scaled, in float32, where 0 is not 0 any more.
        """
        first = np.arange(begin, end)
        answer = answers(self.model, windows, first, end)
        truth = truth_of(measured.values, first, self.config.horizon, end)
        network = values = self._in_units(answer, measured, first)
        if self.model.simple is not None:
            values = combined(self.model, windows, answer, first, self.model.weights)
            values = self._in_units(values, measured, first)
        loss = mean_loss(self.model, windows, answer, first, end)
        return Forecasts(first, values, truth, self.config.levels, network, loss)

    def _in_units(self, answer: Tensor, measured: Series, first: np.ndarray) -> np.ndarray:
        """Bring answers into the units of the data, with the seasonal profile added again."""
        found = self.model.unscaled(answer)
        return found if self.profile is None else found + self.profile.ahead_of(
            measured, first, found
        )  # fmt: skip

    def interpret(self, scores: Mapping[str, Any]) -> str:
        """Return the errors next to the baselines', and which is smaller."""
        return in_words(scores, self.config)

    def title(self, test: Mapping[str, Any] | None) -> str:
        """Return series, cell, operator and sizes."""
        config = self.config
        return (
            f"{self.data.series.name}: {config.cell} × {config.operator}, "
            f"{config.layers} × {config.hidden_size}"
        )

    def curves(self, test: Mapping[str, Any] | None) -> Sequence[Curve]:
        """Return the loss."""
        if self.config.likelihood != "none":
            return [Curve("loss", "−log likelihood, nats")]
        label = "pinball loss" if self.config.levels else f"{self.config.error} error"
        return [Curve("loss", f"{label}, scaled")]

    def draw_tested(self, test: Mapping[str, Any], folder: Path) -> None:
        """Draw forecasts of the test set, and every node's error."""
        fitted = self._bands(self.tested)
        name = f"band fitted to hold {self.config.coverage:.0%}"
        band = None if fitted is None else Band(*fitted, name)
        draw_forecasts(self.tested, self.data.series, folder / "forecasts.png", band)
        draw_nodes(self.tested, self.data, folder / "nodes.png")
        if self.config.operator == "adaptive":
            index, weight = (part.cpu().numpy() for part in self.model.learnt_edges(LEARNT))
            draw_learnt(self.data, index, weight, folder / "learnt.png")
            names = np.array(self.data.series.ids, dtype=object)[index]
            columns = {"source": names[0], "target": names[1], "weight": weight}
            pd.DataFrame(columns).to_csv(folder / "learnt.csv", index=False)

    def _scores(self, forecasts: Forecasts) -> tuple[dict[str, float], Errors]:
        """Return the loss, which is that of the network itself, and the errors of the forecasts."""
        errors = Errors.of(forecasts.middle, forecasts.truth)
        scores = {"loss": forecasts.loss, **errors.overall()}
        if forecasts.levels:
            scores |= quantile_scores(forecasts.quantiles, forecasts.truth, forecasts.levels)
        return scores, errors

    def _band_scores(self, forecasts: Forecasts) -> dict[str, float]:
        """Score the bands; none where none are fitted."""
        found = self._bands(forecasts)
        if found is None:
            return {}
        return band_scores(*found, forecasts.truth, self.config.coverage)

    def _bands(self, forecasts: Forecasts) -> tuple[np.ndarray, np.ndarray] | None:
        if self.model.margin is None:
            return None
        margin = self.model.margin.cpu().numpy() * self.scale
        return bands(forecasts.quantiles, forecasts.levels, margin)

    def _best_possible(self, first: np.ndarray) -> np.ndarray:
        waves = self.data.waves
        assert waves is not None
        past = first[:, None] + np.arange(-self.config.history, 0)
        best = waves.best_forecast(waves.values[past], self.config.horizon)  # [W, H, N]
        return best.transpose(1, 0, 2)
