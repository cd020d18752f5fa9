"""`plait predict` and `plait score` of a trained model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from plait.errors import InputError
from plait.tasks.scenes.baselines import score_baselines
from plait.tasks.scenes.config import ScenesConfig
from plait.tasks.scenes.data import as_known, batched
from plait.tasks.scenes.files import read_scenes
from plait.tasks.scenes.model import ScenesModel
from plait.tasks.scenes.scene import Scenes, pairs_of
from plait.tasks.scenes.scores import KS, likeliest, probabilities, score_relations
from plait.tasks.scenes.task import ScenesTask
from plait.training.task import device_of


def predict_scenes(
    model: ScenesModel, config: ScenesConfig, facts: Mapping[str, Any], data: str | None = None
) -> pd.DataFrame:
    """List the 20 likeliest relations of every scene; a pair may have several.

    Parameters
    ----------
    model : ScenesModel
    config, facts
        Of its run folder.
    data : str
        A JSON file of scenes; relations in it are not used. None: the run's own test set.

    Returns
    -------
    DataFrame
        `image`, `subject`, `object` (their ids), `subject_class`, `predicate`, `object_class` and
        `probability`, that the relation is labelled; image by image, the likeliest first.

    Raises
    ------
    InputError
        For scenes that cannot be read, or with classes that the model does not know.
    """
    if data is None:
        scenes = ScenesTask.restore(model, config, facts).splits.test
    else:
        scenes = as_known(read_scenes(Path(data)), facts, data)
    p = probabilities(model, batched(scenes, device_of(model)))
    return pd.concat([_table(scenes, n, q) for n, q in enumerate(p)], ignore_index=True)


def score_scenes(
    model: ScenesModel, config: ScenesConfig, facts: Mapping[str, Any], data: str | None = None
) -> dict[str, float]:
    """Score a model for `plait score`.

    Parameters
    ----------
    model : ScenesModel
    config, facts
        Of its run folder.
    data : str
        A JSON file of scenes with relations. None: the run's own test set.

    Raises
    ------
    InputError
        For scenes that cannot be read, or with classes or predicates that the model does not know.
    """
    if data is None:
        scenes = ScenesTask.restore(model, config, facts).splits.test
    else:
        scenes = as_known(read_scenes(Path(data)), facts, data)
        if not any(len(scene.relations) for scene in scenes.scenes):
            raise InputError(f"{data} has no relations to score by")
    batches = batched(scenes, device_of(model))
    own = score_relations(probabilities(model, batches), scenes)
    return own | score_baselines(model, batches, scenes)


def _table(scenes: Scenes, number: int, p: np.ndarray) -> pd.DataFrame:
    """List the likeliest relations of one scene."""
    scene = scenes.scenes[number]
    pair, predicate = np.nonzero(likeliest(p, KS[0], one_per_pair=False))
    order = np.argsort(-p[pair, predicate], kind="stable")
    pair, predicate = pair[order], predicate[order]
    subject, other = pairs_of(len(scene.ids))[:, pair]
    ids, kinds = np.array(scene.ids), np.array(scenes.classes)[scene.classes]
    return pd.DataFrame(
        {
            "image": scene.image,
            "subject": ids[subject],
            "subject_class": kinds[subject],
            "predicate": np.array(scenes.predicates)[predicate],
            "object": ids[other],
            "object_class": kinds[other],
            "probability": p[pair, predicate],
        }
    )
