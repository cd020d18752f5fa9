"""The memory task: its batches, loss and scores."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from plait.figures import Curve
from plait.tasks.baseline_report import describe_right, learnt_little, likeliest_answer
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
from plait.training.task import Carry, Task, count_weights


class MemoryTask(Task):
    """Answer a question about a sequence; every batch is drawn anew and never comes again.

    A validation is ten batches that are drawn for it alone; one without an error is what
    "converged" means.
    """

    name: ClassVar[str] = "memory"
    model_class: ClassVar[type[MemoryModel]] = MemoryModel
    unit: str = "sequences"
    splits_batches = True

    def read_data(self, known: Mapping[str, Any]) -> None:
        """Find the problem."""
        self.problem = problem_named(self.config.problem, self.config.length)
        self.source = f"the problem {self.config.problem}"
        self.units_per_step = self.config.batch_size * self.ranks.count
        self.unlike = f"--length {self.config.length} has other tokens than that run's"
        self.trained = 0
        """The last batch drawn: validations are numbered by it, so that each is fresh."""

    def facts(self) -> Mapping[str, Any]:
        """Return what would differ for another problem under the same name."""
        p = self.problem
        return {"tokens": p.tokens, "classes": p.classes, "steps": p.steps, "prior": p.prior}

    def summary(self) -> dict[str, str]:
        """Return what a user wants to know before training starts."""
        config, p = self.config, self.problem
        both = ", both directions" if config.bidirectional else ""
        return {
            "problem": f"{config.problem}, length {config.length}: {p.steps} steps per sequence",
            "baseline": f"accuracy {p.prior:.4f}, loss {p.loss_prior:.4f}: the likeliest answer",
            "model": f"{config.cell}, {config.layers} × {config.hidden_size}{both}, "
            f"{count_weights(self.model):,} parameters",
            "kernels": self.model.recurrent.kernel(),
        }

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return sequences `[T, B]` (reals: `[T, B, F]`) and answers `[B]`."""
        self.trained = step
        x, y = self._draw(step, TRAINING)
        part = self.ranks.part(self.units_per_step)
        return x[:, part], y[part]

    def loss(
        self, model: MemoryModel, batch: tuple[Tensor, Tensor], carry: Carry
    ) -> tuple[Tensor, Mapping[str, Tensor], Carry]:
        """Return mean nats, or squared error, of the batch, and the share of right answers."""
        x, y = batch
        answer = model(x)
        with torch.no_grad():
            accuracy = right(self.problem, answer, y).float().mean()
        return loss_of(self.problem, answer, y), {"accuracy": accuracy}, ()

    def validate(self) -> Mapping[str, float]:
        """Return the scores of ten fresh batches."""
        first = self.trained * VALIDATION_BATCHES
        numbers = range(first, first + VALIDATION_BATCHES)
        batches = (self._draw(number, VALIDATION) for number in numbers)
        return score_batches(self.model, self.problem, batches)

    def own_scores(self) -> Mapping[str, float]:
        """Return the scores of twenty batches of a stream of their own, and of other lengths."""
        batches = batches_to_test_on(self.model, self.problem, self.config)
        scores = score_batches(self.model, self.problem, batches)
        return scores | score_lengths(self.model, self.config, self.config.other_lengths)

    def interpret(self, scores: Mapping[str, float]) -> str:
        """Return what the accuracy means next to that of always giving the likeliest answer."""
        text = describe_right(scores)
        if "converged_step" in scores:
            text += f"; converged at step {scores['converged_step']:,}"
        if learnt_little(scores):
            return (
                f"{text}: little or nothing is learnt; train longer, or try another --cell, or a "
                "shorter --length"
            )
        return text

    def title(self, test: Mapping[str, Any] | None) -> str:
        """Return problem, cell and sizes."""
        config = self.config
        both = " in both directions" if config.bidirectional else ""
        title = (
            f"{config.problem}, length {config.length}: {config.cell}{both}, "
            f"{config.layers} × {config.hidden_size}"
        )
        converged = (test or {}).get("converged_step")
        return f"{title}; converged at step {converged:,}" if converged else title

    def curves(self, test: Mapping[str, Any] | None) -> Sequence[Curve]:
        """Return accuracy and loss, each with that of always giving the likeliest answer."""
        p = self.problem
        loss = "loss, nats" if p.classes else "mean squared error"
        return [
            Curve("accuracy", "accuracy, share of sequences", likeliest_answer(p.prior)),
            Curve("loss", loss, likeliest_answer(p.loss_prior)),
        ]

    def _draw(self, number: int, stream: int) -> tuple[Tensor, Tensor]:
        count = self.units_per_step
        return draw(self.problem, self.config.seed, number, stream, count, self.device)
