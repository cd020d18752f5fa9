"""The model of the forecast task: what was measured at every node, and what comes next."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait.nn.forms import as_state, as_tuple
from plait.nn.graph import Graph
from plait.nn.recurrent import Recurrent
from plait.nn.registry import cell_named
from plait.tasks.forecast import inputs
from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.instance import InstanceNorm, Statistics
from plait.tasks.forecast.likelihood import columns
from plait.tasks.forecast.profile import Profile
from plait.tasks.forecast.seasonal import Season
from plait.tasks.forecast.simple import DIFFERENCED, Simple
from plait.tasks.forecast.streaming import Streamed, step
from plait.tasks.forecast.windows import CALENDAR


class Forecaster(nn.Module):
    r"""Takes P steps at every node of a graph and forecasts H.

    h_t = Recurrent(x_t, h_{t−1}; graph),  ŷ_{t+k} = s_{t+k} + Σ_p a_{k,p} x_{t−p} + (V h_t + b)_k

    s is a simple forecast, the best on the validation set (`plait.tasks.forecast.simple`), and the
    network learns what to add to it. The answer is `combined`: Σ_m w_{k,m} s^m_{t+k} + w_k ŷ_{t+k}
    over all simple forecasts s^m, with weights that are fitted on the validation set.

    x_t is the scaled value (where nothing was measured the last one that was, and in a network
    that was trained with gaps a flag), with the calendar's numbers, the covariates, the node's
    features that do not change, and a learnt vector of the node (`node_embedding`; Shao et al.
    2022, STID). With covariates that are known ahead, z, the decoder "direct" adds
    W relu(U [h_t, z_{t+k}] + u), z with the calendar's numbers. The sum is shared by the nodes, but
    for a part by the node's vector, E_n · B_{k,p}, and begins as 0; where steps have a place in the
    season it is over, and an input too, what differs from the mean at that place. Where s begins
    with the last value, the sum is over what differs from that, and the input is the change from
    step to step in place of x_t, with the training set's mean at the place, so that no level is
    learnt. That is the skip "best"; with "linear"
    there is no s, and the sum begins as the last value, a_{k,0} = 1; "last" leaves it that; "none"
    leaves it out. With the decoder "recurrent" a second network goes on from h_t step by step and
    is fed its own last forecast (Sutskever et al. 2014; DCRNN of Li et al. 2018).

    With `instance_norm` all of the above is in terms of each node's window, whose mean is 0 and
    variance 1, and the sum is brought back (`plait.tasks.forecast.instance`).

    With quantiles, every step has as many answers, in rising order (Chernozhukov et al. 2010); with
    a likelihood, the parameters of a distribution (`plait.tasks.forecast.likelihood`).

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
        simple: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.config = config = config.with_graph(edges)
        self.ids, self.gaps = tuple(ids), gaps
        self.frequency, self.clock = frequency, clock
        H, Q, N = config.hidden_size, config.outputs, len(self.ids)
        self.simple = self.early = None
        self.base, self.placed, self.differenced = "", False, False
        if simple is not None:
            rhythm = Season(**{name: simple[name] for name in simple if name != "base"})
            self.base = simple["base"]
            around = config.reads_graph and edges > 0
            sizes = N, config.history, config.horizon, rhythm, around
            self.simple, self.early = Simple(*sizes), Simple(*sizes)
            self.placed = rhythm.placed
            self.differenced = config.skip == "best" and self.base in DIFFERENCED
            weights = torch.zeros(config.horizon, 1 + len(self.simple.names), dtype=torch.float64)
            weights[:, 0] = 1
            self.register_buffer("weights", weights)
            self.weights: Tensor  # of the network, then of each simple forecast
        places, K = CALENDAR[config.calendar], len(config.covariate_names)
        C = self.placed + places + K + static + config.node_embedding
        direct = config.decoder == "direct"
        options: dict[str, Any] = {
            "operator": config.make_operator(len(self.ids)),
            "layers": config.layers,
            "dropout": config.dropout if config.layers > 1 else 0.0,
            "init": "orthogonal",
        }
        cell = cell_named(config.cell)
        self.recurrent = Recurrent(cell, 1 + gaps + C, H, **options)
        self.decoder = None if direct else Recurrent(cell, 1 + C, H, **options)
        self.output = nn.Linear(H, config.horizon * Q if direct else Q)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        self.skip = None
        if config.skip in ("linear", "best"):
            latest = torch.zeros(config.horizon, config.history)
            latest[:, -1] = config.skip == "linear" or simple is None
            self.skip = nn.Parameter(latest)
        self.node_embedding = self.node_skip = None
        if config.node_embedding:
            self.node_embedding = nn.Parameter(torch.empty(N, config.node_embedding))
            nn.init.xavier_uniform_(self.node_embedding)
            if self.skip is not None:
                own = torch.zeros(config.node_embedding, *self.skip.shape)
                self.node_skip = nn.Parameter(own)
        self.instance = InstanceNorm(N) if config.instance_norm else None
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
        later = ("clock", "static", "season", "season_start", "simple")
        config = config.with_size(0, facts.get("hidden_size", 0))
        return cls(
            config, facts["ids"], facts["edges"], gaps=facts["gaps"], frequency=facts["frequency"],
            **{name: facts[name] for name in later if name in facts},
        )  # fmt: skip

    def place(
        self,
        graph: Graph,
        mean: np.ndarray,
        scale: np.ndarray,
        static: np.ndarray | None = None,
        covariates: np.ndarray | None = None,
        profile: Profile | None = None,
        simple: tuple[Simple, Simple] | None = None,
    ) -> None:
        """Set the graph, the scale, and what covariates are scaled by, `[2, K]`.

        `static [N, S]` are the nodes' features that do not change; `simple` the simple forecasts,
        fitted to all before the test set and to the training set.
        """
        if simple is not None:
            self.simple, self.early = simple
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
        means: Tensor | None = None,
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
        means : Tensor `[P + H, B, N]`
            At the steps' places: in training those of other seasons, after it those of
            `latest_means`; None: of the training set.

        Returns
        -------
        Tensor `[H, B, N]`; with quantiles or a likelihood `[H, B, N, Q]`
        """
        filled = inputs.carried_forward(x[-self.config.history :])
        if calendar is None:
            calendar = x.new_zeros(len(filled) + self.config.horizon, x.shape[1], 0)
        P, others = len(filled), means
        means = self._means_of_input(calendar, means, filled)
        of = None if self.instance is None else self.instance.statistics(filled)
        filled, means = self._in_window(filled, of), self._in_window(means, of)
        truth = None if truth is None else self._in_window(truth, of)
        base = self.base_of(x, calendar, filled, means[:P], of, others)
        given = calendar[..., self.placed :]
        missing = x[-P:].isnan() if self.gaps else None
        before = torch.cat([filled[:1], filled[:-1]])
        features = self.features(filled, before, given[:P], means[:P], missing)
        _, state = self.recurrent(features, graph=self.graph)
        steps = given[P:], means[P:]
        return self.answer_of(as_tuple(state), base, filled[-1], steps, truth, teach, of)

    def _in_window(self, x: Tensor, of: Statistics | None) -> Tensor:
        """Return values in the terms of their windows; as they are without --instance-norm."""
        if of is None or not x.shape[-1]:
            return x
        assert self.instance is not None
        return self.instance(x, of)

    @property
    def season(self) -> Season | None:
        """The season that windows need to know; see `plait.tasks.forecast.windows.windows_of`."""
        return None if self.simple is None else self.simple.season

    def combined(self, answer: Tensor, simple: Tensor, weights: Tensor | None = None) -> Tensor:
        """Combine what the network answers with simple forecasts for the same windows.

        Quantiles are moved by the difference of the combination from the middle one.

        Parameters
        ----------
        answer : Tensor `[H, B, N, (Q)]`
        simple : Tensor `[M, H, B, N]`
        weights : Tensor `[H, 1 + M]`
            None: the model's.
        """
        network = self.middle(answer).double()
        parts = torch.cat([network[None], simple])  # [1 + M, H, B, N]
        weights = self.weights if weights is None else weights
        moved = torch.einsum("hm,mhbn->hbn", weights, parts) - network
        if self.config.likelihood != "none":  # the mean alone
            return answer + F.pad(moved[..., None], (0, self.config.outputs - 1))
        return answer + (moved[..., None] if self.config.levels else moved)

    def predict_windows(self, x: Tensor, calendar: Tensor | None = None) -> Tensor:
        """Return what is forecast from windows: the combination, scaled, `[H, B, N, (Q)]`.

        A network of version 0.1.0 knows no simple forecasts: its answer.
        """
        means = None if calendar is None else self.latest_means(calendar)
        answer = self(x, calendar, means=means)
        if self.simple is None:
            return answer
        return self.combined(answer, self.simple_forecasts(x, calendar))

    def simple_forecasts(
        self, x: Tensor, calendar: Tensor | None = None, *, early: bool = False
    ) -> Tensor:
        """Return the simple forecasts for windows, `[M, H, B, N]`, named `simple.names`.

        They are fitted to all that is before the test set; with `early` to the training set.
        """
        which = self.early if early else self.simple
        assert which is not None
        if calendar is None:
            calendar = x.new_zeros(self.config.history + self.config.horizon, x.shape[1], 0)
        return which(x, calendar, self.graph)

    def middle(self, answer: Tensor) -> Tensor:
        """Return one number for each answer: a distribution's mean, the median of quantiles."""
        if self.config.likelihood != "none":
            return answer[..., 0]
        levels = self.config.levels
        return answer[..., levels.index(0.5)] if levels else answer

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
            When it was measured; needed with --calendar and with a season.
        covariates : mapping of arrays
            Of each covariate its value at this step, of all nodes or of each, `[]` or `[N]`; of one
            that is known ahead also those of the H steps to come, `[1 + H]` or `[1 + H, N]`.

        Returns
        -------
        forecast : array `[H, N]`, with quantiles `[H, N, Q]`, with a likelihood `[H, N, 1 + Q]`
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
        return step(self, observation, state, time, covariates)

    def advance(
        self,
        x: Tensor,
        before: Tensor,
        missing: Tensor,
        window: Tensor,
        calendar: Tensor,
        state: Any,
        *,
        long: Tensor,
        places: Tensor,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Take one more step: what is forecast from it, scaled, and the states.

        Shapes
        ------
        x, before, missing : `[1, B, N]`, the scaled value, that of the step before, whether it was
        measured; window : `[P, B, N]`; calendar : `[1 + H, B, (N,) C]`; long : the window with the
        values a season before, as in `forward`; places : `[P + H, B, 0 or 1]`
        """
        P, latest = self.config.history, self.latest_means(places)
        means = self._means_of_input(places, latest, x)
        base = self.base_of(long, places, window, means[:P], others=latest)
        given = self.features(
            x, before, calendar[:1], means[P - 1 : P], missing if self.gaps else None
        )
        _, new = self.recurrent(given, state, graph=self.graph)
        ahead = calendar[1:], means[P:]
        answer = self.answer_of(as_tuple(new), base, x[0], ahead, None, 0.0)
        if self.simple is not None:
            answer = self.combined(answer, self.simple_forecasts(long, places))
        return answer, as_tuple(new)

    def unscaled(self, answer: Tensor) -> np.ndarray:
        """Return forecasts `[H, B, N, (Q)]` in the units of the data, in float64.

        Of a distribution its mean, then its quantiles, `[H, B, N, 1 + Q]`.
        """
        config = self.config
        if config.likelihood != "none":
            return columns(config.likelihood, answer, config.levels, self.mean, self.scale)
        shape = (-1, 1) if config.levels else (-1,)
        return (answer.double() * self.scale.view(shape) + self.mean.view(shape)).cpu().numpy()

    def means_at(self, calendar: Tensor) -> Tensor:
        """Return the means at the steps' places in the season, `[P + H, B, N]`; else no nodes."""
        if self.early is None or not self.placed:
            return calendar.new_zeros(*calendar.shape[:2], 0)
        return self.early.profile(calendar).to(self.output.weight.dtype)

    def _means_of_input(self, calendar: Tensor, given: Tensor | None, x: Tensor) -> Tensor:
        """Return the means that the input knows: `given`, or those of the training set.

        Where no level is learnt they are always the same for a place: others, such as those of all
        before the test set, would be a new level, and training has seen none but its own.
        """
        return self.means_at(calendar) if given is None or self.differenced else given.to(x)

    def latest_means(self, calendar: Tensor) -> Tensor | None:
        """Return the means of all that is before the test set, `[P + H, B, N]`; None: no places.

        To forecast what comes after it; what is on the validation set uses `means_at`.
        """
        return self.simple.profile(calendar) if self.simple is not None and self.placed else None

    def features(
        self, x: Tensor, before: Tensor, calendar: Tensor, means: Tensor,
        missing: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Return the input, `[T, B, N, F]`, of values and those a step before."""
        parts = [(x - before if self.differenced else x)[..., None]]
        if missing is not None:
            parts.append(missing.to(x)[..., None])
        if means.shape[-1]:
            parts.append((means if self.differenced else x - means)[..., None])
        if calendar.shape[-1]:
            of_nodes = calendar if calendar.dim() == 4 else calendar[:, :, None]
            parts.append(of_nodes.expand(*x.shape, -1))
        own = [part for part in (self.static, self.node_embedding) if part is not None]
        parts += [part.expand(*x.shape, -1) for part in own]
        return torch.cat(parts, -1) if len(parts) > 1 else parts[0]

    def answer_of(
        self,
        states: tuple[Tensor, ...],
        base: Tensor,
        last: Tensor,
        steps: tuple[Tensor, Tensor],
        truth: Tensor | None,
        teach: float,
        of: Statistics | None = None,
    ) -> Tensor:
        """Return the forecast `[H, B, N, (Q)]`; `steps` are the calendar and means ahead."""
        base = base[..., None]  # [H, B, N, 1]
        if self.config.likelihood != "none":
            base = F.pad(base, (0, self.config.outputs - 1))  # of the mean alone
        if self.decoder is None:
            h = F.dropout(states[0][-1], self.config.dropout, self.training)
            y = self.output(h).unflatten(-1, (self.config.horizon, -1))  # [B, N, H, Q]
            y = base + y.permute(2, 0, 1, 3)
            if self.ahead is not None:
                y = y + self.ahead(h, steps[0])
        else:
            y = self._decoded(states, base, last, steps, truth, teach)
        if of is not None:
            assert self.instance is not None
            found = 1 if self.config.likelihood != "none" else y.shape[-1]  # the mean alone
            y = torch.cat([self.instance.undo(y[..., :found], of), y[..., found:]], -1)
        if self.config.likelihood != "none":
            return y
        return y.sort(-1).values if self.config.levels else y[..., 0]

    def base_of(
        self,
        x: Tensor,
        calendar: Tensor,
        window: Tensor,
        means: Tensor,
        of: Statistics | None = None,
        others: Tensor | None = None,
    ) -> Tensor:
        """Return what the output is added to, `[H, B, N]`."""
        simple = None
        if self.early is not None and self.config.skip == "best":
            simple = self.early(x, calendar, self.graph, self.base, others)[0].to(window)
            simple = self._in_window(simple, of)
            if self.differenced:
                window = window - window[-1]
            elif means.shape[-1]:
                window = window - means
        if self.skip is not None:
            learnt = torch.tensordot(self.skip, window, 1)
            if self.node_skip is not None:  # [N, d], [d, H, P], [P, B, N]
                own = torch.einsum("nd,dhp->nhp", self.node_embedding, self.node_skip)
                learnt = learnt + torch.einsum("nhp,pbn->hbn", own, window)
            return learnt if simple is None else simple + learnt
        last = window[-1] if self.config.skip == "last" else torch.zeros_like(window[-1])
        return last.expand(self.config.horizon, *last.shape)

    def _decoded(
        self,
        states: tuple[Tensor, ...],
        base: Tensor,
        given: Tensor,
        steps: tuple[Tensor, Tensor],
        truth: Tensor | None,
        teach: float,
    ) -> Tensor:
        """Go on step by step, fed with the last forecast or, at times in training, the truth."""
        assert self.decoder is not None
        levels = self.config.levels if self.config.likelihood == "none" else ()
        middle = levels.index(0.5) if levels else 0
        state: Any = as_state(states)
        answers, before = [], given
        for k in range(self.config.horizon):
            x = self.features(given[None], before[None], *(part[k : k + 1] for part in steps))
            h, state = self.decoder(x, state, graph=self.graph)
            h = F.dropout(h[0], self.config.dropout, self.training)
            answers.append(base[k] + self.output(h))
            before, given = given, answers[-1][..., middle]
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
