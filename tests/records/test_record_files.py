"""Patterns to files, and what is said when they match nothing."""

from pathlib import Path

import pytest

from launcher.errors import DataError
from launcher.records import expand, require_records, shard_name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index in (1, 0):
        (tmp_path / shard_name("train", index, 2)).write_bytes(b"x")
    (tmp_path / shard_name("val", 0, 1)).write_bytes(b"x")
    return tmp_path


def test_shard_names_are_those_of_the_od_api() -> None:
    assert shard_name("coco_train", 3, 100) == "coco_train.record-00003-of-00100"


def test_patterns_are_sorted_and_each_file_comes_once(folder: Path) -> None:
    pattern = str(folder / "train.record-?????-of-00002")
    names = ["train.record-00000-of-00002", "train.record-00001-of-00002"]
    assert [p.name for p in expand(pattern)] == names
    both = expand([pattern, str(folder / "*-00001-of-00002"), folder / "val.record-00000-of-00001"])
    assert [p.name for p in both] == [*names, "val.record-00000-of-00001"]


def test_a_name_with_brackets_is_itself(folder: Path) -> None:
    path = folder / "train[1].record"
    path.write_bytes(b"x")
    assert expand(path) == [path]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("trian.record-*", "The folder {} has 3 files, such as train.record-00000-of-00002"),
        ("nothing/here/*.record", "There is no folder {}/nothing: correct the path"),
    ],
)
def test_a_pattern_that_matches_nothing_says_what_is_there(
    folder: Path, pattern: str, said: str
) -> None:
    with pytest.raises(DataError) as e:
        expand([str(folder / "val*"), str(folder / pattern)])
    assert str(e.value) == f"{folder / pattern}: matches no file. {said.format(folder)}"


def test_a_remote_address_is_told_to_be_mounted() -> None:
    with pytest.raises(DataError, match=r"gs://bucket/train\*: matches no file.*mount or copy"):
        expand("gs://bucket/train*")


def test_a_folder_is_no_record_file(folder: Path) -> None:
    with pytest.raises(DataError) as e:
        expand(folder)
    assert "is a folder" in str(e.value)
    assert str(folder / "*.record-*") in str(e.value)


def test_an_empty_shard_is_named(folder: Path) -> None:
    require_records(expand(str(folder / "*")))
    empty = folder / shard_name("train", 1, 2)
    empty.write_bytes(b"")
    with pytest.raises(DataError, match=f"{empty}: an empty shard: it has 0 records"):
        require_records(expand(str(folder / "*")))
    with pytest.raises(DataError, match="No such file"):
        require_records([folder / "gone"])
    with pytest.raises(DataError, match="no record files are named"):
        require_records([])
