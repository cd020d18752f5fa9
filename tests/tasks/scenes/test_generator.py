"""The rules, on layouts made by hand, and what is labelled of the relations that hold."""

import numpy as np
import pytest

from plait.tasks.scenes.generator import (
    COLOURS,
    LABELLED,
    NEED_A_THIRD,
    SIZE,
    generate_scenes,
    relations_that_hold,
)
from plait.tasks.scenes.scene import pairs_of

PREDICATES = tuple(LABELLED)


def holding(boxes, colours=None) -> set[tuple[str, int, int]]:
    """The relations that hold, as (predicate, subject, object)."""
    colours = np.arange(len(boxes)) if colours is None else np.array(colours)
    found = relations_that_hold(np.array(boxes, float), colours)
    return {(PREDICATES[p], s, o) for s, o, p in np.argwhere(found).tolist()}


def only(relations, *predicates) -> set[tuple[str, int, int]]:
    return {relation for relation in relations if relation[0] in predicates}


ROW = [[0, 0, 10, 10], [20, 2, 10, 10], [60, 4, 10, 10]]


def test_a_row_of_three():
    assert holding(ROW) == {
        ("left of", 0, 1), ("left of", 0, 2), ("left of", 1, 2),
        ("directly left of", 0, 1), ("directly left of", 1, 2),
        ("closest to", 0, 1), ("closest to", 1, 0), ("closest to", 2, 1),
        ("between", 1, 0), ("between", 1, 2),
    }  # fmt: skip


def test_a_column_of_three_is_a_row_on_its_side():
    column = [[y, x, h, w] for x, y, w, h in ROW]
    found = holding(column)
    assert only(found, "above") == {("above", s, o) for _, s, o in only(holding(ROW), "left of")}
    assert only(found, "between") == only(holding(ROW), "between")
    assert not only(found, "left of", "directly left of")


def test_a_third_object_decides_what_two_cannot():
    """The same two boxes, and one more: every predicate that needs a third changes, no other."""
    alone, together = holding(ROW[::2]), {(p, s // 2, o // 2) for p, s, o in holding(ROW)
                                          if 1 not in (s, o)}  # fmt: skip
    changed = {predicate for predicate, *_ in alone ^ together}
    assert changed == {"directly left of", "closest to"}
    end = {(s, o) for p, s, o in holding(ROW[1:]) if p == "between"}
    assert not end  # between appears where a third stands beyond
    assert {"between", *changed} == set(NEED_A_THIRD)


def test_inside_and_touching():
    boxes = [[0, 0, 40, 40], [10, 10, 10, 10], [40, 5, 10, 10]]
    found = holding(boxes, colours=[3, 1, 3])
    assert only(found, "inside") == {("inside", 1, 0)}
    assert only(found, "touching") == {("touching", 0, 2), ("touching", 2, 0)}
    assert only(found, "same colour") == {("same colour", 0, 2), ("same colour", 2, 0)}
    assert ("left of", 0, 2) in found  # it ends where the other begins
    assert not only(found, "above")


def test_scenes_lie_in_their_pictures_and_are_found_again():
    scenes = generate_scenes(3, 40)
    again = generate_scenes(3, 41)
    for one, two in zip(scenes.scenes, again.scenes, strict=False):
        assert np.array_equal(one.boxes, two.boxes)
        assert np.array_equal(one.relations, two.relations)
        assert (one.boxes[:, :2] >= 0).all()
        assert (one.boxes[:, :2] + one.boxes[:, 2:] <= SIZE).all()
    assert not np.array_equal(scenes.scenes[0].boxes[:5], generate_scenes(4, 1).scenes[0].boxes[:5])


def test_what_holds_is_labelled_as_often_as_is_reported():
    scenes = generate_scenes(0, 300)
    truth = np.concatenate([scene.truth for scene in scenes.scenes])
    labels = np.concatenate([scene.labels(len(PREDICATES)) for scene in scenes.scenes])
    assert not labels[truth == 0].any()
    for k, (predicate, share) in enumerate(LABELLED.items()):
        holds = truth[:, k] > 0
        assert set(truth[holds, k]) == {share}, predicate
        spread = np.sqrt(share * (1 - share) / holds.sum())
        assert abs(labels[holds, k].mean() - share) < 4 * spread, predicate


def test_truth_is_the_rules_on_what_is_seen():
    """Features hold the colour, so that nothing hides from the model what decides."""
    scene = generate_scenes(5, 1).scenes[0]
    distance = ((scene.features[:, None] - COLOURS[None]) ** 2).sum(-1)
    holds = relations_that_hold(scene.boxes, distance.argmin(1))
    expected = holds[tuple(pairs_of(len(scene.ids)))] * np.array([*LABELLED.values()])
    assert np.array_equal(scene.truth, expected)
    assert np.sort(distance, 1)[:, 1].min() > 4 * np.sort(distance, 1)[:, 0].max()


@pytest.mark.parametrize("count", [2, 5])
def test_pairs_are_all_ordered_pairs(count):
    pairs = {tuple(pair) for pair in pairs_of(count).T.tolist()}
    assert pairs == {(s, o) for s in range(count) for o in range(count) if s != o}
