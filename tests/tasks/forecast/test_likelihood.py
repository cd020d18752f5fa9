"""Distributions: their likelihood and quantiles against SciPy, and what a run writes of them."""

import os

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import plait
from plait.errors import InputError
from plait.tasks.forecast.config import ForecastConfig
from plait.tasks.forecast.likelihood import columns, negative_log_likelihood, positive
from plait.tasks.forecast.task import ForecastTask

MEAN, SCALE = torch.tensor([3.0, 10.0]).double(), torch.tensor([2.0, 5.0]).double()


def drawn(outputs: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(0, 0.7, (6, 2, outputs)))


def scipy_of(kind: str, answer: torch.Tensor):
    u = answer[..., 0] * SCALE + MEAN
    m, a = positive(u, SCALE).numpy(), answer[..., -1].exp().numpy()
    if kind == "gaussian":
        return stats.norm(u.numpy(), a * SCALE.numpy())
    if kind == "poisson":
        return stats.poisson(m)
    return stats.nbinom(1 / a, 1 / (1 + a * m))


@pytest.mark.parametrize("kind", ["gaussian", "poisson", "negative-binomial"])
def test_likelihood_mean_and_quantiles_by_scipy(kind):
    answer = drawn(1 if kind == "poisson" else 2)
    value = torch.from_numpy(np.random.default_rng(1).integers(0, 15, (6, 2)).astype(float))
    frozen = scipy_of(kind, answer)
    density = frozen.logpdf if kind == "gaussian" else frozen.logpmf
    found = negative_log_likelihood(kind, answer, (value - MEAN) / SCALE, MEAN, SCALE)
    np.testing.assert_allclose(found, -density(value.numpy()), rtol=1e-10)
    shown = columns(kind, answer, (0.1, 0.5, 0.9), MEAN, SCALE)
    np.testing.assert_allclose(shown[..., 0], frozen.mean(), rtol=1e-12)
    for k, level in enumerate((0.1, 0.5, 0.9), 1):
        np.testing.assert_allclose(shown[..., k], frozen.ppf(level), rtol=1e-12)
    answer.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a: negative_log_likelihood(kind, a, (value - MEAN) / SCALE, MEAN, SCALE), (answer,)
    )


def test_a_variance_of_counts_grows_with_their_mean():
    answer = torch.tensor([[0.5, 0.3], [1.5, 0.3]]).double()
    frozen = scipy_of("negative-binomial", answer)
    m = frozen.mean()
    np.testing.assert_allclose(frozen.var(), m + np.exp(0.3) * m**2, rtol=1e-6)


def test_a_positive_mean_differs_near_0_only():
    u = torch.tensor([-5.0, 0.0, 1.0, 4.0]).double()
    found = positive(u, torch.tensor(2.0).double())
    assert (found > 0).all()
    np.testing.assert_allclose(found[2:], u[2:], atol=1e-5)
    assert found[1] < 0.1


@pytest.fixture
def counts(tmp_path, monkeypatch) -> pd.DataFrame:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.chdir(tmp_path)
    random, t = np.random.default_rng(0), np.arange(500)[:, None]
    rate = np.exp(1.2 * np.sin(2 * np.pi * t / 24 + np.arange(3)))
    frame = pd.DataFrame(random.poisson(rate * random.gamma(2, 0.5, rate.shape)) * 1.0)
    frame.columns = list("abc")
    frame.insert(0, "time", pd.date_range("2024-01-01", periods=500, freq="h"))
    frame.to_csv("counts.csv", index=False)
    return frame


OPTIONS = {
    "data": "counts.csv", "operator": "dense", "history": 4, "horizon": 2, "hidden_size": 4,
    "steps": 60, "batch_size": 16, "threads": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("negative-binomial", {"coverage": 0.9}),
        ("poisson", {"decoder": "recurrent"}),
        ("gaussian", {"quantiles": "0.05,0.5,0.95"}),
    ],
)
def test_a_run_writes_mean_and_quantiles(counts, kind, more):
    run = plait.train("forecast", out="run", likelihood=kind, **OPTIONS, **more)
    (test,) = run.records("test")
    assert {"crps", "pinball", "coverage", "loss"} <= set(test)
    assert test["rmse"] < 1.02 * test["baseline_rmse"]
    table = pd.read_csv(plait.predict(run))
    levels = ("0.05", "0.5", "0.95") if "quantiles" in more else ("0.1", "0.5", "0.9")
    assert [f"q{level}" for level in levels] == [c for c in table if c.startswith("q")]
    if kind != "gaussian":
        assert (table["forecast"] > 0).all()
        whole = table[[f"q{level}" for level in levels]].to_numpy()
        np.testing.assert_array_equal(whole, np.round(whole))
        assert not np.allclose(table["forecast"], table["q0.5"])  # the mean is no median
    counts.iloc[-4:].to_csv("last.csv", index=False)
    shown = pd.read_csv(plait.predict(run, "last.csv", out="last-next.csv"))
    model, state = plait.load(run), None
    for time, *row in counts.iloc[-4:].itertuples(index=False):
        forecast, state = model.step(row, state, time)
    names = ["forecast", *(f"q{level}" for level in levels)]
    expected = shown[names].to_numpy().reshape(2, 3, 4)
    np.testing.assert_allclose(forecast, expected, rtol=1e-4, atol=1e-5)
    assert plait.score(run)["crps"] == pytest.approx(test["crps"], rel=1e-5)
    if "decoder" not in more:
        assert plait.inspect(run)[0].without_flow == ""


def test_its_loss_is_the_likelihood_of_what_was_measured(counts):
    config = ForecastConfig(likelihood="negative-binomial", **OPTIONS)
    task = ForecastTask(config, torch.device("cpu"))
    with torch.no_grad():
        window = task.windows.at(torch.arange(task.splits.test, task.splits.end), task.splits.end)
        means = task.model.latest_means(window.calendar)
        answer = task.model(window.x, window.calendar, means=means).double()
        y = window.y.double()
        nll = negative_log_likelihood(
            "negative-binomial", answer, y.nan_to_num(), task.model.mean, task.model.scale
        )
    assert task.own_scores()["loss"] == pytest.approx(float(nll[~y.isnan()].mean()), rel=1e-9)


def test_what_is_no_count_is_refused(counts):
    message = "takes counts, whole numbers from 0, and column 'b' has 1.5; take gaussian"
    counts.loc[7, "b"] = 1.5
    counts.to_csv("counts.csv", index=False)
    with pytest.raises(InputError, match=message):
        plait.train("forecast", out="run", likelihood="poisson", **OPTIONS)
    with pytest.raises(InputError, match="--seasonal and --likelihood poisson cannot be combined"):
        plait.train("forecast", out="run", likelihood="poisson", seasonal=True, **OPTIONS)
