"""Curves, means and paired differences, against SciPy and by hand."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from plait.comparison.grid import Grid
from plait.comparison.results import (
    Measure,
    Result,
    differences,
    interval,
    line_field,
    mean_curve,
    summarise,
    trailing_mean,
)

ACCURACY = Measure("accuracy", False, 0.99)


@pytest.fixture
def grid() -> Grid:
    return Grid.of("memory", Path("g"), {"length": (4, 5), "cell": ("lstm", "gru")}, 3, None, {})


def result(plan, values=(), *, converged=False, **row) -> Result:
    full = {**plan.values, "seed": plan.seed, "parameters": 7, "seconds": 1.0, **row}
    return Result(plan, full, np.array(values, dtype=float), converged)


def test_the_interval_is_student_s():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=7), rng.normal(1, 2, size=7)
    low, high = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert interval((a - b).tolist()) == pytest.approx((np.mean(a - b), low, high), rel=1e-12)
    assert interval([3.0]) == (3.0, None, None)


def test_a_trailing_mean_is_over_what_there_is():
    values = np.random.default_rng(0).random(25)
    expected = [values[max(0, t - 9) : t + 1].mean() for t in range(25)]
    np.testing.assert_allclose(trailing_mean(values, 10), expected, rtol=1e-13)


def test_the_first_step_is_counted_from_one():
    curve = np.array([0.5, 0.99, 0.98, 1.0])
    assert ACCURACY.reached(curve) == 2
    assert Measure("loss", True, 0.7).reached(curve) == 1
    assert Measure("accuracy", False, 1.1).reached(curve) is None
    assert Measure("accuracy", False, None).reached(curve) is None
    assert ACCURACY.reached(np.empty(0)) is None


def test_a_converged_run_goes_on_and_another_ends_the_mean(grid):
    plan = grid.plans[0]
    early = result(plan, [0.0] * 5 + [1.0] * 15, converged=True)
    late = result(plan, [0.0] * 40, converged=True)
    mean, spread = mean_curve([early, late])
    assert len(mean) == 40 + 10
    assert mean[30] == 0.5
    assert spread[30] == pytest.approx(np.sqrt(0.5))
    assert len(mean_curve([early, late, result(plan, [0.0] * 30)])[0]) == 30
    assert len(mean_curve([result(plan)])[0]) == 0


def test_differences_pair_the_same_seeds(grid):
    accuracy = {("lstm", 0): 0.9, ("lstm", 1): 0.8, ("lstm", 2): 0.7}
    accuracy |= {("gru", 0): 0.95, ("gru", 1): 0.95, ("gru", 2): 0.95}
    results = [
        result(p, test_accuracy=accuracy[p.values["cell"], p.seed], converged_step=None)
        for p in grid.plans
        if p.values["length"] == 4
    ]
    rows = differences(grid, results, ACCURACY)
    (row,) = [r for r in rows if r["measure"] == "test_accuracy"]
    assert row["of"] == "gru − lstm"
    assert (row["length"], row["pairs"]) == (4, 3)
    assert row["difference"] == pytest.approx(0.15)
    assert (row["low"], row["high"]) == pytest.approx(interval([0.05, 0.15, 0.25])[1:])
    assert not [r for r in rows if r["measure"] == "converged_step"]


def test_a_missing_run_leaves_its_pair_out(grid):
    plans = [p for p in grid.plans if p.values["length"] == 4]
    results = [result(p, test_accuracy=0.5) for p in plans[:-1]]  # no gru of the last seed
    assert {r["pairs"] for r in differences(grid, results, ACCURACY)} == {2}


def test_a_summary_has_means_spreads_and_where_the_mean_comes_to(grid):
    plans = [p for p in grid.plans if p.values == {"length": 4, "cell": "lstm"}]
    results = [
        result(p, [0.0] * k + [1.0] * 30, converged=True, test_accuracy=a, converged_step=s)
        for p, k, a, s in zip(plans, (0, 3, 9), (1.0, 1.0, 0.7), (20, 40, 60), strict=True)
    ]
    row = summarise(grid, results, ACCURACY)[0]
    assert row["test_accuracy"] == pytest.approx(0.9)
    assert row["test_accuracy_sd"] == pytest.approx(np.sqrt(0.03))
    assert (row["converged_step"], row["converged_step_sd"]) == (40, 20)
    assert (row["runs"], row["converged"], row["parameters"]) == (3, 3, 7)
    # the last of the three holds a zero until step 9 + 10
    assert row["reached_step"] == 19
    assert summarise(grid, results, ACCURACY)[1]["runs"] == 0


def test_the_cell_is_what_is_compared_or_else_what_comes_last(grid):
    assert line_field(grid) == "cell"
    sizes = {"hidden_size": (4, 8), "length": (4, 5)}
    assert line_field(Grid.of("memory", Path("g"), sizes, 1, None, {})) == "length"
