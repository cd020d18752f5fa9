"""Scenes drawn, with the relations that a network sees in them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse, FancyArrowPatch, Patch, Polygon, Rectangle

from plait.figures import COLOURS, STYLE, save_figure
from plait.tasks.scenes.scene import Scene, Scenes, pairs_of
from plait.tasks.scenes.scores import KS, likeliest

RIGHT, NOT_LABELLED, MISSED = COLOURS[2], COLOURS[1], COLOURS[5]
PANELS = 8
"""Predicates that are drawn, those with the most relations in these scenes."""


def draw_scenes(
    scenes: Scenes, p: Sequence[np.ndarray], path: Path, *, title: str, folder: Path
) -> None:
    """Draw scenes, a column each, and over them the 20 likeliest relations, a row a predicate.

    Arrows go from subject to object: green where the relation is labelled, red where it is not,
    dotted grey where it is labelled and not among the likeliest. Objects of the generator's
    classes have their shapes, others their boxes; three features from 0 to 1 are taken for a
    colour. Where a picture's file is found under `folder`, it lies beneath.
    """
    said = [likeliest(q, KS[0], one_a_pair=False) for q in p]
    labels = [scene.labels(len(scenes.predicates)) for scene in scenes.scenes]
    count = sum((s | t).sum(0) for s, t in zip(said, labels, strict=True))
    shown = np.sort(np.argsort(-count, kind="stable")[:PANELS])
    with rc_context(STYLE):
        shape = float(np.mean([s.size[1] / s.size[0] for s in scenes.scenes]))
        height = max(1.2, 3 * shape)
        figure = Figure(figsize=(3 * len(scenes) + 0.3, (height + 0.1) * len(shown) + 1.2))
        FigureCanvasAgg(figure)
        figure.suptitle(f"{title}: the {KS[0]} likeliest relations of test scenes")
        rows = figure.subplots(len(shown), len(scenes), squeeze=False)
        for column, scene, drawn, labelled in zip(rows.T, scenes.scenes, said, labels, strict=True):
            column[0].set_title(f"image {scene.image}")
            for axes, predicate in zip(column, shown, strict=True):
                _draw_scene(axes, scene, scenes, folder)
                _draw_relations(axes, scene, drawn[:, predicate], labelled[:, predicate])
        for axes, predicate in zip(rows[:, 0], shown, strict=True):
            axes.set_ylabel(scenes.predicates[predicate])
        figure.legend(
            handles=[
                Line2D([], [], color=RIGHT, label="likely and labelled"),
                Line2D([], [], color=NOT_LABELLED, label="likely, not labelled"),
                Line2D([], [], color=MISSED, linestyle=":", label="labelled, not among the likely"),
            ],
            loc="outside lower center",
            ncols=3,
        )
        save_figure(figure, path)


def _draw_scene(axes: Axes, scene: Scene, scenes: Scenes, folder: Path) -> None:
    width, height = scene.size
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal", xticks=[], yticks=[])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set(visible=True, color="0.7")
    if scene.picture and (folder / scene.picture).is_file():
        axes.imshow(imread(folder / scene.picture), extent=(0, width, height, 0))
    largest_first = np.argsort(-scene.boxes[:, 2:].prod(1), kind="stable")
    for n in largest_first:
        name = scenes.classes[scene.classes[n]]
        axes.add_patch(_shape(name, scene.boxes[n], _colour(scene.features[n])))
        if name not in _CORNERS and name not in ("frame", "disc"):
            axes.annotate(name, tuple(scene.boxes[n, :2]), fontsize=6, va="top")


_CORNERS = {
    "square": ((0, 0), (1, 0), (1, 1), (0, 1)),
    "triangle": ((0.5, 0), (1, 1), (0, 1)),
    "diamond": ((0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)),
}


def _shape(name: str, box: np.ndarray, colour: tuple[float, ...]) -> Patch:
    """An object as its shape within its box."""
    if name == "disc":
        return Ellipse(tuple(box[:2] + box[2:] / 2), *box[2:], color=colour, linewidth=0)
    if name in _CORNERS:
        return Polygon(box[:2] + np.array(_CORNERS[name]) * box[2:], color=colour, linewidth=0)
    return Rectangle(tuple(box[:2]), *box[2:], edgecolor=colour, fill=False, linewidth=2)


def _colour(features: np.ndarray) -> tuple[float, ...]:
    if len(features) == 3 and ((features >= 0) & (features <= 1)).all():
        return tuple(features)
    return to_rgb(COLOURS[0])


def _draw_relations(axes: Axes, scene: Scene, drawn: np.ndarray, labelled: np.ndarray) -> None:
    for (subject, other), likely, label in zip(
        pairs_of(len(scene.ids)).T, drawn, labelled, strict=True
    ):
        if not (likely or label):
            continue
        colour = (RIGHT if label else NOT_LABELLED) if likely else MISSED
        begin, end = _end(scene.boxes, subject, other), _end(scene.boxes, other, subject)
        axes.add_patch(
            FancyArrowPatch(
                begin, end, color=colour, arrowstyle="-|>", mutation_scale=8, linewidth=1.2,
                linestyle="-" if likely else ":", connectionstyle="arc3,rad=0.15", zorder=3,
            )
        )  # fmt: skip


def _end(boxes: np.ndarray, own: int, other: int) -> tuple[float, float]:
    """Where an arrow meets an object: its centre, or a corner if the other lies inside it."""
    corner, centre = boxes[own, :2], boxes[own, :2] + boxes[own, 2:] / 2
    within = boxes[other, :2] - corner
    around = (within >= 0).all() and (within + boxes[other, 2:] <= boxes[own, 2:]).all()
    x, y = corner if around else centre
    return float(x), float(y)
