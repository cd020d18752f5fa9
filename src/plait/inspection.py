"""`plait inspect`: parameters, kernels and gradient flow through time of trained models."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import nn

from plait.api import load
from plait.diagnostics import GradientFlow, ParameterCount, count_parameters, gradient_flow
from plait.diagnostics.gradients import REMEMBERED
from plait.errors import InputError
from plait.figures import COLOURS, label, picture
from plait.nn.convolution import GraphConv
from plait.nn.operators import Dense
from plait.nn.recurrent import Recurrent
from plait.tasks import config_class, model_class, probe_batch, repetition_function, units_function
from plait.text_files import require_path
from plait.training.random import seed_all
from plait.training.run import Run

FLOOR = 1e-12
"""The smallest share of a gradient that is drawn."""

ACROSS = 12
"""The most columns of a figure."""

FEW = 30
"""Up to so many steps have markers, so that a single one is visible."""


@dataclass(frozen=True)
class Inspection:
    """The result of `plait inspect` for one run; `str()` gives all of it as text.

    Attributes
    ----------
    path : Path
    title : str
        The run's cell and sizes, if any.
    parameters : ParameterCount
    kernels : str
        The text of `Recurrent.explain`, layer by layer.
    start, trained : GradientFlow or None
        With the run's initial weights and with its best. None, with the reason in
        `without_flow`, if there is no recurrent layer or no data.
    without_flow : str
    repetition : Repetition or None
        How much generated text repeats itself, if requested.
    equations : str
        The equations of its cells and their gradients, if requested.
    units : Units or None
        The channels of the states that keep track of the text, if requested.
    """

    path: Path
    title: str
    parameters: ParameterCount
    kernels: str
    start: GradientFlow | None
    trained: GradientFlow | None
    without_flow: str = ""
    repetition: Any = None
    equations: str = ""
    units: Any = None

    def __str__(self) -> str:
        parts = [f"{self.path}: {self.title}", str(self.parameters)]
        if self.kernels:
            parts.append(f"kernels\n{self.kernels}")
        if self.start is not None:
            parts.append(f"gradient flow at the start\n{self.start}")
        if self.trained is not None:
            parts.append(f"gradient flow after training\n{self.trained}")
        if self.without_flow:
            parts.append(f"no gradient flow: {self.without_flow}")
        if self.repetition is not None:
            parts.append(str(self.repetition))
        if self.units is not None:
            parts.append(str(self.units))
        if self.equations:
            parts.append(self.equations)
        return "\n\n".join(parts)


def inspect(
    runs: str | os.PathLike[str] | Run | Sequence[str | os.PathLike[str] | Run],
    *,
    out: str | os.PathLike[str] | None = None,
    repetition: bool = False,
    units: bool = False,
    equations: Literal["text", "latex"] | bool = False,
) -> list[Inspection]:
    """Return parameters, kernels and gradient flow through time of trained models.

    Parameters
    ----------
    runs : path or Run, or several
    out : path
        The figure of their gradient flow, one column per run; None: `inspect.png` in the first
        run's folder.
    repetition : bool
        For text: generate with each of them, and measure how much they repeat themselves.
    units : bool
        For text: find the channels of the states that keep track of quotes, lines, brackets, …;
        their values over a passage are drawn to `units.png` in the run folder. The structure of
        generated texts is measured too.
    equations : "text", "latex" or bool
        Also return the equations of each model's cells and the derived gradient, as plain text
        (also True) or LaTeX; see `Cell.equations`.

    Returns
    -------
    list of Inspection

    Raises
    ------
    InputError
        For a folder that is not a run or has no trained weights; for `repetition` or `units` of a
        run that generates no text, or whose text is missing.

    Example
    -------
    >>> import plait, tempfile
    >>> run = plait.train("memory", problem="recall", length=30, cell="rnn", hidden_size=8,
    ...                   steps=1, out=tempfile.mkdtemp() + "/run")
    >>> (found,) = plait.inspect(run)
    >>> found.parameters.total, found.start.layers[0].verdict
    (1232, 'vanishing')
    >>> (found,) = plait.inspect(run, equations=True)
    >>> found.equations.splitlines()[1]
    "h' = tanh(W_h x + b_h + U_h h)"
    """
    form = "text" if equations is True else equations
    if form not in ("text", "latex", False):
        raise InputError(f"equations must be 'text' or 'latex', not {form!r}")
    if out is not None:
        require_path(Path(out))
    given = [runs] if isinstance(runs, (str, os.PathLike, Run)) else list(runs)
    opened = [run if isinstance(run, Run) else Run.open(Path(run)) for run in given]
    measures = [repetition_function(run.task) if repetition else None for run in opened]
    finders = [units_function(run.task) if units else None for run in opened]
    several = zip(opened, measures, finders, strict=True)
    found = [_inspect(run, measure, find, form) for run, measure, find in several]
    drawn = [f for f in found if f.trained is not None]
    if drawn:
        path = opened[0].path / "inspect.png" if out is None else Path(out)
        draw_flows(drawn, path)
    return found


def _inspect(
    run: Run,
    measure_repetition: Callable[..., Any] | None,
    find_units: Callable[..., Any] | None,
    form: Literal["text", "latex", False],
) -> Inspection:
    config = config_class(run.task).from_dict(run.config)
    model: nn.Module = load(run)
    layers = [m for m in model.modules() if isinstance(m, Recurrent)]
    over_graphs = (m for m in model.modules() if isinstance(m, GraphConv))
    explained = [layer.explain() for layer in layers]
    explained += [f"layer {k}: {layer.explain()}" for k, layer in enumerate(over_graphs)]
    start, trained, why = None, None, ""
    try:
        batch = probe_batch(run.task, model, config, run.facts)
        trained = gradient_flow(model, batch)
        if "began_with" not in run.facts:
            untrained = _initial(run, config)
            # what is not learnt, such as a graph or a scale, is copied from the trained model
            untrained.load_state_dict(dict(model.named_buffers()), strict=False)
            start = gradient_flow(untrained, batch)
    except (InputError, ValueError) as error:
        why = str(error)
    sizes = [str(run.config[n]) for n in ("layers", "hidden_size") if n in run.config]
    kind = run.config.get("cell", run.config.get("operator", ""))
    length = f" {run.config['length']}" if "length" in run.config else ""
    return Inspection(
        run.path,
        f"{kind} {' × '.join(sizes)}, {config.subject_name}{length}".strip(", "),
        count_parameters(model),
        "\n".join(explained),
        start,
        trained,
        why,
        measure_repetition(model, config, run.facts) if measure_repetition else None,
        _equations(layers, form) if form else "",
        find_units(model, config, run.facts, run.path / "units.png") if find_units else None,
    )


def _equations(layers: Sequence[Recurrent], form: Literal["text", "latex"]) -> str:
    """Return the equations of the layers' cells, once per pair of cell and operator."""
    pairs = {(repr(one.cell), repr(one.operator)): one for one in layers}
    parts: list[str] = []
    for (cell, operator), one in pairs.items():
        title = f"equations of {cell}"
        if type(one.operator) is not Dense:
            title += (
                f" × {operator}\nW v is this operator with the weights W, applied to v; Wᵀ v its "
                "transpose; v wᵀ the gradient of its weights"
            )
        try:
            text = one.cell.equations(form)
        except ValueError as error:
            text = str(error)
        parts.append(f"{title}\n{text}")
    return "\n\n".join(parts) or "no equations: the model has no recurrent cell"


def _initial(run: Run, config: Any) -> nn.Module:
    """Return the model with the run's initial weights, which its seed decides."""
    with torch.random.fork_rng(devices=[]):
        seed_all(config.seed, 0)
        return model_class(run.task).from_facts(config, run.facts).eval()


def draw_flows(found: Sequence[Inspection], path: Path) -> None:
    """Draw gradient flow, one column per run.

    Above: ‖∂L^(T)/∂state^(t)‖ as a share of the last step's, by steps back, for every layer;
    dashed with the initial weights, solid after training. Below: each step's share of ∂L/∂W_hh.
    Of more than 12 runs the first 12 are drawn.
    """
    found = found[:ACROSS]
    with picture(path, max(6, 3.6 * len(found)), 5.6) as figure:
        panels = figure.subplots(2, len(found), squeeze=False, sharex="col", sharey="row")
        for above, below, one in zip(*panels, found, strict=True):
            _draw_column(above, below, one)
            title = one.title.split(", ")
            verdict = f"{one.trained.layers[0].verdict} after training" if one.trained else ""
            above.set_title(f"{label(title[0])}\n{verdict}")
        panels[0, 0].set_ylabel("‖∂L/∂state‖, last step = 1")
        panels[1, 0].set_ylabel("share of ‖∂L/∂W_hh‖")
        for row in panels:  # down to the data or the 1 % line
            low = min(axes.dataLim.y0 for axes in row)
            row[0].set_ylim(bottom=max(FLOOR, min(low, REMEMBERED) / 3))
        most = 32 * max(1, len(found) - 1)  # what the figure has room for
        subjects = dict.fromkeys(one.title.split(", ")[-1] for one in found)
        figure.suptitle(f"gradient flow back through time: {label('; '.join(subjects), most)}")
        lines = (axes.get_legend_handles_labels() for axes in panels[0])
        entries = {name: line for one in lines for line, name in zip(*one, strict=True)}
        figure.legend(
            entries.values(), entries.keys(), loc="outside lower center",
            ncols=min(3, len(entries)),
        )  # fmt: skip


def _draw_column(above: Axes, below: Axes, one: Inspection) -> None:
    steps = 1
    for flow, style, when in (
        (one.start, "--", "at the start"),
        (one.trained, "-", "after training"),
    ):
        for k, layer in enumerate(flow.layers if flow is not None else ()):
            steps = len(layer.flow)
            look: dict[str, Any] = {
                "color": COLOURS[k % len(COLOURS)],
                "linestyle": style,
                "marker": "." if steps <= FEW else "",
            }
            back = np.arange(steps)[::-1]
            if layer.verdict == "none yet":
                continue
            share = _drawable(layer.flow / layer.flow[-1])
            above.semilogy(back, share, label=f"{layer.name}, {when}", **look)
            below.semilogy(back, _drawable(layer.shares), **look)
    above.axhline(REMEMBERED, color="0.3", linestyle=":", linewidth=1, label="1 % of the last step")
    if steps == 1:
        below.text(0.5, 0.5, "only one step", ha="center", va="center",
                   transform=below.transAxes)  # fmt: skip
    margin = 0.02 * (steps - 1) or 0.5
    below.set_xlim(-margin, steps - 1 + margin)
    below.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    below.set_xlabel("steps back from the last")


def _drawable(shares: torch.Tensor) -> np.ndarray:
    """Return shares with NaN where they are too small to draw."""
    return shares.where(shares > FLOOR, torch.nan).numpy()
