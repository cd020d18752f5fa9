"""Scenes as JSON, laid out as COCO lays out detected objects, with relations added.

A document is one object with these lists (what is in brackets may be left out, other keys are
passed over):

- `images`: `id`, `width`, `height` [, `file_name`]
- `categories`: `id`, `name`
- `annotations`, the detected objects: `id`, `image_id`, `category_id`, `bbox`: [x, y, width,
  height] in pixels, from the upper left corner [, `score`: 0 … 1] [, `features`: a list of
  numbers, as long for every object]
- [`predicates`: `id`, `name`]
- [`relations`: `subject_id` and `object_id`, ids of annotations of one image, and `predicate_id`]

Ids are whole numbers, each once in its list. Every image has two objects or more. To train on,
predicates and relations are needed; to predict, they are not.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Struct

from plait.errors import InputError
from plait.json_files import MEMORY, parse_json
from plait.tasks.scenes.scene import Scene, Scenes
from plait.text_files import read_content
from plait.training.files import write_aside

Positive = Annotated[float, Meta(gt=0)]
Id = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
EDGE = 0.5
"""Pixels by which a box may reach beyond its image, for rounding."""

SIDES = 1e-6, 1e9
"""Least and largest width and height, in pixels: shares of them are numbers in 32 bits."""

LARGEST = 1e18
"""Of a feature, so that its square is a number in 32 bits."""


class Named(Struct):
    """A category or a predicate."""

    id: Id
    name: str


class Image(Struct, omit_defaults=True):
    """An image."""

    id: Id
    width: Positive
    height: Positive
    file_name: str = ""


class Annotation(Struct, omit_defaults=True):
    """A detected object."""

    id: Id
    image_id: Id
    category_id: Id
    bbox: tuple[float, float, Positive, Positive]
    score: Annotated[float, Meta(ge=0, le=1)] = 1.0
    features: tuple[float, ...] = ()


class Relation(Struct):
    """A labelled relation."""

    subject_id: Id
    predicate_id: Id
    object_id: Id


class Document(Struct, omit_defaults=True):
    """All of a file."""

    images: list[Image]
    categories: list[Named]
    annotations: list[Annotation]
    predicates: list[Named] = []
    relations: list[Relation] = []


def read_scenes(path: Path) -> Scenes:
    """Read a JSON file of scenes.

    Raises
    ------
    InputError
        For a file that is not there, is not JSON (UTF-8, -16 or -32, byte-order mark or not), or
        does not hold to the schema; the message names the place, such as annotations[3].bbox.

    Example
    -------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from plait.tasks.scenes.files import read_scenes, write_scenes
    >>> from plait.tasks.scenes.generator import generate_scenes
    >>> file = Path(tempfile.mkdtemp()) / "scenes.json"
    >>> write_scenes(file, generate_scenes(seed=0, count=3))
    >>> len(read_scenes(file))
    3
    """
    content = read_content(path, MEMORY)
    try:
        text = content.decode(json.detect_encoding(content)).removeprefix("\ufeff")
        document = msgspec.json.decode(text, type=Document)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        place = where.strip("`").removeprefix("$").removeprefix(".") or "the document"
        raise InputError(f"{path}: {place}: {what[0].lower()}{what[1:].replace('`', '')}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        parse_json(content, str(path))  # says where, but takes NaN, which is none
        raise InputError(f"{path} is not JSON: {error}") from None
    return _Reader(path, document).scenes()


def write_scenes(path: Path, scenes: Scenes) -> None:
    """Write scenes as a JSON file that `read_scenes` reads; `truth` is left out."""
    write_aside(path, encode(scenes))


def encode(scenes: Scenes) -> bytes:
    """Return the JSON document of scenes."""
    document = Document(
        [Image(s.image, *s.size, s.picture) for s in scenes.scenes],
        [Named(k, name) for k, name in enumerate(scenes.classes)],
        [
            Annotation(
                scene.ids[n], scene.image, int(scene.classes[n]), tuple(scene.boxes[n].tolist()),
                float(scene.scores[n]), tuple(scene.features[n].tolist()),
            )
            for scene in scenes.scenes for n in range(len(scene.ids))
        ],
        [Named(k, name) for k, name in enumerate(scenes.predicates)],
        [
            Relation(scene.ids[subject], int(predicate), scene.ids[other])
            for scene in scenes.scenes for subject, predicate, other in scene.relations
        ],
    )  # fmt: skip
    return msgspec.json.encode(document)


def digest(scenes: Scenes) -> str:
    """Return the SHA-256 of the scenes: equal for equal scenes."""
    return hashlib.sha256(encode(scenes)).hexdigest()


@dataclass
class _Reader:
    """Turns a document into scenes, and says where it cannot be."""

    path: Path
    document: Document

    def scenes(self) -> Scenes:
        document = self.document
        images = self._numbered("images", document.images)
        classes = self._numbered("categories", document.categories)
        predicates = self._numbered("predicates", document.predicates)
        members = self._members(images, classes)
        relations = self._relations(images, predicates, members)
        return Scenes(
            tuple(c.name for c in document.categories),
            tuple(p.name for p in document.predicates),
            len(document.annotations[0].features),
            tuple(
                _scene(image, group, classes, of_image)
                for image, group, of_image in zip(document.images, members, relations, strict=True)
            ),
        )

    def _members(
        self, images: Mapping[int, int], classes: Mapping[int, int]
    ) -> list[list[Annotation]]:
        """Return the objects of each image."""
        document = self.document
        members: list[list[Annotation]] = [[] for _ in document.images]
        for n, found in enumerate(document.annotations):
            place = f"annotations[{n}]"
            number = self._known(images, found.image_id, f"{place}.image_id", "image")
            self._known(classes, found.category_id, f"{place}.category_id", "category")
            self._require_usable(place, found, document.images[number])
            width = len(document.annotations[0].features)
            if len(found.features) != width:
                raise self._error(
                    f"{place}.features: {len(found.features)} numbers, where annotations[0] has "
                    f"{width}"
                )
            members[number].append(found)
        for n, (image, group) in enumerate(zip(document.images, members, strict=True)):
            if len(group) < 2:
                objects = "one object" if group else "no objects"
                raise self._error(
                    f"images[{n}]: image {image.id} has {objects}, and a relation needs two; "
                    "leave it out"
                )
        if not members:
            raise self._error("images: there are none")
        return members

    def _relations(
        self,
        images: Mapping[int, int],
        predicates: Mapping[int, int],
        members: Sequence[Sequence[Annotation]],
    ) -> list[list[tuple[int, int, int]]]:
        """Return the relations of each image: subject, predicate and object, as positions."""
        annotations = self.document.annotations
        objects = self._numbered("annotations", annotations)
        within = {found.id: k for group in members for k, found in enumerate(group)}
        relations: list[list[tuple[int, int, int]]] = [[] for _ in members]
        for n, relation in enumerate(self.document.relations):
            place = f"relations[{n}]"
            s = self._known(objects, relation.subject_id, f"{place}.subject_id", "annotation")
            o = self._known(objects, relation.object_id, f"{place}.object_id", "annotation")
            p = self._known(predicates, relation.predicate_id, f"{place}.predicate_id", "predicate")
            subject, other = annotations[s], annotations[o]
            if s == o:
                raise self._error(f"{place}: subject and object are both annotation {subject.id}")
            if subject.image_id != other.image_id:
                raise self._error(
                    f"{place}: its subject is in image {subject.image_id}, its object in image "
                    f"{other.image_id}"
                )
            relations[images[subject.image_id]].append((within[subject.id], p, within[other.id]))
        return relations

    def _numbered(self, name: str, items: Sequence[Any]) -> dict[int, int]:
        """Return positions by id; every id, and every name, once."""
        numbers: dict[int, int] = {}
        names: dict[str, int] = {}
        for n, item in enumerate(items):
            if item.id in numbers:
                first = f"{name}[{numbers[item.id]}]"
                raise self._error(f"{name}[{n}].id: {item.id} is also that of {first}")
            numbers[item.id] = n
            if isinstance(item, Named):
                if item.name in names:
                    first = f"{name}[{names[item.name]}]"
                    raise self._error(f"{name}[{n}].name: {item.name!r} is also that of {first}")
                names[item.name] = n
        return numbers

    def _known(self, numbers: Mapping[int, int], key: int, place: str, kind: str) -> int:
        if key not in numbers:
            raise self._error(f"{place}: there is no {kind} with the id {key}")
        return numbers[key]

    def _require_usable(self, place: str, found: Annotation, image: Image) -> None:
        x, y, width, height = found.bbox
        least, most = SIDES
        if min(width, height) < least or max(image.width, image.height) > most:
            raise self._error(
                f"{place}.bbox: {list(found.bbox)} in image {image.id}, which is {image.width:g} × "
                f"{image.height:g}; sides lie between {least:g} and {most:g} pixels"
            )
        for k, value in enumerate(found.features):
            if abs(value) > LARGEST:
                raise self._error(
                    f"{place}.features[{k}]: {value:g} is larger than {LARGEST:g}; scale the "
                    "features, for example to 0 … 1"
                )
        beyond = max(-x, -y, x + width - image.width, y + height - image.height)
        if beyond > EDGE:
            raise self._error(
                f"{place}.bbox: {list(found.bbox)} reaches {beyond:g} pixels outside image "
                f"{image.id}, which is {image.width:g} × {image.height:g}; a bbox is [x, y, "
                "width, height]"
            )

    def _error(self, text: str) -> InputError:
        return InputError(f"{self.path}: {text}")


def _scene(
    image: Image,
    group: Sequence[Annotation],
    classes: Mapping[int, int],
    relations: Sequence[tuple[int, int, int]],
) -> Scene:
    return Scene(
        image.id,
        (image.width, image.height),
        tuple(found.id for found in group),
        np.array([found.bbox for found in group]),
        np.array([classes[found.category_id] for found in group]),
        np.array([found.score for found in group]),
        np.array([found.features for found in group]),
        np.array(relations, dtype=np.int64).reshape(-1, 3),
        picture=image.file_name,
    )
