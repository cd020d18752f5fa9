"""The picture of a grid: a panel a place, a line a value, the spread of the seeds as a band."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from plait.comparison.grid import Grid
from plait.comparison.results import WINDOW, Measure, Result, group, line_field, mean_curve
from plait.figures import COLOURS, STYLE, save_figure

PRIORS = {"accuracy": "prior", "loss": "loss_prior"}
"""The score that stands for not looking, by the score that it stands beside."""

MARKS = ("v", "s", "D", "o")
PANELS_ACROSS = 4

Published = Sequence[tuple[Mapping[str, Any], Mapping[str, int]]]


def draw_grid(
    grid: Grid, results: Sequence[Result], measure: Measure, published: Published, path: Path
) -> None:
    """Draw the training curves of a grid.

    A line is the mean over the seeds of each run's curve, ten-step means of the training score;
    the band is ± 1 standard deviation. It ends with the last step that one of the runs made, in a
    dot where all of them converged; until there a run that converged before the others goes on
    with its last value. Published steps are marks along the lower edge; what can be
    had without looking is dashed.
    """
    line = line_field(grid)
    places: list[dict[str, Any]] = []
    for values, _ in group(grid, results):
        place = {k: v for k, v in values.items() if k != line}
        if place not in places:
            places.append(place)
    columns = min(len(places), PANELS_ACROSS)
    lines = -(-len(places) // columns)
    colours = {value: COLOURS[k % len(COLOURS)] for k, value in enumerate(grid.vary[line])}
    sources = list(dict.fromkeys(source for _, steps in published for source in steps))
    with rc_context(STYLE):
        figure = Figure(figsize=(max(7, 4.2 * columns), 3.4 * lines + 0.9))
        FigureCanvasAgg(figure)
        panels = figure.subplots(lines, columns, squeeze=False, sharey=True).flat
        for axes, place in zip(panels, places, strict=False):
            for values, of_point in group(grid, results):
                if {k: v for k, v in values.items() if k != line} == place:
                    _draw_point(axes, of_point, measure, colours[values[line]])
            marks = [(v[line], steps) for v, steps in published
                     if {k: w for k, w in v.items() if k != line} == place]  # fmt: skip
            _draw_published(axes, marks, sources, colours)
            axes.set_title(", ".join(f"{k.replace('_', ' ')} {v}" for k, v in place.items()))
            axes.set_xlabel("training step")
        for axes in panels:  # those left over
            axes.set_visible(False)
        if measure.score == "accuracy":
            figure.axes[0].set_ylim(top=1.02)  # the band of the spread may lie beyond
        config = grid.plans[0].config
        subject = "" if config.subject in grid.vary else config.subject_name
        figure.suptitle(f"{grid.task}: {subject}" if subject else grid.task)
        figure.axes[0].set_ylabel(f"{measure.score.replace('_', ' ')} of training batches")
        _legend(figure, grid, results, sources, colours, bool(_priors(results, measure)))
        save_figure(figure, path)


def _draw_point(axes: Axes, results: Sequence[Result], measure: Measure, colour: str) -> None:
    mean, spread = mean_curve(results)
    last = max((len(r.values) for r in results), default=0)  # steps that some run made
    mean, spread = mean[:last], spread[:last]
    steps = np.arange(1, len(mean) + 1)
    ended = bool(results) and all(r.converged for r in results)
    end = {"marker": "o", "markersize": 5, "markevery": [-1]} if ended else {}
    axes.plot(steps, mean, color=colour, **end)
    axes.fill_between(steps, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)
    for prior in _priors(results, measure):
        axes.axhline(prior, color="0.3", linestyle="--", linewidth=1)


def _priors(results: Sequence[Result], measure: Measure) -> set[float]:
    """What can be had without looking, as the runs' tests say."""
    name = f"test_{PRIORS.get(measure.score, '')}"
    return {r.row[name] for r in results if name in r.row}


def _draw_published(
    axes: Axes,
    marks: Sequence[tuple[Any, Mapping[str, int]]],
    sources: Sequence[str],
    colours: Mapping[Any, str],
) -> None:
    """Mark published steps along the lower edge, a row for every source."""
    for value, steps in marks:
        for source, step in steps.items():
            row = sources.index(source)
            axes.plot(
                [step], [0.03 + 0.05 * row], MARKS[row % len(MARKS)], color=colours[value],
                markersize=5, transform=axes.get_xaxis_transform(),
            )  # fmt: skip


def _legend(
    figure: Figure,
    grid: Grid,
    results: Sequence[Result],
    sources: Sequence[str],
    colours: Mapping[Any, str],
    prior: bool,
) -> None:
    entries: list[Any] = []
    name = line_field(grid).replace("_", " ")
    for value, colour in colours.items():
        entries.append(Line2D([], [], color=colour, label=f"{name} {value}"))
    seeds = len(grid.seeds)
    smooth = f"means of {WINDOW} steps"
    label = f"± 1 standard deviation of {seeds} seeds, {smooth}" if seeds > 1 else smooth
    entries.append(Patch(color="0.8", label=label))
    if any(r.converged for r in results):
        entries.append(
            Line2D([], [], color="0.4", marker="o", markersize=5, label="end, all seeds converged")
        )
    if prior:
        entries.append(Line2D([], [], color="0.3", linestyle="--", label="without looking"))
    for row, source in enumerate(sources):
        mark = MARKS[row % len(MARKS)]
        entries.append(Line2D([], [], color="0.4", marker=mark, linestyle="", label=source))
    columns = 2 if figure.get_figwidth() < 9 else 3  # what the widest entries leave room for
    figure.legend(handles=entries, loc="outside lower center", ncols=min(len(entries), columns))
