"""The val records as COCO ground truth, read without TensorFlow.

What the OD API's evaluation passes over in silence ends in an error here: a class that the label
map lacks (its mAP is then -1.0), a repeated source id (it drops the image), an empty one (it makes
one up), fewer images than expected (it scores a part). Nor is an image cut to its first 100 boxes.
"""

import io
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from launcher.errors import DataError
from launcher.odapi import label_map
from launcher.records import (
    Example,
    Record,
    examine,
    expand,
    read_records,
    record_place,
    require_records,
    source_id,
    values,
)

_COCO_ID = re.compile(r"0|[1-9][0-9]{0,17}")  # a whole number that fits into 64 bits


@dataclass(frozen=True)
class Labels:
    """A label map: the name to show of each class id, and the id of each text of the records."""

    names: dict[int, str]
    ids: dict[str, int]
    path: Path

    @classmethod
    def read(cls, path: Path) -> "Labels":
        """Raises DataError."""
        return cls(label_map.read(path), label_map.read_texts(path), path)


@dataclass(frozen=True)
class Box:
    """In pixels of the original image; `area` is the record's (in COCO the mask's), else w x h."""

    category: int
    x: float
    y: float
    width: float
    height: float
    area: float
    crowd: bool


@dataclass(frozen=True)
class ValImage:
    id: int
    source_id: str
    width: int
    height: int
    boxes: tuple[Box, ...]
    path: Path
    record: int


@dataclass(frozen=True)
class GroundTruth:
    images: tuple[ValImage, ...]
    labels: Labels
    num_classes: int

    @property
    def categories(self) -> dict[int, str]:
        """Names by id."""
        return self.labels.names

    def to_coco(self) -> dict[str, Any]:
        """The data set as pycocotools takes it. Annotation ids start at 1: 0 means "no match"."""
        pairs = [(image, box) for image in self.images for box in image.boxes]
        return {
            "images": [{"id": i.id, "width": i.width, "height": i.height} for i in self.images],
            "annotations": [
                {
                    "id": number,
                    "image_id": image.id,
                    "category_id": box.category,
                    "bbox": [box.x, box.y, box.width, box.height],
                    "area": box.area,
                    "iscrowd": int(box.crowd),
                }
                for number, (image, box) in enumerate(pairs, start=1)
            ],
            "categories": [{"id": i, "name": name} for i, name in self.categories.items()],
        }


def read(
    patterns: Sequence[str],
    labels: Labels,
    num_classes: int,
    expected: int | None,
    between: Callable[[], None] = lambda: None,
) -> GroundTruth:
    """All val images, in the order of the records. Raises DataError naming file and record.

    `expected` is the number of images, None when nobody knows it. `between` is called between
    records.
    """
    place = ", ".join(patterns)
    images: list[ValImage] = []
    seen: dict[str, str] = {}
    files = expand(patterns)
    require_records(files)
    for path in files:
        for record in read_records(path):
            between()
            where = record_place(path, record.number, record.offset)
            image = _image(record, path, where, labels, num_classes)
            if first := seen.get(image.source_id):
                raise DataError(
                    f'image/source_id "{image.source_id}" is also the one of {first}',
                    place=where,
                    remedy="Give each val image an id of its own, and name each file once",
                )
            seen[image.source_id] = where
            images.append(image)
    _check(images, expected, place)
    return GroundTruth(tuple(_with_ids(images)), labels, num_classes)


def encoded_images(images: Collection[ValImage]) -> dict[int, bytes]:
    """The encoded pictures of a few images, by image id."""
    result = {}
    for path in sorted({i.path for i in images}):
        wanted = {i.record: i.id for i in images if i.path == path}
        for record in read_records(path):
            if record.number in wanted:
                result[wanted[record.number]] = _encoded(Example.FromString(record.data))
            if record.number >= max(wanted):
                break
    return result


def _image(record: Record, path: Path, place: str, labels: Labels, num_classes: int) -> ValImage:
    """Examined whole, its picture decoded: a damaged one is named before anything is scored."""
    if damage := examine(record.data, num_classes, labels.ids):
        place += f", source id {damage.source_id}" if damage.source_id else ""
        raise DataError(damage.what, place=place, remedy=damage.remedy)
    example = Example.FromString(record.data)
    # From the picture itself, as the OD API scales boxes: image/width may be wrong or missing.
    with Image.open(io.BytesIO(_encoded(example))) as picture:
        width, height = picture.size
    boxes = tuple(_boxes(example, width, height, labels, place))
    return ValImage(0, source_id(example), width, height, boxes, path, record.number)


def _encoded(example: Any) -> bytes:
    encoded: bytes = values(example, "image/encoded")[0]
    return encoded


def _boxes(example: Any, width: int, height: int, labels: Labels, place: str) -> Iterator[Box]:
    sides = [values(example, f"image/object/bbox/{s}") for s in ("xmin", "ymin", "xmax", "ymax")]
    classes = _classes(example, labels, place)
    areas = values(example, "image/object/area")
    crowds = values(example, "image/object/is_crowd")
    for i, (xmin, ymin, xmax, ymax) in enumerate(zip(*sides, strict=True)):
        w, h = (xmax - xmin) * width, (ymax - ymin) * height
        area = areas[i] if areas and areas[i] > 0 else w * h
        crowd = bool(crowds and crowds[i])
        yield Box(classes[i], xmin * width, ymin * height, w, h, area, crowd)


def _classes(example: Any, labels: Labels, place: str) -> Sequence[int]:
    """As the OD API's decoder: by class/text when a record has it, else by class/label."""
    if texts := values(example, "image/object/class/text"):
        return [labels.ids[text.decode(errors="replace")] for text in texts]
    classes = values(example, "image/object/class/label")
    for class_id in classes:
        if class_id not in labels.names:
            raise DataError(
                f"label {class_id} is not in the label map {labels.path}",
                place=place,
                remedy="Evaluate with the label map that the records were converted with",
            )
    return classes


def _check(images: Sequence[ValImage], expected: int | None, place: str) -> None:
    if not images:
        raise DataError("no val image", place=place, remedy="Check data.val of the spec")
    if expected is not None and len(images) != expected:
        raise DataError(
            f"{len(images)} val images, {expected} were expected",
            place=place,
            remedy="Name all shards with a pattern in data.val, or correct data.val_images",
        )
    if not any(not box.crowd for image in images for box in image.boxes):
        raise DataError(
            f"none of the {len(images)} val images has a box to score",
            place=place,
            remedy="Check the annotations that the records were made from",
        )


def _with_ids(images: Sequence[ValImage]) -> list[ValImage]:
    """COCO's own image ids when all source ids are such numbers, else 1, 2, 3, ...

    With COCO's ids the detections can be scored against its annotation file as well.
    """
    canonical = all(_COCO_ID.fullmatch(i.source_id) for i in images)
    return [
        replace(image, id=int(image.source_id) if canonical else number)
        for number, image in enumerate(images, start=1)
    ]
