"""`plait serve` of a scenes run: the objects of an image, and their likeliest relations."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from plait.pages import Blocks, Control, Page, graph, note, table
from plait.tasks.scenes.config import ScenesConfig
from plait.tasks.scenes.data import batched
from plait.tasks.scenes.model import ScenesModel
from plait.tasks.scenes.scene import Scene, pairs_of
from plait.tasks.scenes.scores import probabilities
from plait.tasks.scenes.task import ScenesTask
from plait.terminal import counted
from plait.training.task import device_of


def page(model: ScenesModel, config: ScenesConfig, facts: Mapping[str, Any]) -> Page:
    """Return the page: a scene of the test set, and how many relations are listed."""
    scenes = ScenesTask.restore(model, config, facts).splits.test
    classes, predicates = scenes.classes, scenes.predicates

    def answer(scene: int, top: int) -> Blocks:
        asked = scenes.scenes[scene - 1]
        (p,) = probabilities(model, batched(scenes.part([scene - 1]), device_of(model)))
        pair, predicate = (found[:top] for found in ranked(p))
        subject, other = pairs_of(len(asked.ids))[:, pair].tolist()
        names = [f"{classes[kind]} {k + 1}" for k, kind in enumerate(asked.classes)]
        labels, boxes = asked.labels(len(predicates)), frames(asked)
        yield graph(
            "The objects where they are in the image, and the relations listed", names,
            list(zip(subject, other, strict=True)), "graph", groups=asked.classes.tolist(),
            group_names=classes, boxes=boxes, places=boxes.reshape(-1, 2, 2).mean(1),
        )  # fmt: skip
        rows = [
            [names[s], predicates[r], names[o], float(p[k, r]), "yes" if labels[k, r] else "no"]
            for s, o, k, r in zip(subject, other, pair.tolist(), predicate.tolist(), strict=True)
        ]
        columns = ["subject", "predicate", "object", "probability", "in the data"]
        yield table("The likeliest relations", columns, rows, "relations")
        hits = int(labels[pair, predicate].sum())
        yield note(
            f"{hits} of the {counted(int(labels.sum()), 'relation')} in the data are among the "
            f"{len(rows)} listed.", "hits",
        )  # fmt: skip

    controls = [
        Control("scene", "Scene of the test set", "number", 1, least=1, most=len(scenes)),
        Control("top", "Relations", "number", 10, least=1, most=50),
    ]
    about = "Scenes that the model was not trained on: choose one to see how its objects relate."
    return Page(about, controls, answer)


def ranked(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs and predicates by their probability `[pairs, predicates]`, the largest first."""
    pair, predicate = np.unravel_index(np.argsort(-p, axis=None, kind="stable"), p.shape)
    return np.asarray(pair), np.asarray(predicate)


def frames(scene: Scene) -> np.ndarray:
    """Return left, top, right and bottom of the objects, upwards as a graph is drawn, `[N, 4]`."""
    first = scene.boxes[:, :2]
    return np.concatenate([first, first + scene.boxes[:, 2:]], 1) * [1, -1, 1, -1]
