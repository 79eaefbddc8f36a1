"""Whether a TFRecord file ends with a whole record, without reading what is before."""

import re
from pathlib import Path

from launcher.records.framing import (
    FRAME_BYTES,
    count_records,
    is_header,
    read_error,
)

_LAST_BYTES = 1 << 20
"""Read from a file's end: more than an image's record has."""

_ZEROS = re.compile(rb"\0{4,}")
"""In it lies the upper half of a length below 4 GiB; the lower half ends at most 3 bytes in it."""


def check_ending(path: Path | str) -> None:
    """Raises DataError when the file is cut short.

    A frame cannot be read backwards, but its length can be found: at byte p of a file of `size`
    bytes the last record's is `size - p - 16`, with a sum of its own. Only a file without such a
    place (cut short, or a last record of more than a MiB) is walked from its start, length by
    length, which also tells the record that is cut.
    """
    try:
        with Path(path).open("rb") as file:
            size = file.seek(0, 2)
            start = max(0, size - _LAST_BYTES)
            file.seek(start)
            end = file.read()
    except OSError as e:
        raise read_error(e, path) from e
    candidates = (at for run in _ZEROS.finditer(end) for at in range(run.start() - 4, run.start()))
    if not any(at >= 0 and _is_last(end, at) for at in candidates):
        count_records(path)


def _is_last(end: bytes, at: int) -> bool:
    """Whether a record begins at this byte and ends with the file."""
    length = len(end) - at - FRAME_BYTES
    return int.from_bytes(end[at : at + 8], "little") == length and is_header(end, at)
