"""TFRecord files: a sequence of framed byte strings, framed and read without TensorFlow.

A record is `length: u64, crc of length: u32, data, crc of data: u32`, little-endian. The sums are
CRC-32C, rotated and offset so that the sum of data that holds sums stays meaningful (TensorFlow's
`lib/hash/crc32c.h`, "masked"). Records are counted from 0.
"""

import errno
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path
from typing import Any, BinaryIO

from launcher.errors import DataError, LauncherError, MissingExtraError, StorageError

_HEADER = struct.Struct("<QI")
_SUM = struct.Struct("<I")
HEADER_BYTES = _HEADER.size
SUM_BYTES = _SUM.size
FRAME_BYTES = HEADER_BYTES + SUM_BYTES
"""Of a record beside its data."""
_MASK_DELTA = 0xA282EAD8
BUFFER_BYTES = 1 << 20
_PAGE_BYTES = 4096

COPY_AGAIN = "Copy or convert the file again; if the damage comes back, check the disk"


@dataclass(frozen=True)
class Record:
    """One record: its number in the file (from 0), the byte where its frame begins, its data."""

    number: int
    offset: int
    data: bytes


def record_place(path: Path | str, number: int, offset: int) -> str:
    return f"{path}: record {number} at byte {offset}"


def frame(data: bytes) -> bytes:
    """The bytes of one record in a file. Frames may be joined: so may whole files."""
    return b"".join(frame_parts([data]))


def frame_parts(data: Sequence[bytes]) -> list[bytes]:
    """The same of a record whose data comes in parts, without joining them."""
    length = sum(map(len, data)).to_bytes(8, "little")
    crc = reduce(_crc32c().extend, data, 0)
    return [length, _SUM.pack(_masked_crc(length)), *data, _SUM.pack(_mask(crc))]


def read_records(path: Path | str) -> Iterator[Record]:
    """All records of a file in order, each verified. An empty file has none.

    Raises DataError, with file, record and byte, at the first damage; StorageError when the disk
    fails.
    """
    with _open(path) as file:
        number = offset = 0
        while (length := _read_length(file, path, number, offset)) is not None:
            data = _read(file, length, path)
            stored = _SUM.unpack(_read(file, _SUM.size, path))[0]
            _verify(record_place(path, number, offset), data, stored)
            yield Record(number, offset, data)
            number, offset = number + 1, offset + length + FRAME_BYTES


def is_header(content: bytes, at: int) -> bool:
    """Whether a length with its right sum stands at this byte of `content`."""
    header = content[at : at + _HEADER.size]
    if len(header) < _HEADER.size:
        return False
    return bool(_HEADER.unpack(header)[1] == _masked_crc(header[:8]))


def good_length(content: bytes, at: int) -> int | None:
    """The length at this byte of `content`, None when it is not there or its sum is wrong."""
    if len(content) < at + _HEADER.size:
        return None
    length, stored = _HEADER.unpack_from(content, at)
    return int(length) if stored == _masked_crc(content[at : at + 8]) else None


def frame_offsets(path: Path | str, start: int = 0, number: int = 0) -> Iterator[int]:
    """Where each record begins, and at last the file's end, from the lengths alone.

    `start` is the byte of record `number`. Raises DataError as `read_records` does, except for
    damaged data.
    """
    with _open(path, _PAGE_BYTES) as file:
        offset = start
        file.seek(offset)
        while True:
            yield offset
            if (length := _read_length(file, path, number, offset)) is None:
                return
            number, offset = number + 1, offset + length + FRAME_BYTES
            file.seek(offset)


def count_records(path: Path | str) -> int:
    """How many records a file has. Raises as `frame_offsets` does."""
    return sum(1 for _ in frame_offsets(path)) - 1


def read_record(path: Path | str, number: int, offset: int, size: int) -> bytes:
    """The data of the record whose frame of `size` bytes begins at `offset`, verified.

    Raises DataError when it is damaged, or the file has changed; StorageError when the disk fails.
    """
    try:
        file = os.open(path, os.O_RDONLY)  # a third of the time of a file object
        try:
            content = os.pread(file, size, offset)
        finally:
            os.close(file)
    except OSError as e:
        raise read_error(e, path) from e
    place = record_place(path, number, offset)
    if len(content) < FRAME_BYTES:
        raise _cut_short(place, len(content))
    if not is_header(content, 0):
        raise _damaged_length(place, content)
    if len(content) < (whole := _HEADER.unpack_from(content)[0] + FRAME_BYTES):
        raise _cut_short(place, len(content), whole)
    data = content[_HEADER.size : whole - _SUM.size]
    _verify(place, data, _SUM.unpack_from(content, whole - _SUM.size)[0])
    return data


NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""Nothing can be at such a path."""
_WRONG_PATH = (*NOT_THERE, errno.EISDIR, errno.EACCES, errno.EPERM)


def read_error(error: OSError, path: Path | str) -> LauncherError:
    """DataError where the path itself is wrong; StorageError where the disk or the mount fails."""
    kind = DataError if error.errno in _WRONG_PATH else StorageError
    return kind(
        f"cannot read ({error.strerror or error})",
        place=str(path),
        remedy="Check the path, its permissions and that its disk is mounted",
    )


def _masked_crc(data: bytes) -> int:
    return _mask(_crc32c().value(data))


def _mask(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


@cache
def _crc32c() -> Any:
    try:
        import google_crc32c
    except ImportError:
        raise MissingExtraError(
            "google-crc32c, which TFRecord files need, is not installed",
            remedy="pip install 'launcher[train]'",
        ) from None
    return google_crc32c


def _open(path: Path | str, buffer: int = BUFFER_BYTES) -> BinaryIO:
    try:
        return Path(path).open("rb", buffering=buffer)
    except OSError as e:
        raise read_error(e, path) from e


def _read(file: BinaryIO, size: int, path: Path | str) -> bytes:
    try:
        return file.read(size)
    except OSError as e:
        raise read_error(e, path) from e


def _read_length(file: BinaryIO, path: Path | str, number: int, offset: int) -> int | None:
    """The next record's length, verified, or None at the end of the file.

    The whole record is known to be in the file, so that a damaged length never allocates.
    """
    header = _read(file, _HEADER.size, path)
    if not header:
        return None
    place = record_place(path, number, offset)
    if len(header) < _HEADER.size:
        raise _not_records(path, header) if number == 0 else _cut_short(place, len(header))
    length, stored = _HEADER.unpack(header)
    if stored != _masked_crc(header[:8]):
        raise _not_records(path, header) if number == 0 else _damaged_length(place, header)
    left = os.fstat(file.fileno()).st_size - offset
    if length + FRAME_BYTES > left:
        raise _cut_short(place, left, length + FRAME_BYTES)
    return int(length)


def _verify(place: str, data: bytes, stored: int) -> None:
    if stored != (computed := _masked_crc(data)):
        raise DataError(
            f"damaged data: its {len(data)} bytes have the masked CRC-32C {computed:#010x},"
            f" the file says {stored:#010x}",
            place=place,
            remedy=COPY_AGAIN,
        )


def _damaged_length(place: str, header: bytes) -> DataError:
    length, stored = _HEADER.unpack_from(header)
    return DataError(
        f"damaged length {length}: its masked CRC-32C is {_masked_crc(header[:8]):#010x},"
        f" the file says {stored:#010x}",
        place=place,
        remedy=COPY_AGAIN,
    )


def _cut_short(place: str, left: int, needed: int | None = None) -> DataError:
    of = f" of its {needed} bytes" if needed else " bytes of it"
    return DataError(
        f"truncated: the file ends after {left}{of}",
        place=place,
        remedy="Copying or converting the file was cut short: do it again",
    )


def _not_records(path: Path | str, head: bytes) -> DataError:
    if head.startswith(b"\x1f\x8b"):
        return DataError(
            "compressed with gzip, which the OD API does not read",
            place=str(path),
            remedy="gunzip it",
        )
    return DataError(
        f"not a TFRecord file, or damaged from the start: its first bytes {head!r} are no header"
        " of a record",
        place=record_place(path, 0, 0),
        remedy="Name only files that `launcher data convert` or another converter wrote, "
        "or copy the file again",
    )
