"""images and records: what cannot be decoded, what is not what it says, what is there twice."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from launcher.preflight import Severity
from launcher.records import read_records

NAME = "images"


def test_good_images_are_no_news(data: Any) -> None:
    assert not data.find(NAME)
    assert not data.find("records")


@pytest.mark.parametrize(
    ("encoded", "what"),
    [
        (b"<html>", "not an image: it begins with b'<html>'"),
        (b"", "no image: image/encoded is missing or empty"),
        ("GIF", "a GIF image; the OD API reads JPEG, PNG and BMP"),
        ("cut", "an image that cannot be decoded"),
    ],
)
def test_an_image_that_cannot_be_decoded(
    data: Any, make_record: Any, make_picture: Any, encoded: Any, what: str
) -> None:
    if encoded == "GIF":
        encoded = make_picture(7, "GIF")
    elif encoded == "cut":
        encoded = make_picture(7)[:-200]
    data.records["val"][1][0] = make_record(7, encoded=encoded)
    data.write()
    (found,) = data.find(NAME)
    assert found.severity is Severity.ERROR
    assert found.evidence.startswith("1 of 6 val records: ")
    assert what in found.evidence
    assert "val.record-00001-of-00002: record 0 at byte 0, source id 7" in found.place


@pytest.mark.parametrize(
    ("kind", "mode", "what"),
    [("PNG", "RGBA", "a transparent part"), ("JPEG", "CMYK", "four printing colours")],
)
def test_colours_that_are_dropped(
    data: Any, make_record: Any, make_picture: Any, kind: str, mode: str, what: str
) -> None:
    data.records["train"][0][0] = make_record(
        7, encoded=make_picture(7, kind, mode), format=kind.lower()
    )
    data.write()
    (found,) = data.find(NAME)
    assert found.severity is Severity.WARNING
    assert f"1 of 20 train images have {what}" in found.evidence


def test_grey_is_fine(data: Any, make_record: Any, make_picture: Any) -> None:
    data.records["train"][0][0] = make_record(7, encoded=make_picture(7, "JPEG", "L"))
    data.write()
    assert not data.find(NAME)


def test_a_size_that_the_picture_has_not(data: Any, make_record: Any) -> None:
    data.records["train"][0][0] = make_record(7, width=48, height=64)
    data.write()
    (found,) = data.find(NAME)
    assert found.severity is Severity.WARNING
    assert "1 of them turned (an EXIF mark?); the first: 48 x 64, the picture 64 x 48" in (
        found.evidence
    )


@pytest.mark.parametrize(("turn", "said"), [(3, "turned by 180 degrees"), (2, "mirrored")])
def test_a_picture_that_viewers_turn(
    data: Any, make_record: Any, make_picture: Any, turn: int, said: str
) -> None:
    """Its sizes are what the record says, and its boxes may be elsewhere."""
    for index in (1, 2):
        turned = make_picture(7 + index, orientation=turn)
        data.records["train"][index][0] = make_record(7 + index, encoded=turned)
    data.records["train"][3][0] = make_record(6, encoded=make_picture(6, orientation=1))
    data.write()
    (found,) = data.find(NAME, full=True)
    assert found.severity is Severity.WARNING
    assert found.evidence == (
        "2 of 20 train images have an EXIF mark by which viewers turn or mirror them, and training "
        f"does not; the first is shown {said}"
    )
    assert "train.record-00001-of-00004: record 0 at byte 0, source id 8" in found.place


def test_a_turned_picture_whose_size_tells_it_is_told_once(
    data: Any, make_record: Any, make_picture: Any
) -> None:
    turned = make_picture(7, orientation=6)
    data.records["train"][0][0] = make_record(7, encoded=turned, width=48, height=64)
    data.write()
    (found,) = data.find(NAME)
    assert "1 of them turned (an EXIF mark?)" in found.evidence
    square = make_picture(7, size=(64, 64), orientation=6)
    data.records["train"][0][0] = make_record(7, encoded=square, width=64, height=64)
    data.write()
    (found,) = data.find(NAME)
    assert found.evidence.endswith("the first is shown turned by 90 degrees clockwise")


def test_a_format_that_the_picture_has_not(data: Any, make_record: Any) -> None:
    data.records["train"][0][0] = make_record(7, format="png")
    data.records["train"][0][1] = make_record(8, format="jpg")
    data.write()
    (found,) = data.find(NAME)
    assert found.severity is Severity.INFO
    assert found.evidence.startswith("1 of 20 train records say another format")


def test_records_that_are_there_twice(data: Any) -> None:
    data.records["train"][3][4] = data.records["train"][0][1]
    data.write()
    (found,) = data.find(NAME)
    assert found.severity is Severity.WARNING
    assert "1 of 20 train records are there before, byte by byte" in found.evidence
    assert "train.record-00003-of-00004: record 4" in found.place


def test_they_are_found_without_decoding(data: Any) -> None:
    """By length and sum, whatever the sample."""
    data.records["train"][3][3] = data.records["val"][0][1]
    data.write()
    (found,) = data.find(NAME, sample=1)
    assert found.severity is Severity.ERROR
    assert found.evidence == "1 of 6 val images are train images too: 17 %"
    assert "val.record-00000-of-00002: record 1" in found.place


def test_the_same_picture_in_other_records(data: Any, make_record: Any, make_picture: Any) -> None:
    data.records["train"][3][3] = make_record(7, encoded=make_picture(201))
    data.write()
    (found,) = data.find(NAME)
    assert found.evidence == "1 of 6 val images are train images too: 17 %"
    assert "source id 201" in found.place


def test_files_in_both_are_told_once(data: Any) -> None:
    assert not data.find(NAME, train=str(data.folder / "*.record-*"))


@pytest.mark.parametrize(("split", "severity"), [("train", Severity.WARNING), ("val", "error")])
def test_a_source_id_of_two_images(data: Any, make_record: Any, split: str, severity: str) -> None:
    first = data.records[split][0][0]["image/source_id"]
    data.records[split][1][1] = make_record(7, source_id=first)
    data.write()
    (found,) = data.find(NAME)
    assert found.severity == severity
    assert f"{split} records have the source id of another one" in found.evidence


def test_no_source_id(data: Any, make_record: Any) -> None:
    data.records["val"][0][0] = make_record(7, source_id=None)
    data.write()
    (found,) = data.find(NAME)
    assert "no image/source_id" in found.evidence
    assert "no mAP" in found.cost.text
    data.records["val"][0][0] = make_record(8)
    data.records["train"][0][0] = make_record(9, source_id=None)
    data.write()
    (found,) = data.find(NAME)
    assert "submit refuses them" in found.cost.text


def test_images_that_are_stretched(data: Any, make_record: Any, make_picture: Any) -> None:
    for shard in data.records["train"]:
        wide = make_picture(int(shard[0]["image/source_id"]), size=(400, 100))
        shard[0] = shard[0] | {"image/encoded": wide, "image/width": 400, "image/height": 100}
    data.write()
    (found,) = data.find(NAME)
    assert found.severity is Severity.INFO
    assert found.evidence == (
        "20 % of 20 train images are stretched more than 2 times at 320 x 320 px; the most: "
        "400 x 100, 4.0 times"
    )


def test_images_that_are_enlarged(data: Any, make_record: Any, make_picture: Any) -> None:
    """64 x 48 to 320: 5 times by the width."""
    found = [f for f in data.check().findings if "are enlarged" in f.evidence]
    assert found
    assert found[0].severity is Severity.INFO


def damage(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))


def test_damaged_records(data: Any) -> None:
    path = data.path("train", 1)
    starts = [record.offset for record in read_records(path)]
    damage(path, starts[2] + 40)  # its data
    damage(path, starts[4] + 3)  # its length
    (found,) = data.find("records")
    assert found.severity is Severity.ERROR
    assert found.evidence.startswith("2 of 20 train records: ")
    assert f"record 4 at byte {starts[4]}" in found.place
    assert "(also train.record-00001-of-00004 record 2)" in found.evidence
    (found,) = data.find("records", max_bad_records=2)
    assert found.severity is Severity.WARNING


def test_what_comes_behind_a_damaged_length_is_still_counted(data: Any) -> None:
    path = data.path("train", 1)
    damage(path, list(read_records(path))[1].offset)
    read = data.check().read
    assert read.train.count == 19
    assert len(read.train.contents.faults) == 1


def test_a_file_that_is_none(data: Any) -> None:
    data.path("train", 1).write_bytes(b"<html>not here</html>")
    found = data.find("records")[0]
    assert "not a TFRecord file" in found.evidence


def test_a_compressed_file(data: Any) -> None:
    import gzip

    path = data.path("train", 1)
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert "compressed with gzip" in data.find("records")[0].evidence


def test_a_file_that_is_cut_short(data: Any) -> None:
    path = data.path("val", 0)
    path.write_bytes(path.read_bytes()[:-5])
    (found,) = data.find("records")
    assert "truncated: the file ends after" in found.evidence
    assert "val.record-00000-of-00002: record 2 at byte" in found.place


def test_records_of_something_else(data: Any) -> None:
    data.records["train"][0][0] = b"something else"
    data.write()
    (found,) = data.find("records")
    assert "not a tf.train.Example" in found.evidence


def test_damage_of_a_length_shows_in_any_sample(data: Any) -> None:
    path = data.path("train", 1)
    damage(path, list(read_records(path))[3].offset)
    assert len(data.find("records", sample=1)) == 1


def test_a_sample_tells_of_all(data: Any, make_record: Any) -> None:
    for shard in data.records["train"]:
        shard[0] = make_record(int(shard[0]["image/source_id"]), encoded=b"x")
    data.write()
    (found,) = data.find(NAME, sample=4)
    assert found.evidence.startswith("4 of 4 train records looked at, so about 20 of all 20: ")
    assert len(data.find(NAME, sample=4, full=True)[0].evidence) < len(found.evidence)


def test_a_folder_with_odd_names(data: Any) -> None:
    odd = data.folder.parent / "it's [a] 'set';\nx"
    shutil.copytree(data.folder, odd)
    data.folder = odd
    import glob

    train = str(Path(glob.escape(str(odd))) / "train.record-*")
    assert not data.find("data-shards", train=train, val=train.replace("train", "val"))
