"""A trained forecaster on every window of a part, some at a time, and its combination there."""

import numpy as np
import torch
from torch import Tensor

from plait.nn.graph import Graph
from plait.tasks.forecast.combination import gram
from plait.tasks.forecast.loss import losses, reweighting
from plait.tasks.forecast.model import Forecaster
from plait.tasks.forecast.simple import Simple
from plait.tasks.forecast.windows import Windows
from plait.training.ranks import current_ranks

SCORED = 64
"""Windows that are forecast at a time where nothing is learnt."""


def answers(
    model: Forecaster, windows: Windows, first: np.ndarray, end: int, *, early: bool = False
) -> Tensor:
    """Return what the network answers to the windows at the steps `first`, `[H, W, N, (Q)]`.

    With `early` it knows seasonal means of the training set alone, to forecast the validation.
    """

    def answered(part: Tensor) -> tuple[Tensor]:
        window = windows.at(part, end)
        means = None if early else model.latest_means(window.calendar)
        return (model(window.x, window.calendar, means=means),)

    found = current_ranks().map(answered, torch.from_numpy(first).split(SCORED))
    return torch.cat([answer for (answer,) in found], 1)


def mean_loss(
    model: Forecaster, windows: Windows, answer: Tensor, first: np.ndarray, end: int
) -> float:
    """Return the mean loss of answers to windows over what was measured."""
    total, count = 0.0, 0
    for chunk in _chunks(len(first)):
        y = windows.at(torch.from_numpy(first[chunk]), end).y.double()
        own = answer[:, chunk].double()
        total += float(losses(own, y, model.config, model.mean, model.scale).sum())
        count += int((~y.isnan()).sum())
    return total / count if count else float("nan")


def error_products(
    model: Forecaster, windows: Windows, answer: Tensor, first: np.ndarray, end: int
) -> np.ndarray:
    """Return the products of the errors of the network's answers and of each simple forecast.

    `[H, 1 + M, 1 + M]`, of errors in the units of the data; the simple forecasts are those that are
    fitted to the training set. Where the loss is not the squared error, they are weighed so that
    at the network's answers their gradient is the loss's (`reweighting`). See
    `plait.tasks.forecast.combination`.
    """
    products = []
    for chunk in _chunks(len(first)):
        window = windows.at(torch.from_numpy(first[chunk]), end)
        simple = model.simple_forecasts(window.x, window.calendar, early=True)
        parts = torch.cat([model.middle(answer[:, chunk])[None].double(), simple])
        errors = parts - window.y
        errors = errors * reweighting(errors[0], model.config).sqrt() * model.scale
        products.append(gram(errors.cpu().numpy()))
    return np.sum(products, 0)


def combined(
    model: Forecaster,
    windows: Windows,
    answer: Tensor,
    first: np.ndarray,
    weights: Tensor,
    *,
    early: bool = False,
) -> Tensor:
    """Combine the network's answers with the simple forecasts for the same windows."""
    parts = []
    for chunk in _chunks(len(first)):
        window = windows.at(torch.from_numpy(first[chunk]), int(first[-1]) + 1)
        simple = model.simple_forecasts(window.x, window.calendar, early=early)
        parts.append(model.combined(answer[:, chunk], simple, weights))
    return torch.cat(parts, 1)


def best_simple(simple: Simple, windows: Windows, graph: Graph, first: np.ndarray, end: int) -> str:
    """Return the name of the simple forecast with the smallest squared error, scaled."""
    total = torch.zeros(len(simple.names), dtype=torch.float64)
    for chunk in _chunks(len(first)):
        x, y, calendar, _ = windows.at(torch.from_numpy(first[chunk]), end)
        x, y, calendar = x.cpu(), y.cpu(), calendar.cpu()
        errors = simple(x, calendar, graph) - y
        total += errors.nan_to_num().square().sum((1, 2, 3))
    return simple.names[int(total.argmin())]


def _chunks(windows: int) -> list[slice]:
    return [slice(begin, begin + SCORED) for begin in range(0, windows, SCORED)]
