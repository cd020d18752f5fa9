"""One style for every picture."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from plait.errors import InputError
from plait.training.files import write_aside

COLOURS = ("#0b6e99", "#d1495b", "#3c8d53", "#8d6a9f", "#c98a1b", "#5c677d")

STYLE: dict[Any, Any] = {
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": "medium",
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "grid.alpha": 0.25,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
    "savefig.dpi": 150,
}


@dataclass(frozen=True)
class Curve:
    """A score by its name in the log, what to write at its axis, and a baseline's level."""

    score: str
    label: str
    baseline: tuple[float, str] | None = None


def save_figure(figure: Figure, path: Path) -> None:
    """Write a picture aside and rename it, in the format that the path ends in, or as PNG.

    Raises `InputError` for an ending that is no format of pictures.
    """
    kind = path.suffix[1:].lower() or "png"
    if kind not in figure.canvas.get_supported_filetypes():
        raise InputError(f"{path}: .{kind} is no picture; end it in .png, .svg or .pdf")
    content = io.BytesIO()
    figure.savefig(content, format=kind)
    write_aside(path, content.getvalue())


def draw_curves(
    records: Sequence[dict[str, Any]], curves: Sequence[Curve], path: Path, *, title: str
) -> None:
    """Draw scores over training steps: every step pale, a running mean, validation as dots.

    The running mean is over a fiftieth of the training, and the legend says over how many steps.
    """
    train = [r for r in records if r["kind"] == "train"]
    valid = [r for r in records if r["kind"] == "valid"]
    window = max(1, len(train) // 50)
    with rc_context(STYLE):
        figure = Figure(figsize=(5 * len(curves), 3.6))
        FigureCanvasAgg(figure)
        figure.suptitle(title)
        for axes, curve in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves,
                               strict=True):  # fmt: skip
            steps = np.array([r["step"] for r in train])
            values = np.array([r[curve.score] for r in train])
            if len(values):
                axes.plot(steps, values, color=COLOURS[0], alpha=0.2, linewidth=0.6)
                mean = np.convolve(values, np.full(window, 1 / window), mode="valid")
                label = f"training, mean of {window} steps" if window > 1 else "training"
                axes.plot(steps[window - 1 :], mean, color=COLOURS[0], label=label)
                low, high = np.quantile(values[len(values) // 50 :], [0.002, 0.998])
                held_out = [r[curve.score] for r in valid[1:] if curve.score in r]
                levels = [*held_out, *([curve.baseline[0]] if curve.baseline else [])]
                low, high = min([low, *levels]), max([high, *levels])
                margin = 0.05 * (high - low) or 0.1
                axes.set_ylim(low - margin, high + margin)
            held_out = [(r["step"], r[curve.score]) for r in valid if curve.score in r]
            if held_out:
                axes.plot(*zip(*held_out, strict=True), "o-", color=COLOURS[1], label="validation")
            if curve.baseline:
                level, label = curve.baseline
                axes.axhline(level, color=COLOURS[5], linestyle="--", label=label)
            axes.set_xlabel("training step")
            axes.set_ylabel(curve.label)
            if axes.get_legend_handles_labels()[0]:
                axes.legend()
        save_figure(figure, path)
