"""What is drawn of scenes."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread, imsave
from PIL import Image

from plait.tasks.scenes.figure import MISSED, NOT_LABELLED, RIGHT, _end, draw_scenes
from plait.tasks.scenes.generator import generate_scenes


@pytest.fixture
def drawn(tmp_path):
    """Draw one scene with probabilities, and give the picture `[height, width, 3]`."""

    def draw(p, scene) -> np.ndarray:
        scenes = replace(generate_scenes(0, 1), scenes=(scene,))
        draw_scenes(scenes, [p], tmp_path / "drawn.png", title="x", folder=tmp_path)
        return imread(tmp_path / "drawn.png")[..., :3]

    return draw


def share(picture: np.ndarray, colour) -> float:
    """Share of the pixels above the legend in a colour."""
    above = picture[: int(0.8 * len(picture))]
    rgb = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    return float((np.abs(above - rgb).max(-1) < 0.01).mean())


def test_arrows_show_what_was_found_what_was_not_and_what_is_not_labelled(drawn):
    scene = generate_scenes(0, 1).scenes[0]
    scene = replace(scene, features=np.full((len(scene.ids), 3), 0.5))
    labels = scene.labels(8)
    found = drawn(np.where(labels, 1.0, -np.inf), scene)
    missed = drawn(np.where(labels, -np.inf, 1.0), scene)
    assert share(found, RIGHT) > 10 * share(missed, RIGHT)
    assert share(missed, NOT_LABELLED) > 10 * share(found, NOT_LABELLED)
    assert share(missed, MISSED) > share(found, MISSED)


def test_a_picture_that_is_found_lies_beneath(drawn, tmp_path):
    scene = generate_scenes(0, 1).scenes[0]
    imsave(tmp_path / "photo.png", np.full((18, 32, 3), [0.9, 0.7, 0.5]))
    with_photo = drawn(scene.truth, replace(scene, picture="photo.png"))
    assert share(with_photo, "#e5b27f") > 0.2
    assert share(drawn(scene.truth, replace(scene, picture="gone.png")), "#e5b27f") < 0.001


def test_an_arrow_to_what_is_around_ends_at_its_corner():
    boxes = np.array([[0.0, 0, 40, 40], [10, 10, 20, 20]])
    assert (_end(boxes, 0, 1), _end(boxes, 1, 0)) == ((0, 0), (20, 20))


@pytest.mark.parametrize("name", ["text.png", "cut.png", "grey.png", "x" * 300, "\0", "..", ""])
def test_whatever_file_a_picture_names_the_scene_is_drawn(drawn, tmp_path, name):
    imsave(tmp_path / "cut.png", np.random.default_rng(0).random((90, 160)))
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:200])
    (tmp_path / "text.png").write_text("no picture")
    Image.new("LA", (32, 18), (128, 255)).save(tmp_path / "grey.png")
    scene = generate_scenes(0, 1).scenes[0]
    with_photo = drawn(scene.truth, replace(scene, picture=name))
    assert (share(with_photo, "#808080") > 0.2) == (name == "grey.png")
