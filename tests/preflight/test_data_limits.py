"""Where the checks of the data begin to speak, and what is an error from where on."""

import shutil
from typing import Any

import pytest

from launcher.preflight import Finding, Severity

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


def numbered(data: Any, name: str, *numbers: int) -> None:
    """Files of another converter, `name` and a number."""
    for number in numbers:
        shutil.copy(data.path("train", 0), data.folder / f"{name}{number}.tfrecord")


def of_one_set(data: Any, split: str, total: int, absent: int) -> str:
    """A pattern of `total` files, the last `absent` of which are nowhere."""
    for index in range(total - absent):
        shutil.copy(data.path(split, 0), data.folder / f"a.record-{index:05d}-of-{total:05d}")
    return str(data.folder / "a.record-*")


def train_sizes(data: Any, make_record: Any, *sizes: int) -> None:
    """Train files with so many records, beside the val files."""
    data.records["train"] = [
        [make_record(1000 * shard + i) for i in range(size)] for shard, size in enumerate(sizes)
    ]
    data.folder = data.folder / "sizes"
    data.write()


# data-shards


@pytest.mark.parametrize(("absent", "severity"), [(1, WARNING), (2, ERROR)])
def test_a_tenth_of_the_files_gone_is_a_copy_cut_short(
    data: Any, absent: int, severity: Severity
) -> None:
    pattern = of_one_set(data, "train", 20, absent)
    (found,) = (f for f in data.find("data-shards", train=pattern) if "of 20 shards" in f.evidence)
    assert found.severity is severity


def test_any_file_gone_from_val_makes_another_score(data: Any) -> None:
    (found,) = data.find("data-shards", val=of_one_set(data, "val", 20, 1))
    assert found.severity is ERROR
    assert "the mAP is of 95 % of the val images" in found.cost.text


def test_files_that_nobody_expects_are_not_missed(data: Any) -> None:
    data.path("train", 1).unlink()
    assert data.find("data-shards", train_images=15) == []
    assert data.find("data-shards", train_images=16) != []


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ((0, 1, 2), True),
        ((1, 2, 3), True),  # counted from 1
        ((2, 3, 4), False),  # from nowhere
        ((0, 1, 5), False),  # a gap
        ((0, 1), False),  # too few to be sure
    ],
)
def test_numbers_in_a_row_are_a_set(data: Any, numbers: tuple[int, ...], told: bool) -> None:
    numbered(data, "t_", *numbers)
    named = str(data.folder / f"t_{numbers[0]}.tfrecord")
    assert bool(data.find("data-shards", train=named)) is told


# data-count


@pytest.mark.parametrize(("largest", "told"), [(45, False), (50, True)])
def test_files_may_differ_up_to_ten_times(
    data: Any, make_record: Any, largest: int, told: bool
) -> None:
    train_sizes(data, make_record, largest, 5, 5, 5)
    found = data.find("data-count")
    assert [f.severity for f in found] == ([INFO] if told else [])


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ((5, 5, 5, 2), True),
        ((6, 5, 5, 2), True),
        ((10, 5, 5, 2), False),  # files that are not meant to be alike
        ((5, 5, 5, 2, 2), False),  # two of five were not cut by accident
        ((5, 5, 5, 3), False),
    ],
)
def test_a_short_file_among_equal_ones_was_cut(
    data: Any, make_record: Any, sizes: tuple[int, ...], told: bool
) -> None:
    train_sizes(data, make_record, *sizes)
    found = data.find("data-count")
    assert [f.severity for f in found] == ([WARNING] if told else [])
    assert all(f.evidence.endswith("cut short?") for f in found)


# labels


@pytest.mark.parametrize(("absent", "severity"), [(2, INFO), (3, WARNING)])
def test_half_of_the_map_unused_is_another_set_s(
    data: Any, absent: int, severity: Severity
) -> None:
    """2 of 5, 3 of 6."""
    data.labels("cat", "dog", "hen", *map(str, range(absent)))
    (found,) = data.find("labels")
    assert found.evidence.startswith(f"{absent} of {3 + absent} classes are in none")
    assert found.severity is severity


def test_a_name_that_the_map_lacks_is_no_disagreement(data: Any, make_record: Any) -> None:
    """It comes first, has an id, and is a finding of its own."""
    data.records["train"][0][0] = make_record(7, object__class__text=["cow", "dog"])
    data.records["train"][2][3] = make_record(8) | {"image/object/class/label": [1, 2]}
    data.write()
    lacking, disagreeing = data.find("labels")
    assert '"cow" (1)' in lacking.evidence
    assert "train.record-00000-of-00004: record 0" in lacking.place
    assert disagreeing.evidence.startswith("1 of 40 train objects have a name and an id")
    assert "train.record-00002-of-00004: record 3" in disagreeing.place


# boxes


def boxed(data: Any, make_record: Any, *boxes: tuple[float, float, float, float]) -> None:
    """Every train record with these (ymin, xmin, ymax, xmax)."""
    count = len(boxes)
    changed: dict[str, Any] = {
        f"object__bbox__{side}": [box[i] for box in boxes]
        for i, side in enumerate(("ymin", "xmin", "ymax", "xmax"))
    }
    changed |= {"object__class__text": ["cat"] * count, "object__class__label": [1] * count}
    changed |= {"object__is_crowd": [0] * count}
    for shard in data.records["train"]:
        for i, one in enumerate(shard):
            shard[i] = make_record(int(one["image/source_id"]), **changed)


def without_anchor(data: Any) -> Finding:
    (found,) = (f for f in data.check().findings if "no anchor over" in f.evidence)
    assert isinstance(found, Finding)
    return found


SMALL, FITTING = (0.5, 0.5, 0.55, 0.55), (0.2, 0.2, 0.4, 0.4)


@pytest.mark.parametrize(("small", "share", "severity"), [(1, "50 %", INFO), (2, "67 %", WARNING)])
def test_a_published_recipe_s_share_without_an_anchor_is_a_note(
    data: Any, make_record: Any, small: int, share: str, severity: Severity
) -> None:
    """SSD MobileNetV2 has 56 % on COCO."""
    boxed(data, make_record, *[SMALL] * small, FITTING)
    data.write()
    found = without_anchor(data)
    assert found.evidence.startswith(f"{share} of ")
    assert found.severity is severity


@pytest.mark.parametrize(("empty", "severity"), [(9, INFO), (10, WARNING)])
def test_half_of_the_images_without_an_object(
    data: Any, make_record: Any, empty: int, severity: Severity
) -> None:
    good = [one for shard in data.records["train"] for one in shard]
    boxed(data, make_record)
    bare = [one for shard in data.records["train"] for one in shard]
    mixed = bare[:empty] + good[empty:]
    data.records["train"] = [mixed[i : i + 5] for i in range(0, 20, 5)]
    data.write()
    (found,) = data.find("boxes")
    assert found.evidence.startswith(f"{empty} of 20 train images have no object")
    assert found.severity is severity


def test_one_box_in_pixels_is_a_box_outside(data: Any, make_record: Any) -> None:
    one = make_record(7) | {
        "image/object/bbox/ymax": [44.0, 0.75],
        "image/object/bbox/xmax": [30.0, 0.75],
    }
    data.records["train"][1][2] = one
    data.write()
    (found,) = data.find("boxes")
    assert "1 outside of the image" in found.evidence
    assert "pixels" not in found.evidence
    assert "Divide" not in found.remedy


# images


@pytest.mark.parametrize(("val", "severity"), [(10, ERROR), (100, ERROR), (101, WARNING)])
def test_one_val_image_of_a_hundred_in_train(
    data: Any, make_record: Any, val: int, severity: Severity
) -> None:
    data.records["val"] = [
        [data.records["train"][0][0], *map(make_record, range(3000, 2999 + val))]
    ]
    data.folder = data.folder / "more"
    data.write()
    (found,) = data.find("images")
    assert found.evidence.startswith(f"1 of {val} val images are train images too")
    assert found.severity is severity
