"""Where scenes come from, which are trained on, and how those of another file are numbered."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plait.errors import InputError
from plait.tasks.scenes.batches import Batch
from plait.tasks.scenes.config import ScenesConfig
from plait.tasks.scenes.files import read_scenes
from plait.tasks.scenes.generator import generate_scenes
from plait.tasks.scenes.scene import Scene, Scenes
from plait.tasks.splits import Splits
from plait.training.streams import random_generator

SPLITTING = 11
"""The stream of random numbers that scenes are split by."""

SCORED = 32
"""Scenes that are scored at a time."""


def scenes_of(config: ScenesConfig) -> Scenes:
    """Read or generate the scenes that a configuration names."""
    if config.data == "generated":
        return generate_scenes(config.seed, config.scenes)
    scenes = read_scenes(Path(config.data))
    if not any(len(scene.relations) for scene in scenes.scenes):
        raise InputError(f"{config.data} has no relations, so there is nothing to learn")
    return scenes


def split_scenes(scenes: Scenes, seed: int) -> Splits[Scenes]:
    """Split scenes at random into 70 % to train, 15 % to validate and the rest to test."""
    count = len(scenes)
    valid = max(1, round(0.15 * count))
    if count < 2 * valid + 1:
        raise InputError(f"{count} scenes are too few to train, validate and test on; 3 at least")
    order = random_generator(seed, 0, SPLITTING).permutation(count)
    cut = np.split(order, [count - 2 * valid, count - valid])
    splits = Splits(*(scenes.part(np.sort(numbers)) for numbers in cut))
    for name, part in zip(("train", "validate", "test"), splits, strict=True):
        if not any(len(scene.relations) for scene in part.scenes):
            raise InputError(f"none of the {len(part)} scenes to {name} on has relations; add some")
    return splits


def batched(scenes: Scenes, device: torch.device, size: int = SCORED) -> list[Batch]:
    """Make batches of scenes to score."""
    predicates = len(scenes.predicates)
    cut = range(0, len(scenes), size)
    return [Batch.of(scenes.scenes[k : k + size], predicates, device) for k in cut]


def as_known(scenes: Scenes, facts: Mapping[str, Any], source: str) -> Scenes:
    """Number classes and predicates, found by their names, as the run has them."""
    if scenes.features != facts["features"]:
        raise InputError(
            f"{source}: its objects have {scenes.features} features, those trained on had "
            f"{facts['features']}; give objects with the same features"
        )
    classes = _positions(scenes.classes, facts["classes"], "category", source)
    predicates = _positions(scenes.predicates, facts["predicates"], "predicate", source)
    known = [_renumbered(scene, classes, predicates) for scene in scenes.scenes]
    return Scenes(
        tuple(facts["classes"]), tuple(facts["predicates"]), scenes.features, tuple(known)
    )


def _positions(names: Sequence[str], known: Sequence[str], kind: str, source: str) -> np.ndarray:
    for name in names:
        if name not in known:
            raise InputError(
                f"{source}: the {kind} {name!r} is not among those trained on: {', '.join(known)}"
            )
    return np.array([known.index(name) for name in names], dtype=np.int64)


def _renumbered(scene: Scene, classes: np.ndarray, predicates: np.ndarray) -> Scene:
    relations = scene.relations.copy()
    if len(relations):
        relations[:, 1] = predicates[relations[:, 1]]
    return replace(scene, classes=classes[scene.classes], relations=relations, truth=None)
