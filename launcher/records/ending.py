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

_HIGH_BYTES = re.compile(rb"(?=\0{4})")
"""The upper half of a length below 4 GiB, wherever it begins."""


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
    for found in _HIGH_BYTES.finditer(end):
        at = found.start() - 4
        length = len(end) - at - FRAME_BYTES
        if at >= 0 and int.from_bytes(end[at : at + 8], "little") == length and is_header(end, at):
            return
    count_records(path)
