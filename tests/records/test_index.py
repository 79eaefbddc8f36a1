"""Where records lie, in which order they are read, and what is left of a damaged file."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import DataError, StorageError
from launcher.records import RecordWriter, read_records
from launcher.records.index import Order, RecordIndex, index_records


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three files of 40, 1 and 25 records of very different sizes."""
    paths = [tmp_path / f"train.record-{i:05d}-of-00003" for i in range(3)]
    for path, count in zip(paths, (40, 1, 25), strict=True):
        with RecordWriter(path) as writer:
            for i in range(count):
                writer.write(f"{path.name}/{i} ".encode() * (1 + i * i % 97))
    return paths


def test_each_record_is_where_a_reader_finds_it(files: list[Path]) -> None:
    index = index_records(files)
    read = [(path, r.number, r.offset, r.data) for path in files for r in read_records(path)]
    assert len(index) == 66
    assert [(*index.where(i), index.read(i)) for i in range(66)] == read
    assert index.place(41) == f"{files[2]}: record 0 at byte 0"


def test_the_empty_file_has_no_record(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "none").touch()
    index = index_records([files[0], tmp_path / "none", files[1]])
    assert len(index) == 41
    assert index.where(40) == (files[1], 0, 0)


@pytest.mark.parametrize("bit", [0, 90, 91, 12 * 8])
def test_a_flipped_bit_is_named(files: list[Path], bit: int) -> None:
    """In the length of record 7, in its sum, and in its data."""
    index = index_records(files)
    _, _, offset = index.where(7)
    flip(files[0], offset * 8 + bit)
    with pytest.raises(DataError, match=r"record 7 at byte \d+: damaged (length|data)"):
        index.read(7)
    assert index.read(8)
    if bit < 96:
        with pytest.raises(DataError, match=r"record 7 at byte \d+: damaged length"):
            index_records(files)


def test_after_a_damaged_length_the_next_record_is_found(files: list[Path]) -> None:
    good = index_records(files)
    flip(files[0], good.where(7)[2] * 8 + 3)
    flip(files[0], good.where(20)[2] * 8 + 70)
    index = index_records(files, damaged=True)
    assert same_places(index, good)
    assert unreadable(index) == [7, 20]
    # Two in a row are one hole in the file: nothing says where the second began.
    flip(files[0], good.where(8)[2] * 8 + 3)
    index = index_records(files, damaged=True)
    assert len(index) == 65
    assert unreadable(index) == [7, 19]


@pytest.mark.parametrize("left", [3, 14, 200])
def test_a_file_cut_short_loses_its_last_record(files: list[Path], left: int) -> None:
    good = index_records(files)
    last = good.where(39)[2]
    files[0].write_bytes(files[0].read_bytes()[: last + left])
    with pytest.raises(DataError, match="truncated: the file ends after"):
        index_records(files)
    index = index_records(files, damaged=True)
    assert len(index) == 66
    assert unreadable(index) == [39]
    with pytest.raises(DataError, match="truncated: the file ends after"):
        index.read(39)


def test_a_file_without_any_record_is_no_bad_record(files: list[Path]) -> None:
    files[1].write_bytes(b"{}" * 100)
    with pytest.raises(DataError, match="not a TFRecord file"):
        index_records(files, damaged=True)


def test_a_file_that_is_gone_is_the_disks_fault(files: list[Path]) -> None:
    index = index_records(files)
    files[2].unlink()
    with pytest.raises(StorageError, match="the file was there when the run began, and is gone"):
        index.read(50)


def test_a_disk_that_fails_is_no_bad_record(files: list[Path], monkeypatch: Any) -> None:
    index = index_records(files)

    def fails(*_: Any) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.pread", fails)
    with pytest.raises(StorageError, match="Input/output error"):
        index.read(0)


def test_every_epoch_is_another_permutation() -> None:
    order = Order(1000, seed=3)
    epochs = [[order.at(e * 1000 + i) for i in range(1000)] for e in range(3)]
    for epoch in epochs:
        assert Counter(epoch) == Counter(range(1000))
    assert epochs[0] != epochs[1] != epochs[2]
    assert [Order(1000, seed=3).at(i) for i in range(2000, 3000)] == epochs[2]
    assert [Order(1000, seed=4).at(i) for i in range(1000)] != epochs[0]
    # Neighbours of the file are not neighbours of the order.
    steps = [abs(a - b) for a, b in zip(epochs[0], epochs[0][1:], strict=False)]
    assert 280 < sum(steps) / len(steps) < 390, "a third of 1000 is expected of chance"


def test_the_order_is_the_same_on_every_machine() -> None:
    """A run that is continued after an update of numpy goes on in the same order."""
    assert [Order(10, seed=0).at(i) for i in range(10)] == [3, 2, 1, 8, 6, 0, 7, 4, 5, 9]


def test_without_a_seed_the_records_come_as_they_lie() -> None:
    assert [Order(3, seed=None).at(i) for i in range(7)] == [0, 1, 2, 0, 1, 2, 0]


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def unreadable(index: RecordIndex) -> list[int]:
    def fails(read: Callable[[], bytes]) -> bool:
        try:
            read()
        except DataError:
            return True
        return False

    return [i for i in range(len(index)) if fails(lambda i=i: index.read(i))]  # type: ignore[misc]


def same_places(one: RecordIndex, other: RecordIndex) -> bool:
    return bool((one.offsets == other.offsets).all() and (one.sizes == other.sizes).all())
