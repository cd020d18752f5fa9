"""`plait serve` of a structure run: a graph, what is asked of it, and the model's answer."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from plait.pages import Blocks, Control, Page, graph, note
from plait.tasks.structure.config import StructureConfig
from plait.tasks.structure.model import Batch, StructureModel
from plait.tasks.structure.problems import DRAW
from plait.training.streams import random_generator
from plait.training.task import device_of

SHOWN, GRAPHS = 3, 100
"""The stream that graphs of a page are drawn from, and how many at a time."""

QUESTIONS = {
    "neighbours": ("Are two of the four marked nodes joined by an edge?", ["marked"]),
    "order": ("Does the first mark come before the second one along the path?",
              ["first mark", "second mark"]),
}  # fmt: skip
"""What each problem asks, and the names of the symbols 1 and 2."""


def page(model: StructureModel, config: StructureConfig, facts: Mapping[str, Any]) -> Page:
    """Return the page: a seed, a graph by its number, the answers."""
    question, marks = QUESTIONS[config.problem]

    def answer(seed: int, number: int) -> Blocks:
        drawn = DRAW[config.problem](random_generator(seed, 0, SHOWN), GRAPHS, config.nodes)
        logits = model(Batch.of(drawn, config.search, device_of(model))).detach().double().cpu()
        answers, k = logits.argmax(-1).numpy(), number - 1
        names = [str(n + 1) for n in range(config.nodes)]
        if config.problem == "order":  # which way the path goes
            names[int(drawn.starts[k])] = "start"
        yield graph(
            question, names,
            np.argwhere(drawn.adjacency[k]).tolist(), "graph",
            groups=(drawn.symbols[k] - 1).tolist(), group_names=marks,
            marked=np.flatnonzero(drawn.symbols[k]).tolist(),
        )  # fmt: skip
        says, truth = ("yes" if found[k] else "no" for found in (answers, drawn.answers))
        sure = float(logits.softmax(-1)[k].max())
        right = int((answers == drawn.answers).sum())
        yield note(
            f"The answer is {truth}; the model says {says}, with a probability of {sure:.0%}. "
            f"It is right on {right} of the {GRAPHS} graphs of this seed.", "answers",
        )  # fmt: skip

    controls = [
        Control("seed", "Seed of the graphs", "number", 0, most=9999),
        Control("number", "Graph", "number", 1, least=1, most=GRAPHS),
    ]
    return Page("Graphs that the model was not trained on, and its answers.", controls, answer)
