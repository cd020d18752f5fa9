"""The digits task: its data, batches, loss and scores."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor
from torch.nn import functional as F

from plait.figures import Curve
from plait.tasks.baseline_report import baseline_scores, list_scores, verdict
from plait.tasks.digits.baselines import BASELINES, Baselines, score_baselines
from plait.tasks.digits.config import DigitsConfig
from plait.tasks.digits.data import (
    BATCHES,
    FITTING,
    SCORED,
    TEST,
    TRAINING,
    VALIDATION,
    batches,
    read_digits,
    sequences,
    split_images,
)
from plait.tasks.digits.figure import draw_sequences
from plait.tasks.digits.model import DigitsModel
from plait.tasks.digits.scores import score
from plait.training.task import Carry, Task, count_weights

DRAWN = 3
"""Test sequences in the picture."""


class DigitsTask(Task):
    """Predict the next frames of two moving digits; every batch is drawn anew.

    The digits of validation and test are images that are never trained on.
    """

    name: ClassVar[str] = "digits"
    model_class: ClassVar[type[DigitsModel]] = DigitsModel
    unit: str = "sequences"
    splits_batches = True

    def read_data(self, known: Mapping[str, Any]) -> None:
        """Read the images of digits and split them."""
        config = self.config
        self.digits = read_digits(config.digits)
        self.source = self.digits.source
        scaled, self.splits = (
            self.digits.scaled(config.digit),
            split_images(len(self.digits.images)),
        )
        self.training, self.validation, self.testing = (scaled[part] for part in self.splits)
        self.units_per_step = config.batch_size * self.ranks.count
        self.to_validate = list(batches(self.validation, config, VALIDATION, self.device))
        self.unlike = (
            f"that run's frames are not {config.frame} × {config.frame}, and a fully connected "
            "network takes no others"
        )

    def facts(self) -> Mapping[str, Any]:
        """Return what identifies the images."""
        return {"sha256": self.digits.sha256}

    def summary(self) -> dict[str, str]:
        """Return what a user wants to know before training starts."""
        config, model = self.config, self.model
        sizes = ", ".join(f"{len(part):,}" for part in self.splits)
        S, D, graph = config.frame, config.digit, model.graph
        text = {
            "digits": f"{self.source}: {sizes} to train, validate, test",
            "frames": f"{S} × {S}, two digits of {D} × {D}; {config.history} given, "
            f"{config.horizon} predicted",
            "network": f"{_network(config)}, {count_weights(model):,} parameters",
        }
        if graph is not None:
            text["graph"] = (
                f"{graph.num_nodes} patches of {config.patch} × {config.patch}, "
                f"{graph.num_edges:,} edges"
            )
        return text | {"kernels": model.encoder.kernel()}

    def batch(self, step: int) -> Sequence[Tensor]:
        """Return frames `[P, B, S, S]` and those that follow, `[H, B, S, S]`."""
        frames = sequences(self.training, self.config, step, TRAINING, self.units_per_step)
        frames = frames[:, self.ranks.part(self.units_per_step)]
        return frames.to(self.device).split([self.config.history, self.config.horizon])

    def loss(
        self, model: DigitsModel, batch: Sequence[Tensor], carry: Carry
    ) -> tuple[Tensor, Mapping[str, Tensor], Carry]:
        """Return the binary cross-entropy of the predicted frames, mean nats per pixel."""
        given, truth = batch
        return F.binary_cross_entropy_with_logits(model(given), truth), {}, ()

    def validate(self) -> Mapping[str, float]:
        """Return the scores of the same 200 sequences every time."""
        return score(self.model, self.to_validate)

    def own_scores(self) -> Mapping[str, float]:
        """Return the scores of 1,000 sequences of digits never trained on."""
        return score(self.model, self.to_test())

    def baselines(self) -> Mapping[str, float]:
        """Return the scores of the mean frame and the last one, fitted on the training digits."""
        config = self.config
        fitted = Baselines.fit(batches(self.training, config, FITTING, self.device), config)
        scores = score_baselines(fitted, self.to_test(), config)
        return {**scores, "tested_sequences": BATCHES[TEST] * SCORED}

    def interpret(self, scores: Mapping[str, float]) -> str:
        """Return what the cross-entropy means next to the baselines'."""
        own, least = scores["cross_entropy"], scores["least_cross_entropy"]
        others = baseline_scores(scores, BASELINES, "cross_entropy")
        text = f"cross-entropy {own:.1f} nats per sequence of {self.config.horizon} frames, "
        text += f"{scores['loss']:.4f} per pixel{list_scores(others, '.1f')}; the lower "
        text += f"bound, of the true frames: {least:.1f}"
        return text + verdict(-own, {name: -nats for name, nats in others.items()})

    def title(self, test: Mapping[str, Any] | None) -> str:
        """Return digits, frames and network."""
        config = self.config
        return f"{config.subject_name}, {config.frame} × {config.frame}: {_network(config)}"

    def curves(self, test: Mapping[str, Any] | None) -> Sequence[Curve]:
        """Return the loss, with the better baseline's."""
        level = None
        if test is not None:
            others = baseline_scores(test, BASELINES, "cross_entropy")
            name = min(others, key=others.__getitem__)
            value = others[name] / (self.config.horizon * self.config.frame**2)
            level = value, f"{name}, test: {value:.3g}"
        return [Curve("loss", "cross-entropy, nats per pixel", level)]

    def draw_tested(self, test: Mapping[str, Any], folder: Path) -> None:
        """Draw some of the test sequences."""
        frames = next(iter(self.to_test()))[:, :DRAWN]
        given, truth = frames.split([self.config.history, self.config.horizon])
        shown = [t.cpu().numpy() for t in (given, truth, self.model(given).sigmoid())]
        title = f"{self.title(test)}; digits never seen"
        draw_sequences(shown[0], shown[1], shown[2], folder / "frames.png", title=title)

    def to_test(self) -> Iterable[Tensor]:
        """Return the batches of the test set."""
        return batches(self.testing, self.config, TEST, self.device)


def _network(config: DigitsConfig) -> str:
    kind = f"gcrn, K = {config.order}" if config.network == "gcrn" else "fully connected LSTM"
    return f"{kind}, {config.layers} × {config.hidden_size}"
