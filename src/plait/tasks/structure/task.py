"""The structure task: its batches, loss and scores."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.figures import Curve
from plait.tasks.baseline_report import describe_right, learnt_little, likeliest_answer
from plait.tasks.structure.config import StructureConfig
from plait.tasks.structure.model import Batch, StructureModel
from plait.tasks.structure.problems import DRAW, Drawn
from plait.training.ranks import current_ranks
from plait.training.streams import random_generator
from plait.training.task import Carry, Task, count_weights

TRAINING, VALIDATION, TEST = 0, 1, 2
"""Streams of random numbers, which never meet."""

SCORED, VALIDATION_BATCHES, TEST_BATCHES = 100, 5, 20
"""Graphs at a time, and how many such batches, to validate and to test on."""

PRIOR = {"prior": 0.5, "loss_prior": math.log(2)}
"""Of the baseline, which answers at random: both answers are as likely."""


class StructureTask(Task):
    """Answer a question about a graph; every batch is drawn anew and never comes again."""

    name: ClassVar[str] = "structure"
    model_class: ClassVar[type[StructureModel]] = StructureModel
    unit: str = "graphs"
    splits_batches = True

    def read_data(self, known: Mapping[str, Any]) -> None:
        """Draw the graphs to validate on."""
        self.units_per_step = self.config.batch_size * self.ranks.count
        self.to_validate = batches(self.config, VALIDATION, VALIDATION_BATCHES, self.device)

    def summary(self) -> dict[str, str]:
        """Return what a user wants to know before training starts."""
        config = self.config
        return {
            "problem": f"{config.problem}: graphs of {config.nodes} nodes",
            "baseline": f"accuracy {PRIOR['prior']}, loss {PRIOR['loss_prior']:.4f}: either answer",
            "model": f"{config.network}, {config.layers} × {config.hidden_size}, "
            f"{count_weights(self.model):,} parameters",
        }

    def batch(self, step: int) -> Batch:
        """Draw the graphs of a step."""
        size = self.units_per_step
        return drawn(self.config, step, TRAINING, size, self.device, self.ranks.part(size))

    def loss(
        self, model: StructureModel, batch: Batch, carry: Carry
    ) -> tuple[Tensor, Mapping[str, Tensor], Carry]:
        """Return mean nats of the batch, and the share of right answers."""
        logits = model(batch)
        accuracy = (logits.detach().argmax(-1) == batch.answers).float().mean()
        return F.cross_entropy(logits, batch.answers), {"accuracy": accuracy}, ()

    def validate(self) -> Mapping[str, float]:
        """Return the scores of the same five hundred graphs every time."""
        return score_batches(self.model, self.to_validate)

    def own_scores(self) -> Mapping[str, float]:
        """Return the scores of two thousand graphs of a stream of their own."""
        tested = batches(self.config, TEST, TEST_BATCHES, self.device)
        return score_batches(self.model, tested)

    def interpret(self, scores: Mapping[str, float]) -> str:
        """Return what the accuracy means next to the baseline's."""
        failed = ": little or nothing is learnt" if learnt_little(scores) else ""
        return f"{describe_right(scores)}{failed}"

    def title(self, test: Mapping[str, Any] | None) -> str:
        """Return problem, network and sizes."""
        config = self.config
        return (
            f"{config.problem}, {config.nodes} nodes: {config.network}, "
            f"{config.layers} × {config.hidden_size}"
        )

    def curves(self, test: Mapping[str, Any] | None) -> Sequence[Curve]:
        """Return accuracy and loss, each with the baseline's."""
        return [
            Curve("accuracy", "accuracy, share of graphs", likeliest_answer(PRIOR["prior"])),
            Curve("loss", "loss, nats", likeliest_answer(PRIOR["loss_prior"])),
        ]


@torch.no_grad()
def score_batches(model: StructureModel, batches: Iterable[Batch]) -> dict[str, float]:
    """Return `loss` (nats), `accuracy`, and those of the baseline."""
    found = current_ranks().map(lambda b: (model(b).double(), b.answers), list(batches))
    logits, answers = (torch.cat(parts) for parts in zip(*found, strict=True))
    return {
        "loss": F.cross_entropy(logits, answers).item(),
        "accuracy": (logits.argmax(-1) == answers).double().mean().item(),
        **PRIOR,
    }


def batches(config: StructureConfig, stream: int, count: int, device: torch.device) -> list[Batch]:
    """Draw so many batches of a stream."""
    return [drawn(config, k, stream, SCORED, device) for k in range(1, count + 1)]


def drawn(
    config: StructureConfig,
    number: int,
    stream: int,
    count: int,
    device: torch.device,
    part: slice = slice(None),
) -> Batch:
    """Draw a batch by its number, and return a part of it."""
    random = random_generator(config.seed, number, stream)
    whole = DRAW[config.problem](random, count, config.nodes)
    own = Drawn(*(getattr(whole, f.name)[part] for f in fields(Drawn)))
    return Batch.of(own, config.search, device)
