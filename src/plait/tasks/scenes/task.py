"""The scenes task: its data, batches, loss and scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.figures import Curve
from plait.tasks.baseline_report import baseline_scores, curves_next_to, list_scores, verdict
from plait.tasks.scenes.baselines import frequencies, score_baselines
from plait.tasks.scenes.batches import Batch
from plait.tasks.scenes.data import batched, scenes_of, split_scenes
from plait.tasks.scenes.figure import draw_scenes
from plait.tasks.scenes.files import digest
from plait.tasks.scenes.model import ScenesModel
from plait.tasks.scenes.photos import find_photo
from plait.tasks.scenes.scores import (
    KS,
    by_scene,
    probabilities,
    recall,
    score_relations,
)
from plait.terminal import counted
from plait.training.streams import random_generator
from plait.training.task import Carry, Task, count_weights

TRAINING = 0
"""The stream of random numbers that batches are drawn from."""

BASELINES = {
    "dense": "the same network without messages",
    "frequency": "the classes alone",
    "best": "the true probabilities",
}
"""What a model is compared with, by the beginning of the scores' names."""

ALL_TOGETHER = (
    "the true probabilities bound the recall over all predicates together; of a single predicate a "
    "model finds more where it ranks it before the others"
)
"""What the scores of the true probabilities bound, and what they do not."""

DRAWN = 3
"""Scenes in the picture."""


class ScenesTask(Task):
    """Predict how the objects of a scene are related, every ordered pair of them.

    A batch is scenes of the training set, drawn at random; the loss is the mean, over pairs and
    predicates, of the binary cross-entropy.
    """

    name: ClassVar[str] = "scenes"
    model_class: ClassVar[type[ScenesModel]] = ScenesModel
    unit: str = "scenes"
    splits_batches = True
    instead: ClassVar[str] = "give --data"
    monitor: str = f"recall_at_{KS[0]}"
    lower_is_better: ClassVar[bool] = False
    without_graph: ClassVar[Mapping[str, Any]] = {"operator": "dense"}
    unlike: str = "that run's scenes have other classes, predicates or features"

    def read_data(self, known: Mapping[str, Any]) -> None:
        """Read the scenes and split them."""
        self.source, self.scenes = self.config.data, scenes_of(self.config)
        self.splits = split_scenes(self.scenes, self.config.seed)
        size = self.config.batch_size * self.ranks.count
        self.units_per_step = min(size, len(self.splits.train))
        self.to_validate = batched(self.splits.valid, self.device)

    def make_model(self) -> ScenesModel:
        """Make the model, which begins from what counting in the training set finds."""
        model = super().make_model().to(self.device)
        objects = torch.cat([batch.objects for batch in batched(self.splits.train, self.device)])
        model.begin_from(frequencies(self.splits.train), objects)
        return model

    def facts(self) -> Mapping[str, Any]:
        """Return the model's sizes, and what identifies the scenes."""
        return {
            "classes": list(self.scenes.classes),
            "predicates": list(self.scenes.predicates),
            "features": self.scenes.features,
            "sha256": digest(self.scenes),
        }

    def summary(self) -> dict[str, str]:
        """Return what a user wants to know before training starts."""
        config, scenes = self.config, self.scenes
        sizes = [len(scene.ids) for scene in scenes.scenes]
        labelled = sum(len(scene.relations) for scene in scenes.scenes)
        parts = ", ".join(f"{len(part):,}" for part in self.splits)
        first: Any = self.model.layers[0]
        named = [scene.picture for scene in scenes.scenes if scene.picture]
        folder = Path(config.data).parent
        found = sum(find_photo(folder, name) is not None for name in named)
        photos = {"images": f"{found:,} of {len(named):,} files found in {folder}"}
        return {
            "scenes": f"{config.data}: {sum(sizes):,} objects of "
            f"{counted(len(scenes.classes), 'class', 'classes')}, "
            f"{min(sizes)} to {max(sizes)} in a scene, {counted(scenes.features, 'feature')}; "
            f"{labelled:,} relations, {counted(len(scenes.predicates), 'predicate')}",
            "split": f"{parts} scenes to train, validate, test",
            "model": f"{config.sizes}, {count_weights(self.model):,} parameters",
            "first layer": first.explain(),
        } | (photos if named else {})

    def batch(self, step: int) -> Batch:
        """Draw scenes of the training set."""
        training = self.splits.train
        random = random_generator(self.config.seed, step, TRAINING)
        size = self.units_per_step
        chosen = random.choice(len(training), size, replace=False)[self.ranks.part(size, self.unit)]
        scenes = training.part(chosen)
        return Batch.of(scenes.scenes, len(scenes.predicates), self.device)

    def loss(
        self, model: ScenesModel, batch: Batch, carry: Carry
    ) -> tuple[Tensor, Mapping[str, Tensor], Carry]:
        """Return mean nats per pair and predicate of the batch, and the recall at 20."""
        logits = model(batch)
        labels = [part.numpy() > 0 for part in batch.labels.cpu().split(batch.sizes)]
        shares = [
            recall(p, t, KS[0], one_per_pair=True)
            for p, t in zip(by_scene(logits, batch), labels, strict=True)
            if t.any()
        ]
        found = torch.tensor(shares).mean() if shares else torch.tensor(1.0)
        scores = {self.monitor: found.to(self.device)}
        return F.binary_cross_entropy_with_logits(logits, batch.labels), scores, ()

    def terms(self, batch: Batch) -> float:
        """Return the number of pairs."""
        return float(len(batch.labels))

    def validate(self) -> Mapping[str, float]:
        """Return the scores of the validation scenes."""
        p = probabilities(self.model, self.to_validate)
        return score_relations(p, self.splits.valid, of_predicates=False)

    def own_scores(self) -> Mapping[str, float]:
        """Return the scores of the test scenes."""
        test = self.splits.test
        return score_relations(probabilities(self.model, batched(test, self.device)), test)

    def baselines(self) -> Mapping[str, float]:
        """Return the scores of the classes alone, and of the truth where it is known."""
        test = self.splits.test
        return score_baselines(self.model, batched(test, self.device), test)

    def interpret(self, scores: Mapping[str, float]) -> str:
        """Return what the recall means next to the baselines', with a table of all scores."""
        others = baseline_scores(scores, BASELINES, self.monitor)
        best = {name: others.pop(name) for name in (BASELINES["best"],) if name in others}
        text = f"{scores[self.monitor]:.1%} of the relations are among the {KS[0]} likeliest, one "
        text += f"per pair{list_scores(others | best)}"
        return f"{text}{verdict(scores[self.monitor], others)}\n{_table(scores)}"

    def title(self, test: Mapping[str, Any] | None) -> str:
        """Return data, operator and sizes."""
        return f"{self.config.subject_name}: {self.config.sizes}"

    def curves(self, test: Mapping[str, Any] | None) -> Sequence[Curve]:
        """Return recall and loss, with the model without messages, or the classes alone."""
        labels = {
            self.monitor: f"recall at {KS[0]}, share of relations",
            "loss": "loss, nats per pair and predicate",
        }
        dense = f"dense_{self.monitor}" in (test or {})
        kind, name = ("dense", "without messages") if dense else ("frequency", "the classes alone")
        return curves_next_to(labels, test, kind, f"{name}, test")

    def draw_tested(self, test: Mapping[str, Any], folder: Path) -> None:
        """Draw some test scenes with their relations."""
        some = self.splits.test.part(range(min(DRAWN, len(self.splits.test))))
        p = probabilities(self.model, batched(some, self.device))
        draw_scenes(
            some, p, folder / "scenes.png", title=self.title(test),
            folder=Path(self.config.data).parent,
        )  # fmt: skip


def _table(scores: Mapping[str, float]) -> str:
    """Lay out all scores, a row each, with the baselines' in columns."""
    own = [n for n in scores if f"frequency_{n}" in scores]
    columns = {p: name for p, name in BASELINES.items() if f"{p}_{own[0]}" in scores}
    heads = ["this network", *columns.values()]
    wide = max(map(len, own))
    lines = ["  ".join(["test".ljust(wide), *heads])]
    for name in own:
        values = [scores[name], *(scores[f"{prefix}_{name}"] for prefix in columns)]
        shown = (f"{value:>{len(h)}.4f}" for value, h in zip(values, heads, strict=True))
        lines.append("  ".join([name.replace("_", " ").ljust(wide), *shown]))
    if "best" in columns:
        lines.append(ALL_TOGETHER)
    return "\n".join(lines)
