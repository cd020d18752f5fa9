"""The picture of a grid: test scores above, learning curves below."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from plait.comparison.grid import Grid
from plait.comparison.results import WINDOW, Measure, Result, group, line_field, mean_curve
from plait.figures import COLOURS, NAME, drawable, label, picture
from plait.training.run import Run

PRIORS = {"accuracy": "prior", "loss": "loss_prior"}
"""The baseline that ignores the inputs, by the score that it belongs to."""

MARKS = ("v", "s", "D", "o")
PANELS_ACROSS = 4
FEW = 30
"""Validations up to which each one is marked, so that a single one is visible."""

PANELS = 40
"""Panels that are drawn, at most."""

Published = Sequence[tuple[Mapping[str, Any], Mapping[str, int]]]


Place = Mapping[str, Any]
"""The values that the fields have in a panel."""


def draw_grid(
    grid: Grid,
    results: Sequence[Result],
    measure: Measure,
    published: Published,
    path: Path,
    wording: Mapping[str, str] | None = None,
) -> None:
    """Draw the test scores of a grid, and below them the learning curves.

    Above: every run's test score as a dot, and the mean over the seeds ± 1 standard deviation.

    Below, a panel for every other field's values: the mean validation score over the seeds, with a
    band of ± 1 standard deviation; as a thin line the training batches, in ten-step means. Where
    validation does not have the score, the band is that of training. A line ends with the last
    step of any of the runs, in a dot where all of them converged; a run that converged earlier
    keeps its last value until there. Published steps are marks along the lower edge; the baseline
    that ignores the inputs is dashed.

    Of more than 40 panels the first 40 are drawn. `wording` replaces texts of the legend and
    the titles, such as "cell lstm" by "LSTM".
    """
    wording = wording or {}
    line = line_field(grid)
    points = group(grid, results)
    places: list[Place] = []
    for values, _ in points:
        place = _without(values, line)
        if place not in places:
            places.append(place)
    places = places[:PANELS]
    columns = min(len(places), PANELS_ACROSS)
    lines = -(-len(places) // columns)
    colours = {value: COLOURS[k % len(COLOURS)] for k, value in enumerate(grid.vary[line])}
    sources = list(dict.fromkeys(source for _, steps in published for source in steps))
    score = measure.score.replace("_", " ")
    validated = {r.plan.path: _validated(r, measure) for r in results}
    of_validation = any(len(curve) for curve in validated.values())
    with picture(path, max(7, 4.2 * columns), 2.7 + 3.2 * lines + 0.9) as figure:
        figure.set_layout_engine("constrained", hspace=0.06)
        cells = figure.add_gridspec(1 + lines, columns, height_ratios=[2.7, *[3.2] * lines])
        above = figure.add_subplot(cells[0, :])
        _draw_scores(above, points, places, measure, colours, line, wording)
        above.set_ylabel(f"test {score}")
        first: Axes | None = None
        for k, place in enumerate(places):
            axes = figure.add_subplot(cells[1 + k // columns, k % columns], sharey=first)
            axes.tick_params(labelleft=k % columns == 0)
            first = first or axes
            for values, of_point in points:
                if _without(values, line) == place:
                    colour = colours[values[line]]
                    curves = [validated[r.plan.path] for r in of_point]
                    _draw_point(axes, of_point, measure, colour, thin=of_validation)
                    _draw_validation(axes, curves, [r.converged for r in of_point], colour)
            marks = [(v[line], steps) for v, steps in published if _without(v, line) == place]
            _draw_published(axes, marks, sources, colours)
            axes.set_title(_named(place, wording))
            axes.set_xlabel("training step")
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
            if k % columns == 0:
                where = "on validation" if of_validation else "of training batches"
                axes.set_ylabel(f"{score} {where}")
        if measure.score == "accuracy" and first is not None:
            first.set_ylim(top=1.02)  # the band of the spread may lie beyond
        config = grid.plans[0].config
        subject = "" if config.subject in grid.vary else label(config.subject_name)
        figure.suptitle(f"{grid.task}: {subject}" if subject else grid.task)
        _legend(figure, grid, results, sources, colours, measure, of_validation, wording)


def _without(values: Place, line: str) -> Place:
    return {name: value for name, value in values.items() if name != line}


def _named(place: Place, wording: Mapping[str, str]) -> str:
    texts = (f"{k.replace('_', ' ')} {v}" for k, v in place.items())
    return label(", ".join(wording.get(text, text) for text in texts))


def _draw_scores(
    axes: Axes,
    points: Sequence[tuple[Place, Sequence[Result]]],
    places: Sequence[Place],
    measure: Measure,
    colours: Mapping[Any, str],
    line: str,
    wording: Mapping[str, str],
) -> None:
    """Draw every run's test score, next to it their mean and standard deviation."""
    values = list(colours)
    several = len(places) > 1
    wide = 0.8 / len(values) if several else 0.5
    for at, of_point in points:
        if (place := _without(at, line)) not in places:
            continue
        nth = values.index(at[line])
        x = places.index(place) - 0.4 + (nth + 0.5) * wide if several else nth
        name = f"test_{measure.score}"
        found = drawable([r.row[name] for r in of_point if r.row.get(name) is not None])
        found = found[~np.isnan(found)]
        if not len(found):
            continue
        colour = colours[at[line]]
        axes.plot([x - wide / 6] * len(found), found, "o", color=colour, alpha=0.5, markersize=4)
        spread = found.std(ddof=1) if len(found) > 1 else None
        axes.errorbar(x + wide / 6, found.mean(), spread, fmt="s", color=colour, capsize=3)
    for prior in {p for _, of_point in points for p in _priors(of_point, measure)}:
        axes.axhline(prior, color="0.3", linestyle="--", linewidth=1)
    names = (
        [_named(place, wording) for place in places]
        if several
        else [label(v, NAME) for v in values]
    )
    axes.set_xticks(range(len(names)), names, rotation=20 if sum(map(len, names)) > 70 else 0)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.grid(axis="x", visible=False)


def _draw_point(
    axes: Axes, results: Sequence[Result], measure: Measure, colour: str, *, thin: bool = False
) -> None:
    """Draw the training scores of a point of the grid; thin lines have no band and no end dot."""
    mean, spread = mean_curve(results)
    last = max((len(r.values) for r in results), default=0)  # steps that some run made
    mean, spread = drawable(mean[:last]), drawable(spread[:last])
    steps = np.arange(1, len(mean) + 1)
    for prior in _priors(results, measure):
        axes.axhline(prior, color="0.3", linestyle="--", linewidth=1)
    if thin:
        axes.plot(steps, mean, color=colour, alpha=0.45, linewidth=0.7)
        return
    ended = bool(results) and all(r.converged for r in results)
    end = {"marker": "o", "markersize": 5, "markevery": [-1]} if ended else {}
    axes.plot(steps, mean, color=colour, **end)
    axes.fill_between(steps, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)


def _validated(result: Result, measure: Measure) -> np.ndarray:
    """Return the steps at which a run was validated, and its scores, `[2, validations]`."""
    records = Run.open(result.plan.path).records("valid")
    found = drawable([(r["step"], r[measure.score]) for r in records if measure.score in r])
    return found[~np.isnan(found).any(-1)].reshape(-1, 2).T


def _draw_validation(
    axes: Axes, curves: Sequence[np.ndarray], converged: Sequence[bool], colour: str
) -> None:
    """Draw the mean and standard deviation of validation curves."""
    known = [(c, ended) for c, ended in zip(curves, converged, strict=True) if c.size]
    if not known:
        return
    ends = [c[0, -1] for c, ended in known if not ended]
    last = min(ends, default=max(c[0, -1] for c, _ in known))
    steps = np.unique(np.concatenate([c[0] for c, _ in known]))
    steps = steps[steps <= last]
    scores = np.array([np.interp(steps, *c) for c, _ in known])  # keeps its last value
    mean = scores.mean(0)
    spread = scores.std(0, ddof=1) if len(scores) > 1 else np.zeros(len(steps))
    axes.plot(steps, mean, color=colour, marker="." if len(steps) <= FEW else "")
    if all(ended for _, ended in known):
        axes.plot(steps[-1:], mean[-1:], "o", color=colour, markersize=5)
    axes.fill_between(steps, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)


def _priors(results: Sequence[Result], measure: Measure) -> set[float]:
    """Return the baselines that ignore the inputs, as the runs' tests have them."""
    name = f"test_{PRIORS.get(measure.score, '')}"
    return {r.row[name] for r in results if name in r.row}


def _draw_published(
    axes: Axes,
    marks: Sequence[tuple[Any, Mapping[str, int]]],
    sources: Sequence[str],
    colours: Mapping[Any, str],
) -> None:
    """Mark published steps along the lower edge, one row per source."""
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
    measure: Measure,
    of_validation: bool,
    wording: Mapping[str, str],
) -> None:
    entries: list[Any] = []
    name = line_field(grid).replace("_", " ")
    for value, colour in colours.items():
        text = f"{name} {value}"
        entries.append(Line2D([], [], color=colour, label=label(wording.get(text, text))))
    seeds = len(grid.seeds)
    smooth = f"training batches, mean of {WINDOW} steps"
    dots: dict[str, Any] = {"color": "0.4", "linestyle": ""}
    entries.append(Line2D([], [], marker="o", markersize=4, label="test score of one run", **dots))
    if seeds > 1:
        entries.append(Line2D([], [], marker="s", label="mean over the seeds", **dots))
        entries.append(Patch(color="0.8", label=f"standard deviation between {seeds} seeds"))
    width = 0.7 if of_validation else 1.5
    if any(len(r.values) for r in results):
        entries.append(Line2D([], [], color="0.4", linewidth=width, label=smooth))
    if any(r.converged for r in results):
        entries.append(
            Line2D([], [], color="0.4", marker="o", markersize=5, label="end; every seed converged")
        )
    if _priors(results, measure):
        entries.append(
            Line2D([], [], color="0.3", linestyle="--", label="baseline, inputs ignored")
        )
    for row, source in enumerate(sources):
        mark = MARKS[row % len(MARKS)]
        entries.append(Line2D([], [], color="0.4", marker=mark, linestyle="", label=source))
    columns = 2 if figure.get_figwidth() < 9 else 3  # what the widest entries leave room for
    figure.legend(handles=entries, loc="outside lower center", ncols=min(len(entries), columns))
