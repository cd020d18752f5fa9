"""The forecaster: its inputs, its outputs, and one step at a time."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

import plait
from plait import Graph
from plait.errors import InputError
from plait.nn.registry import CELLS
from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.model import Forecaster
from plait.tasks.forecast.series import Series
from plait.tasks.forecast.windows import (
    CALENDAR,
    Windows,
    calendar_of,
    covariate_scaling,
    windows_of,
)

N, P, H = 5, 6, 4
IDS = tuple("abcde")
SMALL = {"hidden_size": 4, "history": P, "horizon": H, "k": 2, "heads": 2}
OPERATORS = ["gcn", "attention", "chebyshev", "diffusion", "dense"]


def forecaster(
    *, gaps: bool = False, drawn: bool = True, static: np.ndarray | None = None, **options
) -> Forecaster:
    graph = Graph.from_edges([(0, 1), (1, 2), (2, 3), (0, 3), (3, 4)]).to_undirected()
    config = ForecastConfig(**{**SMALL, **options})
    columns = 0 if static is None else static.shape[1]
    model = Forecaster(
        config, IDS, graph.num_edges, gaps=gaps, frequency="h", static=columns
    ).double().eval()  # fmt: skip
    model.place(graph, np.arange(N) * 1.0, 1.0 + np.arange(N), static)
    if drawn:
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(0.4 * torch.randn(p.shape).double())
    return model


def raw(model: Forecaster, x: torch.Tensor) -> np.ndarray:
    return (x * model.scale + model.mean).numpy()


@pytest.mark.parametrize("decoder", ["direct", "recurrent"])
@pytest.mark.parametrize("options", [
    {}, {"quantiles": "0.1,0.5,0.9"}, {"skip": "none"}, {"skip": "last", "layers": 2},
    {"calendar": "week"}, {"cell": "lstm-peephole", "operator": "attention"},
    {"covariates": "rain", "known": "event", "calendar": "day"},
    {"node_embedding": 3, "static": np.arange(2.0 * N).reshape(N, 2)},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("gaps", [False, True])
def test_step_by_step_is_the_window(decoder, options, gaps):
    model = forecaster(gaps=gaps, decoder=decoder, **options)
    x = torch.randn(P, 1, N).double()
    x[2, 0, 1] = x[P - 1, 0, 3] = x[0, 0, 0] = torch.nan
    times = pd.date_range("2024-03-03 20:00", periods=P + H, freq="h")
    calendar = calendar_of(times, P + H, model.config.calendar)
    calendar = torch.from_numpy(calendar)[:, None]
    inputs = [{} for _ in range(P + 1)]
    if model.covariates is not None:
        model.covariates = torch.tensor([[1.0, -2.0], [3.0, 0.5]]).double()
        rain, event = np.random.default_rng(1).standard_normal((2, P + H + 1, N))
        scaled = torch.from_numpy(np.stack([(rain - 1) / 3, (event + 2) / 0.5], -1))[: P + H, None]
        scaled[P:, ..., 0] = 0  # rain is not known ahead
        calendar = torch.cat([calendar[:, :, None].expand(-1, -1, N, -1), scaled], -1)
        inputs = [{"rain": rain[t], "event": event[t : t + 1 + H]} for t in range(P + 1)]
    with torch.no_grad():
        expected = model.unscaled(model(x, calendar))[:, 0]
    state = None
    for t in range(P):
        forecast, state = model.step(raw(model, x)[t, 0], state, times[t], inputs[t])
    np.testing.assert_allclose(forecast, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    further, _ = model.step(raw(model, x)[1, 0], state, times[P], inputs[P])
    assert not np.allclose(further, forecast)


@pytest.mark.parametrize(
    ("cell", "operator"), list(itertools.product(["rnn", "lstm", "gru"], OPERATORS))
)
def test_renaming_the_nodes_renames_the_forecast(cell, operator, assert_near):
    model = forecaster(cell=cell, operator=operator, decoder="recurrent")
    place = torch.randperm(N)
    x = torch.randn(P, 2, N).double()
    y = model(x)
    other = forecaster(cell=cell, operator=operator, decoder="recurrent")
    other.load_state_dict(model.state_dict())
    graph = model.graph
    other.place(Graph(place[graph.edge_index], graph.edge_weight, N), np.zeros(N), np.ones(N))
    moved = torch.empty_like(x)
    moved[..., place] = x
    assert_near(other(moved)[..., place], y)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("decoder", ["direct", "recurrent"])
def test_untrained_it_repeats_the_last_value(cell, decoder):
    x = torch.randn(P, 3, N).double()
    x[-1, 1, 2] = torch.nan
    for skip, expected in (("linear", x[-1]), ("last", x[-1]), ("none", torch.zeros(3, N))):
        answer = forecaster(drawn=False, cell=cell, decoder=decoder, skip=skip)(x)
        wanted = expected.double().clone()
        if skip != "none":
            wanted[1, 2] = x[-2, 1, 2]
        torch.testing.assert_close(answer, wanted.expand(H, 3, N), rtol=0, atol=0)


def test_the_direct_answer_by_its_formula(assert_near):
    model = forecaster()
    x = torch.randn(P, 2, N).double()
    h, _ = model.recurrent(x[..., None], graph=model.graph)
    out = model.output(h[-1])  # [B, N, H]
    expected = torch.stack([
        out[..., k] + sum(model.skip[k, p] * x[p] for p in range(P)) for k in range(H)
    ])  # fmt: skip
    assert_near(model(x), expected)


def test_what_belongs_to_a_node_is_input_at_every_step(assert_near):
    static = np.random.default_rng(0).standard_normal((N, 2))
    model = forecaster(static=static, node_embedding=3, calendar="day")
    x, calendar = torch.randn(P, 2, N).double(), torch.randn(P + H, 2, 2).double()
    own = torch.cat([torch.from_numpy(static), model.node_embedding], 1).expand(P, 2, N, 5)
    given = torch.cat([x[..., None], calendar[:P, :, None].expand(P, 2, N, 2), own], -1)
    h, _ = model.recurrent(given, graph=model.graph)
    # the sum over the node's past has weights of its own, by its vector
    sums = model.skip[None] + torch.einsum("nd,dhp->nhp", model.node_embedding, model.node_skip)
    expected = model.output(h[-1]).permute(2, 0, 1) + torch.einsum("nhp,pbn->hbn", sums, x)
    y = model(x, calendar)
    assert_near(y, expected)
    (gradient,) = torch.autograd.grad(y.sum(), model.node_embedding)
    (wanted,) = torch.autograd.grad(expected.sum(), model.node_embedding)
    assert_near(gradient, wanted)
    assert gradient.abs().min() > 0


@pytest.mark.parametrize("quantiles", ["", "0.1,0.5,0.9"])
def test_what_is_known_ahead_by_its_formula(assert_near, quantiles):
    model = forecaster(covariates="rain", known="event", calendar="day", quantiles=quantiles)
    x, given = torch.randn(P, 2, N).double(), torch.randn(P + H, 2, N, 4).double()
    inputs = torch.cat([x[..., None], given[:P]], -1)
    h = model.recurrent(inputs, graph=model.graph)[1][-1]  # [B, N, hidden]
    (V, b), (W,) = model.ahead.inner.parameters(), model.ahead.outer.parameters()
    Q = len(model.config.levels) or 1
    base = torch.tensordot(model.skip, x, 1)[..., None]
    base = base + model.output(h).unflatten(-1, (H, Q)).permute(2, 0, 1, 3)
    steps = []
    for k in range(H):
        z = torch.cat([h, given[P + k, ..., :2], given[P + k, ..., 3:]], -1)
        steps.append(base[k] + torch.relu(z @ V.T + b) @ W.T)
    expected = torch.stack(steps)
    assert_near(model(x, given), expected.sort(-1).values if Q > 1 else expected[..., 0])
    changed = given.clone()
    changed[P:, ..., 2] += 1  # rain to come is not looked at
    assert torch.equal(model(x, changed), model(x, given))


def test_quantiles_rise():
    answer = forecaster(quantiles="0.05,0.25,0.5,0.95")(torch.randn(P, 3, N).double())
    assert answer.shape == (H, 3, N, 4)
    assert (answer.diff(dim=-1) >= 0).all()


def test_the_decoder_is_fed_the_truth_as_often_as_scheduled(assert_near):
    model = forecaster(decoder="recurrent")
    x, truth = torch.randn(P, 2, N).double(), torch.randn(H, 2, N).double()
    alone = model(x)
    assert_near(model(x, None, truth, 0.0), alone)
    taught = model(x, None, truth, 1.0)
    assert_near(taught[0], alone[0])
    assert not torch.allclose(taught[1:], alone[1:])
    missing = truth.clone()
    missing[0] = alone[0].detach()
    holes = truth.clone()
    holes[0] = torch.nan  # there it reads its own
    assert_near(model(x, None, holes, 1.0), model(x, None, missing, 1.0))


def test_where_nothing_was_measured_is_input_of_a_network_with_gaps():
    x = torch.randn(P, 1, N).double()
    carried = x.clone()
    carried[3, 0, 2] = carried[2, 0, 2]
    x[3, 0, 2] = torch.nan
    assert torch.equal(forecaster()(x), forecaster()(carried)) is False  # other weights
    plain, inputs = forecaster(), forecaster(gaps=True)
    assert torch.equal(plain(x), plain(carried))
    assert not torch.allclose(inputs(x), inputs(carried))


def test_a_saved_model_brings_graph_and_scale_along():
    model = forecaster()
    again = forecaster()
    other = Graph.from_edges([(0, 1), (0, 2), (0, 3), (0, 4), (1, 4)]).to_undirected()
    again.place(other, np.zeros(N), np.ones(N))
    x = torch.randn(P, 1, N).double()
    assert not torch.equal(again(x), model(x))
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(x), model(x))
    np.testing.assert_array_equal(
        again.unscaled(model(x).detach()), model.unscaled(model(x).detach())
    )


def test_observations_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"an observation has 5 numbers, not"):
        forecaster().step([1.0, 2.0])
    with pytest.raises(InputError, match="trained with the covariate 'rain': give it"):
        forecaster(covariates="rain").step(np.zeros(N), covariates={"snow": 1.0})
    with pytest.raises(
        ValueError, match=r"'event' must be \[1 \+ H\], or \[1 \+ H, N\]; got \[5, 2"
    ):
        forecaster(known="event").step(np.zeros(N), covariates={"event": np.zeros((5, 2))})
    with pytest.raises(InputError, match="trained with --calendar day: give the time"):
        forecaster(calendar="day").step(np.zeros(N))


def test_windows_are_cut_where_they_belong():
    values = np.arange(40.0).reshape(20, 2)
    windows = Windows(values, np.arange(24.0)[:, None], history=3, horizon=4)
    x, y, calendar, _ = windows.at(torch.tensor([3, 10]), end=12)
    assert x[:, 1, 0].tolist() == [14.0, 16.0, 18.0]
    assert y[:, 0, 1].tolist() == [7.0, 9.0, 11.0, 13.0]
    assert y[:2, 1, 0].tolist() == [20.0, 22.0]
    assert y[2:, 1].isnan().all()
    assert calendar[:, 1, 0].tolist() == list(range(7, 14))


def test_covariates_that_are_not_known_ahead_are_hidden():
    series = Series(
        "s", "s", ("a", "b"), np.zeros((4, 2)), covariates=np.arange(10.0).reshape(5, 1, 2)
    )
    config = ForecastConfig(history=2, horizon=2, covariates="rain", known="event")
    scales = covariate_scaling(series, config.covariate_names, 3)
    np.testing.assert_allclose(scales, [[2, 3], [np.sqrt(8 / 3)] * 2])
    windows = windows_of(config, series, np.zeros(2), np.ones(2), "cpu", covariates=scales)
    given = windows.at(torch.tensor([2, 4]), 4).calendar * np.sqrt(8 / 3)
    np.testing.assert_allclose(given[:, 0, 0], [[-2, -2], [0, 0], [0, 2], [0, 4]], atol=1e-6)
    np.testing.assert_allclose(given[:, 1, 0, 1], [2, 4, 6, 0], atol=1e-6)  # unknown: the mean
    series.covariates[:3] = np.nan
    with pytest.raises(InputError, match="'rain' has no value in the training set; leave it out"):
        covariate_scaling(series, config.covariate_names, 3)


def test_the_calendar():
    times = pd.DatetimeIndex(["2024-01-01 00:00", "2024-01-07 18:00"])
    day, week = (calendar_of(times, 2, kind) for kind in ("day", "week"))
    np.testing.assert_allclose(day, [[0, 1], [-1, 0]], atol=1e-12)
    assert week[:, 2:].argmax(1).tolist() == [0, 6]
    assert week.shape[1] == CALENDAR["week"]
    assert calendar_of(None, 3, "none").shape == (3, 0)


def test_an_observation_may_be_read_only(tmp_path):
    """Such as a row of a pandas table: torch would warn, and the tests turn that into an error."""
    run = plait.train("forecast", data="waves", steps=1, hidden_size=4, out=tmp_path / "run")
    model = plait.load(run)
    row = np.full(len(model.ids), 0.5)
    row.flags.writeable = False
    forecast, _ = model.step(row)
    assert np.isfinite(np.asarray(forecast)).all()


@pytest.mark.parametrize(("base", "level"), [("last value", False), ("historical mean", True)])
def test_where_changes_are_forecast_no_new_level_of_the_season_is_read(base, level):
    """What the test set adds to seasonal means is a level that training has not seen."""
    season = {"steps": 3, "start": "2024-01-01T00:00:00", "base": base}
    model = Forecaster(ForecastConfig(**SMALL), IDS, 0, frequency="h", simple=season)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=0.4)
    calendar = (torch.arange(P + H) % 3).float()[:, None, None]
    x, means = torch.randn(H + P, 1, N), model.means_at(calendar)
    np.testing.assert_array_equal(means, np.zeros((P + H, 1, N)))
    with torch.no_grad():
        before, after = (model(x, calendar, means=means + by) for by in (0.0, 1.0))
    assert torch.equal(before, after) is not level
