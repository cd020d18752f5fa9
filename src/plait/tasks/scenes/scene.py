"""Scenes: images of which only the detected objects are left, and how these are related."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Scene:
    """The N objects of one image.

    Attributes
    ----------
    image : int
        The image's id.
    size : tuple of float
        Width and height of the image, in pixels.
    ids : tuple of int
        The objects' ids, each once in all scenes.
    boxes : array `[N, 4]`
        x and y of the upper left corner, width, height, in pixels.
    classes : integer array `[N]`
        Positions in `Scenes.classes`.
    scores : array `[N]`
        How sure the detector is, 0 … 1.
    features : array `[N, F]`
        What else is known of an object; F may be 0.
    relations : integer array `[R, 3]`
        Subject, predicate and object, as positions.
    truth : array `[N·(N − 1), predicates]` or None
        The probability that a relation is labelled, given all that is seen, where it is known: in
        generated scenes.
    picture : str
        The image's file, where there is one.
    """

    image: int
    size: tuple[float, float]
    ids: tuple[int, ...]
    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    features: np.ndarray
    relations: np.ndarray
    truth: np.ndarray | None = None
    picture: str = ""

    def labels(self, predicates: int) -> np.ndarray:
        """Return the labelled relations, `[N·(N − 1), predicates]`, pairs as in `pairs_of`."""
        grid = np.zeros((len(self.ids), len(self.ids), predicates), bool)
        subject, predicate, other = self.relations.T
        grid[subject, other, predicate] = True
        return grid[tuple(pairs_of(len(self.ids)))]


@dataclass(frozen=True)
class Scenes:
    """Scenes with the same classes, predicates and number of features."""

    classes: tuple[str, ...]
    predicates: tuple[str, ...]
    features: int
    scenes: tuple[Scene, ...]

    def part(self, numbers: Sequence[int] | np.ndarray) -> "Scenes":
        """Return the scenes with these numbers."""
        return replace(self, scenes=tuple(self.scenes[n] for n in numbers))

    def __len__(self) -> int:
        return len(self.scenes)


def pairs_of(count: int) -> np.ndarray:
    """Return all ordered pairs of objects, `[2, count·(count − 1)]`, by subject, then object.

    >>> from plait.tasks.scenes.scene import pairs_of
    >>> pairs_of(3).tolist()
    [[0, 0, 1, 1, 2, 2], [1, 2, 0, 2, 0, 1]]
    """
    return np.array(np.nonzero(~np.eye(count, dtype=bool)))
