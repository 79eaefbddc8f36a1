"""TFRecord framing: what is written is read back, and every damage is named with its place."""

import gzip
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.errors import DataError, StorageError
from launcher.records import RecordWriter, count_records, frame, read_records

RECORDS = [b"first", b"", b"x" * 100_000, b"last"]
# What TensorFlow 2.21.0's tf.io.TFRecordWriter writes for b"first".
FIRST_FRAME = bytes.fromhex("0500000000000000eab2043e666972737455ff23e5")


@pytest.fixture
def good(write: Callable[..., Path]) -> Path:
    return write(RECORDS)


def error_of(path: Path) -> str:
    with pytest.raises(DataError) as e:
        list(read_records(path))
    return str(e.value)


def test_records_come_back_in_order_with_number_and_offset(good: Path) -> None:
    records = list(read_records(good))
    assert [r.data for r in records] == RECORDS
    assert [r.number for r in records] == [0, 1, 2, 3]
    whole = good.read_bytes()
    for record in records:
        assert whole[record.offset :].startswith(frame(record.data))


def test_a_file_is_its_frames_and_nothing_else(good: Path) -> None:
    assert good.read_bytes() == b"".join(map(frame, RECORDS))


def test_frame_is_that_of_tensorflow() -> None:
    assert frame(b"first") == FIRST_FRAME


def test_count_reads_lengths_only(good: Path) -> None:
    assert count_records(good) == len(RECORDS)


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    assert list(read_records(path)) == []
    assert count_records(path) == 0


def flip(path: Path, at: int) -> Path:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(content)
    return path


def test_damaged_data(good: Path) -> None:
    third = list(read_records(good))[2]
    text = error_of(flip(good, third.offset + 12 + 500))
    assert f"{good}: record 2 at byte {third.offset}: damaged data: its 100000 bytes" in text
    assert "Copy or convert the file again" in text


@pytest.mark.parametrize("byte", [0, 7, 8, 11])
def test_damaged_length(good: Path, byte: int) -> None:
    second = list(read_records(good))[1]
    text = error_of(flip(good, second.offset + byte))
    assert f"{good}: record 1 at byte {second.offset}: damaged length" in text
    with pytest.raises(DataError, match="record 1 at byte"):
        count_records(good)


@pytest.mark.parametrize(
    ("keep", "said"),
    [(5, "5 bytes of it"), (12, "12 of its 100016 bytes"), (60_000, "60000 of its 100016 bytes")],
)
def test_truncated_in_header_and_in_data(good: Path, keep: int, said: str) -> None:
    third = list(read_records(good))[2]
    good.write_bytes(good.read_bytes()[: third.offset + keep])
    text = error_of(good)
    assert f"{good}: record 2 at byte {third.offset}: truncated: the file ends after {said}" in text
    with pytest.raises(DataError, match="truncated"):
        count_records(good)


@pytest.mark.parametrize(
    "content", [b"item { id: 1 }\n", b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01", b"x"]
)
def test_another_kind_of_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    assert "not a TFRecord file" in error_of(path)
    assert repr(content[:12]) in error_of(path)


def test_gzip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train.record.gz"
    path.write_bytes(gzip.compress(frame(b"data")))
    assert f"{path}: compressed with gzip" in error_of(path)


@pytest.mark.parametrize(("name", "reason"), [("missing", "No such file"), (".", "Is a directory")])
def test_a_path_that_cannot_be_read(tmp_path: Path, name: str, reason: str) -> None:
    text = error_of(tmp_path / name)
    assert str(tmp_path / name) in text
    assert reason in text


def write_half(path: Path) -> None:
    with RecordWriter(path) as writer:
        writer.write(b"half")
        raise RuntimeError


def test_a_file_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new"
    with pytest.raises(RuntimeError):
        write_half(path)
    assert list(tmp_path.iterdir()) == []

    path.write_bytes(b"old")
    with RecordWriter(path) as writer:
        writer.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == frame(b"new")
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_folder_that_is_not_there_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"missing/new: cannot write \(No such file"):
        RecordWriter(tmp_path / "missing" / "new")


def test_a_disk_without_room_is_a_storage_error_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: write() fails in the same place."""
    script = (
        "import sys; from pathlib import Path; from launcher.records import RecordWriter\n"
        "from launcher.errors import StorageError\n"
        "try:\n"
        "    with RecordWriter(Path(sys.argv[1])) as writer:\n"
        "        for _ in range(100): writer.write(b'x' * 100_000)\n"
        "except StorageError as e: print(e)\n"
    )

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "big")],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{tmp_path / 'big'}: cannot write (File too large). Free some space" in done.stdout
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_a_data_error(good: Path) -> None:
    good.chmod(0)
    assert "Permission denied" in error_of(good)
