"""The structure task: what the training loop asks of it."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.errors import InputError
from plait.figures import Curve, draw_curves
from plait.tasks.structure.config import StructureConfig
from plait.tasks.structure.model import Batch, StructureModel
from plait.tasks.structure.problems import DRAW
from plait.training.streams import random_generator
from plait.training.task import Carry

TRAINING, VALIDATION, TEST = 0, 1, 2
"""Streams of random numbers, which never meet."""

SCORED, VALIDATION_BATCHES, TEST_BATCHES = 100, 5, 20
"""Graphs at a time, and how many such batches, to validate and to test on."""

PRIOR = {"prior": 0.5, "loss_prior": math.log(2)}
"""What can be had without looking: both answers are as likely."""


class StructureTask:
    """Answer a question about a graph; every batch is drawn anew and never comes again."""

    name: ClassVar[str] = "structure"
    unit: ClassVar[str] = "graphs"
    criterion: ClassVar[str] = "loss"
    lower_is_better: ClassVar[bool] = True

    def __init__(
        self, config: StructureConfig, device: torch.device, known: Mapping[str, Any] | None = None
    ) -> None:
        self.config, self.device = config, device
        self.units_per_step = config.batch_size
        self.model = StructureModel(config).to(device)
        self.to_validate = batches(config, VALIDATION, VALIDATION_BATCHES, device)

    def facts(self) -> Mapping[str, Any]:
        """Nothing: the configuration says it all."""
        return {}

    def begin_with(self, model: StructureModel) -> None:
        """Take over the weights of a model trained before, on the other problem perhaps."""
        self.model.load_state_dict(model.state_dict())

    def summary(self) -> dict[str, str]:
        """What a person wants to know before it starts."""
        config = self.config
        parameters = sum(p.numel() for p in self.model.parameters())
        return {
            "problem": f"{config.problem}: graphs of {config.nodes} nodes",
            "without looking": f"accuracy {PRIOR['prior']}, loss {PRIOR['loss_prior']:.4f}",
            "model": f"{config.network}, {config.layers} × {config.hidden_size}, "
            f"{parameters:,} parameters",
        }

    def start(self) -> Carry:
        """Nothing: every graph is whole."""
        return ()

    def loss(self, step: int, carry: Carry) -> tuple[Tensor, Mapping[str, Tensor], Carry]:
        """Mean nats over the batch, and the share of right answers."""
        batch = drawn(self.config, step, TRAINING, self.config.batch_size, self.device)
        logits = self.model(batch)
        accuracy = (logits.detach().argmax(-1) == batch.answers).float().mean()
        return F.cross_entropy(logits, batch.answers), {"accuracy": accuracy}, ()

    def validate(self) -> Mapping[str, float]:
        """Scores of the same five hundred graphs every time."""
        return score_batches(self.model, self.to_validate)

    def test(self) -> Mapping[str, float]:
        """Scores of two thousand graphs of a stream of their own."""
        return score_structure(self.model, self.config, {})

    def remark(self, scores: Mapping[str, float]) -> str:
        """Say what the accuracy means beside that of whoever does not look."""
        text = f"right in {scores['accuracy']:.1%}; without looking, in {scores['prior']:.1%}"
        if scores["loss"] > 0.95 * scores["loss_prior"]:
            return f"{text}: little or nothing is learnt"
        return text

    def sample(self, step: int) -> str:
        """Write nothing."""
        return ""

    def draw(self, records: list[dict[str, Any]], path: Path) -> None:
        """Draw accuracy and loss over the steps, each with what can be had without looking."""
        config = self.config
        levels = {name: (level, f"without looking: {level:.3g}") for name, level in PRIOR.items()}
        curves = [
            Curve("accuracy", "accuracy, share of graphs", levels["prior"]),
            Curve("loss", "loss, nats", levels["loss_prior"]),
        ]
        title = f"{config.problem}, {config.nodes} nodes: {config.network}, "
        title += f"{config.layers} × {config.hidden_size}"
        draw_curves(records, curves, path, title=title)


def score_structure(
    model: StructureModel,
    config: StructureConfig,
    facts: Mapping[str, Any],
    data: str | None = None,
) -> dict[str, float]:
    """Score a model on the test stream, for `plait score` too; the graphs are always drawn.

    Raises `InputError` where data is given.
    """
    if data is not None:
        raise InputError("structure runs are scored on graphs drawn for it; leave --data out")
    device = model.output.weight.device
    return score_batches(model, batches(config, TEST, TEST_BATCHES, device))


@torch.no_grad()
def score_batches(model: StructureModel, batches: Iterable[Batch]) -> dict[str, float]:
    """Give `loss` (nats), `accuracy`, and what can be had without looking."""
    found = [(model(batch).double(), batch.answers) for batch in batches]
    logits, answers = (torch.cat(parts) for parts in zip(*found, strict=True))
    return {
        "loss": F.cross_entropy(logits, answers).item(),
        "accuracy": (logits.argmax(-1) == answers).double().mean().item(),
        **PRIOR,
    }


def batches(config: StructureConfig, stream: int, count: int, device: torch.device) -> list[Batch]:
    """So many batches of a stream."""
    return [drawn(config, k, stream, SCORED, device) for k in range(1, count + 1)]


def drawn(
    config: StructureConfig, number: int, stream: int, count: int, device: torch.device
) -> Batch:
    """Draw a batch by its number."""
    random = random_generator(config.seed, number, stream)
    return Batch.of(DRAW[config.problem](random, count, config.nodes), config.network, device)
