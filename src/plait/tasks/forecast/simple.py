"""`Simple`: the forecasts of `baselines` within the model, to be corrected and combined with."""

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from plait.kernels.edge_sums import add_at
from plait.nn.graph import Graph
from plait.tasks.forecast.baselines import HOPS, aggregated, fit_linear, normalised
from plait.tasks.forecast.inputs import carried_forward
from plait.tasks.forecast.seasonal import Season, seasonal_means

DIFFERENCED = ("last value", "differenced AR")
"""Forecasts of the change from the last value."""


class Simple(nn.Module):
    r"""Forecasts without a network, from the windows that the network takes, in scaled units.

    - "last value": x_t
    - "seasonal value": the value a season before the step that is forecast
    - "historical mean": m_{t+k}, of the node at the place in the season; of the node without one
    - "autoregression": a_k + Σ_p a_{k,p} x_{t−p}
    - "seasonal AR": m_{t+k} + b_k + Σ_p b_{k,p} (x_{t−p} − m_{t−p})
    - "seasonal, neighbours": the same with the neighbours' weighted mean of x − m too
    - "differenced AR": x_t + e_k + Σ_p e_{k,p} (x_{t−p} − x_{t−p−1})
    - "linear, graph": f_k + Σ_p Σ_j f_{k,p,j} (T_j(S) x)_{t−p}, a linear filter over the graph, see
      `plait.tasks.forecast.baselines.filtered`
    - "linear, neighbours": c_k + Σ_p c_{k,p} x_{t−p} + d_{k,p} (A x)_{t−p}, A the weighted mean of
      the neighbours

    They are those of `plait.tasks.forecast.baselines`, fitted by `fit`.

    Parameters
    ----------
    nodes, history, horizon : int
    season : Season
    edges : bool
        Whether the graph has any.
    """

    def __init__(self, nodes: int, history: int, horizon: int, season: Season, edges: bool) -> None:
        super().__init__()
        self.history, self.horizon, self.season = history, horizon, season
        self.placed = season.placed
        names = ["last value", "historical mean", "autoregression", "differenced AR"]
        names[1:1] = ["seasonal value"] * bool(season.steps)
        names += ["seasonal AR"] * self.placed
        names += ["linear, neighbours", "linear, graph"] * edges
        names += ["seasonal, neighbours"] * (self.placed and edges)
        self.names = tuple(names)
        P = history
        for name, count in (
            ("own", P), ("changes", P - 1), ("left", P * self.placed), ("around", 2 * P * edges),
            ("left_around", 2 * P * (edges and self.placed)), ("filter", (1 + HOPS) * P * edges),
        ):  # fmt: skip
            weights = torch.zeros(horizon, 1 + count, dtype=torch.float64)
            self.register_buffer(name, weights if count or name == "changes" else None)
        places = season.count if self.placed else 1
        self.register_buffer("means", torch.zeros(places, nodes, dtype=torch.float64))
        self.others: np.ndarray | None = None  # where it was fitted, the means of other seasons
        self.own: Tensor
        self.changes: Tensor
        self.left: Tensor
        self.around: Tensor
        self.left_around: Tensor
        self.filter: Tensor
        self.means: Tensor

    def fit(self, values: np.ndarray, graph: Graph) -> "Simple":
        """Fit to scaled values `[T, N]`, NaN where nothing was measured, and return itself."""
        P, H, T = self.history, self.horizon, len(values)
        if self.placed:
            means, self.others = seasonal_means(values, self.season)
        else:
            means = np.nanmean(values, axis=0, keepdims=True)
        self.means.copy_(torch.from_numpy(means))
        filled = carried_forward(torch.from_numpy(values)).numpy()
        self.own.copy_(torch.from_numpy(fit_linear(filled[..., None], values, P, T, H, P)))
        changes = np.diff(filled, axis=0, prepend=filled[:1])[..., None]
        weights = fit_linear(changes, values, P, T, H, P - 1, filled)
        self.changes.copy_(torch.from_numpy(weights))
        edges = "linear, neighbours" in self.names
        if edges:
            both = np.stack([filled, aggregated(filled, graph)], -1)
            self.around.copy_(torch.from_numpy(fit_linear(both, values, P, T, H, P)))
            weights = fit_linear(filled[..., None], values, P, T, H, P, over=graph)
            self.filter.copy_(torch.from_numpy(weights))
        if self.others is not None:
            left, target = filled - self.others, values - self.others
            weights = fit_linear(left[..., None], target, P, T, H, P)
            self.left.copy_(torch.from_numpy(weights))
            if edges:
                both = np.stack([left, aggregated(left, graph)], -1)
                self.left_around.copy_(torch.from_numpy(fit_linear(both, target, P, T, H, P)))
        return self

    def facts(self, base: str) -> dict[str, Any]:
        """Return what a run keeps of them next to the weights; `base` is the best of them."""
        return {**asdict(self.season), "base": base}

    def profile(self, calendar: Tensor) -> Tensor:
        """Return the means at the places in the first column of a calendar, `[P + H, B, N]`."""
        if not self.placed:
            return self.means.expand(*calendar.shape[:2], -1)
        column = calendar[..., 0] if calendar.dim() == 3 else calendar[..., 0, 0]
        return self.means[column.round().long()]

    @torch.no_grad()
    def forward(
        self,
        x: Tensor,
        calendar: Tensor,
        graph: Graph,
        name: str = "",
        means: Tensor | None = None,
    ) -> Tensor:
        """Forecast from windows, by each of `names` or by one of them.

        `means` are those at the steps' places; None: of all seasons that it was fitted to.

        Shapes
        ------
        x : `[P, B, N]`, of a season `[H + P, B, N]`, see `plait.tasks.forecast.windows.Window`;
        calendar : `[P + H, B, (N or 1,) C]`; means : `[P + H, B, N]`; answer : `[M, H, B, N]`, in
        float64
        """
        P = self.history
        window, before = carried_forward(x[-P:]).double(), x[: self.horizon].double()
        means = self.profile(calendar) if means is None else means.double()
        names = (name,) if name else self.names
        return torch.stack([self._forecast(n, window, before, means, graph) for n in names])

    def _forecast(
        self, name: str, window: Tensor, before: Tensor, means: Tensor, graph: Graph
    ) -> Tensor:
        """Forecast by one name: P steps, the values a season before, and the P + H means."""
        P, last = self.history, window[-1].expand(self.horizon, -1, -1)
        ahead = means[P:]
        if name == "last value":
            return last
        if name == "seasonal value":
            return torch.where(before.isnan(), ahead if self.placed else last, before)
        if name == "historical mean":
            return ahead
        if name == "autoregression":
            return _linear(self.own, window[None])
        if name == "differenced AR":
            return last + _linear(self.changes, window.diff(dim=0)[None])
        left = window - means[:P]
        if name == "seasonal AR":
            return ahead + _linear(self.left, left[None])
        if name == "seasonal, neighbours":
            around = torch.stack([left, _aggregated(left, graph)])
            return ahead + _linear(self.left_around, around)
        if name == "linear, graph":
            return _linear(self.filter, _filtered(window, graph))
        return _linear(self.around, torch.stack([window, _aggregated(window, graph)]))


def _linear(weights: Tensor, x: Tensor) -> Tensor:
    """Apply the weights `[H, 1 + P·K]` of `fit_linear` to K channels `[K, P, B, N]`."""
    rows = x.flip(1).transpose(0, 1).flatten(0, 1)  # [P·K, B, N], the latest first
    return torch.tensordot(weights[:, 1:], rows, 1) + weights[:, :1, None]


def _aggregated(x: Tensor, graph: Graph) -> Tensor:
    """Return the weighted mean of each node's neighbours, itself left out."""
    source, target = graph.edge_index
    weight = torch.where(source == target, 0.0, graph.edge_weight.to(x))
    total = add_at(x.new_zeros(graph.num_nodes), target, weight)
    weight = weight / torch.where(total == 0, 1.0, total)[target]
    return add_at(torch.zeros_like(x), target, x[..., source] * weight, -1)


def _filtered(x: Tensor, graph: Graph) -> Tensor:
    """Return the terms of `plait.tasks.forecast.baselines.filtered`, `[1 + K, P, B, N]`."""

    def make() -> tuple[Tensor, Tensor, Tensor]:
        source, target, weight = (torch.from_numpy(part) for part in normalised(graph))
        return source.to(x.device), target.to(x.device), weight.to(x)

    source, target, weight = graph.cached("forecast filter", make)
    terms = [x]
    for k in range(HOPS):
        shifted = add_at(torch.zeros_like(x), target, terms[-1][..., source] * weight, -1)
        terms.append(shifted if k == 0 else 2 * shifted - terms[-2])
    return torch.stack(terms)
