"""`plait inspect`: what a trained network is made of, and how its gradient flows through time."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import nn

from plait.api import load
from plait.diagnostics import GradientFlow, ParameterCount, count_parameters, gradient_flow
from plait.diagnostics.gradients import REMEMBERED
from plait.errors import InputError
from plait.figures import COLOURS, STYLE
from plait.nn.convolution import GraphConv
from plait.nn.recurrent import Recurrent
from plait.tasks import config_class, model_class, probe_batch
from plait.training.loop import seed_all
from plait.training.run import Run

FLOOR = 1e-12
"""Smallest share of a gradient that is drawn."""


@dataclass(frozen=True)
class Inspection:
    """What `plait inspect` says of a run; as text, all of it.

    Attributes
    ----------
    path : Path
    title : str
        The run's cell and sizes, as far as it has them.
    parameters : ParameterCount
    kernels : str
        What `Recurrent.explain` says, layer by layer.
    start, trained : GradientFlow or None
        With the run's initial weights and with its best. None, and why in `without_flow`, where
        there is nothing to flow through or no data to try on.
    without_flow : str
    """

    path: Path
    title: str
    parameters: ParameterCount
    kernels: str
    start: GradientFlow | None
    trained: GradientFlow | None
    without_flow: str = ""

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
        return "\n\n".join(parts)


def inspect(
    runs: str | os.PathLike[str] | Run | Sequence[str | os.PathLike[str] | Run],
    *,
    out: str | os.PathLike[str] | None = None,
) -> list[Inspection]:
    """Say what networks are made of and how the gradient flows back through time in them.

    Parameters
    ----------
    runs : path or Run, or several
    out : path
        Where to draw the gradient flow of all of them, side by side; None: `inspect.png` in the
        first run's folder.

    Returns
    -------
    list of Inspection

    Raises
    ------
    InputError
        For a folder that is no run, or one without trained weights.

    Example
    -------
    >>> import plait, tempfile
    >>> run = plait.train("memory", problem="recall", length=30, cell="rnn", hidden_size=8,
    ...                   steps=1, out=tempfile.mkdtemp() + "/run")
    >>> (found,) = plait.inspect(run)
    >>> found.parameters.total, found.start.layers[0].verdict
    (1232, 'vanishing')
    """
    several = [runs] if isinstance(runs, (str, os.PathLike, Run)) else list(runs)
    opened = [run if isinstance(run, Run) else Run.open(Path(run)) for run in several]
    found = [_inspect(run) for run in opened]
    drawn = [f for f in found if f.trained is not None]
    if drawn:
        path = opened[0].path / "inspect.png" if out is None else Path(out)
        draw_flows(drawn, path)
    return found


def _inspect(run: Run) -> Inspection:
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
            start = gradient_flow(_initial(run, config), batch)
    except (InputError, ValueError) as error:
        why = str(error)
    sizes = [str(run.config[n]) for n in ("layers", "hidden_size") if n in run.config]
    kind = run.config.get("cell", run.config.get("operator", ""))
    subject = str(run.config.get(config.subject, ""))
    length = f" {run.config['length']}" if "length" in run.config else ""
    return Inspection(
        run.path,
        f"{kind} {' × '.join(sizes)}, {subject}{length}".strip(", "),
        count_parameters(model),
        "\n".join(explained),
        start,
        trained,
        why,
    )


def _initial(run: Run, config: Any) -> nn.Module:
    """Make the network with the weights that the run began with: its seed decides them."""
    with torch.random.fork_rng(devices=[]):
        seed_all(config.seed, 0)
        return model_class(run.task).from_facts(config, run.facts).eval()


def draw_flows(found: Sequence[Inspection], path: Path) -> None:
    """Draw gradient flow, a column a run.

    Above: ‖∂L^(T)/∂state^(t)‖ as a share of the last step's, by steps back, for every layer;
    dashed with the initial weights, solid after training. Below: each step's share of ∂L/∂W_hh.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(max(6, 3.6 * len(found)), 5.6))
        FigureCanvasAgg(figure)
        panels = figure.subplots(2, len(found), squeeze=False, sharex="col", sharey="row")
        for above, below, one in zip(*panels, found, strict=True):
            _draw_column(above, below, one)
            title = one.title.split(", ")
            verdict = f"{one.trained.layers[0].verdict} after training" if one.trained else ""
            above.set_title(f"{title[0]}\n{verdict}")
        panels[0, 0].set_ylabel("‖∂L/∂state‖, last step = 1")
        panels[1, 0].set_ylabel("share of ‖∂L/∂W_hh‖")
        subjects = dict.fromkeys(one.title.split(", ")[-1] for one in found)
        figure.suptitle(f"gradient flow back through time: {'; '.join(subjects)}")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(handles)))
        figure.savefig(path)


def _draw_column(above: Axes, below: Axes, one: Inspection) -> None:
    for flow, style, when in (
        (one.start, "--", "at the start"),
        (one.trained, "-", "after training"),
    ):
        for k, layer in enumerate(flow.layers if flow is not None else ()):
            colour = COLOURS[k % len(COLOURS)]
            back = np.arange(len(layer.flow))[::-1]
            share = _drawable(layer.flow / layer.flow[-1])
            label = f"{layer.name}, {when}"
            above.semilogy(back, share, style, color=colour, label=label)
            below.semilogy(back, _drawable(layer.shares), style, color=colour)
    above.axhline(REMEMBERED, color="0.3", linestyle=":", linewidth=1, label="1 %: memory's end")
    below.set_xlabel("steps back from the last")
    for axes in (above, below):
        axes.set_ylim(bottom=FLOOR)
    if one.trained is not None:
        above.set_xlim(0, max(len(layer.flow) for layer in one.trained.layers) - 1)


def _drawable(shares: torch.Tensor) -> np.ndarray:
    """Leave out what is too small for the picture, or nothing at all."""
    return shares.where(shares > FLOOR, torch.nan).numpy()
