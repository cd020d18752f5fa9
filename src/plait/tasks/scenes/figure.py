"""Scenes drawn, with the relations that a network sees in them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse, FancyArrowPatch, Patch, Polygon, Rectangle
from matplotlib.patheffects import withStroke

from plait.figures import COLOURS, NAME, label, name_places, picture
from plait.tasks.scenes.photos import read_photo
from plait.tasks.scenes.scene import Scene, Scenes, pairs_of
from plait.tasks.scenes.scores import KS, likeliest

RIGHT, NOT_LABELLED, MISSED = COLOURS[2], COLOURS[1], COLOURS[5]
OTHERS = "0.75"
"""The colour of boxes that no relation of a panel is about."""

PANELS = 8
"""Predicates that are drawn at most, those with the most relations in these scenes."""

TALLEST, LOWEST = 6.0, 1.2
"""Inches of a panel that is 3 wide, whatever the shape of its scene."""


def draw_scenes(
    scenes: Scenes, p: Sequence[np.ndarray], path: Path, *, title: str, folder: Path
) -> None:
    """Draw scenes, a column each, and over them the 20 likeliest relations, one row per predicate.

    Arrows go from subject to object: green where the relation is labelled, red where it is not,
    dotted grey where it is labelled and not among the likeliest. Objects of the generator's
    classes have their shapes, others their boxes, and those that a panel's relations are about
    their names where there is room; three features from 0 to 1 are taken for a colour. Where a
    picture's file is found under `folder`, it lies beneath; what is no picture is passed over.
    """
    said = [likeliest(q, KS[0], one_per_pair=False) for q in p]
    labels = [scene.labels(len(scenes.predicates)) for scene in scenes.scenes]
    count = sum((s | t).sum(0) for s, t in zip(said, labels, strict=True))
    shown = np.sort(
        np.argsort(-count, kind="stable")[: min(PANELS, max(1, int(np.sum(count > 0))))]
    )
    shape = float(np.mean([s.size[1] / s.size[0] for s in scenes.scenes]))
    height = min(max(LOWEST, 3 * shape), TALLEST)
    with picture(path, 3 * len(scenes) + 0.3, (height + 0.1) * len(shown) + 1.2) as figure:
        figure.suptitle(
            f"{label(title, 40 * len(scenes) - 30)}\nthe {KS[0]} likeliest relations of test scenes"
        )
        rows = figure.subplots(len(shown), len(scenes), squeeze=False)
        for column, scene, drawn, labelled in zip(rows.T, scenes.scenes, said, labels, strict=True):
            column[0].set_title(f"image {scene.image}")
            for axes, predicate in zip(column, shown, strict=True):
                likely, given = drawn[:, predicate], labelled[:, predicate]
                about = np.unique(pairs_of(len(scene.ids))[:, likely | given])
                shapes = _draw_scene(axes, scene, scenes, folder, about)
                _draw_relations(axes, scene, shapes, likely, given)
        for axes, predicate in zip(rows[:, 0], shown, strict=True):
            axes.set_ylabel(label(scenes.predicates[predicate], NAME))
        figure.legend(
            handles=[
                Line2D([], [], color=RIGHT, label="likely and labelled"),
                Line2D([], [], color=NOT_LABELLED, label="likely, not labelled"),
                Line2D([], [], color=MISSED, linestyle=":", label="labelled, not among the likely"),
            ],
            loc="outside lower center",
            ncols=min(3, len(scenes)),
        )
        for column, scene, drawn, labelled in zip(rows.T, scenes.scenes, said, labels, strict=True):
            for axes, predicate in zip(column, shown, strict=True):
                _name(axes, scene, scenes, drawn[:, predicate] | labelled[:, predicate])


def _draw_scene(
    axes: Axes, scene: Scene, scenes: Scenes, folder: Path, about: np.ndarray
) -> dict[int, Patch]:
    """Draw a scene's objects, by number; boxes that nothing is said about are pale."""
    width, height = scene.size
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal", xticks=[], yticks=[])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set(visible=True, color="0.7")
    photo = read_photo(folder, scene.picture)
    if photo is not None:
        axes.imshow(photo, extent=(0, width, height, 0))
    shapes: dict[int, Patch] = {}
    largest_first = np.argsort(-scene.boxes[:, 2:].prod(1), kind="stable")
    for n in largest_first:
        name = scenes.classes[scene.classes[n]]
        colour = _colour(scene.features[n])
        if colour is None:
            colour = to_rgb(COLOURS[0] if n in about else OTHERS)
        shapes[int(n)] = _shape(name, scene.boxes[n], colour)
        axes.add_patch(shapes[int(n)])
    return shapes


_CORNERS = {
    "square": ((0, 0), (1, 0), (1, 1), (0, 1)),
    "triangle": ((0.5, 0), (1, 1), (0, 1)),
    "diamond": ((0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)),
}


def _shape(name: str, box: np.ndarray, colour: tuple[float, ...]) -> Patch:
    """Return an object as its shape within its box."""
    if name == "disc":
        return Ellipse(tuple(box[:2] + box[2:] / 2), *box[2:], color=colour, linewidth=0)
    if name in _CORNERS:
        return Polygon(box[:2] + np.array(_CORNERS[name]) * box[2:], color=colour, linewidth=0)
    return Rectangle(tuple(box[:2]), *box[2:], edgecolor=colour, fill=False, linewidth=2)


def _name(axes: Axes, scene: Scene, scenes: Scenes, said: np.ndarray) -> None:
    """Write the classes of what the relations are about, but for those that have a shape."""
    names = [scenes.classes[k] for k in scene.classes]
    about = np.unique(pairs_of(len(scene.ids))[:, said])
    about = [n for n in about if names[n] not in (*_CORNERS, "frame", "disc")]
    corners = scene.boxes[about, :2]
    name_places(axes, [names[n] for n in about], corners, size=6, apart=3)


def _colour(features: np.ndarray) -> tuple[float, ...] | None:
    if len(features) == 3 and ((features >= 0) & (features <= 1)).all():
        return tuple(features)
    return None


def _draw_relations(
    axes: Axes, scene: Scene, shapes: Mapping[int, Patch], drawn: np.ndarray, labelled: np.ndarray
) -> None:
    for (subject, other), likely, given in zip(
        pairs_of(len(scene.ids)).T, drawn, labelled, strict=True
    ):
        if not (likely or given):
            continue
        colour = (RIGHT if given else NOT_LABELLED) if likely else MISSED
        begin, end = _end(scene.boxes, subject, other), _end(scene.boxes, other, subject)
        apart = not _overlap(scene.boxes[subject], scene.boxes[other])  # from edge to edge
        axes.add_patch(
            FancyArrowPatch(
                begin, end, color=colour, arrowstyle="-|>", mutation_scale=8, linewidth=1.2,
                linestyle="-" if likely else ":", connectionstyle="arc3,rad=0.15", zorder=3,
                patchA=shapes[subject] if apart else None, patchB=shapes[other] if apart else None,
                shrinkA=1, shrinkB=1, path_effects=[withStroke(linewidth=2.5, foreground="white")],
            )
        )  # fmt: skip


def _overlap(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((np.abs(one[:2] + one[2:] / 2 - other[:2] - other[2:] / 2)
                 < (one[2:] + other[2:]) / 2).all())  # fmt: skip


def _end(boxes: np.ndarray, own: int, other: int) -> tuple[float, float]:
    """Return where an arrow meets an object: its centre, or a corner if the other is inside."""
    corner, centre = boxes[own, :2], boxes[own, :2] + boxes[own, 2:] / 2
    within = boxes[other, :2] - corner
    around = (within >= 0).all() and (within + boxes[other, 2:] <= boxes[own, 2:]).all()
    x, y = corner if around else centre
    return float(x), float(y)
