"""data-shards: parts of a set, two sets, and files in train and val."""

import os
import re
import shutil
from typing import Any

import pytest

from launcher.errors import SpecError
from launcher.preflight import Severity
from launcher.preflight.shard_sets import shard_sets
from launcher.records.frames import read_frames

NAME = "data-shards"


def test_a_whole_set_is_no_news(data: Any) -> None:
    assert not data.find(NAME)
    assert all(f.severity is Severity.INFO for f in data.check().findings)


def test_one_shard_of_many(data: Any) -> None:
    """The mistake of tensorflow/models#10530."""
    (found,) = data.find(NAME, train=str(data.path("train", 0)), train_images=20)
    assert found.severity is Severity.ERROR
    assert found.evidence == "1 of 4 shards, 5 of 20 images: 25 %"
    pattern = str(data.folder / "train.record-?????-of-00004")
    assert found.edits == (f"data.train={pattern}",)
    assert pattern in found.remedy
    assert 0.1 < found.cost.lost < 0.4
    assert not data.find(NAME, train=pattern, train_images=20)  # the remedy mends it


def test_the_whole_is_estimated_where_nobody_knows_it(data: Any) -> None:
    (found,) = data.find(NAME, train=str(data.path("train", 0)))
    assert found.evidence == "1 of 4 shards, 5 of about 20 images: 25 %"


def test_one_val_shard(data: Any) -> None:
    (found,) = data.find(NAME, val=str(data.path("val", 1)), val_images=6)
    assert found.severity is Severity.ERROR
    assert found.evidence == "1 of 2 shards, 3 of 6 images: 50 %"
    assert "not one to compare" in found.cost.text


def test_a_part_that_is_meant(data: Any) -> None:
    (found,) = data.find(NAME, train=str(data.path("train", 0)), train_images=5)
    assert found.severity is Severity.INFO


def test_a_part_with_more_images_than_are_expected(data: Any) -> None:
    """The part is still one, and the number is wrong too: two findings, and no loss below zero."""
    three = str(data.folder / "train.record-0000[0-2]-*")
    (part,) = data.find(NAME, train=three, train_images=10)
    assert part.evidence == "3 of 4 shards, 15 of about 20 images: 75 %"
    assert part.cost.text.startswith("25 % of the train images are never seen")
    (count,) = data.find("data-count", train=three, train_images=10)
    assert count.evidence == "15 train images in 3 files, 10 expected: 50 % more"
    assert not data.find("data-count", train=three, train_images=20)  # which the part explains
    os.truncate(data.path("train", 3), 0)
    (empty,) = data.find(NAME, train=three)
    assert empty.evidence == "3 of 4 shards, 15 of about 15 images: 100 %"
    assert (empty.severity, empty.cost.lost) == (Severity.INFO, 0)
    assert "never seen" not in empty.cost.text


@pytest.mark.parametrize(("gone", "severity"), [(1, Severity.ERROR)])
def test_missing_numbers(data: Any, gone: int, severity: Severity) -> None:
    data.path("train", gone).unlink()
    (found,) = data.find(NAME, train_images=20)
    assert found.severity is severity
    assert f"1 of 4 shards of train.record-?????-of-00004 is not in {data.folder}" in found.evidence
    assert found.evidence.endswith(": 00001")
    assert not data.find("data-count", train_images=20)  # which this explains


def test_one_of_many_numbers_is_a_warning(data: Any) -> None:
    for index in range(20):
        if index != 7:
            shutil.copy(data.path("train", 0), data.folder / f"a.record-{index:05d}-of-00020")
    (found,) = data.find(NAME, train=str(data.folder / "a.record-*"))
    assert found.severity is Severity.WARNING
    assert found.evidence.endswith(": 00007")


def test_two_conversions_under_one_name(data: Any) -> None:
    for index in range(2):
        old = data.folder / f"train.record-{index:05d}-of-00002"
        shutil.copy(data.path("train", index), old)
    (found,) = data.find(NAME)
    assert found.severity is Severity.ERROR
    assert "is 2 conversions: 2 of 2 and 4 of 4 shards, 10 + 20 images" in found.evidence


def test_a_pattern_that_matches_train_and_val(data: Any) -> None:
    """While val names other files."""
    shutil.copytree(data.folder, data.folder / "other")
    val = str(data.folder / "other" / "val.record-*")
    (found,) = data.find(NAME, train=str(data.folder / "*.record-*"), val=val)
    assert found.severity is Severity.WARNING
    assert "matches 2 sets" in found.evidence
    both = [str(data.folder / f"{name}.record-*") for name in ("train", "val")]
    assert not data.find(NAME, train=both, val=val)  # two sets on purpose


def test_files_in_train_and_val(data: Any) -> None:
    (found,) = data.find(NAME, train=str(data.folder / "*.record-*"))
    assert found.severity is Severity.ERROR
    assert "2 of 2 val files are train files too" in found.evidence
    assert "6 images, 100 % of val" in found.evidence


def test_a_link_is_the_file_itself(data: Any) -> None:
    for index in range(2):
        path = data.path("val", index)
        path.unlink()
        path.symlink_to(data.path("train", index))
    (found,) = data.find(NAME)
    assert "2 of 2 val files are train files too" in found.evidence


def test_overfitting_on_purpose(data: Any) -> None:
    (found,) = data.find(NAME, val=str(data.folder / "train.record-*"))
    assert found.severity is Severity.WARNING
    assert "the same 4 files" in found.evidence


def test_a_pattern_without_files(data: Any) -> None:
    (found,) = data.find(NAME, train=str(data.folder / "nothing-*"))
    assert found.severity is Severity.ERROR
    assert "matches no file" in found.evidence


def test_other_converters_numbers(data: Any) -> None:
    """train_0, train_1, ... are a set; two years in two names are none."""
    for index in range(4):
        shutil.copy(data.path("train", index), data.folder / f"t_{index}.tfrecord")
    (found,) = data.find(NAME, train=str(data.folder / "t_0.tfrecord"))
    assert found.severity is Severity.WARNING
    assert found.evidence.startswith("1 of 4 shards")
    for year in (2014, 2017):
        shutil.copy(data.path("train", 0), data.folder / f"coco{year}.tfrecord")
    assert not data.find(NAME, train=str(data.folder / "coco2017.tfrecord"))


def test_urls_are_refused_before_any_check(data: Any) -> None:
    for key, url in {"train": "gs://b/t-*", "val": "s3://b/v-*", "label_map": "gs://b/l"}.items():
        with pytest.raises(SpecError, match=rf"data.{key}: {re.escape(url)} is a URL\. .*mount"):
            data.check(**{key: url})


def test_a_set_whose_name_has_wildcards(data: Any) -> None:
    for index in range(2):
        shutil.copy(data.path("val", index), data.folder / f"a[1]-{index:05d}-of-00002")
    frames = [read_frames(data.folder / "a[1]-00000-of-00002")]
    (found,) = shard_sets(frames)
    assert found.pattern.endswith("a[[]1]-?????-of-00002")
    assert found.unnamed == 1


@pytest.mark.parametrize("form", ["all.record-0000{}-of-00005", "fold_{}.tfrecord"])
def test_a_set_divided_by_shard_number(data: Any, form: str) -> None:
    """Four shards to train on and one to score on are all of the set."""
    for index in range(5):
        shutil.copy(data.path("train", index % 4), data.folder / form.format(index))
    train, val = (str(data.folder / form.format(part)) for part in ("[0-3]", "4"))
    assert not data.find(NAME, train=train, val=val)
    assert not data.find(NAME, train=val, val=train)
    left = data.find(NAME, train=str(data.folder / form.format("[0-2]")), val=val)
    assert [f.severity for f in left] == [Severity.WARNING]  # one kept for a test, perhaps
    assert left[0].evidence == "3 of 4 shards that val does not name, 15 of about 20 images: 75 %"
    first = data.find(NAME, train=str(data.folder / form.format("0")), val=val)
    serious = Severity.ERROR if "-of-" in form else Severity.WARNING
    assert [f.severity for f in first] == [serious]
    assert not first[0].edits + left[0].edits  # never a file of val for train
    (part,) = (f for f in data.find(NAME, train=val, val=val) if "shards" in f.evidence)
    assert not part.edits


def test_a_remedy_matches_no_file_of_the_other_set(data: Any) -> None:
    for index in range(4):
        shutil.copy(data.path("train", index), data.folder / f"part_{index}.tfrecord")
    other = shutil.copy(data.path("val", 0), data.folder / "part_v.tfrecord")
    (found,) = data.find(NAME, train=str(data.folder / "part_0.tfrecord"), val=str(other))
    assert found.evidence.startswith("1 of 4 shards")
    assert not found.edits


def test_a_name_that_promises_any_number_of_files(data: Any) -> None:
    """Counted, not listed: ten digits in a name ended in no memory."""
    for number in (0, 2):
        shutil.copy(data.path("train", 0), data.folder / f"a.record-{number:05d}-of-9999999999")
    (found,) = data.find(NAME, train=str(data.folder / "a.record-*"))
    assert found.evidence.startswith("9,999,999,997 of 9,999,999,999 shards")
    assert found.evidence.endswith(": 00001, 00003, 00004, 00005, 00006 and 9,999,999,992 more")
