"""Errors by hand, and what is said of them."""

from itertools import chain

import numpy as np
import pytest

from plait.tasks.forecast.scores import Errors, gain, node_errors, quantile_scores, table

generator = np.random.default_rng(0)
TRUTH = generator.standard_normal((5, 7, 3))
FORECAST = TRUTH + generator.standard_normal(TRUTH.shape)
TRUTH[generator.random(TRUTH.shape) < 0.3] = np.nan
TRUTH[0, 0, 0] = 0.0


def test_errors_are_those_of_what_was_measured_one_by_one():
    errors = Errors.of(FORECAST, TRUTH)
    pairs = [
        [(f, t) for f, t in zip(FORECAST[h].flat, TRUTH[h].flat, strict=True) if not np.isnan(t)]
        for h in range(5)
    ]
    for h in range(5):
        for found, of in ((errors.at, pairs[h]), (errors.upto, list(chain(*pairs[: h + 1])))):
            off = np.array([f - t for f, t in of])
            share = [abs(f - t) / abs(t) for f, t in of if t != 0]
            assert found["mae"][h] == pytest.approx(np.abs(off).mean(), rel=1e-12)
            assert found["rmse"][h] == pytest.approx(np.sqrt((off**2).mean()), rel=1e-12)
            assert found["mape"][h] == pytest.approx(np.mean(share), rel=1e-12)


def test_where_there_is_nothing_to_score_there_is_no_number():
    truth = TRUTH.copy()
    truth[3] = np.nan
    record = Errors.of(FORECAST, truth).record()
    assert record["rmse_at"][3] is None
    assert record["rmse_to"][3] == record["rmse_to"][2]
    zeros = Errors.of(FORECAST[:1], np.zeros((1, 7, 3)))
    assert set(zeros.overall()) == {"mae", "rmse"}
    text = table({"network": record, "last value": record}, (1, 4))
    assert text.count("\n  network") == 3
    assert "      -" in text


def test_the_errors_of_nodes():
    errors = node_errors(FORECAST, TRUTH)
    squared = (FORECAST - TRUTH)[:, :, 1] ** 2
    assert errors[1] == pytest.approx(np.sqrt(np.nanmean(squared)), rel=1e-12)
    nothing = TRUTH.copy()
    nothing[:, :, 2] = np.nan
    assert np.isnan(node_errors(FORECAST, nothing)[2])


def test_quantiles_by_their_definition():
    levels = (0.1, 0.5, 0.9)
    quantiles = np.sort(generator.standard_normal((*TRUTH.shape, 3)), -1)
    scores = quantile_scores(quantiles, TRUTH, levels)
    losses, within = [], []
    for place in np.argwhere(~np.isnan(TRUTH)):
        t, q = TRUTH[tuple(place)], quantiles[tuple(place)]
        losses += [
            (t - v) * (level if t > v else level - 1) for level, v in zip(levels, q, strict=True)
        ]
        within.append(q[0] <= t <= q[2])
    assert scores["pinball"] == pytest.approx(np.mean(losses), rel=1e-12)
    assert scores["coverage"] == pytest.approx(np.mean(within), rel=1e-12)
    assert scores["coverage_wanted"] == 0.8


def test_numbers_of_any_size_stand_apart():
    big = {"rmse_at": [1.234567e9], "rmse_to": [123456.7]}
    record = {f"{m}_{k}": big[f"rmse_{k}"] for m in ("mae", "rmse", "mape") for k in ("at", "to")}
    cells = [line.split()[1:] for line in table({"x": record}, [1]).splitlines()[1::2]]
    assert cells == [["1e+09", "123457"]] * 2 + [["1e+11", "1e+07"]]


def test_four_steps_fit_into_eighty_columns():
    numbers = [123.456, 12345.6, 0.000123456, 1e300]
    record = {f"{m}_{k}": numbers for m in ("mae", "rmse", "mape") for k in ("at", "to")}
    text = table({"linear, neighbours": record}, [1, 2, 3, 4])
    assert max(map(len, text.splitlines())) < 80


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (3.0, 4.0, "the network wins by 25.0%"),
        (0.0, 4.0, "the network wins by 100.0%"),
        (4.4, 4.0, "it wins by 10.0%: take it, "),
        (0.5, 1e-9, "it wins by 0.5: take it, "),
        (0.5, 0.0, "it wins by 0.5: take it, "),
        (0.0, 0.0, "neither makes an error"),
        (2.0, 2.0, "both errors are equal"),
    ],
)
def test_who_wins_is_never_a_ratio_to_nothing(ours, theirs, said):
    assert gain(ours, theirs).startswith(said)
