"""The look at the records before a run: what it finds, what it leaves, and what it costs."""

import os
import time
from functools import partial
from pathlib import Path

import pytest

from launcher import precheck
from launcher.data import make_shapes, progress
from launcher.errors import DataError, SpecError
from launcher.planning import Plan, make_plan
from launcher.records import Example, RecordWriter, read_records
from launcher.spec import from_mapping

TRAIN = "train.record-00000-of-00004"
VAL = "val.record-00000-of-00001"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    make_shapes(folder, train_images=20, val_images=5, image_size=64, seed=1)
    return folder


def plan_of(data: Path, **changed: object) -> Plan:
    named = {
        "train": str(data / "train.record-*"),
        "val": str(data / "val.record-*"),
        "label_map": str(data / "label_map.pbtxt"),
        "dataset": "custom",
    }
    values = {"name": "x", "recipe": "ssd_mobilenet_v2_fpnlite_320", "data": named | changed}
    return make_plan(from_mapping(values, folder=data))


def without_image(path: Path, number: int) -> None:
    records = [record.data for record in read_records(path)]
    example = Example.FromString(records[number])
    example.features.feature["image/encoded"].bytes_list.value[0] = b"<html>"
    records[number] = example.SerializeToString()
    with RecordWriter(path) as writer:
        for record in records:
            writer.write(record)


def test_good_records_pass_in_silence(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    precheck.check_records(plan_of(data))
    precheck.check_records(plan_of(data, val_images=5))
    precheck.check_records(plan_of(data, val=str(data / TRAIN), val_images=5))  # in both
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("name", [TRAIN, VAL])
def test_the_first_three_records_of_a_file_are_decoded(data: Path, name: str, number: int) -> None:
    without_image(data / name, number)
    with pytest.raises(DataError, match=rf"{name}: record {number} at byte .* not an image"):
        precheck.check_records(plan_of(data))


def test_later_ones_are_left_to_the_worker(data: Path) -> None:
    without_image(data / TRAIN, 3)
    precheck.check_records(plan_of(data))


def test_as_many_as_may_be_skipped_are_told(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In train files; the last record of one is cut."""
    without_image(data / TRAIN, 1)
    cut = data / "train.record-00003-of-00004"
    os.truncate(cut, cut.stat().st_size - 5)
    precheck.check_records(plan_of(data, max_bad_records=2))
    told = capfd.readouterr().err.splitlines()
    assert len(told) == 2
    assert f"{TRAIN}: record 1 at byte" in told[0]
    assert "truncated: the file ends after" in told[1]
    assert told[1].endswith("(one of 2 that data.max_bad_records allows)")
    with pytest.raises(DataError, match="truncated: the file ends after"):
        precheck.check_records(plan_of(data, max_bad_records=1))


def test_val_records_are_never_skipped(data: Path) -> None:
    without_image(data / VAL, 1)
    with pytest.raises(DataError, match=f"{VAL}: record 1"):
        precheck.check_records(plan_of(data, max_bad_records=9))


def test_many_files_share_the_decoding(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precheck, "_DECODED_IMAGES", 5)  # for five files
    without_image(data / TRAIN, 1)
    precheck.check_records(plan_of(data))
    monkeypatch.setattr(precheck, "_DECODED_IMAGES", 1)
    without_image(data / TRAIN, 0)
    with pytest.raises(DataError, match="record 0"):
        precheck.check_records(plan_of(data))


def test_every_length_of_a_val_file_is_read(data: Path) -> None:
    path = data / VAL
    fourth = list(read_records(path))[3].offset
    damaged = bytearray(path.read_bytes())
    damaged[fourth] ^= 1
    path.write_bytes(bytes(damaged))
    with pytest.raises(DataError, match=f"record 3 at byte {fourth}: damaged length"):
        precheck.check_records(plan_of(data))


@pytest.mark.parametrize("key", ["train", "val", "label_map"])
def test_urls_are_refused_before_a_record_is_read(data: Path, key: str) -> None:
    """Workers and evaluator open them as files, and would stop at once."""
    with pytest.raises(SpecError, match=rf"data\.{key}: gs://b/x is a URL\. .*mount or copy"):
        plan_of(data, **{key: "gs://b/x"})


def test_a_long_look_shows_how_far_it_is(
    data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(precheck, "_QUIET_SECONDS", 0.0)
    monkeypatch.setattr(progress, "Progress", partial(progress.Progress, line_seconds=0.0))
    seen = [path.name for path in precheck._with_progress([data / TRAIN, data / VAL])]
    assert seen == [TRAIN, VAL]
    assert "checking records: 1 of 2 files" in capfd.readouterr().err
    os.truncate(data / VAL, 0)
    with pytest.raises(DataError, match="an empty shard"):
        precheck.check_records(plan_of(data))


def test_150_large_files_take_seconds(data: Path) -> None:
    """Files of 30 MB, mostly a hole: what is not read costs nothing."""
    head = (data / TRAIN).read_bytes()
    for i in range(150):
        path = data / f"large.record-{i:05d}-of-00150"
        with path.open("wb") as file:
            file.write(head)
            file.seek(30 << 20)
            file.write(head)
    started = time.process_time()
    precheck.check_records(plan_of(data, train=str(data / "large.record-*")))
    assert time.process_time() - started < 10
