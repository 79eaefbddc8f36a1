from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import DataError
from launcher.evaluate import ground_truth
from launcher.evaluate.ground_truth import GroundTruth, Labels
from launcher.odapi import label_map

Read = Callable[..., GroundTruth]


@pytest.fixture
def read(val: Any) -> Read:
    def read_files(
        *patterns: str | Path, expected: int | None = None, num_classes: int = 3
    ) -> GroundTruth:
        labels = Labels.read(val.label_map)
        return ground_truth.read(list(map(str, patterns)), labels, num_classes, expected)

    return read_files


def test_boxes_in_pixels_with_area_and_crowd(val: Any, read: Read) -> None:
    boxes = [val.box(2, 10, 5, 20, 10, area=150.0), val.box(1, 50, 25, 50, 25, crowd=True)]
    truth = read(val.write(val.record("a", boxes), val.record("b")), expected=2)

    assert [(i.source_id, i.width, i.height, len(i.boxes)) for i in truth.images] == [
        ("a", 100, 50, 2),
        ("b", 100, 50, 0),
    ]
    first, second = truth.images[0].boxes
    assert (first.x, first.y, first.width, first.height) == pytest.approx((10, 5, 20, 10), abs=1e-4)
    assert (first.category, first.area, first.crowd) == (2, 150.0, False)
    assert (second.category, second.crowd) == (1, True)
    assert truth.categories == val.names


def test_area_is_the_box_where_the_record_has_none(val: Any, read: Read) -> None:
    boxes = [val.box(1, 0, 0, 10, 10), val.box(1, 0, 0, 20, 10)]
    without = val.record("a", boxes, image__object__area=[])
    zero = val.record("b", boxes, image__object__area=[0.0, 7.0])
    images = read(val.write(without, zero)).images
    assert [b.area for b in images[0].boxes] == pytest.approx([100, 200], rel=1e-5)
    assert [b.area for b in images[1].boxes] == pytest.approx([100, 7], rel=1e-5)


def test_the_size_is_the_pictures_own(val: Any, read: Read) -> None:
    lying = val.record("a", size=(64, 48), image__width=[640], image__height=[1])
    image = read(val.write(lying, val.record("b", [val.box(1, 0, 0, 9, 9)]))).images[0]
    assert (image.width, image.height) == (64, 48)


def test_text_comes_before_label_and_may_be_a_display_name(val: Any, read: Read) -> None:
    val.label_map.write_text(
        'item { id: 1 name: "/m/01" display_name: "square" }'
        'item { id: 2 name: "/m/02" display_name: "circle" }'
    )
    boxes = [val.box(1, 0, 0, 9, 9), val.box(1, 0, 0, 9, 9)]
    by_text = val.record("a", boxes, image__object__class__text=["/m/02", "circle"])
    by_label = val.record("b", boxes)
    images = read(val.write(by_text, by_label)).images
    assert [[b.category for b in i.boxes] for i in images] == [[2, 2], [1, 1]]


def test_coco_ids_are_kept_and_others_are_numbered(val: Any, read: Read) -> None:
    boxes = [val.box(1, 0, 0, 9, 9)]
    coco = read(val.write(val.record("139", boxes), val.record("42", boxes)))
    assert [i.id for i in coco.images] == [139, 42]
    # 007 and 7 would be one number
    other = read(val.write(val.record("007", boxes), val.record("7", boxes)))
    assert [i.id for i in other.images] == [1, 2]
    long = read(val.write(val.record("9" * 30, boxes)))
    assert [i.id for i in long.images] == [1]


def test_to_coco(val: Any, read: Read) -> None:
    truth = read(val.write(val.record("7", [val.box(3, 0, 0, 50, 50, crowd=True)]),
                           val.record("8", [val.box(1, 0, 0, 50, 25, area=9.0)])))  # fmt: skip
    assert truth.to_coco() == {
        "images": [
            {"id": 7, "width": 100, "height": 50},
            {"id": 8, "width": 100, "height": 50},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [0, 0, 50, 50],
             "area": 2500.0, "iscrowd": 1},
            {"id": 2, "image_id": 8, "category_id": 1, "bbox": [0, 0, 50, 25],
             "area": 9.0, "iscrowd": 0},
        ],
        "categories": [
            {"id": 1, "name": "square"},
            {"id": 2, "name": "circle"},
            {"id": 3, "name": "triangle"},
        ],
    }  # fmt: skip


def test_all_shards_of_a_pattern_in_order(val: Any, read: Read) -> None:
    boxes = [val.box(1, 0, 0, 9, 9)]
    for shard in (1, 0):
        val.write(val.record(f"of-{shard}", boxes), name=f"val.record-0000{shard}-of-00002")
    truth = read(val.folder / "val.record-*", expected=2)
    assert [i.source_id for i in truth.images] == ["of-0", "of-1"]


def test_encoded_images_are_those_of_the_records(val: Any, read: Read) -> None:
    boxes = [[val.box(1, x, 0, 9, 9)] for x in range(4)]
    val.write(val.record("0", boxes[0]), val.record("1", boxes[1]), name="a.record")
    val.write(val.record("2", boxes[2]), val.record("3", boxes[3]), name="b.record")
    images = read(val.folder / "*.record").images
    found = ground_truth.encoded_images([images[3], images[1]])
    assert found == {i: val.picture((100, 50), boxes[i]) for i in (3, 1)}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image__source_id": ""}, "no image/source_id"),
        ({"image__encoded": b"JFIF"}, "not an image"),
        ({"image__object__class__label": [4]}, "label 4 of box 0 is not in 1..3"),
        ({"image__object__class__text": ["dog"]}, '"dog" of box 0 is not in the label map'),
        ({"image__object__bbox__xmax": [1.5]}, "is outside its image"),
        ({"image__object__bbox__xmax": [float("nan")]}, "is outside its image"),
        ({"image__object__bbox__xmax": []}, "has 0 values for 1 boxes"),
        ({"image__object__area": [1.0, 2.0]}, "has 2 values for 1 boxes"),
    ],
)
def test_a_bad_record_is_named(val: Any, read: Read, changed: dict[str, Any], message: str) -> None:
    good, bad = (
        val.record(i, [val.box(1, 0, 0, 9, 9)], **c) for i, c in (("a", {}), ("b", changed))
    )
    path = val.write(good, bad)
    with pytest.raises(DataError) as e:
        read(path)
    assert message in str(e.value)
    assert f"{path}: record 1 at byte" in str(e.value)


def test_a_truncated_picture_is_named(val: Any, read: Read) -> None:
    whole = val.picture((100, 50), [val.box(1, 0, 0, 50, 20)])
    path = val.write(val.record("a", image__encoded=whole[: len(whole) // 2]))
    with pytest.raises(DataError, match=r"record 0 at byte 0, source id a: image/encoded is"):
        read(path)


def test_a_label_in_a_gap_of_the_label_map(val: Any, read: Read) -> None:
    label_map.write(val.label_map, {1: "square", 3: "triangle"})
    path = val.write(val.record("a", [val.box(2, 0, 0, 9, 9)]))
    with pytest.raises(DataError, match="label 2 is not in the label map"):
        read(path)


def test_a_class_beyond_the_model(val: Any, read: Read) -> None:
    path = val.write(val.record("a", [val.box(3, 0, 0, 9, 9)]))
    with pytest.raises(DataError, match=r"label 3 of box 0 is not in 1\.\.2"):
        read(path, num_classes=2)


def test_a_repeated_source_id_names_both_records(val: Any, read: Read) -> None:
    boxes = [val.box(1, 0, 0, 9, 9)]
    val.write(val.record("a", boxes), name="1.record")
    val.write(val.record("b", boxes), val.record("a", boxes), name="2.record")
    with pytest.raises(DataError) as e:
        read(val.folder / "*.record")
    assert "2.record: record 1 at byte" in str(e.value)
    assert f'"a" is also the one of {val.folder}/1.record: record 0' in str(e.value)


def test_counts(val: Any, read: Read) -> None:
    path = val.write(val.record("a", [val.box(1, 0, 0, 9, 9)]))
    assert len(read(path, expected=1).images) == 1
    with pytest.raises(DataError, match="1 val images, 50 were expected"):
        read(path, expected=50)
    with pytest.raises(DataError, match="matches no file"):
        read(val.folder / "absent-*")
    with pytest.raises(DataError, match="an empty shard"):
        read(val.write(name="empty.record"))


def test_nothing_to_score_is_an_error_and_not_minus_one(val: Any, read: Read) -> None:
    path = val.write(val.record("a"), val.record("b", [val.box(1, 0, 0, 9, 9, crowd=True)]))
    with pytest.raises(DataError, match="none of the 2 val images has a box to score"):
        read(path)


def test_a_damaged_file(val: Any, read: Read) -> None:
    path = val.write(val.record("a", [val.box(1, 0, 0, 9, 9)]))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match="record 0 at byte 0"):
        read(path)
