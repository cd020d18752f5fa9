"""What a trained run says of scenes: `plait predict` and `plait score`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from plait.errors import InputError
from plait.tasks.scenes.config import ScenesConfig
from plait.tasks.scenes.files import digest, read_scenes
from plait.tasks.scenes.model import ScenesModel
from plait.tasks.scenes.scene import Scenes, pairs_of
from plait.tasks.scenes.scores import KS, likeliest, probabilities, score_beside
from plait.tasks.scenes.sources import as_known, batched, parts, scenes_of


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
        A JSON file of scenes; relations in it are not looked at. None: the run's own test part.

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
    scenes = _test_part(config, facts) if data is None else as_known(
        read_scenes(Path(data)), facts, data
    )  # fmt: skip
    p = probabilities(model, batched(scenes, model.frequency.device))
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
        A JSON file of scenes with relations. None: the run's own test part.

    Raises
    ------
    InputError
        For scenes that cannot be read, or with classes or predicates that the model does not know.
    """
    if data is None:
        scenes = _test_part(config, facts)
    else:
        scenes = as_known(read_scenes(Path(data)), facts, data)
        if not any(len(scene.relations) for scene in scenes.scenes):
            raise InputError(f"{data} has no relations to score by")
    return score_beside(model, batched(scenes, model.frequency.device), scenes)


def _table(scenes: Scenes, number: int, p: np.ndarray) -> pd.DataFrame:
    """The likeliest relations of one scene."""
    scene = scenes.scenes[number]
    pair, predicate = np.nonzero(likeliest(p, KS[0], one_a_pair=False))
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


def _test_part(config: ScenesConfig, facts: Mapping[str, Any]) -> Scenes:
    """The scenes that the run was tested on."""
    scenes = scenes_of(config)
    if digest(scenes) != facts["sha256"]:
        raise InputError(f"{config.data} is no longer what the run was trained on; give --data")
    return parts(scenes, config.seed)[2]
