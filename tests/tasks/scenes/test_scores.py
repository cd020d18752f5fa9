"""Recall by its definition, frequencies by counting, and the truth as the best there is."""

import itertools

import numpy as np
import pytest
import torch

from plait.errors import InputError
from plait.tasks.scenes.baselines import frequencies
from plait.tasks.scenes.data import as_known, split_scenes
from plait.tasks.scenes.generator import generate_scenes
from plait.tasks.scenes.scene import Scenes, pairs_of
from plait.tasks.scenes.scores import likeliest, recall, score_relations


def recall_by_hand(p, labels, k, one_per_pair):
    """Sort all triples, keep a pair's first where only one counts, and count what is met."""
    triples = sorted(np.ndindex(p.shape), key=lambda at: -p[at])
    if one_per_pair:
        seen = set()
        triples = [t for t in triples if not (t[0] in seen or seen.add(t[0]))]
    return sum(labels[t] for t in triples[:k]) / labels.sum()


@pytest.mark.parametrize(("k", "one_per_pair"), [*itertools.product((1, 5, 20, 50), (True, False))])
def test_recall_by_its_definition(k, one_per_pair):
    random = np.random.default_rng(k)
    for _ in range(5):
        p, labels = random.random((12, 4)), random.random((12, 4)) < 0.3
        expected = recall_by_hand(p, labels, k, one_per_pair)
        assert recall(p, labels, k, one_per_pair=one_per_pair) == expected


def test_of_fewer_relations_than_k_all_are_marked():
    assert likeliest(np.ones((2, 3)), 50, one_per_pair=True).sum() == 2
    assert likeliest(np.ones((2, 3)), 50, one_per_pair=False).sum() == 6


def test_frequencies_by_counting():
    scenes = generate_scenes(0, 30)
    C, P = len(scenes.classes), len(scenes.predicates)
    pairs, labelled = np.zeros((C, C)), np.zeros((C, C, P))
    for scene in scenes.scenes:
        for (s, o), label in zip(pairs_of(len(scene.ids)).T, scene.labels(P), strict=True):
            at = scene.classes[s], scene.classes[o]
            pairs[at] += 1
            labelled[at] += label
    overall = (labelled.sum((0, 1)) + 0.5) / (pairs.sum() + 1)
    p = (labelled + overall) / (pairs[..., None] + 1)
    found = frequencies(scenes).sigmoid()
    torch.testing.assert_close(found, torch.from_numpy(p).float(), rtol=1e-5, atol=1e-7)


def test_the_truth_scores_best():
    """Of what can be known, nothing ranks better than the true probabilities, nor predicts."""
    scenes = generate_scenes(0, 60)
    truth = [scene.truth for scene in scenes.scenes]
    best = score_relations(truth, scenes)
    random = np.random.default_rng(0)
    for spread in (1.0, 2.0):
        noisy = [(t + spread * random.random(t.shape)) / (1 + spread) for t in truth]
        worse = score_relations(noisy, scenes)
        assert worse["loss"] > best["loss"]
        for name in ("recall_at_20", "free_recall_at_20", "free_recall_at_50"):
            assert worse[name] < best[name], name
    entropy = np.concatenate([t[t > 0] for t in truth])
    entropy = -(entropy * np.log(entropy) + (1 - entropy) * np.log(1 - entropy)).sum()
    assert best["loss"] == pytest.approx(entropy / sum(t.size for t in truth), rel=0.05)


def test_of_one_predicate_more_can_be_found_than_by_the_truth_and_of_all_together_less():
    scenes = generate_scenes(0, 60)
    truth = [scene.truth for scene in scenes.scenes]
    first = np.array([name == "same colour" for name in scenes.predicates])
    best, other = (score_relations(p, scenes) for p in (truth, [t + first * t for t in truth]))
    name = "recall_at_50_of_same_colour"
    assert other[name] > best[name] + 0.1
    assert all(other[n] < best[n] for n in ("recall_at_20", "free_recall_at_20"))


def test_scenes_without_labels_count_for_no_recall():
    scenes = generate_scenes(0, 2)
    one, two = scenes.scenes
    bare = Scenes(scenes.classes, scenes.predicates, 3, (one, _without_relations(two)))
    alone = score_relations([one.truth], scenes.part([0]))
    both = score_relations([one.truth, two.truth], bare)
    assert {k: v for k, v in both.items() if "recall" in k} == {
        k: v for k, v in alone.items() if "recall" in k
    }


def _without_relations(scene):
    return type(scene)(**{**vars(scene), "relations": np.empty((0, 3), int)})


def test_parts_are_all_scenes_once():
    scenes = generate_scenes(0, 20)
    training, validation, testing = split_scenes(scenes, seed=1)
    assert [len(p) for p in (training, validation, testing)] == [14, 3, 3]
    images = [s.image for part in (training, validation, testing) for s in part.scenes]
    assert sorted(images) == list(range(20))
    assert images != [s.image for part in split_scenes(scenes, seed=2) for s in part.scenes]


def test_another_file_is_understood_by_names():
    scenes = generate_scenes(0, 2)
    facts = {
        "classes": [*reversed(scenes.classes), "more"],
        "predicates": ["more", *reversed(scenes.predicates)],
        "features": 3,
    }
    known = as_known(scenes, facts, "b.json")
    for before, after in zip(scenes.scenes, known.scenes, strict=True):
        names = [scenes.classes[k] for k in before.classes]
        assert [known.classes[k] for k in after.classes] == names
        said = [scenes.predicates[k] for k in before.relations[:, 1]]
        assert [known.predicates[k] for k in after.relations[:, 1]] == said
    with pytest.raises(InputError, match=r"b.json: the category 'frame' is not among those"):
        as_known(scenes, {**facts, "classes": ["disc"]}, "b.json")
    with pytest.raises(InputError, match=r"b.json: its objects have 3 features, those trained on"):
        as_known(scenes, {**facts, "features": 2}, "b.json")
