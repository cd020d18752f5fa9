"""Scenes written and read back, and every way in which a document can be wrong."""

import json
import re

import numpy as np
import pytest

from plait.cli import run as run_command
from plait.errors import InputError
from plait.tasks.scenes.files import digest, read_scenes, write_scenes
from plait.tasks.scenes.generator import generate_scenes


def document() -> dict:
    """Two pictures with two objects each, and one relation; ids are not positions."""
    return {
        "info": {"other": "keys are passed over"},
        "images": [
            {"id": 7, "width": 100, "height": 50, "file_name": "a.png"},
            {"id": 3, "width": 40.5, "height": 40},
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
        "annotations": [
            {"id": 11, "image_id": 7, "category_id": 1, "bbox": [0, 0, 20, 40], "score": 0.5,
             "features": [1, 2.5], "iscrowd": 0},
            {"id": 12, "image_id": 3, "category_id": 1, "bbox": [0, 0, 5, 5], "features": [0, 0]},
            {"id": 13, "image_id": 7, "category_id": 18, "bbox": [60, 10, 40, 40.25],
             "features": [3, 4]},
            {"id": 14, "image_id": 3, "category_id": 18, "bbox": [10, 10, 5, 5],
             "features": [0, 1]},
        ],
        "predicates": [{"id": 5, "name": "walks"}],
        "relations": [{"subject_id": 11, "predicate_id": 5, "object_id": 13}],
    }  # fmt: skip


@pytest.fixture
def written(tmp_path):
    """Write a document, changed by a function, and give the file."""

    def write(change=lambda found: None):
        found = document()
        change(found)
        file = tmp_path / "scenes.json"
        file.write_text(json.dumps(found))
        return file

    return write


def test_what_is_read(written):
    scenes = read_scenes(written())
    assert (scenes.classes, scenes.predicates, scenes.features) == (
        ("dog", "person"),
        ("walks",),
        2,
    )
    first, second = scenes.scenes
    assert (first.image, first.size, first.ids, first.picture) == (7, (100, 50), (11, 13), "a.png")
    assert first.boxes.tolist() == [[0, 0, 20, 40], [60, 10, 40, 40.25]]
    assert first.classes.tolist() == [1, 0]
    assert first.scores.tolist() == [0.5, 1]
    assert first.features.tolist() == [[1, 2.5], [3, 4]]
    assert first.relations.tolist() == [[0, 0, 1]]
    assert first.labels(1).tolist() == [[True], [False]]
    assert second.relations.shape == (0, 3)


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-32-be", "utf-8"]
)
def test_json_is_read_in_every_encoding_of_unicode(written, encoding):
    file = written(changed("categories[0].name", "北京"))
    whole = read_scenes(file)
    file.write_bytes(json.dumps(json.loads(file.read_text()), ensure_ascii=False).encode(encoding))
    again = read_scenes(file)
    assert again.classes == ("北京", "person")
    assert digest(again) == digest(whole)


def test_predicates_features_and_relations_may_be_missing(written):
    def without(found):
        del found["predicates"], found["relations"]
        for item in found["annotations"]:
            del item["features"]

    scenes = read_scenes(written(without))
    assert (scenes.predicates, scenes.features) == ((), 0)
    assert scenes.scenes[0].features.shape == (2, 0)


def test_generated_scenes_come_back_as_they_were(tmp_path):
    scenes = generate_scenes(1, 4)
    write_scenes(tmp_path / "scenes.json", scenes)
    again = read_scenes(tmp_path / "scenes.json")
    assert digest(again) == digest(scenes) != digest(generate_scenes(2, 4))
    for one, two in zip(scenes.scenes, again.scenes, strict=True):
        for name in ("boxes", "classes", "scores", "features", "relations"):
            assert np.array_equal(getattr(one, name), getattr(two, name)), name


def changed(place: str, value):
    """A change of one place of the document, such as annotations[2].bbox."""
    *path, last = re.findall(r"\w+", place)

    def change(found):
        for key in path:
            found = found[int(key) if key.isdigit() else key]
        if value is KeyError:
            del found[last]
        else:
            found[int(last) if last.isdigit() else last] = value

    return change


WRONG = [
    ("annotations[2].bbox", [1, 2, 3], "annotations[2].bbox: expected array of length 4"),
    ("annotations[2].bbox[2]", 0, "annotations[2].bbox[2]: expected float > 0.0"),
    ("annotations[2].bbox[0]", "1", "annotations[2].bbox[0]: expected float, got str"),
    ("annotations[0].bbox", KeyError, "annotations[0]: object missing required field bbox"),
    ("annotations[2].bbox[0]", 70, "annotations[2].bbox: [70.0, 10.0, 40.0, 40.25] reaches 10 "
     "pixels outside image 7, which is 100 × 50"),
    ("annotations[1].bbox[1]", -3, "annotations[1].bbox: [0.0, -3.0, 5.0, 5.0] reaches 3 pixels"),
    ("annotations[1].score", 1.5, "annotations[1].score: expected float <= 1.0"),
    ("annotations[3].features", [1], "annotations[3].features: 1 numbers, where annotations[0] "),
    ("annotations[3].image_id", 9, "annotations[3].image_id: there is no image with the id 9"),
    ("annotations[3].category_id", 2, "annotations[3].category_id: there is no category with the "),
    ("annotations[3].id", 12, "annotations[3].id: 12 is also that of annotations[1]"),
    ("images[1].id", 7, "images[1].id: 7 is also that of images[0]"),
    ("images[0].width", KeyError, "images[0]: object missing required field width"),
    ("categories[1].id", 18, "categories[1].id: 18 is also that of categories[0]"),
    ("categories[1].name", "dog", "categories[1].name: 'dog' is also that of categories[0]"),
    ("relations[0].predicate_id", 4, "relations[0].predicate_id: there is no predicate with the "),
    ("relations[0].subject_id", 99, "relations[0].subject_id: there is no annotation with the id"),
    ("relations[0].object_id", 11, "relations[0]: subject and object are both annotation 11"),
    ("relations[0].object_id", 14, "relations[0]: its subject is in image 7, its object in "),
    ("annotations", [], "images[0]: image 7 has no objects, and a relation needs two"),
    ("annotations[3].image_id", 7, "images[1]: image 3 has one object, and a relation needs two"),
    ("images[0].id", 2**63, "images[0].id: expected int <= 9223372036854775807"),
    ("images[0].width", 1e10, "annotations[0].bbox: [0.0, 0.0, 20.0, 40.0] in image 7, which is "
     "1e+10 × 50; sides lie between 1e-06 and 1e+09 pixels"),
    ("annotations[1].bbox[2]", 1e-300, "annotations[1].bbox: [0.0, 0.0, 1e-300, 5.0] in image 3"),
    ("annotations[3].features[1]", -1e39, "annotations[3].features[1]: -1e+39 is larger than 1e+18;"
     " scale the features"),
    ("categories", KeyError, "the document: object missing required field categories"),
    ("images", {}, "images: expected array, got object"),
]  # fmt: skip


@pytest.mark.parametrize(("place", "value", "message"), WRONG)
def test_what_is_wrong_and_where(written, place, value, message):
    file = written(changed(place, value))
    with pytest.raises(InputError) as error:
        read_scenes(file)
    assert str(error.value).startswith(f"{file}: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON: Expecting value, line 1, column 1"),
        (b'{"images": [', "is not JSON: Expecting value, line 1, column 13"),
        (b'{"other":' + b"[" * 100_000, "is not JSON: it is nested too deep to be read; flatten"),
        (b"\xff\xfe", "is not JSON"),
        (b"[1]", "the document: expected object, got array"),
        (b'{"images": [], "categories": [], "annotations": []}', "images: there are none"),
        (b'{"images": [{"id": 1, "width": NaN, "height": 1}]}', "is not JSON"),
    ],
)
def test_files_that_hold_no_scenes(tmp_path, content, message):
    file = tmp_path / "scenes.json"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_scenes(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed("relations", []), "has no relations, so there is nothing to learn"),
        (lambda found: None, "2 scenes are too few to train, validate and test on"),
        (changed("annotations[0].bbox[3]", 51), "annotations[0].bbox: [0.0, 0.0, 20.0, 51.0]"),
    ],
)
def test_the_command_line_refuses_in_one_line(tmp_path, capsys, written, change, message):
    out = tmp_path / "run"
    command = ["train", "scenes", "--data", str(written(change)), "--out", str(out)]
    assert run_command(command) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
    assert not out.exists()
    assert run_command(["train", "scenes", "--data", str(tmp_path / "none.json")]) == 2
    assert "none.json: No such file" in capsys.readouterr().err
