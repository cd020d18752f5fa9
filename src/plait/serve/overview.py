"""What the page of every run shows: its options, scores, learning curves and pictures."""

from typing import Any

import numpy as np
import torch

from plait.api import config_of, load
from plait.diagnostics import gradient_flow
from plait.errors import InputError
from plait.pages import Block, Page, chart, flow_blocks, line, note, table
from plait.tasks import TASKS, page_of, probe_batch
from plait.terminal import from_here
from plait.training.notebook import SHARED, pictures_of, title_of
from plait.training.run import Run

POINTS = 400
"""Points at most of a learning curve."""

ABBREVIATED = {"mae", "rmse", "mape", "crps", "auc", "mrr", "ari", "nmi", "f1"}
"""Words of a score's name that are abbreviations."""


def overview(run: Run) -> dict[str, Any]:
    """Return what is known of a run: title, options, scores, learning curves."""
    options = [
        [name.replace("_", " "), from_here(value) if isinstance(value, str) else value]
        for name, value in run.config.items()
        if name not in SHARED and value not in ("", None)
    ]
    blocks = [*_curves(run)]
    for scores in run.records("test")[:1]:
        rows = [[spelt(name), value] for name, value in scores.items()
                if type(value) in (int, float) and name != "step"]  # fmt: skip
        blocks.insert(0, table("Scores on the test set", ["score", "value"], rows, "scores"))
    return {
        "title": title_of(run),
        "folder": run.path.name,
        "options": options,
        "blocks": blocks,
        "pictures": [path.stem for path in pictures_of(run)],
    }


def spelt(name: str) -> str:
    """Return the name of a score as words.

    >>> from plait.serve.overview import spelt
    >>> spelt("baseline_rmse")
    'baseline RMSE'
    """
    return " ".join(word.upper() if word in ABBREVIATED else word for word in name.split("_"))


def _curves(run: Run) -> list[Block]:
    """Return the learning curves, each step's thinned out."""
    blocks, history = [], run.history
    names = [c[6:] for c in history.columns if c.startswith("valid_")]
    for name in names:
        lines, points = [], dict[int, float]()
        if f"train_{name}" in history:
            seen = history[f"train_{name}"].dropna()
            window = max(1, -(-len(seen) // POINTS))
            for k in range(0, len(seen) - window + 1, window):
                points[int(seen.index[k + window - 1])] = float(seen.iloc[k : k + window].mean())
        held_out = history[f"valid_{name}"].dropna().to_dict()
        if not points and len(set(held_out.values())) < 2:
            continue  # what no training changes, such as the score of guessing
        x = sorted(points.keys() | held_out.keys())
        if points:
            lines.append(line("training", [points.get(step, np.nan) for step in x]))
        lines.append(line("validation", [held_out.get(step, np.nan) for step in x], "dots"))
        title = f"Learning curve: {spelt(name)}"
        blocks.append(
            chart(title, x, lines, f"curve {name}", x_label="training step",
                  y_label=spelt(name))
        )  # fmt: skip
    return blocks[:4]


def page(run: Run) -> tuple[Page | None, str]:
    """Return the page of a run's task, or the one of any task; or None, and why there is none.

    A page that needs the run's data is left out where the data is gone.
    """
    try:
        model = load(run)
        config = config_of(run)
        own = page_of(run.task, model, config, run.facts)
        return (own or _of_any(run, model, config)), ""
    except InputError as error:
        return None, str(error)


def _of_any(run: Run, model: Any, config: Any) -> Page:
    """Return a page for a task without one: predictions, the gradient's flow, the weights."""
    entry = TASKS[run.task]

    def answer() -> Any:
        try:
            if entry.predict:
                frame = entry.part("predict")(model, config, run.facts, None)
                rows = frame.values.tolist()
                yield table("Predictions", list(frame.columns), rows, "predictions")
            if entry.probe:
                batch = probe_batch(run.task, model, config, run.facts)
                with torch.enable_grad():
                    flow = gradient_flow(model, batch)
                yield from flow_blocks(flow)
        except ValueError as error:  # an InputError is one
            yield note(str(error))
        rows = [[name, " × ".join(map(str, p.shape)), p.numel(), float(p.norm())]
                for name, p in model.named_parameters()]  # fmt: skip
        yield table("Weights", ["name", "shape", "numbers", "norm"], rows, "weights")

    return Page("What the trained model predicts and is made of.", (), answer)
