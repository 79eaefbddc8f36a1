"""What a data set is, in one short text that is the same for the same records.

Hashing the images of COCO takes a minute of disk. Every record of a TFRecord file already carries
the CRC-32C of its data, so the hash of all lengths and sums, in order, names the content, and is
made from the pages that indexing has just read. It does not depend on the names of the files, nor
on how many shards the same records are split into. It is no defence against a forger.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from launcher.records.framing import read_error
from launcher.records.index import RecordIndex, index_records

_SUM_BYTES = 4
DIGITS = 16
"""Hexadecimal digits that are kept: 64 bits, as many as nobody confuses by chance."""


@dataclass(frozen=True)
class Fingerprint:
    """`digest` is of the content; counts and bytes are what a person compares."""

    records: int
    files: int
    bytes: int
    digest: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def fingerprint(files: Sequence[Path]) -> Fingerprint:
    """Raises DataError at a damaged length, StorageError when the disk fails."""
    return of_index(index_records(files))


def of_index(index: RecordIndex) -> Fingerprint:
    """Of records whose places are known already. Raises StorageError."""
    total = hashlib.sha256()
    for number, path in enumerate(index.files):
        first, end = int(index.first[number]), int(index.first[number + 1])
        try:
            with path.open("rb") as file:
                for record in range(first, end):
                    size = int(index.sizes[record])
                    at = int(index.offsets[record]) + size - _SUM_BYTES
                    total.update(size.to_bytes(8, "little"))
                    total.update(os.pread(file.fileno(), _SUM_BYTES, at))
        except OSError as e:
            raise read_error(e, path) from e
    return Fingerprint(
        records=len(index),
        files=len(index.files),
        bytes=int(index.sizes.sum()),
        digest=total.hexdigest()[:DIGITS],
    )
