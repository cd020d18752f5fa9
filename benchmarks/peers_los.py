"""Forecasts of Los-loop by models of darts and of tsl, for so much processor time.

    pip install -c constraints.txt "darts[torch]"
    python benchmarks/peers_los.py darts-linear --lags 12
    python benchmarks/peers_los.py darts-tide --input 288 --seconds 25
    pip install -c constraints.txt torch-spatiotemporal torch_geometric
    python benchmarks/peers_los.py tsl-gru-gcn --seconds 25 --lr 0.003

RMSE averaged to 15, 30, 45 and 60 minutes, as `python benchmarks/forecast.py los-loop` does: the
fifth of the steps at the end is the test set, the tenth before it the validation set. Printed is
also the processor time of the training. tsl's networks are trained in a plain loop: they read edges
as a list, so that the compiled packages that its data sets need (torch-sparse, torch-scatter) are
left out.
"""

import argparse
import logging
import sys
import time
import warnings
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.data import read_data

HORIZON, DAY = 12, 288


def darts_model(given: argparse.Namespace) -> tuple[Any, list[float]]:
    """Make a model that all series share, and what lists when its training began and ended."""
    from darts import models
    from pytorch_lightning.callbacks import Callback

    if given.name == "darts-linear":  # the last hour, and the hour to forecast a day before
        lags = [*range(-given.lags, 0), *(range(-DAY, -DAY + HORIZON) if given.season else [])]
        return models.LinearRegressionModel(lags, output_chunk_length=HORIZON), []
    clock: list[float] = []

    class Stop(Callback):
        def on_train_start(self, trainer: Any, model: Any) -> None:
            clock.append(time.process_time())

        def on_train_batch_end(self, trainer: Any, model: Any, *rest: Any) -> None:
            trainer.should_stop = time.process_time() - clock[0] > given.seconds

        def on_train_end(self, trainer: Any, model: Any) -> None:
            clock.append(time.process_time())

    kind = {"darts-tide": models.TiDEModel, "darts-nhits": models.NHiTSModel}[given.name]
    trainer = {
        "accelerator": "cpu", "callbacks": [Stop()], "enable_progress_bar": False,
        "enable_model_summary": False, "logger": False,
    }  # fmt: skip
    model = kind(
        given.input, HORIZON, batch_size=128, n_epochs=1000, random_state=1,
        loss_fn=torch.nn.MSELoss(), optimizer_kwargs={"lr": given.lr}, pl_trainer_kwargs=trainer,
    )  # fmt: skip
    return model, clock


def by_darts(given: argparse.Namespace, values: np.ndarray) -> tuple[np.ndarray, float]:
    """Train; return forecasts `[windows, steps, nodes]` of the test set, and the time it took."""
    from darts import TimeSeries

    end, first = int(0.8 * len(values)), int(0.8 * len(values)) + HORIZON
    mean, scale = values[:end].mean(0), values[:end].std(0)
    scaled = ((values - mean) / scale).astype(np.float32)
    series = [TimeSeries.from_values(column) for column in scaled.T]
    model, clock = darts_model(given)
    began = time.process_time()
    model.fit([one[:end] for one in series])
    seconds = clock[-1] - clock[0] if clock else time.process_time() - began
    forecasts = model.historical_forecasts(
        series, start=first, forecast_horizon=HORIZON, retrain=False, last_points_only=False,
        verbose=False,
    )  # fmt: skip
    found = np.stack([[one.values()[:, 0] for one in of_node] for of_node in forecasts], -1)
    return found * scale + mean, seconds


def by_tsl(given: argparse.Namespace, values: np.ndarray, graph: Any) -> tuple[np.ndarray, float]:
    """Train, and take the weights that are best on validation; the same as `by_darts`."""
    for name in ("torch_sparse", "torch_scatter", "torch_scatter.utils"):
        empty = ModuleType(name)
        functions = ("gather_csr", "scatter", "segment_csr", "broadcast", "matmul", "cat")
        empty.__dict__.update(dict.fromkeys((*functions, "fill_diag", "remove_diag", "set_diag")))
        empty.__dict__["SparseTensor"] = type("SparseTensor", (), {})
        sys.modules[name] = empty
    with patch("torch.jit.script", lambda function: function):  # of functions that are left out
        from tsl.nn.models.stgn.graph_wavenet_model import GraphWaveNetModel
        from tsl.nn.models.stgn.rnn_gcn_model import RNNEncGCNDecModel

    torch.manual_seed(1)
    steps, nodes = values.shape
    end, valid = int(0.8 * steps), int(0.8 * steps) - int(0.8 * steps) // 10
    mean, scale = values[:valid].mean(), values[:valid].std()
    x = torch.from_numpy((values - mean) / scale).float()
    angle = torch.arange(steps) * (2 * torch.pi / DAY)
    day = torch.stack([angle.sin(), angle.cos()], -1)[:, None].expand(steps, nodes, 2)
    model: Any
    if given.name == "tsl-gru-gcn":
        model = RNNEncGCNDecModel(1, given.hidden, 1, 2, 1, 2, 0.0, 0.0, HORIZON)
    else:
        model = GraphWaveNetModel(1, 1, HORIZON, exog_size=2, n_nodes=nodes)
    optimizer = torch.optim.Adam(model.parameters(), given.lr)
    edges = graph.edge_index, graph.edge_weight.float()

    def forecast(first: torch.Tensor) -> torch.Tensor:  # of the steps from `first`: [B, H, N]
        back = first[:, None] + torch.arange(-HORIZON, 0)
        return model(x[back][..., None], *edges, u=day[back])[..., 0]

    def truth(first: torch.Tensor) -> torch.Tensor:
        return x[first[:, None] + torch.arange(HORIZON)]

    @torch.no_grad()
    def evaluated(begin: int, stop: int) -> torch.Tensor:
        model.eval()
        found = [forecast(part) for part in torch.arange(begin, stop).split(8)]
        model.train()
        return torch.cat(found)

    best, kept, began, spent = np.inf, {}, time.process_time(), 0.0
    update = 0
    while spent < given.seconds:
        first = torch.randint(HORIZON, valid - HORIZON + 1, (8,))
        loss = torch.nn.functional.mse_loss(forecast(first), truth(first))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        update += 1
        spent = time.process_time() - began
        if update % given.every == 0 or spent >= given.seconds:
            pause = time.process_time()
            error = evaluated(valid, end - HORIZON + 1) - truth(torch.arange(valid, end - 11))
            error = error.square().mean().item()
            if error < best:
                best, kept = error, {k: v.clone() for k, v in model.state_dict().items()}
            print(f"{update} updates, {spent:.0f} s: validation {error**0.5 * scale:.3f}")
            began += time.process_time() - pause
    model.load_state_dict(kept)
    found = evaluated(end + HORIZON, steps - HORIZON + 1)
    return found.numpy() * scale + mean, spent


def report(given: Any, values: np.ndarray, found: np.ndarray, seconds: float) -> None:
    """Print the RMSE of forecasts `[windows, steps, nodes]` that end with the series' values."""
    begin = len(values) - len(found) - HORIZON + 1
    truth = np.stack([values[begin + k : begin + k + HORIZON] for k in range(len(found))])
    errors = (found - truth) ** 2  # [windows, steps, nodes]
    to = " / ".join(f"{errors[:, :h].mean() ** 0.5:.2f}" for h in (3, 6, 9, 12))
    print(f"{given}: {seconds:.0f} s, {len(found)} windows: RMSE {to}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "name",
        choices=("darts-linear", "darts-tide", "darts-nhits", "tsl-gru-gcn", "tsl-graph-wavenet"),
    )
    parser.add_argument("--lags", type=int, default=HORIZON)
    parser.add_argument("--season", action="store_true", help="also the hour a day before")
    parser.add_argument("--input", type=int, default=HORIZON)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--every", type=int, default=100, help="updates between validations")
    parser.add_argument("--lr", type=float, default=1e-3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    data = read_data(ForecastConfig.of({}, "los-loop"))
    values = data.series.values
    if given.name.startswith("darts"):
        found, seconds = by_darts(given, values)
    else:
        found, seconds = by_tsl(given, values, data.joined.graph)
    report(given, values, found, seconds)


if __name__ == "__main__":
    main()
