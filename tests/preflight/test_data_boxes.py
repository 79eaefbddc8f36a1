"""boxes: places, sizes, crowds."""

from typing import Any

import pytest

from launcher.preflight import Severity

NAME = "boxes"
SIDES = ("ymin", "xmin", "ymax", "xmax")


def boxed(make_record: Any, number: int, *boxes: tuple[float, ...], **changed: Any) -> Any:
    features = {f"object__bbox__{s}": [b[i] for b in boxes] for i, s in enumerate(SIDES)}
    features |= {"object__class__text": ["cat"] * len(boxes)}
    features |= {"object__class__label": [1] * len(boxes)}
    features |= {"object__is_crowd": [0] * len(boxes)}
    return make_record(number, **(features | changed))


def test_good_boxes_are_no_news(data: Any) -> None:
    assert not data.find(NAME)


@pytest.mark.parametrize(
    ("box", "what"),
    [
        ((0.1, 0.1, 0.5, 1.2), "1 outside of the image"),
        ((-0.2, 0.1, 0.5, 0.9), "1 outside of the image"),
        ((0.5, 0.1, 0.2, 0.9), "1 with a minimum above the maximum (swapped coordinates)"),
        ((0.1, 0.9, 0.2, 0.3), "1 with a minimum above the maximum (swapped coordinates)"),
        ((0.1, float("nan"), 0.2, 0.3), "1 outside of the image"),
    ],
)
def test_a_bad_box(data: Any, make_record: Any, box: tuple[float, ...], what: str) -> None:
    data.records["train"][1][2] = boxed(make_record, 7, box)
    data.write()
    (found,) = data.find(NAME)
    assert found.severity is Severity.ERROR
    assert found.evidence.startswith(f"1 of 20 train records: of 39 boxes {what}; the first: ")
    assert "train.record-00001-of-00004: record 2 at byte" in found.place
    assert found.place.endswith("source id 7")


def test_a_rounding_error_is_none(data: Any, make_record: Any) -> None:
    data.records["train"][1][2] = boxed(make_record, 7, (0.0, 0.0, 1.0005, 1.0))
    data.write()
    assert not data.find(NAME)


def test_pixels_in_place_of_parts(data: Any, make_record: Any) -> None:
    for shard in data.records["train"]:
        for i, one in enumerate(shard):
            number = int(one["image/source_id"])
            shard[i] = boxed(make_record, number, (4.0, 8.0, 30.0, 44.0))
    data.write()
    (found,) = data.find(NAME)
    assert "Sides go up to 44: pixels, not parts of the image" in found.evidence
    assert "Divide the boxes" in found.remedy


def test_bad_ones_that_may_be_skipped(data: Any, make_record: Any) -> None:
    data.records["train"][1][2] = boxed(make_record, 7, (0.1, 0.1, 0.5, 1.2))
    data.write()
    (found,) = data.find(NAME, max_bad_records=1)
    assert found.severity is Severity.WARNING
    assert "data.max_bad_records allows 1" in found.cost.text


def test_boxes_without_an_area(data: Any, make_record: Any) -> None:
    data.records["train"][0][0] = boxed(make_record, 7, (0.1, 0.3, 0.5, 0.3), (0, 0, 1, 1))
    data.write()
    (found,) = data.find(NAME)
    assert found.severity is Severity.WARNING
    assert found.evidence.startswith("1 of 40 train boxes have no area")


def test_images_without_objects(data: Any, make_record: Any) -> None:
    data.records["train"][0][3] = boxed(make_record, 7)
    data.write()
    (found,) = data.find(NAME)
    assert found.severity is Severity.INFO
    assert found.evidence == "1 of 20 train images have no object: 5 %"
    data.records["train"][:3] = [
        [boxed(make_record, 10 * s + i) for i in range(5)] for s in (1, 2, 3)
    ]
    data.write()
    (found,) = data.find(NAME)
    assert found.severity is Severity.WARNING
    data.records["train"][3] = data.records["train"][0]
    data.write()
    assert Severity.ERROR in {f.severity for f in data.find(NAME)}


def test_crowds(data: Any, make_record: Any) -> None:
    data.records["train"][0][3] = make_record(7, object__is_crowd=[1, 0])
    data.write()
    (found,) = data.find(NAME)
    assert found.severity is Severity.INFO
    assert found.evidence == "1 of 40 train objects are crowds, in 1 image: 2.5 %"


def test_objects_that_are_too_small_to_see(data: Any, make_record: Any) -> None:
    """3.2 px of 320."""
    data.records["train"][0][3] = boxed(make_record, 7, (0.5, 0.5, 0.51, 0.51))
    data.write()
    (found,) = data.find(NAME)
    assert found.severity is Severity.INFO
    assert "1 of 39 train objects are smaller than 4 x 4 px at 320 x 320 px" in found.evidence
    assert found.place.endswith("source id 7")


def test_sizes_that_no_anchor_has(data: Any, make_record: Any) -> None:
    """FPNLite's smallest anchor has 32 px of 320."""
    for shard in data.records["train"]:
        for i, one in enumerate(shard):
            number = int(one["image/source_id"])
            boxes = [(0.5, 0.5, 0.55, 0.55)] * 3 + [(0.2, 0.2, 0.4, 0.4)]
            shard[i] = boxed(make_record, number, *boxes)
    data.write()
    found = next(f for f in data.check().findings if "no anchor over" in f.evidence)
    assert found.severity is Severity.WARNING
    assert found.evidence.startswith(
        "75 % of 80 train objects have no anchor over 0.5 IoU at 320 x 320 px: 75 % are smaller "
        "than the smallest anchor (32 px)"
    )


def test_sizes_that_the_anchors_have(data: Any) -> None:
    """160 x 120 and 160 x 80 px of 320."""
    assert not [f for f in data.check().findings if "no anchor over" in f.evidence]
