"""What finds relations without a model: the classes alone, by counting, and the truth."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from plait.tasks.baseline_report import named_scores
from plait.tasks.scenes.batches import Batch
from plait.tasks.scenes.model import ScenesModel
from plait.tasks.scenes.scene import Scenes
from plait.tasks.scenes.scores import by_scene, score_relations


def score_baselines(
    model: ScenesModel, batches: Iterable[Batch], scenes: Scenes
) -> dict[str, float]:
    """Score the classes alone (`frequency_…`) and, where it is known, the truth (`best_…`).

    Nothing has a larger expected recall, or a smaller loss, than the true probabilities: labels
    are drawn independently, and E[y_i / Σ_j y_j] rises with p_i. That is of all predicates
    together. They compete for the first 50, so that of a single one another ranking may find more.
    """
    found = {"frequency": [q for batch in batches for q in by_scene(model.prior(batch), batch)]}
    truths = [scene.truth for scene in scenes.scenes if scene.truth is not None]
    if len(truths) == len(scenes):
        found["best"] = truths
    return named_scores({name: score_relations(p, scenes) for name, p in found.items()})


def frequencies(scenes: Scenes) -> Tensor:
    """Log odds of each predicate given the classes of subject and object, by counting.

    p = (n_sop + p_p) / (n_so + 1), with n_so the pairs of these classes, n_sop those labelled
    with the predicate, and p_p = (n_p + ½) / (n + 1) that share among all pairs.

    Returns
    -------
    Tensor `[classes, classes, predicates]`
    """
    C, P = len(scenes.classes), len(scenes.predicates)
    pairs, labelled = np.zeros((C, C, 1)), np.zeros((C, C, P))
    for scene in scenes.scenes:
        kinds = scene.classes
        np.add.at(pairs, (kinds[:, None], kinds[None]), 1)
        np.add.at(pairs, (kinds, kinds), -1)  # no object is paired with itself
        labels = np.unique(scene.relations, axis=0)
        subject, predicate, other = labels.T
        np.add.at(labelled, (kinds[subject], kinds[other], predicate), 1)
    overall = (labelled.sum((0, 1)) + 0.5) / (pairs.sum() + 1)
    p = (labelled + overall) / (pairs + 1)
    return torch.from_numpy(np.log(p) - np.log1p(-p)).float()
