"""The memory task: what the training loop asks of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from plait.errors import InputError
from plait.figures import Curve, draw_curves
from plait.tasks.memory.config import MemoryConfig, lengths_of
from plait.tasks.memory.model import MemoryModel
from plait.tasks.memory.problems import problem_named
from plait.tasks.memory.scores import (
    TRAINING,
    VALIDATION,
    VALIDATION_BATCHES,
    batches_to_test_on,
    draw,
    loss_of,
    right,
    score_batches,
    score_lengths,
)
from plait.training.task import Carry


class MemoryTask:
    """Answer a question about a sequence; every batch is drawn anew and never comes again.

    A validation is ten batches that are drawn for it alone; one without an error is what
    "converged" means.
    """

    name: ClassVar[str] = "memory"
    unit: ClassVar[str] = "sequences"
    criterion: ClassVar[str] = "loss"
    lower_is_better: ClassVar[bool] = True

    def __init__(
        self, config: MemoryConfig, device: torch.device, known: Mapping[str, Any] | None = None
    ) -> None:
        self.config, self.device = config, device
        self.problem = problem_named(config.problem, config.length)
        self.units_per_step = config.batch_size
        self.model = MemoryModel(config).to(device)
        self.trained = 0
        """The last batch trained on: validations are numbered by it, so that each is fresh."""

    def facts(self) -> Mapping[str, Any]:
        """What would tell another problem under the same name."""
        p = self.problem
        return {"tokens": p.tokens, "classes": p.classes, "steps": p.steps, "prior": p.prior}

    def begin_with(self, model: MemoryModel) -> None:
        """Take over the weights of a model trained before, on another length perhaps."""
        mine, theirs = self.model.state_dict(), model.state_dict()
        if any(mine[name].shape != theirs[name].shape for name in mine):
            raise InputError(f"--length {self.config.length} has other tokens than that run's")
        self.model.load_state_dict(theirs)

    def summary(self) -> dict[str, str]:
        """What a person wants to know before it starts."""
        config, p = self.config, self.problem
        parameters = sum(w.numel() for w in self.model.parameters())
        both = ", both directions" if config.bidirectional else ""
        return {
            "problem": f"{config.problem}, length {config.length}: {p.steps} steps a sequence",
            "without looking": f"accuracy {p.prior:.4f}, loss {p.loss_prior:.4f}",
            "model": f"{config.cell}, {config.layers} × {config.hidden_size}{both}, "
            f"{parameters:,} parameters",
            "kernels": self.model.recurrent.kernel(),
        }

    def start(self) -> Carry:
        """Nothing: every sequence is whole."""
        return ()

    def loss(self, step: int, carry: Carry) -> tuple[Tensor, Mapping[str, Tensor], Carry]:
        """Mean nats, or squared error, over the batch, and the share of right answers."""
        self.trained = step
        x, y = self._draw(step, TRAINING)
        answer = self.model(x)
        with torch.no_grad():
            accuracy = right(self.problem, answer, y).float().mean()
        return loss_of(self.problem, answer, y), {"accuracy": accuracy}, ()

    def validate(self) -> Mapping[str, float]:
        """Scores of ten fresh batches."""
        first = self.trained * VALIDATION_BATCHES
        numbers = range(first, first + VALIDATION_BATCHES)
        batches = (self._draw(number, VALIDATION) for number in numbers)
        return score_batches(self.model, self.problem, batches)

    def test(self) -> Mapping[str, float]:
        """Scores of twenty batches of a stream of their own, and of other lengths."""
        batches = batches_to_test_on(self.model, self.problem, self.config)
        scores = score_batches(self.model, self.problem, batches)
        others = lengths_of(self.config.eval_lengths)
        return scores | score_lengths(self.model, self.config, others)

    def remark(self, scores: Mapping[str, float]) -> str:
        """Say what the accuracy means beside that of whoever does not look."""
        beside = f"right in {scores['accuracy']:.1%}; without looking, in {scores['prior']:.1%}"
        if "converged_step" in scores:
            beside += f"; converged at step {scores['converged_step']:,}"
        if scores["loss"] > 0.95 * scores["loss_prior"]:
            return (
                f"{beside}: little or nothing is learnt; train longer, or try another --cell, or a "
                "shorter --length"
            )
        return beside

    def sample(self, step: int) -> str:
        """Write nothing."""
        return ""

    def draw(self, records: list[dict[str, Any]], path: Path) -> None:
        """Draw accuracy and loss over the steps, each with what can be had without looking."""
        config, p = self.config, self.problem
        both = " in both directions" if config.bidirectional else ""
        loss = "loss, nats" if p.classes else "mean squared error"
        curves = [
            Curve("accuracy", "accuracy, share of sequences", _without_looking(p.prior)),
            Curve("loss", loss, _without_looking(p.loss_prior)),
        ]
        converged = next((r.get("converged_step") for r in records if r["kind"] == "test"), None)
        title = (
            f"{config.problem}, length {config.length}: {config.cell}{both}, "
            f"{config.layers} × {config.hidden_size}"
        )
        if converged:
            title += f"; converged at step {converged:,}"
        draw_curves(records, curves, path, title=title)

    def _draw(self, number: int, stream: int) -> tuple[Tensor, Tensor]:
        config = self.config
        return draw(self.problem, config.seed, number, stream, config.batch_size, self.device)


def _without_looking(level: float) -> tuple[float, str]:
    return level, f"without looking: {level:.3g}"
