"""What the lines of a comparison's picture say; how it looks is for the eye."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from plait.comparison.figure import _draw_point
from plait.comparison.grid import Grid
from plait.comparison.results import Measure, Result

ACCURACY = Measure("accuracy", False, 0.99)


@pytest.mark.parametrize(
    ("runs", "last", "dot"),
    [
        ([(120, True)], 120, True),  # not at 130, where the mean of ten would be all right
        ([(60, True), (120, True), (100, True)], 120, True),
        ([(60, True), (150, False)], 150, False),
        ([(150, False), (90, False)], 90, False),
        ([(5, True)], 5, True),
        ([], 0, False),
    ],
)
def test_a_line_ends_where_the_last_run_does(runs, last, dot):
    (plan, *_) = Grid.of("memory", Path("g"), {"cell": ("lstm", "gru")}, 1, None, {}).plans
    results = [
        Result(plan, {}, np.where(np.arange(steps) < steps - 3, 0.5, 1.0), converged)
        for steps, converged in runs
    ]
    axes = Figure().subplots()
    _draw_point(axes, results, ACCURACY, "k")
    (line,) = axes.lines
    assert np.asarray(line.get_xdata()).tolist() == list(range(1, last + 1))
    assert (line.get_marker() == "o") == dot
    if len(runs) == 1 and last >= 10:
        assert np.asarray(line.get_ydata())[-1] == pytest.approx((7 * 0.5 + 3) / 10)
