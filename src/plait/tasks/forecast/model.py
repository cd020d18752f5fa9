"""The model of the forecast task: what was measured at every node, and what comes next."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.nn.graph import Graph
from plait.nn.recurrent import Recurrent
from plait.nn.registry import cell_named
from plait.tasks.forecast import inputs
from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.profile import Profile
from plait.tasks.forecast.windows import CALENDAR


class Streamed(NamedTuple):
    """What `Forecaster.step` hands on: the recurrent states, and the last P values."""

    states: tuple[Tensor, ...]
    window: Tensor


class Forecaster(nn.Module):
    r"""Takes P steps at every node of a graph and forecasts H.

    h_t = Recurrent(x_t, h_{t−1}; graph),  ŷ_{t+k} = Σ_p a_{k,p} x_{t−p} + (V h_t + b)_k

    x_t is the scaled value (where nothing was measured the last one that was, and in a network
    that was trained with gaps a flag), with the calendar's numbers, the covariates, the node's
    features that do not change, and a learnt vector of the node (`node_embedding`; Shao et al.
    2022, STID). With covariates that are known ahead, z, the decoder "direct" adds
    W relu(V [h_t, z_{t+k}]), z with the calendar's numbers. The first sum, shared by the nodes, is
    the skip "linear", and begins as the last value, a_{k,0} = 1; "last" leaves it that; "none"
    leaves it out. With the decoder "recurrent" a second network goes on from h_t step by step and
    is fed its own last forecast (Sutskever et al. 2014; DCRNN of Li et al. 2018).

    With quantiles, every step has as many answers, in rising order (Chernozhukov et al. 2010).

    Weights, graph and scale are what a run folder keeps; `plait.load(run)` gives them.

    Attributes
    ----------
    ids : tuple of str
        The nodes.
    frequency : str or None
        The length of a step, as pandas writes it.
    clock : str or None
        The offset from UTC, or the time zone, of the times; None where they name none.
    graph : Graph
    """

    def __init__(
        self,
        config: ForecastConfig,
        ids: Sequence[str],
        edges: int,
        *,
        gaps: bool = False,
        frequency: str | None = None,
        clock: str | None = None,
        static: int = 0,
        season: int = 0,
        season_start: str = "",
    ) -> None:
        super().__init__()
        self.config, self.ids, self.gaps = config, tuple(ids), gaps
        self.frequency, self.clock = frequency, clock
        H, Q = config.hidden_size, len(config.levels) or 1
        places, K = CALENDAR[config.calendar], len(config.covariate_names)
        C = places + K + static + config.node_embedding
        direct = config.decoder == "direct"
        options: dict[str, Any] = {
            "operator": config.make_operator(len(self.ids)),
            "layers": config.layers,
            "dropout": config.dropout if config.layers > 1 else 0.0,
        }
        cell = cell_named(config.cell)
        self.recurrent = Recurrent(cell, 1 + gaps + C, H, **options)
        self.decoder = None if direct else Recurrent(cell, 1 + C, H, **options)
        self.output = nn.Linear(H, config.horizon * Q if direct else Q)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        self.skip = None
        if config.skip == "linear":
            latest = torch.zeros(config.horizon, config.history)
            latest[:, -1] = 1
            self.skip = nn.Parameter(latest)
        N = len(self.ids)
        self.node_embedding = None
        if config.node_embedding:
            self.node_embedding = nn.Parameter(torch.empty(N, config.node_embedding))
            nn.init.xavier_uniform_(self.node_embedding)
        self.ahead = None
        if direct and config.known_names:
            self.ahead = inputs.KnownAhead(H, places, len(config.known_names), Q)
        self.covariates: Tensor | None
        scales = torch.tensor([[0.0] * K, [1.0] * K], dtype=torch.float64)
        self.register_buffer("covariates", scales if K else None)
        self.season_start = season_start
        self.seasonal: Tensor | None  # the values of `profile`
        seasonal = torch.zeros(season, N, dtype=torch.float64)
        self.register_buffer("seasonal", seasonal if season else None)
        self.margin: Tensor | None  # of the bands, scaled
        margin = torch.full((config.horizon, N), torch.inf, dtype=torch.float64)
        self.register_buffer("margin", margin if config.coverage else None)
        self.static: Tensor | None
        self.register_buffer("static", torch.zeros(N, static) if static else None)
        self.register_buffer("mean", torch.zeros(N, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(N, dtype=torch.float64))
        self.register_buffer("edge_index", torch.zeros(2, edges, dtype=torch.long))
        self.register_buffer("edge_weight", torch.ones(edges))
        self._graph: Graph | None = None
        self.register_load_state_dict_post_hook(Forecaster._forget_graph)

    @classmethod
    def from_facts(cls, config: ForecastConfig, facts: Mapping[str, Any]) -> Self:
        """Rebuild the model that a run folder describes, without its weights."""
        later = ("clock", "static", "season", "season_start")
        return cls(
            config, facts["ids"], facts["edges"], gaps=facts["gaps"],
            frequency=facts["frequency"], **{name: facts[name] for name in later if name in facts},
        )  # fmt: skip

    def place(
        self,
        graph: Graph,
        mean: np.ndarray,
        scale: np.ndarray,
        static: np.ndarray | None = None,
        covariates: np.ndarray | None = None,
        profile: Profile | None = None,
    ) -> None:
        """Set the graph, the scale, and what covariates are scaled by, `[2, K]`.

        `static [N, S]` are the nodes' features that do not change.
        """
        if profile is not None:
            self.seasonal = torch.from_numpy(profile.values)
        if covariates is not None and covariates.size:
            self.covariates = torch.from_numpy(covariates)
        if static is not None:
            self.static = torch.from_numpy(static).to(self.output.weight)
        self.edge_index, self.edge_weight = graph.edge_index, graph.edge_weight.float()
        self.mean, self.scale = torch.from_numpy(mean), torch.from_numpy(scale)
        self._graph = None

    @property
    def profile(self) -> Profile | None:
        """The seasonal profile, to which forecasts are added; None without --seasonal."""
        if self.seasonal is None or self.frequency is None:
            return None
        start = pd.Timestamp(self.season_start)
        return Profile(self.seasonal.cpu().numpy(), start, self.frequency)

    @property
    def graph(self) -> Graph:
        """The graph, on the device of the weights."""
        if self._graph is None or self._graph.device != self.edge_index.device:
            self._graph = Graph(self.edge_index, self.edge_weight, len(self.ids))
        return self._graph

    def forward(
        self,
        x: Tensor,
        calendar: Tensor | None = None,
        truth: Tensor | None = None,
        teach: float = 0.0,
    ) -> Tensor:
        """Forecast from windows, in scaled units.

        Parameters
        ----------
        x : Tensor `[P, B, N]`
            NaN where nothing was measured.
        calendar : Tensor `[P + H, B, (N or 1,) C]`
            The calendar's numbers, then the covariates; see `plait.tasks.forecast.windows.Window`.
        truth : Tensor `[H, B, N]`
            What comes, for scheduled sampling in training.
        teach : float
            The probability with which the recurrent decoder is fed the truth.

        Returns
        -------
        Tensor `[H, B, N]`; with quantiles `[H, B, N, Q]`
        """
        filled = inputs.carried_forward(x)
        if calendar is None:
            calendar = x.new_zeros(len(x) + self.config.horizon, x.shape[1], 0)
        given = self._features(filled, calendar[: len(x)], x.isnan() if self.gaps else None)
        _, state = self.recurrent(given, graph=self.graph)
        return self._answer(_tuple(state), filled, calendar[len(x) :], truth, teach)

    @torch.no_grad()
    def step(
        self,
        observation: np.ndarray | Sequence[float],
        state: Streamed | None = None,
        time: Any = None,
        covariates: Mapping[str, Any] | None = None,
    ) -> tuple[np.ndarray, Streamed]:
        """Take one more step and forecast from there.

        The states are carried on for as long as steps come. After P steps from the start the
        forecast is that of the window of these P; carried further than the windows it was trained
        on, it may be a little worse (on los-loop an RMSE of 7.2 for 6.9).

        Parameters
        ----------
        observation : array `[N]`
            In the units of the data, in the order of `ids`; NaN where nothing was measured.
        state : Streamed
            What the step before gave; None: this is the first step.
        time : Timestamp or text
            When it was measured; needed with --calendar.
        covariates : mapping of arrays
            Of each covariate its value at this step, of all nodes or of each, `[]` or `[N]`; of one
            that is known ahead also those of the H steps to come, `[1 + H]` or `[1 + H, N]`.

        Returns
        -------
        forecast : array `[H, N]`, with quantiles `[H, N, Q]`
            In the units of the data.
        state : Streamed

        Example
        -------
        >>> import plait, tempfile
        >>> run = plait.train("forecast", hidden_size=4, steps=1, out=tempfile.mkdtemp() + "/run")
        >>> model, state = plait.load(run), None
        >>> for observation in ([0.0] * 48, [1.0] * 48):
        ...     forecast, state = model.step(observation, state)
        >>> forecast.shape
        (12, 48)
        """
        P = self.config.history
        values = torch.as_tensor(np.asarray(observation, dtype=np.float64), device=self.mean.device)
        if values.shape != self.mean.shape:
            raise ValueError(f"an observation has {len(self.ids)} numbers, not {values.shape}")
        profile = inputs.profile_after(time, self.profile, self.config, self.clock)  # [1 + H, N]
        values = values - torch.from_numpy(profile[0]).to(values)
        x = ((values - self.mean) / self.scale).to(self.output.weight.dtype)[
            None, None
        ]  # [1, 1, N]
        before = torch.zeros_like(x) if state is None else state.window[-1:]
        filled = torch.where(x.isnan(), before, x)
        window = filled.expand(P, -1, -1) if state is None else state.window
        window = torch.cat([window[1:], filled])
        calendar = inputs.calendar_after(time, self.config, self.frequency, self.clock).to(x)
        if self.covariates is not None:
            given = inputs.covariates_after(covariates, self.config, self.ids, self.covariates)
            places = calendar[:, :, None].expand(*given.shape[:3], -1)
            calendar = torch.cat([places, given.to(x)], -1)
        states = None if state is None else _state(state.states)
        answer, new = self.advance(filled, x.isnan(), window, calendar, states)
        found = self.unscaled(answer)[:, 0]
        ahead = profile[1:, :, None] if self.config.levels else profile[1:]
        return found + ahead, Streamed(new, window)

    def advance(
        self, x: Tensor, missing: Tensor, window: Tensor, calendar: Tensor, state: Any
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Take one more step `x [1, B, N]`, scaled: the forecast, scaled, and the states."""
        given = self._features(x, calendar[:1], missing if self.gaps else None)
        _, new = self.recurrent(given, state, graph=self.graph)
        return self._answer(_tuple(new), window, calendar[1:], None, 0.0), _tuple(new)

    def unscaled(self, answer: Tensor) -> np.ndarray:
        """Bring forecasts `[H, B, N, (Q)]` into the units of the data, in float64."""
        shape = (-1, 1) if self.config.levels else (-1,)
        return (answer.double() * self.scale.view(shape) + self.mean.view(shape)).cpu().numpy()

    def _features(self, x: Tensor, calendar: Tensor, missing: Tensor | None = None) -> Tensor:
        """Return the input, `[T, B, N, F]`."""
        parts = [x[..., None]]
        if missing is not None:
            parts.append(missing.to(x)[..., None])
        if calendar.shape[-1]:
            of_nodes = calendar if calendar.dim() == 4 else calendar[:, :, None]
            parts.append(of_nodes.expand(*x.shape, -1))
        own = [part for part in (self.static, self.node_embedding) if part is not None]
        parts += [part.expand(*x.shape, -1) for part in own]
        return torch.cat(parts, -1) if len(parts) > 1 else parts[0]

    def _answer(
        self,
        states: tuple[Tensor, ...],
        window: Tensor,
        calendar: Tensor,
        truth: Tensor | None,
        teach: float,
    ) -> Tensor:
        """Forecast from the states after the last step, the last P values, and what is to come."""
        base = self._base(window)[..., None]  # [H, B, N, 1]
        if self.decoder is None:
            h = F.dropout(states[0][-1], self.config.dropout, self.training)
            y = self.output(h).unflatten(-1, (self.config.horizon, -1))  # [B, N, H, Q]
            y = base + y.permute(2, 0, 1, 3)
            if self.ahead is not None:
                y = y + self.ahead(h, calendar)
        else:
            y = self._decoded(states, base, window[-1], calendar, truth, teach)
        return y.sort(-1).values if self.config.levels else y[..., 0]

    def _base(self, window: Tensor) -> Tensor:
        """Return what the output is added to, `[H, B, N]`."""
        if self.skip is not None:
            return torch.tensordot(self.skip, window, 1)
        last = window[-1] if self.config.skip == "last" else torch.zeros_like(window[-1])
        return last.expand(self.config.horizon, *last.shape)

    def _decoded(
        self,
        states: tuple[Tensor, ...],
        base: Tensor,
        given: Tensor,
        calendar: Tensor,
        truth: Tensor | None,
        teach: float,
    ) -> Tensor:
        """Go on step by step, fed with the last forecast or, at times in training, the truth."""
        assert self.decoder is not None
        levels = self.config.levels
        middle = levels.index(0.5) if levels else 0
        state: Any = _state(states)
        answers = []
        for k in range(self.config.horizon):
            x = self._features(given[None], calendar[k : k + 1])
            h, state = self.decoder(x, state, graph=self.graph)
            h = F.dropout(h[0], self.config.dropout, self.training)
            answers.append(base[k] + self.output(h))
            given = answers[-1][..., middle]
            if truth is not None and teach > 0 and float(torch.rand(())) < teach:
                given = torch.where(truth[k].isnan(), given, truth[k])
        return torch.stack(answers)

    def learnt_edges(self, most: int) -> tuple[Tensor, Tensor]:
        """Return the strongest edges into each node of a learnt graph; see `Adaptive.edges`."""
        operator: Any = self.recurrent.operator
        return operator.edges(most)

    @staticmethod
    def _forget_graph(model: Any, _: Any) -> None:
        model._graph = None


def _tuple(state: Any) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


def _state(states: Sequence[Tensor]) -> Any:
    return tuple(states) if len(states) > 1 else states[0]
