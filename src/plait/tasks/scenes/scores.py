"""How well relations are found: recall among the likeliest."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from plait.tasks.scenes.batches import Batch
from plait.tasks.scenes.model import ScenesModel
from plait.tasks.scenes.scene import Scenes
from plait.training.ranks import current_ranks

KS = (20, 50)
"""How many of the likeliest relations are looked at."""


def recall(p: np.ndarray, labels: np.ndarray, k: int, *, one_per_pair: bool) -> float:
    """Return the share of a scene's labelled relations among its k likeliest (Lu et al. 2016).

    Parameters
    ----------
    p : array `[P, predicates]`
        Probabilities, or anything that ranks.
    labels : boolean array `[P, predicates]`
        At least one is true.
    k : int
    one_per_pair : bool
        Each pair takes part with its likeliest predicate alone.

    Example
    -------
    >>> import numpy as np
    >>> from plait.tasks.scenes.scores import recall
    >>> p, labels = np.array([[0.9, 0.8], [0.1, 0.2]]), np.array([[True, True], [False, False]])
    >>> recall(p, labels, 2, one_per_pair=True), recall(p, labels, 2, one_per_pair=False)
    (0.5, 1.0)
    """
    return float(found(p, labels, k, one_per_pair=one_per_pair).sum() / labels.sum())


def found(p: np.ndarray, labels: np.ndarray, k: int, *, one_per_pair: bool) -> np.ndarray:
    """Mark the labelled relations among the k likeliest, `[P, predicates]`."""
    return labels & likeliest(p, k, one_per_pair=one_per_pair)


def likeliest(p: np.ndarray, k: int, *, one_per_pair: bool) -> np.ndarray:
    """Mark the k likeliest relations of a scene, `[P, predicates]`; of equals the first."""
    rank = p.copy()
    if one_per_pair:
        rank[np.arange(p.shape[1]) != p.argmax(1)[:, None]] = -np.inf
    first = np.argsort(-rank, axis=None, kind="stable")[:k]
    marked = np.zeros(p.shape, bool)
    marked.flat[first] = rank.flat[first] > -np.inf
    return marked


def score_relations(
    p: Sequence[np.ndarray], scenes: Scenes, of_predicates: bool = True
) -> dict[str, float]:
    """Score probabilities `[P, predicates]`, a scene each; scenes without labels are passed over.

    Returns
    -------
    dict
        `loss`: nats per pair and predicate. `recall_at_20`, `recall_at_50`: means over scenes of
        `recall` with one predicate per pair; `free_recall_at_…` without that. With `of_predicates`,
        `recall_at_50_of_…`: share of the labelled relations of one predicate, in all scenes, that
        are among the first 50 of their scene, several predicates per pair.
    """
    labels = [scene.labels(len(scenes.predicates)) for scene in scenes.scenes]
    every, truth = np.concatenate(p), np.concatenate(labels)
    likelihood = np.where(truth, every, 1 - every).clip(np.finfo(np.float32).tiny)
    scores = {"loss": float(-np.log(likelihood).mean())}
    labelled = [(q, t) for q, t in zip(p, labels, strict=True) if t.any()]
    for one_per_pair, name in ((True, "recall"), (False, "free_recall")):
        for k in KS:
            shares = [recall(q, t, k, one_per_pair=one_per_pair) for q, t in labelled]
            scores[f"{name}_at_{k}"] = float(np.mean(shares))
    if of_predicates:
        met = [found(q, t, KS[-1], one_per_pair=False).sum(0) for q, t in labelled]
        shares = np.sum(met, 0) / truth.sum(0).clip(min=1)
        for name, share, count in zip(scenes.predicates, shares, truth.sum(0), strict=True):
            if count:
                scores[f"recall_at_{KS[-1]}_of_{name.replace(' ', '_')}"] = float(share)
    return scores


@torch.no_grad()
def probabilities(model: ScenesModel, batches: Sequence[Batch]) -> list[np.ndarray]:
    """Return the model's probabilities, `[P, predicates]` for each scene."""
    found = current_ranks().map(
        lambda batch: (torch.cat([torch.from_numpy(q) for q in by_scene(model(batch), batch)]),),
        batches,
    )
    pairs = zip(found, batches, strict=True)
    return [q.numpy() for (p,), batch in pairs for q in p.split(batch.sizes)]


def by_scene(logits: Tensor, batch: Batch) -> list[np.ndarray]:
    """Return the probabilities of a batch's logits, scene by scene."""
    return [q.double().numpy() for q in logits.detach().sigmoid().cpu().split(batch.sizes)]
