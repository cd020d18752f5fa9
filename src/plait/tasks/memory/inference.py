"""`plait score` and `plait inspect` of a trained model."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from plait.errors import InputError
from plait.tasks.memory.config import MemoryConfig, lengths_of
from plait.tasks.memory.model import MemoryModel
from plait.tasks.memory.problems import problem_named
from plait.tasks.memory.scores import PROBE, batches_to_test_on, draw, score_batches, score_lengths
from plait.training.task import device_of

PROBED = 64
"""Sequences on which `plait inspect` tries a model."""


def score_memory(
    model: MemoryModel, config: MemoryConfig, facts: Mapping[str, Any], data: str | None = None
) -> dict[str, float]:
    """Score a model for `plait score`.

    Parameters
    ----------
    model : MemoryModel
    config, facts
        Of its run folder.
    data : str
        Lengths, e.g. "8,10,12". None: the length trained on.

    Raises
    ------
    InputError
        For lengths that the problem, or the model, cannot have.
    """
    if data is None:
        problem = problem_named(config.problem, config.length)
        return score_batches(model, problem, batches_to_test_on(model, problem, config))
    if not lengths_of(data):
        raise InputError("--data is empty; give lengths to score on, such as 8,10,12")
    asked = MemoryConfig.from_dict(
        {"problem": config.problem, "length": config.length, "eval_lengths": data}
    )
    return score_lengths(model, config, lengths_of(asked.eval_lengths))


def probe(
    model: MemoryModel, config: MemoryConfig, facts: Mapping[str, Any]
) -> tuple[Tensor, Tensor]:
    """Return sequences and answers on which `plait inspect` tries a network."""
    problem = problem_named(config.problem, config.length)
    return draw(problem, config.seed, 0, PROBE, PROBED, device_of(model))
