"""COCO instances files: what is taken, clipped, dropped and refused."""

import json
import math
from array import array
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from launcher.data.coco import MAX_NUMBER, BadBoxError, _plain, fit_box, load
from launcher.errors import DataError


def test_a_set_is_read_in_the_order_of_ids(coco: Any) -> None:
    coco.content["images"].reverse()
    coco.add([0, 0, 100, 50], image_id=2, category_id=90, iscrowd=1, area=77.5)
    found = load(coco.annotations)
    assert [image.source_id for image in found.images] == ["1", "2", "3", "4", "5"]
    assert dict(found.names) == {7: "cat", 90: "dog"}
    first, second = found.images[1].boxes
    sides = (first.xmin, first.ymin, first.xmax, first.ymax)
    assert sides == pytest.approx((0.1, 0.1, 0.4, 0.5))
    assert (first.label, first.name, first.area, first.crowd) == (7, "cat", 600.0, False)
    assert (second.label, second.name, second.area, second.crowd) == (90, "dog", 77.5, True)


def test_limit_takes_the_first_ids_and_their_boxes_only(coco: Any) -> None:
    coco.add([0, 0, 500, 50], image_id=5)  # bad, but not wanted
    found = load(coco.annotations, limit=2)
    assert [image.source_id for image in found.images] == ["1", "2"]


def test_zero_size_is_dropped_and_named(coco: Any) -> None:
    ids = [coco.add([5, 5, 0, 10]), coco.add([5, 5, 10, 0.0]), coco.add([100, 5, 0.5, 10])]
    found = load(coco.annotations)
    assert found.zero_size == tuple(map(str, ids))
    assert len(found.images[0].boxes) == 1


def test_rounding_is_clipped_and_named(coco: Any) -> None:
    id_ = coco.add([-0.5, 10, 101, 40.01])
    found = load(coco.annotations)
    assert found.clipped == (str(id_),)
    box = found.images[0].boxes[1]
    assert (box.xmin, box.ymin, box.xmax, box.ymax) == (0.0, 0.2, 1.0, 1.0)


BAD_BOXES: list[tuple[Any, str]] = [
    ([90, 5, 12, 10], "sticks out of the image by 2 pixels"),
    ([-1.5, 5, 12, 10], "sticks out of the image by 1.5 pixels"),
    ([5, 45, 10, 7], "sticks out of the image by 2 pixels"),
    ([5, 5, -3, 10], "has a negative size"),
    ([5, 5, 10], "is not four numbers"),
    ([5, 5, 10, "10"], "is not four numbers"),
    ([5, 5, 10, float("nan")], "is not four numbers"),
    ([5, 5, 10, 10**400], "is not four numbers"),
    ([5, 5, 10, True], "is not four numbers"),
    (None, "is not four numbers"),
]


@pytest.mark.parametrize(("bbox", "said"), BAD_BOXES)
def test_a_bad_box_is_refused_or_left_out(coco: Any, bbox: Any, said: str) -> None:
    id_ = coco.add(bbox, image_id=3)
    with pytest.raises(DataError) as e:
        load(coco.annotations)
    what = f"annotation {id_} of image 3: bbox {json.dumps(bbox)} (x, y, width, height) of an image"
    assert str(e.value) == (
        f"{coco.annotations}: {what} of 100 x 50 pixels {said}."
        " Correct it, or leave such boxes and images out with --skip-bad"
    )
    found = load(coco.annotations, skip_bad=True)
    assert len(found.bad_boxes) == 1
    assert found.bad_boxes[0].startswith(what)
    assert len(found.images[2].boxes) == 1


def test_the_first_bad_box_is_named_and_the_others_counted(coco: Any) -> None:
    first = coco.add([0, 0, 300, 5])
    coco.add([0, 0, 400, 5])
    coco.add([0, 0, 500, 5])
    with pytest.raises(DataError, match=rf"annotation {first} .* \(2 more boxes are bad\)"):
        load(coco.annotations)


@given(
    bbox=st.lists(st.floats(-5, 110) | st.integers(-5, 110), min_size=4, max_size=4),
    width=st.integers(1, 100),
    height=st.integers(1, 100),
)
@example(bbox=[0.0, 0.0, 5e-324, 1.0], width=2, height=1)
@example(bbox=[50.0, 0.0, 1e-9, 1.0], width=100, height=1)
def test_a_fitted_box_lies_in_its_image(bbox: list[float], width: int, height: int) -> None:
    try:
        sides, clipped = fit_box(bbox, width, height)
    except BadBoxError:
        return
    if sides is not None:
        xmin, ymin, xmax, ymax = array("f", sides)  # as a record holds them
        assert 0 <= xmin < xmax <= 1
        assert 0 <= ymin < ymax <= 1
        if not clipped:
            assert xmin * width == pytest.approx(bbox[0])
            assert ymax * height == pytest.approx(bbox[1] + bbox[3])


NUMBERS = st.floats(-5, 110) | st.integers(-5, 110) | st.sampled_from([math.nan, math.inf, True])


@given(
    bbox=st.lists(NUMBERS, min_size=4, max_size=4),
    area=NUMBERS | st.sampled_from([MAX_NUMBER, None, "7"]),
    crowd=st.sampled_from([0, 1, 2, True, 1.0, None]),
    image_id=st.sampled_from([1, 2, "1", 1.0, True, None]),
    category=st.sampled_from([7, 8, "7", 7.0]),
)
def test_the_short_way_is_the_long_way(
    bbox: Any, area: Any, crowd: Any, image_id: Any, category: Any
) -> None:
    """What `_plain` takes, the checks that it stands for take as well, with the same result."""
    annotation = {"id": 5, "image_id": image_id, "category_id": category}
    annotation |= {"bbox": bbox, "area": area, "iscrowd": crowd}
    found = _plain(annotation, {1: {"width": 100, "height": 50}}, {7: "cat"})
    if found is None:
        return
    sides, clipped = fit_box(bbox, 100, 50)
    assert (image_id, category, clipped) == (1, 7, False)
    assert found == (1, (7, "cat", *(sides or ()), float(area), bool(crowd)))
    assert 0 <= area < MAX_NUMBER
    for value, kinds in (
        (image_id, {int}),
        (category, {int}),
        (area, {int, float}),
        (crowd, {int}),
    ):
        assert type(value) in kinds


def test_most_annotations_go_the_short_way(shared: Path) -> None:
    path = shared / "coco_tiny/annotations/instances_val2017.json"
    content = json.loads(path.read_text())
    images = {image["id"]: image for image in content["images"]}
    names = {category["id"]: category["name"] for category in content["categories"]}
    taken = [_plain(annotation, images, names) for annotation in content["annotations"]]
    assert all(taken)


def change(coco: Any, *path: Any, to: Any) -> None:
    target = coco.content
    for key in path[:-1]:
        target = target[key]
    if to is ...:
        del target[path[-1]]
    else:
        target[path[-1]] = to
    coco.save()


WRONG: list[tuple[tuple[Any, ...], Any, str]] = [
    (("images",), ..., 'not a COCO instances file: it has no list "images"'),
    (("categories",), ..., 'not a COCO instances file: it has no list "categories"'),
    (("annotations",), {}, 'not a COCO instances file: it has no list "annotations"'),
    (("images",), [], '"images" is empty'),
    (("images", 1, "id"), 1, "image 1 is there twice (2.jpg). Give every image an id of its own"),
    (("images", 1, "id"), "1", "image 1 is there twice (2.jpg)"),
    (("images", 1, "id"), "", "an empty image id"),
    (("images", 1, "id"), None, "images[1]: id null is not int or str"),
    (("images", 1), 5, "images[1] is no object"),
    (("images", 1, "width"), ..., "image 2 has no width"),
    (("images", 1, "width"), 0, "image 2: width is 0. Give its size in pixels"),
    (("images", 1, "height"), 50.5, "image 2: height 50.5 is not int"),
    (("images", 1, "file_name"), ..., "image 2 has no file_name"),
    (("images", 1, "file_name"), "\ud800", 'image 2: file_name "\\ud800" is not str'),
    (("categories", 0, "id"), 0, 'category 0 ("cat"): ids start at 1'),
    (("categories", 0, "id"), 90, 'category 90 ("dog"): its id or its name is there twice'),
    (("categories", 0, "name"), "dog", 'category 90 ("dog"): its id or its name is there twice'),
    (("categories", 0, "name"), 3, "category 7: name 3 is not str"),
    (("annotations", 2, "image_id"), 9, 'annotation 1003: image_id 9 is not among "images"'),
    (("annotations", 2, "image_id"), "3", 'annotation 1003: image_id "3" is not among "images"'),
    (("annotations", 2, "category_id"), 8, 'annotation 1003: category_id 8 is not among "categ'),
    (("annotations", 2, "category_id"), ..., "annotation 1003 has no category_id"),
    (("annotations", 2, "id"), ..., "annotations[2] has no id"),
    (("annotations", 2, "area"), -1, "annotation 1003: area -1, iscrowd 0. area is a number"),
    (("annotations", 2, "iscrowd"), 2, "annotation 1003: area 600, iscrowd 2. area is a number"),
]


@pytest.mark.parametrize(("path", "to", "said"), WRONG)
def test_a_file_that_does_not_add_up(coco: Any, path: tuple[Any, ...], to: Any, said: str) -> None:
    change(coco, *path, to=to)
    for skip_bad in (False, True):
        with pytest.raises(DataError) as e:
            load(coco.annotations, skip_bad=skip_bad)
        assert str(e.value).startswith(f"{coco.annotations}: {said}")


def test_files_that_are_no_json(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    with pytest.raises(DataError, match=r"cannot read \(No such file"):
        load(path)
    path.write_text('{"images": [\n  {"id": 1,}\n]}')
    with pytest.raises(DataError, match=f"{path}:2:1[12]: not JSON"):
        load(path)
    path.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(DataError, match="not JSON"):
        load(path)
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match="not JSON"):
        load(path)
    path.write_text("[1, 2]")
    with pytest.raises(DataError, match="not a COCO instances file"):
        load(path)


def test_real_coco_files(shared: Path) -> None:
    for split, objects, crowds in (("train", 705, 6), ("val", 815, 11)):
        found = load(shared / "coco_tiny" / "annotations" / f"instances_{split}2017.json")
        boxes = [box for image in found.images for box in image.boxes]
        assert len(found.images) == 80
        assert len(boxes) == objects
        assert sum(box.crowd for box in boxes) == crowds
        assert len(found.names) == 80
        assert max(found.names) == 90
        assert (found.zero_size, found.clipped, found.bad_boxes) == ((), (), ())


def test_outlines_are_left_out_wherever_they_stand(coco: Any) -> None:
    plain = load(coco.annotations)
    text = '"segmentation": [[1, 2]], "bbox": [0]'  # in a name it stays what it is
    coco.content["categories"][0]["name"] = text
    outlines = [[[1, 2.5e1, -3]], [], {"counts": [1, 2], "size": [5, 5]}, [[1], [2, 3]], None]
    for annotation, outline in zip(coco.content["annotations"], outlines, strict=True):
        rest = dict(annotation)
        annotation.clear()
        annotation.update({"segmentation": outline, **rest})
    for indent in (None, 1):
        coco.annotations.write_text(json.dumps(coco.content, indent=indent))
        found = load(coco.annotations)
        assert found.names[7] == text
        assert [[b.area for b in i.boxes] for i in found.images] == [
            [b.area for b in i.boxes] for i in plain.images
        ]


def test_the_place_of_an_error_behind_an_outline(coco: Any) -> None:
    coco.content["annotations"][0]["segmentation"] = [[1, 2, 3, 4] * 50]
    text = json.dumps(coco.content)
    coco.annotations.write_text(text[:-1])
    with pytest.raises(DataError, match=f"instances.json:1:{len(text)}: not JSON"):
        load(coco.annotations)
