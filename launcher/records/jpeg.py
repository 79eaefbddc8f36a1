"""Whether a JPEG is whole, without decoding its pixels.

Of a JPEG with one scan, as cameras and COCO have them, a decoder can refuse two things only: the
headers and tables before the scan, and a scan that stops before the marker of the image's end.
Damage between the two changes pixels, and every decoder lets it pass. So the scan is searched for
the marker that ends it, and the headers are looked through as libjpeg does it (jpeg_tables.py),
or put before the real decoder with the first rows alone where they hold something unusual: a
fiftieth and a twelfth of a decoder's time. Progressive and other files are left to the decoder.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from launcher.records.jpeg_tables import (
    ADDITIONS,
    FRAMES,
    START_OF_SCAN,
    TABLES,
    Segment,
    are_plain,
)

_END = 0xD9
_KNOWN = TABLES | ADDITIONS | {START_OF_SCAN}
_MANY_PICTURES = b"MPF\0"

_BREAK = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""What ends a scan: a marker other than a stuffed zero, a restart or a fill byte."""

PROBE_ROWS = 16  # the height of one row of blocks, at most
PROBE_BYTES = 512  # of the scan
MAX_PIXELS = 64_000_000  # a larger image is left to the decoder, which warns of it


@dataclass(frozen=True)
class _Head:
    width: int
    height: int
    height_at: int  # the byte of the frame's header where its height is
    scan_at: int  # the scan's first byte
    segments: tuple[Segment, ...]


def whole_jpeg(encoded: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG that is whole; None says only that the decoder has to decide."""
    head = _head(encoded)
    if head is None or head.width * head.height > MAX_PIXELS:
        return None
    stop = _BREAK.search(encoded, head.scan_at)
    if stop is None or encoded[stop.end() - 1] != _END:
        return None
    if are_plain(head.segments) or _decodes(_first_rows(encoded, head, stop.start()), head):
        return head.width, head.height
    return None


def _first_rows(encoded: bytes, head: _Head, stop: int) -> bytes:
    """An image of the same headers that ends after the first rows of the scan."""
    probe = bytearray(encoded[: min(head.scan_at + PROBE_BYTES, stop)])
    rows = min(PROBE_ROWS, head.height)
    probe[head.height_at : head.height_at + 2] = rows.to_bytes(2, "big")
    return bytes(probe) + bytes((0xFF, _END))


def _decodes(first_rows: bytes, head: _Head) -> bool:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(first_rows)) as image:
            if image.format != "JPEG" or image.size != (
                head.width,
                min(PROBE_ROWS, head.height),
            ):
                return False
            image.draft(None, (1, 1))  # an eighth of the size: the same checks, less arithmetic
            image.load()
    except Exception:  # whatever broken bytes lead a reader to: the decoder will say it properly
        return False
    return True


def _head(encoded: bytes) -> _Head | None:
    """What stands before the scan; None when it is nothing that this module knows."""
    segments, end, frame_at = list[Segment](), 2, 0
    for kind, start, end in _segments(encoded):
        body = encoded[start:end]
        segments.append((kind, body))
        if kind in FRAMES:
            # One frame, 8 bits a sample, and grey or three colours.
            if frame_at or len(body) < 9 or body[0] != 8 or body[5] not in (1, 3):
                return None
            frame_at = start
        elif kind not in _KNOWN or body.startswith(_MANY_PICTURES):
            return None
    if not segments or segments[-1][0] != START_OF_SCAN or not frame_at:
        return None
    if segments[-1][1][:1] != encoded[frame_at + 5 : frame_at + 6]:  # not all components
        return None
    height = int.from_bytes(encoded[frame_at + 1 : frame_at + 3], "big")
    width = int.from_bytes(encoded[frame_at + 3 : frame_at + 5], "big")
    if not width or not height:
        return None
    return _Head(width, height, frame_at + 1, end, tuple(segments))


def _segments(encoded: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, first byte and end of the body of each segment up to the scan's header."""
    if encoded[:2] != b"\xff\xd8":
        return
    at = 2
    while at + 4 <= len(encoded) and encoded[at] == 0xFF:
        kind, length = encoded[at + 1], int.from_bytes(encoded[at + 2 : at + 4], "big")
        end = at + 2 + length
        if length < 2 or end > len(encoded):
            return
        yield kind, at + 4, end
        if kind == START_OF_SCAN:
            return
        at = end
