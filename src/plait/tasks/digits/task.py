"""The digits task: what the training loop asks of it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from plait.errors import InputError
from plait.figures import Curve, draw_curves
from plait.tasks.beside import list_scores, verdict
from plait.tasks.digits.config import DigitsConfig
from plait.tasks.digits.images import parts_of, read_digits
from plait.tasks.digits.model import DigitsModel
from plait.tasks.digits.picture import draw_sequences
from plait.tasks.digits.scores import (
    BASELINES,
    BATCHES,
    FITTING,
    SCORED,
    TEST,
    TRAINING,
    VALIDATION,
    Baselines,
    batches,
    score,
    score_baselines,
    sequences,
)
from plait.training.task import Carry

DRAWN = 3
"""Test sequences in the picture."""


class DigitsTask:
    """Predict the next frames of two moving digits; every batch is drawn anew.

    The digits of validation and test are images that are never trained on.
    """

    name: ClassVar[str] = "digits"
    unit: ClassVar[str] = "sequences"
    criterion: ClassVar[str] = "loss"
    lower_is_better: ClassVar[bool] = True

    def __init__(
        self, config: DigitsConfig, device: torch.device, known: Mapping[str, Any] | None = None
    ) -> None:
        self.config, self.device = config, device
        self.digits = read_digits(config.digits)
        scaled, self.parts = self.digits.scaled(config.digit), parts_of(len(self.digits.images))
        self.training, self.validation, self.testing = (scaled[part] for part in self.parts)
        self.units_per_step = config.batch_size
        self.model = DigitsModel(config).to(device)
        self.to_validate = list(batches(self.validation, config, VALIDATION, device))
        self.tested: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def facts(self) -> Mapping[str, Any]:
        """What tells whether the digits are the same ones."""
        return {"sha256": self.digits.sha256}

    def begin_with(self, model: DigitsModel) -> None:
        """Take over the weights of a model trained before, of other digits or frames perhaps."""
        mine, theirs = self.model.state_dict(), model.state_dict()
        if any(mine[name].shape != theirs[name].shape for name in mine):
            raise InputError(
                f"that run's frames are not {self.config.frame} × {self.config.frame}, and a fully "
                "connected network knows no others"
            )
        self.model.load_state_dict(theirs)

    def summary(self) -> dict[str, str]:
        """What a person wants to know before it starts."""
        config, model = self.config, self.model
        sizes = ", ".join(f"{len(part):,}" for part in self.parts)
        S, D, graph = config.frame, config.digit, model.graph
        said = {
            "digits": f"{self.digits.source}: {sizes} to train, validate, test",
            "frames": f"{S} × {S}, two digits of {D} × {D}; {config.history} heard, "
            f"{config.horizon} predicted",
            "network": f"{_network(config)}, {sum(p.numel() for p in model.parameters()):,} "
            "parameters",
        }
        if graph is not None:
            said["graph"] = (
                f"{graph.num_nodes} patches of {config.patch} × {config.patch}, "
                f"{graph.num_edges:,} edges"
            )
        return said | {"kernels": model.encoder.kernel()}

    def start(self) -> Carry:
        """Nothing: every sequence is whole."""
        return ()

    def loss(self, step: int, carry: Carry) -> tuple[Tensor, Mapping[str, Tensor], Carry]:
        """Binary cross-entropy of the predicted frames, mean nats a pixel."""
        config = self.config
        frames = sequences(self.training, config, step, TRAINING, config.batch_size)
        heard, truth = frames.to(self.device).split([config.history, config.horizon])
        return F.binary_cross_entropy_with_logits(self.model(heard), truth), {}, ()

    def validate(self) -> Mapping[str, float]:
        """Scores of the same 200 sequences every time."""
        return score(self.model, self.to_validate)

    def test(self) -> Mapping[str, float]:
        """Scores of 1,000 sequences of digits never seen, and of those without a network."""
        frames = next(iter(batches(self.testing, self.config, TEST, self.device)))[:, :DRAWN]
        heard, truth = frames.split([self.config.history, self.config.horizon])
        predicted = self.model(heard).sigmoid()
        self.tested = (heard.cpu().numpy(), truth.cpu().numpy(), predicted.cpu().numpy())
        return self.score(self.testing)

    def score(self, images: np.ndarray) -> dict[str, float]:
        """Score the network, and what is without one, on sequences of these images."""
        config, device = self.config, self.device
        fitted = Baselines.fit(batches(self.training, config, FITTING, device), config)
        scores = score(self.model, batches(images, config, TEST, device))
        return {
            **scores,
            **score_baselines(fitted, batches(images, config, TEST, device), config),
            "tested_sequences": BATCHES[TEST] * SCORED,
        }

    def remark(self, scores: Mapping[str, float]) -> str:
        """Say what the cross-entropy means beside those of who has no network."""
        own, least = scores["cross_entropy"], scores["least_cross_entropy"]
        beside = {text: scores[f"{name}_cross_entropy"] for name, text in BASELINES.items()}
        text = f"cross-entropy {own:.1f} nats a sequence of {self.config.horizon} frames, "
        text += f"{scores['loss']:.4f} a pixel{list_scores(beside, '.1f')}; the least that can be, "
        text += f"of the truth itself: {least:.1f}"
        return text + verdict(-own, {name: -nats for name, nats in beside.items()})

    def sample(self, step: int) -> str:
        """Write nothing."""
        return ""

    def draw(self, records: list[dict[str, Any]], path: Path) -> None:
        """Draw the loss over the steps, and after the test some sequences."""
        config = self.config
        title = f"{config.subject_name}, {config.frame} × {config.frame}: {_network(config)}"
        curve = Curve("loss", "cross-entropy, nats a pixel")
        pixels = config.horizon * config.frame**2
        for test in (r for r in records if r["kind"] == "test"):
            name = min(BASELINES, key=lambda name: test[f"{name}_cross_entropy"])
            level = test[f"{name}_cross_entropy"] / pixels
            curve = replace(curve, baseline=(level, f"{BASELINES[name]}, test: {level:.3g}"))
        if self.tested is not None:
            draw_sequences(
                *self.tested, path.with_name("frames.png"), title=f"{title}; digits never seen"
            )
        draw_curves(records, [curve], path, title=title)


def _network(config: DigitsConfig) -> str:
    kind = f"gcrn, K = {config.order}" if config.network == "gcrn" else "fully connected LSTM"
    return f"{kind}, {config.layers} × {config.hidden_size}"


def score_digits(
    model: DigitsModel, config: DigitsConfig, facts: Mapping[str, Any], data: str | None = None
) -> dict[str, float]:
    """Score a model for `plait score`.

    Parameters
    ----------
    model : DigitsModel
    config, facts
        Of its run folder.
    data : str
        Other digits, all of them, as --digits. None: the run's own test part.

    Raises
    ------
    InputError
        For digits that cannot be read, or where the run's own are no longer what they were.
    """
    task = DigitsTask(config, model.output.weight.device)
    if task.facts()["sha256"] != facts["sha256"]:
        raise InputError(f"{task.digits.source} is no longer what the run was trained on")
    task.model = model
    if data is None:
        return task.score(task.testing)
    return task.score(read_digits(data).scaled(config.digit))
