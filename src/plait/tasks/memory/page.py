"""`plait serve` of a memory run: sequences and answers, and how the gradient flows back."""

from collections.abc import Mapping
from typing import Any

import torch

from plait.diagnostics import gradient_flow
from plait.pages import Blocks, Control, Page, flow_blocks, table
from plait.tasks.memory.config import MemoryConfig
from plait.tasks.memory.model import MemoryModel
from plait.tasks.memory.problems import problem_named
from plait.tasks.memory.scores import PROBE, draw, loss_of, right
from plait.training.task import device_of

SEQUENCES, LISTED, STEPS = 32, 8, 40
"""Sequences that are drawn, those that are listed, and steps of these that are written."""


def page(model: MemoryModel, config: MemoryConfig, facts: Mapping[str, Any]) -> Page:
    """Return the page: a seed; sequences, answers, and the gradient's flow."""
    problem = problem_named(config.problem, config.length)

    def answer(seed: int) -> Blocks:
        x, y = draw(problem, seed, 0, PROBE, SEQUENCES, device_of(model))
        found = model(x)
        hits = right(problem, found, y)
        given = found.argmax(-1) if problem.classes else found
        rows = [
            [_written(x[:, k]), _number(y[k]), _number(given[k]), "yes" if hits[k] else "no"]
            for k in range(LISTED)
        ]
        yield table(
            f"{config.problem}, {problem.steps} steps: {int(hits.sum())} of {SEQUENCES} are right",
            ["sequence", "answer", "model's answer", "right"], rows, "sequences",
        )  # fmt: skip
        with torch.enable_grad():
            flow = gradient_flow(model, (x, y), lambda out, target: loss_of(problem, out, target))
        yield from flow_blocks(flow)

    controls = [Control("seed", "Seed of the sequences", "number", 0, most=9999)]
    about = "Sequences that the model was not trained on, and how far back its gradient reaches."
    return Page(about, controls, answer)


def _written(sequence: torch.Tensor) -> str:
    """Return a sequence as text, its middle left out where it is long."""
    steps = [_number(step) for step in sequence]
    if len(steps) > STEPS:
        steps = [*steps[: STEPS // 2], "…", *steps[-STEPS // 2 :]]
    return " ".join(steps)


def _number(value: torch.Tensor) -> str:
    values = value.flatten().tolist()
    return "/".join(f"{v:.2f}" if isinstance(v, float) else str(v) for v in values)
