"""The scenes task: what the training loop asks of it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.errors import InputError
from plait.figures import Curve, draw_curves
from plait.tasks.beside import list_scores, verdict
from plait.tasks.scenes.batches import Batch
from plait.tasks.scenes.config import ScenesConfig
from plait.tasks.scenes.files import digest
from plait.tasks.scenes.model import ScenesModel
from plait.tasks.scenes.photos import find_photo
from plait.tasks.scenes.picture import draw_scenes
from plait.tasks.scenes.scores import (
    KS,
    frequencies,
    probabilities,
    recall,
    score_beside,
    score_relations,
    split,
)
from plait.tasks.scenes.sources import batched, parts, scenes_of
from plait.training.alone import train_alone
from plait.training.streams import random_generator
from plait.training.task import Carry

TRAINING = 0
"""The stream of random numbers that batches are drawn from."""

BESIDE = {
    "dense_": "the same network without messages",
    "frequency_": "the classes alone",
    "best_": "who knows the rules",
}
"""What stands beside a network's scores, by how their names begin."""

ALL_TOGETHER = (
    "who knows the rules finds the most of all relations together; of a single predicate a network "
    "finds more where it ranks it before the others"
)
"""What the scores of the true probabilities bound, and what they do not."""

DRAWN = 3
"""Scenes in the picture."""


class ScenesTask:
    """Say how the objects of a scene are related, every ordered pair of them.

    A batch is scenes of the training part, drawn at random; the loss is the mean, over pairs and
    predicates, of the binary cross-entropy.
    """

    name: ClassVar[str] = "scenes"
    unit: ClassVar[str] = "scenes"
    criterion: ClassVar[str] = f"recall_at_{KS[0]}"
    lower_is_better: ClassVar[bool] = False

    def __init__(
        self, config: ScenesConfig, device: torch.device, known: Mapping[str, Any] | None = None
    ) -> None:
        self.config, self.device = config, device
        self.scenes = scenes_of(config)
        self.training, self.validation, self.testing = parts(self.scenes, config.seed)
        self.units_per_step = config.batch_size
        self.model = ScenesModel.from_facts(config, self.facts()).to(device)
        seen = torch.cat([batch.objects for batch in batched(self.training, device)])
        self.model.begin_from(frequencies(self.training), seen)
        self.to_validate = batched(self.validation, device)

    def facts(self) -> Mapping[str, Any]:
        """What rebuilds the model, and what tells whether the scenes are the same ones."""
        return {
            "classes": list(self.scenes.classes),
            "predicates": list(self.scenes.predicates),
            "features": self.scenes.features,
            "sha256": digest(self.scenes),
        }

    def begin_with(self, model: ScenesModel) -> None:
        """Take over the weights of a model trained before."""
        mine, theirs = self.model.state_dict(), model.state_dict()
        if any(mine[name].shape != theirs[name].shape for name in mine):
            raise InputError("that run's scenes have other classes, predicates or features")
        self.model.load_state_dict(theirs)

    def summary(self) -> dict[str, str]:
        """What a person wants to know before it starts."""
        config, scenes = self.config, self.scenes
        counted = [len(scene.ids) for scene in scenes.scenes]
        labelled = sum(len(scene.relations) for scene in scenes.scenes)
        sizes = ", ".join(f"{len(p):,}" for p in (self.training, self.validation, self.testing))
        parameters = sum(p.numel() for p in self.model.parameters())
        first: Any = self.model.layers[0]
        named = [scene.picture for scene in scenes.scenes if scene.picture]
        folder = Path(config.data).parent
        found = sum(find_photo(folder, name) is not None for name in named)
        photos = {"pictures": f"{found:,} of {len(named):,} files found in {folder}"}
        return {
            "scenes": f"{config.data}: {sum(counted):,} objects of {len(scenes.classes)} classes, "
            f"{min(counted)} to {max(counted)} in a scene, {scenes.features} features; "
            f"{labelled:,} relations, {len(scenes.predicates)} predicates",
            "parts": f"{sizes} scenes to train, validate, test",
            "model": f"{config.operator}, {config.layers} layers, {config.hidden_size} wide, "
            f"{parameters:,} parameters",
            "first layer": first.explain(),
        } | (photos if named else {})

    def start(self) -> Carry:
        """Nothing: every scene is whole."""
        return ()

    def loss(self, step: int, carry: Carry) -> tuple[Tensor, Mapping[str, Tensor], Carry]:
        """Mean nats a pair and predicate over the batch, and the recall at 20."""
        random = random_generator(self.config.seed, step, TRAINING)
        size = min(self.config.batch_size, len(self.training))
        drawn = self.training.part(random.choice(len(self.training), size, replace=False))
        batch = Batch.of(drawn.scenes, len(drawn.predicates), self.device)
        logits = self.model(batch)
        labels = [part.numpy() > 0 for part in batch.labels.cpu().split(batch.sizes)]
        shares = [
            recall(p, t, KS[0], one_a_pair=True)
            for p, t in zip(split(logits, batch), labels, strict=True)
            if t.any()
        ]
        found = torch.tensor(shares).mean() if shares else torch.tensor(1.0)
        scores = {self.criterion: found.to(self.device)}
        return F.binary_cross_entropy_with_logits(logits, batch.labels), scores, ()

    def validate(self) -> Mapping[str, float]:
        """Scores of the validation scenes."""
        p = probabilities(self.model, self.to_validate)
        return score_relations(p, self.validation, of_predicates=False)

    def test(self) -> Mapping[str, float]:
        """Scores of the test scenes, of the classes alone, and of the network without messages."""
        scores = self.score_alone()
        if self.config.operator != "dense":
            without = train_alone(_Alone, replace(self.config, operator="dense"), self.device)
            own = [name for name in scores if f"frequency_{name}" in scores]
            scores |= {f"dense_{name}": without[name] for name in own}
        return scores

    def score_alone(self) -> dict[str, float]:
        """Scores of the test scenes, and of the classes alone."""
        return score_beside(self.model, batched(self.testing, self.device), self.testing)

    def remark(self, scores: Mapping[str, float]) -> str:
        """Say what the recall means beside those of the baselines, with a table of all scores."""
        score = self.criterion
        own = scores[score]
        beside = {
            name: scores[f"{prefix}{score}"]
            for prefix, name in BESIDE.items()
            if f"{prefix}{score}" in scores
        }
        most = beside.pop(BESIDE["best_"], None)
        text = f"{own:.1%} of the relations are among the {KS[0]} likeliest, one a pair"
        text += list_scores(beside if most is None else beside | {BESIDE["best_"]: most})
        return f"{text}{verdict(own, beside)}\n{_table(scores)}"

    def sample(self, step: int) -> str:
        """Write nothing."""
        return ""

    def draw(self, records: list[dict[str, Any]], path: Path) -> None:
        """Draw recall and loss over the steps, and after the test some scenes with relations."""
        config = self.config
        title = f"{config.subject_name}: {config.operator}, {config.layers} layers, "
        title += f"{config.hidden_size} wide"
        curves = [
            Curve(self.criterion, f"recall at {KS[0]}, share of relations"),
            Curve("loss", "loss, nats a pair and predicate"),
        ]
        for test in (r for r in records if r["kind"] == "test"):
            curves = [_beside(curve, test) for curve in curves]
            some = self.testing.part(range(min(DRAWN, len(self.testing))))
            with torch.no_grad():
                p = probabilities(self.model, batched(some, self.device))
            folder = Path(config.data).parent
            draw_scenes(some, p, path.with_name("scenes.png"), title=title, folder=folder)
        draw_curves(records, curves, path, title=title)


class _Alone(ScenesTask):
    """The network for its own scores, with nothing beside them and no picture."""

    def test(self) -> Mapping[str, float]:
        return self.score_alone()

    def draw(self, records: list[dict[str, Any]], path: Path) -> None:
        pass


def _beside(curve: Curve, test: Mapping[str, Any]) -> Curve:
    """Put the baseline's level of the test part into a curve."""
    kind = "dense" if f"dense_{curve.score}" in test else "frequency"
    label = "without messages" if kind == "dense" else "the classes alone"
    level = test[f"{kind}_{curve.score}"]
    return replace(curve, baseline=(level, f"{label}, test: {level:.3g}"))


def _table(scores: Mapping[str, float]) -> str:
    """Lay out all scores, a row each, with those beside them in columns."""
    own = [n for n in scores if f"frequency_{n}" in scores]
    columns = ["", *(prefix for prefix in BESIDE if f"{prefix}{own[0]}" in scores)]
    heads = ["this network", *(BESIDE[prefix] for prefix in columns[1:])]
    wide = max(map(len, own))
    lines = ["  ".join(["test".ljust(wide), *heads])]
    for name in own:
        shown = (f"{scores[p + name]:>{len(h)}.4f}" for p, h in zip(columns, heads, strict=True))
        lines.append("  ".join([name.replace("_", " ").ljust(wide), *shown]))
    if "best_" in columns:
        lines.append(ALL_TOGETHER)
    return "\n".join(lines)
