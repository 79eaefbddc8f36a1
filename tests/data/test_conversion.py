"""COCO to records: everything arrives, the bytes are always the same, nothing is left half done."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image
from typer.testing import CliRunner

from launcher.cli.data import app
from launcher.data import ConvertReport, convert
from launcher.data.pool import cores
from launcher.errors import DataError, UsageError
from launcher.odapi import label_map
from launcher.records import expand, locate_damage

Read = Callable[[str | Path], list[Any]]
Field = Callable[[Any, str], list[Any]]


def run(coco: Any, **more: Any) -> ConvertReport:
    arguments: dict[str, Any] = {"prefix": "train", "shards": 2, "processes": 1} | more
    return convert(coco.annotations, coco.images, coco.out, **arguments)


@pytest.mark.parametrize("shards", [1, 4])
def test_pictures_that_viewers_turn_are_counted(coco: Any, shards: int) -> None:
    """And converted as they are: whether the boxes are of the pixels only a look can tell."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    path = coco.images / "3.jpg"
    with Image.open(path) as image:
        image.save(path, exif=exif)
    report = run(coco, shards=shards)
    assert (report.images, report.turned) == (5, (str(path),))
    result = CliRunner().invoke(
        app, ["convert", *map(str, (coco.annotations, coco.images)), "-o", f"{coco.out}2",
              "--shards", str(shards)],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    said = "1 images that viewers turn by an EXIF mark, and training does not"
    assert f"{said}: {path}\n" in result.output


def test_a_small_set_arrives_whole(coco: Any, read: Read, field: Field) -> None:
    coco.add([0, 0, 100, 50], image_id=2, category_id=90, iscrowd=1, area=77.5)
    coco.add([5, 5, 0, 0], image_id=3)
    coco.content["images"].append({"id": 6, "file_name": "6.png", "width": 80, "height": 40})
    coco.picture("6.png", (80, 40))
    coco.save()
    report = run(coco)
    names = ["train.record-00000-of-00002", "train.record-00001-of-00002"]
    assert [p.name for p in report.files] == names
    assert sorted(p.name for p in coco.out.iterdir()) == ["label_map.pbtxt", *names]
    assert report.pattern == str(coco.out / "train.record-?????-of-00002")
    assert expand(report.pattern) == list(report.files)
    assert (report.images, report.objects, report.crowds, report.empty_images) == (6, 6, 1, 1)
    assert report.zero_size == ("1007",)
    assert label_map.read(report.label_map) == {7: "cat", 90: "dog"}
    assert [len(read(path)) for path in report.files] == [3, 3]

    examples = {field(e, "source_id")[0]: e for e in read(report.pattern)}
    assert sorted(examples) == [b"1", b"2", b"3", b"4", b"5", b"6"]
    second = examples[b"2"]
    encoded = (coco.images / "2.jpg").read_bytes()
    assert field(second, "encoded") == [encoded]
    assert field(second, "key/sha256") == [hashlib.sha256(encoded).hexdigest().encode()]
    assert field(second, "format") == [b"jpeg"]
    assert field(second, "filename") == [b"2.jpg"]
    assert (field(second, "width"), field(second, "height")) == ([100], [50])
    assert field(second, "object/bbox/xmin") == pytest.approx([0.1, 0])
    assert field(second, "object/bbox/ymax") == pytest.approx([0.5, 1])
    assert field(second, "object/class/label") == [7, 90]
    assert field(second, "object/class/text") == [b"cat", b"dog"]
    assert field(second, "object/is_crowd") == [0, 1]
    assert field(second, "object/area") == [600.0, 77.5]
    assert field(examples[b"6"], "format") == [b"png"]
    assert field(examples[b"6"], "object/class/label") == []


def test_the_bytes_do_not_depend_on_processes_or_the_order_of_the_file(
    shared: Path, tmp_path: Path
) -> None:
    tiny = shared / "coco_tiny"

    def digests(out: str, processes: int, shards: int = 3) -> dict[str, str]:
        arguments = (tiny / "annotations/instances_train2017.json", tiny / "train2017")
        report = convert(*arguments, tmp_path / out, "train", shards, processes=processes)
        assert (report.images, report.objects, report.crowds) == (80, 705, 6)
        return {
            p.name: hashlib.sha256(p.read_bytes()).hexdigest()
            for p in (*report.files, report.label_map)
        }

    one = digests("one", 1)
    assert len(set(one.values())) == 4
    assert digests("two", 2) == one
    assert digests("three", 3) == one
    # Nine shards: written by two processes, or by one for three that have too few each.
    assert digests("whole", 2, shards=9) == digests("parts", 3, shards=9)


def test_shards_are_balanced_mixed_and_disjoint(
    shared: Path, tmp_path: Path, read: Read, field: Field
) -> None:
    tiny = shared / "coco_tiny"
    report = convert(
        tiny / "annotations/instances_val2017.json", tiny / "val2017", tmp_path / "out", "val", 7
    )
    shards = [[int(field(e, "source_id")[0]) for e in read(path)] for path in report.files]
    assert sorted(map(len, shards)) == [11, 11, 11, 11, 12, 12, 12]
    ids = [i for shard in shards for i in shard]
    assert len(set(ids)) == 80
    assert all(shard != sorted(shard) for shard in shards)
    assert locate_damage(report.files, 90, texts=label_map.read_texts(report.label_map)) is None


# What is done to the input, and the message.
def _truncate(coco: Any) -> str:
    path = coco.images / "3.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    return f"{path}, image 3: an image that cannot be decoded (image file is truncated"


def _replace_by_text(coco: Any) -> str:
    (coco.images / "3.jpg").write_text("<html>404</html>")
    return f"{coco.images / '3.jpg'}, image 3: not an image: it begins with b'<html>404</html>'"


def _empty(coco: Any) -> str:
    (coco.images / "3.jpg").write_bytes(b"")
    return f"{coco.images / '3.jpg'}, image 3: not an image: it begins with b''"


def _remove(coco: Any) -> str:
    (coco.images / "3.jpg").unlink()
    return f"{coco.images / '3.jpg'}, image 3: a file that cannot be read (No such file"


def _webp(coco: Any) -> str:
    Image.new("RGB", (100, 50)).save(coco.images / "3.jpg", "WEBP")
    return f"{coco.images / '3.jpg'}, image 3: a WEBP image; the OD API reads JPEG, PNG and BMP"


def _resize(coco: Any) -> str:
    coco.picture("3.jpg", (90, 50))
    return f"{coco.images / '3.jpg'}, image 3: 90 x 50 pixels, but the annotations say 100 x 50"


def _turn(coco: Any) -> str:
    coco.picture("3.jpg", (50, 100))
    return (
        f"{coco.images / '3.jpg'}, image 3: 50 x 100 pixels, but the annotations say 100 x 50"
        " (turned by an EXIF mark"
    )


@pytest.mark.parametrize(("processes", "shards"), [(1, 2), (2, 2), (1, 4)])
@pytest.mark.parametrize(
    "spoil", [_truncate, _replace_by_text, _empty, _remove, _webp, _resize, _turn]
)
def test_a_bad_image_is_named_or_left_out(
    coco: Any, spoil: Callable[[Any], str], processes: int, shards: int
) -> None:
    said = spoil(coco)
    coco.picture("more.jpg", (100, 50))
    for id_ in (20, 21, 22, 23):  # or a shard may have no other image
        coco.content["images"].append(
            {"id": id_, "file_name": "more.jpg", "width": 100, "height": 50}
        )
    coco.save()
    with pytest.raises(DataError) as e:
        run(coco, processes=processes, shards=shards)
    assert str(e.value).startswith(said)
    assert str(e.value).endswith("leave such boxes and images out with --skip-bad")
    assert coco.left() == []

    report = run(coco, processes=processes, shards=shards, skip_bad=True)
    assert (report.images, report.objects) == (8, 4)
    assert len(report.bad_images) == 1
    assert report.bad_images[0].startswith(said)


def test_a_shard_whose_images_are_all_bad(coco: Any) -> None:
    for path in coco.images.iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="all images of shard 0 were left out"):
        run(coco, skip_bad=True)
    assert coco.left() == []


ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({"shards": 6}, "shards: 5 images do not fill 6 shards. Ask for at most 5"),
    ({"shards": 3, "limit": 2}, "shards: 2 images do not fill 3 shards. Ask for at most 2"),
    ({"shards": 0}, "shards: 0. Choose 1 or more"),
    ({"processes": 0}, "processes: 0. Choose 1 or more"),
    (
        {"processes": 8 * cores() + 1},
        f"processes: {8 * cores() + 1} on {cores()} cores. Choose {8 * cores()} or fewer",
    ),
    ({"limit": -1}, "limit: -1. Choose 1 or more"),
    ({"prefix": ""}, "prefix: '' does not begin a file's name"),
    ({"prefix": "../x"}, "prefix: '../x' does not begin a file's name"),
]


@pytest.mark.parametrize(("arguments", "said"), ARGUMENTS)
def test_bad_arguments(coco: Any, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as e:
        run(coco, **arguments)
    assert str(e.value).startswith(said)
    assert coco.left() == []


def test_no_folder_of_images(coco: Any) -> None:
    coco.images = coco.folder / "imgs"
    with pytest.raises(DataError, match=r"imgs: no such folder. Give the folder that holds"):
        run(coco)


def test_limit(coco: Any, read: Read, field: Field) -> None:
    report = run(coco, limit=3)
    ids = sorted(field(e, "source_id")[0] for e in read(report.pattern))
    assert ids == [b"1", b"2", b"3"]


def test_nothing_is_overwritten_without_force(coco: Any) -> None:
    before = run(coco).files[0].read_bytes()
    with pytest.raises(UsageError, match=r"out: exists already, with 3 files such as label_map"):
        run(coco, limit=2)
    assert (coco.out / "train.record-00000-of-00002").read_bytes() == before
    report = run(coco, limit=2, shards=1, force=True)
    assert sorted(p.name for p in coco.out.iterdir()) == ["label_map.pbtxt", report.files[0].name]
    assert coco.left() == ["out"]


def test_a_failed_conversion_keeps_what_was_there(coco: Any) -> None:
    before = run(coco).files[0].read_bytes()
    _truncate(coco)
    with pytest.raises(DataError):
        run(coco, force=True)
    assert (coco.out / "train.record-00000-of-00002").read_bytes() == before
    assert coco.left() == ["out"]


@pytest.mark.parametrize("force", [False, True])
def test_a_conversion_does_not_replace_its_annotations(coco: Any, force: bool) -> None:
    """Of the two, only a file with the name of one of ours can lie there: clean.json is."""
    coco.out.mkdir()
    coco.annotations = coco.annotations.rename(coco.out / "clean.json")
    before = coco.annotations.read_bytes()
    with pytest.raises(UsageError, match=f"{coco.out}: holds what is read, clean.json, and would"):
        run(coco, force=force)
    assert coco.annotations.read_bytes() == before
    coco.out = coco.images
    with pytest.raises(UsageError, match="images: holds what is read, images, and would"):
        run(coco, force=force)
