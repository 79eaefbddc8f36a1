"""COCO instances files: read, checked, and turned into labelled boxes of each image.

What training would pass over in silence is an error here, with the annotation's id: an annotation
of an unknown image or category, a box outside its image, two images of one id.
"""

import json
import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from launcher.data.coco_json import WHICH_FILE, no_garbage, read_json
from launcher.data.fields import LabelledBox
from launcher.errors import DataError

MAX_OUTSIDE_PIXELS = 1.0
"""A box that sticks out by less was rounded when it was drawn: it is clipped. COCO has such."""
MAX_SIDE = 65_535  # pixels: JPEG's limit
MAX_NUMBER = 10**12  # beyond it no whole number is a box or an area
MAX_CATEGORY = 2**31 - 1  # a label map's id is an int32

SKIP_BAD = "Correct it, or leave such boxes and images out with --skip-bad"


@dataclass(frozen=True)
class CocoImage:
    """An image of the file, with the boxes that are written for it."""

    source_id: str
    file_name: str
    width: int
    height: int
    boxes: tuple[LabelledBox, ...]


@dataclass(frozen=True)
class CocoSet:
    """A checked annotations file: images in the order of their ids; category id to name."""

    images: tuple[CocoImage, ...]
    names: Mapping[int, str]
    zero_size: tuple[str, ...]  # ids of annotations dropped because their box has no area
    clipped: tuple[str, ...]  # ids of annotations whose box stuck out by a pixel at most
    bad_boxes: tuple[str, ...]  # what was wrong with each box left out (skip_bad)


class BadBoxError(Exception):
    """A box that cannot be meant. The message has the box and the image's size."""


def load(path: Path, *, limit: int | None = None, skip_bad: bool = False) -> CocoSet:
    """Reads an instances file: all of its images, or the first `limit` by id.

    Raises DataError. With `skip_bad` a box outside its image is left out instead.
    """
    with no_garbage():
        return _load(path, limit, skip_bad)


def _load(path: Path, limit: int | None, skip_bad: bool) -> CocoSet:
    content = read_json(path)
    names = _categories(content, path)
    entries = _images(content, path)
    ids = sorted(entries, key=_id_order)[:limit]
    wanted = {id_: entries[id_] for id_ in ids}
    zero_size, clipped, bad = list[str](), list[str](), list[str]()
    boxes: dict[int | str, list[LabelledBox]] = {id_: [] for id_ in wanted}
    for index, annotation in enumerate(content["annotations"]):
        if plain := _plain(annotation, wanted, names):
            boxes[plain[0]].append(plain[1])
            continue
        id_, image_id, category = _references(annotation, index, entries, names, path)
        if image_id not in wanted:
            continue
        image = wanted[image_id]
        try:
            sides, was_clipped = fit_box(annotation.get("bbox"), image["width"], image["height"])
        except BadBoxError as e:
            bad.append(f"annotation {id_} of image {image_id}: {e}")
            continue
        if sides is None:
            zero_size.append(str(id_))
            continue
        if was_clipped:
            clipped.append(str(id_))
        area, crowd = _area_and_crowd(annotation, id_, path)
        boxes[image_id].append(LabelledBox(category, names[category], *sides, area, crowd))
    if bad and not skip_bad:
        more = f" ({len(bad) - 1} more boxes are bad)" if len(bad) > 1 else ""
        raise DataError(f"{bad[0]}{more}", place=str(path), remedy=SKIP_BAD)
    images = tuple(
        CocoImage(str(i), e["file_name"], e["width"], e["height"], tuple(boxes[i]))
        for i, e in wanted.items()
    )
    return CocoSet(images, names, tuple(zero_size), tuple(clipped), tuple(bad))


_FIELDS = itemgetter("id", "image_id", "category_id", "bbox", "area", "iscrowd")
_NUMBERS = frozenset({int, float})


def _plain(
    annotation: Any, images: Mapping[int | str, Any], names: Mapping[int, str]
) -> tuple[int, LabelledBox] | None:
    """The image and the box of an annotation as nearly all are: nothing to find fault with, and
    within its image. A train set has a million, so this is what `load` does with the
    others, in one go."""
    try:
        id_, image_id, category, (x, y, w, h), area, crowd = _FIELDS(annotation)
        if not {type(x), type(y), type(w), type(h), type(area)} <= _NUMBERS:
            return None
        image, name = images[image_id], names[category]
    except (KeyError, TypeError, ValueError):
        return None
    width, height = image["width"], image["height"]
    good = (
        type(id_) is type(image_id) is type(category) is type(crowd) is int
        and (crowd == 0 or crowd == 1)
        and 0 <= area < MAX_NUMBER
        and x >= 0 < w
        and y >= 0 < h
        and x < (right := x + w) <= width
        and y < (bottom := y + h) <= height
    )
    if not good:
        return None
    sides = x / width, y / height, right / width, bottom / height
    return image_id, LabelledBox(category, name, *sides, float(area), crowd == 1)


Sides = tuple[float, float, float, float]


def fit_box(bbox: Any, width: int, height: int) -> tuple[Sides | None, bool]:
    """COCO's (x, y, width, height) in pixels as (xmin, ymin, xmax, ymax) in parts of the image.

    The second value says whether it was clipped. No sides when the box has no area. Raises
    BadBoxError for a box that is no four numbers, inverted, or outside by more than a pixel.
    """
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(_is_number, bbox)):
        raise _bad_box(bbox, width, height, "is not four numbers")
    x, y, w, h = bbox
    if w < 0 or h < 0:
        raise _bad_box(bbox, width, height, "has a negative size")
    outside = max(-x, -y, x + w - width, y + h - height)
    if outside > MAX_OUTSIDE_PIXELS:
        how = f"sticks out of the image by {outside:.6g} pixels"
        raise _bad_box(bbox, width, height, how)
    xmin, ymin = max(x, 0) / width, max(y, 0) / height
    xmax, ymax = min(x + w, width) / width, min(y + h, height) / height
    sides = (xmin, ymin, xmax, ymax)
    left, top, right, bottom = array("f", sides)  # as a record holds them
    if w == 0 or h == 0 or left >= right or top >= bottom:
        return None, False
    return sides, outside > 0


def _bad_box(bbox: Any, width: int, height: int, how: str) -> BadBoxError:
    of = f"{json.dumps(bbox)} (x, y, width, height) of an image of {width} x {height} pixels"
    return BadBoxError(f"bbox {of} {how}")


def _categories(content: dict[str, Any], path: Path) -> dict[int, str]:
    names: dict[int, str] = {}
    for index, category in enumerate(content["categories"]):
        id_ = _field(category, "id", int, f"categories[{index}]", path)
        name = _field(category, "name", str, f"category {id_}", path)
        if not 1 <= id_ <= MAX_CATEGORY:
            raise DataError(
                f'category {id_} ("{name}"): ids start at 1, 0 is the OD API\'s background',
                place=str(path),
                remedy="Number the categories from 1, or remove this one if it is unused",
            )
        if id_ in names or name in names.values() or not name:
            raise DataError(
                f'category {id_} ("{name}"): its id or its name is there twice, or it has no name',
                place=str(path),
                remedy="Give every category an id and a name of its own",
            )
        names[id_] = name
    return dict(sorted(names.items()))


def _images(content: dict[str, Any], path: Path) -> dict[int | str, dict[str, Any]]:
    """Every image's entry by its id."""
    entries: dict[int | str, dict[str, Any]] = {}
    texts: set[str] = set()
    for index, entry in enumerate(content["images"]):
        id_ = _field(entry, "id", (int, str), f"images[{index}]", path)
        place = f"image {id_}"
        _field(entry, "file_name", str, place, path)
        if str(id_) in texts or str(id_) == "":
            raise DataError(
                f"{place} is there twice ({entry['file_name']})"
                if str(id_)
                else "an empty image id",
                place=str(path),
                remedy="Give every image an id of its own; the evaluator tells images apart by it",
            )
        for side in ("width", "height"):
            if not 1 <= _field(entry, side, int, place, path) <= MAX_SIDE:
                what = f"{place}: {side} is {entry[side]}"
                raise DataError(what, place=str(path), remedy="Give its size in pixels")
        entries[id_] = entry
        texts.add(str(id_))
    return entries


def _references(
    annotation: Any,
    index: int,
    images: Mapping[int | str, Any],
    names: Mapping[int, str],
    path: Path,
) -> tuple[int | str, int | str, int]:
    """The annotation's own id, its image's and its category's, which exist."""
    if isinstance(annotation, dict):  # nearly all annotations end here: a train set has a million
        found: Any = map(annotation.get, ("id", "image_id", "category_id"))
        id_, image_id, category = found
        numbers = type(id_) is type(image_id) is type(category) is int
        if numbers and image_id in images and category in names:
            return id_, image_id, category
    id_ = _field(annotation, "id", (int, str), f"annotations[{index}]", path)
    place = f"annotation {id_}"
    image_id = _field(annotation, "image_id", (int, str), place, path)
    category = _field(annotation, "category_id", int, place, path)
    if image_id not in images:
        what = f'{place}: image_id {json.dumps(image_id)} is not among "images"'
        raise DataError(what, place=str(path), remedy="Add the image or remove the annotation")
    if category not in names:
        what = f'{place}: category_id {category} is not among "categories"'
        raise DataError(what, place=str(path), remedy="Add the category or correct the annotation")
    return id_, image_id, category


def _area_and_crowd(annotation: dict[str, Any], id_: int | str, path: Path) -> tuple[float, bool]:
    """The outline's area in square pixels, the box's where the file has none; the crowd mark."""
    area = annotation.get("area", annotation["bbox"][2] * annotation["bbox"][3])
    crowd = annotation.get("iscrowd", 0)
    if not _is_number(area) or area < 0 or crowd not in (0, 1):
        raise DataError(
            f"annotation {id_}: area {json.dumps(area)}, iscrowd {json.dumps(crowd)}",
            place=str(path),
            remedy="area is a number of square pixels, iscrowd 0 or 1",
        )
    return float(area), bool(crowd)


def _field(entry: Any, key: str, kind: type | tuple[type, ...], owner: str, path: Path) -> Any:
    """A required value of an entry. Raises DataError when it is missing or of another type."""
    if not isinstance(entry, dict) or key not in entry:
        what = f"{owner} has no {key}" if isinstance(entry, dict) else f"{owner} is no object"
        raise DataError(what, place=str(path), remedy=WHICH_FILE)
    value = entry[key]
    if not isinstance(value, kind) or isinstance(value, bool) or not _is_text(value):
        kinds = [k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,))]
        what = f"{owner}: {key} {json.dumps(value)} is not {' or '.join(kinds)}"
        raise DataError(what, place=str(path), remedy="Correct the annotations file")
    return value


def _is_text(value: Any) -> bool:
    """False for half of a surrogate pair, which JSON can write and UTF-8 cannot."""
    return not isinstance(value, str) or value.encode(errors="ignore").decode() == value


def _is_number(value: Any) -> bool:
    if type(value) is float:  # JSON's numbers are of these two types and no other
        return math.isfinite(value)
    return type(value) is int and abs(value) < MAX_NUMBER


def _id_order(id_: int | str) -> tuple[bool, Any]:
    """Numbers by value, before texts by alphabet."""
    return isinstance(id_, str), id_
