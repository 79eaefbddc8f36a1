"""Every frame of a file: where it begins, how long it is, and the sum of its data.

The sum of a record's data stands right before the next record's length, so both come with one read,
and (length, sum) tells two records apart without reading either. What is read of large records is a
page each, of small ones the file in large pieces; no record is held. numpy is imported with this
module.
"""

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from launcher.errors import DataError
from launcher.records import framing
from launcher.records.index import next_header

_SMALL = 4096
"""One page: what is read of a record that is larger than a piece."""
_LARGE = 1 << 18
_MANY = 16
"""Records in a piece from which on it is read whole. A page from the system's memory costs as
much time as 16 KB in a row."""


@dataclass(frozen=True)
class BadFrame:
    """A place of a file where a record should be, and cannot be read."""

    number: int
    offset: int
    error: DataError


@dataclass(frozen=True)
class Frames:
    """Of one file. `bad` ones have their number among the others, size to the next good one."""

    path: Path
    file_bytes: int
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    """Bytes of the whole frame."""
    sums: npt.NDArray[np.uint32]
    """The masked CRC-32C of the data, as the file says; 0 for a bad one."""
    bad: tuple[BadFrame, ...] = ()

    @property
    def count(self) -> int:
        """Records whose length is good."""
        return len(self.offsets) - len(self.bad)


def read_frames(path: Path) -> Frames:
    """All frames of a file, from their lengths. Data is not read.

    A damaged length or a cut is a bad frame, and the search goes on at the next header. Raises
    DataError when there is no such file, StorageError when the disk fails.
    """
    offsets: list[int] = []
    sums: list[int] = []
    bad: list[BadFrame] = []
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would wait for a writer
            raise DataError(
                "is no file, but a pipe or a device",
                place=str(path),
                remedy="Name only record files",
            )
        file = os.open(path, os.O_RDONLY)
        try:
            size = os.fstat(file).st_size
            with suppress(OSError):  # a hint; not every file system takes it
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
            start = 0
            while start < size:
                stopped = _walk(file, start, size, offsets, sums)
                if stopped == size:
                    break
                bad.append(BadFrame(len(offsets), stopped, _reason(path, stopped, len(offsets))))
                offsets.append(stopped)
                sums.append(0)
                start = next_header(path, stopped + 1)
        finally:
            os.close(file)
    except OSError as e:
        raise framing.read_error(e, path) from e
    starts = np.array(offsets, dtype=np.int64)
    ends = np.append(starts[1:], size) if offsets else starts
    return Frames(path, size, starts, ends - starts, np.array(sums, dtype=np.uint32), tuple(bad))


def _walk(file: int, start: int, size: int, offsets: list[int], sums: list[int]) -> int:
    """Appends the good frames from `start` on. Returns where it stopped: the file's end, or the
    first byte of a frame that is not good."""
    at, base, piece, last = start, start, b"", 0
    while at < size:
        where = at - base
        if where + framing.HEADER_BYTES > len(piece):
            base, where = at, 0
            piece = os.pread(file, _LARGE if last * _MANY < _LARGE else _SMALL, at)
        length = framing.good_length(piece, where)
        end = at + (length or 0) + framing.FRAME_BYTES
        if length is None or end > size:
            return at
        last = end - at
        sum_at = end - framing.SUM_BYTES - base
        if sum_at + framing.SUM_BYTES > len(piece):
            base, sum_at = end - framing.SUM_BYTES, 0
            piece = os.pread(file, _LARGE if last * _MANY < _LARGE else _SMALL, base)
            if len(piece) < framing.SUM_BYTES:  # it has become shorter since
                return at
        offsets.append(at)
        sums.append(int.from_bytes(piece[sum_at : sum_at + framing.SUM_BYTES], "little"))
        at = end
    return at


def _reason(path: Path, offset: int, number: int) -> DataError:
    """In the words of the reader that would stop there."""
    try:
        for _ in islice(framing.frame_offsets(path, offset, number), 2):
            pass
    except DataError as e:
        return e
    return DataError(
        "changed while it was read",
        place=framing.record_place(path, number, offset),
        remedy="Wait until it is written, and look again",
    )
