"""Generated scenes: shapes laid out in rows, and relations by rules that are known.

What is labelled is drawn: a relation that holds is labelled with its predicate's probability, one
that does not hold never, as people who label images leave things out. So the best possible score
is known: that of these probabilities.
"""

from dataclasses import dataclass

import numpy as np

from plait.tasks.scenes.scene import Scene, Scenes, pairs_of
from plait.training.streams import random_generator

CLASSES = ("frame", "disc", "square", "triangle", "diamond")

LABELLED = {
    "left of": 0.5,
    "above": 0.5,
    "inside": 0.9,
    "touching": 0.9,
    "same colour": 0.3,
    "directly left of": 0.9,
    "closest to": 0.9,
    "between": 0.9,
}
"""The predicates, and with what probability a relation that holds is labelled."""

NEED_A_THIRD = ("directly left of", "closest to", "between")
"""Predicates that no two objects decide."""

COLOURS = np.array(
    [[0.85, 0.2, 0.2], [0.2, 0.6, 0.25], [0.2, 0.35, 0.85], [0.95, 0.8, 0.2], [0.6, 0.3, 0.7],
     [0.2, 0.75, 0.8]]
)  # fmt: skip
"""Red, green and blue, 0 … 1; an object's features are its colour, a little off."""

COLUMNS, ROWS, CELL = 5, 3, np.array([64, 60])
SIZE = (float(COLUMNS * CELL[0]), float(ROWS * CELL[1]))
FEWEST, MOST = 5, 8
"""Objects of a scene, those inside frames not counted."""

STREAM = 10
"""The stream of random numbers that scenes are drawn from."""


def generate_scenes(seed: int, count: int) -> Scenes:
    """Draw scenes of five to some ten objects; scene k is a function of the seed and k.

    s and o are in a row where their boxes' vertical extents overlap, in a column where the
    horizontal ones do. The rules, for a subject s and an object o:

    - left of: in a row, and s ends before o begins; above: in a column, likewise
    - inside: the box of s lies in that of o
    - touching: nothing lies between the boxes, and neither is inside the other
    - same colour: of the six colours
    - directly left of: left of, and there is no k such that s is left of k and k left of o
    - closest to: no object's centre is closer to that of s than o's
    - between: in a row or in a column, s stands between o and another object

    Example
    -------
    >>> from plait.tasks.scenes.generator import generate_scenes
    >>> scenes = generate_scenes(seed=0, count=2)
    >>> scenes.predicates[-1], scenes.scenes[0].size
    ('between', (320.0, 180.0))
    """
    drawn = tuple(_scene(random_generator(seed, k, STREAM), k) for k in range(count))
    return Scenes(CLASSES, tuple(LABELLED), COLOURS.shape[1], drawn)


def relations_that_hold(boxes: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Apply the rules: `[N, N, predicates]`, true where subject, object and predicate hold."""
    first, last = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]  # [N, 2]: x, y
    before = last[:, None] <= first[None]  # [N, N, 2]: s ends before o begins
    overlap = (first[:, None] < last[None]) & (first[None] < last[:, None])
    left, above = before[..., 0] & overlap[..., 1], before[..., 1] & overlap[..., 0]
    itself = np.eye(len(boxes), dtype=bool)
    inside = ((first[:, None] >= first[None]) & (last[:, None] <= last[None])).all(-1) & ~itself
    near = (first[:, None] <= last[None]) & (first[None] <= last[:, None])
    touching = near.all(-1) & ~inside & ~inside.T & ~itself
    centres = first + boxes[:, 2:] / 2
    distance: np.ndarray = ((centres[:, None] - centres[None]) ** 2).sum(-1)
    distance[itself] = np.inf
    through = (left.astype(int) @ left) > 0  # s left of some k, and k left of o
    return np.stack(
        [
            left,
            above,
            inside,
            touching,
            (colours[:, None] == colours[None]) & ~itself,
            left & ~through,
            distance == distance.min(1, keepdims=True),
            _between(left) | _between(above),
        ],
        -1,
    )


def _between(before: np.ndarray) -> np.ndarray:
    """Return where s is before o and after another, or after o and before another."""
    after_one = before.any(0, keepdims=True).T
    before_one = before.any(1, keepdims=True)
    return (before & after_one) | (before.T & before_one)


@dataclass
class _Layout:
    """Boxes, classes and colours as they are being laid out."""

    boxes: list[np.ndarray]
    classes: list[int]


def _scene(random: np.random.Generator, number: int) -> Scene:
    layout = _lay_out(random)
    order = random.permutation(len(layout.boxes))
    boxes = np.array(layout.boxes, float)[order]
    classes = np.array(layout.classes)[order]
    count = len(order)
    colours = random.integers(len(COLOURS), size=count)
    features = COLOURS[colours] + random.uniform(-0.05, 0.05, (count, 3))
    truth = relations_that_hold(boxes, colours) * np.array([*LABELLED.values()])
    subject, other, predicate = np.nonzero(random.random(truth.shape) < truth)
    return Scene(
        image=number,
        size=SIZE,
        ids=tuple(range(1000 * number, 1000 * number + count)),
        boxes=boxes,
        classes=classes,
        scores=np.ones(count),
        features=features.round(3).clip(0, 1),
        relations=np.stack([subject, predicate, other], 1),
        truth=truth[tuple(pairs_of(count))],
    )


def _lay_out(random: np.random.Generator) -> _Layout:
    """Put objects into cells; some frames hold another, some neighbours touch."""
    layout = _Layout([], [])
    taken = random.choice(COLUMNS * ROWS, random.integers(FEWEST, MOST + 1), replace=False)
    right_of: dict[int, int] = {}  # the cell after an object's: its number in the layout
    for cell in sorted(taken.tolist()):
        row, column = divmod(cell, COLUMNS)
        middle = CELL * (column, row) + CELL // 2
        framed = random.random() < 0.2
        size = random.integers(48, 55, 2) if framed else random.integers(24, 41, 2)
        jitter = random.integers(-2, 3, 2) if framed else random.integers(-8, 9, 2)
        corner = middle + jitter - size // 2
        before = right_of.get(cell)
        if before is not None and not framed and random.random() < 0.4:
            layout.boxes[before][2] = corner[0] - layout.boxes[before][0]  # until they touch
        layout.boxes.append(np.concatenate([corner, size]))
        layout.classes.append(0 if framed else int(random.integers(1, len(CLASSES))))
        if column < COLUMNS - 1 and not framed:
            right_of[cell + 1] = len(layout.boxes) - 1
        if framed and random.random() < 0.7:
            inner = random.integers(18, 29, 2)
            layout.boxes.append(np.concatenate([corner + (size - inner) // 2, inner]))
            layout.classes.append(int(random.integers(1, len(CLASSES))))
    return layout
