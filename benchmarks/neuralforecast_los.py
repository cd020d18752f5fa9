"""Forecasts of Los-loop by a network of neuralforecast, for so much processor time.

    pip install -c constraints.txt neuralforecast
    python benchmarks/neuralforecast_los.py NHITS --input 12 --updates 450

RMSE averaged to 15, 30, 45 and 60 minutes, as `python benchmarks/forecast.py los-loop` does: the
fifth of the steps at the end is the test set, the tenth before it the validation set. Printed is
also the processor time of the training.
"""

import argparse
import logging
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
import torch
from neuralforecast import NeuralForecast, models
from neuralforecast.losses.pytorch import MSE
from peers_los import HORIZON, report

from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.data import read_data


def long_table(values: np.ndarray) -> pd.DataFrame:
    """Values `[steps, nodes]` as neuralforecast reads them."""
    steps, nodes = values.shape
    times = pd.date_range("2012-03-01", periods=steps, freq="5min")
    ids = np.repeat(np.arange(nodes), steps)
    return pd.DataFrame({"unique_id": ids, "ds": np.tile(times, nodes), "y": values.T.ravel()})


def forecasts(given: argparse.Namespace, values: np.ndarray) -> tuple[np.ndarray, float]:
    """Train; return forecasts `[windows, steps, nodes]` of the test set, and the time it took."""
    kind, seconds = getattr(models, given.name), []

    def fit(self: Any, *args: Any, **options: Any) -> Any:
        began = time.process_time()
        found = kind.fit(self, *args, **options)
        seconds.append(time.process_time() - began)
        return found

    together = given.name in ("TSMixer", "iTransformer", "StemGNN")
    options = {"n_series": values.shape[1]} if together else {}
    model = type(given.name, (kind,), {"fit": fit})(
        h=HORIZON, input_size=given.input, max_steps=given.updates, learning_rate=given.lr,
        windows_batch_size=given.windows, loss=MSE(), scaler_type="standard", random_seed=1,
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False,
        enable_model_summary=False,
        **options,
    )  # fmt: skip
    test = len(values) - int(0.8 * len(values)) - HORIZON
    table = NeuralForecast([model], freq="5min").cross_validation(
        long_table(values), test_size=test, val_size=len(values) // 10, n_windows=None
    )
    table = table.sort_values(["cutoff", "ds", "unique_id"])
    return table[given.name].to_numpy().reshape(-1, HORIZON, values.shape[1]), seconds[-1]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--input", type=int, default=HORIZON)
    parser.add_argument("--windows", type=int, default=128, help="of an update")
    parser.add_argument("--updates", type=int, default=450)
    parser.add_argument("--lr", type=float, default=1e-3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    values = read_data(ForecastConfig.of({}, "los-loop")).series.values
    found, seconds = forecasts(given, values)
    report(given, values, found, seconds)


if __name__ == "__main__":
    main()
