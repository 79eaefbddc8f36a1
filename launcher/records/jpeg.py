"""Whether a JPEG is whole, without decoding its pixels.

Of a JPEG with one scan, as cameras and COCO have them, a decoder can refuse two things only: the
headers and tables before the scan, and a scan that stops before the marker of the image's end.
Damage between the two changes pixels, and every decoder lets it pass. So the headers are put before
the real decoder, with the first rows alone, and the scan is searched for the marker that ends it:
a twelfth of a decoder's time. Progressive and other files are left to the decoder.
"""

import io
import re
from dataclasses import dataclass

_END = 0xD9
_START_OF_SCAN = 0xDA
_SEQUENTIAL = (0xC0, 0xC1)  # frames with Huffman codes and all of the image in one scan, or few
_TABLES = (0xC4, 0xDB, 0xDD)  # Huffman codes, quantization, restart interval
_SKIPPED = {*_TABLES, *range(0xE0, 0xF0), 0xFE}  # Exif and other applications' data, a comment
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


def whole_jpeg(encoded: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG that is whole; None says only that the decoder has to decide."""
    head = _head(encoded)
    if head is None or head.width * head.height > MAX_PIXELS:
        return None
    stop = _BREAK.search(encoded, head.scan_at)
    if stop is None or encoded[stop.end() - 1] != _END:
        return None
    probe = bytearray(encoded[: min(head.scan_at + PROBE_BYTES, stop.start())])
    rows = min(PROBE_ROWS, head.height)
    probe[head.height_at : head.height_at + 2] = rows.to_bytes(2, "big")
    return (head.width, head.height) if _decodes(probe, head.width, rows) else None


def _decodes(probe: bytearray, width: int, rows: int) -> bool:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(probe + bytes((0xFF, _END)))) as image:
            if image.format != "JPEG" or image.size != (width, rows):
                return False
            image.draft(None, (1, 1))  # an eighth of the size: the same checks, less arithmetic
            image.load()
    except Exception:  # whatever broken bytes lead a reader to: the decoder will say it properly
        return False
    return True


def _head(encoded: bytes) -> _Head | None:
    """The segments up to the scan; None when there is one that this module does not know."""
    if encoded[:2] != b"\xff\xd8":
        return None
    at, frame = 2, None
    while at + 4 <= len(encoded) and encoded[at] == 0xFF:
        kind, length = encoded[at + 1], int.from_bytes(encoded[at + 2 : at + 4], "big")
        body, end = at + 4, at + 2 + length
        if length < 2 or end > len(encoded):
            return None
        if kind == _START_OF_SCAN:
            if frame is None or encoded[body] != encoded[frame + 5]:  # not all components
                return None
            height = int.from_bytes(encoded[frame + 1 : frame + 3], "big")
            width = int.from_bytes(encoded[frame + 3 : frame + 5], "big")
            return _Head(width, height, frame + 1, end) if width and height else None
        if kind in _SEQUENTIAL:
            # 8 bits a sample, and grey or three colours.
            if frame or length < 11 or encoded[body] != 8 or encoded[body + 5] not in (1, 3):
                return None
            frame = body
        elif kind not in _SKIPPED or encoded[body : body + 4] == _MANY_PICTURES:
            return None
        at = end
    return None
