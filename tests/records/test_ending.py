"""Files that are cut short, found at their ends."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.errors import DataError
from launcher.records import check_ending, ending

Write = Callable[..., Path]


def cut(path: Path, by: int) -> str:
    os.truncate(path, path.stat().st_size - by)
    with pytest.raises(DataError) as caught:
        check_ending(path)
    return str(caught.value)


@pytest.mark.parametrize(
    "last", [b"", b"x", b"\0" * 5000, b"\0" * (2 << 20), random.Random(0).randbytes(100_000)],
    ids=["empty", "a byte", "zeros", "larger than what is read", "noise"],
)  # fmt: skip
def test_a_whole_file_passes_and_a_cut_one_names_its_record(write: Write, last: bytes) -> None:
    path = write([b"first" * 100, last])
    check_ending(path)
    place = f"{path}: record 1 at byte 516: truncated: the file ends after "
    size = len(last) + 16
    assert cut(path, 1).startswith(f"{place}{size - 1} of its {size} bytes.")
    assert cut(path, size - 1 - 7).startswith(f"{place}7 bytes of it.")


def test_cut_between_records_is_a_whole_file(write: Write) -> None:
    path = write([b"first", b"last"])
    os.truncate(path, path.stat().st_size - 20)
    check_ending(path)


def test_a_length_in_the_data_is_none(write: Write) -> None:
    """The number stands at the right place of the cut file, but without its sum."""
    decoy = (100 + 4).to_bytes(8, "little") + b"sum?" + b"d" * 104
    path = write([decoy + b"rest of the record"])
    check_ending(path)
    assert "record 0 at byte 0: truncated" in cut(path, len(b"rest of the record"))


def test_zeros_at_the_end_are_damage(write: Write) -> None:
    path = write([b"first"])
    path.write_bytes(path.read_bytes() + bytes(100))
    with pytest.raises(DataError, match="record 1 at byte 21: damaged length 0"):
        check_ending(path)


def test_what_is_before_is_not_read(write: Write) -> None:
    path = write([b"first" * 100, b"last"])
    damaged = bytearray(path.read_bytes())
    damaged[0] ^= 1  # the first length
    path.write_bytes(bytes(damaged))
    check_ending(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        ending.check_ending(tmp_path / "none")
